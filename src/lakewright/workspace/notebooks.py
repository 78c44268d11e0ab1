"""Notebooks: the same cells as source text, which diffs well, and as Jupyter's JSON.

Source is the kept form: a header line, cells set apart by COMMAND lines, and cells of another language written as
comments that start with MAGIC.
"""

import json
from dataclasses import dataclass
from typing import Any, Literal

from lakewright.kernel.faults import Invalid

Language = Literal["PYTHON", "SQL", "SCALA", "R"]

COMMENT: dict[str, str] = {"PYTHON": "#", "SQL": "--", "SCALA": "//", "R": "#"}
EXTENSIONS: dict[str, Language] = {".py": "PYTHON", ".sql": "SQL", ".scala": "SCALA", ".r": "R"}
HEADER = "Databricks notebook source"
BETWEEN = "COMMAND ----------"


@dataclass(frozen=True)
class Cell:
    source: str
    markdown: bool = False


def is_notebook(content: bytes, language: Language) -> bool:
    """Whether the first line says so."""
    return content.lstrip(b"\xef\xbb\xbf").startswith(f"{COMMENT[language]} {HEADER}".encode())


def language_of(path: str) -> tuple[Language, str] | None:
    """The language that a file name's ending means, and the ending."""
    for ending, language in EXTENSIONS.items():
        if path.lower().endswith(ending):
            return language, path[-len(ending) :]
    return None


def from_jupyter(content: bytes) -> tuple[str, Language]:
    """The source and language of an .ipynb. Outputs are left behind: they may hold data the next reader may not see."""
    try:
        book: dict[str, Any] = json.loads(content)
        cells = [Cell(_joined(c["source"]), c["cell_type"] == "markdown") for c in book["cells"]]
        name = str(book.get("metadata", {}).get("language_info", {}).get("name", "python")).upper()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Invalid("content is not a Jupyter notebook") from error
    for language in EXTENSIONS.values():
        if language == name:
            return to_source(cells, language), language
    return to_source(cells, "PYTHON"), "PYTHON"


def to_source(cells: list[Cell], language: Language) -> str:
    mark = COMMENT[language]
    texts = [_magic(c.source, mark) if c.markdown else _foreign(c.source, mark) for c in cells]
    return f"{mark} {HEADER}\n" + f"\n\n{mark} {BETWEEN}\n\n".join(texts) + "\n"


def cells(source: str, language: Language) -> list[Cell]:
    mark = COMMENT[language]
    lines = source.splitlines()
    if lines and lines[0].strip("\ufeff \t") == f"{mark} {HEADER}":
        lines = lines[1:]
    found: list[list[str]] = [[]]
    for line in lines:
        if line.rstrip() == f"{mark} {BETWEEN}":
            found.append([])
        else:
            found[-1].append(line)
    return [_cell("\n".join(part).strip("\n"), mark) for part in found]


def to_jupyter(source: str, language: Language) -> str:
    book: dict[str, Any] = {
        "nbformat": 4, "nbformat_minor": 5, "metadata": {"language_info": {"name": language.lower()}},
        "cells": [_jupyter_cell(at, c) for at, c in enumerate(cells(source, language))],
    }  # fmt: skip
    return json.dumps(book, indent=1, ensure_ascii=False)


def _jupyter_cell(at: int, cell: Cell) -> dict[str, Any]:
    common: dict[str, Any] = {"id": f"cell-{at}", "metadata": {}, "source": cell.source.splitlines(keepends=True)}
    if cell.markdown:
        return {"cell_type": "markdown", **common}
    return {"cell_type": "code", "execution_count": None, "outputs": [], **common}


def _cell(text: str, mark: str) -> Cell:
    prefix = f"{mark} MAGIC"
    lines = text.split("\n")
    if not text or not all(line.startswith(prefix) for line in lines):
        return Cell(text)
    plain = "\n".join(line[len(prefix) :].removeprefix(" ") for line in lines)
    if plain.startswith("%md"):
        return Cell(plain.removeprefix("%md").removeprefix("-sandbox").lstrip(" ").removeprefix("\n"), markdown=True)
    return Cell(plain)


def _magic(markdown: str, mark: str) -> str:
    return "\n".join(f"{mark} MAGIC {line}".rstrip() for line in f"%md\n{markdown}".split("\n"))


def _foreign(code: str, mark: str) -> str:
    """A cell that starts with `%sql` or the like is not this language, and must not be read as it."""
    if not code.startswith("%"):
        return code
    return "\n".join(f"{mark} MAGIC {line}".rstrip() for line in code.split("\n"))


def _joined(source: Any) -> str:
    return source if isinstance(source, str) else "".join(source)

"""Notebook sources: a notebook is a list of cells, each in a language, whether it is stored as source text or as .ipynb."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any, Literal, cast

Language = Literal["python", "sql", "md", "run", "pip", "sh", "scala", "r"]

COMMENT = {"python": "#", "sql": "--", "scala": "//", "r": "#"}
HEADER = re.compile(r"^(#|--|//) Databricks notebook source[ \t]*$")
MAGICS: dict[str, Language] = {
    "%python": "python", "%sql": "sql", "%md": "md", "%md-sandbox": "md", "%run": "run", "%pip": "pip", "%sh": "sh", "%scala": "scala", "%r": "r",
}  # fmt: skip


class NotANotebook(ValueError):
    """The file is no notebook."""


@dataclass(frozen=True)
class Cell:
    language: Language
    source: str
    title: str | None = None


def read(path: str, text: str) -> list[Cell]:
    """The cells of a notebook file."""
    if path.endswith(".ipynb"):
        return _from_ipynb(text)
    lines = text.splitlines()
    header = HEADER.match(lines[0]) if lines else None
    if header is None:
        raise NotANotebook(f"{path} does not begin with the line '# Databricks notebook source'")
    default = _language_of(path, header[1])
    blocks = _split(lines[1:], re.compile(rf"^{re.escape(header[1])} COMMAND -+[ \t]*$"))
    return [cell for block in blocks if (cell := _cell(block, header[1], default))]


def _language_of(path: str, comment: str) -> Language:
    default: Language = "sql" if comment == "--" else "python"
    endings: dict[str, Language] = {".sql": "sql", ".scala": "scala", ".r": "r"}
    return endings.get(os.path.splitext(path)[1].lower(), default)


def _split(lines: list[str], separator: re.Pattern[str]) -> list[list[str]]:
    blocks: list[list[str]] = [[]]
    for line in lines:
        if separator.match(line):
            blocks.append([])
        else:
            blocks[-1].append(line)
    return blocks


def _cell(lines: list[str], comment: str, default: Language) -> Cell | None:
    """`# DBTITLE n,title` first, perhaps; then either code, or the lines of another language behind `# MAGIC `."""
    title: str | None = None
    body: list[str] = []
    magic = f"{comment} MAGIC"
    for line in lines:
        if line.startswith(f"{comment} DBTITLE "):
            title = line.partition(",")[2] or None
        elif line.startswith(magic):
            body.append(line.removeprefix(magic).removeprefix(" "))
        else:
            body.append(line)
    source = "\n".join(body).strip("\n")
    return _with_language(source, default, title) if source.strip() else None


def _with_language(source: str, default: Language, title: str | None) -> Cell:
    word = source.split(None, 1)[0] if source.strip() else ""
    language = MAGICS.get(word)
    if language is None:
        return Cell(default, source, title)
    rest = source.lstrip().removeprefix(word)
    return Cell(language, rest.strip("\n") if "\n" in rest else rest.strip(), title)


def _from_ipynb(text: str) -> list[Cell]:
    try:
        document = cast(dict[str, Any], json.loads(text))
        default = cast(Language, document.get("metadata", {}).get("language_info", {}).get("name", "python"))
        return [
            cell
            for one in document["cells"]
            if (cell := _stored(one["cell_type"], one["source"], default if default in COMMENT else "python"))
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise NotANotebook(f"this is not a Jupyter notebook: {error}") from error


def _stored(kind: str, source: str | list[str], default: Language) -> Cell | None:
    text = source if isinstance(source, str) else "".join(source)
    if not text.strip() or kind == "raw":
        return None
    return Cell("md", text) if kind == "markdown" else _with_language(text, default, None)

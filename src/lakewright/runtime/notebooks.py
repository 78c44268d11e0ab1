"""Notebooks: cells run one after another in one namespace, and an executed copy with every output is left behind."""

# pyarrow, IPython and SQLFrame have no types, or only some.
# pyright: basic
from __future__ import annotations

import os
import posixpath
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from lakewright.runtime import sources, surroundings, tables, traces
from lakewright.runtime.dbutils import NotebookExit, NotHere
from lakewright.runtime.shell import Shell, outputs_of
from lakewright.runtime.sources import Cell


@dataclass(frozen=True)
class Outcome:
    """How a notebook ended: `exit` is what `dbutils.notebook.exit` was given, `error` what a cell raised."""

    exit: str | None = None
    error: BaseException | None = None


@dataclass
class Notebook:
    path: str
    cells: list[Cell]
    shell: Shell
    done: list[dict[str, Any]] = field(default_factory=list)

    def run(self) -> Outcome:
        for number, cell in enumerate(self.cells, 1):
            outcome = self._run(number, cell)
            if outcome is not None:
                return outcome
        return Outcome()

    def _run(self, number: int, cell: Cell) -> Outcome | None:
        """Runs a cell and keeps its outputs; answers how the notebook ended, if it did."""
        if cell.language == "md":
            self.done.append({"cell_type": "markdown", "metadata": {}, "source": cell.source})
            return None
        try:
            code = LANGUAGES[cell.language](self, cell.source)
        except NotebookExit as leaving:
            outputs, raised = list[dict[str, Any]](), leaving
        except Exception as error:
            traces.show(error)
            outputs, raised = [_error_output(error)], error
        else:
            outputs, raised = self._execute(code)
        self._keep(number, cell, outputs)
        if isinstance(raised, NotebookExit):
            return Outcome(exit=raised.value)
        return Outcome(error=raised) if raised is not None else None

    def _execute(self, code: str) -> tuple[list[dict[str, Any]], BaseException | None]:
        with outputs_of(self.shell) as outputs:
            result = self.shell.run_cell(code, store_history=True)
        raised = result.error_before_exec or result.error_in_exec
        if raised is not None and not isinstance(raised, NotebookExit):
            outputs.append(_error_output(raised))
        return outputs, raised

    def _keep(self, number: int, cell: Cell, outputs: list[dict[str, Any]]) -> None:
        magic = (
            ""
            if cell.language == "python"
            else f"%{cell.language}" + ("\n" if "\n" in cell.source or cell.language == "sql" else " ")
        )
        self.done.append(
            {
                "cell_type": "code",
                "metadata": {"title": cell.title} if cell.title else {},
                "execution_count": number,
                "source": magic + cell.source,
                "outputs": outputs,
            }
        )

    def executed(self) -> str:
        """The copy with outputs, cells that were not reached included."""
        import nbformat

        ahead = [
            {"cell_type": "code", "metadata": {}, "execution_count": None, "source": c.source, "outputs": []}
            for c in self.cells[len(self.done) :]
        ]
        notebook = nbformat.from_dict(
            {
                "nbformat": 4,
                "nbformat_minor": 4,
                "metadata": {"language_info": {"name": "python"}, "title": posixpath.basename(self.path)},
                "cells": self.done + ahead,
            }
        )
        return cast(str, nbformat.writes(notebook))


# --- what each language of cell becomes


def _python(_notebook: Notebook, source: str) -> str:
    return source


def _sql(notebook: Notebook, source: str) -> str:
    """The last statement's answer is shown, and stays as `_sqldf`. `:name` and `${name}` take the notebook's widgets."""
    notebook.shell.user_ns["_lakewright_sql"] = source
    return "_sqldf = __lakewright_run_sql__(_lakewright_sql)\n_sqldf"


def _included(notebook: Notebook, source: str) -> str:
    """%run: another notebook's cells in this one's namespace."""
    target = source.strip().split()[0].strip("\"'")
    path = _found(notebook.path, target)
    inner = Notebook(path, sources.read(path, Path(path).read_text()), notebook.shell)
    outcome = inner.run()
    if outcome.exit is not None:
        raise NotebookExit(outcome.exit)
    if outcome.error is not None:
        raise outcome.error
    return "pass"


def _found(beside: str, target: str) -> str:
    start = target if os.path.isabs(target) else os.path.join(os.path.dirname(beside), target)
    for ending in ("", ".py", ".ipynb", ".sql"):
        if os.path.isfile(start + ending):
            return start + ending
    raise FileNotFoundError(f"%run {target}: there is no such notebook beside {os.path.basename(beside)}")


def _refused(what: str) -> Callable[[Notebook, str], str]:
    def refuse(_notebook: Notebook, source: str) -> str:
        raise NotHere(what)

    return refuse


LANGUAGES: dict[str, Callable[[Notebook, str], str]] = {
    "python": _python,
    "sql": _sql,
    "run": _included,
    "pip": _refused(
        "%pip does not exist here: a task's libraries belong to its environment, which is locked; add the library there"
    ),
    "sh": _refused("%sh does not exist here"),
    "scala": _refused("%scala does not exist here: cells are Python or SQL"),
    "r": _refused("%r does not exist here: cells are Python or SQL"),
}


# --- outputs


def _error_output(error: BaseException) -> dict[str, Any]:
    lines = traces.text(error).splitlines()
    return {"output_type": "error", "ename": type(error).__name__, "evalue": str(error), "traceback": lines}


def run_sql(text: str) -> Any:
    """The statements of a %sql cell; the answer to the last one as a pandas frame."""
    import re

    import sqlglot

    widgets = surroundings.dbutils().widgets.getAll()
    filled = re.sub(r"\$\{(\w+)\}", lambda found: widgets.get(found[1], found[0]), text)
    statements = [one for one in sqlglot.parse(filled, read="databricks") if one is not None]
    answer = None
    for one in statements:
        # A cell of one statement goes as it was written.
        plain = filled.strip().rstrip(";") if len(statements) == 1 else one.sql(dialect="databricks")
        answer = _ask(plain, one, widgets)
    return None if answer is None else answer.to_pandas()


def _ask(text: str, statement: Any, widgets: dict[str, str]) -> Any:
    """The platform answers, but for temporary views, which exist in this process only."""
    from sqlglot import exp

    session = sys.modules.get("lakewright.runtime.session")
    if session is not None and session.session().uses_views(statement):
        return session.session().sql(text).toArrow()
    named = {placeholder.name for placeholder in statement.find_all(exp.Placeholder)}
    return tables.sql(text, {name: value for name, value in widgets.items() if name in named})

"""Where a task begins: the entries that a forked process runs, `script` for a Python file and `notebook` for a notebook.

Beside its exit code, a task leaves in its result folder:

    outcome.json     {"error": the last line of the traceback | null, "error_trace": the traceback | null}
    exit             what a notebook gave to `dbutils.notebook.exit`; not there if it did not
    notebook.ipynb   the executed copy of a notebook
"""

from __future__ import annotations

import builtins
import json
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType

from lakewright.runtime import traces


def script(argv: list[str]) -> int:
    """Runs a file as `python file arguments…` would: as `__main__`, its own folder first on the path, its traceback and nothing of ours."""
    path, *arguments = argv
    sys.argv = [path, *arguments]
    path = os.path.abspath(path)
    sys.path.insert(0, os.path.dirname(path))
    _surround()
    module = _fresh_main(path)
    try:
        with open(path, "rb") as file:
            code = compile(file.read(), path, "exec")
        exec(code, module.__dict__)  # noqa: S102 (running the task is what this is for)
    except Exception as error:
        traces.show(error)
        leave(error)
        return 1
    leave()
    return 0


def notebook(argv: list[str]) -> int:
    """Runs a notebook's cells; its parameters are the task's."""
    from lakewright.runtime import notebooks, sources, surroundings
    from lakewright.runtime.shell import shell_of

    path = os.path.abspath(argv[0])
    sys.argv = [path]
    sys.path.insert(0, os.path.dirname(path))
    _surround()
    module = _fresh_main(path)
    try:
        cells = sources.read(path, Path(path).read_text())
    except (OSError, sources.NotANotebook) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        leave(error)
        return 1
    book = notebooks.Notebook(path, cells, shell_of(module))
    module.__dict__.update(surroundings.names(), __lakewright_run_sql__=notebooks.run_sql)
    outcome = book.run()
    _result("notebook.ipynb", book.executed())
    if outcome.exit is not None:
        _result("exit", outcome.exit)
    leave(outcome.error)
    return 0 if outcome.error is None else 1


def _surround() -> None:
    """`databricks.sdk.runtime` and `pyspark.sql`, for code that imports what a notebook finds by itself."""
    from lakewright.runtime import hooks

    hooks.install()


def _fresh_main(path: str) -> ModuleType:
    """A new `__main__`, so that what pickles or spawns by it finds the task's code and not the zygote's."""
    module = ModuleType("__main__")
    module.__dict__.update(__file__=path, __builtins__=builtins, __spec__=None)
    sys.modules["__main__"] = module
    return module


def leave(error: BaseException | None = None) -> None:
    """Writes how it ended, for whoever asks."""
    trace = None if error is None else traces.text(error)
    last = None if error is None else traceback.format_exception_only(error)[-1].strip()
    _result("outcome.json", json.dumps({"error": last, "error_trace": trace}))


def _result(name: str, content: str) -> None:
    folder = os.environ.get("LAKEWRIGHT_RESULT")
    if folder is not None:
        Path(folder, name).write_text(content)

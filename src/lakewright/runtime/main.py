"""Where a task begins: the entries that a forked process runs, `script` for a Python file and `notebook` for a notebook."""

from __future__ import annotations

import builtins
import os
import sys
from types import ModuleType, TracebackType


def script(argv: list[str]) -> int:
    """Runs a file as `python file arguments…` would: as `__main__`, its own folder first on the path, its traceback and nothing of ours."""
    path, *arguments = argv
    sys.argv = [path, *arguments]
    path = os.path.abspath(path)
    sys.path.insert(0, os.path.dirname(path))
    module = fresh_main(path)
    try:
        with open(path, "rb") as file:
            code = compile(file.read(), path, "exec")
        exec(code, module.__dict__)  # noqa: S102 (running the task is what this is for)
    except Exception as error:
        error.__traceback__ = below(error.__traceback__, path)
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    return 0


def fresh_main(path: str) -> ModuleType:
    """A new `__main__`, so that what pickles or spawns by it finds the task's code and not the zygote's."""
    module = ModuleType("__main__")
    module.__dict__.update(__file__=path, __builtins__=builtins, __spec__=None)
    sys.modules["__main__"] = module
    return module


def below(trace: TracebackType | None, path: str) -> TracebackType | None:
    """The traceback from the task's own file on."""
    at = trace
    while at is not None and at.tb_frame.f_code.co_filename != path:
        at = at.tb_next
    return at

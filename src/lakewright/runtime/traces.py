"""Tracebacks as the author of a task knows them: from their own code on, without the frames of who runs it."""

from __future__ import annotations

import os
import sys
import traceback
from types import TracebackType

OURS = os.path.dirname(__file__) + os.sep


def text(error: BaseException) -> str:
    return "".join(traceback.format_exception(type(error), error, own(error.__traceback__)))


def show(error: BaseException) -> None:
    """Through `sys.excepthook` if the task has replaced it. Python's own would not show the lines of a notebook's cells."""
    if sys.excepthook is sys.__excepthook__:
        sys.stderr.write(text(error))
    else:
        sys.excepthook(type(error), error, own(error.__traceback__))


def own(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and _runs_others(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def _runs_others(file: str) -> bool:
    return file.startswith(OURS) or f"{os.sep}IPython{os.sep}" in file

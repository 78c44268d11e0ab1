"""The notebook's shell: IPython inside the task's own process, no kernel and no port; what a cell shows is kept and goes on to the log.

Imports IPython at once, and is therefore imported only when a notebook is run.
"""

# pyarrow, IPython and SQLFrame have no types, or only some.
# pyright: basic
from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, TracebackType
from typing import Any

from IPython.core.displayhook import DisplayHook  # noqa: TID253
from IPython.core.displaypub import DisplayPublisher  # noqa: TID253
from IPython.core.interactiveshell import InteractiveShell  # noqa: TID253
from traitlets import Type
from traitlets.config import Config

from lakewright.runtime import traces
from lakewright.runtime.dbutils import NotebookExit

Outputs = list[dict[str, Any]]
CELL_OUTPUT_LIMIT = 10 << 20


class _Publisher(DisplayPublisher):
    """`display(…)`, figures and everything libraries publish."""

    outputs: Outputs | None = None

    def publish(self, data: dict[str, Any], metadata: dict[str, Any] | None = None, **_: Any) -> None:
        _keep(self.outputs, data, metadata)


class _LastValue(DisplayHook):
    """The value of a cell's last expression."""

    outputs: Outputs | None = None

    def __call__(self, result: object = None) -> None:
        if result is None or self.quiet():
            return
        data, metadata = self.compute_format_data(result)
        self.update_user_ns(result)
        _keep(self.outputs, data, metadata)


class Shell(InteractiveShell):
    display_pub_class = Type(_Publisher)
    displayhook_class = Type(_LastValue)

    def enable_gui(self, gui: str | None = None) -> None:
        """There is no screen."""


def shell_of(module: ModuleType) -> Shell:
    """A shell without history, colours or terminal, whose namespace is the module's."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    shell = Shell(config=config, user_module=module, user_ns=module.__dict__)
    for kind in (InteractiveShell, Shell):
        setattr(kind, "_instance", shell)  # noqa: B010 (typed None)  # what `get_ipython()` answers, which MLflow and the SDK ask
    shell.set_custom_exc((BaseException,), _show)
    return shell


def _show(
    _shell: Shell, _kind: type[BaseException], error: BaseException, _trace: TracebackType, tb_offset: int | None = None
) -> None:
    if not isinstance(error, NotebookExit):
        traces.show(error)


@contextmanager
def outputs_of(shell: Shell) -> Iterator[Outputs]:
    """What is shown and printed inside goes into the list as it goes out, in order."""
    outputs: Outputs = []
    before = sys.stdout, sys.stderr
    _collect_in(shell, outputs)
    sys.stdout, sys.stderr = (
        _Copying(stream, name, outputs) for stream, name in zip(before, ("stdout", "stderr"), strict=True)
    )
    try:
        yield outputs
    finally:
        sys.stdout, sys.stderr = before
        _collect_in(shell, None)


def _collect_in(shell: Shell, outputs: Outputs | None) -> None:
    for source in (shell.display_pub, shell.displayhook):
        setattr(source, "outputs", outputs)  # noqa: B010 (theirs is declared without it)


class _Copying:
    """A stream that keeps what is written to it, up to a limit; neighbouring pieces are one output."""

    def __init__(self, stream: Any, name: str, outputs: Outputs) -> None:
        self._lakewright_stream, self._name, self._outputs = stream, name, outputs
        self._room = CELL_OUTPUT_LIMIT

    def write(self, text: str) -> int:
        kept = text[: self._room]
        self._room -= len(kept)
        last = self._outputs[-1] if self._outputs else {}
        if last.get("name") == self._name:
            last["text"] += kept
        elif kept:
            self._outputs.append({"output_type": "stream", "name": self._name, "text": kept})
        return self._lakewright_stream.write(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lakewright_stream, name)


def _keep(outputs: Outputs | None, data: dict[str, Any], metadata: dict[str, Any] | None) -> None:
    storable = {
        kind: base64.b64encode(part).decode() if isinstance(part, bytes) else part for kind, part in data.items()
    }
    if outputs is not None:
        outputs.append({"output_type": "display_data", "data": storable, "metadata": metadata or {}})
    if text := data.get("text/plain"):
        log: Callable[[str], int] = getattr(sys.stdout, "_lakewright_stream", sys.stdout).write
        log(f"{text}\n")

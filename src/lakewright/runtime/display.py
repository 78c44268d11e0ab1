"""display: shows anything tabular as a table, in a notebook as HTML and in a log as text."""

# IPython has types only in part.
# pyright: basic
from __future__ import annotations

from typing import Any

ROWS = 1000


def display(value: Any = None, *others: Any, **_: Any) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    for one in (value, *others):
        frame = as_frame(one)
        if InteractiveShell.initialized():
            from IPython.display import display as show

            show(frame)
        else:
            print(frame.to_string() if hasattr(frame, "to_string") else frame)


def displayHTML(html: str) -> None:
    from IPython.display import HTML
    from IPython.display import display as show

    show(HTML(html))


def as_frame(value: Any) -> Any:
    """A pandas frame of at most a thousand rows, for what is a table; anything else as it is."""
    if hasattr(value, "limit") and hasattr(value, "toPandas"):
        return value.limit(ROWS).toPandas()
    if hasattr(value, "to_pandas"):
        return value.slice(0, ROWS).to_pandas() if hasattr(value, "slice") else value.to_pandas()
    return value

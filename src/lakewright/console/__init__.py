"""The console: what a person sees and does in the browser, page by page over the same operations as everybody."""

from lakewright.console import sessions
from lakewright.console.mount import Console

__all__ = ["Console", "sessions"]

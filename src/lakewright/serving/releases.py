"""What serving wants to know of models: whether a version may answer requests, and where its files are.

A Protocol, because models come from the registry but a test's models come from a shelf.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from lakewright.kernel.context import Ctx
from lakewright.kernel.rules import Verdict


@dataclass(frozen=True)
class Files:
    directory: Path


@runtime_checkable
class Releases(Protocol):
    def servable(self, ctx: Ctx, model: str, version: int) -> Verdict:
        """Whether the caller may put this version on an endpoint: released, and theirs to execute."""
        ...

    def goes_live(self, ctx: Ctx, endpoint: str, shares: Sequence[tuple[str, int, float]]) -> None:
        """For the history of what was live: from now on the endpoint is answered by these versions."""
        ...

    def files(self, ctx: Ctx, model: str, version: int) -> Files:
        """Where the version's MLflow directory is."""
        ...

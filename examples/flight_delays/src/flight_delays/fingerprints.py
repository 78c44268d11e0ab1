"""Fingerprints: what a table was made from, written down beside it, so that making it again from the same is left out."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any


def of_landed(listed: list[dict[str, Any]]) -> str:
    """Of the files that landed, by name, size and time, and of this very code: better code makes better tables."""
    digest = hashlib.sha256()
    for one in sorted(listed, key=lambda one: str(one["path"])):
        digest.update(f"{one['path']} {one.get('file_size')} {one.get('last_modified')}\n".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def recorded(name: str) -> str | None:
    from lakewright.runtime import tables

    return tables.read(name)["fingerprint"][0].as_py() if tables.exists(name) else None


def record(name: str, fingerprint: str) -> None:
    from lakewright.runtime import tables

    tables.write(name, [{"fingerprint": fingerprint}], mode="overwrite")

"""The first version of a Delta table: no rows yet, but a schema every engine can read.

Written by hand, as three JSON lines: creating a table needs no engine, and the commit is on disk (file and folder
synced) before the catalog says that the table is there.
"""

import json
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

from lakewright.catalog.columns import Column, delta_schema, of_delta, partitions_of
from lakewright.kernel.faults import Invalid

FIRST = "00000000000000000000.json"


def first_commit(columns: list[Column], *, now: int, properties: dict[str, str]) -> str:
    schema = delta_schema(columns)
    ntz = "timestamp_ntz" in json.dumps(schema)
    metadata: dict[str, Any] = {
        "id": str(uuid4()), "format": {"provider": "parquet", "options": {}}, "partitionColumns": partitions_of(columns),
        "schemaString": json.dumps(schema, separators=(",", ":")), "createdTime": now,
        "configuration": {k: v for k, v in properties.items() if k.startswith("delta.")},
    }  # fmt: skip
    info: dict[str, Any] = {
        "timestamp": now,
        "operation": "CREATE TABLE",
        "operationParameters": {},
        "engineInfo": "lakewright",
    }
    actions = [{"commitInfo": info}, {"protocol": _protocol(ntz)}, {"metaData": metadata}]
    return "".join(json.dumps(action, separators=(",", ":")) + "\n" for action in actions)


def _protocol(ntz: bool) -> dict[str, Any]:
    """The oldest protocol that can hold the table: the more readers understand it."""
    if not ntz:
        return {"minReaderVersion": 1, "minWriterVersion": 2}
    features = ["timestampNtz"]
    writing = [*features, "invariants", "appendOnly"]
    return {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": writing}


def create(at: Path, columns: list[Column], *, now: int, properties: dict[str, str]) -> None:
    """Begin the table at an empty place, durably."""
    log = at / "_delta_log"
    made = [log, *(folder for folder in log.parents if not folder.exists())]
    log.mkdir(parents=True, mode=0o700)
    descriptor = os.open(log / FIRST, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(first_commit(columns, now=now, properties=properties))
        file.flush()
        os.fsync(file.fileno())
    for folder in (log, *(folder.parent for folder in made)):
        _sync(folder)


def columns_at(location: Path) -> list[Column] | None:
    """The columns of the Delta table that lies there; None when none does."""
    if not (location / "_delta_log").is_dir():
        return None
    from deltalake import DeltaTable  # 0.2 s to import
    from deltalake.exceptions import DeltaError

    try:
        table = DeltaTable(str(location))
        return of_delta(json.loads(table.schema().to_json()), table.metadata().partition_columns)
    except DeltaError as error:
        raise Invalid("what lies at storage_location is not a readable Delta table") from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

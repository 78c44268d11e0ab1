"""Columns: what a table's rows are made of, and the mask a column may wear."""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict

from lakewright.catalog import types
from lakewright.kernel.faults import Invalid

FORBIDDEN_IN_NAMES = frozenset("\n\r\t\x00,;{}()=`\"'\\")
"""What Parquet and Delta cannot spell without column mapping, and what ends a quoted identifier."""


class ColumnMask(BaseModel):
    model_config = ConfigDict(extra="forbid")

    function_name: str
    using_column_names: list[str] = []


class Column(BaseModel):
    name: str
    type_text: str
    type_name: str
    type_json: str = ""
    type_precision: int = 0
    type_scale: int = 0
    position: int
    nullable: bool = True
    comment: str | None = None
    mask: ColumnMask | None = None
    partition_index: int | None = None


class RowFilter(BaseModel):
    model_config = ConfigDict(extra="forbid")

    function_name: str
    input_column_names: list[str]


class AskedColumn(BaseModel):
    """A column as clients send it: `type_text` decides; the other spellings are derived from it."""

    model_config = ConfigDict(extra="forbid")

    name: str
    type_text: str | None = None
    type_name: str | None = None
    type_json: str | None = None
    type_precision: int | None = None
    type_scale: int | None = None
    type_interval_type: str | None = None
    position: int | None = None
    nullable: bool = True
    comment: str | None = None
    partition_index: int | None = None
    mask: ColumnMask | None = None


def made(asked: list[AskedColumn]) -> list[Column]:
    """The columns of a table somebody asks for, in their order."""
    in_order = sorted(enumerate(asked), key=lambda pair: pair[0] if pair[1].position is None else pair[1].position)
    columns = [
        column(a.name, _type_of(a), at, nullable=a.nullable, comment=a.comment, partition_index=a.partition_index)
        for at, (_, a) in enumerate(in_order)
    ]
    distinct(columns)
    return columns


def column(
    name: str,
    of: types.DataType,
    position: int,
    *,
    nullable: bool = True,
    comment: str | None = None,
    partition_index: int | None = None,
) -> Column:
    return Column(
        name=spelled(name), type_text=of.text, type_name=of.name, position=position, nullable=nullable, comment=comment,
        type_json=json.dumps(types.field(name, of, nullable=nullable, comment=comment), separators=(",", ":")),
        type_precision=of.precision, type_scale=of.scale, partition_index=partition_index,
    )  # fmt: skip


def of_delta(schema: dict[str, Any], partitions: list[str] | None = None) -> list[Column]:
    """The columns of a Delta table, from the schema in its log."""
    places = {name: at for at, name in enumerate(partitions or [])}
    return [
        column(
            f["name"], types.from_spark(f["type"]), at, nullable=bool(f.get("nullable", True)),
            comment=f.get("metadata", {}).get("comment"), partition_index=places.get(f["name"]),
        )
        for at, f in enumerate(schema["fields"])
    ]  # fmt: skip


def delta_schema(columns: list[Column]) -> dict[str, Any]:
    """The schema to write into a Delta log for these columns."""
    fields = [types.field(c.name, types.parse(c.type_text), nullable=c.nullable, comment=c.comment) for c in columns]
    return {"type": "struct", "fields": fields}


def partitions_of(columns: list[Column]) -> list[str]:
    marked = [(c.partition_index, c.name) for c in columns if c.partition_index is not None]
    return [name for _, name in sorted(marked)]


def spelled(name: str) -> str:
    """A column name as it is kept: its case stays, but it must be possible to write it into a file and into SQL."""
    if not name or len(name) > 255:
        raise Invalid("a column name must have 1 to 255 characters")
    if bad := next((c for c in name if c in FORBIDDEN_IN_NAMES or ord(c) < 32 or 0xD800 <= ord(c) < 0xE000), None):
        raise Invalid(f"column name '{name!r}' may not contain {bad!r}")
    return name


def distinct(columns: list[Column]) -> None:
    """SQL does not tell `Id` from `id`, so neither may a table."""
    seen: set[str] = set()
    for each in columns:
        if each.name.lower() in seen:
            raise Invalid(f"column '{each.name}' is given twice")
        seen.add(each.name.lower())


def named(columns: list[Column], name: str) -> Column | None:
    return next((c for c in columns if c.name.lower() == name.lower()), None)


def _type_of(asked: AskedColumn) -> types.DataType:
    if asked.type_text:
        return types.parse(asked.type_text)
    if asked.type_json:
        return types.from_spark(_spark_type(asked.type_json))
    if asked.type_name == "DECIMAL" and asked.type_precision:
        return types.parse(f"decimal({asked.type_precision},{asked.type_scale or 0})")
    if asked.type_name:
        return types.parse(asked.type_name.lower())
    raise Invalid(f"column '{asked.name}' has no type")


def _spark_type(text: str) -> Any:
    """Clients send either the bare type (`"long"`) or the whole field that holds it."""
    try:
        read: Any = json.loads(text)
    except ValueError as error:
        raise Invalid(f"type_json is not JSON: {text[:80]}") from error
    match read:
        case {"name": str(), "type": spark}:
            return spark
        case _:
            return read

"""Column types in their spellings: Arrow's, Delta's and the one people write."""

# pyarrow, sqlglot and duckdb have no types, or only some.
# pyright: basic
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lakewright.catalog import types
from lakewright.kernel.faults import NotSupported

if TYPE_CHECKING:
    import pyarrow as pa


def arrow_of(text: str) -> pa.DataType:
    """`array<struct<a:int>>` as Arrow."""
    return _arrow(types.parse(text).spark)


def _arrow(spark: Any) -> pa.DataType:
    import pyarrow as pa

    simple = {
        "boolean": pa.bool_(), "byte": pa.int8(), "short": pa.int16(), "integer": pa.int32(), "long": pa.int64(),
        "float": pa.float32(), "double": pa.float64(), "string": pa.string(), "binary": pa.binary(), "date": pa.date32(),
        "timestamp": pa.timestamp("us", "UTC"), "timestamp_ntz": pa.timestamp("us"),
    }  # fmt: skip
    if isinstance(spark, str):
        if spark.startswith("decimal"):
            precision, scale = spark[8:-1].split(",")
            return pa.decimal128(int(precision), int(scale))
        return simple[spark]
    if spark["type"] == "array":
        return pa.list_(_arrow(spark["elementType"]))
    if spark["type"] == "map":
        return pa.map_(_arrow(spark["keyType"]), _arrow(spark["valueType"]))
    return pa.struct([pa.field(f["name"], _arrow(f["type"])) for f in spark["fields"]])


def text_of(of: pa.DataType) -> str:
    """An Arrow type as people write it; NotSupported for what no table can hold."""
    import pyarrow as pa
    import pyarrow.types as t

    if t.is_dictionary(of):
        return text_of(of.value_type)
    if t.is_timestamp(of):
        return "timestamp" if of.tz else "timestamp_ntz"
    if t.is_decimal(of) and of.precision <= 38:
        return f"decimal({of.precision},{of.scale})"
    if t.is_list(of) or t.is_large_list(of) or t.is_fixed_size_list(of) or t.is_list_view(of):
        return f"array<{text_of(of.value_type)}>"
    if t.is_map(of):
        return f"map<{text_of(of.key_type)},{text_of(of.item_type)}>"
    if t.is_struct(of):
        return "struct<" + ",".join(f"`{f.name}`:{text_of(f.type)}" for f in of) + ">"
    names = [
        (t.is_boolean, "boolean"), (t.is_int8, "tinyint"), (t.is_int16, "smallint"), (t.is_uint8, "smallint"),
        (t.is_int32, "int"), (t.is_uint16, "int"), (t.is_int64, "bigint"), (t.is_uint32, "bigint"), (t.is_uint64, "bigint"),
        (t.is_float16, "float"), (t.is_float32, "float"), (t.is_float64, "double"), (t.is_date, "date"),
        (t.is_string, "string"), (t.is_large_string, "string"), (t.is_binary, "binary"), (t.is_large_binary, "binary"),
        (t.is_null, "string"),
    ]  # fmt: skip
    for fits, name in names:
        if fits(of):
            return name
    if of in (pa.string_view(), pa.binary_view()):
        return "string" if of == pa.string_view() else "binary"
    raise NotSupported(f"Columns of Arrow type {of} are not supported")


def columns_of(schema: pa.Schema) -> list[dict[str, Any]]:
    """What creating a table for these rows asks for."""
    return [
        {"name": f.name, "type_text": text_of(f.type), "nullable": True, "position": i} for i, f in enumerate(schema)
    ]


def table_of(columns: Sequence[tuple[str, str]], rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as Arrow. Times may be given in milliseconds since the epoch."""
    import pyarrow as pa

    arrays: list[Any] = []
    for name, text in columns:
        values, of = [r.get(name) for r in rows], arrow_of(text)
        if text in ("timestamp", "date"):
            moments = pa.array([v * 1000 if isinstance(v, int) else v for v in values], pa.timestamp("us", "UTC"))
            arrays.append(moments.cast(of) if text == "date" else moments)
        else:
            arrays.append(pa.array(values, of))
    return pa.table(arrays, names=[n for n, _ in columns])

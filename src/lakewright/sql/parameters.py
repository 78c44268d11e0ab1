"""Values a caller sends beside a statement. They become typed constants of the parsed statement, never text in it."""

# pyarrow, sqlglot and duckdb have no types, or only some.
# pyright: basic
from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from lakewright.catalog import types
from lakewright.kernel.faults import Invalid

if TYPE_CHECKING:
    from sqlglot import exp


def of_values(values: Mapping[str, Any] | Sequence[Any] | None) -> dict[str, exp.Expr]:
    """Python values by name, or in the order of their question marks."""
    named = values if isinstance(values, Mapping) else {str(i): v for i, v in enumerate(values or (), 1)}
    return {name: constant(value) for name, value in named.items()}


def constant(value: Any) -> exp.Expr:
    from sqlglot import exp

    if value is None:
        return exp.Null()
    if isinstance(value, bool):
        return exp.Boolean(this=value)
    if isinstance(value, int):
        return typed(str(value), "bigint")
    if isinstance(value, float):
        return typed(repr(value), "double")
    if isinstance(value, Decimal):
        digits = max(len(value.as_tuple().digits), 1)
        scale = max(-int(value.as_tuple().exponent), 0)
        return typed(format(value, "f"), f"decimal({max(digits, scale + 1)},{scale})")
    if isinstance(value, dt.datetime):
        return typed(value.isoformat(sep=" "), "timestamp" if value.tzinfo else "timestamp_ntz")
    if isinstance(value, dt.date):
        return typed(value.isoformat(), "date")
    if isinstance(value, str):
        return exp.Literal.string(value)
    raise Invalid(f"A parameter may not be a {type(value).__name__}")


def typed(value: str | None, type_text: str | None) -> exp.Expr:
    """A value as the statement execution API sends it: text, and the type it is to be read as."""
    from sqlglot import exp

    text = (type_text or "STRING").strip()
    if text.upper() == "VOID" or value is None:
        return exp.Null()
    if text.upper() in ("DECIMAL", "DEC", "NUMERIC"):
        _number(value, "decimal")
        return constant(Decimal(value))  # as many digits as the value has
    of = types.parse("timestamp_ntz" if text.upper() == "TIMESTAMP_NTZ" else text.lower())
    if of.text == "string":
        return exp.Literal.string(value)
    if of.name in ("ARRAY", "MAP", "STRUCT", "BINARY"):
        raise Invalid(f"A parameter may not be of type {of.text}")
    if of.name in ("BYTE", "SHORT", "INT", "LONG", "DECIMAL", "FLOAT", "DOUBLE"):
        _number(value, of.text)
    if of.name == "BOOLEAN":
        if value.lower() not in ("true", "false"):
            raise Invalid(f"[INVALID_PARAMETER] '{value[:80]}' is not a {of.text}")
        return exp.Boolean(this=value.lower() == "true")
    return exp.Cast(this=exp.Literal.string(value), to=exp.DataType.build(of.text, dialect="databricks"))


def _number(value: str, of: str) -> None:
    try:
        float(value)
    except ValueError as e:
        raise Invalid(f"[INVALID_PARAMETER] '{value[:80]}' is not a {of}") from e

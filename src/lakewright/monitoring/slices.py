"""Slices: parts of a table a monitor looks at by themselves, given as a column or as a condition.

The text comes from a person and ends up in SQL, so it is read as an expression tree and only comparisons of columns
with constants get through: no functions, no sub-queries, nothing that could reach outside the rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lakewright.kernel.faults import Invalid
from lakewright.ml.frames import literal, quoted

if TYPE_CHECKING:
    import duckdb

MOST_VALUES = 20
ALLOWED = (
    "Column", "Identifier", "Literal", "Boolean", "Null", "And", "Or", "Not", "EQ", "NEQ", "GT", "GTE", "LT", "LTE",
    "In", "Is", "Between", "Paren", "Like", "Neg",
)  # fmt: skip


@dataclass(frozen=True)
class Slice:
    """`key` is the expression as it was given; `condition` the SQL that selects the rows of this value."""

    key: str | None
    value: str | None
    condition: str


WHOLE = Slice(None, None, "TRUE")


@dataclass(frozen=True)
class Expression:
    text: str
    sql: str
    is_column: bool


def parse(text: str, columns: Sequence[str]) -> Expression:
    """Invalid, with what is wrong, for anything but a column or a condition on columns."""
    sqlglot: Any = import_module("sqlglot")
    exp: Any = sqlglot.exp
    try:
        tree = sqlglot.parse_one(text, dialect="databricks")
    except sqlglot.errors.SqlglotError as error:
        raise Invalid(f"slicing_exprs: '{text}' is not an expression") from error
    known = {name.lower(): name for name in columns}
    for node in tree.walk():
        if type(node).__name__ not in ALLOWED:
            raise Invalid(f"slicing_exprs: '{text}' may only compare columns with constants")
    for column in tree.find_all(exp.Column):
        if column.name.lower() not in known or column.table:
            raise Invalid(f"slicing_exprs: the table has no column '{column.sql()}'")
        column.set("this", exp.to_identifier(known[column.name.lower()], quoted=True))
    return Expression(text, tree.sql(dialect="duckdb"), isinstance(tree, exp.Column))


def of(database: "duckdb.DuckDBPyConnection", source: str, expressions: Sequence[Expression]) -> list[Slice]:
    """The whole table and each slice of it: a column's most frequent values, a condition's true and false."""
    found = [WHOLE]
    for each in expressions:
        if not each.is_column:
            found += [Slice(each.text, "true", f"({each.sql})"), Slice(each.text, "false", f"NOT ({each.sql})")]
            continue
        values = database.execute(
            f"SELECT {each.sql}::VARCHAR FROM {source} WHERE {each.sql} IS NOT NULL"
            f" GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT {MOST_VALUES}"
        ).fetchall()
        found += [Slice(each.text, str(v), f"{each.sql}::VARCHAR = {literal(str(v))}") for (v,) in values]
    return found


def source(table: str, conditions: Sequence[str], without: Sequence[str] = ()) -> str:
    """Rows of a table under all of the conditions, as a sub-query; some columns left out."""
    left_out = f" EXCLUDE ({', '.join(map(quoted, without))})" if without else ""
    return f"(SELECT *{left_out} FROM {table} WHERE {' AND '.join(f'({c})' for c in conditions) or 'TRUE'})"

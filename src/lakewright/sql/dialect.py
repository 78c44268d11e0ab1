"""Databricks SQL, as DuckDB must be told it: one grammar in, one engine out, the same answers.

sqlglot translates most of it. What is here are the places where DuckDB would take the translation and silently answer
something else (`cast(2.7 as int)` rounds, `dayofweek` starts at 0, a date plus a day is a timestamp …): they become
macros that follow the type of what they are given. `tests/sql/test_dialect.py` holds the agreed answers.
"""

# pyarrow, sqlglot and duckdb have no types, or only some.
# pyright: basic
from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from lakewright.kernel.faults import Invalid

if TYPE_CHECKING:
    from sqlglot import exp

MACROS: tuple[str, ...] = (
    # Whole numbers out of anything: fractions are cut off, text must be a whole number.
    r"""CREATE MACRO dbx_whole(x DOUBLE) AS trunc(x), (x FLOAT) AS trunc(x), (x DECIMAL(38, 10)) AS trunc(x),
        (x BIGINT) AS x, (x HUGEINT) AS x, (x BOOLEAN) AS CAST(x AS INTEGER), (x TIMESTAMPTZ) AS CAST(floor(epoch(x)) AS BIGINT),
        (x VARCHAR) AS CASE WHEN x IS NULL OR regexp_full_match(x, '\s*[+-]?\d+\s*') THEN x ELSE error('CAST_INVALID_INPUT') END""",
    r"""CREATE MACRO dbx_whole_or_null(x DOUBLE) AS trunc(x), (x FLOAT) AS trunc(x), (x DECIMAL(38, 10)) AS trunc(x),
        (x BIGINT) AS x, (x HUGEINT) AS x, (x BOOLEAN) AS CAST(x AS INTEGER), (x TIMESTAMPTZ) AS CAST(floor(epoch(x)) AS BIGINT),
        (x VARCHAR) AS CASE WHEN regexp_full_match(x, '\s*[+-]?\d+\s*') THEN x END""",
    """CREATE MACRO dbx_text(x TIMESTAMPTZ) AS CAST(x AT TIME ZONE 'UTC' AS VARCHAR), (x TIMESTAMP) AS CAST(x AS VARCHAR),
        (x DATE) AS CAST(x AS VARCHAR), (x VARCHAR) AS x, (x) AS CAST(x AS VARCHAR)""",
    # Days, weeks, months and years added to a date leave it a date.
    """CREATE MACRO dbx_add(d DATE, i INTERVAL) AS CAST(d + i AS DATE), (d TIMESTAMP, i INTERVAL) AS d + i,
        (d TIMESTAMPTZ, i INTERVAL) AS d + i, (d INTERVAL, i INTERVAL) AS d + i,
        (d VARCHAR, i INTERVAL) AS CAST(d AS TIMESTAMPTZ) + i""",
    """CREATE MACRO dbx_date(x DATE) AS x, (x TIMESTAMP) AS CAST(x AS DATE), (x TIMESTAMPTZ) AS CAST(x AT TIME ZONE 'UTC' AS DATE),
        (x VARCHAR) AS CAST(x AS DATE)""",
    """CREATE MACRO dbx_months_between(a, b) AS CASE
        WHEN day(CAST(a AS TIMESTAMP)) = day(CAST(b AS TIMESTAMP))
          OR (last_day(CAST(a AS TIMESTAMP)) = CAST(a AS DATE) AND last_day(CAST(b AS TIMESTAMP)) = CAST(b AS DATE))
        THEN CAST(12 * (year(CAST(a AS TIMESTAMP)) - year(CAST(b AS TIMESTAMP)))
          + month(CAST(a AS TIMESTAMP)) - month(CAST(b AS TIMESTAMP)) AS DOUBLE)
        ELSE round(12 * (year(CAST(a AS TIMESTAMP)) - year(CAST(b AS TIMESTAMP)))
          + month(CAST(a AS TIMESTAMP)) - month(CAST(b AS TIMESTAMP))
          + (86400 * (day(CAST(a AS TIMESTAMP)) - day(CAST(b AS TIMESTAMP)))
          + epoch(CAST(a AS TIMESTAMP) - date_trunc('day', CAST(a AS TIMESTAMP)))
          - epoch(CAST(b AS TIMESTAMP) - date_trunc('day', CAST(b AS TIMESTAMP)))) / (31 * 86400.0), 8) END""",
    "CREATE MACRO dbx_unix_timestamp(x) AS CAST(floor(epoch(CAST(x AS TIMESTAMPTZ))) AS BIGINT)",
    "CREATE MACRO dbx_pmod(a, b) AS ((a % b) + b) % b",
    "CREATE MACRO dbx_substring(s, p, n) AS substring(s, CASE WHEN p = 0 THEN 1 ELSE p END, n), (s, p) AS substring(s, CASE WHEN p = 0 THEN 1 ELSE p END)",
    "CREATE MACRO dbx_position(a, x) AS CASE WHEN a IS NULL OR x IS NULL THEN NULL ELSE coalesce(list_position(a, x), 0) END",
    "CREATE MACRO dbx_isnan(x) AS coalesce(isnan(x), false)",
    """CREATE MACRO dbx_skewness(x) AS CASE WHEN count(x) < 3 THEN CASE WHEN count(x) = 2 THEN 0.0::DOUBLE END
        ELSE skewness(x) * (count(x) - 2) / sqrt(count(x) * (count(x) - 1)) END""",
    "CREATE MACRO dbx_initcap(s) AS array_to_string(list_transform(string_split(s, ' '), lambda w: upper(w[1]) || lower(w[2:])), ' ')",
    "CREATE MACRO dbx_bround(x) AS round_even(x, 0), (x, n) AS round_even(x, n)",
    (
        "CREATE MACRO dbx_format_number(x, n) AS CASE WHEN n = 0 THEN format('{:,.0f}', x::DOUBLE) WHEN n = 1 THEN format('{:,.1f}', x::DOUBLE) "
        "WHEN n = 2 THEN format('{:,.2f}', x::DOUBLE) WHEN n = 3 THEN format('{:,.3f}', x::DOUBLE) ELSE format('{:,.4f}', x::DOUBLE) END"
    ),
    "CREATE MACRO dbx_get(a, i) AS CASE WHEN i < 0 THEN NULL ELSE a[i + 1] END",
    "CREATE MACRO dbx_assert(x) AS CASE WHEN x THEN NULL ELSE error('ASSERT_TRUE failed') END",
)

# Functions that sqlglot knows by no class of its own, and what they are called in DuckDB. Anything else unnamed is refused.
ANONYMOUS: dict[str, str] = {
    "pmod": "dbx_pmod", "isnull": "dbx_isnull", "isnotnull": "dbx_isnotnull", "weekday": "dbx_weekday", "get": "dbx_get",
    "bround": "dbx_bround", "format_number": "dbx_format_number", "every": "bool_and", "some": "bool_or", "any": "bool_or",
    "unix_timestamp": "dbx_unix_timestamp", "make_date": "make_date", "cardinality": "len", "btrim": "trim",
    "date_part": "date_part", "list_value": "list_value", "raise_error": "error", "assert_true": "dbx_assert",
    "range": "range", "regr_slope": "regr_slope", "regr_intercept": "regr_intercept", "regr_r2": "regr_r2",
    "bool_and": "bool_and", "bool_or": "bool_or", "positive": "+", "negative": "-", "forall": "dbx_forall", "exists": "dbx_exists",
    "log1p": "dbx_log1p", "expm1": "dbx_expm1", "rint": "round_even", "octet_length": "octet_length", "substr": "substr",
}  # fmt: skip
CASTS = {
    "bigint": "BIGINT", "smallint": "SMALLINT", "tinyint": "TINYINT", "float": "FLOAT", "boolean": "BOOLEAN",
    "binary": "BLOB", "decimal": "DECIMAL(10, 0)", "int": "INT", "double": "DOUBLE", "string": "TEXT", "date": "DATE",
}  # fmt: skip


def macros(text: str) -> list[str]:
    """Those that the rendered text calls: each costs half a millisecond to define."""
    called = set(re.findall(r"\bdbx_\w+", text))
    return [m for m in MACROS if m.split("(")[0].split()[-1] in called]


def parse(sql: str) -> exp.Expr:
    """One statement, or a refusal that quotes where reading stopped."""
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        found = [s for s in sqlglot.parse(sql, read="databricks") if s is not None]
    except (SqlglotError, RecursionError, ValueError, AttributeError, TypeError, KeyError) as e:
        raise Invalid(f"[PARSE_SYNTAX_ERROR] {_place(e)}", code="BAD_REQUEST") from e
    if len(found) != 1:
        raise Invalid("[PARSE_SYNTAX_ERROR] Exactly one statement is expected", code="BAD_REQUEST")
    return found[0]


def render(expression: exp.Expr) -> str:
    """As DuckDB reads it. What has no translation is refused, never passed on as it stands."""
    from sqlglot import ErrorLevel
    from sqlglot.errors import SqlglotError

    try:
        return expression.sql(dialect=_dialect(), unsupported_level=ErrorLevel.RAISE, comments=False)
    except (SqlglotError, RecursionError, ValueError) as e:
        raise Invalid(f"[UNSUPPORTED_FEATURE] {str(e).splitlines()[0][:200]}", code="BAD_REQUEST") from e


def _place(error: Exception) -> str:
    errors: list[dict[str, Any]] = getattr(error, "errors", None) or []
    if not errors:
        return "The statement could not be read"
    first = errors[0]
    return f"{first.get('description', 'Syntax error')} (line {first.get('line')}, pos {first.get('col')}) near '{first.get('highlight', '')}'"


@cache
def _dialect() -> Any:
    from sqlglot import exp
    from sqlglot.dialects.duckdb import DuckDB

    whole = {exp.DType.TINYINT, exp.DType.SMALLINT, exp.DType.INT, exp.DType.BIGINT}
    day_units = {"DAY", "DAYS", "WEEK", "WEEKS", "MONTH", "MONTHS", "QUARTER", "QUARTERS", "YEAR", "YEARS"}
    base: dict[Any, Callable[..., str]] = DuckDB.Generator.TRANSFORMS
    Parent: Any = DuckDB.Generator

    def cast(self: Any, e: Any) -> str:
        safe = isinstance(e, exp.TryCast)
        to = e.to.copy()
        if e.args.get("format") or e.args.get("action"):
            raise ValueError("CAST with a format")
        if to.this == exp.DType.TIMESTAMP:
            to = exp.DataType.build("timestamptz")
        elif to.this == exp.DType.TIMESTAMPNTZ:
            to = exp.DataType.build("timestamp", dialect="duckdb")
        this = self.sql(e, "this")
        plain = isinstance(e.this, exp.Literal) and (e.this.is_string is False and e.this.is_int)
        if to.this in whole and not plain:
            this = f"{'dbx_whole_or_null' if safe else 'dbx_whole'}({this})"
        elif to.is_type(*exp.DataType.TEXT_TYPES) and not isinstance(e.this, exp.Literal):
            return f"dbx_text({this})"
        return f"{'TRY_CAST' if safe else 'CAST'}({this} AS {self.sql(to)})"

    def add(self: Any, e: Any, sign: str) -> str:
        interval, other = (e.expression, e.this) if isinstance(e.expression, exp.Interval) else (e.this, e.expression)
        if isinstance(interval, exp.Interval) and str(interval.args.get("unit") or "").upper() in day_units:
            moved = self.sql(interval) if sign == "+" else f"-({self.sql(interval)})"
            return f"dbx_add({self.sql(other)}, {moved})"
        return self.binary(e, sign)

    def days(self: Any, e: Any) -> str:
        unit = _word(e.args.get("unit") or "DAY").rstrip("s")
        return f"dbx_date(dbx_date({self.sql(e, 'this')}) + to_{unit}s(CAST({self.sql(e, 'expression')} AS INTEGER)))"

    def timestamp_add(self: Any, e: Any) -> str:
        unit = _word(e.args.get("unit") or "DAY").rstrip("s")
        return (
            f"(CAST({self.sql(e, 'this')} AS TIMESTAMPTZ) + to_{unit}s(CAST({self.sql(e, 'expression')} AS INTEGER)))"
        )

    def between(self: Any, e: Any) -> str:
        """Whole units that have passed, where DuckDB's date_diff counts the boundaries crossed."""
        start, end = self.sql(e, "expression"), self.sql(e, "this")
        return f"date_sub('{_word(e.args['unit'])}', CAST({start} AS TIMESTAMPTZ), CAST({end} AS TIMESTAMPTZ))"

    def extract(self: Any, e: Any) -> str:
        unit = _word(e.this).upper()
        if unit in ("DOW", "DAYOFWEEK"):
            return f"(dayofweek(dbx_date({self.sql(e, 'expression')})) + 1)"
        if unit in ("DOW_ISO", "DAYOFWEEK_ISO"):
            return f"isodow({self.sql(e, 'expression')})"
        return f"EXTRACT({unit} FROM {self.sql(e, 'expression')})"

    def like(self: Any, e: Any) -> str:
        text = base[exp.Like](self, e) if exp.Like in base else self.binary(e, "LIKE")
        if "\\" in e.expression.name and not isinstance(e.parent, exp.Escape):
            text += " ESCAPE '\\'"
        return text

    def call(name: str, *keys: str) -> Callable[[Any, Any], str]:
        def generate(self: Any, e: Any) -> str:
            if extra := [k for k, v in e.args.items() if v and k not in keys and k not in ("unit",)]:
                raise ValueError(f"{e.sql_name()} with {', '.join(extra)}")
            return f"{name}({', '.join(self.sql(e, k) for k in keys if e.args.get(k) is not None)})"

        return generate

    def anonymous(self: Any, e: Any) -> str:
        name = str(e.this).lower()
        arguments = [self.sql(a) for a in e.expressions]
        if name in CASTS and len(arguments) == 1:
            return cast(self, exp.cast(e.expressions[0].copy(), CASTS[name], dialect="duckdb"))
        if name == "weekday":
            return f"(isodow(dbx_date({arguments[0]})) - 1)"
        if name == "isnull":
            return f"({arguments[0]} IS NULL)"
        if name == "isnotnull":
            return f"({arguments[0]} IS NOT NULL)"
        if name == "forall":
            return f"(len(list_filter({arguments[0]}, {arguments[1]})) = len({arguments[0]}))"
        if name == "log1p":
            return f"ln(1 + ({arguments[0]}))"
        if name == "expm1":
            return f"(exp({arguments[0]}) - 1)"
        # Other names come from sqlglot itself: the wall has refused what people wrote and nobody listed.
        return f"{ANONYMOUS.get(name, name)}({', '.join(arguments)})"

    def to_unix(self: Any, e: Any) -> str:
        if e.args.get("format") is None or e.args["format"].name.replace("strict", "") == "%Y-%m-%d %H:%M:%S":
            return f"dbx_unix_timestamp({self.sql(e, 'this')})"
        return f"CAST(floor(epoch(strptime({self.sql(e, 'this')}, {self.format_time(e)}))) AS BIGINT)"

    def exists(self: Any, e: Any) -> str:
        if e.expression:
            return f"(len(list_filter({self.sql(e, 'this')}, {self.sql(e, 'expression')})) > 0)"
        return f"EXISTS{self.wrap(e)}"

    def in_order(self: Any, e: Any) -> str:
        return f"arg_{'max' if isinstance(e, exp.ArgMax) else 'min'}_null({self.sql(e, 'this')}, {self.sql(e, 'expression')})"

    class Lakewright(DuckDB):
        class Generator(Parent):
            TRANSFORMS = {
                **base,
                exp.Cast: cast,
                exp.TryCast: cast,
                exp.Add: lambda self, e: add(self, e, "+"),
                exp.Sub: lambda self, e: add(self, e, "-"),
                exp.TsOrDsAdd: days,
                exp.AddMonths: lambda self, e: (
                    f"dbx_date(dbx_date({self.sql(e, 'this')}) + to_months(CAST({self.sql(e, 'expression')} AS INTEGER)))"
                ),
                exp.TimestampAdd: timestamp_add,
                exp.DayOfWeek: lambda self, e: f"(dayofweek(dbx_date({self.sql(_undated(e.this))})) + 1)",
                exp.Extract: extract,
                exp.MonthsBetween: lambda self, e: (
                    f"dbx_months_between({self.sql(e, 'this')}, {self.sql(e, 'expression')})"
                ),
                exp.TimestampDiff: between,
                exp.DateTrunc: lambda self, e: (
                    f"CAST(date_trunc({_unit_text(e)}, dbx_date({self.sql(e, 'this')})) AS DATE)"
                ),
                exp.TimestampTrunc: lambda self, e: (
                    f"date_trunc({_unit_text(e)}, CAST({self.sql(e, 'this')} AS TIMESTAMPTZ))"
                ),
                exp.Substring: call("dbx_substring", "this", "start", "length"),
                exp.ArrayPosition: call("dbx_position", "this", "expression"),
                exp.IsNan: call("dbx_isnan", "this"),
                exp.Quantile: call("quantile_cont", "this", "quantile"),
                exp.ApproxQuantile: lambda self, e: f"quantile_disc({self.sql(e, 'this')}, {self.sql(e, 'quantile')})",
                exp.ArgMax: in_order,
                exp.ArgMin: in_order,
                exp.Kurtosis: call("kurtosis_pop", "this"),
                exp.Skewness: call("dbx_skewness", "this"),
                exp.Initcap: lambda self, e: f"dbx_initcap({self.sql(e, 'this')})",
                exp.Format: lambda self, e: (
                    f"printf({', '.join([self.sql(e, 'this'), *(self.sql(x) for x in e.expressions)])})"
                ),
                exp.Like: like,
                exp.StrToUnix: to_unix,
                exp.Any: lambda self, e: (
                    f"bool_or({self.sql(e, 'this')})" if not _has_rows(e.this) else Parent.any_sql(self, e)
                ),
                exp.Exists: exists,
                exp.Anonymous: anonymous,
                exp.Array: lambda self, e: f"[{self.expressions(e, flat=True)}]",
            }

    return Lakewright


def _undated(e: Any) -> Any:
    """sqlglot wraps some arguments in a cast to date; the macro does that by itself."""
    from sqlglot import exp

    return e.this if isinstance(e, exp.TsOrDsToDate) and not e.args.get("format") else e


def _has_rows(e: Any) -> bool:
    from sqlglot import exp

    return isinstance(e, exp.Query | exp.Tuple | exp.Subquery | exp.Array)


def _word(node: Any) -> str:
    """A unit, which goes into the text as it is and therefore must be a word."""
    word = str(node if isinstance(node, str) else node.name).lower()
    if not word.replace("_", "").isalpha() or not word.isascii():
        raise ValueError("a unit that is not a word")
    return word


def _unit_text(e: Any) -> str:
    unit = e.args.get("unit")
    name = (unit.name if unit is not None else "day").lower()
    known = _UNITS.get(name, name)
    if not known.isalpha():
        raise ValueError("a unit that is not a word")
    return f"'{known}'"


_UNITS = {"mm": "month", "mon": "month", "yy": "year", "yyyy": "year", "dd": "day", "q": "quarter"}

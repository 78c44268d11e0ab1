"""The wall: what a statement may be made of. Whatever is not listed here, by name, does not reach an engine.

It judges the parsed statement, never its text, and it is an allow-list: a construct that nobody has thought about is
refused. Tables are not judged here but resolved one by one in `rewrite`.
"""

# pyarrow, sqlglot and duckdb have no types, or only some.
# pyright: basic
from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from lakewright.kernel.faults import Denied, Invalid, NotSupported, TooLarge
from lakewright.sql import dialect

if TYPE_CHECKING:
    from sqlglot import exp

LARGEST_TEXT = 256_000
MOST_NODES = 50_000
OURS = "__lw_"
"""Prefix of names that only the rewriter may use."""

_CLAUSES = """Select Union Intersect Except Subquery From Join Where Group Having Qualify Order Ordered Limit Offset Fetch
    With CTE Table TableAlias TableSample Values Tuple Lateral Window WindowSpec Distinct Cube Rollup GroupingSets Pivot
    PivotAlias PivotAny UnpivotColumns Filter WithinGroup IgnoreNulls RespectNulls Version Alias Aliases Star Column Identifier
    Paren Lambda Kwarg PropertyEQ Slice Bracket Dot Literal RawString Null Boolean DataType DataTypeParam Var Interval
    IntervalSpan ColumnDef Hint"""
_OPERATORS = """Add Sub Mul Div IntDiv Mod Neg And Or Xor Not EQ NEQ GT GTE LT LTE NullSafeEQ NullSafeNEQ Is In Between Like
    ILike Escape SimilarTo RegexpLike RegexpILike BitwiseAnd BitwiseOr BitwiseXor BitwiseNot BitwiseLeftShift BitwiseRightShift
    DPipe Any All Collate AtTimeZone Case If Cast TryCast Try Exists JSONExtract JSONExtractScalar JSONPath JSONPathRoot
    JSONPathKey JSONPathSubscript JSONPathWildcard"""
_SCALARS = """Abs Acos Acosh Asin Asinh Atan Atan2 Atanh Cbrt Ceil Cos Cosh Cot Degrees Exp Factorial Floor Greatest Least Ln
    Log Negative Pi Pow Radians Rand Round Rint Sign Sin Sinh Sqrt Tan Tanh WidthBucket SafeDivide IsNan IsInf Nanvl Coalesce Nullif
    Nvl2 EqualNull DecodeCase Ascii BitLength Chr Concat ConcatWs Contains EndsWith Initcap Left Length Levenshtein Lower
    Overlay Pad RegexpCount RegexpExtract RegexpExtractAll RegexpReplace RegexpSplit Repeat Replace Reverse Right Space
    Split SplitPart StartsWith StrPosition Substring SubstringIndex Translate Trim Unhex Hex LowerHex Upper Unicode ToBase64 FromBase64
    Format MD5 SHA SHA2 Uuid AddMonths CurrentDate CurrentTime CurrentTimestamp Localtimestamp Date DateAdd DateDiff DateFromParts DateSub
    DateTrunc Day DayOfMonth DayOfWeek DayOfWeekIso DayOfYear Dayname Extract Hour LastDay Minute Month Monthname
    MonthsBetween NextDay Quarter Second StrToDate StrToTime StrToUnix TimeStrToTime TimeToStr TimeToUnix Timestamp
    TimestampAdd TimestampDiff TimestampFromParts TimestampSub TimestampTrunc TsOrDsAdd TsOrDsDiff TsOrDsToDate
    TsOrDsToTimestamp UnixSeconds UnixMillis UnixMicros UnixToStr UnixToTime UnixDate DateFromUnixDate Week WeekOfYear Year YearOfWeek Convert
    ConvertTimezone Array ArrayAppend ArrayAll ArrayAny ArrayCompact ArrayConcat ArrayContains ArrayContainsAll ArrayDistinct ArrayExcept
    ArrayFilter ArrayFirst ArrayIntersect ArrayLast ArrayMax ArrayMin ArrayOverlaps ArrayPosition ArrayPrepend ArrayRemove
    ArrayReverse ArraySize ArraySlice ArraySort ArraySum ArrayToString ArraysZip Flatten GenerateSeries Reduce Transform Map
    MapContainsKey MapFromEntries MapKeys MapSize VarMap ToMap Struct StructExtract JSONFormat ParseJSON JSONKeyValue
    JSONObject JSONArrayContains JSONKeys ToNumber ToDouble GetExtract Stuff"""
_AGGREGATES = """AnyValue ApproxDistinct ApproxQuantile ArgMax ArgMin ArrayAgg ArrayUniqueAgg Avg BitwiseAndAgg BitwiseOrAgg BitwiseXorAgg
    Corr Count CountIf CovarPop CovarSamp CumeDist DenseRank First FirstValue GroupConcat Grouping GroupingId Kurtosis
    Lag Last LastValue Lead LogicalAnd LogicalOr Max Median Min Mode NthValue Ntile PercentRank PercentileCont PercentileDisc
    Quantile Rank RegrSlope RegrIntercept RegrR2 RegrCount RegrAvgx RegrAvgy RegrSxx RegrSyy RegrSxy RowNumber Skewness Stddev StddevPop StddevSamp Sum Variance VariancePop"""
_TABLES = "Explode Posexplode Unnest Inline"
_REFUSED_NAMES = re.compile(r"[/\\:*?\x00]|\.(parquet|csv|json|db|duckdb|arrow)$", re.IGNORECASE)
_FORMATS = frozenset(
    ["delta", "parquet", "csv", "json", "text", "orc", "avro", "iceberg", "binaryfile", "file", "s3", "http", "https"]
)
_TABLE_ARGUMENTS = frozenset(["this", "db", "catalog", "alias", "version", "joins", "pivots", "sample", "laterals"])


@cache
def _allowed() -> frozenset[type]:
    from sqlglot import exp

    words = f"{_CLAUSES} {_OPERATORS} {_SCALARS} {_AGGREGATES} {_TABLES}".split()
    return frozenset(getattr(exp, word) for word in words if hasattr(exp, word)) | {exp.Anonymous}


def check_text(sql: str) -> None:
    """Before anything is parsed: sizes that would only serve to wear the parser out."""
    if len(sql) > LARGEST_TEXT:
        raise TooLarge(f"A statement may have at most {LARGEST_TEXT} characters")
    if "\x00" in sql:
        raise Invalid("[PARSE_SYNTAX_ERROR] A statement must not hold NUL characters", code="BAD_REQUEST")
    depth = deepest = 0
    for character in sql:
        depth += (character in "([") - (character in ")]")
        deepest = max(deepest, depth)
    if deepest > 200 or len(re.findall(r"(?i)\bnot\b|\bcase\b|~", sql)) > 2_000:
        raise TooLarge("This statement is nested too deeply")


def check_names(tree: exp.Expr) -> None:
    """On what a person wrote, before the rewriter adds names of its own: nobody may speak in its name."""
    from sqlglot import exp

    for count, node in enumerate(tree.walk()):
        if count > MOST_NODES:
            raise TooLarge("This statement has too many parts")
        if isinstance(node, exp.Identifier | exp.Anonymous | exp.Var | exp.Placeholder | exp.Parameter):
            name = str(node.this)
            if name.lower().startswith(OURS) or (isinstance(node, exp.Anonymous) and name.lower().startswith("dbx_")):
                raise Denied(f"Names starting with {OURS} are reserved")
            if "\x00" in name or len(name) > 255:
                raise Invalid(
                    "[INVALID_IDENTIFIER] A name is too long or holds characters it must not", code="BAD_REQUEST"
                )


def check_query(tree: exp.Expr) -> None:
    """Refuse a query that holds anything outside of the lists above."""
    from sqlglot import exp

    if not isinstance(tree, exp.Query):
        raise NotSupported(f"{tree.key.upper()} statements are not supported here")
    check_parts(tree)


def check_parts(tree: exp.Expr) -> None:
    from sqlglot import exp

    allowed = _allowed()
    for node in tree.walk():
        if type(node) not in allowed:
            raise _refused(node)
        if isinstance(node, exp.Anonymous):
            _check_function(node)
        elif isinstance(node, exp.Table):
            _check_table(node)
        elif isinstance(node, exp.TableAlias) and not isinstance(node.this, exp.Identifier | None):
            raise Denied("This alias is not a name")
        elif isinstance(node, exp.Dot) and not isinstance(node.expression, exp.Identifier):
            raise Denied(f"[UNRESOLVED_ROUTINE] {node.sql()} is not available")
        elif isinstance(node, exp.DataType):
            _check_type(node)


def _refused(node: exp.Expr) -> Exception:
    from sqlglot import exp

    if isinstance(node, exp.Placeholder | exp.Parameter):
        return Invalid(f"[UNBOUND_SQL_PARAMETER] Parameter {node.name or '?'} has no value", code="BAD_REQUEST")
    if isinstance(node, exp.Func):
        return Denied(f"[UNRESOLVED_ROUTINE] The function {node.sql_name().lower()} is not available")
    return Denied(f"{type(node).__name__} is not allowed in a statement")


def _check_function(node: exp.Anonymous) -> None:
    name = node.this
    known = isinstance(name, str) and (name.lower() in dialect.ANONYMOUS or name.lower() in dialect.CASTS)
    if not known:
        raise Denied(f"[UNRESOLVED_ROUTINE] The function {name} is not available")


def _check_table(node: exp.Table) -> None:
    from sqlglot import exp

    if isinstance(node.this, exp.Anonymous):
        if str(node.this.this).lower() != "range" or node.args.get("db"):
            raise Denied(f"[UNRESOLVED_ROUTINE] The table function {node.this.this} is not available")
        return
    if not isinstance(node.this, exp.Identifier):
        raise Denied("A table is named by at most catalog, schema and table")
    if extra := [k for k, v in node.args.items() if v and k not in _TABLE_ARGUMENTS]:
        raise NotSupported(f"{', '.join(extra).upper()} on a table is not supported")
    parts = [node.catalog, node.db, node.name]
    if any(_REFUSED_NAMES.search(p) for p in parts) or (node.db.lower() in _FORMATS and not node.catalog):
        raise Denied("Data is reached through the catalog only, not by path")


def _check_type(node: exp.DataType) -> None:
    from sqlglot import exp

    if isinstance(node.this, str) or node.this in (exp.DType.USERDEFINED, exp.DType.UNKNOWN):
        raise Denied("This type is not available")

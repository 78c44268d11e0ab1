"""Which queries could learn about hidden rows by failing on them.

An engine is free to evaluate a predicate before the row filter below it. `WHERE 1 / (x - 5) > 0` then fails exactly when
a hidden row has x = 5: the error is the leak, whatever its text. A query made only of parts that cannot fail is run as
one plan; any other waits behind a materialised barrier, which costs time and leaks nothing.

What is computed only from rows that have passed the filter (the outermost SELECT list, grouping, ordering) may fail.
"""

# pyarrow, sqlglot and duckdb have no types, or only some.
# pyright: basic
from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlglot import exp

Classes = Mapping[str, frozenset[str]]
"""Column name, in lower case: what its values are ("number", "text", "time", "boolean"), over all tables of the query."""


@cache
def _sound() -> frozenset[type]:
    """Parts that cannot fail whatever they are given."""
    from sqlglot import exp

    words = """Select Subquery From Join Where Group Having Qualify Order Ordered Limit Offset With CTE Table TableAlias
        Distinct Alias Star Column Identifier Paren Literal Null Boolean Var DataType DataTypeParam Window WindowSpec Filter
        And Or Not EQ NEQ GT GTE LT LTE NullSafeEQ NullSafeNEQ Is In Between Like ILike Exists Coalesce
        Count CountIf Min Max AnyValue RowNumber Rank DenseRank Lower Upper Length StartsWith EndsWith Contains
        CurrentDate CurrentTimestamp Tuple"""
    return frozenset(getattr(exp, word) for word in words.split())


def may_leak(tree: exp.Expr, classes: Classes, *, outermost: bool = True) -> bool:
    """Could evaluating a part of this query on a row that it must not see make it fail?"""
    from sqlglot import exp

    if not isinstance(tree, exp.Select):
        return True
    exempt: set[int] = set()
    if outermost:
        aliases = {p.alias.lower() for p in tree.expressions if isinstance(p, exp.Alias)}
        used = {c.name.lower() for key in ("where", "having", "qualify", "group") for c in _columns(tree.args.get(key))}
        if not aliases & used:
            for part in (*tree.expressions, tree.args.get("group"), tree.args.get("order")):
                if part is not None and not part.find(exp.Query):
                    exempt.update(id(n) for n in part.walk())
    return any(id(n) not in exempt and _can_fail(n, classes) for n in tree.walk())


def _columns(tree: exp.Expr | None) -> list[Any]:
    from sqlglot import exp

    return [] if tree is None else list(tree.find_all(exp.Column))


def _can_fail(node: exp.Expr, classes: Classes) -> bool:
    from sqlglot import exp

    if isinstance(node, exp.Cast | exp.Neg) and not isinstance(node, exp.TryCast):
        return not isinstance(node.this, exp.Literal)
    if type(node) not in _sound():
        return True
    if isinstance(node, exp.EQ | exp.NEQ | exp.GT | exp.GTE | exp.LT | exp.LTE | exp.NullSafeEQ | exp.NullSafeNEQ):
        return not _alike([node.left, node.right], classes)
    if isinstance(node, exp.In):
        query = node.args.get("query")
        rows = query.find(exp.Select).expressions[:1] if query is not None else []
        return not _alike([node.this, *node.expressions, *rows], classes)
    if isinstance(node, exp.Between):
        return not _alike([node.this, node.args["low"], node.args["high"]], classes)
    if isinstance(node, exp.Coalesce):
        return not _alike([node.this, *node.expressions], classes)
    if isinstance(node, exp.Like | exp.ILike | exp.StartsWith | exp.EndsWith | exp.Contains):
        return not (_class(node.this, classes) == "text" and isinstance(node.expression, exp.Literal))
    if isinstance(node, exp.Lower | exp.Upper | exp.Length):
        return _class(node.this, classes) != "text"
    if isinstance(node, exp.Not | exp.And | exp.Or):
        return not all(_truth(n, classes) for n in node.iter_expressions())
    if isinstance(node, exp.Join) and node.args.get("using"):
        return any(len(classes.get(u.name.lower(), frozenset("??"))) != 1 for u in node.args["using"])
    return isinstance(node, exp.Join) and bool(node.args.get("method"))


def _truth(node: exp.Expr, classes: Classes) -> bool:
    """A truth value by itself: text that is taken for one must be converted, and may fail."""
    from sqlglot import exp

    if isinstance(node, exp.Paren):
        return _truth(node.this, classes)
    return (
        isinstance(node, exp.Predicate | exp.Condition)
        and not isinstance(node, exp.Column | exp.Literal)
        or (_class(node, classes) == "boolean")
    )


def _alike(nodes: list[Any], classes: Classes) -> bool:
    """All of one class, so that comparing them converts nothing row by row. Text constants become what they meet."""
    from sqlglot import exp

    found = {
        _class(n, classes)
        for n in nodes
        if not (isinstance(n, exp.Literal) and n.is_string) and not isinstance(n, exp.Null)
    }
    return None not in found and len(found) <= 1


def _class(node: Any, classes: Classes) -> str | None:
    from sqlglot import exp

    if isinstance(node, exp.Alias | exp.Paren | exp.Max | exp.Min | exp.AnyValue):
        return _class(node.this, classes)
    if isinstance(node, exp.Column):
        found = classes.get(node.name.lower(), frozenset())
        return next(iter(found)) if len(found) == 1 else None
    if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal):
        return _class(node.this, classes)
    if isinstance(node, exp.Literal):
        return "text" if node.is_string else _class_of_number(str(node.this))
    if isinstance(node, exp.Count | exp.CountIf | exp.Length | exp.RowNumber | exp.Rank | exp.DenseRank):
        return "number"
    if isinstance(node, exp.Window):
        return _class(node.this, classes)
    if isinstance(node, exp.Boolean):
        return "boolean"
    if isinstance(node, exp.Lower | exp.Upper):
        return "text"
    if isinstance(node, exp.CurrentDate | exp.CurrentTimestamp):
        return "time"
    if isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal):
        return _class_of_type(node.to)
    return None


def _class_of_type(to: Any) -> str | None:
    from sqlglot import exp

    if to.is_type(*exp.DataType.NUMERIC_TYPES):
        return "number"
    if to.is_type(*exp.DataType.TEXT_TYPES):
        return "text"
    if to.is_type(*exp.DataType.TEMPORAL_TYPES):
        return "time"
    return None


def class_of(delta_type: Any) -> str:
    """The class of a column by its type in the Delta log; one of its own where values of it are never comparable here."""
    if not isinstance(delta_type, str):
        return "nested"
    if delta_type in ("string", "boolean"):
        return "text" if delta_type == "string" else "boolean"
    if delta_type in ("date", "timestamp", "timestamp_ntz"):
        return "time"
    if delta_type.startswith("decimal"):
        precision = int(delta_type.partition("(")[2].partition(",")[0] or 38)
        return "number" if precision <= 18 else "wide number"
    return "binary" if delta_type == "binary" else "number"


def _class_of_number(text: str) -> str | None:
    """A constant with many digits would widen what it is compared with, and widening can overflow."""
    whole, _, fraction = text.partition(".")
    return (
        "number"
        if whole.isdigit() and len(whole) <= 12 and len(fraction) <= 6 and (fraction or "0").isdigit()
        else None
    )

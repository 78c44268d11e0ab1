"""Settle what is known before a query runs: who is asking, which groups they are in, and what follows from it.

A filter such as `is_account_group_member('admins') OR region = 'EU'` becomes TRUE for an admin and `region = 'EU'` for
everybody else, a plain predicate that the engine can push into the scan. Only what is certain is folded.
"""

# pyarrow, sqlglot and duckdb have no types, or only some.
# pyright: basic
from __future__ import annotations

from typing import TYPE_CHECKING

from lakewright.kernel.faults import Invalid
from lakewright.sql.world import World

if TYPE_CHECKING:
    from sqlglot import exp

_USER = frozenset({"current_user", "user", "session_user"})
_MEMBER = frozenset({"is_account_group_member", "is_member"})


def settle(tree: exp.Expr, world: World, catalog: str | None, schema: str | None) -> exp.Expr:
    """Put the caller's name and memberships, and the names of where they are, in place of the functions that ask for them."""
    from sqlglot import exp

    def known(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.CurrentUser | exp.SessionUser):
            return exp.Literal.string(world.user)
        if isinstance(node, exp.CurrentCatalog):
            return exp.Literal.string(catalog or "")
        if isinstance(node, exp.CurrentSchema | exp.CurrentDatabase):
            return exp.Literal.string(schema or "")
        if isinstance(node, exp.Anonymous) and isinstance(node.this, str) and not isinstance(node.parent, exp.Dot):
            if node.this.lower() in _USER and not node.expressions:
                return exp.Literal.string(world.user)
            if node.this.lower() in _MEMBER:
                return _membership(node, world)
        return node

    return tree.transform(known, copy=False)


def _membership(node: exp.Anonymous, world: World) -> exp.Expr:
    from sqlglot import exp

    if len(node.expressions) != 1:
        raise Invalid(f"{node.this}() takes the name of one group")
    group = node.expressions[0]
    if isinstance(group, exp.Literal):
        return exp.true() if group.is_string and group.this in world.groups else exp.false()
    names = [exp.Literal.string(g) for g in sorted(world.groups)]
    return exp.paren(exp.In(this=group, expressions=names)) if names else exp.false()


def fold(tree: exp.Expr) -> exp.Expr:
    """Boolean algebra over constants, from the leaves up."""
    for key, value in list(tree.args.items()):
        if isinstance(value, list):
            for i, child in enumerate(value):
                if _is_expression(child):
                    value[i] = fold(child)
                    value[i].parent, value[i].arg_key, value[i].index = tree, key, i
        elif _is_expression(value):
            tree.set(key, fold(value))
    return _folded(tree)


def _is_expression(value: object) -> bool:
    from sqlglot import exp

    return isinstance(value, exp.Expr)


def _folded(node: exp.Expr) -> exp.Expr:
    from sqlglot import exp

    if isinstance(node, exp.Paren) and isinstance(node.this, exp.Boolean | exp.Literal | exp.Column | exp.Null):
        return node.this
    if isinstance(node, exp.Not) and isinstance(node.this, exp.Boolean):
        return exp.Boolean(this=not node.this.this)
    if isinstance(node, exp.And | exp.Or):
        deciding = isinstance(node, exp.Or)
        for side, other in ((node.left, node.right), (node.right, node.left)):
            if isinstance(side, exp.Boolean):
                return exp.Boolean(this=deciding) if side.this == deciding else other
    if isinstance(node, exp.EQ | exp.NEQ) and _text(node.left) is not None and _text(node.right) is not None:
        return exp.Boolean(this=(_text(node.left) == _text(node.right)) == isinstance(node, exp.EQ))
    if isinstance(node, exp.In) and _text(node.this) is not None and node.expressions and not node.args.get("query"):
        texts = [_text(e) for e in node.expressions]
        if None not in texts:
            return exp.Boolean(this=_text(node.this) in texts)
    if isinstance(node, exp.Cast) and _text(node.this) is not None and node.to.is_type("text", "varchar"):
        return node.this
    if isinstance(node, exp.If) and not isinstance(node.parent, exp.Case) and isinstance(node.this, exp.Boolean):
        return node.args["true"] if node.this.this else node.args.get("false") or exp.Null()
    if isinstance(node, exp.Case) and node.this is None:
        return _case(node)
    return node


def _case(node: exp.Case) -> exp.Expr:
    from sqlglot import exp

    branches: list[exp.Expr] = []
    for branch in node.args["ifs"]:
        if isinstance(branch.this, exp.Boolean):
            if not branch.this.this:
                continue
            if not branches:
                return branch.args["true"]
            return exp.Case(ifs=branches, default=branch.args["true"])
        branches.append(branch)
    if not branches:
        return node.args.get("default") or exp.Null()
    return exp.Case(ifs=branches, default=node.args.get("default"))


def _text(node: exp.Expr | None) -> str | None:
    from sqlglot import exp

    return str(node.this) if isinstance(node, exp.Literal) and node.is_string else None

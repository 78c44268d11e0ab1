"""SCIM filters and sort orders as SQL: parsed and checked by scim2-models, looked up by index, never built from text.

What a client wrote reaches the database as parameters only; the SQL around it is chosen by the schema's attributes.
Imported with the first SCIM request that needs it, like the schemas.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import scim2_models as scim2
from scim2_models.path import (
    AttributeBinding,
    AttrPath,
    CompareOperator,
    Comparison,
    FilterNode,
    FilterVisitor,
    LogicalExpr,
    LogicalOperator,
    Not,
    Path,
    Present,
    ValuePath,
    coerce_value,
)

from lakewright.identity import principals
from lakewright.identity.scim import Listing, Refused, faults
from lakewright.identity.scim_schemas import MODELS
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import NotSupported
from lakewright.kernel.rules import Condition

LONGEST = 8192
"""Characters of a filter."""
MOST = 100
"""Comparisons in a filter; the library itself allows 32 levels."""

RESOURCES = {"user": "Users", "group": "Groups", "servicePrincipal": "ServicePrincipals"}
NAMES = {"user": "User", "group": "Group", "servicePrincipal": "ServicePrincipal"}
NEVER, ALWAYS = Condition("1 = 0"), Condition("1 = 1")

CLOSURE = (
    "(WITH RECURSIVE up(member, grp) AS (SELECT member_id, group_id FROM members UNION"
    " SELECT up.member, m.group_id FROM up JOIN members m ON m.member_id = up.grp) SELECT member, grp FROM up"
    " WHERE grp NOT LIKE '%-users' AND grp NOT LIKE '%-admins')"  # a workspace's own are no resources (roots.is_built_in)
)
"""Every principal with every group it is in, through any number of groups."""
_OF_PRINCIPAL = "CASE q.kind WHEN 'user' THEN '{}' WHEN 'group' THEN '{}' ELSE '{}' END"


@dataclass(frozen=True)
class Wanted:
    """What a listing asks for: a condition over `objects o` and `principals p`, and what to order by."""

    where: Condition
    order: Condition | None
    descending: bool


def wanted(ctx: Ctx, kinds: Iterable[str], ask: Listing, base_url: str, visible: Condition | None = None) -> Wanted:
    """The listing's filter and order over these kinds; a kind without the attribute has nothing to match. A filter
    finds nobody by a group that is not `visible`."""
    kinds = list(kinds)
    given = {"filter": ask.filter, "sortBy": ask.sort_by, "sortOrder": ask.sort_order and ask.sort_order.lower()}
    if ask.filter is not None and len(ask.filter) > LONGEST:
        raise Refused(f"filter: {LONGEST} characters at most", scim_type="invalidFilter")
    assigned = {name: each.rows(ctx) for name, each in principals.ASSIGNMENTS.items()}
    models: Any = MODELS[kinds[0]]
    for kind in kinds[1:]:
        models = models | MODELS[kind]
    with faults():
        request: Any = scim2.SearchRequest[models]  # type: ignore[valid-type]
        parsed = request.model_validate(
            {k: v for k, v in given.items() if v is not None}, scim_ctx=scim2.Context.SEARCH_REQUEST
        )
        where, order = ALWAYS, None
        if parsed.filter is not None:
            if _comparisons(parsed.filter.ast) > MOST:
                raise Refused(f"filter: {MOST} comparisons at most", scim_type="invalidFilter")
            where = _any(
                _of_kind(kind, Sql(kind, base_url, assigned, visible).visit(parsed.filter.ast)) for kind in kinds
            )
        if parsed.sort_by is not None:
            order = _by_kind(
                {kind: Sql(kind, base_url, assigned).sort_key(parsed.sort_binding(MODELS[kind])) for kind in kinds}
            )
    return Wanted(where, order, given["sortOrder"] == "descending")


def members_where(value_filter: FilterNode, base_url: str) -> Condition:
    """A PATCH path's `members[…]`, over `members m` and `principals q` of one group."""
    sql = Sql("group", base_url, {})
    with faults():
        return sql.among(value_filter, "members")


class Sql(FilterVisitor[Condition]):
    """A filter over one kind. `o` is the object's row, `p` its principal's."""

    def __init__(
        self, kind: str, base_url: str, assigned: Mapping[str, Condition], visible: Condition | None = None
    ) -> None:
        self.kind, self.base_url, self.model = kind, base_url, MODELS[kind]
        self.assigned, self.visible = assigned, visible
        self.head = ""
        """The attribute whose values are being looked at one by one, inside `emails[…]`."""

    # the filter

    def visit_logical_expr(self, node: LogicalExpr) -> Condition:
        parts = [self.visit(term) for term in node.terms]
        return _any(parts) if node.op == LogicalOperator.or_ else _all(parts)

    def visit_not(self, node: Not) -> Condition:
        return _not(self.visit(node.expr))

    def visit_value_path(self, node: ValuePath) -> Condition:
        binding = self._binding(node.attr_path)
        return NEVER if binding is None else self._exists(_key(binding), node.val_filter)

    def visit_present(self, node: Present) -> Condition:
        binding = self._binding(node.attr_path)
        if binding is None:
            return NEVER
        key = _key(binding)
        head, _, sub = _split(key)
        if self.head:
            return _present(self._part(key))
        if head == "meta" or self._column(key) is not None:
            return ALWAYS
        if head in TABLES:
            return self._exists(head, Present(AttrPath(sub)) if sub else None)
        of = "v.path" if sub else "v.head"
        return Condition(f"o.id IN (SELECT v.principal_id FROM scim_values v WHERE {of} = ? AND v.text <> '')", (key,))

    def visit_comparison(self, node: Comparison) -> Condition:
        binding = self._binding(node.attr_path, compared=True)
        if binding is None:
            return NEVER
        value = _operand(binding, node)
        key = _key(binding)
        if self.head:
            return _compared(self._part(key), node.op, value)
        if (column := self._column(key)) is not None:
            return _compared(column, node.op, value)
        head, _, sub = _split(key)
        if node.op == CompareOperator.ne:
            return self._ne(head, sub or "value", value) if head in TABLES else _not(self._text_is(key, value))
        if head in TABLES:
            if value is None:
                return _not(self._exists(head, Present(AttrPath(sub or "value"))))
            return self._exists(head, Comparison(AttrPath(sub or "value"), node.op, node.value))
        if value is None:
            return self._text_is(key, None) if node.op == CompareOperator.eq else NEVER
        matching = _compared(Condition("v.text"), node.op, value)
        return Condition(
            f"o.id IN (SELECT v.principal_id FROM scim_values v WHERE v.path = ? AND {matching.sql})",
            (key, *matching.params),
        )

    def _text_is(self, key: str, value: str | int | None) -> Condition:
        if value is None:
            return _not(Condition("o.id IN (SELECT v.principal_id FROM scim_values v WHERE v.path = ?)", (key,)))
        return Condition(
            "o.id IN (SELECT v.principal_id FROM scim_values v WHERE v.path = ? AND v.text = ?)", (key, value)
        )

    def _ne(self, head: str, sub: str, value: Any) -> Condition:
        """None of the values is that one; against null: none at all is there."""
        if value is None:
            return self._exists(head, Present(AttrPath(sub)))
        return _not(self._exists(head, Comparison(AttrPath(sub), CompareOperator.eq, value)))

    # several values

    def _exists(self, head: str, value_filter: FilterNode | None) -> Condition:
        """Some value of the attribute fits the filter."""
        table = self._table(head)
        fits = self.among(value_filter, head) if value_filter is not None else ALWAYS
        return Condition(f"EXISTS (SELECT 1 {table.sql} AND {fits.sql})", table.params + fits.params)

    def among(self, value_filter: FilterNode, head: str) -> Condition:
        before, self.head = self.head, head
        try:
            return self.visit(value_filter)
        finally:
            self.head = before

    def _table(self, head: str) -> Condition:
        """Where the values of an attribute are, with the condition that they are of `o`."""
        if head == "groups":
            of = f"FROM {CLOSURE} u WHERE u.member = o.id"
            if self.visible is None:
                return Condition(of)
            seen = f"SELECT o.id FROM objects o WHERE {self.visible.sql}"
            return Condition(f"{of} AND u.grp IN ({seen})", self.visible.params)
        if head == "members":
            return Condition("FROM members m JOIN principals q ON q.id = m.member_id WHERE m.group_id = o.id")
        if head in TABLES:
            rows = self.assigned.get(head)
            if rows is None:
                return Condition("FROM (SELECT NULL AS principal_id, NULL AS value) a WHERE 1 = 0")
            return Condition(f"FROM ({rows.sql}) a WHERE a.principal_id = o.id", rows.params)
        return Condition("FROM scim_values e WHERE e.principal_id = o.id AND e.head = ?", (head,))

    def _part(self, name: str) -> Condition:
        """One part of the value being looked at."""
        part = name.rpartition(".")[2]
        if self.head in TABLES:
            return self._parts_of_tables(part)
        path = f"{self.head}.{part}"
        return Condition(
            "(SELECT x.text FROM scim_values x WHERE x.principal_id = e.principal_id AND x.entry = e.entry AND x.path = ?)",
            (path,),
        )

    def _parts_of_tables(self, part: str) -> Condition:
        display = (
            "COALESCE((SELECT d.text FROM scim_values d WHERE d.principal_id = {0} AND d.path = 'displayname'), {1})"
        )
        if self.head == "groups":
            direct = "EXISTS (SELECT 1 FROM members d WHERE d.group_id = u.grp AND d.member_id = u.member)"
            return {
                "value": Condition("u.grp"), "display": Condition(display.format("u.grp", "u.grp")),
                "type": Condition(f"CASE WHEN {direct} THEN 'direct' ELSE 'indirect' END"),
                "$ref": Condition("(CAST(? AS TEXT) || u.grp)", (f"{self.base_url}/Groups/",)),
            }[part]  # fmt: skip
        if self.head == "members":
            return {
                "value": Condition("m.member_id"), "display": Condition(display.format("m.member_id", "q.name")),
                "type": Condition(_OF_PRINCIPAL.format("user", "group", "serviceprincipal")),
                "$ref": Condition(
                    f"(CAST(? AS TEXT) || {_OF_PRINCIPAL.format(*RESOURCES.values())} || '/' || m.member_id)",
                    (f"{self.base_url}/",),
                ),
            }[part]  # fmt: skip
        return Condition("a.value")

    # what has a column

    def _column(self, key: str) -> Condition | None:
        name = NAMES[self.kind]
        location = f"{self.base_url}/{RESOURCES[self.kind]}/"
        return {
            "id": Condition("o.id"), "active": Condition("CASE p.active WHEN 0 THEN 'false' ELSE 'true' END"),
            "meta.resourcetype": Condition("CAST(? AS TEXT)", (name,)), "meta.created": Condition("o.created_at"),
            "meta.lastmodified": Condition("o.updated_at"),
            "meta.version": Condition("""('W/"' || CAST(o.version AS TEXT) || '"')"""),
            "meta.location": Condition("(CAST(? AS TEXT) || o.id)", (location,)),
        }.get(key)  # fmt: skip

    def sort_key(self, binding: AttributeBinding | None) -> Condition | None:
        if binding is None:
            return None
        key = _key(binding)
        head, _, _ = _split(key)
        if (column := self._column(key)) is not None:
            return column
        if head in TABLES:
            raise NotSupported(f"sortBy: '{head}' is not an order")
        return Condition(
            "(SELECT v.text FROM scim_values v LEFT JOIN scim_values f ON f.principal_id = v.principal_id"
            " AND f.entry = v.entry AND f.path = ? AND f.text = 'true' WHERE v.principal_id = o.id AND v.path = ?"
            " ORDER BY CASE WHEN f.text IS NULL THEN 1 ELSE 0 END, v.entry LIMIT 1)",
            (f"{head}.primary", key),
        )

    # names

    def _binding(self, path: AttrPath, *, compared: bool = False) -> AttributeBinding | None:
        """The schema's attribute of that name; None if this kind has none. `emails co "x"` means their values."""
        if self.head:
            path = _below(self.model, self.head, path)
        found = _resolved(self.model, path)
        several = found is not None and found.is_multivalued and not found.sub_field_name
        if compared and several:
            return _resolved(self.model, AttrPath(path.attr, "value", path.uri)) or found
        return found


TABLES = frozenset({"groups", "members", "entitlements", "roles"})


def _resolved(model: Any, path: AttrPath) -> AttributeBinding | None:
    return Path[model](str(path)).resolve()


def _below(model: Any, head: str, path: AttrPath) -> AttrPath:
    return AttrPath(head, path.attr)


def _key(binding: AttributeBinding) -> str:
    """The attribute as `scim_values` spells it: lower case, the schema's name only for extensions."""
    schema = str(getattr(binding.model, "__schema__", ""))
    urn = binding.urn
    if schema and not schema.endswith("enterprise:2.0:User"):
        urn = urn.removeprefix(f"{schema}:")
    return urn.lower()


def _split(key: str) -> tuple[str, str, str]:
    """Head and sub-attribute; the dots of a schema's version are no separators."""
    urn, colon, name = key.rpartition(":")
    head, dot, sub = name.partition(".")
    return f"{urn}{colon}{head}", dot, sub


def _operand(binding: AttributeBinding, node: Comparison) -> str | int | None:
    """The value compared with, in the form that is stored."""
    value = coerce_value(binding, node.value, node.op)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1000)
    if value is None:
        return None
    return str(binding.comparable(str(value)))


def _compared(what: Condition, op: CompareOperator, value: str | int | None) -> Condition:
    """The comparison, false where there is no value. Null equals only what is not there."""
    if value is None:
        absent = Condition(f"{what.sql} IS NULL", what.params)
        return {CompareOperator.eq: absent, CompareOperator.ne: _not(absent)}.get(op, NEVER)
    if op in _TEXTUAL:
        return _textual(what, op, str(value))
    if op == CompareOperator.ne:
        return _not(_sure(Condition(f"{what.sql} = ?", (*what.params, value))))
    return _sure(Condition(f"{what.sql} {_SIGNS[op]} ?", (*what.params, value)))


_SIGNS = {
    CompareOperator.eq: "=", CompareOperator.gt: ">", CompareOperator.ge: ">=", CompareOperator.lt: "<",
    CompareOperator.le: "<=",
}  # fmt: skip
_TEXTUAL = (CompareOperator.co, CompareOperator.sw, CompareOperator.ew)


def _textual(what: Condition, op: CompareOperator, value: str) -> Condition:
    """By substr and replace: LIKE would read `%` in the value, and folds case on SQLite only."""
    if not value:
        return Condition(f"{what.sql} IS NOT NULL", what.params)
    size = len(value)
    if op == CompareOperator.co:
        test = Condition(f"REPLACE({what.sql}, ?, '') <> {what.sql}", (*what.params, value, *what.params))
    elif op == CompareOperator.sw:
        test = Condition(f"substr({what.sql}, 1, {size}) = ?", (*what.params, value))
    else:
        sql = f"length({what.sql}) >= {size} AND substr({what.sql}, length({what.sql}) - {size} + 1) = ?"
        test = Condition(sql, (*what.params * 3, value))
    return _sure(test)


def _present(what: Condition) -> Condition:
    """RFC 7644 §3.4.2.2: a value that is not empty."""
    return _sure(Condition(f"{what.sql} <> ''", what.params))


def _sure(test: Condition) -> Condition:
    """Never NULL, so that `not` turns it around."""
    return Condition(f"(CASE WHEN {test.sql} THEN 1 ELSE 0 END) = 1", test.params)


def _not(test: Condition) -> Condition:
    return Condition(f"NOT ({test.sql})", test.params)


def _all(tests: Iterable[Condition]) -> Condition:
    return _joined(" AND ", tests)


def _any(tests: Iterable[Condition]) -> Condition:
    return _joined(" OR ", tests)


def _joined(word: str, tests: Iterable[Condition]) -> Condition:
    parts = list(tests)
    return Condition(
        f"({word.join(f'({each.sql})' for each in parts)})", tuple(p for each in parts for p in each.params)
    )


def _of_kind(kind: str, test: Condition) -> Condition:
    return Condition(f"o.kind = ? AND {test.sql}", (kind, *test.params))


def _by_kind(keys: dict[str, Condition | None]) -> Condition:
    parts, params = list[str](), list[Any]()
    for kind, key in keys.items():
        if key is not None:
            parts.append(f"WHEN ? THEN {key.sql}")
            params += [kind, *key.params]
    return Condition(f"CASE o.kind {' '.join(parts)} END" if parts else "NULL", tuple(params))


def _comparisons(node: FilterNode) -> int:
    left, found = [node], 0
    while left:
        each = left.pop()
        if isinstance(each, LogicalExpr):
            left += each.terms
        elif isinstance(each, Not):
            left.append(each.expr)
        elif isinstance(each, ValuePath):
            left.append(each.val_filter)
        else:
            found += 1
    return found

"""SCIM resources as clients see them: one, or one page of many, each read with a handful of queries for all."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from lakewright.identity import principals, scim, workspace_access
from lakewright.identity.scim import Listing, Projected
from lakewright.kernel import objects
from lakewright.kernel.answers import Json
from lakewright.kernel.context import Ctx
from lakewright.kernel.kinds import KINDS
from lakewright.kernel.objects import COLUMNS, Obj
from lakewright.kernel.roots import ACCOUNT
from lakewright.kernel.rules import ADMIN, Condition
from lakewright.kernel.store import Row

Body = Callable[[Obj[Any], Row], dict[str, Any]]
"""What a kind adds to what all resources have, from its object and its row in `principals`."""

BODIES: dict[str, tuple[str, Body]] = {}
"""By kind: the resource's endpoint and its body. Filled by the modules of the kinds."""

EVERYTHING = Projected.model_validate({})


def show(ctx: Ctx, obj: Obj[Any], ask: Any = EVERYTHING) -> dict[str, Any]:
    return many(ctx, [obj], ask)[0]


def read(ctx: Ctx, obj: Obj[Any], ask: Any) -> dict[str, Any]:
    """The same for a caller who may only see some of the account."""
    return many(ctx, [obj], ask, _visible(ctx))[0]


def many(
    ctx: Ctx, found: Sequence[Obj[Any]], ask: Any = EVERYTHING, visible: Condition | None = None
) -> list[dict[str, Any]]:
    """The resources in their order. What the caller does not want to see is not read; of their groups only `visible`
    ones are told. The members of a group need no such look: who is in a visible one is visible."""
    base, ids = scim.base_url(ctx, ask), [each.id for each in found]
    rows = {str(row["id"]): row for row in principals.rows(ctx, ids)}
    groups = principals.groups_of(ctx, ids, base) if scim.wants(ask, "groups") else {}
    if visible is not None and groups:
        seen = {str(r["id"]) for r in ctx.tx.all(f"SELECT o.id FROM objects o WHERE {visible.sql}", *visible.params)}
        groups = {member: [each for each in above if each["value"] in seen] for member, above in groups.items()}
    given = {name: principals.assigned(ctx, name, ids) for name in principals.ASSIGNMENTS if scim.wants(ask, name)}
    shown: list[dict[str, Any]] = []
    for each in found:
        endpoint, body = BODIES[each.kind]
        one = body(each, rows[each.id])
        one["groups"] = groups.get(each.id, [])
        for name, values in given.items():
            if each.id in values:
                one[name] = [{"value": value} for value in values[each.id]]
        if each.kind == "group" and scim.wants(ask, "members"):
            one["members"] = members(ctx, each.id, base)
        one["meta"] = _meta(each, endpoint, base)
        shown.append(one)
    return shown


def members(ctx: Ctx, group_id: str, base: str) -> list[dict[str, Any]]:
    """To a SCIM client exactly what the schema has; the SDK also wants to know what they are called."""
    found = principals.members(ctx, group_id, base)
    if scim.speaks_scim(ctx):
        for each in found:
            del each["display"]
    return found


def listing(ctx: Ctx, kinds: Sequence[str], ask: Listing) -> Json:
    """One page of what the caller may see: filtered, sorted, counted and cut by the database."""
    visible = _visible(ctx)
    where, order = _where(ctx, kinds, ask, visible)
    total = ctx.tx.scalar(
        f"SELECT COUNT(*) FROM objects o JOIN principals p ON p.id = o.id WHERE {where.sql}", *where.params
    )
    found: list[Obj[Any]] = []
    if ask.limit and ask.offset < int(total):
        rows = ctx.tx.all(
            f"SELECT {_COLUMNS} FROM (SELECT o.*, {order.sql} AS sort_key FROM objects o JOIN principals p ON p.id = o.id"
            f" WHERE {where.sql}) o ORDER BY {_ordered(ask)} LIMIT ? OFFSET ?",
            *order.params, *where.params, ask.limit, ask.offset,
        )  # fmt: skip
        found = [objects.loaded(KINDS[str(row["kind"])], row) for row in rows]
    return scim.envelope(ctx, many(ctx, found, ask, visible), int(total), ask)


_COLUMNS = ", ".join(f"o.{name.strip()}" for name in COLUMNS.split(","))


def _visible(ctx: Ctx) -> Condition | None:
    """Which principals the caller may see; None: all."""
    if ADMIN.covers(ctx, objects.find(ctx, ACCOUNT, "").id):
        return None
    return workspace_access.ASSIGNED_TO_MINE.condition(ctx)


def _where(ctx: Ctx, kinds: Sequence[str], ask: Listing, visible: Condition | None) -> tuple[Condition, Condition]:
    parts = [f"o.kind IN ({', '.join('?' * len(kinds))})", "o.deleted_at IS NULL"]
    params: list[Any] = [*kinds]
    if visible is not None:
        parts.append(visible.sql)
        params += visible.params
    order = Condition("CAST(NULL AS TEXT)")
    if ask.filter is not None or ask.sort_by is not None or ask.sort_order is not None:
        from lakewright.identity import scim_filters  # the SCIM library, with its grammar

        wanted = scim_filters.wanted(ctx, kinds, ask, scim.base_url(ctx, ask), visible)
        parts.append(wanted.where.sql)
        params += wanted.where.params
        order = wanted.order or order
    return Condition(" AND ".join(parts), tuple(params)), order


def _ordered(ask: Listing) -> str:
    """RFC 7644 §3.4.2.3: what has no value comes last, and first when the order is turned around."""
    if ask.sort_by is None:
        return "o.full_name, o.id"
    down = " DESC" if (ask.sort_order or "").lower() == "descending" else ""
    return f"CASE WHEN o.sort_key IS NULL THEN 1 ELSE 0 END{down}, o.sort_key{down}, o.full_name, o.id"


def refuse_unassignable(payload: dict[str, Any]) -> None:
    """Entitlements and roles that nothing here enforces are refused, not kept."""
    for name, value in payload.items():
        if name.lower() in ("entitlements", "roles") and value:
            said = [str((scim.names(each) or {"value": each}).get("value")) for each in scim.several(value)]
            principals.refuse_unassignable(name.lower(), said)


def assign(ctx: Ctx, principal_id: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    for name in principals.ASSIGNMENTS:
        wanted = _values(after.get(name))
        if wanted != _values(before.get(name)):
            principals.assign(ctx, principal_id, name, wanted)


def _values(entries: Iterable[dict[str, Any]] | None) -> set[str]:
    return {str(each.get("value", "")) for each in entries or ()}


def _meta(obj: Obj[Any], endpoint: str, base: str) -> dict[str, Any]:
    return {
        "resourceType": endpoint[:-1], "created": _iso(obj.created_at), "lastModified": _iso(obj.updated_at),
        "location": f"{base}/{endpoint}/{obj.id}", "version": scim.version(obj),
    }  # fmt: skip


def _iso(milliseconds: int) -> str:
    at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"

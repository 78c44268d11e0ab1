"""Explaining access: may this principal do that to this object, and by which paths; and who can.

One asks about oneself, or about others on what one manages. What an action needs is read where the operation or right
is declared, and judged by the same rule that guards it.
"""

from collections import Counter
from typing import Any

from lakewright.access import naming
from lakewright.access.explaining import Names, explained, sentence
from lakewright.access.naming import Spelled
from lakewright.catalog.tables import TABLE, Table
from lakewright.identity import workspace_access
from lakewright.kernel import entitlements, objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.entitlements import Needed
from lakewright.kernel.faults import Denied, Invalid, NotFound, Unauthenticated
from lakewright.kernel.kinds import KINDS, Kind
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import OPERATIONS, SNAPSHOT, Api, Ask, Operation, Reply, entitled_to, nearest_above
from lakewright.kernel.roots import IN_WORKSPACE, USERS, Root
from lakewright.kernel.rules import EVERYONE, PER_ROW, PUBLIC, Rule

api = Api("access", "/api/2.0/lakewright/access")

PAGE = 200
"""Principals judged by one `who-can` request unless it asks for fewer."""


class Explain(Ask):
    principal: str
    object: str
    action: str | None = None


class WhoCan(Ask):
    action: str
    object: str
    page_size: int = PAGE
    page_token: str | None = None


@api("GET", "/explain", audit="explainAccess", on=IN_WORKSPACE, needs=EVERYONE, runs=SNAPSHOT)
def explain(ctx: Ctx, workspace: Obj[Root], ask: Explain) -> Reply:
    """Open to all for what oneself may do; about others it answers only to who manages the object. Who holds nothing
    on an object gets the same answer whether or not it exists."""
    spelled = naming.parse(ask.object)
    rule = needed(spelled.kind, ask.action) if ask.action else None
    myself = ask.principal in ("me", ctx.principal.name)
    obj = asked(ctx, spelled, myself=myself)
    who = ctx.principal.id if myself else named(ctx, ask.principal)
    shown: Reply = {"principal": _principal(ctx, who), "object": {"object": str(spelled), "kind": spelled.kind.name}}
    if ask.action:
        shown["action"] = ask.action
    if obj is None:
        nothing = f"{ctx.principal.name} holds nothing on {spelled}, or there is no such object"
        return {**shown, "allowed": False, "because": nothing}
    names = Names(ctx)
    shown["object"] = {**names.object(obj.id), "owner": names.people[obj.owner]}
    try:
        theirs = ctx.as_principal(who)
    except Unauthenticated:
        return {**shown, "allowed": False, "because": f"{ctx.name_of(who)} is deactivated"}
    if not enters(ctx, who):
        return {**shown, "allowed": False, "because": f"{ctx.name_of(who)} is not assigned to this workspace"}
    if rule is not None:
        if lacks := _lacks(theirs, _takes(KINDS[obj.kind], ask.action or "")):
            return {**shown, "allowed": False, "because": f"{theirs.principal.name} needs {lacks}"}
        found = explained(theirs, names, rule, obj.id)
        return {**shown, "allowed": found["allowed"], "because": sentence(found), "explanation": found, **_limits(obj)}
    held = [_action(theirs, names, obj, name, rule) for name, rule in actions(KINDS[obj.kind]).items()]
    return {**shown, "allowed": any(each["allowed"] for each in held), **_limits(obj), "actions": held}


@api("GET", "/who-can", audit="whoCan", on=IN_WORKSPACE, needs=EVERYONE, runs=SNAPSHOT)
def who_can(ctx: Ctx, workspace: Obj[Root], ask: WhoCan) -> Reply:
    """Open in name only: it answers to who manages the object, and refuses everybody else, whether or not it exists.

    Every active principal is judged by the rule that guards the action; a page may therefore hold fewer than it judged.
    """
    spelled = naming.parse(ask.object)
    rule = needed(spelled.kind, ask.action)
    obj = asked(ctx, spelled, myself=False)
    assert obj is not None
    takes = _takes(KINDS[obj.kind], ask.action)
    bound = f"{ctx.principal.id}:whocan:{obj.id}:{ask.action}"
    after = objects.open_token(ctx, ask.page_token, bound) if ask.page_token else ""
    size = min(max(ask.page_size, 1), PAGE)
    rows = ctx.tx.all(
        "SELECT id, name, kind FROM principals WHERE deleted_at IS NULL AND active = 1 AND name > ?"
        " ORDER BY name LIMIT ?",
        after, size + 1,
    )  # fmt: skip
    names = Names(ctx)
    shown: Reply = {"object": names.object(obj.id), "action": ask.action, "principals": []}
    for row in rows[:size]:
        theirs = ctx.as_principal(str(row["id"]))
        if enters(ctx, theirs.principal.id) and not _lacks(theirs, takes) and rule.judge(theirs, obj.id):
            found = explained(theirs, names, rule, obj.id)
            shown["principals"].append({"name": row["name"], "kind": row["kind"], "because": sentence(found)})
    if len(rows) > size:
        shown["next_page_token"] = objects.seal_token(ctx, str(rows[size - 1]["name"]), bound)
    return {**shown, **_limits(obj)}


# ---- what is asked


def needed(kind: Kind[Any], action: str) -> Rule:
    """What an action takes: the name of a right, or of an operation on objects of this kind."""
    possible = actions(kind)
    found = possible.get(action.strip().upper().replace(" ", "_")) or possible.get(action.strip())
    if found is None:
        raise Invalid(f"'{action}' is nothing one does to a {kind.name}; possible: {', '.join(possible)}")
    return found


def actions(kind: Kind[Any]) -> dict[str, Rule]:
    """Everything one may do to an object of the kind: its rights first, then the operations declared on it."""
    rights = {name: rule for name in (*kind.rights, "MANAGE", "OWNER") if (rule := kind.held_as(name)) is not None}
    return {**rights, **{name: operation.needs for name, operation in operations_on(kind).items()}}


def operations_on(kind: Kind[Any]) -> dict[str, Operation[Any, Any]]:
    """By the name they are recorded under; with their service where two on one kind share it."""
    found = [o for o in OPERATIONS if o.on.kind is kind and o.needs not in (EVERYONE, PER_ROW, PUBLIC)]
    often = Counter(o.audit for o in found)
    return {(o.audit if often[o.audit] == 1 else o.name): o for o in found}


def named(ctx: Ctx, principal: str) -> str:
    """The principal of this name; `account users`, as clients write it, is the group that everybody is in."""
    return USERS if principal == "account users" else ctx.id_of(principal)


def enters(ctx: Ctx, principal_id: str) -> bool:
    """Whether they get as far as the workspace. A group enters nothing: each of its members does, or does not."""
    known = ctx.platform.policy.principal(ctx.tx, principal_id)
    return known is None or known.kind == "group" or workspace_access.may_enter(ctx, principal_id)


def _takes(kind: Kind[Any], action: str) -> Needed:
    """The entitlements of which one is needed to get as far as that action."""
    operation = operations_on(kind).get(action.strip())
    return operation.entitled if operation is not None else entitled_to(kind)


def _lacks(theirs: Ctx, takes: Needed) -> str:
    """Those they would need one of; empty if they have one, and for a group, as above."""
    return "" if theirs.principal.kind == "group" else entitlements.missing(theirs, takes)


def _action(theirs: Ctx, names: Names, obj: Obj[Any], name: str, rule: Rule) -> Reply:
    if lacks := _lacks(theirs, _takes(KINDS[obj.kind], name)):
        return {"action": name, "allowed": False, "because": f"{theirs.principal.name} needs {lacks}"}
    found = explained(theirs, names, rule, obj.id)
    return {"action": name, "allowed": found["allowed"], "because": sentence(found)}


def asked(ctx: Ctx, spelled: Spelled, *, myself: bool) -> Obj[Any] | None:
    """The object, for who manages it; for somebody asking about themselves also if they hold anything on it.

    None: they ask about themselves and hold nothing there. Denied: they ask about others. Neither says whether the
    object exists; NotFound does, and is for those who would manage it.
    """
    managing = spelled.kind.held_as("MANAGE")
    assert managing is not None
    try:
        obj: Obj[Any] | None = naming.find(ctx, spelled)
        there = obj.id if obj else ""
    except NotFound:
        obj, there = None, nearest_above(ctx, spelled.kind, spelled.address)
    verdict = managing.judge(ctx, there)
    if obj is not None and (verdict or (myself and holds_anything(ctx, obj))):
        return obj
    if verdict:
        raise NotFound(f"{spelled.kind.name} '{spelled.address}' does not exist")
    if myself:
        return None
    raise Denied(f"{ctx.principal.name} needs {managing} for {spelled.kind.name} '{spelled.address}'")


def holds_anything(ctx: Ctx, obj: Obj[Any]) -> bool:
    return any(rule.judge(ctx, obj.id) for rule in actions(KINDS[obj.kind]).values())


def _principal(ctx: Ctx, principal_id: str) -> dict[str, Any]:
    row = ctx.tx.one("SELECT kind, name, active FROM principals WHERE id = ?", principal_id)
    assert row is not None
    return {"name": row["name"], "kind": row["kind"], "active": bool(row["active"])}


def _limits(obj: Obj[Any]) -> dict[str, Any]:
    """What is in force on the rows and columns themselves, for whoever may read them."""
    if obj.kind != TABLE.name:
        return {}
    table: Table = obj.spec
    limits: list[dict[str, str]] = []
    if table.row_filter is not None:
        limits.append({"limit": "row filter", "function": table.row_filter.function_name})
    limits += [
        {"limit": "column mask", "column": column.name, "function": column.mask.function_name}
        for column in table.columns
        if column.mask is not None
    ]
    return {"limits": limits} if limits else {}

"""Asking for access: somebody asks with a reason, somebody else who manages the object decides, and what is granted
may end by itself.

A request tells its asker nothing: one for an object that is not there is taken like any other, and nobody ever sees it.
"""

import json
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from pydantic import Field

from lakewright.access import naming
from lakewright.access.naming import Spelled
from lakewright.access.privileges import LETTING_OUT
from lakewright.access.privileges import spelled as privileges_spelled
from lakewright.catalog.people import People
from lakewright.catalog.schemas import EXTERNAL_USE_SCHEMA
from lakewright.kernel import grants, objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import BadState, Denied, Invalid, NotFound, TooMany
from lakewright.kernel.kinds import KINDS, Kind, Target
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import Api, Ask, Reply
from lakewright.kernel.roots import IN_WORKSPACE, METASTORE, WORKSPACE, Root
from lakewright.kernel.rules import EVERYONE, PER_ROW, Condition, Rule, Verdict, require
from lakewright.kernel.store import Row

api = Api("access", "/api/2.0/lakewright/access/requests")

OPEN_AT_ONCE = 100
"""Undecided requests one principal may have."""
PAGE = 100
COLUMNS = (
    "r.id, r.asked_for, r.object_id, r.principal, r.requested_by, r.rights, r.reason, r.lasts_ms, r.state,"
    " r.requested_at, r.expires_at, r.decided_by, r.decided_at, r.comment, r.granted_until"
)


# ---- who decides


@dataclass(frozen=True)
class ToManage(Rule):
    """What managing takes on an object, of whatever kind it is."""

    def __str__(self) -> str:
        return "to manage what is asked for"

    def judge(self, ctx: Ctx, object_id: str) -> Verdict:
        verdict = self._rule(ctx, object_id).judge(ctx, object_id)
        return verdict if verdict else Verdict(False, str(self))

    def parts(self, ctx: Ctx, object_id: str) -> tuple[tuple[Rule, str], ...]:
        return ((self._rule(ctx, object_id), object_id),)

    def covers(self, ctx: Ctx, object_id: str) -> bool:
        return False

    def condition(self, ctx: Ctx) -> Condition:
        """Over `objects o` of any kind."""
        each = {kind.name: managing(kind).condition(ctx) for kind in set(KINDS.values())}
        sql = " OR ".join(f"(o.kind = '{name}' AND {condition.sql})" for name, condition in sorted(each.items()))
        return Condition(f"({sql})", tuple(p for _, condition in sorted(each.items()) for p in condition.params))

    def _rule(self, ctx: Ctx, object_id: str) -> Rule:
        return managing(KINDS[str(ctx.tx.scalar("SELECT kind FROM objects WHERE id = ?", object_id))])


def managing(kind: Kind[Any]) -> Rule:
    rule = kind.held_as("MANAGE")
    assert rule is not None
    return rule


def _asked_about(ctx: Ctx, request_id: str) -> Obj[Any]:
    row = ctx.tx.one("SELECT object_id, asked_for FROM access_requests WHERE id = ?", request_id)
    if row is None or row["object_id"] is None:
        raise NotFound(f"there is no request '{request_id}'")
    return objects.by_id(ctx, naming.parse(str(row["asked_for"])).kind, str(row["object_id"]))


TO_MANAGE = ToManage()
ABOUT: Target[Any] = Target("{request_id}", WORKSPACE, finds=_asked_about)


# ---- asks


class Request(Ask):
    object: str
    rights: list[str] = Field(min_length=1, max_length=20)
    reason: str = Field(min_length=1, max_length=2000)
    principal: str | None = None
    lasts_seconds: int | None = Field(None, ge=60, le=10 * 366 * 86_400)


class Listing(Ask):
    request_id: str | None = None
    state: str | None = None
    to_decide: bool = False
    page_token: str | None = None
    page_size: int = Field(PAGE, ge=1, le=PAGE)


class Decide(Ask):
    request_id: str
    comment: str = Field("", max_length=2000)


class Approve(Decide):
    lasts_seconds: int | None = Field(None, ge=60, le=10 * 366 * 86_400)


class ById(Ask):
    request_id: str


# ---- operations


@api("POST", audit="requestAccess", on=IN_WORKSPACE, needs=EVERYONE)
def create(ctx: Ctx, workspace: Obj[Root], ask: Request) -> Reply:
    """Open to all: asking gives nothing and tells nothing, and who decides is whoever manages the object."""
    who = _beneficiary(ctx, ask.principal)
    spelled = naming.parse(ask.object)
    return _shown(ctx, take(ctx, spelled, rights_of(spelled.kind, ask.rights), ask.reason, who, ask.lasts_seconds))


@api("GET", audit="listAccessRequests", on=IN_WORKSPACE, needs=PER_ROW)
def list_(ctx: Ctx, workspace: Obj[Root], ask: Listing) -> Reply:
    """One's own requests, and those on what one manages; `to_decide` leaves only what waits for the caller."""
    bound = f"{ctx.principal.id}:requests:{ask.request_id}:{ask.state}:{ask.to_decide}"
    after = objects.open_token(ctx, ask.page_token, bound) if ask.page_token else ""
    deciding = TO_MANAGE.condition(ctx)
    mine = sorted(ctx.principal.ids)
    marks = ", ".join("?" * len(mine))
    where, params = ["r.workspace = ?", "r.id > ?"], [ctx.workspace, after]
    if ask.to_decide:
        where += [f"r.state = 'pending' AND r.expires_at > ? AND r.requested_by <> ? AND r.principal NOT IN ({marks})"]
        where += [f"(o.id IS NOT NULL AND {deciding.sql})"]
        params += [ctx.now(), ctx.principal.id, *mine, *deciding.params]
    else:
        where += [f"(r.requested_by = ? OR r.principal IN ({marks}) OR (o.id IS NOT NULL AND {deciding.sql}))"]
        params += [ctx.principal.id, *mine, *deciding.params]
    for column, value in (("r.id", ask.request_id), ("r.state", ask.state)):
        if value is not None:
            where.append(f"{column} = ?")
            params.append(value)
    found = ctx.tx.all(
        f"SELECT {COLUMNS} FROM access_requests r LEFT JOIN objects o ON o.id = r.object_id AND o.deleted_at IS NULL"
        f" WHERE {' AND '.join(where)} ORDER BY r.id LIMIT ?",
        *params, ask.page_size + 1,
    )  # fmt: skip
    page, people = found[: ask.page_size], People(ctx)
    following = objects.seal_token(ctx, str(page[-1]["id"]), bound) if len(found) > len(page) else None
    return {"requests": [show(r, people, ctx.now()) for r in page], "next_page_token": following}


@api("POST", "/{request_id}/approve", audit="approveAccessRequest", on=ABOUT, needs=TO_MANAGE)
def approve(ctx: Ctx, obj: Obj[Any], ask: Approve) -> Reply:
    """Grant what was asked for, for as long as was asked or shorter. Never by whoever asked, nor by who would get it."""
    row = _undecided(ctx, ask.request_id)
    wanted = row["lasts_ms"]
    given = ask.lasts_seconds * 1000 if ask.lasts_seconds is not None else wanted
    if wanted is not None and given > wanted:
        raise Invalid(f"lasts_seconds: {wanted // 1000} were asked for; approve that or less")
    until = ctx.now() + int(given) if given is not None else None
    rights = json.loads(row["rights"])
    if EXTERNAL_USE_SCHEMA.name in rights:
        require(ctx, LETTING_OUT, obj)
    grants.change(ctx, obj, str(row["principal"]), add=rights, until=until)
    return _decided(ctx, ask, "approved", until)


@api("POST", "/{request_id}/deny", audit="denyAccessRequest", on=ABOUT, needs=TO_MANAGE)
def deny(ctx: Ctx, obj: Obj[Any], ask: Decide) -> Reply:
    _undecided(ctx, ask.request_id)
    return _decided(ctx, ask, "denied", None)


@api("POST", "/{request_id}/withdraw", audit="withdrawAccessRequest", on=IN_WORKSPACE, needs=EVERYONE)
def withdraw(ctx: Ctx, workspace: Obj[Root], ask: ById) -> Reply:
    """Open to all: it finds only the caller's own requests, and only takes them back."""
    ended = ctx.tx.run(
        "UPDATE access_requests SET state = 'withdrawn', decided_by = ?, decided_at = ?"
        " WHERE id = ? AND requested_by = ? AND state = 'pending'",
        ctx.principal.id, ctx.now(), ask.request_id, ctx.principal.id,
    )  # fmt: skip
    if not ended:
        raise NotFound(f"you have no undecided request '{ask.request_id}'")
    return _shown(ctx, ask.request_id)


# ---- taking and deciding


def take(ctx: Ctx, spelled: Spelled, rights: list[str], reason: str, who: str, lasts_seconds: int | None) -> str:
    """The id of the request; asking for the same again is the same request."""
    asked_for, wanted = str(spelled), json.dumps(rights)
    same = ctx.tx.scalar(
        "SELECT id FROM access_requests WHERE workspace = ? AND requested_by = ? AND principal = ? AND asked_for = ?"
        " AND rights = ? AND state = 'pending' AND expires_at > ?",
        ctx.workspace, ctx.principal.id, who, asked_for, wanted, ctx.now(),
    )  # fmt: skip
    if same is not None:
        return str(same)
    waiting = ctx.tx.scalar(
        "SELECT COUNT(*) FROM access_requests WHERE requested_by = ? AND state = 'pending' AND expires_at > ?",
        ctx.principal.id, ctx.now(),
    )  # fmt: skip
    if waiting >= OPEN_AT_ONCE:
        raise TooMany(f"{OPEN_AT_ONCE} of your requests are undecided: withdraw some, or wait")
    try:
        object_id: str | None = naming.find(ctx, spelled).id
    except NotFound:
        object_id = None
    request_id = uuid4().hex
    ctx.tx.run(
        "INSERT INTO access_requests (id, workspace, asked_for, object_id, principal, requested_by, rights, reason,"
        " lasts_ms, state, requested_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending', ?, ?)",
        request_id, ctx.workspace, asked_for, object_id, who, ctx.principal.id, wanted, reason,
        lasts_seconds * 1000 if lasts_seconds is not None else None, ctx.now(),
        ctx.now() + int(ctx.settings.access.request_days * 86_400_000),
    )  # fmt: skip
    return request_id


def rights_of(kind: Kind[Any], rights: list[str]) -> list[str]:
    """The rights as they are granted; Invalid for one that cannot be on this kind."""
    wanted = sorted(set(privileges_spelled(rights) if kind.root is METASTORE else rights))
    if unknown := sorted(set(wanted) - kind.grantable()):
        raise Invalid(
            f"{', '.join(unknown)} cannot be granted on a {kind.name}; possible: {', '.join(sorted(kind.grantable()))}"
        )
    return wanted


def _beneficiary(ctx: Ctx, principal: str | None) -> str:
    """The caller, or a group they are in: one asks for nobody else."""
    if principal in (None, "me", ctx.principal.name):
        return ctx.principal.id
    found = ctx.tx.scalar("SELECT id FROM principals WHERE name = ? AND deleted_at IS NULL", principal)
    if found is None or str(found) not in ctx.principal.ids:
        raise Denied(f"{ctx.principal.name} can ask for themselves and for groups they are in, not for '{principal}'")
    return str(found)


def _undecided(ctx: Ctx, request_id: str) -> Row:
    row = _row(ctx, request_id)
    if ctx.principal.id == row["requested_by"] or str(row["principal"]) in ctx.principal.ids:
        raise Denied(f"{ctx.principal.name} asked for this or would get it, and cannot decide it: somebody else has to")
    state = _state(row, ctx.now())
    if state != "pending":
        raise BadState(f"this request is {state}")
    return row


def _decided(ctx: Ctx, ask: Decide, state: str, until: int | None) -> Reply:
    ctx.tx.run(
        "UPDATE access_requests SET state = ?, decided_by = ?, decided_at = ?, comment = ?, granted_until = ?"
        " WHERE id = ?",
        state, ctx.principal.id, ctx.now(), ask.comment, until, ask.request_id,
    )  # fmt: skip
    return _shown(ctx, ask.request_id)


# ---- show


def _row(ctx: Ctx, request_id: str) -> Row:
    row = ctx.tx.one(f"SELECT {COLUMNS} FROM access_requests r WHERE r.id = ?", request_id)
    assert row is not None
    return row


def _shown(ctx: Ctx, request_id: str) -> Reply:
    return show(_row(ctx, request_id), People(ctx), ctx.now())


def _state(row: Row, now: int) -> str:
    return "expired" if row["state"] == "pending" and row["expires_at"] <= now else str(row["state"])


def show(row: Row, people: People, now: int) -> Reply:
    shown: Reply = {
        "request_id": row["id"], "object": row["asked_for"], "rights": json.loads(row["rights"]),
        "principal": people[row["principal"]], "requested_by": people[row["requested_by"]], "reason": row["reason"],
        "state": _state(row, now), "requested_at": row["requested_at"], "expires_at": row["expires_at"],
    }  # fmt: skip
    if row["lasts_ms"] is not None:
        shown["lasts_seconds"] = row["lasts_ms"] // 1000
    if row["decided_by"] is not None:
        shown |= {"decided_by": people[row["decided_by"]], "decided_at": row["decided_at"], "comment": row["comment"]}
    if row["granted_until"] is not None:
        shown["granted_until"] = row["granted_until"]
    return shown


# ---- as the SDK asks (`w.rfa`)

rfa = Api("access", "/api/3.0/rfa")


class Securable(Ask):
    type: str
    full_name: str


class SecurablePermissions(Ask):
    securable: Securable
    permissions: list[str] = Field(min_length=1)


class BehalfOf(Ask):
    id: str
    principal_type: str | None = None


class OneOfBatch(Ask):
    behalf_of: BehalfOf | None = None
    comment: str = Field(min_length=1, max_length=200)
    securable_permissions: list[SecurablePermissions] = Field(min_length=1, max_length=30)


class Batch(Ask):
    requests: list[OneOfBatch] = Field(min_length=1, max_length=30)


class OfSecurable(Ask):
    securable_type: str
    full_name: str


@rfa("POST", "/requests", audit="batchCreateAccessRequests", on=IN_WORKSPACE, needs=EVERYONE)
def create_batch(ctx: Ctx, workspace: Obj[Root], ask: Batch) -> Reply:
    """Open to all, as asking is: the answer names where requests are decided, whether or not the object exists."""
    responses: list[Reply] = []
    for each in ask.requests:
        who = each.behalf_of.id if each.behalf_of else ctx.principal.id
        if who not in ctx.principal.ids:
            raise Denied(f"{ctx.principal.name} can ask for themselves and for groups they are in")
        for one in each.securable_permissions:
            spelled = _spelled(one.securable.type, one.securable.full_name)
            take(ctx, spelled, rights_of(spelled.kind, one.permissions), each.comment, who, None)
        responses.append({
            "behalf_of": {"id": who, **({"principal_type": each.behalf_of.principal_type} if each.behalf_of else {})},
            "request_destinations": [
                _destinations(ctx, one.securable.type, one.securable.full_name) for one in each.securable_permissions
            ],
        })  # fmt: skip
    return {"responses": responses}


@rfa(
    "GET", "/destinations/{securable_type}/{full_name}", audit="getAccessRequestDestinations", on=IN_WORKSPACE,
    needs=EVERYONE,
)  # fmt: skip
def destinations(ctx: Ctx, workspace: Obj[Root], ask: OfSecurable) -> Reply:
    """Open to all: requests on every object are decided in the same place, and the answer looks at no object."""
    _spelled(ask.securable_type, ask.full_name)
    return _destinations(ctx, ask.securable_type, ask.full_name)


def _spelled(called: str, full_name: str) -> Spelled:
    spelled = naming.parse(f"{called.lower()}:/{full_name}")
    if spelled.kind.root is not METASTORE:
        raise Invalid(f"a {called} is not a securable: ask with /api/2.0/lakewright/access/requests")
    return spelled


def _destinations(ctx: Ctx, called: str, full_name: str) -> Reply:
    securable = {"type": called, "full_name": full_name}
    return {
        "securable": securable, "full_name": full_name, "securable_type": called,
        "are_any_destinations_hidden": False, "destination_source_securable": securable,
        "destinations": [{"destination_type": "URL", "destination_id": f"{ctx.request.base_url}/console/access"}],
    }  # fmt: skip

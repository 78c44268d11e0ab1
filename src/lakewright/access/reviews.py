"""Access reviews: every grant below something is put before an owner, who keeps or revokes it; the result is signed.

Nobody reviews their own: a grant goes to the nearest owner above it who is somebody else. Closing a review takes back
what was revoked and stores what was decided, by whom and when, under a signature that anybody can check later.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import uuid4

import orjson
from pydantic import Field

from lakewright.access import naming, trail
from lakewright.access.requests import TO_MANAGE
from lakewright.access.signing import public_key, signed, verified
from lakewright.catalog.people import People
from lakewright.kernel import grants, objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import BadState, Denied, Invalid, NotFound, TooLarge
from lakewright.kernel.kinds import KINDS, Kind, Target
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.roots import ADMINS, IN_WORKSPACE, USERS, WORKSPACE, Root, users_of
from lakewright.kernel.rules import EVERYONE, PER_ROW
from lakewright.kernel.store import Row

api = Api("access", "/api/2.0/lakewright/access/reviews")

MOST = 20_000
"""Grants one review looks at: more is split by scope, as its reviewers are."""
PAGE = 200
ITEM = (
    'id, object_id, object, principal, "right", granted_by, granted_at, expires_at, reviewer, decision, decided_by,'
    " decided_at, comment, outcome"
)
REVIEW = "id, name, scope, started_by, started_at, due_at, closed_at, result, signature"


# ---- where


@dataclass(frozen=True)
class Spelled(Target[Any]):
    """An object of any kind, written as `catalogs:/main`."""

    def of(self, fields: Mapping[str, Any]) -> tuple[Kind[Any], str]:
        spelled = naming.parse(self.address.format_map(fields))
        return spelled.kind, spelled.address

    def written(self, full_name: str) -> str:
        return f"tables:/{full_name}"


def _scope(ctx: Ctx, review_id: str) -> Obj[Any]:
    """What a review is about; the nearest thing above it that is left, when it is gone."""
    row = ctx.tx.one(
        f"SELECT {', '.join('o.' + c.strip() for c in objects.COLUMNS.split(','))} FROM access_reviews r"
        " JOIN ancestry a ON a.object_id = r.scope_id JOIN objects o ON o.id = a.ancestor_id"
        " WHERE r.id = ? AND r.workspace = ? AND o.deleted_at IS NULL ORDER BY a.depth LIMIT 1",
        review_id, ctx.workspace,
    )  # fmt: skip
    if row is None:
        raise NotFound(f"there is no review '{review_id}'")
    return objects.loaded(KINDS[str(row["kind"])], row)


SCOPE: Target[Any] = Spelled("{scope}", is_id=None)
OF_REVIEW: Target[Any] = Target("{review_id}", WORKSPACE, finds=_scope)


# ---- asks


class Start(Ask):
    scope: str
    name: str = Field("", max_length=200)
    due_days: float = Field(30, gt=0, le=366)


class OfReview(Ask):
    review_id: str


class Listing(Ask):
    page_token: str | None = None
    page_size: int = Field(PAGE, ge=1, le=PAGE)


class ListItems(Listing):
    review_id: str
    undecided: bool = False


class Decide(Ask):
    review_id: str
    item_id: str
    decision: Literal["keep", "revoke"]
    comment: str = Field("", max_length=2000)


class Close(OfReview):
    undecided: Literal["keep", "revoke"] | None = None


# ---- operations


@api("POST", audit="startAccessReview", on=SCOPE, needs=TO_MANAGE)
def start(ctx: Ctx, scope: Obj[Any], ask: Start) -> Reply:
    """Every grant on the object and below it, as it is now, each before a reviewer."""
    review_id = uuid4().hex
    rows = list(_items(ctx, review_id, scope))
    if len(rows) > MOST:
        raise TooLarge(f"{len(rows)} grants are below {ask.scope}; a review looks at {MOST} at most: choose less")
    spelled = naming.written(scope, KINDS[scope.kind])
    ctx.tx.run(
        "INSERT INTO access_reviews (id, workspace, name, scope, scope_id, started_by, started_at, due_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        review_id, ctx.workspace, ask.name or spelled, spelled, scope.id, ctx.principal.id, ctx.now(),
        ctx.now() + int(ask.due_days * 86_400_000),
    )  # fmt: skip
    ctx.tx.many(
        'INSERT INTO access_review_items (id, review_id, object_id, object, principal, "right", granted_by, granted_at,'
        " expires_at, reviewer) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    return _shown(ctx, review_id)


@api("GET", audit="listAccessReviews", on=IN_WORKSPACE, needs=PER_ROW)
def list_(ctx: Ctx, workspace: Obj[Root], ask: Listing) -> Reply:
    """Reviews of what the caller manages, and those with something for the caller to decide."""
    bound = f"{ctx.principal.id}:reviews"
    after = objects.open_token(ctx, ask.page_token, bound) if ask.page_token else ""
    managing, mine = TO_MANAGE.condition(ctx), sorted(ctx.principal.ids)
    marks = ", ".join("?" * len(mine))
    found = ctx.tx.all(
        f"SELECT {', '.join('r.' + c.strip() for c in REVIEW.split(','))} FROM access_reviews r"
        " WHERE r.workspace = ? AND r.id > ? AND"
        f" (r.scope_id IN (SELECT o.id FROM objects o WHERE o.id IN (SELECT scope_id FROM access_reviews) AND {managing.sql})"
        f" OR r.id IN (SELECT review_id FROM access_review_items WHERE reviewer IN ({marks}))) ORDER BY r.id LIMIT ?",
        ctx.workspace, after, *managing.params, *mine, ask.page_size + 1,
    )  # fmt: skip
    page, people = found[: ask.page_size], People(ctx)
    following = objects.seal_token(ctx, str(page[-1]["id"]), bound) if len(found) > len(page) else None
    return {"reviews": [_show(ctx, r, people) for r in page], "next_page_token": following}


@api("GET", "/{review_id}", audit="getAccessReview", on=OF_REVIEW, needs=TO_MANAGE, runs=SNAPSHOT)
def get(ctx: Ctx, scope: Obj[Any], ask: OfReview) -> Reply:
    """With the signed result, once it is closed."""
    row = _row(ctx, ask.review_id)
    shown = _show(ctx, row, People(ctx))
    if row["closed_at"] is not None:
        shown |= {"result": row["result"], "signature": row["signature"], "public_key": public_key(ctx.platform.keys)}
    return shown


@api("GET", "/{review_id}/items", audit="listAccessReviewItems", on=IN_WORKSPACE, needs=PER_ROW)
def items(ctx: Ctx, workspace: Obj[Root], ask: ListItems) -> Reply:
    """What is for the caller to decide; all of it to who manages what is reviewed."""
    bound = f"{ctx.principal.id}:items:{ask.review_id}:{ask.undecided}"
    after = objects.open_token(ctx, ask.page_token, bound) if ask.page_token else ""
    where, params = ["review_id = ?", "id > ?"], [ask.review_id, after]
    if not _manages(ctx, ask.review_id):
        mine = sorted(ctx.principal.ids)
        where.append(f"reviewer IN ({', '.join('?' * len(mine))})")
        params += mine
    if ask.undecided:
        where.append("decision IS NULL")
    found = ctx.tx.all(
        f"SELECT {ITEM} FROM access_review_items WHERE {' AND '.join(where)} ORDER BY id LIMIT ?",
        *params, ask.page_size + 1,
    )  # fmt: skip
    page, people = found[: ask.page_size], People(ctx)
    following = objects.seal_token(ctx, str(page[-1]["id"]), bound) if len(found) > len(page) else None
    return {"items": [_show_item(r, people) for r in page], "next_page_token": following}


@api("POST", "/{review_id}/items/{item_id}/decide", audit="decideAccessReviewItem", on=IN_WORKSPACE, needs=EVERYONE)
def decide(ctx: Ctx, workspace: Obj[Root], ask: Decide) -> Reply:
    """Open in name only: it finds nothing but what the review put before the caller, and never the caller's own."""
    row = ctx.tx.one(
        f"SELECT {ITEM} FROM access_review_items WHERE id = ? AND review_id = ?", ask.item_id, ask.review_id
    )
    if row is None or _reviewer_now(ctx, row) not in ctx.principal.ids:
        raise Denied(f"{ctx.principal.name} is not the reviewer of '{ask.item_id}'")
    if str(row["principal"]) in ctx.principal.ids - everybody(ctx):
        raise Denied(f"{ctx.principal.name} cannot review what they hold themselves: somebody else has to")
    if _row(ctx, ask.review_id)["closed_at"] is not None:
        raise BadState("this review is closed")
    ctx.tx.run(
        "UPDATE access_review_items SET decision = ?, decided_by = ?, decided_at = ?, comment = ? WHERE id = ?",
        ask.decision, ctx.principal.id, ctx.now(), ask.comment, ask.item_id,
    )  # fmt: skip
    again = ctx.tx.one(f"SELECT {ITEM} FROM access_review_items WHERE id = ?", ask.item_id)
    assert again is not None
    return _show_item(again, People(ctx))


@api("POST", "/{review_id}/close", audit="closeAccessReview", on=OF_REVIEW, needs=TO_MANAGE)
def close(ctx: Ctx, scope: Obj[Any], ask: Close) -> Reply:
    """Take back what was revoked, and sign the result. What nobody decided must be said what to do with."""
    review = _row(ctx, ask.review_id)
    if review["closed_at"] is not None:
        raise BadState("this review is closed")
    rows = ctx.tx.all(f"SELECT {ITEM} FROM access_review_items WHERE review_id = ? ORDER BY id", ask.review_id)
    undecided = sum(row["decision"] is None for row in rows)
    if undecided and ask.undecided is None:
        raise Invalid(f"{undecided} grants are undecided: decide them, or say undecided=keep or undecided=revoke")
    for row in rows:
        outcome = _apply(ctx, row, str(row["decision"] or ask.undecided))
        ctx.tx.run("UPDATE access_review_items SET outcome = ? WHERE id = ?", outcome, row["id"])
    result = _result(ctx, review, ask)
    ctx.tx.run(
        "UPDATE access_reviews SET closed_at = ?, result = ?, signature = ? WHERE id = ?",
        ctx.now(), result, signed(ctx.platform.keys, result.encode()), ask.review_id,
    )  # fmt: skip
    return get.run(ctx, scope, OfReview(review_id=ask.review_id))


@api("GET", "/{review_id}/verify", audit="verifyAccessReview", on=OF_REVIEW, needs=TO_MANAGE, runs=SNAPSHOT)
def verify(ctx: Ctx, scope: Obj[Any], ask: OfReview) -> Reply:
    """Whether the stored result is the one that was signed, and the stored decisions are those of the result."""
    row = _row(ctx, ask.review_id)
    if row["closed_at"] is None:
        raise BadState("this review is not closed")
    whole = verified(public_key(ctx.platform.keys), str(row["result"]).encode(), str(row["signature"]))
    same = whole and orjson.loads(row["result"])["items"] == _decisions(ctx, ask.review_id)
    what = "" if same else "the decisions were altered" if whole else "the result was altered"
    return {"review_id": ask.review_id, "whole": same, "what": what}


# ---- who reviews what


def _items(ctx: Ctx, review_id: str, scope: Obj[Any]) -> Iterator[tuple[Any, ...]]:
    rows = ctx.tx.all(
        'SELECT g.object_id, g.principal, g."right", g.granted_by, g.granted_at, g.expires_at FROM ancestry a'
        " JOIN objects o ON o.id = a.object_id JOIN grants g ON g.object_id = o.id"
        " WHERE a.ancestor_id = ? AND o.deleted_at IS NULL AND o.workspace IN ('', ?)"
        ' ORDER BY o.full_name, o.id, g.principal, g."right"',
        scope.id, ctx.workspace,
    )  # fmt: skip
    reviewers = _Reviewers(ctx)
    spelled: dict[str, str] = {}
    for number, row in enumerate(rows):
        object_id, principal = str(row["object_id"]), str(row["principal"])
        if object_id not in spelled:
            spelled[object_id] = _spelled(ctx, object_id)
        yield (
            f"{review_id}-{number:05}", review_id, object_id, spelled[object_id], principal, row["right"],
            row["granted_by"], row["granted_at"], row["expires_at"], reviewers.of(object_id, principal),
        )  # fmt: skip


def everybody(ctx: Ctx) -> frozenset[str]:
    """Groups that hold everybody, also whoever reviews what they were granted."""
    return frozenset((USERS, users_of(ctx.workspace)))


class _Reviewers:
    """The nearest owner above a grant who is somebody else than who holds it, and is still there to be asked."""

    def __init__(self, ctx: Ctx) -> None:
        self._ctx = ctx
        self._people: dict[str, frozenset[str]] = {}

    def of(self, object_id: str, reviewed: str) -> str:
        policy, tx = self._ctx.platform.policy, self._ctx.tx
        for above in policy.chain(tx, object_id):
            owner = policy.held(tx, above).owner
            if any(self._may(person, reviewed) for person in self._who(owner)):
                return owner
        return ADMINS

    def _may(self, person: str, reviewed: str) -> bool:
        return reviewed in everybody(self._ctx) or reviewed not in self._ctx.platform.policy.closure(
            self._ctx.tx, person
        )

    def _who(self, owner: str) -> frozenset[str]:
        """The active people and machines that an owner stands for."""
        if owner not in self._people:
            rows = self._ctx.tx.all(
                "WITH RECURSIVE down(id) AS (SELECT CAST(? AS TEXT) UNION SELECT m.member_id FROM members m JOIN down"
                " ON m.group_id = down.id) SELECT p.id FROM principals p JOIN down ON down.id = p.id"
                " WHERE p.kind <> 'group' AND p.active = 1 AND p.deleted_at IS NULL",
                owner,
            )
            self._people[owner] = frozenset(str(r["id"]) for r in rows)
        return self._people[owner]


def _reviewer_now(ctx: Ctx, row: Row) -> str:
    """Whom the review put it before, as long as they own something it lies in; after that, who does."""
    policy, object_id = ctx.platform.policy, str(row["object_id"])
    owners = {policy.held(ctx.tx, above).owner for above in policy.chain(ctx.tx, object_id)}
    chosen = str(row["reviewer"])
    return chosen if chosen in owners else _Reviewers(ctx).of(object_id, str(row["principal"]))


def _spelled(ctx: Ctx, object_id: str) -> str:
    row = ctx.tx.one(f"SELECT {objects.COLUMNS} FROM objects WHERE id = ?", object_id)
    assert row is not None
    kind = KINDS[str(row["kind"])]
    return naming.written(objects.loaded(kind, row), kind)


def _manages(ctx: Ctx, review_id: str) -> bool:
    try:
        return bool(TO_MANAGE.judge(ctx, _scope(ctx, review_id).id))
    except NotFound:
        return False


# ---- closing


def _apply(ctx: Ctx, row: Row, decision: str) -> str:
    if decision == "keep":
        return "kept"
    given = int(row["granted_at"])
    if not grants.take_back(ctx, row["object_id"], row["principal"], row["right"], granted_at=given):
        return "gone"  # revoked meanwhile; or granted anew, which is another decision than the one reviewed
    what = {"principal": ctx.name_of(row["principal"]), "right": row["right"], "item_id": row["id"]}
    trail.record(ctx, "grantRevokedByReview", row["object_id"], "revoked in a review", what)
    return "revoked"


def _result(ctx: Ctx, review: Row, ask: Close) -> str:
    people = People(ctx)
    document = {
        "review_id": review["id"], "name": review["name"], "scope": review["scope"],
        "started_by": people[review["started_by"]], "started_at": review["started_at"],
        "closed_by": people[ctx.principal.id], "closed_at": ctx.now(), "undecided": ask.undecided,
        "items": _decisions(ctx, ask.review_id),
    }  # fmt: skip
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS).decode()


def _decisions(ctx: Ctx, review_id: str) -> list[list[Any]]:
    """What was decided, with ids: names may change."""
    rows = ctx.tx.all(f"SELECT {ITEM} FROM access_review_items WHERE review_id = ? ORDER BY id", review_id)
    return [[row[name.strip().strip('"')] for name in ITEM.split(",")] for row in rows]


# ---- show


def _row(ctx: Ctx, review_id: str) -> Row:
    row = ctx.tx.one(f"SELECT {REVIEW} FROM access_reviews WHERE id = ?", review_id)
    if row is None:
        raise NotFound(f"there is no review '{review_id}'")
    return row


def _shown(ctx: Ctx, review_id: str) -> Reply:
    return _show(ctx, _row(ctx, review_id), People(ctx))


def _show(ctx: Ctx, row: Row, people: People) -> Reply:
    counts = ctx.tx.all(
        "SELECT COALESCE(decision, 'undecided') AS d, COUNT(*) AS n FROM access_review_items WHERE review_id = ?"
        " GROUP BY COALESCE(decision, 'undecided')",
        row["id"],
    )
    return {
        "review_id": row["id"], "name": row["name"], "scope": row["scope"], "started_by": people[row["started_by"]],
        "started_at": row["started_at"], "due_at": row["due_at"],
        "state": "open" if row["closed_at"] is None else "closed", "closed_at": row["closed_at"],
        "counts": {"keep": 0, "revoke": 0, "undecided": 0, **{str(c["d"]): int(c["n"]) for c in counts}},
    }  # fmt: skip


def _show_item(row: Row, people: People) -> Reply:
    shown: Reply = {
        "item_id": row["id"], "object": row["object"], "principal": people[row["principal"]], "right": row["right"],
        "granted_by": people[row["granted_by"]], "granted_at": row["granted_at"], "expires_at": row["expires_at"],
        "reviewer": people[row["reviewer"]], "decision": row["decision"], "comment": row["comment"],
        "outcome": row["outcome"],
    }  # fmt: skip
    if row["decided_by"] is not None:
        shown |= {"decided_by": people[row["decided_by"]], "decided_at": row["decided_at"]}
    return shown

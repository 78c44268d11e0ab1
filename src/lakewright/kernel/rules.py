"""What a caller must hold. A rule is asked of one object, of all below one, or of a whole listing.

The three answers come from the same few sets (`policy`): `judge` looks them up, `condition` is the same in SQL, and
`covers` says that an ancestor already decides for all that lies below, so that a listing needs no condition at all.
That they agree is checked on random worlds by tests/conformance.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from lakewright.kernel.faults import Denied

if TYPE_CHECKING:
    from lakewright.kernel.context import Ctx
    from lakewright.kernel.objects import Obj


@dataclass(frozen=True)
class Verdict:
    """Whether, and by which path or for want of what."""

    allowed: bool
    because: str

    def __bool__(self) -> bool:
        return self.allowed


class Way(NamedTuple):
    """One path by which something is held: what, on which object, how far above, and who holds it there."""

    held: str
    at: str
    distance: int = 0
    holders: frozenset[str] = frozenset()

    @property
    def because(self) -> str:
        if not self.distance:
            return self.held
        return f"{self.held} of {self.at}" if self.held == "owner" else f"{self.held} inherited from {self.at}"


Joined = Literal["", "all", "any"]


@dataclass(frozen=True)
class Condition:
    """SQL over the alias `o` of `objects`, with its parameters."""

    sql: str
    params: tuple[Any, ...] = ()


class Rule:
    joined: ClassVar[Joined] = ""
    """How the verdicts on its parts make its own; a rule without parts judges by itself."""

    def judge(self, ctx: "Ctx", object_id: str) -> Verdict:
        raise NotImplementedError

    def ways(self, ctx: "Ctx", object_id: str) -> Iterator[Way]:
        """Every path by which a rule without parts is fulfilled; `judge` takes the first."""
        if verdict := self.judge(ctx, object_id):
            yield Way(verdict.because, object_id)

    def parts(self, ctx: "Ctx", object_id: str) -> "tuple[tuple[Rule, str], ...]":
        """The rules it consists of, each with the object it is asked of."""
        return ()

    def covers(self, ctx: "Ctx", object_id: str) -> bool:
        """Whether the rule holds on everything below the object, present and future."""
        raise NotImplementedError

    def condition(self, ctx: "Ctx") -> Condition:
        raise NotImplementedError

    def __and__(self, other: "Rule") -> "Rule":
        return Both(self, other)

    def __or__(self, other: "Rule") -> "Rule":
        return Either(self, other)


@dataclass(frozen=True)
class Right(Rule):
    """A privilege or permission level, held on the object or inherited from above it.

    The owner of the object itself holds every right on it. The owner of something above it holds a right here only
    when `from_owner_above`: MANAGE and the workspace levels, not privileges over data such as SELECT.
    """

    name: str
    kind: str
    stronger: tuple[str, ...] = ()
    from_owner_above: bool = False

    def __str__(self) -> str:
        return f"{self.name} on {self.kind}"

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.stronger)

    def judge(self, ctx: "Ctx", object_id: str) -> Verdict:
        for way in self._search(ctx, object_id, own=True):
            return Verdict(True, way.because)
        return Verdict(False, str(self))

    def ways(self, ctx: "Ctx", object_id: str) -> Iterator[Way]:
        return self._search(ctx, object_id, own=True)

    def covers(self, ctx: "Ctx", object_id: str) -> bool:
        return any(True for _ in self._search(ctx, object_id, own=False))

    def _search(self, ctx: "Ctx", object_id: str, *, own: bool) -> Iterator[Way]:
        policy, tx, mine = ctx.platform.policy, ctx.tx, ctx.principal.ids
        for distance, above in enumerate(policy.chain(tx, object_id)):
            held = policy.held(tx, above)
            if held.owner in mine and (self.from_owner_above or (own and distance == 0)):
                yield Way("owner", above, distance, held.owners)
            for name in self.names:
                holders = held.by_right.get(name)
                if holders is not None and not mine.isdisjoint(holders):
                    yield Way(name, above, distance, holders)

    def condition(self, ctx: "Ctx") -> Condition:
        mine = sorted(ctx.principal.ids)
        me, rights = ", ".join("?" * len(mine)), ", ".join("?" * len(self.names))
        granted = f'SELECT object_id FROM grants WHERE principal IN ({me}) AND "right" IN ({rights})'
        params: tuple[Any, ...] = (*mine, *self.names)
        if ctx.platform.policy.sets(ctx.tx).timed:
            granted += " AND (expires_at IS NULL OR expires_at > ?)"
            params += (ctx.now(),)
        if self.from_owner_above:
            granted += f" UNION SELECT id FROM objects WHERE owner IN ({me})"
            params += (*mine,)
        visible = f"SELECT a.object_id FROM ancestry a WHERE a.ancestor_id IN ({granted})"
        if not self.from_owner_above:
            visible += f" UNION SELECT id FROM objects WHERE owner IN ({me})"
            params += (*mine,)
        return Condition(f"o.id IN ({visible})", params)


@dataclass(frozen=True)
class Both(Rule):
    left: Rule
    right: Rule
    joined: ClassVar[Joined] = "all"

    def parts(self, ctx: "Ctx", object_id: str) -> tuple[tuple[Rule, str], ...]:
        return (self.left, object_id), (self.right, object_id)

    def __str__(self) -> str:
        return f"{self.left} and {self.right}"

    def judge(self, ctx: "Ctx", object_id: str) -> Verdict:
        left = self.left.judge(ctx, object_id)
        if not left:
            return left
        right = self.right.judge(ctx, object_id)
        return Verdict(True, f"{left.because} and {right.because}") if right else right

    def covers(self, ctx: "Ctx", object_id: str) -> bool:
        return self.left.covers(ctx, object_id) and self.right.covers(ctx, object_id)

    def condition(self, ctx: "Ctx") -> Condition:
        left, right = self.left.condition(ctx), self.right.condition(ctx)
        return Condition(f"({left.sql} AND {right.sql})", left.params + right.params)


@dataclass(frozen=True)
class Either(Rule):
    left: Rule
    right: Rule
    joined: ClassVar[Joined] = "any"

    def parts(self, ctx: "Ctx", object_id: str) -> tuple[tuple[Rule, str], ...]:
        return (self.left, object_id), (self.right, object_id)

    def __str__(self) -> str:
        return f"({self.left} or {self.right})"

    def judge(self, ctx: "Ctx", object_id: str) -> Verdict:
        return self.left.judge(ctx, object_id) or self.right.judge(ctx, object_id) or Verdict(False, str(self))

    def covers(self, ctx: "Ctx", object_id: str) -> bool:
        return self.left.covers(ctx, object_id) or self.right.covers(ctx, object_id)

    def condition(self, ctx: "Ctx") -> Condition:
        left, right = self.left.condition(ctx), self.right.condition(ctx)
        return Condition(f"({left.sql} OR {right.sql})", left.params + right.params)


@dataclass(frozen=True)
class Everyone(Rule):
    """Any signed-in caller."""

    name: str = "a signed-in caller"

    def __str__(self) -> str:
        return self.name

    def judge(self, ctx: "Ctx", object_id: str) -> Verdict:
        return Verdict(True, self.name)

    def covers(self, ctx: "Ctx", object_id: str) -> bool:
        return True

    def condition(self, ctx: "Ctx") -> Condition:
        return Condition("1 = 1")


@dataclass(frozen=True)
class Admin(Rule):
    """An owner of the root above the object: the workspace's, the metastore's or the account's administrators."""

    def __str__(self) -> str:
        return "to be an administrator"

    def judge(self, ctx: "Ctx", object_id: str) -> Verdict:
        held = any(True for _ in self.ways(ctx, object_id))
        return Verdict(held, "administrator" if held else str(self))

    def ways(self, ctx: "Ctx", object_id: str) -> Iterator[Way]:
        policy = ctx.platform.policy
        chain = policy.chain(ctx.tx, object_id)
        owner = policy.held(ctx.tx, chain[-1]).owner
        if owner in ctx.principal.ids:
            yield Way("owner", chain[-1], len(chain) - 1, frozenset((owner,)))

    def covers(self, ctx: "Ctx", object_id: str) -> bool:
        return bool(self.judge(ctx, object_id))

    def condition(self, ctx: "Ctx") -> Condition:
        mine = sorted(ctx.principal.ids)
        roots = f"SELECT id FROM objects WHERE parent_id IS NULL AND owner IN ({', '.join('?' * len(mine))})"
        return Condition(f"o.id IN (SELECT object_id FROM ancestry WHERE ancestor_id IN ({roots}))", (*mine,))


@dataclass(frozen=True)
class Owner(Rule):
    """The owner of the object itself."""

    def __str__(self) -> str:
        return "to be the owner"

    def judge(self, ctx: "Ctx", object_id: str) -> Verdict:
        owns = any(True for _ in self.ways(ctx, object_id))
        return Verdict(owns, "owner" if owns else str(self))

    def ways(self, ctx: "Ctx", object_id: str) -> Iterator[Way]:
        owner = ctx.platform.policy.held(ctx.tx, object_id).owner
        if owner in ctx.principal.ids:
            yield Way("owner", object_id, 0, frozenset((owner,)))

    def covers(self, ctx: "Ctx", object_id: str) -> bool:
        return False

    def condition(self, ctx: "Ctx") -> Condition:
        mine = sorted(ctx.principal.ids)
        return Condition(f"o.owner IN ({', '.join('?' * len(mine))})", (*mine,))


EVERYONE = Everyone()
PER_ROW = Everyone("a signed-in caller; each row is judged by itself")
PUBLIC = Everyone("anybody, signed in or not")
"""Before sign-in: host discovery, token endpoints. Each use is listed, with its reason, in docs/open-operations.md."""
ADMIN = Admin()
OWNER = Owner()
MANAGE = Right("MANAGE", "it", ("CAN_MANAGE", "IS_OWNER"), from_owner_above=True)


def require(ctx: "Ctx", rule: Rule, obj: "Obj[Any]") -> Verdict:
    """The rule's verdict on the object, or Denied with what to go and get."""
    verdict = rule.judge(ctx, obj.id)
    if not verdict:
        raise denied(ctx, verdict, obj.kind, obj.full_name)
    return verdict


def denied(ctx: "Ctx", verdict: Verdict, kind: str, address: str) -> Denied:
    who = ctx.principal.name or "an unknown caller"
    return Denied(f"{who} needs {verdict.because} for {kind} '{address}'")

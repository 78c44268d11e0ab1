"""Reach: one must be able to use the catalog and the schema before anything in them is one's business.

USE_CATALOG is a right on the catalog, however deep below it the object in question lies. Whoever manages the catalog
(its owner, the metastore's administrators) reaches into it too; owning a table inside it is not enough.
"""

from dataclasses import dataclass
from typing import ClassVar

from lakewright.kernel.context import Ctx
from lakewright.kernel.rules import Condition, Either, Joined, Rule, Verdict


@dataclass(frozen=True)
class At(Rule):
    """`rule`, asked of the ancestor of one kind. `depth` is how far that kind is below the metastore."""

    kind: str
    depth: int
    rule: Rule
    wanted: str

    def __str__(self) -> str:
        return self.wanted

    joined: ClassVar[Joined] = "all"

    def judge(self, ctx: Ctx, object_id: str) -> Verdict:
        verdict = self.rule.judge(ctx, self._there(ctx, object_id))
        return verdict if verdict else Verdict(False, self.wanted)

    def parts(self, ctx: Ctx, object_id: str) -> tuple[tuple[Rule, str], ...]:
        return ((self.rule, self._there(ctx, object_id)),)

    def _there(self, ctx: Ctx, object_id: str) -> str:
        chain = ctx.platform.policy.chain(ctx.tx, object_id)
        return chain[-1 - self.depth] if len(chain) > self.depth else object_id

    def covers(self, ctx: Ctx, object_id: str) -> bool:
        chain = ctx.platform.policy.chain(ctx.tx, object_id)
        if len(chain) > self.depth:
            return bool(self.rule.judge(ctx, chain[-1 - self.depth]))
        return self.rule.covers(ctx, object_id)

    def condition(self, ctx: Ctx) -> Condition:
        inner = self.rule.condition(ctx)
        there = f"SELECT o.id FROM objects o WHERE o.kind || '' = ? AND {inner.sql}"
        return Condition(
            f"o.id IN (SELECT r.object_id FROM ancestry r WHERE r.ancestor_id IN ({there}))", (self.kind, *inner.params)
        )


@dataclass(frozen=True)
class Mainly(Either):
    """`left` is what one usually has; `right` also does. A refusal names only the usual way."""

    def __str__(self) -> str:
        return str(self.left)

    def judge(self, ctx: Ctx, object_id: str) -> Verdict:
        usual = self.left.judge(ctx, object_id)
        return usual or self.right.judge(ctx, object_id) or usual

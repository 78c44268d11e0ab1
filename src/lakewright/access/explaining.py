"""A verdict taken apart: by which rules, and by which paths, a principal may or may not.

There is no second implementation of a decision here. Every `allowed` is `Rule.judge`, every path is one that `judge`
itself walks; this only keeps all of them where a decision stops at the first.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any

from lakewright.access.naming import written
from lakewright.catalog.people import People
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.kinds import KINDS
from lakewright.kernel.rules import Rule, Way


@dataclass
class Names:
    """What an explanation says over and over: principals, objects, who is in whom."""

    ctx: Ctx

    def __post_init__(self) -> None:
        self.people = People(self.ctx)
        self._objects: dict[str, dict[str, Any]] = {}
        self._up: dict[str, list[str]] = {}

    def object(self, object_id: str) -> dict[str, Any]:
        found = self._objects.get(object_id)
        if found is None:
            row = self.ctx.tx.one(f"SELECT {objects.COLUMNS} FROM objects WHERE id = ?", object_id)
            assert row is not None
            kind = KINDS[str(row["kind"])]
            shown = written(objects.loaded(kind, row), kind)
            found = self._objects[object_id] = {"object": shown, "kind": kind.name, "object_id": object_id}
        return found

    def chain(self, member: str, holder: str) -> list[str]:
        """The shortest way from a principal up to the group it holds something through, by name."""
        came: dict[str, str] = {member: ""}
        waiting = deque([member])
        while waiting and holder not in came:
            here = waiting.popleft()
            for group in self._groups(here):
                if group not in came:
                    came[group] = here
                    waiting.append(group)
        path = [holder]
        while came.get(path[-1]):
            path.append(came[path[-1]])
        return [self.people[each] for each in reversed(path)]

    def _groups(self, member: str) -> list[str]:
        if member not in self._up:
            rows = self.ctx.tx.all("SELECT group_id FROM members WHERE member_id = ? ORDER BY group_id", member)
            self._up[member] = [str(r["group_id"]) for r in rows]
        return self._up[member]


def explained(ctx: Ctx, names: Names, rule: Rule, object_id: str) -> dict[str, Any]:
    """The rule's verdict on the object for `ctx.principal`, and what it rests on, down to single grants."""
    verdict = rule.judge(ctx, object_id)
    shown: dict[str, Any] = {"needs": str(rule), "allowed": verdict.allowed}
    parts = rule.parts(ctx, object_id)
    if parts:
        shown["joined_by"] = rule.joined
        shown["parts"] = [explained(ctx, names, part, there) for part, there in parts]
    elif verdict:
        shown["paths"] = [_path(ctx, names, way) for way in rule.ways(ctx, object_id)]
    return shown


def _path(ctx: Ctx, names: Names, way: Way) -> dict[str, Any]:
    path: dict[str, Any] = {"holds": way.held, "on": names.object(way.at)["object"], "inherited": way.distance > 0}
    if through := way.holders & ctx.principal.ids:
        path["through"] = sorted(names.chain(ctx.principal.id, holder) for holder in through)
    ends = _until(ctx, way)
    if ends is not None:
        path["until"] = ends
    return path


def _until(ctx: Ctx, way: Way) -> int | None:
    """When the path ends by itself: when every grant it rests on does."""
    holders = sorted(way.holders & ctx.principal.ids)
    if not holders or way.held == "owner":
        return None
    rows = ctx.tx.all(
        'SELECT expires_at FROM grants WHERE object_id = ? AND "right" = ?'
        f" AND principal IN ({', '.join('?' * len(holders))})",
        way.at, way.held, *holders,
    )  # fmt: skip
    ends = [r["expires_at"] for r in rows]
    return None if not ends or None in ends else int(max(ends))


def sentence(explanation: dict[str, Any]) -> str:
    """The same in one line: the first path, or what is missing."""
    if not explanation["allowed"]:
        return f"needs {_missing(explanation)}"
    return " and ".join(dict.fromkeys(_reasons(explanation))) or explanation["needs"]


def _missing(explanation: dict[str, Any]) -> str:
    refused = [part for part in explanation.get("parts", ()) if not part["allowed"]]
    if explanation.get("joined_by") == "all" and refused and len(explanation["parts"]) > 1:
        return " and ".join(dict.fromkeys(_missing(part) for part in refused))
    return str(explanation["needs"])


def _reasons(explanation: dict[str, Any]) -> list[str]:
    parts = [part for part in explanation.get("parts", ()) if part["allowed"]]
    if explanation.get("joined_by") == "any":
        parts = parts[:1]
    if parts:
        return [reason for part in parts for reason in _reasons(part)]
    return [_said(path) for path in explanation.get("paths", ())[:1]]


def _said(path: dict[str, Any]) -> str:
    via = [chain for chain in path.get("through", ()) if chain]
    through = f" through {' › '.join(via[0][1:])}" if via and len(via[0]) > 1 else ""
    return f"{path['holds']} on {path['on']}{through}"

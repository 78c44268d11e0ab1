"""Mounts: which part of the platform answers for which paths of the Files API.

Volumes answer for `/Volumes/<catalog>/<schema>/<volume>/…`. Others (a run's artifacts, a model version's files) mount
a resolver under a prefix of their own; it decides who may do what there, and where in the data directory that is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from lakewright.catalog import locations, places, volumes
from lakewright.catalog.volumes import VOLUME, Volume
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Denied, NotFound
from lakewright.kernel.kinds import Kind, Target
from lakewright.kernel.objects import Obj
from lakewright.kernel.roots import ACCOUNT
from lakewright.kernel.rules import Condition, Joined, Rule, Verdict
from lakewright.storage import paths
from lakewright.storage.paths import Place

Access = Literal["read", "write", "delete"]


class Resolver(Protocol):
    def decide(self, ctx: Ctx, relative: str, access: Access) -> Path:
        """Where `relative` lies in the data directory. Denied or NotFound when the caller may not have it."""
        ...


MOUNTS: dict[str, Resolver] = {}


def mount(prefix: str, resolver: Resolver) -> None:
    """Let `resolver` answer for all paths below `prefix`, such as `/Models`."""
    MOUNTS["/" + prefix.strip("/")] = resolver


def mounted(path: str) -> tuple[Resolver, str] | None:
    """The resolver for an absolute path, and the rest of the path; the longest prefix wins."""
    for prefix in sorted(MOUNTS, key=len, reverse=True):
        if path == prefix or path.startswith(prefix + "/"):
            return MOUNTS[prefix], path[len(prefix) :].strip("/")
    return None


@dataclass(frozen=True)
class AtPath(Target[Any]):
    """The volume a path lies in. A mounted path has no object of its own here: its resolver is asked instead."""

    access: Access = "read"

    def of(self, fields: Mapping[str, Any]) -> tuple[Kind[Any], str]:
        names = paths.names(str(fields["path"]))
        absolute = "/" + "/".join(names)
        if mounted(absolute):
            return ACCOUNT, absolute
        if len(names) >= 4 and names[0] == "Volumes":
            return VOLUME, ".".join(names[1:4])
        return VOLUME, absolute

    def written(self, full_name: str) -> str:
        return f"/Volumes/{full_name.replace('.', '/')}"


def at(access: Access) -> AtPath:
    def find(ctx: Ctx, address: str) -> Obj[Any]:
        if found := mounted(address):
            resolver, relative = found
            resolver.decide(ctx, relative, access)
            return objects.find(ctx, ACCOUNT, "")
        return objects.find(ctx, VOLUME, address)

    return AtPath("{path}", VOLUME, finds=find, access=access)


@dataclass(frozen=True)
class Governed(Rule):
    """The volume's own privilege; for a mounted path the resolver has already decided when this is asked."""

    rule: Rule

    def __str__(self) -> str:
        return str(self.rule)

    joined: ClassVar[Joined] = "all"

    def judge(self, ctx: Ctx, object_id: str) -> Verdict:
        if object_id == objects.find(ctx, ACCOUNT, "").id:
            return Verdict(True, "the mount decides")
        return self.rule.judge(ctx, object_id)

    def parts(self, ctx: Ctx, object_id: str) -> tuple[tuple[Rule, str], ...]:
        return ((self.rule, object_id),) if object_id != objects.find(ctx, ACCOUNT, "").id else ()

    def covers(self, ctx: Ctx, object_id: str) -> bool:
        return self.rule.covers(ctx, object_id)

    def condition(self, ctx: Ctx) -> Condition:
        return self.rule.condition(ctx)


MAY_READ, MAY_WRITE = Governed(volumes.READ), Governed(volumes.WRITE)


def place(ctx: Ctx, target: Obj[Any], path: str, access: Access) -> Place:
    """Where the path lies, for an operation outside a transaction."""
    names = paths.names(path)
    if target.kind == VOLUME.name:
        found = ctx.snapshot(lambda ctx: in_volume(ctx, target, names[4:], access))
        return Place(found.root, found.below, "/" + "/".join(names))
    mount = mounted("/" + "/".join(names))
    if mount is None:
        raise NotFound(f"nothing is at /{'/'.join(names)}", code="NOT_FOUND")
    resolver, relative = mount
    where = ctx.snapshot(lambda ctx: resolver.decide(ctx, relative, access))
    roots = (ctx.settings.data_dir.resolve(), *ctx.settings.storage.external_roots)
    root = next((root for root in roots if places.within(where, root)), None)
    if root is None:
        raise Denied(f"/{'/'.join(names)} leads outside the data directory and the folders that may be opened")
    return Place(root, paths.names(str(where.relative_to(root))), "/" + "/".join(names))


def in_volume(ctx: Ctx, volume: Obj[Volume], below: list[str], access: Access) -> Place:
    root = places.local(volume.spec.storage_location)
    if volume.spec.volume_type == "EXTERNAL":
        if access != "read":
            locations.require_writable(ctx, volume)
    elif access == "write":
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Place(root, below)

"""Folders, notebooks and files of a workspace: one tree by path, where rights on a folder hold for what is in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel

from lakewright.identity import workspace_access
from lakewright.kernel import grants, objects, roots
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import AlreadyExists, Invalid, NotFound
from lakewright.kernel.kinds import Kind, Target
from lakewright.kernel.objects import Obj
from lakewright.kernel.platform import Platform
from lakewright.kernel.roots import ADMINS, USERS, WORKSPACE
from lakewright.kernel.rules import Condition, Rule, Verdict, denied
from lakewright.workspace.notebooks import Language

ObjectType = Literal["DIRECTORY", "NOTEBOOK", "FILE"]


class Item(BaseModel):
    object_type: ObjectType
    language: Language | None = None
    size: int | None = None


ITEM = Kind(
    "workspace_object", example=Item(object_type="DIRECTORY"), under=WORKSPACE, ids="number", separator="/",
    also_called=("directories", "notebooks", "files", "directory", "notebook", "file"),
)  # fmt: skip
CAN_READ, CAN_RUN, CAN_EDIT, CAN_MANAGE = ITEM.levels("CAN_READ", "CAN_RUN", "CAN_EDIT", "CAN_MANAGE")

LONGEST = 4096
KEPT = frozenset({"Users", "Shared"})


# ---- paths


def plain(path: str) -> str:
    """A path as it is kept: without the leading slash and without `/Workspace`, which is another name for the root."""
    if not path.startswith("/"):
        raise Invalid(f"Path ({path}) doesn't start with '/'")
    names = path.strip("/").split("/") if path.strip("/") else []
    if names[:1] == ["Workspace"]:
        names = names[1:]
    if len(path.encode("utf-8", "surrogatepass")) > LONGEST or any(not _is_name(n) for n in names):
        raise Invalid(f"Path ({path[:200]!r}) is not a plain path")
    return "/".join(names)


def shown(full_name: str) -> str:
    return f"/{full_name}"


def above(path: str) -> str:
    return path.rpartition("/")[0]


def _is_name(name: str) -> bool:
    odd = any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 for c in name)
    return 0 < len(name) <= 255 and name not in (".", "..") and not odd


# ---- finding


@dataclass(frozen=True)
class AtPath(Target[Any]):
    """What is at the request's path; the root of the workspace for `/`."""

    def of(self, fields: Mapping[str, Any]) -> tuple[Kind[Any], str]:
        path = plain(str(fields["path"]))
        return (ITEM, path) if path else (WORKSPACE, "")

    def written(self, full_name: str) -> str:
        return shown(full_name)


def existing(ctx: Ctx, path: str, right: Rule = CAN_READ) -> Obj[Any]:
    """What is at the path. That nothing is there is told only to those who would hold the right on it if it were."""
    here = nearest(ctx, path)
    if here.full_name == path:
        return here
    verdict = right.judge(ctx, here.id)
    raise NotFound(f"Path ({shown(path)}) doesn't exist.") if verdict else denied(ctx, verdict, ITEM.name, path)


def nearest(ctx: Ctx, path: str) -> Obj[Any]:
    """What is at the path, else the nearest folder above it that is there."""
    while path:
        try:
            return objects.find(ctx, ITEM, path)
        except NotFound:
            path = above(path)
    return objects.find(ctx, WORKSPACE, "")


def nearest_seen(ctx: Ctx, path: str) -> Obj[Any]:
    """The same for somebody who may not know all of it: what they cannot see is as if it were not there."""
    here = nearest(ctx, path)
    while here.kind == ITEM.name and not SEE.judge(ctx, here.id):
        here = objects.parent(ctx, here)
    return here


def require_making(ctx: Ctx, path: str) -> Obj[Any]:
    """The nearest folder above the path, if the caller manages it. The refusal does not say which one that is."""
    here = nearest(ctx, above(path))
    verdict = CAN_MANAGE.judge(ctx, here.id)
    if not verdict:
        raise denied(ctx, verdict, ITEM.name, path)
    return here


def is_folder(obj: Obj[Any]) -> bool:
    return obj.kind == WORKSPACE.name or obj.spec.object_type == "DIRECTORY"


@dataclass(frozen=True)
class SomethingIn(Rule):
    """The right on the object or on anything below it: a folder on the way to what one may see is no secret."""

    right: Rule

    def __str__(self) -> str:
        return str(self.right)

    def judge(self, ctx: Ctx, object_id: str) -> Verdict:
        verdict = self.right.judge(ctx, object_id)
        if verdict:
            return verdict
        condition = self.right.condition(ctx)
        found = ctx.tx.one(
            "SELECT o.id FROM ancestry b JOIN objects o ON o.id = b.object_id WHERE b.ancestor_id = ?"
            f" AND o.kind = ? AND o.deleted_at IS NULL AND {condition.sql} LIMIT 1",
            object_id, ITEM.name, *condition.params,
        )  # fmt: skip
        return Verdict(True, f"{self.right} below") if found else verdict

    def covers(self, ctx: Ctx, object_id: str) -> bool:
        return self.right.covers(ctx, object_id)

    def condition(self, ctx: Ctx) -> Condition:
        inner = self.right.condition(ctx)
        below = f"SELECT b.ancestor_id FROM ancestry b JOIN objects o ON o.id = b.object_id WHERE {inner.sql}"
        return Condition(f"o.id IN ({below})", inner.params)


SEE = SomethingIn(CAN_READ)
AT_PATH = AtPath("{path}", ITEM, finds=existing)
AT_PATH_TO_DELETE = AtPath("{path}", ITEM, finds=partial(existing, right=CAN_MANAGE))
NEAR_PATH = AtPath("{path}", ITEM, finds=nearest_seen)


# ---- making


def make_folders(ctx: Ctx, path: str, *, owner: str | None = None) -> Obj[Any]:
    """The folder at the path and all above it."""
    here = objects.find(ctx, WORKSPACE, "")
    done: list[str] = []
    for name in path.split("/") if path else []:
        done.append(name)
        try:
            here = objects.find(ctx, ITEM, "/".join(done))
        except NotFound:
            here = objects.create(ctx, ITEM, name, Item(object_type="DIRECTORY"), under=here, owner=owner)
        if not is_folder(here):
            raise AlreadyExists(f"Path ({shown('/'.join(done))}) is not a folder")
    return here


def welcome(ctx: Ctx, principal_id: str, name: str) -> None:
    """A home of their own for each new person and service principal."""
    if ctx.settings.access.home_folders and _is_name(name) and "/" not in name:
        users = make_folders(ctx, "Users", owner=ADMINS)
        try:
            objects.create(ctx, ITEM, name, Item(object_type="DIRECTORY"), under=users, owner=principal_id)
        except AlreadyExists:
            return  # of somebody of that name who is gone: an administrator hands it over


def furnish(ctx: Ctx) -> None:
    """A folder for what is shared. What everybody may do there is a setting, and nothing unless it is set."""
    try:
        objects.find(ctx, ITEM, "Shared")
    except NotFound:
        shared = make_folders(ctx, "Shared", owner=ADMINS)
        if level := ctx.settings.access.shared_folder:
            grants.change(ctx, shared, USERS, add=[level])


def install(platform: Platform) -> None:
    platform.transact(furnish)


workspace_access.WELCOME.append(welcome)
roots.FURNISHES.append(furnish)

"""Permission levels on workspace objects: who may view, run, edit or manage, the same way for every kind.

A principal has one level on an object; it may have more from a folder above it. Kinds whose API knows an owner
(jobs, pipelines, warehouses) have exactly one, shown and set as the level IS_OWNER.
"""

from typing import Any

from pydantic import Field, model_validator

from lakewright.kernel import grants, objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid
from lakewright.kernel.kinds import KINDS, Kind, Target
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.rules import ADMIN, MANAGE, OWNER, require

api = Api("iamPermissions", "/api/2.0/permissions/{object_type}/{object_id}")
OLDER = "/api/2.0/permissions/sql/{object_type}/{object_id}"
"""How older clients spell what belongs to SQL: `sql/warehouses`."""
OBJECT: Target[Any] = Target("{object_id}", kind_named="{object_type}", is_id=True)

OWNED = frozenset({"jobs", "pipelines", "warehouses"})
"""What their API calls kinds that have exactly one owner."""


class OfObject(Ask):
    object_type: str
    object_id: str


class Entry(Ask):
    user_name: str | None = None
    group_name: str | None = None
    service_principal_name: str | None = None
    permission_level: str

    @model_validator(mode="after")
    def _names_one(self) -> "Entry":
        if len([n for n in (self.user_name, self.group_name, self.service_principal_name) if n]) != 1:
            raise Invalid("an entry names one of user_name, group_name and service_principal_name")
        return self


class Entries(OfObject):
    access_control_list: list[Entry] = Field(default_factory=list[Entry])


@api("GET", audit="getPermissions", on=OBJECT, needs=MANAGE, also=(OLDER,), runs=SNAPSHOT)
def get(ctx: Ctx, obj: Obj[Any], ask: OfObject) -> Reply:
    return shown(ctx, obj, ask.object_type)


@api(
    "GET", "/permissionLevels", audit="getPermissionLevels", on=OBJECT, needs=MANAGE, runs=SNAPSHOT,
    also=(f"{OLDER}/permissionLevels",),
)  # fmt: skip
def get_levels(ctx: Ctx, obj: Obj[Any], ask: OfObject) -> Reply:
    kind = _leveled(obj)
    return {
        "permission_levels": [
            {"permission_level": level, "description": f"{level.replace('_', ' ').capitalize()} on this {kind.name}"}
            for level in possible(kind)
        ]
    }


@api("PATCH", audit="changePermissions", on=OBJECT, needs=MANAGE, also=(OLDER,))
def update(ctx: Ctx, obj: Obj[Any], ask: Entries) -> Reply:
    """The principals named get the levels named; nobody else's are touched."""
    asked = _asked(ctx, _leveled(obj), ask.access_control_list)
    return shown(ctx, _give(ctx, obj, asked), ask.object_type)


@api("PUT", audit="setPermissions", on=OBJECT, needs=MANAGE, also=(OLDER,))
def set_(ctx: Ctx, obj: Obj[Any], ask: Entries) -> Reply:
    """The levels named become all there are on the object itself; what folders above give remains."""
    kind = _leveled(obj)
    asked = _asked(ctx, kind, ask.access_control_list)
    if has_owner(kind) and [level for level in asked.values()].count("IS_OWNER") != 1:
        raise Invalid(f"a {kind.name} has exactly one owner: name it with IS_OWNER")
    for principal, rights in grants.held(ctx, obj).items():
        grants.change(ctx, obj, principal, remove=[r for r in rights if r in possible(kind)])
    return shown(ctx, _give(ctx, obj, asked), ask.object_type)


def _asked(ctx: Ctx, kind: Kind[Any], entries: list[Entry]) -> dict[str, str]:
    """By principal id, the one level it is to have; of two for one principal the stronger."""
    strength = possible(kind)
    asked: dict[str, str] = {}
    for entry in entries:
        if entry.permission_level not in strength:
            raise Invalid(f"{entry.permission_level} is not a level of a {kind.name}; possible: {', '.join(strength)}")
        who = _principal(ctx, entry)
        asked[who] = max(asked.get(who, strength[0]), entry.permission_level, key=strength.index)
    if list(asked.values()).count("IS_OWNER") > 1:
        raise Invalid(f"a {kind.name} has exactly one owner")
    return asked


def _give(ctx: Ctx, obj: Obj[Any], asked: dict[str, str]) -> Obj[Any]:
    strength = possible(KINDS[obj.kind])
    for principal, level in asked.items():
        before = [r for r in grants.held(ctx, obj).get(principal, []) if r in strength]
        if level == "IS_OWNER":
            grants.change(ctx, obj, principal, remove=before)
            obj = _hand_over(ctx, obj, principal)
        else:
            grants.change(ctx, obj, principal, add=[level], remove=[r for r in before if r != level])
    return obj


def _hand_over(ctx: Ctx, obj: Obj[Any], principal: str) -> Obj[Any]:
    """Ownership moves by the owner's or an administrator's hand only: CAN_MANAGE must not become ownership."""
    if obj.owner == principal:
        return obj
    require(ctx, OWNER | ADMIN, obj)
    if ctx.tx.scalar("SELECT kind FROM principals WHERE id = ?", principal) == "group":
        raise Invalid(f"a group cannot own a {obj.kind}: name one user or service principal with IS_OWNER")
    return objects.set_owner(ctx, obj, principal)


def possible(kind: Kind[Any]) -> list[str]:
    """The kind's levels, weakest first."""
    levels = [name for name in kind.rights if name != "IS_OWNER"]
    return [*levels, "IS_OWNER"] if has_owner(kind) else levels


def has_owner(kind: Kind[Any]) -> bool:
    return "IS_OWNER" in kind.rights or not OWNED.isdisjoint((kind.name, *kind.also_called))


def _leveled(obj: Obj[Any]) -> Kind[Any]:
    kind = KINDS[obj.kind]
    if not kind.uses_levels:
        raise Invalid(f"a {kind.name} has no permission levels: use /api/2.1/unity-catalog/permissions")
    return kind


def _principal(ctx: Ctx, entry: Entry) -> str:
    for kind, name in (
        ("user", entry.user_name), ("group", entry.group_name), ("service_principal", entry.service_principal_name),
    ):  # fmt: skip
        if name:
            found = ctx.tx.scalar(
                "SELECT id FROM principals WHERE kind = ? AND name = ? AND deleted_at IS NULL", kind, name
            )
            if found is None:
                raise Invalid(f"Principal: {kind} ({name}) does not exist", code="PRINCIPAL_DOES_NOT_EXIST")
            return str(found)
    raise Invalid("an entry names nobody")


def shown(ctx: Ctx, obj: Obj[Any], called: str) -> Reply:
    kind = _leveled(obj)
    levels = possible(kind)
    found: dict[str, list[dict[str, Any]]] = {}

    def add(principal: str, level: str, source: str | None) -> None:
        entry: dict[str, Any] = {"permission_level": level, "inherited": source is not None}
        if source is not None:
            entry["inherited_from_object"] = [source]
        if entry not in found.setdefault(principal, []):
            found[principal].append(entry)

    add(obj.owner, levels[-1], None)
    for principal, rights in grants.held(ctx, obj).items():
        for right in rights:
            if right in levels:
                add(principal, right, None)
    strongest = levels[-2] if levels[-1] == "IS_OWNER" and len(levels) > 1 else levels[-1]
    for above_id, above_kind, _, held in grants.inherited(ctx, obj):
        source = f"/{_plural(above_kind)}/{above_id}" if above_kind != "workspace" else f"/{called}/"
        add(ctx.platform.policy.held(ctx.tx, above_id).owner, strongest, source)
        for principal, rights in held.items():
            for right in rights:
                if right in levels:
                    add(principal, right, source)
    entries = [_entry(ctx, principal, permissions) for principal, permissions in found.items()]
    return {
        "object_id": f"/{called}/{obj.id}", "object_type": _singular(called),
        "access_control_list": [e for e in entries if e],
    }  # fmt: skip


def _entry(ctx: Ctx, principal: str, permissions: list[dict[str, Any]]) -> dict[str, Any] | None:
    row = ctx.tx.one("SELECT kind, name, display_name FROM principals WHERE id = ? AND deleted_at IS NULL", principal)
    if row is None:  # the platform itself, or somebody who is gone
        return None
    field = {"user": "user_name", "group": "group_name", "service_principal": "service_principal_name"}[row["kind"]]
    return {field: ctx.name_of(principal), "display_name": row["display_name"], "all_permissions": permissions}


def _plural(kind: str) -> str:
    return next((n for n in (kind, *KINDS[kind].also_called) if n.endswith("s")), kind)


def _singular(called: str) -> str:
    if called == "directories":
        return "directory"
    return called.removesuffix("s")

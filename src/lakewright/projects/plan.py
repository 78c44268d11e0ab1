"""Plan: what a deployment would change, permissions included, decided before anything is touched."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ValidationError

from lakewright.projects.kinds import KINDS
from lakewright.projects.layout import Grant, Permission
from lakewright.projects.loading import BadProject, Project, complaint
from lakewright.projects.state import Deployed, State

Tree = dict[str, Any]
Action = Literal["create", "update", "recreate", "delete", "upload", "remove", "permissions", "grants"]


@dataclass(frozen=True)
class Change:
    action: Action
    what: str
    because: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        return f"{self.action} {self.what}" + (f" ({', '.join(self.because)})" if self.because else "")


@dataclass(frozen=True)
class Wanted:
    """A resource as the project asks for it: its own body, and who may do what with it."""

    key: str
    body: Tree
    permissions: list[dict[str, str]]
    grants: dict[str, list[str]]

    @property
    def kind(self) -> str:
        return self.key.split(".")[0]


def wanted(project: Project) -> list[Wanted]:
    """In an order in which they can be created."""
    order = list(KINDS)
    keys = sorted(project.resources, key=lambda key: order.index(key.split(".")[0]))
    return [_wanted(key, project.resources[key], project.permissions) for key in keys]


def _wanted(key: str, declared: Tree, shared: list[Permission]) -> Wanted:
    kind = KINDS[key.split(".")[0]]
    body = {name: value for name, value in declared.items() if name not in ("permissions", "grants")}
    own, granted = _access(key, declared)
    translated = dict(kind.levels)
    levels = [_entry(one, translated.get(one.level, one.level)) for one in shared] if kind.permissions else []
    levels += [_entry(one, one.level) for one in own]
    grants = {one.principal: sorted(one.privileges) for one in granted}
    return Wanted(key, body, sorted(levels, key=lambda one: sorted(one.items())), grants)


def _access(key: str, declared: Tree) -> tuple[list[Permission], list[Grant]]:
    try:
        permissions = [Permission.model_validate(one) for one in declared.get("permissions", [])]
        return permissions, [Grant.model_validate(one) for one in declared.get("grants", [])]
    except ValidationError as error:
        raise BadProject(f"resources.{key}: " + "; ".join(complaint(one) for one in error.errors())) from None


def _entry(one: Permission, level: str) -> dict[str, str]:
    return {**one.model_dump(exclude_none=True, exclude={"level"}), "permission_level": level}


FOLDER = "files"
"""What the plan calls the folder that the project's files are uploaded to."""
FOLDER_LEVELS = {"CAN_VIEW": "CAN_READ", "CAN_RUN": "CAN_RUN", "CAN_MANAGE": "CAN_MANAGE"}


def folder_permissions(project: Project) -> list[dict[str, str]]:
    """Who may read the project's files: whom its jobs run as, and whoever has a level on the whole project."""
    runners = [
        body["run_as"] for key, body in project.resources.items() if key.startswith("jobs.") and "run_as" in body
    ]
    entries = [{**one, "permission_level": "CAN_READ"} for one in runners if one.get("user_name") != project.user]
    entries += [_entry(one, FOLDER_LEVELS.get(one.level, one.level)) for one in project.permissions]
    unique = {tuple(sorted(one.items())): one for one in entries}
    return [unique[key] for key in sorted(unique)]


def plan(project: Project, state: State, files: dict[str, str], gone: frozenset[str] = frozenset()) -> list[Change]:
    """``files`` are the project's files by path with their hashes; ``gone`` are resources that somebody else removed."""
    changes = _file_changes(state.files, files)
    readers = folder_permissions(project)
    if state.folder_permissions != readers:
        changes.append(Change("permissions", FOLDER, _differences(_said(state.folder_permissions), _said(readers))))
    asked = wanted(project)
    for one in asked:
        before = None if one.key in gone else state.resources.get(one.key)
        changes += _resource_changes(one, before, recreated=one.key in gone)
    missing = [key for key in state.resources if key not in {one.key for one in asked} and key not in gone]
    order = list(KINDS)
    missing.sort(key=lambda key: order.index(key.split(".")[0]), reverse=True)
    return changes + [Change("delete", key, [f"id {state.resources[key].id}"]) for key in missing]


def _file_changes(before: dict[str, str], now: dict[str, str]) -> list[Change]:
    uploads = [Change("upload", path) for path in sorted(now) if before.get(path) != now[path]]
    return uploads + [Change("remove", path) for path in sorted(before.keys() - now.keys())]


def _resource_changes(one: Wanted, before: Deployed | None, *, recreated: bool) -> list[Change]:
    changes: list[Change] = []
    if before is None:
        changes.append(Change("create", one.key, ["it is gone"] if recreated else []))
        before = Deployed(id="", body={})
    elif before.body != one.body:
        differing = sorted(
            key for key in before.body.keys() | one.body.keys() if before.body.get(key) != one.body.get(key)
        )
        fixed = KINDS[one.kind].fixed & set(differing)
        changes.append(Change("recreate" if fixed else "update", one.key, differing))
        if fixed:
            before = Deployed(id="", body={})
    if before.permissions != one.permissions:
        changes.append(Change("permissions", one.key, _differences(_said(before.permissions), _said(one.permissions))))
    if before.grants != one.grants:
        changes.append(Change("grants", one.key, _differences(_granted(before.grants), _granted(one.grants))))
    return changes


def _said(entries: list[dict[str, str]]) -> set[str]:
    return {
        f"{next(value for name, value in one.items() if name != 'permission_level')} {one['permission_level']}"
        for one in entries
    }


def _granted(grants: dict[str, list[str]]) -> set[str]:
    return {f"{principal} {privilege}" for principal, privileges in grants.items() for privilege in privileges}


def _differences(before: set[str], now: set[str]) -> list[str]:
    return [f"+ {one}" for one in sorted(now - before)] + [f"- {one}" for one in sorted(before - now)]

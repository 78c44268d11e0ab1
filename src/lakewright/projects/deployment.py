"""Deployment: makes the platform what the project says, remembers it, and can take all of it away again."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from lakewright.projects import references
from lakewright.projects import state as states
from lakewright.projects.client import Client, Refused
from lakewright.projects.kinds import KINDS
from lakewright.projects.loading import TASK_FILES, BadProject, Project
from lakewright.projects.plan import FOLDER, Change, Wanted, folder_permissions, plan, wanted
from lakewright.projects.state import Deployed, State

Tree = dict[str, Any]
Tell = Callable[[Change], None]
LEFT_OUT = ("__pycache__/*", ".*", "*.pyc", ".git/*", ".venv/*", "*.egg-info/*")


def files(project: Project) -> dict[str, Path]:
    """The files to upload, by path within the project."""
    left_out = [*LEFT_OUT, *project.sync.exclude]
    found: dict[str, Path] = {}
    for path in sorted(project.folder.rglob("*")):
        relative = path.relative_to(project.folder).as_posix()
        if path.is_file() and (_matches(relative, project.sync.include) or not _matches(relative, left_out)):
            found[relative] = path
    return found


def _matches(relative: str, patterns: list[str]) -> bool:
    """A pattern holds for the whole path, or for any folder or file in it."""
    steps = relative.split("/")
    tails = ["/".join(steps[at:]) for at in range(len(steps))]
    return any(fnmatch.fnmatch(tail, pattern) for pattern in patterns for tail in [*tails, *steps])


def hashes(project: Project) -> dict[str, str]:
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files(project).items()}


def check(project: Project) -> None:
    """What can be known to be wrong before anything is sent."""
    wanted(project)  # refuses permissions and grants that make no sense
    uploaded = {f"{project.file_path}/{name}" for name in files(project)}
    uploaded |= {name.rsplit(".", 1)[0] for name in uploaded}
    for key, body in project.resources.items():
        if "name" not in body:
            raise BadProject(f"resources.{key} has no name.")
        for task in cast("list[Tree]", body.get("tasks", [])):
            for path in (_file_of(task, kind, field) for kind, field in TASK_FILES.items()):
                if path.startswith(f"{project.file_path}/") and path not in uploaded:
                    raise BadProject(
                        f"resources.{key}: task {task.get('task_key')} runs {path}, which is not in the project."
                    )


def _file_of(task: Tree, kind: str, field: str) -> str:
    inner = cast("Tree", task.get(kind) or {})
    return str(inner.get(field, ""))


def plan_now(client: Client, project: Project) -> tuple[State, list[Change]]:
    """The plan against what is really there: resources that somebody removed meanwhile are made again."""
    check(project)
    state = states.read(client, project.state_path)
    gone = frozenset(key for key, one in state.resources.items() if not _exists(client, key, one.id))
    return state, plan(project, state, hashes(project), gone)


def _exists(client: Client, key: str, id: str) -> bool:
    try:
        KINDS[key.split(".")[0]].read(client, id)
    except Refused as refused:
        if refused.missing or refused.code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return False
        raise
    return True


def deploy(client: Client, project: Project, tell: Tell = lambda change: None) -> list[Change]:
    """Carries out the plan. What was done is remembered even if a later step is refused, so that a second try goes on."""
    state, changes = plan_now(client, project)
    if not changes:
        return []
    asked = {one.key: one for one in wanted(project)}
    make_folder(client, project.state_path)
    try:
        _upload(client, project, [one for one in changes if one.action == "upload"], state, tell)
        for change in changes:
            if change.what == FOLDER:
                tell(change)
                _share_files(client, project, state)
            elif change.action not in ("upload", "remove"):
                tell(change)
                _carry_out(client, change, asked, state, project.user)
    finally:
        states.write(client, project.state_path, state)
    for change in changes:
        if change.action == "remove":
            tell(change)
            _remove_file(client, f"{project.file_path}/{change.what}")
            del state.files[change.what]
    if any(change.action == "remove" for change in changes):
        states.write(client, project.state_path, state)
    return changes


def destroy(client: Client, project: Project, tell: Tell = lambda change: None) -> list[Change]:
    """Removes every resource of the last deployment, then its files and its state."""
    state = states.read(client, project.state_path)
    order = list(KINDS)
    changes = [
        Change("delete", key, [f"id {state.resources[key].id}"])
        for key in sorted(state.resources, key=lambda key: order.index(key.split(".")[0]), reverse=True)
    ]
    try:
        for change in changes:
            tell(change)
            _carry_out(client, change, {}, state, project.user)
    except Refused:
        states.write(client, project.state_path, state)
        raise
    if changes or state.files:
        client.call("POST", "/api/2.0/workspace/delete", {"path": project.root_path, "recursive": True})
    return changes


def resource_id(client: Client, project: Project, key: str) -> str:
    """The id of a deployed resource, for example ``jobs.train``."""
    deployed = states.read(client, project.state_path).resources
    if key not in deployed:
        raise BadProject(f"{key} is not deployed; there are {', '.join(sorted(deployed)) or 'none'}.")
    return deployed[key].id


def make_folder(client: Client, path: str) -> None:
    client.call("POST", "/api/2.0/workspace/mkdirs", {"path": path})


def _upload(client: Client, project: Project, changes: list[Change], state: State, tell: Tell) -> None:
    known, there = hashes(project), files(project)
    for folder in sorted({f"{project.file_path}/{one.what}".rsplit("/", 1)[0] for one in changes}):
        make_folder(client, folder)
    for change in changes:
        tell(change)
        states.put_file(client, f"{project.file_path}/{change.what}", there[change.what].read_bytes())
        state.files[change.what] = known[change.what]


def _share_files(client: Client, project: Project, state: State) -> None:
    """A job's principal must be able to read what it is to run."""
    readers = folder_permissions(project)
    make_folder(client, project.file_path)
    folder = client.call("GET", "/api/2.0/workspace/get-status", path=project.file_path)["object_id"]
    client.call("PUT", f"/api/2.0/permissions/directories/{folder}", {"access_control_list": readers})
    state.folder_permissions = readers


def _remove_file(client: Client, path: str) -> None:
    for candidate in (path, path.rsplit(".", 1)[0]):  # a notebook was stored without its ending
        try:
            client.call("POST", "/api/2.0/workspace/delete", {"path": candidate})
            return
        except Refused as refused:
            if not refused.missing:
                raise


def _carry_out(client: Client, change: Change, asked: dict[str, Wanted], state: State, user: str) -> None:
    kind = KINDS[change.what.split(".")[0]]
    if change.action in ("delete", "recreate"):
        _delete_if_there(client, kind.delete, state.resources.pop(change.what).id)
        if change.action == "delete":
            return
    one = asked[change.what]
    if change.action in ("create", "recreate"):
        state.resources[one.key] = Deployed(id=kind.create(client, _filled(one.body, state)), body=one.body)
    elif change.action == "update":
        before = state.resources[one.key]
        before.id = kind.update(client, before.id, _filled(one.body, state))
        before.body = one.body
    elif change.action == "permissions":
        there = state.resources[one.key]
        path = f"/api/2.0/permissions/{kind.permissions}/{_permission_id(client, one.kind, there.id)}"
        owner = [{**_principal(user), "permission_level": "IS_OWNER"}] if kind.owned else []
        client.call("PUT", path, {"access_control_list": [*owner, *_filled(one.permissions, state)]})
        there.permissions = one.permissions
    elif change.action == "grants":
        there = state.resources[one.key]
        path = f"/api/2.1/unity-catalog/permissions/{kind.securable}/{there.id}"
        client.call("PATCH", path, {"changes": _grant_changes(there.grants, one.grants)})
        there.grants = one.grants


def _delete_if_there(client: Client, delete: Callable[[Client, str], None], id: str) -> None:
    try:
        delete(client, id)
    except Refused as refused:
        if not refused.missing:
            raise


def _principal(user: str) -> dict[str, str]:
    """A deployment by a service principal goes by its application id."""
    try:
        UUID(user)
    except ValueError:
        return {"user_name": user}
    return {"service_principal_name": user}


def _permission_id(client: Client, kind: str, id: str) -> str:
    """Serving endpoints are named by name, but their permissions by id."""
    return str(KINDS[kind].read(client, id)["id"]) if kind == "model_serving_endpoints" else id


def _grant_changes(before: dict[str, list[str]], now: dict[str, list[str]]) -> list[dict[str, Any]]:
    changes = [
        {
            "principal": principal,
            "add": sorted(set(now.get(principal, [])) - set(before.get(principal, []))),
            "remove": sorted(set(before.get(principal, [])) - set(now.get(principal, []))),
        }
        for principal in sorted(before.keys() | now.keys())
    ]
    return [one for one in changes if one["add"] or one["remove"]]


def _filled(value: Any, state: State) -> Any:
    """With the ids that exist by now."""

    def lookup(reference: str) -> Any:
        steps = reference.split(".")
        if steps[0] != "resources" or len(steps) != 4 or ".".join(steps[1:3]) not in state.resources:
            raise KeyError(reference)
        return state.resources[".".join(steps[1:3])].id

    return references.resolve(value, lookup)

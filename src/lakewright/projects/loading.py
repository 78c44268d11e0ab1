"""Loading: a folder with a ``databricks.yml`` becomes one project for one target, with nothing left to guess."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import ValidationError

from lakewright.projects import references
from lakewright.projects.layout import IncludedFile, Permission, ProjectFile, RunAs, Section, Sync, Target, Variable

FILE = "databricks.yml"
TASK_FILES = {"spark_python_task": "python_file", "notebook_task": "notebook_path"}
MERGED_BY = ("task_key", "job_cluster_key", "environment_key")

Layout = TypeVar("Layout", bound=Section)
Tree = dict[str, Any]


class BadProject(Exception):
    """The project file says something it may not; the message names the file and the place."""


@dataclass(frozen=True)
class Project:
    """Everything resolved, except references to resources that do not exist yet."""

    folder: Path
    name: str
    target: str
    user: str
    """Who deploys it."""
    host: str | None
    root_path: str
    file_path: str
    state_path: str
    resources: dict[str, Tree]
    """By ``kind.key``, for example ``jobs.train``."""
    permissions: list[Permission]
    sync: Sync


def load(folder: Path, target: str | None, user: str, variables: dict[str, str] | None = None) -> Project:
    """``user`` is who deploys. ``variables`` are given by hand and beat the environment's and the target's."""
    project = _read(folder)
    name, chosen = choose(project, target)
    tree = _tree(project, name, chosen, user, variables or {})
    lookup = _lookup(tree)
    workspace: Tree = references.resolve(tree["workspace"], lookup, "workspace")
    permissions = project.permissions if chosen.permissions is None else chosen.permissions
    run_as = chosen.run_as or project.run_as
    asked_run_as: Tree | None = (
        references.resolve(run_as.model_dump(exclude_none=True), lookup, "run_as") if run_as else None
    )
    resources: dict[str, dict[str, Tree]] = references.resolve(tree["resources"], lookup, "resources")
    return Project(
        folder=folder,
        name=project.bundle.name,
        target=name,
        user=user,
        host=workspace.get("host"),
        root_path=workspace["root_path"],
        file_path=workspace["file_path"],
        state_path=workspace["state_path"],
        resources={
            f"{kind}.{key}": _for_mode(kind, _with_run_as(kind, body, asked_run_as), chosen.mode, user)
            for kind, those in resources.items()
            for key, body in those.items()
        },
        permissions=[
            Permission.model_validate(references.resolve(one.model_dump(), lookup, "permissions"))
            for one in permissions
        ],
        sync=project.sync,
    )


def choose(project: ProjectFile, target: str | None) -> tuple[str, Target]:
    """The named target, else the default one, else the only one."""
    if target is not None:
        if target not in project.targets:
            raise BadProject(f"There is no target {target}; there are {', '.join(project.targets) or 'none'}.")
        return target, project.targets[target]
    defaults = [name for name, one in project.targets.items() if one.default] or list(project.targets)
    if len(defaults) != 1:
        raise BadProject(f"Say which target: {', '.join(defaults)}." if defaults else "The project names no targets.")
    return defaults[0], project.targets[defaults[0]]


def _read(folder: Path) -> ProjectFile:
    path = folder / FILE
    if not path.is_file():
        raise BadProject(f"There is no {FILE} in {folder}.")
    project = _parse(path, folder, ProjectFile)
    for pattern in project.include:
        found = sorted(folder.glob(pattern))
        if not found:
            raise BadProject(f"{FILE}: include names {pattern}, and there is no such file.")
        for one in found:
            _include(project, _parse(one, folder, IncludedFile), one.relative_to(folder).as_posix())
    return project


def _parse(path: Path, folder: Path, layout: type[Layout]) -> Layout:
    where = path.relative_to(folder).as_posix()
    try:
        loaded: Any = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        parsed = layout.model_validate(loaded)
    except yaml.YAMLError as error:
        raise BadProject(f"{where} is not YAML: {error}") from None
    except ValidationError as error:
        raise BadProject(f"{where}: " + "; ".join(complaint(one) for one in error.errors())) from None
    except ValueError as error:
        raise BadProject(f"{where}: {error}") from None
    _root_local_paths(parsed, path.parent.relative_to(folder).as_posix())
    return parsed


def complaint(error: Any) -> str:
    place = ".".join(str(step) for step in error["loc"])
    return f"unknown key {place}" if error["type"] == "extra_forbidden" else f"{place}: {error['msg']}"


def _include(project: ProjectFile, more: IncludedFile, where: str) -> None:
    for section in ("variables", "targets"):
        mine, theirs = getattr(project, section), getattr(more, section)
        _refuse_doubles(where, section, mine, theirs)
        mine.update(theirs)
    for kind in type(project.resources).model_fields:
        mine, theirs = getattr(project.resources, kind), getattr(more.resources, kind)
        _refuse_doubles(where, f"resources.{kind}", mine, theirs)
        mine.update(theirs)
    project.permissions.extend(more.permissions)


def _refuse_doubles(where: str, section: str, mine: Tree, theirs: Tree) -> None:
    doubles = sorted(mine.keys() & theirs.keys())
    if doubles:
        raise BadProject(f"{where}: {section}.{doubles[0]} is declared in another file already.")


def _root_local_paths(parsed: Section, folder: str) -> None:
    """A task's file is named relative to the YAML file that says so; from here on it is named where it will be uploaded."""
    if not isinstance(parsed, ProjectFile | IncludedFile):
        return
    for job in parsed.resources.jobs.values():
        for task in cast("list[Tree]", job.get("tasks", [])):
            for kind, key in TASK_FILES.items():
                inner: Tree = task.get(kind) or {}
                if inner and not str(inner.get(key, "/")).startswith(("/", "$")):
                    inner[key] = _uploaded(folder, inner[key], notebook=kind == "notebook_task")


def _uploaded(folder: str, path: str, *, notebook: bool) -> str:
    relative = os.path.normpath(os.path.join(folder, path)).replace(os.sep, "/")
    if relative.startswith("../"):
        raise BadProject(f"{path} lies outside the project's folder.")
    return "${workspace.file_path}/" + (relative.rsplit(".", 1)[0] if notebook else relative)


def _tree(project: ProjectFile, name: str, target: Target, user: str, variables: dict[str, str]) -> Tree:
    """Everything a reference may lead to."""
    values = _variable_values(project.variables, target.variables, variables)
    resources = merged(project.resources.model_dump(), target.resources.model_dump())
    workspace = merged(project.workspace.model_dump(exclude_none=True), target.workspace)
    short = user.split("@")[0].replace(".", "_").replace("-", "_")
    return {
        "bundle": {"name": project.bundle.name, "target": name, "mode": target.mode or ""},
        "workspace": {**workspace, "current_user": {"userName": user, "user_name": user, "short_name": short}},
        "variables": {key: {"value": value} for key, value in values.items()},
        "var": values,
        "resources": resources,
    }


def _variable_values(declared: dict[str, Variable], of_target: Tree, given: dict[str, str]) -> Tree:
    for source, names in (("the target", of_target), ("the command line", given)):
        unknown = sorted(names.keys() - declared.keys())
        if unknown:
            raise BadProject(f"{source} sets variable {unknown[0]}, which is not declared.")
    values: Tree = {}
    for name, variable in declared.items():
        from_environment = os.environ.get(f"BUNDLE_VAR_{name}")
        if name in given:
            values[name] = given[name]
        elif from_environment is not None:
            values[name] = from_environment
        elif name in of_target:
            values[name] = _override(of_target[name])
        elif variable.default is not None:
            values[name] = variable.default
        else:
            raise BadProject(f"Variable {name} has no value: give --var {name}=… or a default.")
    return values


def _override(value: Any) -> Any:
    """A target may write a variable's value plainly, or under ``default``."""
    if isinstance(value, dict):
        asked = cast("Tree", value)
        return asked["default"] if set(asked) == {"default"} else asked
    return value


def _lookup(tree: Tree) -> Callable[[str], Any]:
    def lookup(reference: str) -> Any:
        steps = reference.split(".")
        if steps[0] == "resources" and len(steps) == 4 and steps[3] == "id":
            references.follow(tree, ".".join(steps[:3]))
            raise references.Later
        return references.follow(tree, reference)

    return lookup


def merged(base: Any, over: Any) -> Any:
    """``over`` on top of ``base``: mappings by key, a job's tasks by their task_key, everything else replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        mine, theirs = cast("Tree", base), cast("Tree", over)
        return {key: merged(mine.get(key), theirs[key]) if key in theirs else mine[key] for key in {**mine, **theirs}}
    if isinstance(base, list) and isinstance(over, list):
        return _merged_lists(cast("list[Any]", base), cast("list[Any]", over))
    return cast("Any", base if over is None else over)


def _merged_lists(base: list[Any], over: list[Any]) -> list[Any]:
    key = next(
        (one for one in MERGED_BY if all(isinstance(item, dict) and one in item for item in [*base, *over])), None
    )
    if key is None:
        return [*base, *over]
    theirs = {item[key]: item for item in over}
    kept = [merged(item, theirs.pop(item[key], None)) for item in base]
    return [*kept, *theirs.values()]


def _with_run_as(kind: str, body: Tree, run_as: Tree | None) -> Tree:
    return (
        {**body, "run_as": RunAs(**run_as).model_dump(exclude_none=True)}
        if kind == "jobs" and run_as and "run_as" not in body
        else body
    )


def _for_mode(kind: str, body: Tree, mode: str | None, user: str) -> Tree:
    """Development copies carry their owner's name and do not run on their own."""
    if mode != "development" or kind not in ("jobs", "experiments"):
        return body
    short = user.split("@")[0]
    if kind == "experiments":
        head, _, name = str(body["name"]).rpartition("/")
        return {**body, "name": f"{head}/[dev {short}] {name}"}
    paused = {
        key: {**body[key], "pause_status": "PAUSED"} for key in ("schedule", "trigger", "continuous") if key in body
    }
    return {**body, "name": f"[dev {short}] {body['name']}", **paused}

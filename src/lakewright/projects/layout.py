"""Layout: what may stand in a project file. A key that is not here is refused by its name, never passed over.

The layout is the public one of ``databricks.yml``; what a resource itself holds (a job's tasks, say) is the REST API's own body.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class BundleSection(Section):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")
    uuid: str | None = None


class Variable(Section):
    description: str | None = None
    default: Any = None
    type: Literal["complex"] | None = None


class WorkspaceSection(Section):
    host: str | None = None
    root_path: str = "/Workspace/Users/${workspace.current_user.userName}/.bundle/${bundle.name}/${bundle.target}"
    file_path: str = "${workspace.root_path}/files"
    state_path: str = "${workspace.root_path}/state"


class RunAs(Section):
    user_name: str | None = None
    service_principal_name: str | None = None

    @model_validator(mode="after")
    def one_of_them(self) -> RunAs:
        if bool(self.user_name) == bool(self.service_principal_name):
            raise ValueError("give either user_name or service_principal_name")
        return self


class Permission(Section):
    level: str
    user_name: str | None = None
    group_name: str | None = None
    service_principal_name: str | None = None

    @model_validator(mode="after")
    def one_principal(self) -> Permission:
        if sum(bool(one) for one in (self.user_name, self.group_name, self.service_principal_name)) != 1:
            raise ValueError("give exactly one of user_name, group_name, service_principal_name")
        return self


class Grant(Section):
    principal: str = Field(min_length=1)
    privileges: list[str]


class Sync(Section):
    include: list[str] = []
    exclude: list[str] = []


class Resources(Section):
    """By kind, then by a key of the project's own. The bodies are checked by the platform when they are deployed."""

    catalogs: dict[str, dict[str, Any]] = {}
    schemas: dict[str, dict[str, Any]] = {}
    volumes: dict[str, dict[str, Any]] = {}
    registered_models: dict[str, dict[str, Any]] = {}
    experiments: dict[str, dict[str, Any]] = {}
    jobs: dict[str, dict[str, Any]] = {}
    model_serving_endpoints: dict[str, dict[str, Any]] = {}


class Target(Section):
    default: bool = False
    mode: Literal["development", "production"] | None = None
    workspace: dict[str, Any] = {}
    variables: dict[str, Any] = {}
    resources: Resources = Resources()
    permissions: list[Permission] | None = None
    run_as: RunAs | None = None


class ProjectFile(Section):
    bundle: BundleSection
    include: list[str] = []
    variables: dict[str, Variable] = {}
    workspace: WorkspaceSection = WorkspaceSection()
    resources: Resources = Resources()
    permissions: list[Permission] = []
    run_as: RunAs | None = None
    sync: Sync = Sync()
    targets: dict[str, Target] = {}


class IncludedFile(Section):
    """A file that ``include`` names adds to the same sections, all but the bundle's own."""

    variables: dict[str, Variable] = {}
    resources: Resources = Resources()
    targets: dict[str, Target] = {}
    permissions: list[Permission] = []

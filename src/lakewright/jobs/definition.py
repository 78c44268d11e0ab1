"""What a job is: its settings and tasks, as they are accepted, stored and shown.

Each field here is enforced. The fields Databricks has and we do not enforce are named in `_Settings.not_yet` and its
fellows: giving one a value that would change anything is answered 501 with the name of the field.
"""

from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lakewright.jobs import graph, parameters, quartz
from lakewright.jobs.graph import Edge, RunIf
from lakewright.kernel.faults import Invalid, NotSupported

PauseStatus = Literal["UNPAUSED", "PAUSED"]
Source = Literal["WORKSPACE", "GIT"]

MAX_TASKS = 1000
PAGE = 100
"""Tasks and other entries shown per page of a get."""


class Part(BaseModel):
    """A piece of a job's settings: unknown fields are refused, unsupported ones named."""

    model_config = ConfigDict(extra="forbid")
    not_yet: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _refuse_unsupported(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        fields: dict[str, Any] = dict(given)  # pyright: ignore[reportUnknownArgumentType] JSON
        for name in cls.not_yet & fields.keys():
            if says_something(fields[name]):
                raise NotSupported(f"jobs do not support the field '{name}'", field=name)
            del fields[name]
        return fields


def says_something(value: Any) -> bool:
    """False of what clients send for "nothing": null, false, "", 0 and collections of such."""
    if isinstance(value, dict):
        return any(says_something(v) for v in value.values())  # pyright: ignore[reportUnknownVariableType] JSON
    if isinstance(value, list):
        return any(says_something(v) for v in value)  # pyright: ignore[reportUnknownVariableType] JSON
    return bool(value)


class Silent(Part):
    """A part we accept only when it asks for nothing, and show as `{}`."""

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _is_empty(cls, given: Any) -> Any:
        if says_something(given):
            raise NotSupported("jobs do not support notifications", field="email_notifications")
        return {}


# --- tasks ---


class Dependency(Part):
    task_key: str
    outcome: Literal["true", "false"] | None = None


class NotebookTask(Part):
    not_yet = frozenset({"warehouse_id"})
    notebook_path: str
    base_parameters: dict[str, str] = Field(default_factory=dict)
    source: Literal["WORKSPACE"] = "WORKSPACE"


class SparkPythonTask(Part):
    python_file: str
    parameters: list[str] = Field(default_factory=list)
    source: Literal["WORKSPACE"] = "WORKSPACE"


class ConditionTask(Part):
    op: Literal[
        "EQUAL_TO", "NOT_EQUAL", "GREATER_THAN", "GREATER_THAN_OR_EQUAL", "LESS_THAN", "LESS_THAN_OR_EQUAL"
    ]  # fmt: skip
    left: str
    right: str


class RunJobTask(Part):
    not_yet = frozenset(
        {"dbt_commands", "jar_params", "pipeline_params", "python_named_params", "spark_submit_params", "sql_params"}
    )
    job_id: int
    job_parameters: dict[str, str] = Field(default_factory=dict)
    notebook_params: dict[str, str] | None = None
    python_params: list[str] | None = None


class ApprovalTask(Part):
    """Ours: waits, holding no compute, until somebody else decides.

    Either `approvers` (user, group or service-principal names) decide on the run itself, or the approval of the
    version of a model is waited for, which the model's own approvers decide on.
    """

    approvers: list[str] = Field(default_factory=list)
    model: str | None = None
    version: str | None = None
    alias: str | None = None
    prompt: str = ""

    @model_validator(mode="after")
    def _one_way(self) -> "ApprovalTask":
        if bool(self.approvers) == bool(self.model):
            raise Invalid("approval_task: name either 'approvers' or a 'model' and its 'version'")
        if self.model and not (self.version or self.alias):
            raise Invalid("approval_task: 'model' needs the 'version' (or 'alias') that is to be approved")
        return self


NOT_YET_TASKS = frozenset(
    {
        "ai_runtime_task", "alert_task", "clean_rooms_notebook_task", "compute", "dashboard_task", "dbt_cloud_task",
        "dbt_platform_task", "dbt_task", "gen_ai_compute_task", "pipeline_task", "power_bi_task",
        "python_operator_task", "python_wheel_task", "simulation_task", "spark_jar_task", "spark_submit_task",
        "sql_task",
    }
)  # fmt: skip


class ForEachTask(Part):
    inputs: str
    """A JSON array, or a reference to one."""
    concurrency: Annotated[int, Field(ge=1, le=100)] = 1
    task: "Task"

    @model_validator(mode="after")
    def _nests_once(self) -> "ForEachTask":
        if self.task.for_each_task or self.task.approval_task:
            raise Invalid(f"for_each_task: '{self.task.task_key}' cannot be a {self.task.kind}")
        if self.task.depends_on:
            raise Invalid(f"for_each_task: '{self.task.task_key}' cannot depend on other tasks")
        return self


class Task(Part):
    not_yet = NOT_YET_TASKS | {
        "environment_variables_key", "existing_cluster_id", "health", "job_cluster_key", "libraries", "new_cluster",
        "notification_settings",
    }  # fmt: skip
    kinds: ClassVar[tuple[str, ...]] = (
        "notebook_task", "spark_python_task", "condition_task", "run_job_task", "approval_task", "for_each_task",
    )  # fmt: skip

    task_key: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_-]+$")]
    description: str | None = None
    depends_on: list[Dependency] = Field(default_factory=list[Dependency])
    run_if: RunIf = "ALL_SUCCESS"
    disabled: bool | None = None
    notebook_task: NotebookTask | None = None
    spark_python_task: SparkPythonTask | None = None
    condition_task: ConditionTask | None = None
    run_job_task: RunJobTask | None = None
    approval_task: ApprovalTask | None = None
    for_each_task: ForEachTask | None = None
    environment_key: str | None = None
    disable_auto_optimization: bool | None = None
    """Accepted as it is: we never retry or resize on our own account."""
    max_retries: Annotated[int, Field(ge=-1)] | None = None
    min_retry_interval_millis: Annotated[int, Field(ge=0)] | None = None
    retry_on_timeout: bool | None = None
    timeout_seconds: Annotated[int, Field(ge=0)] = 0
    email_notifications: Silent = Silent()
    webhook_notifications: Silent = Silent()

    @property
    def kind(self) -> str:
        return next(name for name in self.kinds if getattr(self, name) is not None)

    @property
    def edges(self) -> list[Edge]:
        return [Edge(d.task_key, d.outcome) for d in self.depends_on]

    @property
    def retry_policy(self) -> graph.RetryPolicy:
        return graph.RetryPolicy(
            self.max_retries or 0, self.min_retry_interval_millis or 0, bool(self.retry_on_timeout)
        )

    @model_validator(mode="after")
    def _one_kind(self) -> "Task":
        named = [name for name in self.kinds if getattr(self, name) is not None]
        if len(named) != 1:
            raise Invalid(f"task '{self.task_key}' must have exactly one of {', '.join(self.kinds)}")
        if named == ["condition_task"] and (self.max_retries or self.timeout_seconds):
            raise Invalid(f"task '{self.task_key}': a condition task has no retries and no timeout")
        if named == ["approval_task"] and self.max_retries:
            raise Invalid(f"task '{self.task_key}': an approval is asked for once, without retries")
        return self


# --- jobs ---


class CronSchedule(Part):
    not_yet = frozenset({"sql_condition"})
    quartz_cron_expression: str
    timezone_id: str
    pause_status: PauseStatus = "UNPAUSED"

    @model_validator(mode="after")
    def _fires(self) -> "CronSchedule":
        quartz.parse(self.quartz_cron_expression, self.timezone_id)
        return self


class ParameterDefinition(Part):
    name: str
    default: str


class RunAs(Part):
    not_yet = frozenset({"group_name"})
    user_name: str | None = None
    service_principal_name: str | None = None

    @model_validator(mode="after")
    def _one(self) -> "RunAs":
        if bool(self.user_name) == bool(self.service_principal_name):
            raise Invalid("run_as: name either user_name or service_principal_name")
        return self

    @property
    def name(self) -> str:
        return self.user_name or self.service_principal_name or ""


class Queue(Part):
    enabled: bool


class Deployment(Part):
    kind: Literal["BUNDLE"]
    metadata_file_path: str | None = None
    deployment_id: str | None = None
    version_id: str | None = None


class EnvironmentSpec(Part):
    not_yet = frozenset({"dependencies", "base_environment", "java_dependencies"})
    client: str | None = None
    environment_version: str | None = None


class Environment(Part):
    environment_key: str
    spec: EnvironmentSpec | None = None


class Settings(Part):
    """The settings of a job: what create takes, reset replaces, update merges and get shows."""

    not_yet = frozenset(
        {
            "budget_policy_id", "continuous", "duration_target", "environment_variables", "git_source", "health",
            "job_clusters", "notification_settings", "parent_path", "performance_target", "trigger", "triggers",
            "usage_policy_id",
        }
    )  # fmt: skip

    name: str = "Untitled"
    description: str | None = None
    tags: dict[str, str] | None = None
    tasks: list[Task] = Field(default_factory=list[Task])
    parameters: list[ParameterDefinition] = Field(default_factory=list[ParameterDefinition])
    environments: list[Environment] = Field(default_factory=list[Environment])
    schedule: CronSchedule | None = None
    max_concurrent_runs: Annotated[int, Field(ge=0, le=1000)] = 1
    queue: Queue | None = None
    run_as: RunAs | None = None
    timeout_seconds: Annotated[int, Field(ge=0)] = 0
    edit_mode: Literal["UI_LOCKED", "EDITABLE"] | None = None
    deployment: Deployment | None = None
    format: Literal["SINGLE_TASK", "MULTI_TASK"] = "MULTI_TASK"
    email_notifications: Silent = Silent()
    webhook_notifications: Silent = Silent()

    @property
    def graph(self) -> dict[str, list[Edge]]:
        return {task.task_key: task.edges for task in self.tasks}

    @cached_property
    def _by_key(self) -> dict[str, Task]:
        return {task.task_key: task for task in self.tasks}

    def task(self, key: str) -> Task:
        return self._by_key[key]

    @property
    def defaults(self) -> dict[str, str]:
        return {p.name: p.default for p in self.parameters}

    @model_validator(mode="after")
    def _holds_together(self) -> "Settings":
        _within("name", len(self.name.encode()), 4096, "bytes")
        _within("description", len(self.description or ""), 27_700, "characters")
        _within("tags", len(self.tags or {}), 25, "entries")
        _within("tasks", len(self.tasks), MAX_TASKS, "entries")
        conditions = {task.task_key for task in self.tasks if task.condition_task}
        graph.check([task.task_key for task in self.tasks], self.graph, conditions)
        parameters.check_names([p.name for p in self.parameters])
        known = {environment.environment_key for environment in self.environments}
        for task in self.tasks:
            if task.environment_key is not None and task.environment_key not in known:
                raise Invalid(f"task '{task.task_key}': unknown environment_key '{task.environment_key}'")
        return self


def _within(field: str, size: int, limit: int, unit: str) -> None:
    if size > limit:
        raise Invalid(f"{field}: {size} {unit} are more than the {limit} allowed")


KEYED = {"tasks": "task_key", "environments": "environment_key", "parameters": "name"}
"""Lists that `update` merges entry by entry, and the field that tells entries apart."""


def merged(old: dict[str, Any], new: dict[str, Any], remove: list[str]) -> dict[str, Any]:
    """Settings after jobs/update: fields replaced, keyed lists merged by entry, the named fields removed."""
    result = {name: value for name, value in old.items()}
    for name, value in new.items():
        key = KEYED.get(name)
        if key is None:
            result[name] = value
        else:
            given = {entry[key]: entry for entry in value}
            kept = [given.pop(entry[key], entry) for entry in result.get(name, [])]
            result[name] = [*kept, *given.values()]
    for path in remove:
        name, _, entry_key = path.partition("/")
        if entry_key and name in KEYED:
            result[name] = [entry for entry in result.get(name, []) if entry[KEYED[name]] != entry_key]
        elif entry_key or name not in Settings.model_fields:
            raise Invalid(f"fields_to_remove: '{path}' is not a field of a job")
        else:
            result.pop(name, None)
    return result


def show(settings: Settings) -> dict[str, Any]:
    """As clients get it back: nothing that was not given, but for the defaults Databricks shows."""
    shown = settings.model_dump(mode="json", exclude_none=True)
    for name in ("parameters", "environments"):
        if not shown[name]:
            del shown[name]
    shown["tasks"] = [show_task(task) for task in settings.tasks]
    shown["format"] = "MULTI_TASK"
    return shown


def show_task(task: Task) -> dict[str, Any]:
    shown = task.model_dump(mode="json", exclude_none=True)
    if not task.depends_on:
        del shown["depends_on"]
    if task.for_each_task:
        shown["for_each_task"]["task"] = show_task(task.for_each_task.task)
    for name, field in ((task.kind, "parameters"), (task.kind, "base_parameters"), (task.kind, "job_parameters")):
        if shown[name].get(field) in ([], {}):
            del shown[name][field]
    return shown

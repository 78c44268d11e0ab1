"""Making, reading, changing and listing jobs through the unmodified SDK."""

from typing import Any

import pytest
from databricks.sdk.errors import (
    BadRequest,
    InvalidParameterValue,
    NotImplemented,
    PermissionDenied,
    ResourceDoesNotExist,
)
from databricks.sdk.service import compute
from databricks.sdk.service import jobs as j

from lakewright.identity.service_principals import SERVICE_PRINCIPAL
from lakewright.kernel import grants, objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.platform import Platform

from .test_runs import python

EVERY_DAY = j.CronSchedule("0 0 6 * * ?", "Europe/Amsterdam")


@pytest.fixture
def alice(served: Any, people: Any) -> Any:
    return people.person("alice").client


def test_a_new_job_is_shown_with_the_defaults_clients_expect(alice: Any) -> None:
    made = alice.jobs.create(name="nightly", tasks=[python("a", "/a.py")])
    assert isinstance(made.job_id, int)
    job = alice.jobs.get(made.job_id)
    assert (job.creator_user_name, job.run_as_user_name) == ("alice", "alice")
    shown = job.as_dict()["settings"]
    assert shown == {
        "name": "nightly",
        "email_notifications": {},
        "webhook_notifications": {},
        "timeout_seconds": 0,
        "max_concurrent_runs": 1,
        "format": "MULTI_TASK",
        "tasks": [
            {
                "task_key": "a",
                "run_if": "ALL_SUCCESS",
                "timeout_seconds": 0,
                "email_notifications": {},
                "webhook_notifications": {},
                "spark_python_task": {"python_file": "/a.py", "source": "WORKSPACE"},
            }
        ],
    }


def test_what_is_given_comes_back(alice: Any) -> None:
    given = j.JobSettings(
        name="all",
        description="d",
        tags={"team": "ml"},
        parameters=[j.JobParameterDefinition(name="day", default="{{job.start_time.iso_date}}")],
        schedule=j.CronSchedule("0 0 6 ? * MON-FRI", "UTC", pause_status=j.PauseStatus.PAUSED),
        max_concurrent_runs=3,
        queue=j.QueueSettings(enabled=True),
        timeout_seconds=60,
        edit_mode=j.JobEditMode.UI_LOCKED,
        deployment=j.JobDeployment(kind=j.JobDeploymentKind.BUNDLE, metadata_file_path="/m.json"),
        environments=[j.JobEnvironment("default", compute.Environment(environment_version="3"))],
        tasks=[
            python(
                "a", "/a.py", "--day", "{{job.parameters.day}}", environment_key="default", max_retries=2, retry_on_timeout=True,
                min_retry_interval_millis=10, timeout_seconds=9, description="first",
            ),
            j.Task("c", condition_task=j.ConditionTask(j.ConditionTaskOp.EQUAL_TO, "1", "1"), depends_on=[j.TaskDependency("a")]),
            python("n", "/n.py", run_if=j.RunIf.ALL_DONE),
        ],
    )  # fmt: skip
    body = given.as_dict()
    job_id = alice.api_client.do("POST", "/api/2.2/jobs/create", body=body)["job_id"]
    shown = alice.jobs.get(job_id).as_dict()["settings"]
    for name, value in body.items():
        if name != "tasks":
            assert shown[name] == value, name
    for was, now in zip(body["tasks"], shown["tasks"], strict=True):
        if "spark_python_task" in was:
            was["spark_python_task"]["source"] = "WORKSPACE"
        assert {**now, **was} == now


def test_a_missing_job_is_told_as_the_sdk_expects(people: Any, served: Any) -> None:
    with pytest.raises(ResourceDoesNotExist, match="Job 5 does not exist"):
        people.admin.client.jobs.get(5)


def test_update_replaces_fields_merges_tasks_and_removes_what_is_named(alice: Any) -> None:
    job_id = alice.jobs.create(name="j", schedule=EVERY_DAY, tasks=[python("a", "/a.py"), python("b", "/b.py")]).job_id
    alice.jobs.update(job_id, new_settings=j.JobSettings(name="k", tasks=[python("b", "/b2.py"), python("c", "/c.py")]))
    alice.jobs.update(job_id, fields_to_remove=["tasks/a", "schedule"])
    settings = alice.jobs.get(job_id).settings
    assert settings.name == "k"
    assert settings.schedule is None
    assert [(t.task_key, t.spark_python_task.python_file) for t in settings.tasks] == [("b", "/b2.py"), ("c", "/c.py")]


def test_update_refuses_what_create_would(alice: Any) -> None:
    job_id = alice.jobs.create(name="j", tasks=[python("a", "/a.py")]).job_id
    with pytest.raises(InvalidParameterValue, match="unknown task 'z'"):
        alice.jobs.update(job_id, new_settings=j.JobSettings(tasks=[python("b", "/b.py", after=("z",))]))
    with pytest.raises(BadRequest, match="fields_to_remove"):
        alice.jobs.update(job_id, fields_to_remove=["nonsense"])
    with pytest.raises(NotImplemented, match=r"new_settings\.nonsense"):
        alice.api_client.do("POST", "/api/2.2/jobs/update", body={"job_id": job_id, "new_settings": {"nonsense": 1}})


def test_reset_replaces_everything(alice: Any) -> None:
    job_id = alice.jobs.create(name="j", timeout_seconds=5, tasks=[python("a", "/a.py")]).job_id
    alice.jobs.reset(job_id, j.JobSettings(name="k"))
    shown = alice.jobs.get(job_id).settings
    assert (shown.name, shown.timeout_seconds, shown.tasks) == ("k", 0, [])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("job_clusters", [{"job_cluster_key": "k", "new_cluster": {"num_workers": 1}}]),
        ("continuous", {"pause_status": "UNPAUSED"}),
        ("trigger", {"file_arrival": {"url": "/Volumes/a/b/c"}}),
        ("git_source", {"git_url": "https://x", "git_provider": "gitHub"}),
        ("email_notifications", {"on_failure": ["a@b.c"]}),
        ("health", {"rules": [{"metric": "RUN_DURATION_SECONDS", "op": "GREATER_THAN", "value": 1}]}),
        ("no_such_field", 1),
        ("tasks", [{"task_key": "a", "sql_task": {"warehouse_id": "w"}}]),
        ("tasks", [{"task_key": "a", "spark_python_task": {"python_file": "/a.py"}, "libraries": [{"pypi": {"package": "x"}}]}]),
        ("environments", [{"environment_key": "e", "spec": {"client": "1", "dependencies": ["x"]}}]),
    ],
)  # fmt: skip
def test_what_is_not_enforced_is_refused_by_name(alice: Any, field: str, value: Any) -> None:
    with pytest.raises(NotImplemented):
        alice.api_client.do("POST", "/api/2.2/jobs/create", body={"name": "j", field: value})


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"tasks": [{"task_key": "a"}]}, "exactly one of"),
        ({"tasks": [{"task_key": "a b", "spark_python_task": {"python_file": "/a"}}]}, "task_key"),
        ({"schedule": {"quartz_cron_expression": "* * *", "timezone_id": "UTC"}}, "Quartz"),
        ({"schedule": {"quartz_cron_expression": "0 0 6 * * ?", "timezone_id": "Mars"}}, "time zone"),
        ({"parameters": [{"name": "a b", "default": ""}]}, "parameter 'a b'"),
        ({"max_concurrent_runs": 1001}, "max_concurrent_runs"),
        ({"name": "x" * 4097}, "name"),
        ({"tags": {str(i): "" for i in range(26)}}, "tags"),
        ({"run_as": {"user_name": "a", "service_principal_name": "b"}}, "run_as"),
        ({"tasks": [{"task_key": "a", "environment_key": "no", "spark_python_task": {"python_file": "/a"}}]}, "environment_key"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_with_its_reason(alice: Any, given: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidParameterValue, match=why):
        alice.api_client.do("POST", "/api/2.2/jobs/create", body=given)


def test_the_list_is_newest_first_paged_both_ways_and_filtered_by_name(alice: Any, platform: Any) -> None:
    made = []
    for i in range(7):
        made.append(alice.jobs.create(name=f"J{i % 2}").job_id)
        platform.clock.advance(1)
    newest = made[::-1]
    assert [job.job_id for job in alice.jobs.list(limit=3)] == newest
    assert [job.job_id for job in alice.jobs.list(name="j1")] == [newest[1], newest[3], newest[5]]

    def page(**query: Any) -> Any:
        return alice.api_client.do("GET", "/api/2.2/jobs/list", query=query)

    first = page(limit=3)
    second = page(limit=3, page_token=first["next_page_token"])
    back = page(limit=3, page_token=second["prev_page_token"])
    assert [job["job_id"] for job in second["jobs"]] == newest[3:6]
    assert back["jobs"] == first["jobs"]
    assert "tasks" not in first["jobs"][0]["settings"]
    with pytest.raises(InvalidParameterValue):
        page(limit=101)


def test_a_job_of_many_tasks_is_read_in_pages(alice: Any) -> None:
    job_id = alice.jobs.create(name="big", tasks=[python(f"t{i:03}", "/a.py") for i in range(250)]).job_id
    assert [t.task_key for t in alice.jobs.get(job_id).settings.tasks] == [f"t{i:03}" for i in range(250)]
    once = alice.api_client.do("GET", "/api/2.2/jobs/get", query={"job_id": job_id})
    assert len(once["settings"]["tasks"]) == 100
    assert once["has_more"]


def test_old_clients_reach_the_same_jobs(alice: Any) -> None:
    job_id = alice.api_client.do("POST", "/api/2.1/jobs/create", body={"name": "old"})["job_id"]
    assert alice.api_client.do("GET", "/api/2.0/jobs/get", query={"job_id": job_id})["settings"]["name"] == "old"


def test_others_see_a_job_only_when_they_may(served: Any, people: Any, alice: Any) -> None:
    bob = people.person("bob")
    job_id = alice.jobs.create(name="mine", tasks=[python("a", "/a.py")]).job_id
    assert list(bob.client.jobs.list()) == []
    for call in (
        lambda: bob.client.jobs.get(job_id),
        lambda: bob.client.jobs.run_now(job_id),
        lambda: bob.client.jobs.delete(job_id),
        lambda: bob.client.jobs.get(5),
    ):
        with pytest.raises(PermissionDenied, match="needs CAN_"):
            call()


LEVELS = ["CAN_VIEW", "CAN_MANAGE_RUN", "CAN_MANAGE"]


@pytest.mark.parametrize("level", LEVELS)
def test_each_level_allows_its_verbs_and_no_more(served: Any, people: Any, alice: Any, level: str) -> None:
    bob = people.person("bob")
    entry = j.JobAccessControlRequest(user_name="bob", permission_level=j.JobPermissionLevel(level))
    job_id = alice.jobs.create(name="shared", access_control_list=[entry]).job_id
    run_id = alice.jobs.run_now(job_id).run_id
    verbs = {
        "CAN_VIEW": [
            lambda: bob.client.jobs.get(job_id),
            lambda: bob.client.jobs.get_run(run_id),
        ],
        "CAN_MANAGE_RUN": [
            lambda: bob.client.jobs.run_now(job_id),
            lambda: bob.client.jobs.cancel_run(run_id),
            lambda: bob.client.jobs.cancel_all_runs(job_id=job_id),
        ],
        "CAN_MANAGE": [
            lambda: bob.client.jobs.update(job_id, new_settings=j.JobSettings(name="renamed")),
            lambda: bob.client.jobs.delete_run(run_id),
            lambda: bob.client.jobs.delete(job_id),
        ],
    }
    for needed in LEVELS:
        for verb in verbs[needed]:
            if LEVELS.index(level) >= LEVELS.index(needed):
                verb()
            else:
                with pytest.raises(PermissionDenied):
                    verb()


def test_a_job_has_exactly_one_owner(served: Any, people: Any, alice: Any) -> None:
    people.person("bob")
    job_id = str(alice.jobs.create(name="owned").job_id)

    def owners() -> list[str]:
        entries = alice.jobs.get_permissions(job_id).access_control_list
        return [e.user_name for e in entries if any(p.permission_level.value == "IS_OWNER" for p in e.all_permissions)]

    assert owners() == ["alice"]
    levels = alice.jobs.get_permission_levels(job_id).permission_levels
    assert {level.permission_level.value for level in levels} == {
        "CAN_VIEW",
        "CAN_MANAGE_RUN",
        "CAN_MANAGE",
        "IS_OWNER",
    }
    both = [
        j.JobAccessControlRequest(user_name=name, permission_level=j.JobPermissionLevel.IS_OWNER)
        for name in ("alice", "bob")
    ]
    with pytest.raises(BadRequest):
        alice.jobs.set_permissions(job_id, access_control_list=both)
    people.admin.client.jobs.set_permissions(job_id, access_control_list=both[1:])
    assert [
        e.user_name
        for e in people.admin.client.jobs.get_permissions(job_id).access_control_list
        if any(p.permission_level.value == "IS_OWNER" for p in e.all_permissions)
    ] == ["bob"]


# --- as whom a job runs ---


def let_use(platform: Platform, service_principal: str, user: str) -> None:
    """Give the user role on a service principal."""

    def grant(ctx: Ctx) -> None:
        grants.change(ctx, objects.by_id(ctx, SERVICE_PRINCIPAL, service_principal), user, add=["CAN_USE"])

    platform.transact(grant)


def run_as(client: Any, job_id: int) -> str:
    return client.jobs.get(job_id).run_as_user_name


def test_running_as_a_service_principal_takes_the_user_role_on_it(served: Any, people: Any, alice: Any) -> None:
    sp = people.service_principal("sp_train")
    as_sp = j.JobRunAs(service_principal_name=sp.name)
    with pytest.raises(PermissionDenied):
        alice.jobs.create(name="j", run_as=as_sp)
    let_use(served.platform, sp.id, people.person("alice").id)
    job_id = alice.jobs.create(name="j", run_as=as_sp).job_id
    assert run_as(alice, job_id) == sp.name


def test_nobody_but_an_administrator_runs_jobs_as_another_person(served: Any, people: Any, alice: Any) -> None:
    people.person("bob")
    as_bob = j.JobRunAs(user_name="bob")
    with pytest.raises(PermissionDenied, match="may not run jobs as bob"):
        alice.jobs.create(name="j", run_as=as_bob)
    admin = people.admin.client
    assert run_as(admin, admin.jobs.create(name="j", run_as=as_bob).job_id) == "bob"


def test_the_right_to_edit_a_job_is_not_the_right_to_act_as_its_principal(served: Any, people: Any, alice: Any) -> None:
    bob = people.person("bob").client
    sp = people.service_principal("sp_train")
    may_manage = [j.JobAccessControlRequest(user_name="bob", permission_level=j.JobPermissionLevel.CAN_MANAGE)]
    admin = people.admin.client
    job_id = admin.jobs.create(
        name="j", run_as=j.JobRunAs(service_principal_name=sp.name), access_control_list=may_manage
    ).job_id
    bob.jobs.update(job_id, new_settings=j.JobSettings(schedule=EVERY_DAY))
    with pytest.raises(PermissionDenied):
        bob.jobs.update(job_id, new_settings=j.JobSettings(tasks=[python("evil", "/evil.py")]))
    assert run_as(admin, job_id) == sp.name


def test_who_changes_a_job_that_names_nobody_takes_it_upon_himself(served: Any, people: Any, alice: Any) -> None:
    bob = people.person("bob").client
    may_manage = [j.JobAccessControlRequest(user_name="bob", permission_level=j.JobPermissionLevel.CAN_MANAGE)]
    job_id = alice.jobs.create(name="j", access_control_list=may_manage).job_id
    bob.jobs.update(job_id, new_settings=j.JobSettings(schedule=EVERY_DAY))
    assert run_as(alice, job_id) == "alice"
    people.admin.client.jobs.update(job_id, new_settings=j.JobSettings(tasks=[python("a", "/a.py")]))
    assert run_as(alice, job_id) == "alice"
    bob.jobs.update(job_id, new_settings=j.JobSettings(tasks=[python("b", "/b.py")]))
    assert run_as(alice, job_id) == "bob"

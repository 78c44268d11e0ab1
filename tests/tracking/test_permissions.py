"""Who may do what with an experiment, its runs, its models and its files; and the ways around it that are none."""

import json
from typing import Any

from worlds import FILES, FOLDERS, V2, World

TRACE = f"tr-{'a' * 32}"


def trace_info(w: World) -> dict[str, Any]:
    return {
        "trace_id": TRACE, "request_time": "2026-11-21T00:00:00Z", "execution_duration": "1.5s", "state": "OK",
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": w.experiment}},
        "tags": {"mlflow.traceName": w.canary}, "request_preview": w.canary,
    }  # fmt: skip


def every_call(w: World) -> list[tuple[str, str, dict[str, Any], str]]:
    """Verb, path, fields and the least level that may: what is done to one experiment."""
    run, model, experiment = {"run_id": w.run}, {"model_id": w.model}, {"experiment_id": w.experiment}
    return [
        ("GET", f"{V2}/experiments/get", experiment, "reader"),
        ("GET", f"{V2}/runs/get", run, "reader"),
        ("GET", f"{V2}/runs/get", {"run_uuid": w.run}, "reader"),
        ("GET", f"{V2}/metrics/get-history", {**run, "metric_key": "auc"}, "reader"),
        ("GET", f"{V2}/artifacts/list", run, "reader"),
        ("GET", f"{V2}/logged-models/{w.model}", {}, "reader"),
        ("GET", f"{V2}/logged-models/{w.model}/artifacts/directories", {}, "reader"),
        ("GET", f"{FILES}/{w.experiment}/Runs/{w.run}/artifacts/a.txt", {}, "reader"),
        ("HEAD", f"{FILES}/{w.experiment}/Runs/{w.run}/artifacts/a.txt", {}, "reader"),
        ("GET", f"{FOLDERS}/{w.experiment}/Runs/{w.run}/artifacts", {}, "reader"),
        ("POST", f"{V2}/runs/log-metric", {**run, "key": "m", "value": 1, "timestamp": 1}, "editor"),
        ("POST", f"{V2}/runs/log-parameter", {**run, "key": "p", "value": "1"}, "editor"),
        ("POST", f"{V2}/runs/set-tag", {**run, "key": "t", "value": "1"}, "editor"),
        ("POST", f"{V2}/runs/delete-tag", {**run, "key": "t"}, "editor"),
        ("POST", f"{V2}/runs/log-batch", {**run, "tags": [{"key": "t", "value": "1"}]}, "editor"),
        ("POST", f"{V2}/runs/log-inputs", run, "editor"),
        ("POST", f"{V2}/runs/outputs", {**run, "models": [{"model_id": w.model}]}, "editor"),
        ("POST", f"{V2}/runs/log-model", {**run, "model_json": '{"artifact_path": "m", "flavors": {}}'}, "editor"),
        ("POST", f"{V2}/runs/update", {**run, "status": "FINISHED"}, "editor"),
        ("POST", f"{V2}/runs/create", experiment, "editor"),
        ("POST", f"{V2}/runs/delete", run, "editor"),
        ("POST", f"{V2}/runs/restore", run, "editor"),
        ("POST", f"{V2}/experiments/set-experiment-tag", {**experiment, "key": "t", "value": "1"}, "editor"),
        ("POST", f"{V2}/experiments/delete-experiment-tag", {**experiment, "key": "t"}, "editor"),
        ("POST", f"{V2}/logged-models", experiment, "editor"),
        ("POST", f"{V2}/logged-models/{w.model}/params", {**model, "params": []}, "editor"),
        ("PATCH", f"{V2}/logged-models/{w.model}/tags", {"tags": [{"key": "t", "value": "1"}]}, "editor"),
        ("DELETE", f"{V2}/logged-models/{w.model}/tags/t", {}, "editor"),
        ("PATCH", f"{V2}/logged-models/{w.model}", {**model, "status": "LOGGED_MODEL_READY"}, "editor"),
        ("PUT", f"{FILES}/{w.experiment}/Runs/{w.run}/artifacts/b.txt", {}, "editor"),
        ("PUT", f"{FILES}/{w.experiment}/LoggedModels/{w.model}/MLmodel", {}, "editor"),
        ("POST", "/api/3.0/mlflow/traces", {"trace": {"trace_info": trace_info(w)}}, "editor"),
        ("GET", f"/api/3.0/mlflow/traces/{TRACE}", {}, "reader"),
        ("PATCH", f"{V2}/traces/{TRACE}/tags", {"key": "t", "value": "1"}, "editor"),
        ("PUT", f"{FILES}/{w.experiment}/Runs/traces/{TRACE}/artifacts/traces.json", {}, "editor"),
        ("GET", f"{FILES}/{w.experiment}/Runs/traces/{TRACE}/artifacts/traces.json", {}, "reader"),
        ("DELETE", f"{V2}/traces/{TRACE}/tags", {"key": "t"}, "editor"),
        ("POST", f"{V2}/traces/delete-traces", {**experiment, "request_ids": [TRACE]}, "manager"),
        ("DELETE", f"{FILES}/{w.experiment}/Runs/{w.run}/artifacts/b.txt", {}, "manager"),
        ("DELETE", f"{V2}/logged-models/{w.model}", model, "manager"),
        ("POST", f"{V2}/experiments/update", {**experiment, "new_name": "/Users/ann/elsewhere"}, "manager"),
        ("POST", f"{V2}/experiments/delete", experiment, "manager"),
        ("POST", f"{V2}/experiments/restore", experiment, "manager"),
    ]


def test_each_level_may_what_it_says_and_nothing_more(world: World) -> None:
    levels = ["stranger", "reader", "editor", "manager"]
    wrong: list[str] = []
    for verb, path, fields, least in every_call(world):
        for level in levels:
            answer = getattr(world, level)(verb, path, **fields)
            allowed = levels.index(level) >= levels.index(least)
            if level != levels[-1] and allowed and verb in ("POST", "DELETE") and least == level:
                pass  # done once by the least who may; the next ones repeat it
            good = answer.status_code < 400 or (allowed and answer.status_code in (400, 404))
            if good != allowed or (not allowed and answer.status_code != 403):
                wrong.append(f"{level}: {verb} {path} {answer.status_code} {answer.text[:200]}")
            if not allowed and level == "stranger" and world.canary in answer.text:
                wrong.append(f"{level}: {verb} {path} told the stranger what is in it")
    assert not wrong, "\n".join(wrong)


def test_a_strangers_searches_and_lookups_do_not_know_of_it(world: World) -> None:
    world.ann("POST", "/api/3.0/mlflow/traces", trace={"trace_info": trace_info(world)}).raise_for_status()
    here = [world.experiment]
    for verb, path, fields in (
        ("POST", f"{V2}/runs/search", {"experiment_ids": here}),
        ("POST", f"{V2}/runs/search", {"experiment_ids": here, "filter": "params.secret LIKE 'canary%'"}),
        ("POST", f"{V2}/logged-models/search", {"experiment_ids": here}),
        ("POST", "/api/3.0/mlflow/traces/search", {"locations": [trace_info(world)["trace_location"]]}),
        ("POST", f"{V2}/experiments/search", {}),
        ("GET", f"{V2}/experiments/list", {}),
        ("POST", f"{V2}/experiments/search", {"view_type": "ALL", "filter": "name LIKE '%canary%'"}),
    ):
        answer = world.stranger(verb, path, **fields)
        assert answer.status_code == 200
        assert not any(answer.json().values()), path
    missing = world.stranger("GET", f"{V2}/experiments/get-by-name", experiment_name="/Users/ann/none")
    hidden = world.stranger("GET", f"{V2}/experiments/get-by-name", experiment_name=f"/Users/ann/{world.canary}")
    assert hidden.status_code == missing.status_code == 404
    assert hidden.text.replace(world.canary, "none") == missing.text


def test_what_is_there_and_what_is_not_are_refused_to_a_stranger_alike(world: World) -> None:
    for path, field, real in (
        (f"{V2}/runs/get", "run_id", world.run),
        (f"{V2}/experiments/get", "experiment_id", world.experiment),
        (f"{V2}/artifacts/list", "run_id", world.run),
    ):
        there, nowhere = (
            world.stranger("GET", path, **{field: real}),
            world.stranger("GET", path, **{field: "9" * len(real)}),
        )
        assert there.status_code == nowhere.status_code == 403
        assert there.text.replace(real, "X") == nowhere.text.replace("9" * len(real), "X")
    model = world.stranger("GET", f"{V2}/logged-models/{world.model}")
    nothing = world.stranger("GET", f"{V2}/logged-models/m-{'0' * 32}")
    assert model.text.replace(world.model, "X") == nothing.text.replace(f"m-{'0' * 32}", "X")


def test_a_revoked_level_is_gone_with_the_next_call(world: World) -> None:
    assert world.editor("POST", f"{V2}/runs/set-tag", run_id=world.run, key="a", value="1").status_code == 200
    world.ann("PUT", f"/api/2.0/permissions/experiments/{world.experiment}", access_control_list=[]).raise_for_status()
    assert world.editor("POST", f"{V2}/runs/set-tag", run_id=world.run, key="b", value="1").status_code == 403
    assert not world.editor("POST", f"{V2}/runs/search", experiment_ids=[world.experiment]).json()


def test_naming_an_experiment_of_ones_own_beside_anothers_run_does_not_help(world: World) -> None:
    mine = world.stranger("POST", f"{V2}/experiments/create", name="/Users/stranger/mine").json()["experiment_id"]
    my_run = world.stranger("POST", f"{V2}/runs/create", experiment_id=mine).json()["run"]["info"]["run_id"]
    both = world.stranger("GET", f"{V2}/runs/get", run_id=my_run, run_uuid=world.run)
    assert (both.status_code, both.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    twice = world.stranger("GET", f"{V2}/runs/get?run_id={my_run}&run_id={world.run}")
    assert twice.status_code in (400, 403)
    path_and_body = world.stranger(
        "PATCH", f"{V2}/logged-models/{world.model}", model_id="m-1", status="LOGGED_MODEL_READY"
    )
    assert path_and_body.status_code in (400, 403)
    crossed = world.stranger("GET", f"{FILES}/{mine}/Runs/{world.run}/artifacts/a.txt")
    assert crossed.status_code == 403
    assert world.canary not in crossed.text
    searched = world.stranger("POST", f"{V2}/runs/search", experiment_ids=[mine, world.experiment]).json()
    assert [run["info"]["run_id"] for run in searched["runs"]] == [my_run]


def test_a_trace_is_not_taken_over_by_naming_its_id(world: World) -> None:
    world.ann("POST", "/api/3.0/mlflow/traces", trace={"trace_info": trace_info(world)}).raise_for_status()
    mine = world.stranger("POST", f"{V2}/experiments/create", name="/Users/stranger/t").json()["experiment_id"]
    theirs = {**trace_info(world), "trace_location": {"mlflow_experiment": {"experiment_id": mine}}}
    assert world.stranger("POST", "/api/3.0/mlflow/traces", trace={"trace_info": theirs}).status_code == 400
    beside = world.stranger(
        "POST", "/api/3.0/mlflow/traces", experiment_id=mine, trace={"trace_info": trace_info(world)}
    )
    assert beside.status_code == 400
    deleted = world.stranger("POST", f"{V2}/traces/delete-traces", experiment_id=mine, request_ids=[TRACE])
    assert deleted.json() == {"traces_deleted": 0}
    moved = world.ann("PATCH", f"{V2}/traces/{TRACE}/tags", key="mlflow.artifactLocation", value="file:///etc")
    assert moved.status_code == 400
    for bad in (
        {"trace_id": "tr-../../x"},
        {"request_time": "yesterday"},
        {"execution_duration": "-1s"},
        {"state": "X"},
        {"owner": "me"},
    ):
        sent = {**trace_info(world), **bad}
        assert world.ann("POST", "/api/3.0/mlflow/traces", trace={"trace_info": sent}).status_code == 400, bad


def test_a_run_is_not_tied_to_models_and_runs_its_writer_cannot_read(world: World) -> None:
    mine = world.stranger("POST", f"{V2}/experiments/create", name="/Users/stranger/ties").json()["experiment_id"]
    my_run = world.stranger("POST", f"{V2}/runs/create", experiment_id=mine).json()["run"]["info"]["run_id"]
    for path, fields in (
        ("runs/log-inputs", {"run_id": my_run, "models": [{"model_id": world.model}]}),
        ("runs/outputs", {"run_id": my_run, "models": [{"model_id": world.model}]}),
        ("runs/log-metric", {"run_id": my_run, "key": "m", "value": 1, "timestamp": 1, "model_id": world.model}),
        ("logged-models", {"experiment_id": mine, "source_run_id": world.run}),
    ):
        real = world.stranger("POST", f"{V2}/{path}", **fields)
        text = json.dumps(fields).replace(world.model, "m-0").replace(world.run, "0" * 32)
        made_up = world.stranger("POST", f"{V2}/{path}", **json.loads(text))
        assert real.status_code in (400, 403), path
        assert real.status_code == made_up.status_code, "an id that exists is answered like one that does not"
        assert real.text.replace(world.model, "m-0").replace(world.run, "0" * 32) == made_up.text


def test_who_made_a_run_is_who_called_whatever_the_request_says(world: World) -> None:
    made = world.editor(
        "POST", f"{V2}/runs/create", experiment_id=world.experiment, user_id="ann",
        tags=[{"key": "mlflow.user", "value": "ann"}],
    ).json()["run"]  # fmt: skip
    assert made["info"]["user_id"] == "editor"
    assert {"key": "mlflow.user", "value": "editor"} in made["data"]["tags"]
    run = made["info"]["run_id"]
    for path, fields in (
        ("set-tag", {"key": "mlflow.user", "value": "ann"}),
        ("delete-tag", {"key": "mlflow.user"}),
        ("log-batch", {"tags": [{"key": "mlflow.user", "value": "ann"}]}),
    ):
        assert world.editor("POST", f"{V2}/runs/{path}", run_id=run, **fields).status_code == 400


def test_a_page_token_is_good_for_its_caller_and_its_search_only(world: World) -> None:
    for _ in range(3):
        world.ann("POST", f"{V2}/runs/create", experiment_id=world.experiment)
    ask: dict[str, Any] = {"experiment_ids": [world.experiment], "max_results": 2}
    first = world.ann("POST", f"{V2}/runs/search", **ask).json()
    token = first["next_page_token"]
    second = world.ann("POST", f"{V2}/runs/search", **ask, page_token=token).json()
    seen = [run["info"]["run_id"] for page in (first, second) for run in page["runs"]]
    assert len(seen) == len(set(seen)) == 4
    assert "next_page_token" not in second
    for call, more in (
        (world.reader, {}),
        (world.ann, {"filter": "metrics.auc > 0"}),
        (world.ann, {"order_by": ["status"]}),
    ):
        assert call("POST", f"{V2}/runs/search", **ask, **more, page_token=token).status_code == 400
    assert world.ann("POST", f"{V2}/runs/search", **ask, page_token="b2Zmc2V0OjA").status_code == 400


def test_pages_are_full_of_what_the_caller_may_read(world: World) -> None:
    """Every second experiment is somebody else's: the pages of the others have no holes."""
    mine: list[str] = []
    for n in range(10):
        who = "stranger" if n % 2 else "ann"
        name = f"/Users/{who}/e{n}"
        getattr(world, who)("POST", f"{V2}/experiments/create", name=name).raise_for_status()
        if who == "stranger":
            mine.append(name)
    seen: list[list[str]] = []
    token: str | None = None
    while token is not None or not seen:
        more = {"page_token": token} if token else {}
        page = world.stranger("POST", f"{V2}/experiments/search", order_by=["name"], max_results=2, **more).json()
        seen.append([each["name"] for each in page["experiments"]])
        token = page.get("next_page_token")
    assert [len(page) for page in seen] == [2, 2, 1]
    assert [name for page in seen for name in page] == mine


def test_experiments_are_made_at_home_or_in_shared(world: World) -> None:
    for name, allowed in (
        ("/Shared/x", True), ("/Users/stranger/x", True), ("/Users/ann/x", False), ("/Users/stranger", False),
        ("/Users/stranger-2/x", False), ("/elsewhere/x", False), ("plain", False), ("/Users/stranger/../ann/x", False),
        ("/Users//stranger/x", False), ("/Shared/./x", False), ("/Shared/", False), ("/Shared/a\0b", False), ("/Shared/" + "x" * 300, False),
        ("/Users/stranger/%2e%2e/x", False),
        ("/Users/stranger/a/b/c", True), ("/Users/stranger/a", False), ("/Users/none/x", False), ("/Workspace/Users/stranger/w", True),
        ("/Workspace/Users/ann/w", False),
    ):  # fmt: skip
        answer = world.stranger("POST", f"{V2}/experiments/create", name=name)
        assert (answer.status_code == 200) is allowed, name
        assert answer.status_code in (200, 400, 403, 409), name


def test_a_rename_stays_in_its_folder(world: World) -> None:
    there = "/Users/ann"
    for name, status in ((f"{there}/fine", 200), ("/Shared/x", 501), (f"{there}/../x", 400), (f"{there}/fine/", 400)):
        answer = world.manager("POST", f"{V2}/experiments/update", experiment_id=world.experiment, new_name=name)
        assert answer.status_code == status, answer.text
    found = world.reader("GET", f"{V2}/experiments/get-by-name", experiment_name=f"{there}/fine").json()["experiment"]
    assert (found["name"], found["experiment_id"]) == (f"{there}/fine", world.experiment)


def test_rights_on_a_folder_hold_for_the_experiments_in_it(world: World, people: Any) -> None:
    made = world.ann("POST", f"{V2}/experiments/create", name="/Users/ann/team/deep").json()["experiment_id"]
    assert world.stranger("GET", f"{V2}/experiments/get", experiment_id=made).status_code == 403
    folder = world.ann("GET", "/api/2.0/workspace/get-status", path="/Users/ann/team").json()["object_id"]
    world.ann(
        "PATCH", f"/api/2.0/permissions/directories/{folder}",
        access_control_list=[{"user_name": "stranger", "permission_level": "CAN_READ"}],
    ).raise_for_status()  # fmt: skip
    assert world.stranger("GET", f"{V2}/experiments/get", experiment_id=made).status_code == 200
    assert world.stranger("POST", f"{V2}/runs/create", experiment_id=made).status_code == 403
    assert [e["name"] for e in world.stranger("POST", f"{V2}/experiments/search").json()["experiments"]] == [
        "/Users/ann/team/deep"
    ]
    assert world.stranger("GET", f"{V2}/experiments/get", experiment_id=world.experiment).status_code == 403


def test_an_experiment_goes_with_its_folder_and_leaves_its_name(world: World) -> None:
    first = world.ann("POST", f"{V2}/experiments/create", name="/Users/ann/gone/e").json()["experiment_id"]
    world.ann("POST", "/api/2.0/workspace/delete", path="/Users/ann/gone", recursive=True).raise_for_status()
    assert world.ann("GET", f"{V2}/experiments/get", experiment_id=first).status_code == 404
    second = world.ann("POST", f"{V2}/experiments/create", name="/Users/ann/gone/e").json()["experiment_id"]
    assert second != first


def test_an_experiment_of_the_same_name_shares_nothing_with_a_deleted_one(world: World) -> None:
    """Deleting keeps the name and the permissions: nobody can put something else in its place."""
    world.ann("POST", f"{V2}/experiments/delete", experiment_id=world.experiment).raise_for_status()
    again = world.ann("POST", f"{V2}/experiments/create", name=f"/Users/ann/{world.canary}")
    assert (again.status_code, again.json()["error_code"]) == (409, "RESOURCE_ALREADY_EXISTS")
    assert world.reader("GET", f"{V2}/experiments/get", experiment_id=world.experiment).status_code == 200
    assert world.stranger("GET", f"{V2}/experiments/get", experiment_id=world.experiment).status_code == 403


def test_the_audit_trail_knows_keys_and_who_but_no_values(world: World, server: Any) -> None:
    world.ann("POST", f"{V2}/runs/log-parameter", run_id=world.run, key="password", value="hunter-2-canary")
    batch = {"params": [{"key": "p", "value": "hunter-3-canary"}], "tags": [{"key": "t", "value": "hunter-4-canary"}]}
    world.ann("POST", f"{V2}/runs/log-batch", run_id=world.run, **batch)
    rows = server.platform.snapshot(
        lambda ctx: ctx.tx.all("SELECT action, ask, object_id, who_name FROM audit WHERE address = ?", world.run)
    )
    assert not [row for row in rows if "hunter" in row["ask"]]
    logged = next(row for row in rows if "password" in row["ask"])
    assert (logged["action"], logged["who_name"], logged["object_id"]) == ("logParam", "ann", world.experiment)

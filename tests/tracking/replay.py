"""One sequence of REST calls, to be sent to this platform and to MLflow's own server: the answers must agree.

A `$name` in a request stands for an id that an earlier answer gave. What may differ (ids, times, places, names made up
by the server) is taken out of the answers; everything else, refusals included, is compared.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

Send = Callable[[str, str, dict[str, Any]], tuple[int, dict[str, Any]]]
Step = tuple[str, str, dict[str, Any], str]

V2 = "/api/2.0/mlflow"
NOT_COMPARED = {
    "artifact_uri", "artifact_location", "creation_time", "last_update_time", "user_id", "end_time", "next_page_token",
    "creation_timestamp_ms", "last_updated_timestamp_ms", "message", "stack_trace", "root_uri", "run_uuid", "workspace",
    "model_type",
}  # fmt: skip
SERVERS_OWN_TAGS = {"mlflow.user"}


def post(path: str, *, takes: str = "", **body: Any) -> Step:
    return ("POST", V2 + path, body, takes)


def get(path: str, **query: Any) -> Step:
    return ("GET", V2 + path, query, "")


def batch(run: str, **logged: Any) -> Step:
    return post("/runs/log-batch", run_id=run, **logged)


def metric(key: str, value: Any, timestamp: int = 1000, step: int = 0) -> dict[str, Any]:
    return {"key": key, "value": value, "timestamp": timestamp, "step": step}


def pairs(**values: str) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def logging() -> Iterator[Step]:
    yield post("/experiments/create", name="/Shared/one", tags=pairs(team="risk"), takes="experiment_id:one")
    yield post("/experiments/create", name="/Shared/one")
    yield post("/experiments/create", name="/Shared/two", takes="experiment_id:two")
    yield get("/experiments/get", experiment_id="$one")
    yield get("/experiments/get-by-name", experiment_name="/Shared/one")
    yield get("/experiments/get-by-name", experiment_name="/Shared/none")
    yield post("/experiments/set-experiment-tag", experiment_id="$one", key="team", value="credit")
    yield post("/experiments/set-experiment-tag", experiment_id="$one", key="../up", value="x")
    yield post("/experiments/delete-experiment-tag", experiment_id="$one", key="none")
    yield post(
        "/runs/create",
        experiment_id="$one",
        start_time=1,
        run_name="a",
        tags=pairs(kind="gbm"),
        takes="run.info.run_id:a",
    )
    yield post("/runs/create", experiment_id="$one", start_time=2, run_name="b", takes="run.info.run_id:b")
    yield post("/runs/create", experiment_id="$two", start_time=3, run_name="c", takes="run.info.run_id:c")
    yield post("/runs/create", experiment_id="$one", run_name="x", tags=[{"key": "mlflow.runName", "value": "y"}])
    yield post("/runs/log-parameter", run_id="$a", key="depth", value="3")
    yield post("/runs/log-parameter", run_id="$a", key="depth", value="3")
    yield post("/runs/log-parameter", run_id="$a", key="depth", value="4")
    yield post("/runs/log-parameter", run_id="$a", key="/absolute", value="4")
    yield post("/runs/log-parameter", run_id="$a", key="a//b", value="4")
    yield post("/runs/log-parameter", run_id="$a", key="bad|name", value="4")
    yield post("/runs/log-parameter", run_id="$a", key="long", value="v" * 7000)
    yield post("/runs/log-parameter", run_id="$a", key="k" * 251, value="v")
    yield post("/runs/log-parameter", run_uuid="$a", run_id="$a", key="by/uuid", value="yes")
    yield post("/runs/log-metric", run_id="$a", **metric("loss", 0.5))
    yield post("/runs/log-metric", run_id="$a", **metric("loss", 0.4, step=2))
    yield post("/runs/log-metric", run_id="$a", **metric("loss", 0.3, step=1))
    yield post("/runs/log-metric", run_id="$a", **metric("loss", 0.3, step=1))
    yield post("/runs/log-metric", run_id="$a", **metric("same step", 1.0, 2000))
    yield post("/runs/log-metric", run_id="$a", **metric("same step", 3.0, 1000))
    yield post("/runs/log-metric", run_id="$a", **metric("same time", 3.0))
    yield post("/runs/log-metric", run_id="$a", **metric("same time", 1.0))
    yield post("/runs/log-metric", run_id="$a", **metric("nan", "NaN"))
    yield post("/runs/log-metric", run_id="$a", **metric("up", "Infinity"))
    yield post("/runs/log-metric", run_id="$a", **metric("down", "-Infinity"))
    yield post("/runs/log-metric", run_id="$a", **metric("below", 1.0, step=-1))
    yield post("/runs/log-metric", run_id="$a", **metric("early", 1.0, timestamp=-5))
    yield post("/runs/log-metric", run_id="$a", **metric("bad#name", 1.0))
    yield post("/runs/log-metric", run_id="0" * 32, **metric("loss", 1.0))
    yield batch(
        "$b",
        metrics=[metric("auc", 0.8), metric("auc", 0.9, step=3), metric("auc", 0.7, step=3), metric("loss", 0.9)],
        params=pairs(depth="5", model="GBM wide"),
        tags=pairs(kind="linear", note="1"),
    )
    yield batch("$b", tags=[{"key": "note", "value": "2"}, {"key": "note", "value": "3"}])
    yield batch("$b", tags=[{"key": "mlflow.runName", "value": "renamed"}])
    yield batch("$b", params=[{"key": "p", "value": "1"}, {"key": "p", "value": "2"}])
    yield batch("$b", params=pairs(depth="6", other="1"))
    yield batch("$b", metrics=[metric("auc", 0.5, step=3), metric("auc", "NaN", step=4)])
    yield batch("$b", params=pairs(**{f"p{n}": "1" for n in range(101)}))
    yield batch("$b", metrics=[metric("m", 1.0, step=n) for n in range(1001)])
    yield batch(
        "$b", metrics=[metric("m", 1.0, step=n) for n in range(950)], tags=pairs(**{f"t{n}": "1" for n in range(60)})
    )
    yield batch("$b", metrics=[metric("many", n / 7, timestamp=n, step=n) for n in range(300)])
    yield post("/runs/set-tag", run_id="$a", key="kind", value="forest")
    yield post("/runs/set-tag", run_id="$a", key="long", value="v" * 9000)
    yield post("/runs/set-tag", run_id="$c", key="mlflow.runName", value="c again")
    yield post("/runs/delete-tag", run_id="$b", key="note")
    yield post("/runs/delete-tag", run_id="$b", key="note")
    yield post("/runs/update", run_id="$a", status="FINISHED", end_time=77, run_name="a done")
    yield post("/runs/update", run_id="$b", status="FAILED")
    yield get("/runs/get", run_id="$a")
    yield get("/runs/get", run_id="$b")
    yield get("/runs/get", run_id="$c")
    yield get("/runs/get", run_id="f" * 32)
    yield get("/metrics/get-history", run_id="$a", metric_key="loss")
    yield get("/metrics/get-history", run_id="$a", metric_key="nan")
    yield get("/metrics/get-history", run_id="$b", metric_key="auc")
    yield get("/metrics/get-history", run_id="$b", metric_key="many", max_results=3)
    yield get("/metrics/get-history", run_id="$b", metric_key="none")


def datasets_and_models() -> Iterator[Step]:
    def dataset(name: str, digest: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "digest": digest, "source_type": "delta", "source": "main.s.t", **more}

    context = [{"key": "mlflow.data.context", "value": "train"}]
    yield post(
        "/runs/log-inputs", run_id="$a", datasets=[{"dataset": dataset("flights", "d1", schema="{}"), "tags": context}]
    )
    yield post("/runs/log-inputs", run_id="$a", datasets=[{"dataset": dataset("flights", "d1"), "tags": []}])
    yield post(
        "/runs/log-inputs", run_id="$b", datasets=[{"dataset": dataset("flights", "d2", profile="{}"), "tags": []}]
    )
    yield post("/runs/log-inputs", run_id="$b", datasets=[{"dataset": dataset("x" * 501, "d2"), "tags": []}])
    yield post("/runs/log-inputs", run_id="$b", datasets=[{"dataset": dataset("flights", "d" * 37), "tags": []}])
    yield post(
        "/logged-models", experiment_id="$one", name="m1", source_run_id="$a", params=pairs(depth="3"),
        tags=pairs(stage="try"), takes="model.info.model_id:m1",
    )  # fmt: skip
    yield post("/logged-models", experiment_id="$one", name="m2", takes="model.info.model_id:m2")
    yield post("/logged-models", experiment_id="$one", name="a/b")
    yield post("/runs/outputs", run_id="$a", models=[{"model_id": "$m1", "step": 2}])
    yield post("/runs/log-inputs", run_id="$b", models=[{"model_id": "$m1"}])
    yield ("PATCH", f"{V2}/logged-models/$m1", {"model_id": "$m1", "status": "LOGGED_MODEL_READY"}, "")
    yield ("PATCH", f"{V2}/logged-models/$m1/tags", {"tags": pairs(stage="good", note="x")}, "")
    yield ("DELETE", f"{V2}/logged-models/$m1/tags/note", {}, "")
    yield ("DELETE", f"{V2}/logged-models/$m1/tags/note", {}, "")
    yield post("/logged-models/$m2/params", model_id="$m2", params=pairs(depth="9"))
    yield post(
        "/runs/log-metric",
        run_id="$a",
        **metric("auc", 0.9),
        model_id="$m1",
        dataset_name="flights",
        dataset_digest="d1",
    )
    yield post(
        "/runs/log-metric",
        run_id="$b",
        **metric("auc", 0.6),
        model_id="$m2",
        dataset_name="flights",
        dataset_digest="d2",
    )
    yield get("/logged-models/$m1")
    yield get("/logged-models/$m2")
    yield get("/logged-models/m-none")
    yield get("/runs/get", run_id="$a")
    yield get("/runs/get", run_id="$b")
    for text in (
        "", "name = 'm1'", "name LIKE 'M%'", "name ILIKE 'M%'", "metrics.auc > 0.7", "params.depth = '3'", "tags.stage != 'good'",
        "name IN ('m1', 'm2')", "name NOT IN ('m1')", "source_run_id = '$a'", "creation_timestamp > 5", "metrics.auc > 0.1 AND name = 'm2'",
    ):  # fmt: skip
        yield post("/logged-models/search", experiment_ids=["$one"], filter=text)
    yield post(
        "/logged-models/search", experiment_ids=["$one"], datasets=[{"dataset_name": "flights", "dataset_digest": "d1"}]
    )
    yield post(
        "/logged-models/search", experiment_ids=["$one"], order_by=[{"field_name": "metrics.auc", "ascending": True}]
    )
    yield post("/logged-models/search", experiment_ids=["$one"], order_by=[{"field_name": "name", "ascending": False}])
    yield post("/logged-models/search", experiment_ids=["$one"], order_by=[{"field_name": "params.depth"}])
    yield post("/logged-models/search", experiment_ids=["$two"])
    yield ("DELETE", f"{V2}/logged-models/$m2", {"model_id": "$m2"}, "")
    yield get("/logged-models/$m2")
    yield post("/logged-models/search", experiment_ids=["$one"])


RUN_FILTERS = (
    "metrics.auc > 0.5", "metrics.auc >= 0.9", "metrics.loss < 1", "metrics.nan != 0", "metrics.nan = 0", "metrics.nan < 5",
    "metric.`same step` = 1", 'metrics."same time" > 2.5', "params.depth = '3'", 'param.depth = "5"', "parameters.depth != '3'",
    "params.model LIKE 'GBM%'", "params.model LIKE 'gbm%'", "params.model ILIKE 'gbm%'", "params.model LIKE '%w_de'",
    "params.none IS NULL", "params.model IS NOT NULL", "tags.kind = 'forest'", "tags.kind != 'forest'", "tag.kind IS NULL",
    "tags.`mlflow.runName` = 'renamed'", "tags.mlflow.runName = 'renamed'", "attributes.status = 'FINISHED'", "status = 'FAILED'",
    "attribute.run_name = 'a done'", "run_name LIKE 'a%'", "attr.start_time >= 2", "start_time < 2", "run.end_time > 70",
    "attributes.run_id IN ('$a', '$c')", "run_id NOT IN ('$a')", "run_id = '$b'", "created > 1",
    "dataset.name = 'flights'", "datasets.digest IN ('d1')", "dataset.context = 'train'", "dataset.name LIKE 'f%'",
    "metrics.auc > 0.5 AND params.depth = '5'", "metrics.auc > 0.5 and tags.kind = 'linear' and status = 'FAILED'",
    "params.depth = '3' AND params.model = 'x'", "tags.kind = 'it''s'", "params.depth='3'", "metrics.loss<1",
    "metrics.auc > '0.5'", "params.depth = 3", "params.depth > '3'", "nonsense", "metrics.auc", "metrics.auc >", "foo.bar = 'x'",
    "attributes.nothing = 'x'", "status = 1", "start_time = 'x'", "metrics.auc > 0.5 OR metrics.auc < 1", "status IN ('FAILED')",
    "metrics.auc IS NULL", "dataset.size = 'x'", "run_id IN ()", "1 = 1", "; DROP TABLE runs",
    "metrics.auc > 1e-3", "metrics.auc > -1", "metrics.auc = 0.9 ",
)  # fmt: skip
RUN_ORDERS = (
    ["metrics.auc DESC"], ["metrics.auc ASC"], ["metrics.nan"], ["params.depth DESC"], ["tags.kind"], ["attributes.start_time ASC"],
    ["start_time DESC"], ["run_name"], ["status ASC", "metrics.loss DESC"], ["metrics.`same step` asc"], ["created"], ["end_time DESC"],
    ["nothing"], ["metrics.auc SIDEWAYS"], ["metrics.auc DESC extra"], ["dataset.name"],
)  # fmt: skip
EXPERIMENT_FILTERS = (
    "name = '/Shared/one'", "name LIKE '/Shared/%'", "name LIKE '/shared/%'", "name ILIKE '/shared/%'", "name != '/Shared/one'",
    "tags.team = 'credit'", "tag.team != 'x'", "tags.team IS NULL", "tags.team IS NOT NULL", "experiment_id = '$one'",
    "experiment_id IN ('$one', '$two')", "attribute.name = '/Shared/two'", "creation_time > 5", "metrics.x > 1", "name > 'x'",
    "name = '/Shared/one' AND tags.team = 'credit'", "nothing = 'x'",
)  # fmt: skip


def searching() -> Iterator[Step]:
    both = ["$one", "$two"]
    for text in RUN_FILTERS:
        yield post("/runs/search", experiment_ids=both, filter=text)
    for order in RUN_ORDERS:
        yield post("/runs/search", experiment_ids=both, order_by=order)
    yield post("/runs/search", experiment_ids=both, max_results=2)
    yield post("/runs/search", experiment_ids=both, max_results=-1)
    yield post("/runs/search", experiment_ids=[])
    yield post("/runs/search", experiment_ids=["$two"])
    for text in EXPERIMENT_FILTERS:
        yield post("/experiments/search", filter=f"{text} AND name LIKE '/Shared/%'", max_results=50)
    for order in (
        ["name"],
        ["name DESC"],
        ["creation_time ASC", "name"],
        ["last_update_time"],
        ["tags.x"],
    ):
        yield post("/experiments/search", filter="name LIKE '/Shared/%'", order_by=order, max_results=50)


def deleting() -> Iterator[Step]:
    yield post("/runs/delete", run_id="$a")
    yield get("/runs/get", run_id="$a")
    yield post("/runs/log-metric", run_id="$a", **metric("late", 1.0))
    yield post("/runs/log-parameter", run_id="$a", key="late", value="1")
    yield post("/runs/set-tag", run_id="$a", key="late", value="1")
    yield post("/runs/update", run_id="$a", status="RUNNING")
    yield batch("$a", metrics=[metric("late", 1.0)])
    for view in ("ACTIVE_ONLY", "DELETED_ONLY", "ALL"):
        yield post("/runs/search", experiment_ids=["$one"], run_view_type=view)
    yield post("/runs/restore", run_id="$a")
    yield post("/experiments/update", experiment_id="$two", new_name="/Shared/second")
    yield get("/experiments/get", experiment_id="$two")
    yield post("/experiments/delete", experiment_id="$two")
    yield post("/experiments/delete", experiment_id="$two")
    yield get("/experiments/get", experiment_id="$two")
    yield get("/runs/get", run_id="$c")
    yield post("/runs/create", experiment_id="$two", start_time=9, run_name="late")
    yield post("/experiments/set-experiment-tag", experiment_id="$two", key="late", value="1")
    yield post("/experiments/update", experiment_id="$two", new_name="/Shared/third")
    yield post("/experiments/create", name="/Shared/second")
    for view in ("ACTIVE_ONLY", "DELETED_ONLY", "ALL"):
        yield post("/experiments/search", filter="name LIKE '/Shared/%'", view_type=view, max_results=50)
    yield post("/experiments/restore", experiment_id="$two")
    yield post("/experiments/restore", experiment_id="$two")
    yield get("/runs/get", run_id="$c")


def steps() -> Iterator[Step]:
    yield from logging()
    yield from datasets_and_models()
    yield from searching()
    yield from deleting()


def replay(send: Send) -> list[Any]:
    """What the server answered to each step, without what may differ."""
    ids: dict[str, str] = {}
    said: list[Any] = []
    for verb, path, fields, takes in steps():
        status, answer = send(verb, _filled(path, ids), json.loads(_filled(json.dumps(fields), ids)))
        if takes and status == 200:
            where, _, name = takes.partition(":")
            found: Any = answer
            for part in where.split("."):
                found = found[part]
            ids[name] = str(found)
        if status != 200:
            said.append({"refused": answer.get("error_code")})
        else:
            for run in answer.get("runs", []):  # MLflow leaves them out of searches only
                run.get("inputs", {}).pop("model_inputs", None)
            said.append(_comparable(answer, {value: f"${name}" for name, value in ids.items()}))
    return said


def _filled(text: str, ids: dict[str, str]) -> str:
    return re.sub(r"\$(\w+)", lambda found: ids.get(found[1], found[0]), text)


def _comparable(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        inside = {k: _comparable(v, names) for k, v in value.items() if k not in NOT_COMPARED}
        return {k: v for k, v in inside.items() if v not in ("", [], {}, None)}
    if isinstance(value, list):
        kept = [each for each in value if not (isinstance(each, dict) and each.get("key") in SERVERS_OWN_TAGS)]
        return _sorted_if_unordered([_comparable(each, names) for each in kept])
    if isinstance(value, str):
        return names.get(value, value)
    return value


def _sorted_if_unordered(values: list[Any]) -> list[Any]:
    """Tags, params and metrics of one thing are sets; runs, histories and experiments are in an order that counts."""
    if all(isinstance(v, dict) and set(v) <= {"key", "value"} for v in values):
        return sorted(values, key=lambda v: v["key"])
    if all(isinstance(v, dict) and "key" in v for v in values) and len({v["key"] for v in values}) == len(values):
        return sorted(values, key=lambda v: v["key"])
    return values


def label(step: Step) -> str:
    return f"{step[0]} {step[1]} {json.dumps(step[2])[:300]}"


if __name__ == "__main__":  # against MLflow's own server, in a process of its own
    from mlflow.server import app

    client = app.test_client()

    def to_mlflow(verb: str, path: str, fields: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        where = {"query_string": fields} if verb == "GET" else {"json": fields}
        answer = client.open(path, method=verb, **where)
        return answer.status_code, answer.get_json(force=True, silent=True) or {}

    print("ANSWER " + json.dumps(replay(to_mlflow)))

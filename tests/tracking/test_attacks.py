"""The advisories against MLflow's servers, asked of this one. Each refusal leaves no file and tells no secret."""

import http.client
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from worlds import FILES, V2, World


def raw(server: Any, world: World, verb: str, path: str, content: bytes = b"") -> httpx.Response:
    """A path sent exactly as written: httpx would tidy it."""
    where = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=30)
    connection.request(verb, path, content or None, {"authorization": f"Bearer {world.owner.token}"})
    answer = connection.getresponse()
    return httpx.Response(answer.status, content=answer.read())


LOCATIONS = [
    "file:///etc", "file:/etc/passwd", "/etc", "../../etc", "s3://bucket/../..", "http://127.0.0.1:1/x", "http:///#/../../etc",
    "ftp://x/y", "sftp://x", "hdfs://x/y", "mlflow-artifacts:/../../etc", "mlflow-artifacts:/x", "dbfs:/..%2f..", "dbfs:/etc",
    "dbfs:/databricks/mlflow-tracking/1", "dbfs:/Volumes/a/b", "dbfs:/Volumes/a/b/c/../../..", "dbfs:/Volumes/a/b/c/%2e%2e/x",
    "dbfs:/Volumes/a/b/c?x=1", "dbfs:/Volumes/a/b/c#x", "dbfs:/Volumes/a/b/c;x", "dbfs:/Volumes/a/b/c\\x", "dbfs:/Volumes/a/b/c/ x",
    "dbfs://host@other/Volumes/a/b/c", "dbfs:/Volumes/a/b/c//x", "dbfs:/Volumes/a/b/c/\0", "runs:/x", "models:/x/1",
    "dbfs:/Volumes/a/b/" + "c" * 500, "DBFS:/Volumes/a/b/c", " dbfs:/Volumes/a/b/c",
]  # fmt: skip


def test_a_location_of_the_callers_choice_is_refused(world: World) -> None:
    """CVE-2023-6909, CVE-2024-1483, -1558, -1560, -1594, -2928, -3848, -8859, GHSA-mr9f-g8qf-4w4j."""
    for location in LOCATIONS:
        answer = world.ann("POST", f"{V2}/experiments/create", name="/Shared/located", artifact_location=location)
        assert answer.status_code == 400, (location, answer.text)


def test_a_volume_that_is_not_there_and_one_not_allowed_are_refused_alike(world: World) -> None:
    answer = world.stranger(
        "POST", f"{V2}/experiments/create", name="/Shared/v", artifact_location="dbfs:/Volumes/a/b/c/d"
    )
    assert answer.status_code == 403


ESCAPES = [
    "../../../../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/%2e%2e/etc/passwd", "%252e%252e/%252e%252e/x",
    "..%5c..%5cx", "..\\..\\x", "/etc/passwd", "%2fetc%2fpasswd", "//etc/passwd", "./x", "x/../../y", "a%00b", "a%0d%0ab",
    "....//....//x", "..;/x", "%c0%ae%c0%ae/x", "a/%2e%2e/%2e%2e/%2e%2e/%2e%2e/lakewright.db", "~/x/../..",
]  # fmt: skip


def test_no_path_leads_out_of_a_runs_files(world: World, server: Any) -> None:
    """CVE-2023-1177, -2356, -2780, -6831, -6977, CVE-2026-2614: reading, writing, deleting and listing."""
    data: Path = server.platform.settings.data_dir
    before = on_disk(data)
    base = f"{FILES}/{world.experiment}/Runs/{world.run}/artifacts"
    inside = str(data / "mlflow" / world.experiment / world.run / "artifacts")
    for escape in ESCAPES:
        for verb in ("GET", "HEAD", "DELETE"):
            assert raw(server, world, verb, f"{base}/{escape}").status_code in (400, 404), (verb, escape)
        raw(server, world, "PUT", f"{base}/{escape}", b"owned")
        listed = world.ann("GET", f"{V2}/artifacts/list", run_id=world.run, path=escape)
        assert listed.status_code == 400 or "passwd" not in [f["path"] for f in listed.json()["files"]], escape
        added = [path for path in on_disk(data) - before if not path.startswith(inside)]
        assert not added, (escape, added)


def on_disk(data: Path) -> set[str]:
    """Every file near the data directory but the database's own."""
    return {
        str(path) for path in data.parent.rglob("*") if "lakewright.db" not in path.name and "spool" not in path.parts
    }


def test_a_run_of_another_name_is_no_folder_either(world: World, server: Any) -> None:
    base = f"{FILES}/{world.experiment}"
    for path in (
        "Runs/../../x", f"Runs/{world.run}/../x", "Runs", "", f"Runs/{world.model}/x", f"LoggedModels/{world.run}/x",
        f"Traces/{world.run}/x", f"runs/{world.run}/x", f"Runs/{world.run.upper()}/artifacts/a.txt",
    ):  # fmt: skip
        assert raw(server, world, "GET", f"{base}/{path}").status_code in (400, 403, 404), path
        assert raw(server, world, "PUT", f"{base}/{path}", b"x").status_code in (400, 403, 404), path


def test_a_link_among_the_files_is_not_followed(world: World, server: Any) -> None:
    folder: Path = server.platform.settings.data_dir / "mlflow" / world.experiment / world.run / "artifacts"
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "up").symlink_to("/etc")
    for path in ("link", "up/passwd"):
        assert world.ann("GET", f"{FILES}/{world.experiment}/Runs/{world.run}/artifacts/{path}").status_code == 404
    listed = world.ann("GET", f"{V2}/artifacts/list", run_id=world.run).json()["files"]
    assert [each["path"] for each in listed] == ["a.txt"]


def test_an_artifact_is_never_a_page_of_this_origin(world: World) -> None:
    """CVE-2023-6568, CVE-2026-33865."""
    where = f"{FILES}/{world.experiment}/Runs/{world.run}/artifacts/page.html"
    world.ann("PUT", where, b"<script>alert(1)</script>")
    answer = world.ann("GET", where)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "html" not in answer.headers["content-type"]


def test_files_of_a_deleted_run_cannot_be_changed(world: World) -> None:
    world.ann("POST", f"{V2}/runs/delete", run_id=world.run).raise_for_status()
    base = f"{FILES}/{world.experiment}/Runs/{world.run}/artifacts"
    assert world.ann("PUT", f"{base}/late.txt", b"x").status_code == 400
    assert world.ann("DELETE", f"{base}/a.txt").status_code == 400
    assert world.ann("GET", f"{base}/a.txt").status_code == 200


STRAYS = [
    ("POST", "/ajax-api/2.0/mlflow/runs/create"), ("GET", "/ajax-api/2.0/mlflow/experiments/search"), ("GET", "/get-artifact"),
    ("GET", "/model-versions/get-artifact"), ("POST", "/ajax-api/2.0/mlflow/upload-artifact"), ("POST", "/graphql"),
    ("POST", "/ajax-api/2.0/mlflow/gateway-proxy"), ("POST", "/v1/traces"), ("POST", "/ajax-api/3.0/jobs/search"),
    ("PUT", "/api/2.0/mlflow-artifacts/artifacts/1/evil.txt"), ("GET", "/api/2.0/mlflow-artifacts/artifacts"),
    ("POST", "/api/2.0/mlflow-artifacts/mpu/create/x"), ("GET", "/api/2.0/mlflow//runs/get"), ("GET", "/api/2.0/mlflow/runs/get/"),
    ("GET", "/api/2.0//mlflow/runs/get"), ("GET", "/API/2.0/mlflow/runs/get"), ("GET", "/api/2.0/mlflow/runs%2fget"),
    ("GET", "/api/2.0/mlflow/runs/get;x"), ("GET", "/api/3.0/mlflow/runs/get"), ("POST", "/api/2.0/mlflow/users/create"),
    ("POST", "/api/3.0/mlflow/scorers/register"), ("POST", "/api/4.0/mlflow/traces/search-long-running"),
    ("POST", "/ajax-api/3.0/mlflow/assistant/chat"), ("POST", "/api/2.0/mlflow/webhooks"), ("POST", "/signup"),
]  # fmt: skip


def test_no_other_door_of_mlflow_is_open(world: World, server: Any) -> None:
    """CVE-2025-14297, CVE-2026-0545, -2652, -33866, CVE-2023-6014, CVE-2025-52967, GHSA-qqq6-8wgv-xjqg."""
    for verb, path in STRAYS:
        answer = raw(server, world, verb, f"{path}?run_id={world.run}" if verb == "GET" else path)
        assert answer.status_code in (404, 501), (verb, path, answer.text)
        assert world.canary not in answer.text


FILTERS = [
        "params.secret = 'x' OR 1=1", "params.secret = 'x' UNION SELECT 1", "metrics.auc > 1; DROP TABLE runs", "params.`a` = 'x' --",
        "attributes.`status` = 'x' OR 'a'='a'", "attributes.artifact_uri' = 'x'", "params.a = 'x' AND (1=1)", "'a' = 'a'",
        "experiment.name = 'x'", "attributes.__class__ = 'x'", "attributes.experiment_id = '1'", "tags.a LIKE 'x' ESCAPE 'y'",
        "a" * 30_000, " AND ".join(["metrics.a > 1"] * 500), "metrics.a > 1e999999", "params.a = '\0'", "metrics.a > 99999999999999999999999",
        "start_time > 99999999999999999999999", "`" * 5000, '"' * 5001, "(" * 5000, "run_id IN (" + "'x'," * 3000 + "'x')",
    ]  # fmt: skip


def test_a_filter_is_read_as_a_filter_or_not_at_all(world: World) -> None:
    for text in FILTERS:
        for what in ("runs", "logged-models"):
            answer = world.ann("POST", f"{V2}/{what}/search", experiment_ids=[world.experiment], filter=text)
            assert answer.status_code in (200, 400), (text[:100], answer.text)
            assert answer.status_code == 400 or not answer.json().get("runs") and not answer.json().get("models"), text[
                :100
            ]
    assert world.ann("GET", f"{V2}/runs/get", run_id=world.run).status_code == 200


BODIES = [
        b'{"run_id": "%s", "key": "m", "value": NaN, "timestamp": 1}', b'{"run_id": "%s", "key": "m", "value": 1e999, "timestamp": 1}',
        b'{"run_id": "%s", "key": "m", "value": 1, "timestamp": 9223372036854775808}', b'{"run_id": "%s", "key": "m", "value": 1}',
        b'{"run_id": "%s", "key": "m", "value": "x", "timestamp": 1}', b'{"run_id": "%s", "key": "", "value": 1, "timestamp": 1}',
        b'{"run_id": "%s", "key": "a\\u0000b", "value": 1, "timestamp": 1}', b'{"run_id": ["%s"], "key": "m", "value": 1, "timestamp": 1}',
        b'{"run_id": "%s", "key": "m", "value": null, "timestamp": 1}', b'{"run_id": "%s", "key": "m", "value": 1, "timestamp": 1, "step": 1e30}',
        b'{"run_id": "%s", "key": "m", "value": 1, "timestamp": 1, "owner": "me"}', b'{"run_id": "%s", "key": "\\ud800", "value": 1, "timestamp": 1}',
    ]  # fmt: skip


def test_a_malformed_metric_is_refused_and_never_an_error_of_the_server(world: World, server: Any) -> None:
    for body in BODIES:
        answer = raw(server, world, "POST", f"{V2}/runs/log-metric", body % world.run.encode())
        assert answer.status_code in (400, 501), (body, answer.text)
    assert not world.ann("GET", f"{V2}/metrics/get-history", run_id=world.run, metric_key="m").json()["metrics"]


def test_values_are_texts_and_never_looked_up(world: World) -> None:
    """A dataset's source, a tag that holds a path: kept, shown, and opened by nobody here (CVE-2026-2614, -0520)."""
    source = "http://169.254.169.254/latest/meta-data"
    dataset = {"name": "d", "digest": "1", "source_type": "http", "source": source}
    world.ann("POST", f"{V2}/runs/log-inputs", run_id=world.run, datasets=[{"dataset": dataset}]).raise_for_status()
    world.ann(
        "POST", f"{V2}/runs/set-tag", run_id=world.run, key="mlflow.artifactLocation", value="file:///etc"
    ).raise_for_status()
    run = world.ann("GET", f"{V2}/runs/get", run_id=world.run).json()["run"]
    assert run["inputs"]["dataset_inputs"][0]["dataset"]["source"] == source
    assert run["info"]["artifact_uri"].startswith("dbfs:/databricks/mlflow-tracking/")


def test_a_nul_is_refused_wherever_it_is_put(world: World, server: Any) -> None:
    for verb, path, content in (
        ("GET", f"{V2}/runs/get?run_id=%00", b""), ("GET", f"{V2}/runs/get?run_id={world.run}&%00=x", b""),
        ("GET", f"{V2}/logged-models/m-%00", b""), ("POST", f"{V2}/runs/search", b'{"experiment_ids": ["\\u0000"]}'),
        ("POST", f"{V2}/runs/get%00", b"{}"), ("POST", f"{V2}/experiments/create", b'{"name": "/Shared/a\\u0000b"}'),
    ):  # fmt: skip
        answer = raw(server, world, verb, path, content)
        assert answer.status_code in (400, 404), (verb, path, answer.text)
    assert world.ann("GET", f"{V2}/runs/get", run_id=world.run).status_code == 200

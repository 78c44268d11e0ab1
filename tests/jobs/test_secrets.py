"""A task uses a secret and tries to leave it lying around: it is masked in all that the platform keeps of it."""

import base64
import io
from typing import Any
from urllib.parse import quote

import pytest
from databricks.sdk.service.workspace import ImportFormat

from lakewright.jobs.sources import KeptSources, Sources

from .conftest import ended, results
from .test_runs import python, start

LOOKED_UP, BY_HTTP = "CANARY/one+9f3a77", "CANARY-two-55c1d2"

TASK = """
import base64, json, os, sys, urllib.request
from lakewright.runtime.dbutils import DBUtils
dbutils = DBUtils()
host, token = os.environ["DATABRICKS_HOST"], os.environ["DATABRICKS_TOKEN"]

def call(verb, path, body=None):
    data = json.dumps(body).encode() if body is not None else None
    asked = urllib.request.Request(host + path, data, method=verb, headers={"Authorization": "Bearer " + token, "Content-Type": "application/json"})
    try:
        return json.load(urllib.request.urlopen(asked))
    except urllib.error.HTTPError as error:
        return {"status": error.code, "said": error.read().decode()}

one = dbutils.secrets.get("prod", "one")
two = base64.b64decode(call("GET", "/api/2.0/secrets/get?scope=prod&key=two")["value"]).decode()
for secret in (one, two):
    print(secret, secret[::-1], base64.b64encode(secret.encode()).decode(), secret.encode().hex(), json.dumps({"k": secret}))
    run = call("POST", "/api/2.0/mlflow/runs/create", {"experiment_id": sys.argv[1], "start_time": 1, "run_name": "named " + secret})["run"]["info"]["run_id"]
    call("POST", "/api/2.0/mlflow/runs/log-parameter", {"run_id": run, "key": "password", "value": secret})
    call("POST", "/api/2.0/mlflow/runs/log-batch", {"run_id": run, "params": [{"key": "again", "value": base64.b64encode(secret.encode()).decode()}], "tags": [{"key": "tag", "value": "is " + secret[::-1]}]})
    call("POST", "/api/2.2/jobs/runs/task-values", {"key": "value", "value": {"deep": [secret]}})
    call("GET", "/api/2.1/unity-catalog/catalogs/" + secret.replace("/", ""))
    call("POST", "/api/2.0/workspace/mkdirs", {"path": "/Users/bob/" + secret.encode().hex()})
    call("GET", "/api/2.1/unity-catalog/" + secret)
    put = call("POST", "/api/2.0/secrets/put", {"scope": "prod", "key": "copy", "string_value": secret})
    said = call("POST", "/api/2.0/sql/statements", {"warehouse_id": sys.argv[2], "statement": "SELECT length('" + secret + "') AS n", "wait_timeout": "30s"})
    print("length", said["result"]["data_array"][0][0], put)
raise ValueError("no good: " + one + " and " + two)
"""


@pytest.mark.timeout(180)
def test_a_secret_is_in_no_log_output_parameter_exception_or_record(served: Any, people: Any, settings: Any) -> None:
    served.platform.provide(KeptSources(), as_type=Sources)
    bob = people.person("bob")
    warehouse = people.admin.client.warehouses.create(name="w").result().id
    people.admin.do("PATCH", f"/api/2.0/permissions/warehouses/{warehouse}",
                    access_control_list=[{"user_name": "bob", "permission_level": "CAN_USE"}])  # fmt: skip
    client = bob.client
    client.secrets.create_scope("prod")
    client.secrets.put_secret("prod", "one", string_value=LOOKED_UP)
    client.secrets.put_secret("prod", "two", string_value=BY_HTTP)
    client.workspace.upload("/Users/bob/task.py", io.BytesIO(TASK.encode()), format=ImportFormat.RAW)
    experiment = client.experiments.create_experiment("/Users/bob/e").experiment_id
    run = ended(client, start(client, python("t", "/Users/bob/task.py", experiment, warehouse)), 120)
    output = client.jobs.get_run_output(run.tasks[0].run_id)
    assert results(run) == {"t": "FAILED"}
    assert output.error, output
    assert f"length {len(LOOKED_UP)}" in output.logs, "the engine got the secret itself: " + output.logs
    assert f"length {len(BY_HTTP)}" in output.logs
    found = client.api_client.do("POST", "/api/2.0/mlflow/runs/search", body={"experiment_ids": [experiment]})["runs"]
    assert len(found) == 2
    masked = {p["value"] for r in found for p in r["data"]["params"]}
    assert masked <= {"[REDACTED]", "[REDACTED]==", "[REDACTED]="}, masked
    copied = base64.b64decode(client.secrets.get_secret("prod", "copy").value).decode()
    assert copied == BY_HTTP, "as a secret it may be kept"

    answers = str((output.as_dict(), found, client.jobs.get_run(run.run_id).as_dict()))
    for where, text in {"answers": answers, **everything(served.platform, settings)}.items():
        for secret in (LOOKED_UP, BY_HTTP):
            for form in forms(secret):
                assert form not in text, (where, form, text[max(0, text.find(form) - 200) : text.find(form) + 50])


def forms(secret: str) -> list[str]:
    raw = secret.encode()
    return [secret, secret[::-1], base64.b64encode(raw).decode().rstrip("="), raw.hex(), quote(secret, safe="")]


def everything(platform: Any, settings: Any) -> dict[str, str]:
    """Every row of every table, and every file of the data directory but the database's own."""
    names = platform.snapshot(lambda ctx: _tables(ctx))
    found = {
        f"table {n}": platform.snapshot(
            lambda ctx, n=n: str([tuple(dict(r).values()) for r in ctx.tx.all(f'SELECT * FROM "{n}"')])
        )
        for n in names
    }
    assert len(found) > 30
    for path in settings.data_dir.rglob("*"):
        if path.is_file() and path.name != "task.py":
            found[str(path)] = path.read_bytes().decode("latin-1")
    return found


def _tables(ctx: Any) -> list[str]:
    if ctx.platform.sole:
        return [r["name"] for r in ctx.tx.all("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return [r["n"] for r in ctx.tx.all("SELECT tablename AS n FROM pg_tables WHERE schemaname = 'public'")]

"""Databases as earlier versions made them: the rows that the upgrade tests start from.

    python -m scripts.old_schemas

For every commit that changed the migrations, that commit's own code makes an installation and uses it a little
through its HTTP API; the revisions it had, the rows it left and the shape of its tables go to
tests/upgrade/schemas.json.gz. Run it once when a new migration has landed; what is in the file is kept as it is.
"""

import base64
import gzip
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
FILE = HERE / "tests/upgrade/schemas.json.gz"
VERSIONS = "src/lakewright/migrations/versions"

TOKEN = "lwa_of-an-installation-of-long-ago"
"""The administrator's in every one of them."""

USE = """
import sys
from pathlib import Path
import httpx
from pydantic import SecretStr
from lakewright import app
from lakewright.kernel.config import Settings
from lakewright.kernel.socket import Server

token = sys.argv[2]
platform = app.build(Settings(data_dir=Path(sys.argv[1]), admin_token=SecretStr(token), port=0))
server = Server(app.serve(platform), platform.settings)
url = server.start()
scim = "/api/2.0/preview/scim/v2"
used = 0
with httpx.Client(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=60) as client:
    def post(path, body, verb="POST"):
        global used
        answer = client.request(verb, path, json=body)
        used += answer.status_code < 300
        return answer.json() if answer.status_code < 300 else {}
    user = post(f"{scim}/Users", {"userName": "ada@example.com"})
    post(f"{scim}/Groups", {"displayName": "analysts", "members": [{"value": user.get("id", "")}]})
    post(f"{scim}/ServicePrincipals", {"displayName": "robot"})
    kept = post("/api/2.0/token/create", {"comment": "kept"})
    ended = post("/api/2.0/token/create", {"comment": "ended"})
    post("/api/2.0/token/delete", {"token_id": ended.get("token_info", {}).get("token_id", "")})
    post("/api/2.1/unity-catalog/catalogs", {"name": "shop"})
    post("/api/2.1/unity-catalog/schemas", {"name": "sales", "catalog_name": "shop"})
    post("/api/2.1/unity-catalog/volumes",
         {"name": "raw", "catalog_name": "shop", "schema_name": "sales", "volume_type": "MANAGED"})
    post("/api/2.1/unity-catalog/permissions/catalog/shop",
         {"changes": [{"principal": "analysts", "add": ["USE_CATALOG"]}]}, "PATCH")
    post("/api/2.0/secrets/scopes/create", {"scope": "mail"})
    post("/api/2.0/secrets/put", {"scope": "mail", "key": "password", "string_value": "s3cret"})
    experiment = post("/api/2.0/mlflow/experiments/create", {"name": "/Shared/delays"}).get("experiment_id", "")
    run = post("/api/2.0/mlflow/runs/create", {"experiment_id": experiment, "start_time": 1})
    run_id = run.get("run", {}).get("info", {}).get("run_id", "")
    post("/api/2.0/mlflow/runs/log-batch", {"run_id": run_id, "params": [{"key": "depth", "value": "3"}],
         "metrics": [{"key": "loss", "value": 0.5, "timestamp": 1, "step": 1}]})
    post("/api/2.1/unity-catalog/models", {"name": "delay", "catalog_name": "shop", "schema_name": "sales"})
    post("/api/2.2/jobs/create", {"name": "nightly", "tasks": [
         {"task_key": "t", "spark_python_task": {"python_file": "/Shared/t.py"}}]})
    post("/api/2.0/sql/warehouses", {"name": "small", "cluster_size": "2X-Small"})
    client.get("/api/2.0/nothing")
server.stop()
platform.stop()
print(used)
"""


def main() -> int:
    known = {tuple(each["applied"]): each for each in load()}
    commits = git("log", "--reverse", "--format=%H", "--", VERSIONS).split()
    made: list[dict[str, Any]] = []
    for commit in commits:
        made.append(_of(commit, known))
        print(f"{commit[:9]} {len(made[-1]['applied'])} revisions, {sum(map(len, made[-1]['rows'].values()))} rows")
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_bytes(gzip.compress(json.dumps(made, sort_keys=True).encode(), mtime=0))
    return 0


def load() -> list[dict[str, Any]]:
    """Every schema on record: `applied`, the revisions it had, and `rows` by table."""
    return json.loads(gzip.decompress(FILE.read_bytes())) if FILE.exists() else []


def value(stored: Any) -> Any:
    """A stored value as the drivers take it."""
    return base64.b64decode(stored["bytes"]) if isinstance(stored, dict) else stored


def _of(commit: str, known: dict[tuple[str, ...], dict[str, Any]]) -> dict[str, Any]:
    files = git("ls-tree", "--name-only", f"{commit}:{VERSIONS}").split()
    applied = sorted(Path(name).stem for name in files if name.endswith(".py"))
    if found := known.get(tuple(applied)):
        return found
    with tempfile.TemporaryDirectory() as directory:
        tree, data = Path(directory) / "tree", Path(directory) / "data"
        git("worktree", "add", "--detach", "--quiet", str(tree), commit)
        try:
            subprocess.run(
                [sys.executable, "-c", USE, str(data), TOKEN],
                check=True,
                env={**os.environ, "PYTHONPATH": str(tree / "src")},
            )
        finally:
            git("worktree", "remove", "--force", str(tree))
        database = data / "lakewright.db"
        key = base64.b64encode((data / "root.key").read_bytes()).decode()
        return {"commit": commit, "applied": applied, "key": key, "shape": shape(database), "rows": _rows(database)}


def shape(path: Path) -> str:
    """A digest of what a SQLite file's tables and indexes are, whatever order branches of migrations ran in."""
    with closing(sqlite3.connect(path)) as db:
        made = db.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY 1, 2"
        ).fetchall()
        found = [
            (name, sorted(column[1:] for column in db.execute(f'PRAGMA table_info("{name}")')))
            if type_ == "table"
            else (name, sql)
            for type_, name, sql in made
        ]
        return hashlib.sha256(repr(found).encode()).hexdigest()


def _rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY 1"
        names = [name for (name,) in db.execute(tables)]
        rows = {name: [dict(row) for row in db.execute(f'SELECT * FROM "{name}"')] for name in names}
    return {
        name: [{k: _jsonable(v) for k, v in row.items()} for row in found]
        for name, found in rows.items()
        if found and name not in ("lakewright_alembic", "alembic_version")
    }


def _jsonable(stored: Any) -> Any:
    return {"bytes": base64.b64encode(stored).decode()} if isinstance(stored, bytes) else stored


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=HERE, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())

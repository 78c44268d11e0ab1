"""Two databases that differ only in what a person may not see answer that person alike, word for word.

In the second world the hidden team has other names, other secrets and three times as many of everything; what exists
there under a hidden name does not exist here. A script of all reading operations, generated, and of sequences picked
by hand is played in both, as somebody with a few rights and as somebody with none. Names of hidden things and ids are
replaced by what they stand for, times by T; the rest must be equal: statuses, texts, counts, lengths, headers.
"""

import dataclasses
import json
import random
import re
import uuid
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from actors import ADMIN_TOKEN
from campaigns import hostile_world
from conformance.test_every_operation import fields_of

from lakewright.app import build, serve
from lakewright.kernel.config import Settings
from lakewright.kernel.operation import OPERATIONS
from lakewright.kernel.rules import PER_ROW, PUBLIC
from lakewright.kernel.socket import Server

READS = [
    o for o in OPERATIONS
    if o.needs is not PUBLIC and o.body == "json" and (o.verb in ("GET", "HEAD") or o.needs is PER_ROW)
]  # fmt: skip
GUARDED_WRITES = [o for o in OPERATIONS if o.verb not in ("GET", "HEAD") and o.body == "json" and o.needs is not PUBLIC]


class Telling:
    """What one world told one person, with everything replaced that may differ."""

    def __init__(self, world, who, hidden):
        self.world, self.who, self.hidden = world, who, hidden
        self.lines: list[str] = []
        self._ids: dict[str, str] = {}
        self._http = httpx.Client(base_url=world.url, headers={"authorization": f"Bearer {who.token}"}, timeout=60)

    def ask(self, label, method, path, **more):
        answer = self._http.request(method, path, **more)
        names = sorted(set(answer.headers) - {"date"})
        self.lines.append(f"{label}: {answer.status_code} {names} {self._same(answer.text)}")
        return answer

    def _same(self, text):
        text = text.replace(self.world.url, "<url>").replace(self.world.url.rpartition(":")[2], "<port>")
        for name, stands_for in sorted(self.hidden.items(), key=lambda pair: -len(pair[0])):
            text = text.replace(name, stands_for).replace(quote(name), stands_for)
        text = re.sub(r'("\w*token\w*":")([^"]{20,})(")', lambda m: f"{m[1]}token of {len(m[2])}{m[3]}", text)
        text = re.sub(r"\b[0-9a-f]{16}-[0-9a-f]{8}\b", "<request>", text)
        text = re.sub(r"\b1[678]\d{11}\b", "T", text)
        text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?", "T", text)
        text = re.sub(r"\b(lw[a-z]_)[\w-]{43}", r"\1…", text)
        ids = r"\b(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32,64}|\d{15,20}|\d{10})\b"
        return re.sub(ids, lambda m: self._ids.setdefault(m[0], f"<id {len(self._ids)}>"), text)


def play(tmp_path: Path, hidden: int, more: int):
    """Both persons' tellings in one world. In the world with `more`, what is asked for by hidden names is not there."""
    settings = Settings(data_dir=tmp_path / f"world{hidden}", admin_token=ADMIN_TOKEN, port=0)  # type: ignore[arg-type]
    platform = build(settings)
    server = Server(serve(platform), settings)
    try:
        world = hostile_world.build(platform, server.start(), 7, hidden, more)
        return [lines for name in ("rita", "stranger") for lines in told(world, name, there=not more)]
    finally:
        server.stop()
        platform.stop()


def told(world, name, there):
    who = world.people.person(name)
    other = world.teams["b"].planted if there else elsewhere(world.teams["b"].planted)
    hidden = {}
    for kind, obj in other.items():
        if obj.parent_id is not None:
            hidden |= {obj.id: f"<hidden {kind}>", obj.full_name: f"<hidden {kind}>", obj.name: f"<hidden {kind}>"}
    telling = Telling(world, who, hidden)
    for operation in READS:
        for label, planted in (("own", world.teams["a"].planted), ("hidden", other)):
            asked(telling, operation, planted, label)
    for operation in GUARDED_WRITES:
        asked(telling, operation, other, "hidden")
    by_hand(telling, other)
    yield telling.lines


def elsewhere(planted):
    """The same kinds of objects under names and ids that nobody ever had."""
    chance = random.Random(5)
    fresh = {}

    def renamed(text):
        return re.sub(r"cnryb[0-9a-f]{12}", lambda m: fresh.setdefault(m[0], f"cnryb{chance.randbytes(6).hex()}"), text)

    made = {}
    for kind, obj in planted.items():
        if obj.parent_id is None:
            made[kind] = obj
            continue
        new = (
            str(10**14 + chance.randrange(9 * 10**14))
            if obj.id.isdigit()
            else str(uuid.UUID(int=chance.getrandbits(128), version=4))
        )
        full_name = new if obj.full_name == obj.id else renamed(obj.full_name)
        made[kind] = dataclasses.replace(obj, id=new, name=renamed(obj.name), full_name=full_name)
    return made


def asked(telling, operation, planted, label):
    path, rest = operation.path, fields_of(operation, planted)
    for name, greedy in re.findall(r"{(\w+)(:rest)?}", path):
        path = path.replace(f"{{{name}{greedy}}}", quote(str(rest.pop(name, "x")), safe="/" if greedy else ""))
    more = {"params": rest} if operation.verb in ("GET", "HEAD", "DELETE") else {"json": rest}
    telling.ask(f"{label} {operation.name}", operation.verb, path, **more)


def by_hand(telling, other):
    """What is created gets ids that do not count; what is hidden is no name in SQL, no folder, no principal to grant to."""
    ask, warehouse = telling.ask, telling.world.teams["a"].planted["warehouse"].id
    table, schema, catalog = (other[k].full_name for k in ("table", "schema", "catalog"))
    for i in range(2):
        ask(
            "experiment", "POST", "/api/2.0/mlflow/experiments/create", json={"name": f"/Users/{telling.who.name}/e{i}"}
        )
        ask("token", "POST", "/api/2.0/token/create", json={"comment": "mine"})
        ask("scope", "POST", "/api/2.0/secrets/scopes/create", json={"scope": f"of-{telling.who.name}-{i}"})
        ask("job", "POST", "/api/2.2/jobs/create", json={"name": "mine", "tasks": [{"task_key": "t", "notebook_task": {"notebook_path": "/x"}}]})  # fmt: skip
    for statement in (
        f"SELECT * FROM {table}", f"SELECT count(*) FROM {table} WHERE 1 = 0", f"DESCRIBE {table}", f"SHOW TABLES IN {schema}",
        f"SHOW SCHEMAS IN {catalog}", "SHOW CATALOGS", "SELECT table_name FROM system.information_schema.tables ORDER BY 1",
        f"CREATE TABLE {table} (a INT)", f"DROP TABLE {table}", f"INSERT INTO {table} VALUES (1)", f"CREATE SCHEMA {schema}",
        f"GRANT SELECT ON TABLE {table} TO `{telling.who.name}`", f"CREATE CATALOG {catalog}", "SELECT * FROM system.access.audit",
    ):  # fmt: skip
        body = {"statement": statement, "warehouse_id": warehouse, "wait_timeout": "30s"}
        ask("sql", "POST", "/api/2.0/sql/statements", json=body)
    for path in ("/", "/Users", "/Users/otto", "/Shared", other["workspace_object"].full_name):
        ask("list", "GET", "/api/2.0/workspace/list", params={"path": path})
        ask("status", "GET", "/api/2.0/workspace/get-status", params={"path": path})
        ask("mkdirs", "POST", "/api/2.0/workspace/mkdirs", json={"path": path})
    for filter_ in ("params.x = '1'", "attributes.run_name LIKE '%'", "metrics.m > 0"):
        ask(
            "runs",
            "POST",
            "/api/2.0/mlflow/runs/search",
            json={"experiment_ids": [other["experiment"].id], "filter": filter_},
        )
    for size in (1, 2, 1000):
        for path in ("/api/2.1/unity-catalog/catalogs", "/api/2.2/jobs/list", "/api/2.0/mlflow/unity-catalog/registered-models/search"):  # fmt: skip
            name = "limit" if "jobs" in path else "max_results"
            ask("page", "GET", path, params={name: size})


@pytest.mark.timeout(300)
def test_what_a_person_may_not_see_changes_no_answer(tmp_path):
    one, other = play(tmp_path, hidden=1, more=0), play(tmp_path, hidden=2, more=2)
    differing = [
        f"{mine}\n   {theirs}" for first, second in zip(one, other, strict=True)
        for mine, theirs in zip(first, second, strict=True) if mine != theirs
    ]  # fmt: skip
    assert differing == [], "\n".join(line[:1500] for line in differing[:20])
    assert sum(map(len, one)) > 500
    assert any(": 200 " in line for line in one[0])
    assert json.dumps(one).count("<hidden ") > 100

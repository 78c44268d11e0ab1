"""A small real server that keeps the contract a task relies on: tables by Arrow, statements, secrets, task values."""

import base64
import io
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import duckdb
import pyarrow as pa
import pytest

TOKEN = "dapi-of-the-task-0123456789"


@dataclass
class Small:
    tables: dict[str, pa.Table] = field(default_factory=dict)
    secrets: dict[tuple[str, str], bytes] = field(default_factory=dict)
    values: dict[tuple[str, str], Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    scans: list[dict[str, Any]] = field(default_factory=list)
    statements: list[dict[str, Any]] = field(default_factory=list)
    busy: int = 0
    cut: bool = False
    results: dict[str, pa.Table] = field(default_factory=dict)
    url: str = ""

    def query(self, text: str, params: dict[str, Any]) -> pa.Table:
        """Each table as `catalog.schema.name` with dots as underscores: `main` is no name for a catalog in DuckDB."""
        connection = duckdb.connect()
        for name, table in self.tables.items():
            flat = name.replace(".", "_")
            connection.register("given", table)
            connection.execute(f"create table {flat} as select * from given")
            connection.unregister("given")
            text = text.replace(name, flat)
        plain = re.sub(r":(\w+)", r"$\1", text)
        relation = connection.execute(plain, params) if params else connection.sql(plain)
        return pa.table({}) if relation is None else relation.to_arrow_table()


class Fault(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code, self.message = status, code, message


class Handler(BaseHTTPRequestHandler):
    small: Small
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None: ...

    def _go(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        try:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Fault(401, "UNAUTHENTICATED", "who are you?")
            if self.small.busy:
                self.small.busy -= 1
                raise Fault(503, "TEMPORARILY_UNAVAILABLE", "busy")
            parts = urlsplit(self.path)
            answer = self._answer(self.command, parts.path, dict(parse_qsl(parts.query)), body)
            self._reply(200, answer)
        except Fault as fault:
            self._reply(fault.status, {"error_code": fault.code, "message": fault.message})

    do_GET = do_POST = do_PUT = do_DELETE = _go

    def _reply(self, status: int, answer: Any) -> None:
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.small.cut and isinstance(answer, bytes):
            data, self.close_connection = data[: len(data) // 2], True
        self.wfile.write(data)

    def _answer(self, verb: str, path: str, query: dict[str, str], body: bytes) -> Any:
        small = self.small
        if path == "/api/2.1/lakewright/scan":
            return self._scan(json.loads(body))
        if path == "/api/2.1/lakewright/write":
            table = pa.ipc.open_stream(io.BytesIO(body)).read_all()
            before = small.tables.get(query["table"])
            whole = pa.concat_tables([before, table]) if before is not None and query["mode"] == "append" else table
            small.tables[query["table"]] = whole
            return {"version": 1, "num_rows": table.num_rows}
        if found := re.fullmatch("/api/2.1/unity-catalog/tables/(.+)/exists", path):
            return {"table_exists": found[1] in small.tables}
        if path == "/api/2.0/sql/warehouses":
            return {"warehouses": [{"id": "w1"}]}
        if path == "/api/2.0/sql/statements":
            return self._statement(json.loads(body))
        if path.startswith("/results/"):
            return stream(small.results[path.rpartition("/")[2]])
        if path == "/api/2.0/secrets/get":
            try:
                return {
                    "key": query["key"],
                    "value": base64.b64encode(small.secrets[query["scope"], query["key"]]).decode(),
                }
            except KeyError:
                raise Fault(404, "RESOURCE_DOES_NOT_EXIST", "no such secret") from None
        if path == "/api/2.2/jobs/runs/task-values":
            if verb == "POST":
                ask = json.loads(body)
                small.values["me", ask["key"]] = ask["value"]
                return {}
            if (query["task_key"], query["key"]) not in small.values:
                raise Fault(404, "RESOURCE_DOES_NOT_EXIST", "no such value")
            return {"value": small.values[query["task_key"], query["key"]]}
        if path.startswith("/api/2.0/fs/"):
            return self._files(verb, unquote(path.removeprefix("/api/2.0/fs/")), body)
        raise Fault(404, "ENDPOINT_NOT_FOUND", f"{verb} {path}")

    def _scan(self, ask: dict[str, Any]) -> bytes:
        self.small.scans.append(ask)
        if ask["table"] not in self.small.tables:
            raise Fault(404, "TABLE_OR_VIEW_NOT_FOUND", f"{ask['table']} does not exist")
        rows = self.small.tables[ask["table"]]  # noqa: F841 (DuckDB reads it by name)
        columns = ", ".join(f'"{column}"' for column in ask["columns"]) if ask.get("columns") else "*"
        return stream(
            duckdb.connect().sql(f"select {columns} from rows where {ask.get('where') or 'true'}").to_arrow_table()
        )

    def _statement(self, ask: dict[str, Any]) -> Any:
        small = self.small
        small.statements.append(ask)
        params = {one["name"]: one["value"] for one in ask.get("parameters") or []}
        try:
            found = small.query(ask["statement"], params)
        except duckdb.Error as error:
            return {
                "statement_id": "s",
                "status": {"state": "FAILED", "error": {"error_code": "BAD_REQUEST", "message": str(error)}},
            }
        key = str(len(small.results))
        small.results[key] = found
        link = {"external_link": f"{small.url}/results/{key}", "chunk_index": 0}
        return {
            "statement_id": "s",
            "status": {"state": "SUCCEEDED"},
            "manifest": {},
            "result": {"external_links": [link]},
        }

    def _files(self, verb: str, path: str, body: bytes) -> Any:
        kind, _, name = path.partition("/")
        name = f"/{name}"
        if kind == "directories" and verb == "GET":
            found = [one for one in self.small.files if one.startswith(name + "/")]
            return {
                "contents": [
                    {"path": one, "name": one.rpartition("/")[2], "file_size": len(self.small.files[one])}
                    for one in found
                ]
            }
        if verb == "PUT":
            if kind == "files":
                self.small.files[name] = body
            return {}
        if name not in self.small.files and kind == "files":
            raise Fault(404, "NOT_FOUND", name)
        if verb == "DELETE":
            self.small.files.pop(name, None)
            return {}
        return self.small.files[name]


def stream(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


@pytest.fixture
def small() -> Iterator[Small]:
    small = Small()
    handler = type("HandlerOfThis", (Handler,), {"small": small})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        small.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield small
        server.shutdown()


@pytest.fixture
def platform_env(small: Small, monkeypatch: pytest.MonkeyPatch) -> Small:
    """This process as a task: host and token in the environment."""
    monkeypatch.setenv("DATABRICKS_HOST", small.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", TOKEN)
    monkeypatch.setenv(
        "LAKEWRIGHT_TASK", json.dumps({"job_id": 7, "run_id": 9, "task_key": "me", "parameters": {"year": "2013"}})
    )
    return small

"""Hostile requests against every served route, by every kind of caller: nothing leaks, nothing breaks, all is recorded.

    python -m tests.campaigns.attacks --requests 20000 [--seed 7] [--postgres]

Each request starts from a declared operation, aimed at an object of one team, and is then bent: fields swapped, added,
doubled, of the wrong type, huge, traversing, injecting; tokens of pages forged; paths respelt; headers claimed. What
must hold of each answer follows from the declaration alone, so it holds of operations that do not exist yet:

- no canary of a team the caller does not belong to, unless the request itself said it; nothing sealed at all
- no 5xx but 501
- 401 without a good credential, wherever the operation is not open to the public
- no success on a guarded operation for who holds no right on its object
- exactly one row of the trail, with the status that was answered
- nothing sealed in the trail, the events or the log
"""

import argparse
import base64
import contextlib
import http.client
import json
import logging
import random
import re
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

if __name__ == "__main__":
    sys.path.insert(0, "tests")

from campaigns.hostile_world import CANARY, Persona, Team, World, build
from conformance.test_every_operation import fields_of

from lakewright.kernel.operation import OPERATIONS, Operation
from lakewright.kernel.rules import EVERYONE, PER_ROW, PUBLIC

NOT_READY = {("queryServingEndpoint", 503)}
"""An endpoint whose model is not loaded says so: the one other 5xx that is an honest answer here."""
DESTRUCTIVE = re.compile(r"(?i)delete|revoke|remove|purge|reset|signOut|deactivate")
OPEN = (EVERYONE, PER_ROW, PUBLIC)

HUGE = "A" * 70_000
STRINGS = (
    "", " ", "..", "../../../../etc/passwd", "%2e%2e%2f", "..%252f..%252f", "/etc/passwd", "\\..\\..\\x", "file:///etc/passwd",
    "http:///#/../..", "http://169.254.169.254/latest/meta-data", "a/../../b", "./.", "~root", "/proc/self/environ",
    "' OR '1'='1", "'; DROP TABLE objects; --", "\" OR 1=1 --", "%' UNION SELECT hash FROM tokens --", "%", "_", "*", "?",
    "{0.__class__}", "{{7*7}}", "${jndi:ldap://x}", "$(id)", "`id`", "<script>alert(1)</script>", "a\r\nSet-Cookie: x=1",
    "\u202eevil", "\ufeff", "\u0000", "é" * 300, "🜁" * 100, "a" * 256, "a" * 5000, HUGE, "null", "true", "NaN", "-1", "0",
    "9" * 40, "1e400", "admin", "admins", "users", "system", "system.access.audit", "__all__", "None", "a.b.c.d.e", "...",
    "`a`.`b`", "a b", "a;b", "a,b", "[]", "{}", "userName eq \"admin\"", "name LIKE '%'", "metrics.`x` > 1 AND 1 = 1",
    "((((((((((", "a AND " * 500, "SELECT * FROM system.access.audit", "SELECT * FROM read_text('/etc/passwd')",
    "* * * * * ?", "arn:aws:iam::1:role/x", "s3://bucket/x", "dbfs:/x", "models:/x/1",
)  # fmt: skip
VALUES = (None, True, False, 0, -1, 1, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 1e308, 0.5, [], {}, [[]], [None], {"": ""},
          [{}], {"a": {"b": {"c": []}}}, ["x"] * 2000)  # fmt: skip
EXTRA = ("owner", "created_by", "run_as", "metastore_id", "is_admin", "id", "workspace_id", "creator_user_name", "roles",
         "entitlements", "permissions", "access_control_list", "storage_location", "full_name", "admin", "groups")  # fmt: skip


@dataclass
class Shot:
    """One request, and what is expected of its answer."""

    persona: Persona
    operation: Operation[Any, Any] | None
    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    bent: str = "not bent"
    aimed: bool = False
    """At an object that the caller holds nothing on, by the operation's own address."""
    status: int = 0
    answer: bytes = b""

    @property
    def said(self) -> bytes:
        return f"{self.path} {self.headers}".encode() + self.body

    def __str__(self) -> str:
        return f"{self.persona.name}: {self.method} {self.path[:300]} ({self.bent}) {self.body[:300]!r} -> {self.status} {self.answer[:300]!r}"


class Campaign:
    def __init__(self, world: World, seed: int) -> None:
        self.world, self.chance = world, random.Random(seed)
        self.wrong: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.bends: Counter[str] = Counter()
        self.reached: set[tuple[str, str]] = set()
        self._connection: http.client.HTTPConnection | None = None
        self._fired: list[Shot] = []
        self._pages: list[str] = []
        self._uttered: set[bytes] = set()

    # making requests

    def shot(self) -> Shot:
        chance, world = self.chance, self.world
        persona = chance.choice(world.personas)
        operation, team = chance.choice(OPERATIONS), world.teams[chance.choice("ab")]
        if chance.random() < 0.04:
            return self._stray(persona)
        fields = self._fields(operation, team)
        aimed = team.letter not in persona.holds and not self._on_a_root(operation)
        bend = chance.choice((None, None, *BENDS))
        mark = f"shot-{len(self._fired)}-{chance.randbytes(4).hex()}"
        headers = {"User-Agent": mark, "Authorization": persona.token} if persona.token else {"User-Agent": mark}
        if persona.holds and DESTRUCTIVE.search(operation.audit) and chance.random() < 0.9:
            bend = Campaign.missing  # else there would soon be nothing left to attack
        shot = Shot(persona, operation, operation.verb, "", headers, aimed=aimed)
        if bend is not None:
            shot.bent = bend.__name__
            shot.aimed = aimed and bend in HARMLESS
            fields = bend(self, shot, fields, team)
        self._write(shot, operation, fields)
        return shot

    def _on_a_root(self, operation: Operation[Any, Any]) -> bool:
        kind = operation.on.kind
        return kind is None or kind.under is None

    def _fields(self, operation: Operation[Any, Any], team: Team) -> dict[str, Any]:
        fields = fields_of(operation, team.planted)
        for name, info in operation.ask.model_fields.items():
            if name in team.named and self.chance.random() < 0.5:
                fields[name] = self.chance.choice(team.named[name])
            elif name in fields and fields[name] == "something" or name not in fields and self.chance.random() < 0.15:
                fields[name] = self._value(str(info.annotation), team)
        fields.pop("body", None)
        return fields

    def _value(self, annotation: str, team: Team) -> Any:
        if "int" in annotation or "float" in annotation:
            return self.chance.choice((0, 1, 2, 10, 1000))
        if "bool" in annotation:
            return self.chance.choice((True, False))
        if literal := re.findall(r"'([^']+)'", annotation):
            return self.chance.choice(literal)
        if "list" in annotation:
            return []
        if "dict" in annotation:
            return {}
        return self.chance.choice((self.chance.choice(team.texts), self.chance.choice(STRINGS[:40]), "something"))

    def _write(self, shot: Shot, operation: Operation[Any, Any], fields: dict[str, Any]) -> None:
        chance = self.chance
        path, rest = chance.choice((operation.path, *operation.also)), dict(fields)
        for name, greedy in re.findall(r"{(\w+)(:rest)?}", path):
            value = str(rest.pop(name, "x"))[:3000] or " "
            path = path.replace(f"{{{name}{greedy}}}", quote(value, safe="/" if greedy else ""))
        if shot.bent == "respelt":
            path = _respelt(path, chance)
        if operation.verb in ("GET", "DELETE", "HEAD") or operation.body == "file":
            pairs = [(k, v if isinstance(v, str) else json.dumps(v)) for k, v in rest.items() if v is not None]
            query = urlencode([(k, v[:3000]) for k, v in pairs], errors="replace")
            path += ("&" if "?" in path else "?") + query if query else ""
        if operation.body == "file":
            shot.body = chance.randbytes(64)
        elif operation.body == "form":
            shot.body = urlencode({k: v if isinstance(v, str) else json.dumps(v) for k, v in rest.items()}).encode()
        elif operation.verb not in ("GET", "HEAD", "DELETE"):
            shot.body = shot.body or json.dumps(rest, ensure_ascii=chance.random() < 0.5).encode("utf-8", "replace")
        shot.path = path

    def _stray(self, persona: Persona) -> Shot:
        path = quote(
            self.chance.choice(("/api/2.0/", "/api/9.9/", "/", "/oidc/", "/console/"))
            + self.chance.choice(STRINGS)[:200]
        )
        headers = {"User-Agent": f"stray-{self.chance.randbytes(6).hex()}", "Authorization": persona.token}
        method = self.chance.choice(("GET", "POST", "TRACE", "OPTIONS", "PROPFIND", "HEAD"))
        return Shot(persona, None, method, path, headers, bent="stray")

    # ways to bend a request

    def respelt(self, shot: Shot, fields: dict[str, Any], team: Team) -> dict[str, Any]:
        return fields

    def missing(self, shot: Shot, fields: dict[str, Any], team: Team) -> dict[str, Any]:
        """Of the right shape, and not there."""
        return {k: f"{v}x" if isinstance(v, str) and k in _addressing(shot.operation) else v for k, v in fields.items()}

    def swapped(self, shot: Shot, fields: dict[str, Any], team: Team) -> dict[str, Any]:
        """Another team's name or id in one field of a request for one's own."""
        other = self.world.teams["b" if team.letter == "a" else "a"]
        return self._one(
            fields,
            self.chance.choice((self.chance.choice(other.texts), self.chance.choice(list(other.planted.values())).id)),
        )

    def typed(self, shot: Shot, fields: dict[str, Any], team: Team) -> dict[str, Any]:
        return self._one(fields, self.chance.choice(VALUES))

    def texts(self, shot: Shot, fields: dict[str, Any], team: Team) -> dict[str, Any]:
        return self._one(fields, self.chance.choice(STRINGS))

    def assigned(self, shot: Shot, fields: dict[str, Any], team: Team) -> dict[str, Any]:
        """A field that only the platform sets (mass assignment)."""
        return {
            **fields,
            self.chance.choice(EXTRA): self.chance.choice((self.world.people.admin.id, "admin", True, {})),
        }

    def paged(self, shot: Shot, fields: dict[str, Any], team: Team) -> dict[str, Any]:
        """Somebody else's page token, or a forged one; sizes that are none."""
        token = self.chance.choice(
            (*self._pages[-20:], "AAAA", base64.urlsafe_b64encode(b"x" * 40).decode(), "%%%", HUGE[:3000])
        )
        names = [
            n for n in shot.operation.ask.model_fields if re.search("page|token|max|limit|size|count|index|offset", n)
        ]  # type: ignore[union-attr]
        name = self.chance.choice(names or ["page_token"])
        return {
            **fields,
            name: token if "token" in name else self.chance.choice((-1, 0, 2**63, 10**9, 10**30, "x", 1.5)),
        }

    def doubled(self, shot: Shot, fields: dict[str, Any], team: Team) -> dict[str, Any]:
        """A name twice in the body, the second time with another value."""
        if fields and shot.method not in ("GET", "DELETE", "HEAD"):
            name = self.chance.choice(list(fields))
            shot.body = (
                json.dumps(fields)[:-1] + f", {json.dumps(name)}: {json.dumps(self.chance.choice(VALUES))}}}"
            ).encode()
        return fields

    def garbled(self, shot: Shot, fields: dict[str, Any], team: Team) -> dict[str, Any]:
        shot.body = self.chance.choice((
            b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"a":' * 2000, b"[" * 100_000, self.chance.randbytes(200), b"a=b&a=c",
            b'{"a": NaN}', b'{"a": "\\ud800"}', b"{}" * 3, b"",
        ))  # fmt: skip
        shot.headers["Content-Type"] = self.chance.choice((
            "application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data",
            "multipart/form-data; boundary=x", "application/xml", "x" * 500, "application/json; charset=utf-7",
        ))  # fmt: skip
        return fields

    def claimed(self, shot: Shot, fields: dict[str, Any], team: Team) -> dict[str, Any]:
        shot.headers |= self.chance.choice((
            {"X-Databricks-User-Id": self.world.people.admin.id}, {"X-Forwarded-User": "admin"}, {"X-Forwarded-For": "10.0.0.1"},
            {"X-Forwarded-Host": "evil.example"}, {"X-Databricks-Workspace-Id": "1"}, {"X-Databricks-Org-Id": "0"},
            {"X-HTTP-Method-Override": "DELETE"}, {"Cookie": "lakewright_session=x"}, {"Content-Encoding": "gzip"},
            {"Range": "bytes=" + ",".join(f"{i}-{i}" for i in range(500))}, {"Range": "bytes=-1-"}, {"If-Unmodified-Since": "x" * 300},
            {"Accept": "text/html"}, {"Origin": "https://evil.example"}, {"X-Request-Id": "x" * 500}, {"Referer": "a\tb"},
        ))  # fmt: skip
        return fields

    def _one(self, fields: dict[str, Any], value: Any) -> dict[str, Any]:
        if not fields:
            return {"x": value}
        name = self.chance.choice(list(fields))
        inner = fields[name]
        if isinstance(inner, dict) and inner and self.chance.random() < 0.7:
            return {**fields, name: self._one(inner, value)}
        if isinstance(inner, list) and self.chance.random() < 0.5:
            return {**fields, name: [value]}
        return {**fields, name: value}

    # firing

    def fire(self, shot: Shot) -> None:
        for attempt in (0, 1):
            if self._connection is None:
                host, port = self.world.url.removeprefix("http://").split(":")
                self._connection = http.client.HTTPConnection(host, int(port), timeout=30)
            try:
                self._connection.putrequest(shot.method, shot.path, skip_accept_encoding=True)
                for name, value in shot.headers.items():
                    self._connection.putheader(name, value.encode("latin-1", "replace"))
                self._connection.putheader("Content-Length", str(len(shot.body)))
                self._connection.endheaders(shot.body)
                got = self._connection.getresponse()
                shot.status, shot.answer = got.status, got.read()
                break
            except TimeoutError:
                self._connection = None
                self._is_wrong("never answered", shot)
                return
            except (http.client.HTTPException, ConnectionError):
                self._connection = None
                if attempt:
                    raise
        self._fired.append(shot)
        self.statuses[shot.status] += 1
        self.bends[shot.bent] += 1
        if shot.operation is not None:
            self.reached.add((shot.operation.name, shot.persona.name))
            if (token := re.search(rb'"next_page_token":"([^"]+)"', shot.answer)) is not None:
                self._pages.append(token.group(1).decode())
        self._judge(shot)

    def _judge(self, shot: Shot) -> None:
        operation, status = shot.operation, shot.status
        said = {m.group() for m in CANARY.finditer(shot.said)}
        if 200 <= status < 300 and shot.persona.holds:
            self._uttered |= said  # what somebody wrote into their own object is theirs to show
        for found in CANARY.finditer(shot.answer):
            if found.group(1).decode() not in shot.persona.sees and found.group() not in said | self._uttered:
                self._is_wrong("leaked", shot)
                break
        told = operation is not None and operation.audit == "getSecret" and shot.persona.sees
        if not told and any(sealed in shot.answer and sealed not in shot.said for sealed in self.world.sealed):
            self._is_wrong("a secret leaked", shot)
        if status >= 500 and status != 501 and (operation is None or (operation.audit, status) not in NOT_READY):
            self._is_wrong("broke", shot)
        if operation is None or shot.bent == "respelt":
            return
        if not shot.persona.known and operation.needs is not PUBLIC and status != 401:
            self._is_wrong("was let in", shot)
        if shot.aimed and operation.needs not in OPEN and 200 <= status < 300:
            self._is_wrong("succeeded without a right", shot)

    def reckon(self) -> None:
        """The trail of what was fired since the last time, then the whole trail, the events and the log."""
        fired, self._fired = self._fired, []
        rows: dict[str, list[Any]] = {}

        def read(ctx: Any) -> None:
            for row in ctx.tx.all(
                "SELECT user_agent, request_id, status, action FROM audit WHERE user_agent LIKE 's%-%'"
            ):
                rows.setdefault(row["user_agent"], []).append(row)
            for sealed in self.world.sealed:
                text = f"%{sealed.decode()}%"
                for table, column in (
                    ("audit", "ask"),
                    ("audit", "error"),
                    ("audit", "address"),
                    ("events", "payload"),
                ):
                    if ctx.tx.scalar(f"SELECT COUNT(*) FROM {table} WHERE {column} LIKE ?", text):
                        self.wrong.append(f"{table}.{column} holds a secret")

        self.world.platform.snapshot(read)
        for shot in fired:
            if shot.operation is None and (shot.path == "/" or shot.path.startswith("/console")):
                continue  # pages, not operations: what they ask is on record
            recorded = rows.get(shot.headers["User-Agent"], [])
            own = [
                r
                for r in recorded
                if shot.operation is None or shot.bent == "respelt" or r["action"] == shot.operation.audit
            ]
            if len(own) != 1 or own[0]["status"] != shot.status:
                self._is_wrong(f"is recorded as {[(r['action'], r['status']) for r in recorded]}", shot)

    def _is_wrong(self, what: str, shot: Shot) -> None:
        self.wrong.append(f"{what}: {shot}")


HARMLESS = (Campaign.claimed, Campaign.assigned, Campaign.paged)
"""Bends that leave the request aimed at the same object."""
BENDS = (
    Campaign.missing, Campaign.swapped, Campaign.typed, Campaign.texts, Campaign.texts, Campaign.assigned, Campaign.paged,
    Campaign.doubled, Campaign.garbled, Campaign.claimed, Campaign.respelt,
)  # fmt: skip


def _addressing(operation: Operation[Any, Any] | None) -> set[str]:
    return set(re.findall(r"{([\w.]+)}", f"{operation.on.address} {operation.path}")) if operation else set()


def _respelt(path: str, chance: random.Random) -> str:
    return chance.choice((
        path + "/", "/" + path, path.replace("/", "//", 2), path.upper(), path.replace("/api/2.1/", "/api/2.0/"),
        path.replace("/api/2.0/", "/api/2.1/"), path.replace("/api/2.0/", "/api/3.0/"), path.replace("/api/", "/ajax-api/"),
        path + ";x=y", path + "%00", path + "%2f..", path.replace("/api/", "/api/./"), path.replace("/api/", "/x/../api/"),
        path.replace("/api", "/%61pi"), path + ".json", path + "%23", path + "?", path.replace("-", "%2d"),
    ))  # fmt: skip


class Log(logging.Handler):
    """Everything that anybody logs, formatted with its traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def run(world: World, requests: int, seed: int, *, progress: bool = False) -> Campaign:
    campaign, log = Campaign(world, seed), Log()
    logging.getLogger().addHandler(log)
    try:
        for fired in range(1, requests + 1):
            campaign.fire(campaign.shot())
            if fired % 1000 == 0 or fired == requests:
                campaign.reckon()
                if progress:
                    print(f"{fired} fired, {len(campaign.wrong)} wrong", file=sys.stderr, flush=True)
    finally:
        logging.getLogger().removeHandler(log)
    for line in log.lines:
        if any(sealed.decode() in line for sealed in world.sealed):
            campaign.wrong.append(f"logged a secret: {line[:300]}")
    return campaign


def _database(postgres: bool) -> contextlib.AbstractContextManager[str]:
    from postgres import server  # tests/postgres.py

    return server() if postgres else contextlib.nullcontext("")


STATEMENTS = (
    "SHOW CATALOGS", "SELECT * FROM system.information_schema.catalogs", "SELECT * FROM system.information_schema.schemata",
    "SELECT * FROM system.information_schema.tables", "SELECT * FROM system.information_schema.columns",
    "SELECT * FROM system.information_schema.views", "SELECT * FROM system.information_schema.routines",
    "SELECT * FROM system.information_schema.volumes", "SELECT * FROM system.information_schema.table_privileges",
    "SELECT * FROM system.query.history", "SELECT * FROM system.access.audit",
)  # fmt: skip


def sweep(world: World) -> Campaign:
    """Every operation that reads, straight, by everybody who may not see all, aimed at both teams; and SQL's own lists."""
    campaign = Campaign(world, 0)
    some = [p for p in world.personas if p.known and p.name != "administrator"]
    reading = [o for o in OPERATIONS if o.body == "json" and (o.verb == "GET" or o.needs is PER_ROW)]
    for persona in some:
        headers = {"Authorization": persona.token}
        for i, (operation, letter) in enumerate((o, letter) for o in reading for letter in "ab"):
            team = world.teams[letter]
            shot = Shot(persona, operation, operation.verb, "", {**headers, "User-Agent": f"sweep-{persona.name}-{i}"})
            campaign._write(shot, operation, fields_of(operation, team.planted))
            campaign.fire(shot)
        execute = next(o for o in OPERATIONS if o.audit == "executeStatement")
        for statement in STATEMENTS:
            mark = {**headers, "User-Agent": f"sweep-{persona.name}-{statement[-20:]}"}
            shot = Shot(persona, execute, execute.verb, execute.path, mark)
            warehouse = world.teams[min(persona.holds or "a")].planted["warehouse"].id
            shot.body = json.dumps({"statement": statement, "warehouse_id": warehouse, "wait_timeout": "30s"}).encode()
            campaign.fire(shot)
    campaign.reckon()
    return campaign


def main() -> int:
    from actors import ADMIN_TOKEN

    from lakewright.app import build as platform_of
    from lakewright.app import serve
    from lakewright.kernel.config import Settings
    from lakewright.kernel.socket import Server

    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    parser.add_argument("--postgres", action="store_true", help="on a Postgres server of its own")
    parser.add_argument("--show", type=int, default=40, help="how many of the wrong are printed")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder, _database(arguments.postgres) as url:
        settings = Settings(data_dir=Path(folder) / "data", database_url=url, admin_token=ADMIN_TOKEN, port=0)  # type: ignore[arg-type]
        platform = platform_of(settings)
        server = Server(serve(platform), settings)
        world = build(platform, server.start(), arguments.seed)
        started = time.monotonic()
        campaign = run(world, arguments.requests, arguments.seed, progress=True)
        seconds = time.monotonic() - started
        server.stop()
        platform.stop()
    for wrong in campaign.wrong[: arguments.show]:
        print(wrong, file=sys.stderr)
    print(json.dumps({
        "campaign": "attacks", "seed": arguments.seed, "requests": sum(campaign.statuses.values()), "seconds": round(seconds, 1),
        "operations": len({name for name, _ in campaign.reached}), "pairs": len(campaign.reached), "wrong": len(campaign.wrong),
        "statuses": dict(sorted(campaign.statuses.items())), "bends": dict(campaign.bends),
    }))  # fmt: skip
    return 1 if campaign.wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""A world of two teams whose every protected value carries a canary, and the people who may or may not see them.

A canary says by its fifth letter whose it is: `cnrya…` is team A's, `cnryc…` for who may only use
its catalog and `cnryd…` for who may see more than the schema it lies in, `cnryb…` is team B's, and `cnrys…` is sealed: a secret, which no answer, log, event or audit row may
hold. Every kind of object is there once for each team, present and future
kinds alike, besides the real things (rows, files, runs, secrets) that only the operations can make.
"""

import base64
import random
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote

import httpx
from actors import People, Person
from conformance.test_every_operation import KINDS_ONCE
from pydantic import BaseModel

from lakewright.kernel import grants, objects
from lakewright.kernel.objects import Obj
from lakewright.kernel.platform import Platform

CANARY = re.compile(rb"cnry([abcds])[0-9a-f]{12}")
TEXTS = ("comment", "description", "text", "note")
READING = ("USE_CATALOG", "USE_SCHEMA", "SELECT", "READ_VOLUME", "EXECUTE", "BROWSE")
EDITING = (*READING, "MODIFY", "WRITE_VOLUME", "CREATE_TABLE", "CREATE_VOLUME", "CREATE_FUNCTION", "CREATE_MODEL",
           "CREATE_SCHEMA", "CREATE_MODEL_VERSION")  # fmt: skip


@dataclass
class Persona:
    """Somebody who asks, with which credential, and whose canaries they may see."""

    name: str
    token: str
    sees: frozenset[str] = frozenset()
    known: bool = True
    """Whether the credential is good."""
    holds: frozenset[str] = frozenset()
    """Teams on whose objects they hold any right at all."""


@dataclass
class Team:
    letter: str
    owner: Person
    planted: dict[str, Obj[Any]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    """Names, paths and values worth putting where they do not belong."""
    named: dict[str, list[Any]] = field(default_factory=dict)
    """What fields of these names hold when a request is meant well: the team's real things."""


@dataclass
class World:
    platform: Platform
    url: str
    people: People
    chances: dict[str, random.Random]
    teams: dict[str, Team] = field(default_factory=dict)
    personas: list[Persona] = field(default_factory=list)
    sealed: list[bytes] = field(default_factory=list)
    """What may be nowhere, in any writing."""

    @cached_property
    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60)

    def canary(self, letter: str) -> str:
        return f"cnry{letter}{self.chances[letter].randbytes(6).hex()}"

    def ask(self, who: Person, verb: str, where_: str, content_: bytes | None = None, **body: Any) -> Any:
        """A call that must work: this is how the world is made."""
        where: dict[str, Any] = {"params": body} if verb in ("GET", "DELETE") else {"json": body}
        if content_ is not None:
            where = {"content": content_}
        answer = self.http.request(verb, where_, headers={"authorization": f"Bearer {who.token}"}, **where)
        assert answer.status_code < 300, (verb, where_, answer.text)
        return answer.json() if answer.content else {}


def build(platform: Platform, url: str, seed: int, hidden: int | None = None, more: int = 0) -> World:
    """The same `seed`, the same world. Team B's share is drawn from `hidden`, and is `more` than team A's."""
    people = People(platform, url)
    seeds = {
        "a": f"{seed}a",
        "c": f"{seed}c",
        "d": f"{seed}d",
        "s": f"{seed}s{hidden}",
        "b": f"{hidden if hidden is not None else seed}b",
    }
    world = World(platform, url, people, {letter: random.Random(each) for letter, each in seeds.items()})
    olga, otto = people.person("olga", ["team-a"]), people.person("otto", ["team-b"])
    reader, editor = people.person("rita", ["a-readers"]), people.person("edda", ["a-editors"])
    machine, stranger = people.service_principal("machine"), people.person("stranger")
    gone, visitor = people.person("gone", ["team-a"]), people.person("vito", ["a-visitors"])
    guest = people.person("gus", ["a-guests"])
    for letter, owner in (("a", olga), ("b", otto)):
        world.teams[letter] = team = Team(letter, owner)
        members = {
            "user": people.person(f"member-{world.canary(letter)}").id, "group": people.group(world.canary(letter)),
            "servicePrincipal": people.service_principal(world.canary(letter)).id,
        }  # fmt: skip
        platform.transact(lambda ctx, team=team, members=members: _plant(ctx, world, team, members))
        for _ in range(1 + (more if letter == "b" else 0)):
            _real_things(world, team)
    readers, editors = people.group("a-readers"), people.group("a-editors")
    visitors, guests = people.group("a-visitors"), people.group("a-guests")
    platform.transact(lambda ctx: _share(ctx, world.teams["a"], readers, editors, visitors, guests))
    world.ask(
        people.admin, "PATCH", f"/api/2.0/preview/scim/v2/Users/{gone.id}",
        Operations=[{"op": "replace", "path": "active", "value": False}],
    )  # fmt: skip
    a, b, all_ = frozenset("acd"), frozenset("b"), frozenset("abcd")
    world.personas = [
        Persona("nobody", "", known=False),
        Persona("nonsense", "Bearer lwp_" + "x" * 43, known=False),
        Persona("deactivated", f"Bearer {gone.token}", known=False),
        Persona("stranger", f"Bearer {stranger.token}"),
        Persona("machine", f"Bearer {machine.token}"),
        Persona("other team", f"Bearer {otto.token}", b, holds=b),
        Persona("guest", f"Bearer {guest.token}", frozenset("c"), holds=frozenset("a")),
        Persona("visitor", f"Bearer {visitor.token}", frozenset("ac"), holds=frozenset("a")),
        Persona("reader", f"Bearer {reader.token}", a, holds=a),
        Persona("editor", f"Bearer {editor.token}", a, holds=a),
        Persona("owner", f"Bearer {olga.token}", a, holds=a),
        Persona("administrator", f"Bearer {people.admin.token}", all_, holds=all_),
    ]
    world.sealed += [
        p.token.encode() for p in (olga, otto, reader, editor, machine, stranger, gone, visitor, guest, people.admin)
    ]
    return world


def _plant(ctx: Any, world: World, team: Team, people: dict[str, str]) -> None:
    for kind in KINDS_ONCE:
        if kind.under is None:
            team.planted[kind.name] = objects.find(ctx, kind, "")
            continue
        if kind.name in people:  # principals are more than their objects
            team.planted[kind.name] = objects.by_id(ctx, kind, people[kind.name])
            continue
        inside = any(above.name == "schema" for above in kind.lineage()[1:])
        letter = team.letter
        if letter == "a" and (inside or kind.name == "catalog"):
            letter = "d" if inside else "c"
        spec = _with_canaries(kind.example, lambda letter=letter: world.canary(letter))
        made = objects.create(
            ctx, kind, world.canary(letter), spec, under=team.planted[kind.under.name], owner=team.owner.id
        )
        team.planted[kind.name] = made
        team.texts.append(made.full_name)


def _with_canaries(spec: Any, canary: Any) -> Any:
    """The same with a canary in every text that people write for each other."""
    changes = {}
    for name, info in type(spec).model_fields.items():
        value = getattr(spec, name)
        if name in TEXTS and "str" in str(info.annotation):
            changes[name] = canary()
        elif isinstance(value, BaseModel):
            changes[name] = _with_canaries(value, canary)
    return spec.model_copy(update=changes)


def _share(ctx: Any, team: Team, readers: str, editors: str, visitors: str, guests: str) -> None:
    for kind in KINDS_ONCE:
        obj = team.planted[kind.name]
        if (
            kind.under is None
            or kind.name in ("user", "group", "servicePrincipal")
            or (kind.under.under is not None and not kind.uses_levels)
        ):
            continue
        if kind.uses_levels:
            levels = list(kind.rights)
            grants.change(ctx, obj, readers, add=levels[:1])
            grants.change(ctx, obj, editors, add=levels[-2:-1] or levels[:1])
        else:
            may = kind.grantable()
            grants.change(ctx, obj, readers, add=[r for r in READING if r in may])
            grants.change(ctx, obj, visitors, add=[r for r in ("USE_CATALOG", "USE_SCHEMA") if r in may])
            grants.change(ctx, obj, guests, add=[r for r in ("USE_CATALOG",) if r in may])
            grants.change(ctx, obj, editors, add=[r for r in EDITING if r in may])


def _real_things(world: World, team: Team) -> None:
    """What has content beside its object: rows, files, secrets, notebooks, runs, jobs, tokens."""
    letter, owner, admin, ask = team.letter, team.owner, world.people.admin, world.ask
    canary = lambda: world.canary(letter)
    catalog, home = f"lake_{canary()}", f"/Users/{owner.name}"
    ask(admin, "POST", "/api/2.1/unity-catalog/catalogs", name=catalog, comment=canary())
    ask(admin, "PATCH", f"/api/2.1/unity-catalog/catalogs/{catalog}", owner=owner.name)
    ask(owner, "POST", "/api/2.1/unity-catalog/schemas", name="s", catalog_name=catalog, comment=canary())
    place = {"catalog_name": catalog, "schema_name": "s"}
    ask(owner, "POST", "/api/2.1/unity-catalog/volumes", name="v", volume_type="MANAGED", comment=canary(), **place)
    file = f"/Volumes/{catalog}/s/v/{canary()}.txt"
    ask(owner, "PUT", f"/api/2.0/fs/files{file}", content_=canary().encode())
    model, table = canary(), f"{catalog}.s.{canary()}"
    ask(owner, "POST", "/api/2.1/unity-catalog/models", name=model, comment=canary(), **place)
    _table(world, team, table)
    for statement in (f"SELECT '{canary()}'", f"CREATE VIEW {catalog}.s.{canary()} AS SELECT '{canary()}' AS x"):
        said = {"statement": statement, "warehouse_id": team.planted["warehouse"].id, "wait_timeout": "30s"}
        assert ask(owner, "POST", "/api/2.0/sql/statements", **said)["status"]["state"] == "SUCCEEDED"
    scope, key = canary(), canary()
    ask(owner, "POST", "/api/2.0/secrets/scopes/create", scope=scope)
    secret = world.canary("s")
    ask(owner, "POST", "/api/2.0/secrets/put", scope=scope, key=key, string_value=secret)
    world.sealed += [secret.encode(), base64.b64encode(secret.encode()), quote(secret[::-1]).encode()]
    ask(owner, "POST", "/api/2.0/workspace/mkdirs", path=home)
    text = base64.b64encode(f"# {canary()}".encode()).decode()
    notebook = f"{home}/{canary()}"
    ask(owner, "POST", "/api/2.0/workspace/import", path=notebook, content=text, language="PYTHON")
    made = ask(owner, "POST", "/api/2.0/mlflow/experiments/create", name=f"{home}/{canary()}")
    experiment = made["experiment_id"]
    run = ask(owner, "POST", "/api/2.0/mlflow/runs/create", experiment_id=experiment, run_name=canary(), start_time=1)
    run_id = run["run"]["info"]["run_id"]
    tags = [{"key": canary(), "value": canary()}]
    ask(owner, "POST", "/api/2.0/mlflow/runs/log-batch", run_id=run_id, params=tags, tags=tags,
        metrics=[{"key": canary(), "value": 1.0, "timestamp": 1, "step": 1}])  # fmt: skip
    task = {"task_key": "t", "notebook_task": {"notebook_path": notebook}}
    job = ask(
        owner,
        "POST",
        "/api/2.2/jobs/create",
        name=canary(),
        tasks=[task],
        parameters=[{"name": "p", "default": canary()}],
    )
    ask(owner, "POST", "/api/2.0/token/create", comment=canary())
    team.named |= {
        "run_id": [run_id], "run_uuid": [run_id], "experiment_id": [experiment], "experiment_ids": [[experiment]],
        "path": [home, notebook, file.removeprefix("/"), file, file.rpartition("/")[0]], "scope": [scope], "key": [key],
        "statement": [f"SELECT * FROM {table}", f"SHOW TABLES IN {catalog}.s", "SELECT * FROM system.information_schema.tables"],
        "table": [table], "full_name": [catalog, f"{catalog}.s", table, f"{catalog}.s.v", f"{catalog}.s.{model}"],
        "name": [f"{catalog}.s.{model}", f"{catalog}.s.v", catalog], "job_id": [int(job["job_id"])], "catalog_name": [catalog],
        "schema_name": ["s"], "table_name": [table], "securable_type": ["table", "catalog", "schema", "volume"],
        "object_type": ["jobs", "experiments", "directories", "notebooks"], "model": [f"{catalog}.s.{model}"],
        "filter": ["", f"name = '{model}'", 'userName eq "olga"'], "format": ["SOURCE"], "warehouse_id": [team.planted["warehouse"].id],
        "principal": ["olga", "otto", "admin"], "wait_timeout": ["5s"],
    }  # fmt: skip
    team.texts += [
        catalog,
        f"{catalog}.s",
        f"{catalog}.s.v",
        f"/Volumes/{catalog}/s/v",
        scope,
        home,
        experiment,
        run_id,
    ]


def _table(world: World, team: Team, name: str) -> None:
    import pyarrow as pa

    rows = pa.table({"who": [world.canary(team.letter) for _ in range(5)], "n": list(range(5))})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    world.ask(team.owner, "POST", f"/api/2.1/lakewright/write?table={name}", content_=sink.getvalue().to_pybytes())
    team.texts.append(name)

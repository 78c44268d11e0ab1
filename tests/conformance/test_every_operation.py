"""What must hold of every operation, present and future."""

import re
from string import Formatter
from uuid import uuid4

import httpx
import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import lakewright.app  # noqa: F401 (declares the operations)
from lakewright.kernel import objects
from lakewright.kernel.hosts import account_in
from lakewright.kernel.kinds import KINDS
from lakewright.kernel.operation import OPERATIONS
from lakewright.kernel.rules import EVERYONE, PER_ROW, PUBLIC, Rule

KINDS_ONCE = sorted(set(KINDS.values()), key=lambda k: len(k.lineage()))
GUARDED = [o for o in OPERATIONS if o.needs not in (EVERYONE, PER_ROW, PUBLIC)]
LISTS = [o for o in OPERATIONS if o.needs is PER_ROW and account_in(o.path) is None]
"""Those of a workspace: the account's need a token for the account, which no stranger has."""


def called(operation):
    return f"{operation.verb} {operation.path}"


@pytest.fixture
def planted(platform):
    """One example of every kind, each under an example of the kind above it, all of the administrators."""
    made = {}

    def plant(ctx):
        for kind in KINDS_ONCE:
            if kind.under is None:
                made[kind.name] = objects.find(ctx, kind, "")
                continue
            under = made[kind.under.name]
            made[kind.name] = objects.create(ctx, kind, f"a{kind.name}", kind.example, under=under, owner="admins")

    platform.transact(plant)
    return made


def fields_of(operation, planted):
    """Values for the fields that name the object, and something of the right type for the other required ones."""
    kind = operation.on.kind or KINDS["table" if "table" in KINDS else "user"]
    target = planted[kind.name]
    names = [n for _, n, _, _ in Formatter().parse(operation.on.address) if n]
    if not names:
        parts = []
    elif operation.on.is_id or kind.under is None:
        parts = [target.id]
    else:
        parts = (
            target.full_name.split(kind.separator, len(names) - 1)
            if len(names) > 1
            else [operation.on.written(target.full_name)]
        )
    values = dict(zip(names, parts, strict=True))
    for name in re.findall(r"{(\w+)}", operation.on.kind_named):
        values[name] = kind.name
    if "account_id" in operation.ask.model_fields:
        values["account_id"] = planted["account"].id
    for name, info in operation.ask.model_fields.items():
        if info.is_required() and name not in values:
            values[name] = something(info.annotation)
    for dotted in [name for name in values if "." in name]:
        outer, inner = dotted.split(".")
        if isinstance(values[outer], str):  # a name whose front part is the object: {name.schema}
            values[outer] = f"{values.pop(dotted)}.something"
        else:
            values[outer][inner] = values.pop(dotted)
    return values


def something(annotation):
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {
            n: something(i.annotation) for n, i in annotation.model_fields.items() if i.default is PydanticUndefined
        }
    text = str(annotation)
    if text.startswith(("list", "typing.List")):
        return []
    if text.startswith("dict"):
        return {}
    literal = re.search(r"Literal\['([^']+)'", text)
    if literal:
        return literal.group(1)
    return 1 if "int" in text or "float" in text else "something"


@pytest.mark.parametrize("operation", OPERATIONS, ids=called)
def test_every_operation_says_what_it_needs_and_how_it_is_recorded(operation):
    assert isinstance(operation.needs, Rule)
    assert operation.audit
    assert operation.service


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.needs in (EVERYONE, PUBLIC)], ids=called)
def test_an_open_operation_says_why(operation):
    assert len(operation.doc) > 20, "open without a right to hold: its docstring must say why"


def test_no_two_operations_share_a_name():
    names = [o.name for o in OPERATIONS]
    assert sorted(names) == sorted(set(names))


def test_a_stranger_is_refused_everywhere_and_each_refusal_is_recorded_once(server, people, planted):
    """One stranger, every guarded operation, over the socket; then the trail is read."""
    stranger = people.person("stranger")
    wrong = []
    for operation in GUARDED:
        path, rest = operation.path, fields_of(operation, planted)
        for name in re.findall(r"{(\w+)(?::rest)?}", path):
            path = re.sub(rf"{{{name}(:rest)?}}", str(rest.pop(name, "x")), path)
        mark = uuid4().hex
        where = (
            {"params": rest}
            if operation.verb in ("GET", "DELETE", "HEAD") or operation.body == "file"
            else {"json": rest}
        )
        if operation.body == "form":
            where = {"data": rest}
        answer = httpx.request(
            operation.verb,
            server.url + path,
            timeout=30,
            **where,
            headers={"authorization": f"Bearer {stranger.token}", "user-agent": mark},
        )
        rows = server.platform.snapshot(
            lambda ctx, mark=mark: ctx.tx.all("SELECT action, status, who_name FROM audit WHERE user_agent = ?", mark)
        )
        seen = [(r["action"], r["status"], r["who_name"]) for r in rows]
        if answer.status_code != 403 or seen != [(operation.audit, 403, "stranger")]:
            wrong.append(f"{called(operation)}: {answer.status_code} {answer.text[:200]} {seen}")
    assert not wrong, "\n".join(wrong)


def test_nobody_gets_in_without_a_token(server):
    wrong = []
    for operation in OPERATIONS:
        if operation.needs is PUBLIC:
            continue
        path = re.sub(r"{\w+(:rest)?}", "x", operation.path)
        for headers in ({}, {"authorization": "Bearer nonsense"}):
            answer = httpx.request(operation.verb, server.url + path, headers=headers, timeout=30)
            if answer.status_code != 401:
                wrong.append(f"{called(operation)} {headers}: {answer.status_code} {answer.text[:100]}")
    assert not wrong, "\n".join(wrong)


def test_a_strangers_lists_are_empty(server, people, planted):
    stranger = people.person("stranger")
    wrong = []
    for operation in LISTS:
        rest = fields_of(operation, planted)
        path = operation.path
        for name in re.findall(r"{(\w+)}", path):
            path = path.replace(f"{{{name}}}", str(rest.pop(name)))
        where = {"params": rest} if operation.verb == "GET" else {"json": rest}
        answer = httpx.request(
            operation.verb,
            server.url + path,
            headers={"authorization": f"Bearer {stranger.token}"},
            timeout=30,
            **where,
        )
        shown = [v for v in answer.json().values() if isinstance(v, list) and v and not isinstance(v[0], str)]
        if answer.status_code != 200 or shown:
            wrong.append(f"{called(operation)}: {answer.status_code} {answer.text[:200]}")
    assert not wrong, "\n".join(wrong)


def test_an_unknown_route_is_404_and_one_of_the_sdk_501_and_both_are_recorded(server, people):
    bearer = {"authorization": f"Bearer {people.admin.token}"}
    unknown = httpx.get(f"{server.url}/api/9.9/nothing", headers=bearer)
    assert (unknown.status_code, unknown.json()["error_code"]) == (404, "ENDPOINT_NOT_FOUND")
    unbuilt = httpx.get(f"{server.url}/api/2.0/clean-rooms", headers=bearer)
    if unbuilt.status_code == 501:
        assert "is not built yet" in unbuilt.json()["message"]
    rows = server.platform.snapshot(lambda ctx: ctx.tx.all("SELECT address FROM audit WHERE service = 'http'"))
    assert [r["address"] for r in rows] == ["/api/9.9/nothing", "/api/2.0/clean-rooms"]

"""The OpenAPI document says what is served, and no more."""

import re

import httpx
import schemathesis
from campaigns import schemas
from typer.testing import CliRunner

from lakewright.cli.main import app
from lakewright.kernel import openapi
from lakewright.kernel.answers import Json
from lakewright.kernel.context import Ctx
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import OPERATIONS, Api, Ask, Nothing, Reply
from lakewright.kernel.roots import IN_ACCOUNT, Root
from lakewright.kernel.routes import Routes
from lakewright.kernel.rules import EVERYONE, PUBLIC

DOCUMENT = openapi.document()


def shown(operation):
    """Each route of an operation in the document, with its path there."""
    start = operation.name
    return [
        (path, verb, item) for path, of_path in DOCUMENT["paths"].items() for verb, item in of_path.items()
        if item["operationId"] == start or re.fullmatch(re.escape(start) + r"\.\d+", item["operationId"])
    ]  # fmt: skip


def test_it_is_a_valid_document_and_every_operation_in_it_can_be_read():
    read = schemathesis.openapi.from_dict(DOCUMENT)
    read.validate()
    assert len([each.ok() for each in read.get_all_operations()]) == sum(len(o.routes) for o in OPERATIONS)


def test_every_path_of_the_document_reaches_the_operation_that_it_is_said_to():
    routes = Routes((o, o.routes) for o in OPERATIONS)
    for operation in OPERATIONS:
        for path, verb, _ in shown(operation):
            found = routes.match(verb.upper(), re.sub(r"{\w+}", "x", path))
            assert found is not None, path
            assert found[0].name == operation.name
        assert len(shown(operation)) == len(operation.routes)


def test_each_path_parameter_is_declared_and_no_operation_id_is_there_twice():
    ids = [item["operationId"] for of_path in DOCUMENT["paths"].values() for item in of_path.values()]
    assert len(ids) == len(set(ids))
    for path, of_path in DOCUMENT["paths"].items():
        for item in of_path.values():
            declared = [p["name"] for p in item.get("parameters", ()) if p["in"] == "path"]
            assert declared == re.findall(r"{(\w+)}", path), path


def test_no_credential_is_asked_for_exactly_where_the_server_asks_for_none():
    for operation in OPERATIONS:
        for path, _, item in shown(operation):
            assert (item.get("security") == []) == (operation.needs is PUBLIC), path


def test_fields_are_where_a_client_puts_them():
    class Change(Ask):
        name: str
        count: int = 1
        note: str | None = None

    class Found(Ask):
        path: str
        state: str | None = None

    api = Api("things", "/api/9.9/things")
    before = len(OPERATIONS)

    @api("PATCH", "/{name}", audit="change", on=IN_ACCOUNT, needs=EVERYONE, also=("/api/9.8/things/{name}",))
    def change(ctx: Ctx, root: Obj[Root], ask: Change) -> Reply:
        """Changes it.

        And says so."""
        return {}

    @api("GET", "/{path:rest}", audit="find", on=IN_ACCOUNT, needs=EVERYONE)
    def find(ctx: Ctx, root: Obj[Root], ask: Found) -> Json:
        return Json({})

    @api("DELETE", audit="forget", on=IN_ACCOUNT, needs=PUBLIC)
    def forget(ctx: Ctx, root: Obj[Root], ask: Nothing) -> Reply:
        return {}

    del OPERATIONS[before:]
    told = openapi.document([change, find, forget])
    assert list(told["paths"]) == ["/api/9.9/things/{name}", "/api/9.8/things/{name}", "/api/9.9/things"]
    patched = told["paths"]["/api/9.9/things/{name}"]["patch"]
    assert (patched["summary"], patched["description"]) == ("Changes it.", "And says so.")
    body = patched["requestBody"]["content"]["application/json"]["schema"]
    assert (sorted(body["properties"]), body["additionalProperties"], body["required"]) == (
        ["count", "note"],
        False,
        [],
    )
    assert body["properties"]["count"]["maximum"] == 2**63 - 1
    assert [p["name"] for p in patched["parameters"]] == ["name"]
    got = told["paths"]["/api/9.9/things/{name}"]["get"]
    assert [(p["name"], p["in"], p["required"]) for p in got["parameters"]] == [
        ("name", "path", True), ("state", "query", False),
    ]  # fmt: skip
    assert "slashes" in got["parameters"][0]["description"]
    assert got["parameters"][1]["schema"]["type"] == "string"
    gone = told["paths"]["/api/9.9/things"]["delete"]
    assert gone["security"] == []
    assert "requestBody" not in gone
    assert gone["responses"]["403"] == {"$ref": "#/components/responses/Databricks403"}


def test_it_is_served_to_whoever_is_signed_in_and_printed_by_the_command(server, people):
    nobody = people.person("nobody")
    where = server.url + schemas.DOCUMENT
    answer = httpx.get(where, headers={"authorization": f"Bearer {nobody.token}"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.content == openapi.written()
    assert httpx.get(where).status_code == 401
    printed = CliRunner().invoke(app, ["openapi"])
    assert (printed.exit_code, printed.stdout.strip()) == (0, openapi.written().decode())

"""Asking for access, deciding about it, and its end."""

import pytest
from databricks.sdk.errors import BadRequest, NotFound, PermissionDenied
from databricks.sdk.service.catalog import CreateAccessRequest, Securable, SecurablePermissions, SecurableType
from typer.testing import CliRunner

from lakewright.access import expiry
from lakewright.cli.main import app
from lakewright.identity import principals

PATH = "/api/2.0/lakewright/access/requests"
SALES = "schemas:/main.sales"


@pytest.fixture
def shop(people):
    """main.sales, which bob manages; ann and the analysts she is in hold nothing."""
    admin = people.admin
    admin.client.catalogs.create("main"), admin.client.schemas.create("sales", "main")
    people.person("ann", groups=["analysts"]), people.person("bob"), people.person("eve")
    for kind, name, who, rights in (
        ("catalog", "main", "bob", ["USE_CATALOG"]), ("schema", "main.sales", "bob", ["MANAGE"]),
    ):  # fmt: skip
        admin.do(
            "PATCH", f"/api/2.1/unity-catalog/permissions/{kind}/{name}", changes=[{"principal": who, "add": rights}]
        )
    return people


def ask(person, thing=SALES, rights=("USE_SCHEMA",), **more):
    return person.do("POST", PATH, object=thing, rights=list(rights), reason="the quarterly report", **more)


def listed(person, **query):
    return [r["request_id"] for r in person.do("GET", PATH, **query).get("requests", [])]


def holds(people, name, right="USE_SCHEMA"):
    said = people.admin.do("GET", "/api/2.1/unity-catalog/permissions/schema/main.sales", principal=name)
    return any(right in a["privileges"] for a in said.get("privilege_assignments", []))


def test_somebody_else_who_manages_the_object_decides_and_the_grant_ends_by_itself(shop, platform, clock):
    ann, bob, eve = shop.person("ann"), shop.person("bob"), shop.person("eve")
    asked = ask(ann, lasts_seconds=3600)
    assert (asked["state"], asked["lasts_seconds"]) == ("pending", 3600)
    assert ask(ann, lasts_seconds=3600)["request_id"] == asked["request_id"], "asking again is the same request"
    one = f"{PATH}/{asked['request_id']}"
    assert listed(ann) == listed(bob, to_decide="true") == [asked["request_id"]]
    assert listed(eve) == listed(ann, to_decide="true") == []
    for person in (ann, eve):
        with pytest.raises(PermissionDenied):
            person.do("POST", f"{one}/approve")
    with pytest.raises(BadRequest, match="asked for"):
        bob.do("POST", f"{one}/approve", lasts_seconds=7200)
    assert not holds(shop, "ann")
    decided = bob.do("POST", f"{one}/approve", comment="for the report", lasts_seconds=600)
    assert (decided["state"], decided["decided_by"]) == ("approved", "bob")
    assert decided["granted_until"] == platform.clock.now() + 600_000
    assert holds(shop, "ann")
    said = bob.do("GET", "/api/2.0/lakewright/access/explain", principal="ann", object=SALES, action="USE_SCHEMA")
    assert str(decided["granted_until"]) in str(said["explanation"])
    with pytest.raises(BadRequest, match="approved"):
        bob.do("POST", f"{one}/deny")
    clock.advance(600)
    expiry.tick(platform)
    assert not holds(shop, "ann")
    trail = platform.snapshot(
        lambda ctx: ctx.tx.all(
            "SELECT action, who_name, status FROM audit WHERE action LIKE '%ccessRequest' OR action = 'grantEnded' ORDER BY seq"
        )
    )
    assert [(r["action"], r["who_name"], r["status"]) for r in trail][-3:] == [
        ("approveAccessRequest", "bob", 200), ("denyAccessRequest", "bob", 400), ("grantEnded", "system", 200),
    ]  # fmt: skip


def test_nobody_decides_what_they_asked_for_or_would_get(shop, platform):
    """Also not who manages the object, also not through a group."""
    ann, bob, admin = shop.person("ann"), shop.person("bob"), shop.admin
    own = ask(bob, rights=["CREATE_TABLE"])
    with pytest.raises(PermissionDenied, match="somebody else"):
        bob.do("POST", f"{PATH}/{own['request_id']}/approve")
    shop.join("analysts", bob)
    for_group = ask(ann, principal="analysts")
    with pytest.raises(PermissionDenied, match="somebody else"):
        bob.do("POST", f"{PATH}/{for_group['request_id']}/approve")
    assert listed(bob, to_decide="true") == []
    assert set(listed(admin, to_decide="true")) == {own["request_id"], for_group["request_id"]}
    admin.do("POST", f"{PATH}/{for_group['request_id']}/approve")
    assert holds(shop, "analysts")
    for_others = ask(bob, rights=["CREATE_TABLE"], principal="analysts")
    group = shop.group("analysts")
    platform.transact(lambda ctx: principals.remove_member(ctx, group, bob.id))
    with pytest.raises(PermissionDenied, match="somebody else"):
        bob.do("POST", f"{PATH}/{for_others['request_id']}/approve")
    for other in ("eve", "nobody", "admins"):
        with pytest.raises(PermissionDenied, match="themselves"):
            ask(ann, principal=other)
    with pytest.raises(BadRequest, match="cannot be granted"):
        ask(ann, rights=["CAN_FLY"])


def test_asking_tells_nothing_of_what_is_there(shop):
    """Through our path and through the SDK's, the same for a schema that exists and one that does not; and what is
    later made under the name that was asked for is not what was asked for."""
    ann, admin = shop.person("ann"), shop.admin
    drop = lambda said: {k: v for k, v in said.items() if k not in ("request_id", "requested_at", "expires_at")}
    there, not_there = ask(ann), ask(ann, "schemas:/main.none1")
    assert str(drop(there)).replace("sales", "none1") == str(drop(not_there))
    assert set(listed(ann)) == {there["request_id"], not_there["request_id"]}
    assert listed(admin) == [there["request_id"]]
    admin.client.schemas.create("none1", "main")
    assert listed(admin) == [there["request_id"]]
    with pytest.raises(NotFound):
        admin.do("POST", f"{PATH}/{not_there['request_id']}/approve")
    said = []
    for one in (there["request_id"], not_there["request_id"], "f" * 32):
        with pytest.raises(PermissionDenied) as refused:
            shop.person("eve").do("POST", f"{PATH}/{one}/approve")
        said.append(str(refused.value).replace(one, "?"))
    assert said[0] == said[1] == said[2]


def test_the_sdk_asks_and_undecided_requests_lapse_or_are_taken_back(shop, platform, clock):
    ann, bob = shop.person("ann"), shop.person("bob")
    wanted = lambda name: SecurablePermissions(
        securable=Securable(type=SecurableType.SCHEMA, full_name=name), permissions=["USE_SCHEMA"]
    )
    answer = ann.client.rfa.batch_create_access_requests(
        requests=[
            CreateAccessRequest(comment="please", securable_permissions=[wanted("main.sales"), wanted("main.no")])
        ]
    )
    [one] = answer.responses
    assert [d.destinations[0].destination_id.endswith("/console/access") for d in one.request_destinations] == [
        True
    ] * 2
    shown = ann.client.rfa.get_access_request_destinations("SCHEMA", "main.sales")
    assert shown.destinations == one.request_destinations[0].destinations
    [waiting] = listed(bob, to_decide="true")
    clock.advance(15 * 86_400)
    assert listed(bob, to_decide="true") == []
    with pytest.raises(BadRequest, match="expired"):
        bob.do("POST", f"{PATH}/{waiting}/approve")
    again = ask(ann)["request_id"]
    assert ann.do("POST", f"{PATH}/{again}/withdraw")["state"] == "withdrawn"
    with pytest.raises(NotFound):
        bob.do("POST", f"{PATH}/{again}/withdraw")
    with pytest.raises(BadRequest, match="withdrawn"):
        bob.do("POST", f"{PATH}/{again}/approve")
    assert not holds(shop, "ann")


def test_the_command_line_asks_lists_and_decides(shop, server):
    def run(person, *arguments):
        done = CliRunner().invoke(
            app, ["access", *arguments, "--host", server.url, "--token", person.token], env={"COLUMNS": "200"}
        )
        assert done.exit_code == 0, done.output
        return done.output

    ann, bob = shop.person("ann"), shop.person("bob")
    said = run(ann, "request", SALES, "use schema", "--reason", "[report]", "--hours", "2")
    assert "pending" in said and "ann: USE_SCHEMA on schemas:/main.sales" in said and "[report]" in said
    one = said.split()[0]
    assert one in run(bob, "requests", "--to-decide")
    assert "until" in run(bob, "approve", one, "--hours", "1")
    assert holds(shop, "ann")
    folder = shop.admin.client
    folder.workspace.mkdirs("/team")
    other = run(ann, "request", "directories:/team", "CAN_READ", "--reason", "x").split()[0]
    assert "denied" in run(shop.admin, "deny", other, "--comment", "no")
    again = run(ann, "request", "directories:/team", "CAN_READ", "--reason", "x").split()[0]
    run(shop.admin, "approve", again)
    assert ann.client.workspace.get_status("/team").path == "/team"

"""Review campaigns: who is asked, who may decide, what closing does, and that the result can be checked later."""

import json

import pytest
from databricks.sdk.errors import BadRequest, NotFound, PermissionDenied
from typer.testing import CliRunner

from lakewright.access.signing import verified
from lakewright.cli.main import app
from lakewright.identity import principals

PATH = "/api/2.0/lakewright/access/reviews"


@pytest.fixture
def shop(people):
    """main is bob's, main.sales ann's; ann, bob, the analysts (dan, ann) and everybody hold something."""
    admin = people.admin
    for name in ("ann", "bob", "dan", "eve"):
        people.person(name, groups=["analysts"] if name in ("dan", "ann") else [])
    admin.client.catalogs.create("main"), admin.client.schemas.create("sales", "main")
    grant(admin, "schema", "main.sales", ann=["CREATE_TABLE"], analysts=["SELECT"], dan=["SELECT", "USE_SCHEMA"])
    grant(admin, "catalog", "main", bob=["CREATE_SCHEMA"], dan=["USE_CATALOG"], users=["BROWSE"])
    admin.client.schemas.update("main.sales", owner="ann")
    admin.client.catalogs.update("main", owner="bob")
    return people


def grant(admin, kind, name, **rights):
    changes = [{"principal": who, "add": these} for who, these in rights.items()]
    admin.do("PATCH", f"/api/2.1/unity-catalog/permissions/{kind}/{name}", changes=changes)


def held(admin, kind, name):
    said = admin.do("GET", f"/api/2.1/unity-catalog/permissions/{kind}/{name}")
    return {a["principal"]: a["privileges"] for a in said.get("privilege_assignments", [])}


def items_of(person, review, **query):
    found = person.do("GET", f"{PATH}/{review}/items", **query).get("items", [])
    return {(i["principal"], i["right"], i["object"]): i for i in found}


def decide(person, item, decision):
    return person.do(
        "POST", f"{PATH}/{item['item_id'].rpartition('-')[0]}/items/{item['item_id']}/decide", decision=decision
    )


def test_owners_decide_nobody_reviews_their_own_and_closing_revokes_and_signs(shop, platform):
    admin, ann, bob, dan, eve = shop.admin, *(shop.person(n) for n in ("ann", "bob", "dan", "eve"))
    with pytest.raises(PermissionDenied):
        eve.do("POST", PATH, scope="catalogs:/main")
    with pytest.raises(PermissionDenied):
        eve.do("POST", PATH, scope="catalogs:/nothing")
    with pytest.raises(NotFound):
        admin.do("POST", PATH, scope="catalogs:/nothing")
    review = admin.do("POST", PATH, scope="catalogs:/main", name="Q3")["review_id"]
    all_of_them = items_of(admin, review)
    main, sales = "catalogs:/main", "schemas:/main.sales"
    assert {key: i["reviewer"] for key, i in all_of_them.items()} == {
        ("ann", "CREATE_TABLE", sales): "bob",  # ann owns the schema: not her own
        ("analysts", "SELECT", sales): "bob",  # ann is one of the analysts
        ("dan", "SELECT", sales): "ann",
        ("dan", "USE_SCHEMA", sales): "ann",
        ("bob", "CREATE_SCHEMA", main): "admins",
        ("dan", "USE_CATALOG", main): "bob",
        ("users", "BROWSE", main): "bob",
    }
    assert set(items_of(ann, review)) == {k for k, i in all_of_them.items() if i["reviewer"] == "ann"}
    assert items_of(eve, review) == {}
    assert [r["review_id"] for r in ann.do("GET", PATH)["reviews"]] == [review]
    assert eve.do("GET", PATH).get("reviews", []) == []
    assert eve.do("GET", f"{PATH}/{review}/items").get("items", []) == []
    for person, key in (
        (eve, ("dan", "SELECT", sales)),
        (dan, ("dan", "SELECT", sales)),
        (ann, ("ann", "CREATE_TABLE", sales)),
    ):
        with pytest.raises(PermissionDenied):
            decide(person, all_of_them[key], "keep")
    decide(ann, all_of_them["dan", "SELECT", sales], "revoke")
    decide(ann, all_of_them["dan", "USE_SCHEMA", sales], "revoke")
    decide(bob, all_of_them["analysts", "SELECT", sales], "keep")
    decide(bob, all_of_them["users", "BROWSE", main], "revoke")
    decide(admin, all_of_them["bob", "CREATE_SCHEMA", main], "keep")
    shop.join("admins", bob)
    with pytest.raises(PermissionDenied, match="hold themselves"):
        decide(bob, all_of_them["bob", "CREATE_SCHEMA", main], "revoke")
    admin.do(
        "PATCH", "/api/2.1/unity-catalog/permissions/schema/main.sales",
        changes=[{"principal": "dan", "remove": ["USE_SCHEMA"]}],
    )  # fmt: skip
    platform.clock.advance(1)
    grant(admin, "schema", "main.sales", dan=["USE_SCHEMA"])  # granted anew: not what was reviewed
    with pytest.raises(PermissionDenied):
        ann.do("POST", f"{PATH}/{review}/close")
    with pytest.raises(BadRequest, match="2 grants are undecided"):
        admin.do("POST", f"{PATH}/{review}/close")
    reads = lambda: admin.do(
        "GET", "/api/2.0/lakewright/access/explain", principal="dan", object="catalogs:/main", action="USE_CATALOG"
    )["allowed"]
    assert reads()
    closed = admin.do("POST", f"{PATH}/{review}/close", undecided="revoke")
    assert not reads(), "what was remembered of it ends with it"
    assert (closed["state"], closed["counts"]) == ("closed", {"keep": 2, "revoke": 3, "undecided": 2})
    assert held(admin, "schema", "main.sales") == {"analysts": ["SELECT"], "dan": ["USE_SCHEMA"]}
    assert held(admin, "catalog", "main") == {"bob": ["CREATE_SCHEMA"]}
    outcomes = {key: i["outcome"] for key, i in items_of(admin, review).items()}
    assert outcomes["dan", "USE_SCHEMA", sales] == "gone"
    assert outcomes["dan", "SELECT", sales] == outcomes["ann", "CREATE_TABLE", sales] == "revoked"
    with pytest.raises(BadRequest, match="closed"):
        decide(bob, all_of_them["dan", "USE_CATALOG", main], "keep")
    rows = platform.snapshot(lambda ctx: ctx.tx.all("SELECT ask FROM audit WHERE action = 'grantRevokedByReview'"))
    assert len(rows) == 4
    assert admin.do("GET", f"{PATH}/{review}/verify") == {"review_id": review, "whole": True, "what": ""}
    assert verified(closed["public_key"], closed["result"].encode(), closed["signature"])
    assert not verified(closed["public_key"], closed["result"].replace("revoke", "keep").encode(), closed["signature"])

    def tamper(sql):
        platform.transact(lambda ctx: ctx.tx.run(sql))
        return admin.do("GET", f"{PATH}/{review}/verify")["what"]

    assert (
        tamper("UPDATE access_review_items SET decision = 'keep' WHERE decision = 'revoke'")
        == "the decisions were altered"
    )
    assert tamper("UPDATE access_reviews SET result = REPLACE(result, 'Q3', 'Q4')") == "the result was altered"


def test_when_an_owner_is_gone_or_another_the_next_one_is_asked(shop):
    admin, ann, bob, eve = shop.admin, *(shop.person(n) for n in ("ann", "bob", "eve"))
    shop.platform.transact(lambda ctx: principals.set_active(ctx, ann.id, False), admin.id)
    review = bob.do("POST", PATH, scope="schemas:/main.sales")["review_id"]
    mine = items_of(bob, review)
    assert {i["reviewer"] for i in mine.values()} == {"bob"}
    admin.client.catalogs.update("main", owner="eve")
    item = next(iter(mine.values()))
    with pytest.raises(PermissionDenied):
        decide(bob, item, "keep")
    assert decide(eve, item, "keep")["decided_by"] == "eve"


def test_what_everybody_in_the_workspace_holds_is_reviewed_by_its_owner(shop):
    admin = shop.admin
    admin.client.workspace.mkdirs("/team")
    folder = admin.client.workspace.get_status("/team").object_id
    entry = {"group_name": "users", "permission_level": "CAN_READ"}
    admin.do("PATCH", f"/api/2.0/permissions/directories/{folder}", access_control_list=[entry])
    review = admin.do("POST", PATH, scope="directories:/team")["review_id"]
    [item] = items_of(admin, review).values()
    assert (item["principal"], item["reviewer"]) == ("users", "admin")
    assert decide(admin, item, "revoke")["decision"] == "revoke"


def test_the_command_line_runs_a_campaign_to_its_signed_end(shop, server, tmp_path):
    def run(person, *arguments, code=0):
        done = CliRunner().invoke(
            app, ["review", *arguments, "--host", server.url, "--token", person.token], env={"COLUMNS": "300"}
        )
        assert done.exit_code == code, done.output
        return done.output

    admin, bob = shop.admin, shop.person("bob")
    review = run(admin, "start", "--scope", "catalogs:/main").split()[0]
    assert review in run(bob, "list")
    item = next(line.split()[0] for line in run(bob, "items", review).splitlines() if "USE_CATALOG" in line)
    assert "revoke" in run(bob, "decide", item, "revoke", "--comment", "left the project")
    run(admin, "close", review, code=1)
    assert "closed" in run(admin, "close", review, "--undecided", "keep")
    assert "dan" not in held(admin, "catalog", "main")
    assert "as it was signed" in run(admin, "verify", review)
    kept = tmp_path / "result.json"
    run(admin, "export", review, "--to", str(kept))
    check = lambda: CliRunner().invoke(app, ["review", "verify", "--file", str(kept)]).exit_code
    assert check() == 0
    said = json.loads(kept.read_text())
    kept.write_text(json.dumps({**said, "result": said["result"].replace("left", "joined")}))
    assert check() == 1

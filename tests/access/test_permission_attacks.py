"""What must not work around permissions, and what transfer, revocation and inheritance mean to the letter."""

import threading
import time

import httpx
import pytest
from databricks.sdk.errors import BadRequest, PermissionDenied

from lakewright.app import build
from lakewright.identity import credentials
from lakewright.kernel import grants, objects
from lakewright.kernel.kinds import KINDS
from lakewright.kernel.roots import WORKSPACE
from lakewright.kernel.rules import MANAGE

UC = "/api/2.1/unity-catalog"


@pytest.fixture
def shop(people):
    """main.sales.orders, everything of the administrators; bob may use the catalog and the schema."""
    admin = people.admin.client
    admin.catalogs.create("main"), admin.schemas.create("sales", "main")
    for name in ("ann", "bob", "eve"):
        people.person(name)
    table = KINDS["table"]
    people.platform.transact(
        lambda ctx: objects.create(
            ctx, table, "orders", table.example, under=objects.find(ctx, KINDS["schema"], "main.sales")
        ),
        people.admin.id,
    )
    grant(people.admin, "catalog", "main", bob=["USE_CATALOG"])
    grant(people.admin, "schema", "main.sales", bob=["USE_SCHEMA"])
    return people


def grant(by, kind, name, **rights):
    return change(by, kind, name, *({"principal": who, "add": these} for who, these in rights.items()))


def revoke(by, kind, name, **rights):
    return change(by, kind, name, *({"principal": who, "remove": these} for who, these in rights.items()))


def change(by, kind, name, *changes):
    return by.do("PATCH", f"{UC}/permissions/{kind}/{name}", changes=list(changes))


def may(people, name, right="SELECT", thing="main.sales.orders", kind="table"):
    path = "/api/2.0/lakewright/access/explain"
    return people.admin.do("GET", path, principal=name, object=f"{kind}:/{thing}", action=right)["allowed"]


def hand_over(people, kind, name, to):
    plural = {"table": "tables", "schema": "schemas", "catalog": "catalogs"}[kind]
    return people.admin.do("PATCH", f"{UC}/{plural}/{name}", owner=to)


def test_all_privileges_and_explicit_ones_are_given_and_taken_apart(shop):
    admin, orders = shop.admin, ("table", "main.sales.orders")
    grant(admin, *orders, bob=["ALL_PRIVILEGES", "SELECT"])
    assert (may(shop, "bob"), may(shop, "bob", "MODIFY"), may(shop, "bob", "MANAGE")) == (True, True, False)
    revoke(admin, *orders, bob=["SELECT"])
    assert may(shop, "bob"), "ALL PRIVILEGES still says so"
    grant(admin, *orders, bob=["SELECT"])
    revoke(admin, *orders, bob=["ALL_PRIVILEGES"])
    assert (may(shop, "bob"), may(shop, "bob", "MODIFY")) == (True, False), "what was granted explicitly stays"


def test_what_is_inherited_is_revoked_where_it_was_granted(shop):
    admin = shop.admin
    grant(admin, "schema", "main.sales", bob=["SELECT"])
    revoke(admin, "table", "main.sales.orders", bob=["SELECT"])
    assert may(shop, "bob")
    said = admin.do("GET", f"{UC}/effective-permissions/table/main.sales.orders", principal="bob")
    [entry] = [p for a in said["privilege_assignments"] for p in a["privileges"] if p["privilege"] == "SELECT"]
    assert (entry["inherited_from_type"], entry["inherited_from_name"]) == ("SCHEMA", "main.sales")
    revoke(admin, "schema", "main.sales", bob=["SELECT"])
    assert not may(shop, "bob")


def test_without_use_of_the_catalog_and_schema_nothing_below_is_of_use(shop):
    admin = shop.admin
    grant(admin, "table", "main.sales.orders", ann=["ALL_PRIVILEGES", "MANAGE"])
    hand_over(shop, "table", "main.sales.orders", "ann")
    ann = shop.person("ann")
    assert not may(shop, "ann")
    with pytest.raises(PermissionDenied, match="USE_CATALOG"):
        ann.do("GET", f"{UC}/permissions/table/main.sales.orders")
    grant(admin, "catalog", "main", ann=["USE_CATALOG"])
    with pytest.raises(PermissionDenied, match="USE_SCHEMA"):
        ann.do("GET", f"{UC}/permissions/table/main.sales.orders")
    grant(admin, "schema", "main.sales", ann=["USE_SCHEMA"])
    assert may(shop, "ann")


def test_nobody_gives_what_is_not_theirs_to_give(shop):
    """Holding a right is not the right to give it; MANAGE is not the data; data leaves only by the catalog's owner."""
    admin, bob = shop.admin, shop.person("bob")
    orders = ("table", "main.sales.orders")
    grant(admin, *orders, bob=["SELECT", "MODIFY"])
    for right in ("SELECT", "MANAGE"):
        with pytest.raises(PermissionDenied, match="MANAGE"):
            grant(bob, *orders, eve=[right])
    for path in ("permissions", "effective-permissions"):
        with pytest.raises(PermissionDenied):
            bob.do("GET", f"{UC}/{path}/table/main.sales.orders")
    revoke(admin, *orders, bob=["SELECT", "MODIFY"])
    grant(admin, "schema", "main.sales", bob=["MANAGE"])
    assert not may(shop, "bob"), "managing is not reading"
    with pytest.raises(PermissionDenied, match="own the catalog"):
        grant(bob, "schema", "main.sales", bob=["EXTERNAL_USE_SCHEMA"])
    for wrong in ({"ann": ["FLY"]}, {"nobody": ["SELECT"]}, {"ann": ["IS_OWNER"]}, {"ann": ["CAN_MANAGE"]}):
        with pytest.raises(BadRequest):
            grant(bob, "schema", "main.sales", **wrong)
    hand_over(shop, "catalog", "main", "bob")
    grant(bob, "schema", "main.sales", ann=["EXTERNAL_USE_SCHEMA"])
    with pytest.raises(PermissionDenied):
        bob.do("PATCH", f"{UC}/permissions/metastore/{admin.client.metastores.summary().metastore_id}", changes=[])


def test_ownership_goes_to_a_group_from_a_group_and_outlives_a_person(shop, platform):
    admin, bob, orders = shop.admin, shop.person("bob"), "main.sales.orders"
    shop.join("team", bob)
    hand_over(shop, "table", orders, "team")
    assert (may(shop, "bob"), may(shop, "bob", "MANAGE"), may(shop, "bob", "OWNER")) == (True, True, True)
    hand_over(shop, "table", orders, "ann")
    assert (may(shop, "bob"), may(shop, "bob", "MANAGE")) == (False, False), "nothing is left behind"
    grant(admin, "catalog", "main", ann=["USE_CATALOG", "USE_SCHEMA"])
    assert may(shop, "ann")
    admin.client.users.delete(shop.person("ann").id)
    shown = admin.client.tables.get(orders)
    assert shown.full_name == orders
    fresh = admin.client.users.create(user_name="ann")
    grant(admin, "catalog", "main", ann=["USE_CATALOG", "USE_SCHEMA"])
    assert fresh.id != shop.person("ann").id
    assert (may(shop, "ann"), may(shop, "ann", "MANAGE")) == (False, False), "the name is back, the ownership is not"
    hand_over(shop, "table", orders, "bob")
    assert may(shop, "bob")
    with pytest.raises(BadRequest):
        hand_over(shop, "table", orders, "somebody else")


def test_owning_what_lies_above_manages_but_does_not_read(shop):
    hand_over(shop, "schema", "main.sales", "bob")
    assert (may(shop, "bob", "MANAGE"), may(shop, "bob"), may(shop, "bob", "MODIFY")) == (True, False, False)
    hand_over(shop, "schema", "main.sales", "eve")
    assert not may(shop, "bob", "MANAGE")


def test_the_pages_of_a_permissions_list_are_whole_and_nobody_elses(shop):
    admin, bob = shop.admin, shop.person("bob")
    for n in range(7):
        shop.group(f"g{n}")
    grant(admin, "schema", "main.sales", bob=["MANAGE"], **{f"g{n}": ["SELECT"] for n in range(7)})
    path, seen, token, sizes = f"{UC}/permissions/schema/main.sales", [], None, []
    while True:
        said = admin.do("GET", path, max_results=3, **({"page_token": token} if token else {}))
        seen += [a["principal"] for a in said["privilege_assignments"]]
        sizes.append(len(said["privilege_assignments"]))
        token = said.get("next_page_token")
        if token is None:
            break
        for who, where in ((bob, path), (admin, f"{UC}/permissions/catalog/main")):
            with pytest.raises(BadRequest, match="page_token"):
                who.do("GET", where, max_results=3, page_token=token)
    assert (seen, sizes) == (["bob", *(f"g{n}" for n in range(7))], [3, 3, 2])


def test_no_request_that_begins_after_a_revoke_was_answered_is_allowed(server, shop):
    """While four clients ask without pause."""
    bob, admin = shop.person("bob"), shop.admin
    url = f"{server.url}{UC}/tables/main.sales.orders"
    for _ in range(3):
        grant(admin, "table", "main.sales.orders", bob=["SELECT"])
        asked: list[tuple[float, int]] = []
        stop = threading.Event()

        def ask(stop=stop, asked=asked):
            with httpx.Client(headers={"authorization": f"Bearer {bob.token}"}) as client:
                while not stop.is_set():
                    began = time.perf_counter()
                    asked.append((began, client.get(url, timeout=30).status_code))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        [t.start() for t in threads]
        while sum(status == 200 for _, status in asked) < 20:
            time.sleep(0.005)
        revoke(admin, "table", "main.sales.orders", bob=["SELECT"])
        revoked, enough = time.perf_counter(), len(asked) + 20
        while len(asked) < enough:
            time.sleep(0.005)
        stop.set()
        [t.join() for t in threads]
        after = {status for began, status in asked if began > revoked}
        assert after == {403}
        assert {status for _, status in asked} == {200, 403}


def test_a_revoke_on_one_node_holds_on_another_at_the_very_next_decision(server, shop, settings, database_url, clock):
    if not database_url:
        pytest.skip("two nodes share a Postgres database; SQLite has one writer")
    other = build(settings, clock)
    bob = shop.person("bob")
    folder = server.platform.transact(
        lambda ctx: objects.create(
            ctx, KINDS["directory"], "d", KINDS["directory"].example, under=objects.find(ctx, WORKSPACE, "")
        ),
        shop.admin.id,
    )
    there = lambda: other.snapshot(lambda ctx: bool(MANAGE.judge(ctx, folder.id)), bob.id)
    for _ in range(20):
        server.platform.transact(lambda ctx: grants.change(ctx, folder, bob.id, add=["CAN_MANAGE"]))
        assert there()
        server.platform.transact(lambda ctx: grants.change(ctx, folder, bob.id, remove=["CAN_MANAGE"]))
        assert not there()
    server.platform.transact(lambda ctx: grants.change(ctx, folder, bob.id, add=["CAN_MANAGE"]))
    server.platform.transact(lambda ctx: credentials.end_principal(ctx, bob.id))
    with pytest.raises(Exception, match="no longer active"):
        there()
    other.stop()

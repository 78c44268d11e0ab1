"""Entitlements: which parts of a workspace somebody may use at all, given by SCIM and enforced at once."""

import pytest
from databricks.sdk.errors import BadRequest, DatabricksError, PermissionDenied
from databricks.sdk.service.iam import ComplexValue, Patch, PatchOp, PatchSchema

from lakewright.access.defaults import DEFAULTS
from lakewright.kernel import grants, objects
from lakewright.kernel.roots import ENTITLEMENTS, USERS, WORKSPACE

SQL, WORKSPACE_ACCESS = "databricks-sql-access", "workspace-access"
BOTH = {SQL, WORKSPACE_ACCESS}


def said(resource):
    return {each.value for each in resource.entitlements or ()}


def values(*names):
    return [ComplexValue(value=name) for name in names]


def patch(api, id, *operations):
    api.patch(id, operations=list(operations), schemas=[PatchSchema.URN_IETF_PARAMS_SCIM_API_MESSAGES_2_0_PATCH_OP])


def give(api, id, *names):
    patch(api, id, Patch(op=PatchOp.ADD, path="entitlements", value=[{"value": name} for name in names]))


def take(api, id, *names):
    patch(api, id, *(Patch(op=PatchOp.REMOVE, path=f'entitlements[value eq "{name}"]') for name in names))


@pytest.fixture
def w(people):
    return people.admin.client


def uses_sql(person):
    list(person.client.warehouses.list())
    list(person.client.query_history.list().res or ())


def uses_the_workspace(person):
    list(person.client.jobs.list())
    list(person.client.experiments.list_experiments())
    person.client.workspace.mkdirs(f"/Users/{person.name}/more")


def test_everybody_begins_with_both_and_the_list_of_defaults_says_so(platform, w, people):
    group = w.groups.get(USERS)
    assert said(group) == BOTH
    assert " and ".join(sorted(BOTH, reverse=True)) in [d.right for d in DEFAULTS if d.who == USERS]
    bob = people.person("bob")
    uses_sql(bob)
    uses_the_workspace(bob)
    assert said(w.users.get(bob.id)) == set()


@pytest.mark.parametrize("resource", ["users", "groups", "service_principals"])
def test_the_sdk_gives_shows_finds_replaces_and_takes_them(w, resource):
    api = getattr(w, resource)
    named = {"user_name": "eve@example.com"} if resource == "users" else {"display_name": "eve"}
    made = api.create(**named, entitlements=values(SQL))
    assert said(made) == said(api.get(made.id)) == {SQL}
    assert made.id in {each.id for each in api.list(filter=f'entitlements.value eq "{SQL}"')}
    assert made.id not in {each.id for each in api.list(filter=f'entitlements.value eq "{WORKSPACE_ACCESS}"')}
    give(api, made.id, WORKSPACE_ACCESS)
    assert said(api.get(made.id)) == BOTH
    take(api, made.id, SQL)
    assert said(api.get(made.id)) == {WORKSPACE_ACCESS}
    update = {**named, "entitlements": values(SQL)}
    if resource == "service_principals":
        update["application_id"] = made.application_id
    api.update(made.id, **update)
    assert said(api.get(made.id)) == {SQL}
    del update["entitlements"]
    api.update(made.id, **update)
    assert said(api.get(made.id)) == set()


@pytest.mark.parametrize("name", ["allow-cluster-create", "allow-instance-pool-create"])
def test_what_nothing_enforces_is_refused_by_name(w, name):
    with pytest.raises(DatabricksError, match=f"nothing enforces {name}; possible: {WORKSPACE_ACCESS}, {SQL}"):
        give(w.groups, USERS, name)
    with pytest.raises(DatabricksError, match=name):
        w.users.create(user_name="eve@example.com", entitlements=values(name))
    assert said(w.groups.get(USERS)) == BOTH


def test_without_sql_access_sql_ends_at_the_next_request_and_is_on_record(platform, w, people):
    bob = people.person("bob")
    uses_sql(bob)
    take(w.groups, USERS, SQL)
    for act in (
        lambda: list(bob.client.warehouses.list()),
        lambda: bob.client.query_history.list(),
        lambda: bob.client.statement_execution.execute_statement("SELECT 1", "no-such-warehouse"),
        lambda: bob.client.permissions.get("warehouses", "no-such-warehouse"),
    ):
        with pytest.raises(PermissionDenied, match=SQL):
            act()
    uses_the_workspace(bob)
    list(bob.client.catalogs.list())
    rows = platform.snapshot(
        lambda ctx: ctx.tx.all("SELECT decision, because FROM audit WHERE who = ? AND status = 403", bob.id)
    )
    assert len(rows) == 4
    assert all(row["decision"] == "refused" and SQL in row["because"] for row in rows)
    give(w.users, bob.id, SQL)
    uses_sql(bob)


def test_without_workspace_access_all_but_sql_the_catalog_and_oneself_ends(w, people):
    bob = people.person("bob")
    job = bob.client.jobs.create(name="mine").job_id
    take(w.groups, USERS, WORKSPACE_ACCESS)
    for act in (
        lambda: list(bob.client.jobs.list()),
        lambda: bob.client.jobs.get(job),
        lambda: list(bob.client.experiments.list_experiments()),
        lambda: bob.client.workspace.mkdirs("/Users/bob/more"),
        lambda: list(bob.client.serving_endpoints.list()),
        lambda: list(bob.client.secrets.list_scopes()),
        lambda: bob.client.permissions.get("jobs", str(job)),
    ):
        with pytest.raises(PermissionDenied, match=WORKSPACE_ACCESS):
            act()
    uses_sql(bob)
    list(bob.client.catalogs.list())
    assert bob.client.current_user.me().user_name == "bob"
    assert bob.client.tokens.create(comment="mine").token_value
    take(w.groups, USERS, SQL)
    with pytest.raises(PermissionDenied, match=f"{WORKSPACE_ACCESS} or {SQL}"):
        list(bob.client.catalogs.list())
    assert bob.client.current_user.me().user_name == "bob"


def test_administrators_hold_both_whatever_is_taken(w, people):
    take(w.groups, USERS, SQL, WORKSPACE_ACCESS)
    uses_sql(people.admin)
    uses_the_workspace(people.admin)


def test_groups_inside_groups_hand_them_down(platform, w, people):
    bob, robot = people.person("bob", groups=["inner"]), people.service_principal("robot")
    take(w.groups, USERS, SQL)
    outer = w.groups.create(display_name="outer", entitlements=values(SQL))
    inner = people.group("inner")
    with pytest.raises(PermissionDenied, match=SQL):
        uses_sql(bob)
    patch(w.groups, outer.id, Patch(op=PatchOp.ADD, path="members", value=[{"value": inner}]))
    uses_sql(bob)
    with pytest.raises(PermissionDenied, match=SQL):
        uses_sql(robot)
    people.join("inner", robot)
    uses_sql(robot)
    assert said(w.users.get(bob.id)) == said(w.groups.get(inner)) == set()
    patch(w.groups, outer.id, Patch(op=PatchOp.REMOVE, path=f'members[value eq "{inner}"]'))
    with pytest.raises(PermissionDenied, match=SQL):
        uses_sql(bob)


def test_one_that_ends_by_itself_ends(platform, clock, w, people):
    bob = people.person("bob")
    take(w.groups, USERS, SQL)
    until = clock.now() + 60_000
    platform.transact(lambda ctx: grants.change(ctx, objects.find(ctx, WORKSPACE, ""), bob.id, add=[SQL], until=until))
    uses_sql(bob)
    assert said(w.users.get(bob.id)) == {SQL}
    clock.advance(61)
    with pytest.raises(PermissionDenied, match=SQL):
        uses_sql(bob)
    assert said(w.users.get(bob.id)) == set()


def test_explanations_know_them(w, people):
    bob = people.person("bob")
    job = bob.client.jobs.create(name="mine").job_id
    asked = {"principal": "bob", "object": f"jobs:/{job}", "action": "CAN_VIEW"}
    path = "/api/2.0/lakewright/access"
    assert bob.do("GET", f"{path}/explain", **asked)["allowed"]
    take(w.groups, USERS, WORKSPACE_ACCESS)
    shown = bob.do("GET", f"{path}/explain", **asked)
    assert not shown["allowed"]
    assert WORKSPACE_ACCESS in shown["because"]
    found = people.admin.do("GET", f"{path}/who-can", object=f"jobs:/{job}", action="CAN_VIEW")
    assert "bob" not in {each["name"] for each in found["principals"]}


def test_the_account_has_none_to_show_or_give(platform, w, people):
    account = platform.account
    path = f"/api/2.0/accounts/{account}/scim/v2/Groups/{USERS}"
    assert "entitlements" not in people.admin.do("GET", path)
    operations = [{"op": "add", "path": "entitlements", "value": [{"value": SQL}]}]
    with pytest.raises(BadRequest, match="in a workspace"):
        people.admin.do("PATCH", path, schemas=["urn:ietf:params:scim:api:messages:2.0:PatchOp"], Operations=operations)
    assert said(w.groups.get(USERS)) == BOTH


def test_the_schema_says_which_there_are(people):
    urn = "urn:ietf:params:scim:schemas:core:2.0:User"
    shown = people.admin.do("GET", f"/api/2.0/preview/scim/v2/Schemas/{urn}")
    attributes = {each["name"]: each for each in shown["attributes"]}
    assert attributes["entitlements"]["mutability"] == "readWrite"
    assert attributes["entitlements"]["subAttributes"][0]["canonicalValues"] == list(ENTITLEMENTS)
    assert attributes["roles"]["mutability"] == "readOnly"

"""Every SCIM call of the unmodified SDK, at the workspace and at the account."""

import pytest
from databricks.sdk import AccountClient
from databricks.sdk.config import Config
from databricks.sdk.errors import BadRequest, DatabricksError, NotFound, ResourceConflict
from databricks.sdk.service.iam import ComplexValue, Name, Patch, PatchOp

PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


@pytest.fixture
def account(server, people):
    account_id = server.platform.snapshot(lambda ctx: ctx.tx.scalar("SELECT id FROM objects WHERE kind = 'account'"))
    token = people.admin.token
    return AccountClient(config=Config(host=server.url, account_id=account_id, token=token, auth_type="pat"))


@pytest.fixture(params=["workspace", "workspace v2", "account", "account v2"])
def apis(request, people, account):
    """Users, groups and service principals as one family of the SDK has them."""
    client = account if request.param.startswith("account") else people.admin.client
    suffix = "_v2" if request.param.endswith("v2") else ""
    return [getattr(client, f"{name}{suffix}") for name in ("users", "groups", "service_principals")]


def test_every_call_of_every_family(apis):
    users, groups, machines = apis
    bob = users.create(user_name="Bob@example.com", display_name="Bob", name=Name(given_name="B", family_name="Ob"))
    assert (bob.user_name, bob.active, bob.emails[0].value) == ("bob@example.com", True, "Bob@example.com")
    assert users.get(bob.id).name.family_name == "Ob"
    users.patch(bob.id, operations=[Patch(op=PatchOp.REPLACE, path="displayName", value="Bobby")], schemas=[PATCH_URN])
    assert [u.id for u in users.list(filter='displayName eq "bobby"')] == [bob.id]
    users.update(bob.id, user_name="bob@example.com", display_name="Robert", active=False)
    assert (users.get(bob.id).display_name, users.get(bob.id).active) == ("Robert", False)
    assert next(u.user_name for u in users.list(attributes="userName", sort_by="userName", count=1)) == "admin"

    machine = machines.create(display_name="trainer", active=True)
    assert machine.application_id
    machines.patch(
        machine.id, operations=[Patch(op=PatchOp.REPLACE, path="active", value="false")], schemas=[PATCH_URN]
    )
    assert machines.get(machine.id).active is False
    machines.update(machine.id, application_id=machine.application_id, display_name="renamed", active=True)
    found = list(machines.list(filter=f'applicationId eq "{machine.application_id}"'))
    assert [(m.display_name, m.active) for m in found] == [("renamed", True)]

    group = groups.create(display_name="analysts", members=[ComplexValue(value=bob.id)])
    groups.patch(
        group.id, operations=[Patch(op=PatchOp.ADD, value={"members": [{"value": machine.id}]})], schemas=[PATCH_URN]
    )
    assert {(m.value, m.display) for m in groups.get(group.id).members} == {(bob.id, "Robert"), (machine.id, "renamed")}
    groups.patch(
        group.id, operations=[Patch(op=PatchOp.REMOVE, path=f'members[value eq "{bob.id}"]')], schemas=[PATCH_URN]
    )
    assert [m.value for m in groups.get(group.id).members] == [machine.id]
    groups.update(group.id, display_name="readers", members=[ComplexValue(value=bob.id)])
    assert [g.display_name for g in groups.list(filter='displayName sw "R"')] == ["readers"]
    if hasattr(users.get(bob.id), "groups"):  # the account's own types show none
        assert {g.display for g in users.get(bob.id).groups} == {"readers", "users"}

    with pytest.raises(ResourceConflict):
        users.create(user_name="bob@EXAMPLE.com")
    for api, made in ((groups, group), (machines, machine), (users, bob)):
        api.delete(made.id)
        with pytest.raises(NotFound):
            api.get(made.id)


def test_both_scopes_see_the_same_principals_and_another_account_none(server, people, account):
    bob = people.admin.client.users.create(user_name="bob@example.com")
    assert account.users.get(bob.id).user_name == "bob@example.com"
    with pytest.raises(NotFound):
        people.admin.do("GET", f"/api/2.0/accounts/00000000-0000-0000-0000-000000000000/scim/v2/Users/{bob.id}")


def test_an_entitlement_that_nothing_enforces_is_refused_by_name(people):
    for api in (people.admin.client.users, people.admin.client.groups, people.admin.client.service_principals):
        named = {"user_name": "eve@example.com"} if "Users" in type(api).__name__ else {"display_name": "eve"}
        with pytest.raises(DatabricksError, match="no-such-entitlement"):
            api.create(**named, entitlements=[ComplexValue(value="no-such-entitlement")])
    assert [u.user_name for u in people.admin.client.users.list()] == ["admin"]


def test_an_unknown_field_of_a_resource_is_refused(people):
    with pytest.raises(BadRequest, match="isAdmin"):
        people.admin.do("POST", "/api/2.0/preview/scim/v2/Users", userName="eve@example.com", isAdmin=True)


PATCH_URN = type("Schema", (), {"value": PATCH})()

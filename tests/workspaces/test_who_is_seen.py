"""Whom a workspace's administrators see over SCIM: who is assigned to it, and nobody else by any detour."""

import pytest
from databricks.sdk.errors import DatabricksError, PermissionDenied
from databricks.sdk.service.iam import WorkspacePermission

from lakewright.identity import principals


@pytest.fixture
def dora(account, dev):
    return account.person("dora", dev, admin=True)


@pytest.fixture
def team(account, server, dev, dora):
    """Assigned to dev, with carol and a machine inside a group inside; carol is in a hidden group elsewhere too."""
    people = account.people
    team, inner, hidden = (people.group(name) for name in ("team", "inner", "hidden"))
    carol, bob, machine = people.person("carol"), people.person("bob"), people.service_principal("trainer")
    eve = account.person("eve", dev)

    def join(ctx):
        principals.add_members(ctx, team, [inner])
        principals.add_members(ctx, inner, [carol.id, machine.id])
        principals.add_members(ctx, hidden, [carol.id, team, bob.id])

    server.platform.transact(join)
    account.client.workspace_assignment.update(int(dev.id), int(team), permissions=[WorkspacePermission.USER])
    return {"team": team, "inner": inner, "hidden": hidden, "carol": carol, "machine": machine, "eve": eve}


def test_an_administrator_reads_who_is_assigned_and_only_those(account, dora, team):
    client = dora.client
    assert {u.user_name for u in client.users.list()} == {"dora", "eve", "carol"}
    assert {g.display_name for g in client.groups.list()} == {"team", "inner"}
    assert [s.id for s in client.service_principals.list()] == [team["machine"].id]
    assert {m.value for m in client.groups.get(team["inner"]).members} == {team["carol"].id, team["machine"].id}
    assert client.users.get(team["carol"].id).user_name == "carol"
    assert client.service_principals.get(team["machine"].id).id == team["machine"].id
    assert {u.user_name for u in account.people.admin.client.users.list()} == {"admin", "bob", "carol", "dora", "eve"}
    found = dora.do("POST", "/api/2.0/preview/scim/v2/Users/.search", filter='userName co "o"')
    assert {u["userName"] for u in found["Resources"]} == {"dora", "carol"}


def test_a_group_that_is_not_assigned_shows_neither_in_an_answer_nor_by_a_filter(account, dora, team):
    client = dora.client
    for shown in (*client.users.list(), client.users.get(team["carol"].id)):
        assert {g.display for g in shown.groups or ()} <= {"team", "inner"}
    assert {g.display for g in client.users.get(team["carol"].id).groups} == {"team", "inner"}
    assert [g.display for g in client.groups.get(team["team"]).groups or ()] == []
    for asked in ('groups.display eq "hidden"', f'groups.value eq "{team["hidden"]}"', 'groups[display sw "h"]'):
        assert list(client.users.list(filter=asked)) == [], asked
        assert {u.user_name for u in account.people.admin.client.users.list(filter=asked)} == {"bob", "carol"}
    assert {u.user_name for u in client.users.list(filter='groups.display eq "inner"')} == {"carol"}


def test_who_is_elsewhere_is_refused_like_who_does_not_exist(account, dora, team):
    def refusal(name, id_):
        with pytest.raises(PermissionDenied) as refused:
            getattr(dora.client, name).get(id_)
        return str(refused.value).replace(id_, "<id>")

    bob = account.people.person("bob")
    assert refusal("users", bob.id) == refusal("users", "123456789012345")
    assert refusal("groups", team["hidden"]) == refusal("groups", "admins") == refusal("groups", "123456789012345")
    refusal("users", account.people.admin.id)


def test_seeing_is_not_changing(account, dora, team):
    client = dora.client
    for attempt in (
        lambda: client.users.delete(team["carol"].id),
        lambda: client.users.update(team["carol"].id, user_name="carol", active=False),
        lambda: client.groups.delete(team["team"]),
        lambda: client.groups.update(team["inner"], display_name="mine"),
        lambda: client.service_principals.delete(team["machine"].id),
        lambda: client.groups.create(display_name="new"),
    ):
        with pytest.raises(PermissionDenied):
            attempt()


def test_only_its_administrators_see_and_only_while_somebody_is_assigned(account, server, dora, team, dev, qa):
    assert list(team["eve"].client.users.list()) == []
    with pytest.raises(PermissionDenied):
        team["eve"].client.users.get(team["carol"].id)
    for somewhere in (account.client_of(dora.token).users, account.person("quentin", qa, admin=True).client.users):
        try:
            seen = {u.user_name for u in somewhere.list()}
        except DatabricksError:
            seen = set()
        assert seen <= {"quentin"}
    server.platform.transact(lambda ctx: principals.remove_member(ctx, team["team"], team["inner"]))
    assert {u.user_name for u in dora.client.users.list()} == {"dora", "eve"}
    with pytest.raises(PermissionDenied):
        dora.client.users.get(team["carol"].id)

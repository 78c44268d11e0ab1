"""Who may enter a workspace, who administers it, and who administers the account."""

import httpx
import pytest
from actors import ADMIN_TOKEN
from databricks.sdk.errors import (
    BadRequest,
    NotFound,
    NotImplemented,
    PermissionDenied,
    ResourceAlreadyExists,
    Unauthenticated,
)
from databricks.sdk.service.iam import WorkspacePermission
from databricks.sdk.service.provisioning import Workspace, WorkspaceStatus
from typer.testing import CliRunner

from lakewright.cli.main import app
from lakewright.identity import principals

USER, ADMIN = WorkspacePermission.USER, WorkspacePermission.ADMIN


def test_the_account_client_makes_lists_and_renames_workspaces(account, server):
    a = account.client
    made = a.workspaces.create_and_wait(workspace_name="Data Science")
    assert made.deployment_name == "data-science"
    assert made.workspace_status == WorkspaceStatus.RUNNING
    assert {w.workspace_name for w in a.workspaces.list()} == {"main", "Data Science"}
    renamed = a.workspaces.update_and_wait(made.workspace_id, Workspace(workspace_name="Science"))
    assert a.workspaces.get(made.workspace_id).workspace_name == renamed.workspace_name == "Science"
    for taken in ({"workspace_name": "Science"}, {"workspace_name": "x", "deployment_name": "data-science"}):
        with pytest.raises(ResourceAlreadyExists):
            a.workspaces.create(**taken)
    with pytest.raises(BadRequest):
        a.workspaces.create(workspace_name="accounts")
    with pytest.raises(NotImplemented):
        a.workspaces.create(workspace_name="x", network_id="n")
    with pytest.raises(NotFound):
        a.workspaces.get(1)


def test_whoever_is_not_assigned_can_do_nothing(account, server, dev):
    bob = account.people.person("bob")
    bobs_account = account.client_of(bob.token)
    assert bob.client.current_user.me().user_name == "bob"
    bob.url = dev.url
    with pytest.raises(PermissionDenied):
        bob.client.current_user.me()
    assert [w.workspace_name for w in bobs_account.workspaces.list()] == ["main"]
    refused = server.platform.snapshot(
        lambda ctx: ctx.tx.all("SELECT workspace, error FROM audit WHERE who = ? AND status = 403", bob.id)
    )
    assert refused and all(row["error"] for row in refused)


def test_assignment_lets_in_at_once_and_out_at_once(account, server, dev):
    a = account.client
    bob = account.person("bob", dev)
    bob_id = int(bob.id)
    assert [(p.principal.user_name, p.permissions) for p in a.workspace_assignment.list(int(dev.id))] == [
        ("bob", [USER])
    ]
    a.workspace_assignment.delete(int(dev.id), bob_id)
    with pytest.raises(Unauthenticated):
        bob.client.current_user.me()
    a.workspace_assignment.update(int(dev.id), bob_id, permissions=[USER])
    with pytest.raises(Unauthenticated):
        bob.client.current_user.me()  # what was made under the old assignment has ended with it
    with pytest.raises(NotFound):
        a.workspace_assignment.delete(int(dev.id), 42)
    assert {p.permission_level for p in a.workspace_assignment.get(int(dev.id)).permissions} == {USER, ADMIN}


def test_a_group_brings_its_members_in_with_homes_of_their_own(account, server, dev):
    team = account.people.group("team")
    inner = account.people.group("inner")
    server.platform.transact(lambda ctx: principals.add_member(ctx, team, inner))
    account.client.workspace_assignment.update(int(dev.id), int(team), permissions=[USER])
    carol = account.people.person("carol")
    server.platform.transact(lambda ctx: principals.add_member(ctx, inner, carol.id))
    from lakewright.identity import tokens

    carol.token = server.platform.call(carol.id, tokens.create, None, dev.id, comment="t")["token_value"]
    carol.url = dev.url
    assert [o.path for o in carol.client.workspace.list("/Users")] == ["/Users/carol"]
    server.platform.transact(lambda ctx: principals.remove_member(ctx, team, inner))
    with pytest.raises(PermissionDenied):
        carol.client.current_user.me()


def test_each_workspace_has_its_own_administrators(account, server, dev, qa):
    dora = account.person("dora", dev, admin=True)
    eve = account.person("eve", dev)
    job = eve.client.jobs.create(name="eve's").job_id
    assert dora.client.jobs.get(job).job_id == job, "an administrator of dev sees what is in dev"
    with pytest.raises(PermissionDenied):
        account.client_of(dora.token).workspaces.create(workspace_name="hers")
    with pytest.raises(PermissionDenied):
        dora.client.users.create(user_name="somebody-new")
    admins = next(g for g in account.people.admin.client.groups.list() if g.display_name == "admins")
    with pytest.raises(PermissionDenied):
        dora.client.groups.patch(admins.id, schemas=[], operations=[])
    # in her own workspace she says who comes in
    frank = account.people.person("frank")
    here = "/api/2.0/preview/permissionassignments"
    dora.do("PUT", f"{here}/principals/{frank.id}", permissions=["USER"])
    assert {p["principal"]["user_name"] for p in dora.do("GET", here)["permission_assignments"]} == {
        "dora", "eve", "frank",
    }  # fmt: skip
    dora.do("DELETE", f"{here}/principals/{frank.id}")
    with pytest.raises(PermissionDenied):
        eve.do("PUT", f"{here}/principals/{eve.id}", permissions=["ADMIN"])
    # and not in another
    dora.url = qa.url
    with pytest.raises(PermissionDenied):
        dora.do("GET", here)


def test_a_deleted_workspace_takes_everything_with_it_and_its_name_is_free(account, server, dev):
    dora = account.person("dora", dev)
    job = dora.client.jobs.create(name="hers").job_id
    a = account.client
    with pytest.raises(BadRequest):
        a.workspaces.delete(int(server.platform.workspace))
    assert a.workspaces.delete(int(dev.id)).workspace_name == "dev"
    assert [w.workspace_name for w in a.workspaces.list()] == ["main"]
    for url, status in ((dev.url, 421), (server.url, 401)):  # its host is gone, and so is her token
        answer = httpx.get(f"{url}/api/2.2/jobs/get?job_id={job}", headers={"authorization": f"Bearer {dora.token}"})
        assert answer.status_code == status
    with pytest.raises(NotFound):
        a.workspaces.get(int(dev.id))
    again = account.workspace("dev")
    assert again.url == dev.url and again.id != dev.id
    admin = httpx.get(f"{again.url}/api/2.2/jobs/list", headers={"authorization": f"Bearer {ADMIN_TOKEN}"})
    assert admin.json().get("jobs", []) == []


def test_the_command_line_makes_lists_and_opens_workspaces(account, server):
    def run(*arguments):
        options = ("--host", server.url, "--token", ADMIN_TOKEN)
        return CliRunner().invoke(app, ["workspace", *arguments, *options], env={"COLUMNS": "200"})

    made = run("create", "Quality Assurance", "--deployment-name", "qa")
    assert made.output.strip() == f"http://qa.localhost:{account.port}"
    assert "Quality Assurance" in run("list").output
    bob = account.people.person("bob")
    assert run("assign", "qa", bob.id).exit_code == 0
    place = next(w for w in account.client.workspaces.list() if w.deployment_name == "qa")
    assert [p.principal.user_name for p in account.client.workspace_assignment.list(place.workspace_id)] == ["bob"]
    assert run("assign", "qa", bob.id, "--remove").exit_code == 0
    assert account.client.workspace_assignment.list(place.workspace_id) == []

"""Entitlements are held in one workspace and say nothing of another."""

import pytest
from databricks.sdk.errors import PermissionDenied
from databricks.sdk.service.iam import Patch, PatchOp, PatchSchema, WorkspacePermission

from lakewright.identity import tokens

SQL = "databricks-sql-access"


def test_what_is_taken_in_one_workspace_is_kept_in_another(account, server, dev, people):
    bob = account.people.person("bob")
    account.client.workspace_assignment.update(int(dev.id), int(bob.id), permissions=[WorkspacePermission.USER])
    there = server.platform.call(bob.id, tokens.create, None, dev.id, comment="test")["token_value"]
    admin = people.admin
    here_client, admin.url = admin.client, dev.url
    for client in (here_client, admin.client):
        assert SQL in {each.value for each in client.groups.get("users").entitlements}
    admin.client.groups.patch(
        "users", operations=[Patch(op=PatchOp.REMOVE, path=f'entitlements[value eq "{SQL}"]')],
        schemas=[PatchSchema.URN_IETF_PARAMS_SCIM_API_MESSAGES_2_0_PATCH_OP],
    )  # fmt: skip
    assert SQL in {each.value for each in here_client.groups.get("users").entitlements}
    list(bob.client.warehouses.list())
    bob.token, bob.url = there, dev.url
    with pytest.raises(PermissionDenied, match=SQL):
        list(bob.client.warehouses.list())
    list(bob.client.jobs.list())


def test_an_administrator_of_the_workspace_lacks_nothing_there(account, dev, people):
    boss = account.person("boss", dev, admin=True)
    admin = people.admin
    admin.url = dev.url
    gone = [Patch(op=PatchOp.REMOVE, path="entitlements")]
    schemas = [PatchSchema.URN_IETF_PARAMS_SCIM_API_MESSAGES_2_0_PATCH_OP]
    admin.client.groups.patch("users", operations=gone, schemas=schemas)
    assert not admin.client.groups.get("users").entitlements
    list(boss.client.warehouses.list())
    list(boss.client.jobs.list())

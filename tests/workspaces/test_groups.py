"""Groups as ways in: who manages one cannot use it to climb, and depth is no way around."""

from itertools import pairwise

import pytest
from databricks.sdk.errors import BadRequest, PermissionDenied
from databricks.sdk.service.iam import Patch, PatchOp, PatchSchema

from lakewright.identity import groups, principals, workspace_access
from lakewright.kernel import grants, objects
from lakewright.kernel.faults import Invalid
from lakewright.kernel.policy import bump

DEPTH = 1000


def test_who_manages_a_group_inside_admins_cannot_climb_into_admins(account, server):
    people, platform = account.people, server.platform
    inner = people.group("helpers")
    platform.transact(lambda ctx: principals.add_member(ctx, "admins", inner))
    mallory = people.person("mallory")

    def give(ctx):
        grants.change(ctx, objects.by_id(ctx, groups.GROUP, inner), mallory.id, add=["MANAGE"])

    platform.transact(give)
    add = Patch(op=PatchOp.ADD, path="members", value=[{"value": mallory.id}])
    for group in (inner, "admins"):
        with pytest.raises(PermissionDenied):
            mallory.client.groups.patch(
                group, operations=[add], schemas=[PatchSchema.URN_IETF_PARAMS_SCIM_API_MESSAGES_2_0_PATCH_OP]
            )
    assert "admins" not in platform.snapshot(lambda ctx: platform.policy.closure(ctx.tx, mallory.id))


def test_a_chain_of_a_thousand_groups_lets_in_and_closes_no_circle(platform):
    def chain(ctx):
        ids = [f"9{n:014d}" for n in range(DEPTH)]
        ctx.tx.many(
            "INSERT INTO principals (id, kind, name, display_name, active, created_at) VALUES (?, 'group', ?, ?, 1, 1)",
            [(i, f"g{i}", f"g{i}") for i in ids],
        )
        ctx.tx.many("INSERT INTO members (group_id, member_id) VALUES (?, ?)", list(pairwise(ids)))
        bump(ctx.tx)
        workspace_access.assign(ctx, ids[0])
        assert workspace_access.may_enter(ctx, ids[-1])
        for outer, member in ((ids[-1], ids[0]), (ids[500], ids[500])):
            with pytest.raises(Invalid, match="itself"):
                principals.add_member(ctx, outer, member)
        workspace_access.unassign(ctx, ids[0])
        return workspace_access.may_enter(ctx, ids[-1])

    assert platform.transact(chain) is False


def test_the_last_administrator_of_the_account_stays(account):
    admin = account.people.admin
    with pytest.raises(BadRequest):
        admin.client.groups.patch(
            "admins", operations=[Patch(op=PatchOp.REMOVE, path=f'members[value eq "{admin.id}"]')],
            schemas=[PatchSchema.URN_IETF_PARAMS_SCIM_API_MESSAGES_2_0_PATCH_OP],
        )  # fmt: skip

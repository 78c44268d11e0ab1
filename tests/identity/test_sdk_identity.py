"""People, groups, machines and tokens through the unmodified SDK."""

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import NotFound, PermissionDenied, Unauthenticated
from databricks.sdk.service.iam import ComplexValue, Patch, PatchOp, PatchSchema


def test_a_person_sees_direct_and_inherited_groups(people):
    admin = people.admin.client
    bob = people.person("bob@example.com")
    inner = admin.groups.create(display_name="analysts", members=[ComplexValue(value=bob.id)])
    admin.groups.create(display_name="readers", members=[ComplexValue(value=inner.id)])
    me = bob.client.current_user.me()
    assert me.user_name == "bob@example.com"
    assert {(g.display, g.type) for g in me.groups} == {
        ("analysts", "direct"),
        ("readers", "indirect"),
        ("users", "direct"),
    }


def test_a_group_inside_itself_is_refused(people):
    admin = people.admin.client
    outer = admin.groups.create(display_name="outer")
    inner = admin.groups.create(display_name="inner")
    put = lambda group, member: admin.groups.patch(
        group,
        operations=[Patch(op=PatchOp.ADD, path="members", value=[{"value": member}])],
        schemas=[PatchSchema.URN_IETF_PARAMS_SCIM_API_MESSAGES_2_0_PATCH_OP],
    )
    put(outer.id, inner.id)
    with pytest.raises(Exception, match="cannot be a member of itself"):
        put(inner.id, outer.id)


def test_a_stranger_cannot_make_users_or_see_them(people):
    bob = people.person("bob").client
    with pytest.raises(PermissionDenied):
        bob.users.create(user_name="eve")
    assert list(bob.users.list()) == []


def test_a_deactivated_person_is_out_at_once(people):
    bob = people.person("bob")
    assert bob.client.current_user.me().user_name == "bob"
    people.admin.client.users.patch(
        bob.id,
        operations=[Patch(op=PatchOp.REPLACE, path="active", value="False")],
        schemas=[PatchSchema.URN_IETF_PARAMS_SCIM_API_MESSAGES_2_0_PATCH_OP],
    )
    with pytest.raises(Unauthenticated):
        bob.client.current_user.me()


def test_a_personal_token_ends_with_its_lifetime_and_with_its_revocation(people, clock):
    bob = people.person("bob").client
    short = bob.tokens.create(lifetime_seconds=60)
    kept = bob.tokens.create(comment="kept")
    as_short = WorkspaceClient(host=bob.config.host, token=short.token_value, auth_type="pat")
    assert as_short.current_user.me().user_name == "bob"
    clock.advance(61)
    with pytest.raises(Unauthenticated):
        as_short.current_user.me()
    as_kept = WorkspaceClient(host=bob.config.host, token=kept.token_value, auth_type="pat")
    bob.tokens.delete(kept.token_info.token_id)
    with pytest.raises(Unauthenticated):
        as_kept.current_user.me()


def test_a_machine_signs_in_with_client_credentials(people, server):
    admin = people.admin.client
    machine = admin.service_principals.create(display_name="trainer")
    made = admin.service_principal_secrets_proxy.create(machine.id)
    as_machine = WorkspaceClient(host=server.url, client_id=machine.application_id, client_secret=made.secret)
    assert as_machine.current_user.me().user_name == machine.application_id
    admin.service_principal_secrets_proxy.delete(machine.id, made.id)
    with pytest.raises(Exception, match="invalid_client|Client authentication failed"):
        WorkspaceClient(host=server.url, client_id=machine.application_id, client_secret=made.secret).current_user.me()


def test_a_recreated_person_has_nothing_of_the_old_one(people):
    admin = people.admin.client
    bob = people.person("bob")
    admin.groups.create(display_name="secret", members=[ComplexValue(value=bob.id)])
    admin.users.delete(bob.id)
    with pytest.raises(NotFound):
        admin.users.get(bob.id)
    again = admin.users.create(user_name="bob")
    assert again.id != bob.id
    assert [g.display for g in admin.users.get(again.id).groups] == ["users"]

"""Secrets through the unmodified SDK, and where they must not be found."""

import base64

import pytest
from databricks.sdk.errors import BadRequest, NotFound, PermissionDenied, ResourceAlreadyExists
from databricks.sdk.service.workspace import AclPermission

from lakewright.kernel import objects
from lakewright.kernel.roots import WORKSPACE
from lakewright.workspace import secrets

CANARY = "CANARY-7c1f"


@pytest.fixture
def bob(people):
    bob = people.person("bob")
    bob.client.secrets.create_scope("prod")
    bob.client.secrets.put_secret("prod", "db", string_value=CANARY)
    return bob


def test_a_secret_lives(people, bob):
    it = bob.client.secrets
    assert base64.b64decode(it.get_secret("prod", "db").value).decode() == CANARY
    it.put_secret("prod", "raw", bytes_value=base64.b64encode(b"\xff\x00").decode())
    assert base64.b64decode(it.get_secret("prod", "raw").value) == b"\xff\x00"
    assert [s.key for s in it.list_secrets("prod")] == ["db", "raw"]
    assert [s.name for s in it.list_scopes()] == ["prod"]
    it.delete_secret("prod", "raw")
    with pytest.raises(NotFound):
        it.get_secret("prod", "raw")
    with pytest.raises(ResourceAlreadyExists):
        it.create_scope("prod")
    it.delete_scope("prod")
    it.create_scope("prod")
    with pytest.raises(NotFound):
        it.get_secret("prod", "db")


def test_each_permission_opens_so_much_and_no_more(people, bob):
    eve = people.person("eve").client.secrets
    reads, writes, manages = (
        lambda: eve.get_secret("prod", "db"), lambda: eve.put_secret("prod", "x", string_value="x"),
        lambda: list(eve.list_acls("prod")),
    )  # fmt: skip
    for permission, works, fails in (
        (None, [], [reads, writes, manages]),
        (AclPermission.READ, [reads], [writes, manages]),
        (AclPermission.WRITE, [reads, writes], [manages]),
        (AclPermission.MANAGE, [reads, writes, manages], []),
    ):
        if permission:
            bob.client.secrets.put_acl("prod", "eve", permission)
            assert bob.client.secrets.get_acl("prod", "eve").permission == permission
        for act in works:
            act()
        for act in fails:
            with pytest.raises(PermissionDenied):
                act()
        assert [s.name for s in eve.list_scopes()] == (["prod"] if permission else [])
    bob.client.secrets.delete_acl("prod", "eve")
    with pytest.raises(PermissionDenied):
        reads()


def test_a_secret_is_in_no_table_as_itself(people, bob, platform):
    bob.client.secrets.get_secret("prod", "db")
    with pytest.raises(BadRequest):
        bob.client.secrets.put_secret("prod", "not a key", string_value=CANARY)
    tables = ("audit", "objects", "events", "workspace_secrets", "inflight")
    everything = platform.snapshot(lambda ctx: [dict(r) for t in tables for r in ctx.tx.all(f"SELECT * FROM {t}")])
    assert "putSecret" in str(everything)
    for form in (CANARY, base64.b64encode(CANARY.encode()).decode()):
        assert form not in str(everything)


def test_a_value_keeps_its_measure(people, bob):
    it = bob.client.secrets
    it.put_secret("prod", "big", string_value="x" * 131_072)
    for wrong in ({"string_value": "x" * 131_073}, {}, {"bytes_value": "not base64!"}):
        with pytest.raises(BadRequest):
            it.put_secret("prod", "k", **wrong)


def test_work_uses_what_its_principal_may_read(people, bob, platform):
    from lakewright.kernel.faults import Denied

    eve = people.person("eve")
    reveal = lambda who, scope: platform.snapshot(lambda c: secrets.reveal(c.as_principal(who.id), scope, "db"))
    assert reveal(bob, "prod") == CANARY
    for scope in ("prod", "nothing"):
        with pytest.raises(Denied):
            reveal(eve, scope)


def test_what_a_scope_cannot_be_is_refused_by_name(people, bob):
    from databricks.sdk.errors import InvalidParameterValue, NotImplemented
    from databricks.sdk.service.workspace import AzureKeyVaultSecretScopeMetadata, ScopeBackendType

    it = bob.client.secrets
    with pytest.raises(NotImplemented, match="AZURE_KEYVAULT"):
        it.create_scope("kv", scope_backend_type=ScopeBackendType.AZURE_KEYVAULT)
    with pytest.raises(NotImplemented):
        it.create_scope("kv", backend_azure_keyvault=AzureKeyVaultSecretScopeMetadata("https://x", "y"))
    with pytest.raises(NotImplemented, match="initial_manage_principal"):
        it.create_scope("kv", initial_manage_principal="bob")
    with pytest.raises(ResourceAlreadyExists):
        it.create_scope("PROD")  # names differ by more than case
    for name in ("", "a b", "a/b", "x" * 129, "caf\u00e9"):
        with pytest.raises(InvalidParameterValue):
            it.create_scope(name)
    assert [s.name for s in it.list_scopes()] == ["prod"]
    it.create_scope("x" * 128)


def test_a_scope_is_full_at_a_thousand_secrets_and_a_workspace_at_a_thousand_scopes(people, bob, platform):
    from databricks.sdk.errors import ResourceExhausted

    it = bob.client.secrets
    scope = platform.snapshot(lambda ctx: objects.find(ctx, secrets.SCOPE, "prod"))

    def fill(ctx):
        ctx.tx.many(
            "INSERT INTO workspace_secrets (scope_id, name, sealed, updated_at) VALUES (?, ?, '', 0)",
            [(scope.id, f"k{n}") for n in range(secrets.MOST_SECRETS - 2)],
        )
        for n in range(secrets.MOST_SCOPES - 1):
            objects.create(ctx, secrets.SCOPE, f"s{n}", secrets.Scope(), under=objects.find(ctx, WORKSPACE, ""))

    platform.transact(fill)
    it.put_secret("prod", "the-last", string_value="x")
    it.put_secret("prod", "the-last", string_value="one that is there may change")
    with pytest.raises(ResourceExhausted):
        it.put_secret("prod", "one-more", string_value="x")
    with pytest.raises(ResourceExhausted):
        it.create_scope("one-more")


def test_everybody_may_manage_a_scope_made_for_everybody(people, bob):
    bob.client.secrets.create_scope("shared", initial_manage_principal="users")
    eve = people.person("eve").client.secrets
    eve.put_secret("shared", "k", string_value="v")
    assert {(a.principal, a.permission) for a in eve.list_acls("shared")} == {
        ("bob", AclPermission.MANAGE), ("users", AclPermission.MANAGE)}  # fmt: skip


def test_a_permission_that_is_not_there_cannot_be_taken_and_an_owners_stays(people, bob):
    from databricks.sdk.errors import InvalidParameterValue, NotImplemented

    people.person("eve")
    it = bob.client.secrets
    for act in (it.get_acl, it.delete_acl):
        with pytest.raises(NotFound):
            act("prod", "eve")
        with pytest.raises((InvalidParameterValue, BadRequest)):
            act("prod", "nobody")
    with pytest.raises(NotImplemented):
        it.delete_acl("prod", "bob")
    with pytest.raises(NotImplemented):
        it.put_acl("prod", "bob", AclPermission.READ)
    assert it.get_acl("prod", "bob").permission == AclPermission.MANAGE

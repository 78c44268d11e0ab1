"""Secrets through the unmodified SDK, and where they must not be found."""

import base64

import pytest
from databricks.sdk.errors import BadRequest, NotFound, PermissionDenied, ResourceAlreadyExists
from databricks.sdk.service.workspace import AclPermission

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

"""Okta and Entra ID provision: their own requests, in their order, over a socket."""

import json
from pathlib import Path
from string import Template

import httpx
import pytest
from actors import Person
from databricks.sdk.errors import BadRequest, PermissionDenied, Unauthenticated
from databricks.sdk.service.iam import Patch, PatchOp

HERE = Path(__file__).parent / "provisioning"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


@pytest.mark.parametrize("provider", ["okta", "entra"])
def test_an_identity_provider_creates_updates_deactivates_and_deletes(server, people, provider):
    kept: dict[str, str] = {}
    base = f"{server.url}/api/2.0/preview/scim/v2"
    headers = {"authorization": f"Bearer {people.admin.token}", "accept": "application/scim+json"}
    for raw in json.loads((HERE / f"{provider}.json").read_text()):
        step = json.loads(Template(json.dumps(raw)).safe_substitute(kept))
        body = {"content": json.dumps(step["body"])} if "body" in step else {}
        sent = {**headers, "content-type": "application/scim+json"}
        answer = httpx.request(step["verb"], base + step["path"], headers=sent, timeout=30, **body)
        said = f"{provider}: {step['says']}: {answer.status_code} {answer.text}"
        assert answer.status_code == step["status"], said
        if answer.status_code == 204:
            assert answer.content == b"", said
            continue
        assert answer.headers["content-type"] == "application/scim+json", said
        shown = answer.json()
        for name, value in step.get("holds", {}).items():
            assert shown.get(name) == value, f"{name}: {said}"
        if "members" in step:
            assert {m["value"] for m in shown["members"]} == set(step["members"]), said
        kept |= {name: shown[field] for name, field in step.get("keep", {}).items()}
    trail = server.platform.snapshot(lambda ctx: ctx.tx.all("SELECT ask FROM audit"))
    assert not any("1mz050nq" in row["ask"] for row in trail), "a password is in the audit trail"


def test_a_password_is_neither_kept_nor_recorded_nor_answered(server, people):
    secret = "correct horse battery staple"
    admin, made = people.admin, people.person("bob@example.com")
    for verb, path, body in (
        ("POST", "Users", {"userName": "eve@example.com", "PassWord": secret}),
        ("PATCH", f"Users/{made.id}", {"Operations": [{"op": "replace", "path": "password", "value": secret}]}),
        ("PATCH", f"Users/{made.id}", {"Operations": [{"op": "replace", "value": {"password": secret, "title": "x"}}]}),
        ("PUT", f"Users/{made.id}", {"userName": "bob@example.com", "password": secret}),
    ):
        assert secret not in json.dumps(admin.do(verb, f"/api/2.0/preview/scim/v2/{path}", **body))
    with server.platform.store.snapshot() as tx:
        for table in ("objects", "scim_values", "principals", "audit", "tokens", "events"):
            assert not [row for row in tx.all(f"SELECT * FROM {table}") if secret in str(dict(row))], table


def test_every_token_of_a_deactivated_person_fails_at_the_very_next_request(people):
    bob = people.person("bob@example.com")
    others = [people._with_token(bob.id, bob.name) for _ in range(3)]
    people.admin.do(
        "PATCH", f"/api/2.0/preview/scim/v2/Users/{bob.id}", schemas=[PATCH],
        Operations=[{"op": "Replace", "path": "active", "value": "False"}],
    )  # fmt: skip
    for each in (bob, *others):
        with pytest.raises(Unauthenticated):
            each.client.current_user.me()


def test_a_renamed_person_keeps_what_was_granted_and_the_name_alone_grants_nothing(people):
    admin, bob = people.admin.client, people.person("bob@example.com", groups=["analysts"])
    admin.users.update(bob.id, user_name="robert@example.com", display_name="Robert")
    assert bob.client.current_user.me().user_name == "robert@example.com"
    assert "analysts" in {g.display for g in bob.client.current_user.me().groups}
    again = people.admin.client.users.create(user_name="bob@example.com")
    assert [g.display for g in admin.users.get(again.id).groups] == ["users"]


def test_an_identity_provider_gets_a_principal_and_a_token_of_its_own(people):
    """As the guide has it."""
    w = people.admin.client
    robot = w.service_principals.create(display_name="okta")
    w.groups.patch("admins", operations=[Patch(op=PatchOp.ADD, path="members", value=[{"value": robot.id}])])
    token = w.token_management.create_obo_token(
        application_id=robot.application_id, lifetime_seconds=90 * 24 * 3600, scopes=["scim"]
    )
    as_okta = Person(robot.id, "okta", token.token_value, people.url)
    made = as_okta.do("POST", "/api/2.0/preview/scim/v2/Users", userName="bob@example.com")
    who = people.platform.snapshot(
        lambda ctx: ctx.tx.scalar("SELECT who FROM audit WHERE action = 'createUser' AND who_name <> 'system'")
    )
    assert (made["active"], who) == (True, robot.id)
    with pytest.raises(PermissionDenied, match="limited to the scopes scim"):
        as_okta.client.catalogs.create("taken")


def test_nobody_gets_a_token_of_another_person(people):
    people.person("bob@example.com")
    for name in ("bob@example.com", "admins", "nobody"):
        with pytest.raises(BadRequest, match="no service principal"):
            people.admin.client.token_management.create_obo_token(application_id=name)

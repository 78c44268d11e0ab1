"""Every kind of credential of somebody who is taken out of a workspace, and of somebody who comes back."""

import base64
import hashlib
import json
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from databricks.sdk.service.iam import WorkspacePermission
from databricks.sdk.service.oauth2 import FederationPolicy, OidcFederationPolicy
from joserfc import jwt
from joserfc.jwk import RSAKey

from lakewright.identity import principals, secrets, tokens

ME = "/api/2.0/preview/scim/v2/Me"
BACK = "http://localhost:8020"
VERIFIER = "v" * 50


def asked(place, token):
    return httpx.get(place.url + ME, headers={"authorization": f"Bearer {token}"}).status_code


def form(place, **given):
    return httpx.post(f"{place.url}/oidc/v1/token", data=given)


def machine_token(place, client_id, secret):
    return form(place, grant_type="client_credentials", scope="all-apis", client_id=client_id, client_secret=secret)


def signed_in(place, token):
    browser = httpx.Client(base_url=place.url)
    browser.post("/console/login", data={"token": token}, headers={"origin": place.url})
    return browser


def code(place, browser):
    """What an application gets from the browser of somebody who agrees; empty if that does not come about."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    page = browser.get("/oidc/v1/authorize", params={
        "response_type": "code", "client_id": "databricks-cli", "redirect_uri": BACK, "state": "s" * 16,
        "scope": "all-apis offline_access", "code_challenge": challenge, "code_challenge_method": "S256",
    })  # fmt: skip
    if page.status_code == 303:
        page = browser.get(page.headers["location"])
    agreed = browser.post(str(page.url), data={"answer": "agree"}, headers={"origin": place.url})
    return parse_qs(urlsplit(agreed.headers.get("location", "")).query).get("code", [""])[0]


def redeemed(place, code_):
    return form(place, grant_type="authorization_code", code=code_, redirect_uri=BACK, code_verifier=VERIFIER,
                client_id="databricks-cli")  # fmt: skip


@pytest.fixture
def crew(account, server, dev):
    """A group that is assigned to dev, with a person and a machine that come in through nothing else."""
    people, platform = account.people, server.platform
    group = people.group("crew")
    bob, machine = people.person("bob"), people.service_principal("trainer")
    for each in (bob, machine):
        account.client.workspace_assignment.delete(int(platform.workspace), int(each.id))
    platform.transact(lambda ctx: principals.add_members(ctx, group, [bob.id, machine.id]))
    account.client.workspace_assignment.update(int(dev.id), int(group), permissions=[WorkspacePermission.USER])
    return group, bob, machine


def uses(account, server, clock, dev, bob, machine) -> "dict[str, Callable[[], bool]]":
    """Every way in, made while there is one: whether each still leads in."""
    platform = server.platform
    token = platform.call(bob.id, tokens.create, None, dev.id, comment="t")["token_value"]
    secret = platform.call(account.people.admin.id, secrets.create, service_principal_id=machine.id)["secret"]
    short = machine_token(dev, machine.name, secret).json()["access_token"]
    key = RSAKey.generate_key(2048, {"kid": "runner", "use": "sig"})
    keys = json.dumps({"keys": [key.as_dict(private=False)]})
    policy = OidcFederationPolicy(issuer="https://ci.example", audiences=["lakewright"], subject="ci", jwks_json=keys)
    account.client.service_principal_federation_policy.create(int(machine.id), FederationPolicy(oidc_policy=policy))
    now = clock.now() // 1000
    claims = {"iss": "https://ci.example", "sub": "ci", "aud": "lakewright", "iat": now, "exp": now + 600}
    workload = jwt.encode({"alg": "RS256", "kid": "runner"}, claims, key)
    browser = signed_in(dev, token)
    application = redeemed(dev, code(dev, browser)).json()
    refresh = [application["refresh_token"]]

    def goes_in(answer):
        return answer.status_code == 200 and asked(dev, answer.json()["access_token"]) == 200

    def refreshes():
        answer = form(dev, grant_type="refresh_token", client_id="databricks-cli", refresh_token=refresh[0])
        refresh[0] = answer.json().get("refresh_token", refresh[0])
        return goes_in(answer)

    def exchanged():
        return form(
            dev, grant_type="urn:ietf:params:oauth:grant-type:token-exchange", subject_token=workload,
            subject_token_type="urn:ietf:params:oauth:token-type:jwt", client_id=machine.name, scope="all-apis",
        )  # fmt: skip

    def agreed():
        got = code(dev, browser)
        return bool(got) and goes_in(redeemed(dev, got))

    return {
        "a personal token": lambda: asked(dev, token) == 200,
        "a personal token at the door of the console": lambda: bool(signed_in(dev, token).cookies),
        "a machine's access token": lambda: asked(dev, short) == 200,
        "a machine's secret": lambda: goes_in(machine_token(dev, machine.name, secret)),
        "a workload's own token": lambda: goes_in(exchanged()),
        "an application's access token": lambda: asked(dev, application["access_token"]) == 200,
        "an application's refresh token": refreshes,
        "a console session that agrees to an application": agreed,
    }


def test_out_of_the_group_is_out_at_once_with_everything_and_back_in_needs_nothing_else(
    account, server, clock, dev, crew
):
    group, bob, machine = crew
    ways = uses(account, server, clock, dev, bob, machine)
    assert [name for name, leads_in in ways.items() if not leads_in()] == []
    server.platform.transact(lambda ctx: principals.remove_members(ctx, group, [bob.id, machine.id]))
    assert [name for name, leads_in in ways.items() if leads_in()] == []
    server.platform.transact(lambda ctx: principals.add_members(ctx, group, [bob.id, machine.id]))
    assert [name for name, leads_in in ways.items() if not leads_in()] == []


def test_the_groups_assignment_ends_for_all_who_came_in_by_it(account, server, clock, dev, crew):
    group, bob, machine = crew
    ways = uses(account, server, clock, dev, bob, machine)
    assignments = account.client.workspace_assignment
    assignments.delete(int(dev.id), int(group))
    assert [name for name, leads_in in ways.items() if leads_in()] == []
    assignments.update(int(dev.id), int(group), permissions=[WorkspacePermission.USER])
    assert [name for name, leads_in in ways.items() if not leads_in()] == []

"""Workloads that prove themselves with their own platform's token, through the unmodified SDK."""

import json
import socket
import time

import httpx
import pytest
from databricks.sdk import AccountClient, WorkspaceClient
from databricks.sdk.errors import NotFound, PermissionDenied
from databricks.sdk.service.oauth2 import FederationPolicy, OidcFederationPolicy
from joserfc import jwt
from joserfc.jwk import RSAKey

from lakewright.identity import fetching
from lakewright.identity.fetching import Unreachable

ISSUER = "https://token.actions.example"
SUBJECT = "repo:acme/models:environment:prod"


@pytest.fixture(scope="module")
def key():
    return RSAKey.generate_key(2048, {"kid": "runner", "use": "sig"})


@pytest.fixture
def account(server, people):
    return AccountClient(
        host=server.url, account_id=people.admin.client.config.account_id, token=people.admin.token, auth_type="pat"
    )


@pytest.fixture
def machine(people):
    return people.admin.client.service_principals.create(display_name="deployer")


@pytest.fixture
def subject_token(key, clock):
    def make(**changes):
        now = clock.now() // 1000
        claims = {"iss": ISSUER, "sub": SUBJECT, "aud": "lakewright", "exp": now + 600, "iat": now, **changes}
        return jwt.encode({"alg": "RS256", "kid": "runner"}, claims, key)

    return make


def policy(key, **changes):
    keys = json.dumps({"keys": [key.as_dict(private=False)]})
    given = {"issuer": ISSUER, "audiences": ["lakewright"], "subject": SUBJECT, "jwks_json": keys, **changes}
    return FederationPolicy(oidc_policy=OidcFederationPolicy(**given))


def exchange(server, token, client_id=None, **form):
    given = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": token, "client_id": client_id,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", **form,
    }  # fmt: skip
    return httpx.post(f"{server.url}/oidc/v1/token", data={k: v for k, v in given.items() if v is not None})


def test_a_workload_signs_in_with_the_sdk_and_its_own_token(
    server, account, machine, key, subject_token, tmp_path, monkeypatch
):
    """The SDK reads the token from a file, as Kubernetes gives it, and asks for ours with it."""
    account.service_principal_federation_policy.create(int(machine.id), policy(key), policy_id="github")
    file = tmp_path / "token"
    file.write_text(subject_token())
    monkeypatch.setenv("DATABRICKS_OIDC_TOKEN_FILEPATH", str(file))
    client = WorkspaceClient(host=server.url, client_id=machine.application_id, auth_type="file-oidc")
    assert client.current_user.me().user_name == machine.application_id
    audited = server.platform.snapshot(
        lambda ctx: ctx.tx.all("SELECT who_name, ask FROM audit WHERE action = 'oauthToken'")
    )
    assert [row["who_name"] for row in audited] == [machine.application_id]
    assert file.read_text() not in audited[0]["ask"]


def test_the_token_it_gets_is_short_and_makes_none_that_is_longer(server, account, machine, key, subject_token, clock):
    account.service_principal_federation_policy.create(int(machine.id), policy(key))
    answer = exchange(server, subject_token(), machine.application_id, scope="authentication jobs").json()
    assert (answer["expires_in"], answer["scope"]) == (3600, "authentication jobs")
    made = WorkspaceClient(host=server.url, token=answer["access_token"], auth_type="pat").tokens.create()
    assert made.token_info.expiry_time <= clock.now() + 3600_000
    assert made.token_info.scopes == ["authentication", "jobs"]


NOT_QUITE = (
    {"sub": "repo:evil/models"},
    {"sub": SUBJECT + " "},
    {"sub": SUBJECT.upper()},
    {"sub": [SUBJECT]},
    {"sub": None},
    {"iss": ISSUER + "/"},
    {"aud": "another"},
    {"aud": []},
    {"exp": 1},
    {"exp": "later"},
    {"nbf": 9_999_999_999},
)


def test_a10_a11_a12_a_token_that_is_not_exactly_what_the_policy_says_is_refused(
    server, account, machine, key, subject_token
):
    account.service_principal_federation_policy.create(int(machine.id), policy(key))
    for changes in NOT_QUITE:
        answer = exchange(server, subject_token(**changes), machine.application_id)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant"), changes
    right = exchange(server, subject_token(), machine.application_id)
    assert right.status_code == 200


def test_a_policy_is_of_one_service_principal(server, people, account, machine, key, subject_token):
    account.service_principal_federation_policy.create(int(machine.id), policy(key))
    other = people.admin.client.service_principals.create(display_name="other")
    answers = {
        exchange(server, subject_token(), other.application_id).text,
        exchange(server, subject_token(), "nobody").text,
        exchange(server, subject_token()).text,
        exchange(server, "a.b.c", machine.application_id).text,
        exchange(server, people.admin.token, machine.application_id).text,
    }
    assert len(answers) == 1, "one answer, whether the machine, the policy or the token is wrong"


def test_deleting_the_policy_or_the_machine_ends_it(server, people, account, machine, key, subject_token):
    policies = account.service_principal_federation_policy
    policies.create(int(machine.id), policy(key), policy_id="github")
    token = exchange(server, subject_token(), machine.application_id).json()["access_token"]
    policies.delete(int(machine.id), "github")
    assert exchange(server, subject_token(), machine.application_id).status_code == 400
    policies.create(int(machine.id), policy(key), policy_id="github")
    people.admin.client.service_principals.delete(machine.id)
    assert exchange(server, subject_token(), machine.application_id).status_code == 400
    me = httpx.get(f"{server.url}/api/2.0/preview/scim/v2/Me", headers={"authorization": f"Bearer {token}"})
    assert me.status_code == 401


def test_an_account_policy_lets_people_in_by_their_name(server, people, account, key, subject_token):
    ada = people.person("ada@example.com")
    made = account.federation_policy.create(
        policy(key, subject=None, subject_claim="email", audiences=None), policy_id="company"
    )
    assert made.name.endswith("/federationPolicies/company")
    ours = account.config.account_id
    answer = exchange(server, subject_token(sub="1", email="Ada@example.com", aud=ours))
    me = WorkspaceClient(host=server.url, token=answer.json()["access_token"], auth_type="pat").current_user.me()
    assert me.id == ada.id
    assert exchange(server, subject_token(sub="1", email="nobody@example.com", aud=ours)).status_code == 400
    assert exchange(server, subject_token(sub="1", email="admins", aud=ours)).status_code == 400, "a group is nobody"
    assert exchange(server, subject_token(sub="1", email="ada@example.com", aud="other")).status_code == 400
    assert exchange(server, subject_token(sub="1", email="admin", aud=ours)).status_code == 400, "a name of our own"


def test_policies_are_written_read_listed_changed_and_deleted_by_administrators_only(
    server, people, account, machine, key
):
    machines, mine = account.service_principal_federation_policy, int(machine.id)
    machines.create(mine, policy(key), policy_id="github")
    assert machines.get(mine, "github").oidc_policy.subject == SUBJECT
    changed = policy(key, subject="repo:acme/other")
    assert machines.update(mine, "github", changed).oidc_policy.subject == "repo:acme/other"
    assert [p.policy_id for p in machines.list(mine)] == ["github"]
    assert list(account.federation_policy.list()) == []
    with pytest.raises(Exception, match="already exists"):
        machines.create(mine, policy(key), policy_id="github")
    for wrong, said in (
        (policy(key, subject=None), "subject is required"),
        (policy(key, jwks_json="{}"), "not a set of keys"),
        (policy(key, jwks_json='{"keys":[{"kty":"oct","k":"AA"}]}'), "symmetric"),
        (policy(key, jwks_uri="https://x.example/keys"), "either jwks_json or jwks_uri"),
    ):
        with pytest.raises(Exception, match=said):
            machines.create(mine, wrong)
    with pytest.raises(Exception, match="lower-case letters"):
        machines.create(mine, policy(key), policy_id="../x")
    bob = people.person("bob@example.com")
    as_bob = AccountClient(host=server.url, account_id=account.config.account_id, token=bob.token, auth_type="pat")
    with pytest.raises(PermissionDenied):
        list(as_bob.federation_policy.list())
    with pytest.raises(PermissionDenied):
        as_bob.service_principal_federation_policy.create(mine, policy(key))
    elsewhere = AccountClient(host=server.url, account_id="other", token=people.admin.token, auth_type="pat")
    with pytest.raises(NotFound):
        list(elsewhere.federation_policy.list())
    machines.delete(mine, "github")
    with pytest.raises(NotFound):
        machines.get(mine, "github")


@pytest.fixture
def publisher():
    """A web server on this machine that publishes what the test puts into it, and counts what it is asked."""
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    pages, asked = {}, []

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200 if self.path in pages else 404)
            self.end_headers()
            self.wfile.write(json.dumps(pages.get(self.path)).encode())

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", pages, asked
    server.shutdown()
    server.server_close()


def test_an_issuers_keys_are_read_from_its_metadata_remembered_and_read_again_for_a_new_key(key, clock, publisher):
    from lakewright.identity.issuers import Expected, Issuers, Untrusted

    url, pages, asked = publisher
    issuers, expected = Issuers(clock), Expected(url, frozenset({"us"}))
    pages["/.well-known/openid-configuration"] = {"issuer": url, "jwks_uri": f"{url}/keys"}
    pages["/keys"] = {"keys": [key.as_dict(private=False)]}

    def token(by, kid):
        now = clock.now() // 1000
        return jwt.encode({"alg": "RS256", "kid": kid}, {"iss": url, "aud": "us", "sub": "x", "exp": now + 600}, by)

    for _ in range(3):
        assert issuers.claims(token(key, "runner"), expected, internal=True)["sub"] == "x"
    assert asked == ["/.well-known/openid-configuration", "/keys"]
    new = RSAKey.generate_key(2048, {"kid": "new"})
    for _ in range(5):
        with pytest.raises(Untrusted):
            issuers.claims(token(new, "new"), expected, internal=True)
    assert len(asked) == 2, "made-up key ids do not become requests to the issuer"
    pages["/keys"] = {"keys": [key.as_dict(private=False), new.as_dict(private=False)]}
    clock.advance(31)
    assert issuers.claims(token(new, "new"), expected, internal=True)["sub"] == "x"


def test_metadata_of_another_issuer_and_an_issuer_that_is_away_are_not_believed(key, clock, publisher):
    from lakewright.identity.issuers import Expected, Issuers, Untrusted

    url, pages, asked = publisher
    issuers = Issuers(clock)
    pages["/.well-known/openid-configuration"] = {"issuer": "https://evil.example", "jwks_uri": f"{url}/keys"}
    with pytest.raises(Untrusted, match="that of another"):
        issuers.claims("a.b.c", Expected(url, frozenset({"us"})), internal=True)
    away = Issuers(clock)
    del pages["/.well-known/openid-configuration"]
    before = len(asked)
    for _ in range(5):
        with pytest.raises(Unreachable):
            away.metadata(url, internal=True)
    assert len(asked) == before + 1, "it is not asked again by every caller"
    pages["/.well-known/openid-configuration"] = {"issuer": url}
    clock.advance(31)
    assert away.metadata(url, internal=True)["issuer"] == url
    with pytest.raises(Unreachable, match="not asked over http"):
        Issuers(clock).metadata(url, internal=False)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/keys", "https://localhost/keys", "https://[::1]/keys", "https://169.254.169.254/latest",
        "https://10.0.0.1/keys", "https://[::ffff:127.0.0.1]/keys", "https://2130706433/keys", "https://0x7f.1/keys",
        "https://0177.0.0.1/keys", "https://0.0.0.0/keys", "https://[fe80::1]/keys", "https://100.64.0.1/keys",
        "https://[64:ff9b::7f00:1]/keys", "https://[2002:7f00:1::]/keys", "https://224.0.0.1/", "http://example.com/keys",
        "file:///etc/passwd", "ftp://example.com/", "https://user:secret@example.com/", "https:///keys", "gopher://x/",
        "https://example.com/#x", "",
    ],
)  # fmt: skip
def test_keys_are_fetched_from_the_public_network_only(url):
    with pytest.raises(Unreachable) as refusal:
        fetching._address(url, internal=False)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254", "169.254.170.2", "169.254.0.1", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376",
        "[fe80::1]", "[fe80::a9fe:a9fe%251]", "[febf::1]", "[fd00:ec2::254]", "[fd00:ec2::23]", "[fd20:ce::254]",
        "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[::169.254.169.254]", "[64:ff9b::169.254.169.254]",
        "[64:ff9b:1::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "100.100.100.200", "168.63.129.16",
    ],
)  # fmt: skip
@pytest.mark.parametrize("internal", [True, False])
def test_e1_the_metadata_service_is_asked_with_no_setting(host, internal):
    """An internal provider may be on any network of ours; what hands out a machine's own credentials never is one."""
    with pytest.raises(Unreachable, match=r"never asked|has no address"):
        fetching._address(f"https://{host}/latest", internal=internal)


def test_e2_a_name_with_one_forbidden_address_among_its_own_is_not_asked(monkeypatch):
    def resolved(*addresses):
        answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 443)) for each in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: answer)
        return fetching._address("https://issuer.corp/keys", internal=True)

    assert resolved("10.0.0.7", "fd12:3456::7") == "10.0.0.7", "the setting opens the networks that are ours"
    for forbidden in ("169.254.169.254", "fe80::1%eth0", "::ffff:169.254.169.254", "fd00:ec2::254"):
        with pytest.raises(Unreachable, match="never asked"):
            resolved("10.0.0.7", forbidden)


def test_an_issuer_that_redirects_or_floods_or_dawdles_is_not_followed():
    """A real server on this machine, allowed as an internal provider."""
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Hostile(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path in ("/redirect", "/inwards"):
                self.send_response(302)
                self.send_header("location", "/good" if self.path == "/redirect" else "http://169.254.169.254/latest")
                self.end_headers()
                return
            self.send_response(200)
            self.end_headers()
            if self.path == "/flood":
                for _ in range(100):
                    self.wfile.write(b" " * 8192)
            elif self.path == "/slow":
                time.sleep(1.5)
            else:
                self.wfile.write(b'{"keys": []}')

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        assert fetching.get(f"{base}/good", internal=True) == {"keys": []}
        for path, said in (
            ("/redirect", "302"), ("/inwards", "answered 302"), ("/flood", "too much"),
            ("/slow", "did not answer as it should"),
        ):  # fmt: skip
            with pytest.raises(Unreachable, match=said):
                fetching.get(base + path, internal=True, seconds=0.5)
    finally:
        server.shutdown()
        server.server_close()

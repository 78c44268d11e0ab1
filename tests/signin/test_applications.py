"""Applications that people sign in to: the SDK's browser login, registered applications, and what goes wrong there."""

import base64
import hashlib
import secrets
import threading
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx
import pytest
from databricks.sdk import AccountClient, WorkspaceClient
from databricks.sdk.service.oauth2 import TokenAccessPolicy

ME = "/api/2.0/preview/scim/v2/Me"
BACK = "http://localhost:8020"


class Browser:
    """A person's browser with a session at the console: follows what a click would do."""

    def __init__(self, url, token):
        self.url, self.http = url, httpx.Client(base_url=url)
        answer = self.http.post("/console/login", data={"token": token}, headers={"origin": url})
        assert answer.status_code == 303, answer.text

    def open(self, address):
        """The application's window: the address, and where that leads, up to the consent page."""
        answer = self.http.get(address)
        return self.http.get(answer.headers["location"]) if answer.status_code == 303 else answer

    def answer(self, address, answer="agree"):
        """Where the consent page sends the browser."""
        shown = self.open(address)
        assert shown.status_code == 200, shown.text
        said = self.http.post(str(shown.url), data={"answer": answer}, headers={"origin": self.url})
        assert said.status_code == 303, said.text
        return said.headers["location"]


class Flow:
    """One run through the code flow as an application would, each step by itself."""

    def __init__(self, url, client_id="databricks-cli", redirect_uri=BACK, secret=None):
        self.url, self.client_id, self.redirect_uri, self.secret = url, client_id, redirect_uri, secret
        self.verifier, self.state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)

    def address(self, **changes):
        digest = hashlib.sha256(self.verifier.encode()).digest()
        asked = {
            "response_type": "code", "client_id": self.client_id, "redirect_uri": self.redirect_uri,
            "scope": "all-apis offline_access", "state": self.state, "code_challenge_method": "S256",
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), **changes,
        }  # fmt: skip
        return f"{self.url}/oidc/v1/authorize?{urlencode({k: v for k, v in asked.items() if v is not None})}"

    def token(self, **form):
        given = {"client_id": self.client_id, "client_secret": self.secret, **form}
        return httpx.post(f"{self.url}/oidc/v1/token", data={k: v for k, v in given.items() if v is not None})

    def redeem(self, code, **changes):
        whole = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": self.verifier,
        }
        return self.token(**{**whole, **changes})

    def refresh(self, refresh_token, **more):
        return self.token(grant_type="refresh_token", refresh_token=refresh_token, **more)

    def code(self, browser, **changes):
        back = dict(parse_qsl(urlsplit(browser.answer(self.address(**changes))).query))
        assert back["state"] == self.state
        return back["code"]


@pytest.fixture
def ada(people):
    return people.person("ada@example.com")


@pytest.fixture
def browser(server, ada):
    return Browser(server.url, ada.token)


@pytest.fixture
def flow(server):
    return Flow(server.url)


def works(server, token, path=ME):
    return httpx.get(server.url + path, headers={"authorization": f"Bearer {token}"}).status_code == 200


def test_the_sdks_browser_login_gets_a_token_and_refreshes_it(server, ada, browser, monkeypatch, tmp_path, clock):
    """The unmodified SDK: it opens a window (here: our stand-in for one) and waits on its port for the code."""
    monkeypatch.setenv("HOME", str(tmp_path))
    opened = []

    def open_new(address):
        opened.append(address)
        threading.Thread(target=lambda: httpx.get(browser.answer(address), timeout=30), daemon=True).start()
        return True

    monkeypatch.setattr("webbrowser.open_new", open_new)
    client = WorkspaceClient(host=server.url, auth_type="external-browser")
    assert client.current_user.me().user_name == "ada@example.com"
    assert parse_qs(urlsplit(opened[0]).query)["scope"] == ["all-apis offline_access"]
    again = WorkspaceClient(host=server.url, auth_type="external-browser")
    assert again.current_user.me().user_name == "ada@example.com"
    assert len(opened) == 1, "the second client took the first one's token from its cache, no window"


def test_a_browser_without_a_session_signs_in_first_and_comes_back_to_the_question(server, ada, flow):
    http = httpx.Client(base_url=server.url, follow_redirects=True)
    door = http.get(flow.address())
    assert door.url.path == "/console/login"
    after = parse_qs(door.url.query.decode())["next"][0]
    assert after.startswith("/console/authorize?")
    page = http.post(str(door.url), data={"token": ada.token}, headers={"origin": server.url})
    assert page.url.path == "/console/authorize"
    assert "Databricks command line" in page.text
    assert "everything you may do" in page.text


def test_a_person_who_refuses_gives_no_code(flow, browser):
    back = dict(parse_qsl(urlsplit(browser.answer(flow.address(), "refuse")).query))
    assert back["error"] == "access_denied"
    assert "code" not in back
    assert back["iss"].endswith("/oidc")


def test_a17_a_foreign_page_cannot_consent_for_somebody(server, flow, browser):
    shown = browser.open(flow.address())
    for headers in ({}, {"origin": "https://evil.example"}, {"origin": "null"}):
        answer = browser.http.post(str(shown.url), data={"answer": "agree"}, headers=headers)
        assert answer.status_code == 403
    assert shown.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in shown.headers["content-security-policy"]


def test_a17_a_token_does_not_consent_only_a_person_at_the_console(server, flow, ada):
    asked = dict(parse_qsl(urlsplit(flow.address()).query))
    answer = httpx.post(
        f"{server.url}/api/2.1/lakewright/console/consents", json={**asked, "agreed": True},
        headers={"authorization": f"Bearer {ada.token}"},
    )  # fmt: skip
    assert answer.status_code == 403


ELSEWHERE = (
        "http://localhost:8020@evil.example/", "http://localhost.evil.example:8020", "http://evil.example", "//evil.example",
        "http://localhost:8020/../x?y", "http://localhost:8020#x", "https://localhost:8020", "http://LOCALHOST:8020",
        "http://localhost:8020\\@evil.example", "http://localhost:8020/?next=//evil", "javascript:alert(1)", "",
        "http://127.0.0.2:8020", "http://[::1]:8020@evil", "http://localhost:999999999", "http://localhost:8020/a b",
        "http://localhost :8020", "http://0.0.0.0:8020", "http://localhost%00:8020", "http://localhost:8020/x",
)  # fmt: skip


def test_a17_a_code_goes_nowhere_but_to_the_applications_own_address(server, flow, browser):
    for address in ELSEWHERE:
        answer = browser.http.get(flow.address(redirect_uri=address))
        assert answer.status_code in (400, 501), f"{address}: told to the person, never sent there"
        assert "location" not in answer.headers


def test_a17_a_registered_address_is_matched_character_by_character(server, people, browser):
    app = account(server, people).custom_app_integration.create(
        name="dashboards", redirect_urls=["https://dash.example/cb"], confidential=True
    )
    ours = Flow(server.url, app.client_id, "https://dash.example/cb", app.client_secret)
    assert ours.redeem(ours.code(browser)).status_code == 200
    for other in (
        "https://dash.example/cb/", "https://dash.example/cb/../x", "https://dash.example/cb?x=1", "http://dash.example/cb",
        "https://dash.example:444/cb", "https://dash.example.evil/cb", "https://x@dash.example/cb", "https://DASH.example/cb",
        "https://dash.example/cb%2f..", "https://dash.example/c",
    ):  # fmt: skip
        assert browser.http.get(ours.address(redirect_uri=other)).status_code == 400


IMPROPER = (
    ({"code_challenge": None}, "invalid_request"),
    ({"code_challenge_method": None}, "invalid_request"),
    ({"code_challenge_method": "plain"}, "invalid_request"),
    ({"code_challenge": "short"}, "invalid_request"),
    ({"state": None}, "invalid_request"),
    ({"response_type": "token"}, "unsupported_response_type"),
    ({"response_type": None}, "unsupported_response_type"),
    ({"scope": "root"}, "invalid_scope"),
)


def test_a17_without_pkce_state_or_a_proper_request_there_is_an_error_and_no_code(flow, browser):
    for changes, error in IMPROPER:
        answer = browser.http.get(flow.address(**changes))
        assert answer.status_code == 303
        back = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
        assert answer.headers["location"].startswith(BACK + "?")
        assert back["error"] == error
        assert "code" not in back


def test_a17_a_code_is_good_once_and_a_replay_ends_what_it_brought(server, flow, browser):
    code = flow.code(browser)
    first = flow.redeem(code).json()
    assert works(server, first["access_token"])
    again = flow.redeem(code)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert not works(server, first["access_token"])
    assert flow.refresh(first["refresh_token"]).status_code == 400


WRONG = (
    {"code_verifier": "x" * 43},
    {"code_verifier": None},
    {"code_verifier": "short"},
    {"redirect_uri": "http://localhost:8021"},
    {"redirect_uri": None},
    {"client_id": "somebody else"},
    {"client_id": None},
)


def test_a17_a_code_alone_is_worth_nothing(server, flow, browser):
    for wrong in WRONG:
        code = flow.code(browser)
        answer = flow.redeem(code, **wrong)
        assert answer.status_code in (400, 401)
        assert answer.json()["error"] in ("invalid_grant", "invalid_client")
        if "client_id" not in wrong:
            assert flow.redeem(code).status_code == 400, "whoever tried it wrongly has used it up"


def test_a17_a_code_lasts_a_minute_and_is_its_applications_own(server, people, flow, browser, clock):
    code = flow.code(browser)
    clock.advance(61)
    assert flow.redeem(code).status_code == 400
    app = account(server, people).custom_app_integration.create(name="other", redirect_urls=[BACK])
    fresh = flow.code(browser)
    assert flow.redeem(fresh, client_id=app.client_id).status_code == 400


def test_a18_a_refresh_token_used_twice_ends_the_whole_family(server, flow, browser):
    first = flow.redeem(flow.code(browser)).json()
    second = flow.refresh(first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert works(server, second["access_token"])
    third = flow.refresh(second["refresh_token"]).json()
    replayed = flow.refresh(first["refresh_token"])
    assert (replayed.status_code, replayed.json()["error"]) == (400, "invalid_grant")
    for each in (first, second, third):
        assert not works(server, each["access_token"])
    assert flow.refresh(third["refresh_token"]).status_code == 400


def test_a18_two_uses_at_the_same_moment_are_a_reuse_too(server, flow, browser):
    first = flow.redeem(flow.code(browser)).json()
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(flow.refresh(first["refresh_token"]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    good = [a for a in answers if a.status_code == 200]
    assert len(good) == 1
    assert not works(server, good[0].json()["access_token"])


def test_refreshing_narrows_never_widens_and_ends_with_the_consent(server, flow, browser, clock):
    first = flow.redeem(flow.code(browser, scope="sql jobs offline_access")).json()
    assert first["scope"] == "jobs sql"
    narrow = flow.refresh(first["refresh_token"], scope="sql").json()
    assert narrow["scope"] == "sql"
    assert not works(server, narrow["access_token"], "/api/2.2/jobs/list")
    wider = flow.refresh(narrow["refresh_token"], scope="all-apis")
    assert wider.json()["error"] == "invalid_scope"
    kept = narrow["refresh_token"]
    for _ in range(29):
        clock.advance(86400)
        kept = flow.refresh(kept).json()["refresh_token"]
    clock.advance(2 * 86400)
    assert flow.refresh(kept).status_code == 400, "thirty days after the consent, however often it was refreshed"


def test_without_offline_access_there_is_nothing_to_refresh_with(flow, browser):
    assert "refresh_token" not in flow.redeem(flow.code(browser, scope="all-apis")).json()


def test_an_application_is_signed_out_by_itself_and_by_an_administrator(server, people, flow, browser):
    first = flow.redeem(flow.code(browser)).json()
    done = httpx.post(
        f"{server.url}/oidc/v1/revoke", data={"client_id": "databricks-cli", "token": first["refresh_token"]}
    )
    assert done.status_code == 200
    assert not works(server, first["access_token"])
    unknown = httpx.post(f"{server.url}/oidc/v1/revoke", data={"client_id": "databricks-cli", "token": "nonsense"})
    assert unknown.status_code == 200, "whether a token existed is not told"
    second = flow.redeem(flow.code(browser)).json()
    admin = people.admin.client.api_client
    seen = admin.do("GET", "/api/2.1/lakewright/credentials", query={"kind": "consent"})["credentials"]
    assert [(c["principal"], c["client_id"]) for c in seen] == [("ada@example.com", "databricks-cli")]
    admin.do("DELETE", f"/api/2.0/token-management/tokens/{seen[0]['token_id']}")
    assert not works(server, second["access_token"])


def test_a_consent_ends_with_its_person_and_with_the_token_they_signed_in_with(server, people, ada, flow, browser):
    from lakewright.identity import principals

    first = flow.redeem(flow.code(browser)).json()
    server.platform.transact(lambda ctx: principals.set_active(ctx, ada.id, False))
    assert flow.refresh(first["refresh_token"]).status_code == 400
    assert not works(server, first["access_token"])
    server.platform.transact(lambda ctx: principals.set_active(ctx, ada.id, True))
    second = flow.redeem(flow.code(browser)).json()
    for token in people.admin.client.token_management.list(created_by_username="ada@example.com"):
        people.admin.client.token_management.delete(token.token_id)
    assert not works(server, second["access_token"])
    assert flow.refresh(second["refresh_token"]).status_code == 400


def account(server, people):
    admin = people.admin.client
    return AccountClient(
        host=server.url, account_id=admin.config.account_id, token=people.admin.token, auth_type="pat"
    )  # fmt: skip


def test_an_administrator_registers_applications(server, people, browser):
    apps = account(server, people).custom_app_integration
    made = apps.create(
        name="reports", redirect_urls=["http://localhost/callback"], scopes=["sql", "offline_access"],
        token_access_policy=TokenAccessPolicy(access_token_ttl_in_minutes=10, refresh_token_ttl_in_minutes=60),
    )  # fmt: skip
    assert made.client_secret is None
    ours = Flow(server.url, made.client_id, "http://localhost:45999/callback")
    denied = browser.http.get(ours.address())
    assert "invalid_scope" in denied.headers["location"], "registered for sql only"
    tokens = ours.redeem(ours.code(browser, scope="sql offline_access")).json()
    assert tokens["expires_in"] == 600
    assert [a.name for a in apps.list()] == ["reports"]
    assert apps.get(made.integration_id).scopes == ["sql"]
    apps.update(made.integration_id, redirect_urls=["https://reports.example/cb"])
    assert browser.http.get(ours.address(scope="sql")).status_code == 400
    apps.delete(made.integration_id)
    assert not works(server, tokens["access_token"])
    assert ours.refresh(tokens["refresh_token"]).status_code == 401
    for url in (
        "http://evil.example/cb",
        "https://u@x.example/",
        "https://x.example/#f",
        "ftp://x",
        "https://*.example/",
        "x",
    ):
        with pytest.raises(Exception, match="neither an https address"):
            apps.create(name="bad", redirect_urls=[url])
    with pytest.raises(Exception, match="always for one use"):
        apps.create(
            name="bad", redirect_urls=["https://x.example/"],
            token_access_policy=TokenAccessPolicy(enable_single_use_refresh_tokens=False),
        )  # fmt: skip


def test_a_confidential_application_proves_itself(server, people, browser):
    app = account(server, people).custom_app_integration.create(
        name="secret keeper", redirect_urls=["https://dash.example/cb"], confidential=True
    )
    ours = Flow(server.url, app.client_id, "https://dash.example/cb", app.client_secret)
    for wrong in (None, "lws_wrong", ""):
        assert ours.redeem(ours.code(browser), client_secret=wrong).json()["error"] == "invalid_client"
    basic = base64.b64encode(f"{app.client_id}:{app.client_secret}".encode()).decode()
    answer = httpx.post(
        f"{server.url}/oidc/v1/token", headers={"authorization": f"Basic {basic}"},
        data={"grant_type": "authorization_code", "code": ours.code(browser), "redirect_uri": ours.redirect_uri, "code_verifier": ours.verifier},
    )  # fmt: skip
    assert answer.status_code == 200
    public = Flow(server.url)
    assert public.redeem(public.code(browser), client_secret="claimed").json()["error"] == "invalid_client"


def test_a_personal_token_becomes_a_shorter_and_narrower_one(server, people, ada):
    def exchange(token, **form):
        return httpx.post(
            f"{server.url}/oidc/v1/token",
            data={
                "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": token,
                "subject_token_type": "urn:databricks:params:oauth:token-type:personal-access-token", **form,
            },
        )  # fmt: skip

    made = exchange(ada.token, scope="sql").json()
    assert made["scope"] == "sql"
    assert not works(server, made["access_token"], "/api/2.2/jobs/list")
    limited = ada.client.tokens.create(scopes=["sql"], lifetime_seconds=600)
    assert exchange(limited.token_value, scope="jobs").json()["error"] == "invalid_scope"
    kept = exchange(limited.token_value).json()
    assert (kept["scope"], kept["expires_in"]) == ("sql", 600)
    ada.client.tokens.delete(limited.token_info.token_id)
    assert not works(server, kept["access_token"])
    assert exchange(made["access_token"]).json()["error"] == "invalid_grant"
    assert exchange("nonsense").json()["error"] == "invalid_grant"


def test_discovery_names_what_there_is_and_another_accounts_address_is_none(server, people):
    said = httpx.get(f"{server.url}/oidc/.well-known/oauth-authorization-server").json()
    assert said["code_challenge_methods_supported"] == ["S256"]
    assert "sql" in said["scopes_supported"]
    ours = people.admin.client.config.account_id
    here = httpx.get(f"{server.url}/oidc/accounts/{ours}/.well-known/oauth-authorization-server").json()
    assert here["token_endpoint"] == f"{server.url}/oidc/accounts/{ours}/v1/token"
    assert httpx.get(f"{server.url}/oidc/accounts/other/.well-known/oauth-authorization-server").status_code == 404
    form = {"grant_type": "client_credentials"}
    assert httpx.post(f"{server.url}/oidc/accounts/other/v1/token", data=form).status_code == 404
    unknown = httpx.post(f"{server.url}/oidc/v1/token", data={"grant_type": "password", "client_id": "x"})
    assert unknown.json()["error"] == "unsupported_grant_type"

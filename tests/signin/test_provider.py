"""Signing in to the console with an outside provider: the certified `oidc-provider`, nothing of it imitated."""

from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import httpx
import pytest
from signin.conftest import SECRET

from lakewright.kernel.config import SignInSettings


@pytest.fixture
def settings(settings, outside, ports):
    signin = SignInSettings(
        issuer=outside.issuer, client_id="lakewright", client_secret=SECRET, internal_provider=True,
        provider_name="Example Ltd", admin_group="platform-admins", allowed_domains=["example.com"],
    )  # fmt: skip
    return settings.model_copy(update={"signin": signin, "port": ports[1]})


@pytest.fixture
def clock():
    """The real one: the provider's tokens are of today."""
    from lakewright.kernel.clock import SystemClock

    return SystemClock()


class Person:
    """A browser: our cookies and the provider's apart, redirects followed by hand."""

    def __init__(self, server, outside):
        self.url, self.outside = server.url, outside
        self.ours, self.theirs = httpx.Client(), httpx.Client()

    def leave(self, after="/console/jobs"):
        answer = self.ours.post(f"{self.url}/console/provider", params={"next": after}, headers={"origin": self.url})
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    def at_provider(self, location, name):
        """Signs in there as somebody; the address the provider sends the browser back to."""
        while not location.startswith(self.url):
            answer = self.theirs.get(location)
            if answer.status_code == 200:
                answer = self.theirs.get(location, params={"as": name})
            assert answer.status_code in (302, 303), answer.text
            location = urljoin(location, answer.headers["location"])
        return location

    def sign_in(self, name, after="/console/jobs"):
        return self.ours.get(self.at_provider(self.leave(after), name))

    @property
    def session(self):
        return self.ours.cookies.get("lakewright_session")

    def who(self):
        """Who the console's consent page takes the browser for."""
        answer = self.ours.get(f"{self.url}/console/")
        return answer.status_code != 303


@pytest.fixture
def person(server, outside):
    return Person(server, outside)


def groups(people, name):
    [user] = people.admin.client.users.list(filter=f'userName eq "{name}@example.com"')
    return {g.display for g in people.admin.client.users.get(user.id).groups if g.type == "direct"} - {"users"}


def test_a_person_signs_in_for_the_first_time_and_is_made_with_the_groups_of_the_claim(server, people, outside, person):
    outside.knows("grace", groups=["analysts", "builders"])
    assert "Sign in with Example Ltd" in httpx.get(f"{server.url}/console/login").text
    answer = person.sign_in("grace")
    assert answer.status_code == 200, answer.text
    assert "/console/jobs" in answer.text
    assert "location" not in answer.headers, "a page, so that the strict cookie is sent with what comes next"
    assert person.session
    assert groups(people, "grace") == {"analysts", "builders"}
    [user] = people.admin.client.users.list(filter='userName eq "grace@example.com"')
    assert user.display_name == "Grace"
    audited = server.platform.snapshot(
        lambda ctx: ctx.tx.all("SELECT who_name, status FROM audit WHERE action = 'signInFromProvider'")
    )
    assert [(r["who_name"], r["status"]) for r in audited] == [("grace@example.com", 200)]


def test_groups_follow_the_claim_and_leave_alone_what_was_given_here(people, outside, person, server):
    outside.knows("linus", groups=["analysts", "builders"])
    person.sign_in("linus")
    [user] = people.admin.client.users.list(filter='userName eq "linus@example.com"')
    here = people.group("given-here")
    from lakewright.identity import principals

    server.platform.transact(lambda ctx: principals.add_member(ctx, here, user.id))
    outside.knows("linus", groups=["builders", "reviewers", "given-here"])
    Person(server, outside).sign_in("linus")
    assert groups(people, "linus") == {"builders", "reviewers", "given-here"}
    outside.knows("linus", groups=[])
    Person(server, outside).sign_in("linus")
    assert groups(people, "linus") == {"given-here"}, "it was there before the claim named it"
    outside.knows("linus", groups=None)
    Person(server, outside).sign_in("linus")
    assert groups(people, "linus") == {"given-here"}


def test_only_the_group_that_is_set_makes_administrators(people, outside, person, server):
    outside.knows("mallory", groups=["admins", "Admins", "users", "ADMINS "])
    person.sign_in("mallory")
    assert groups(people, "mallory") == set()
    outside.knows("margaret", groups=["platform-admins"])
    Person(server, outside).sign_in("margaret")
    assert groups(people, "margaret") == {"admins"}
    outside.knows("margaret", groups=[])
    Person(server, outside).sign_in("margaret")
    assert groups(people, "margaret") == set()


def test_a_person_keeps_their_account_when_their_address_changes_and_nobody_inherits_it(
    people, outside, person, server
):
    outside.knows("ada")
    person.sign_in("ada")
    [before] = people.admin.client.users.list(filter='userName eq "ada@example.com"')
    outside.knows("ada", email="ada.new@example.com")
    Person(server, outside).sign_in("ada")
    assert list(people.admin.client.users.list(filter='userName eq "ada.new@example.com"')) == []
    outside.knows("eve", email="ada@example.com")
    answer = Person(server, outside).sign_in("eve")
    assert answer.status_code == 403
    assert "belongs to somebody else" in answer.text
    [after] = people.admin.client.users.list(filter='userName eq "ada@example.com"')
    assert after.id == before.id


NOT_VOUCHED_FOR = (
    ({"email_verified": False}, "has not verified"),
    ({"email_verified": "true"}, "has not verified"),
    ({"email_verified": None}, "has not verified"),
    ({"email": None}, "says no email"),
    ({"email": "kim@evil.example"}, "this domain"),
    ({"email": "kim@example.com@evil.example"}, "this domain"),
    ({"email": "kim@evil.example@example.com"}, "this domain"),
    ({"email": "admin"}, "this domain"),
    ({"groups": ["g"] * 501}, "at most 500"),
    ({"groups": {"a": 1}}, "not a list"),
)


def test_whom_the_provider_does_not_vouch_for_does_not_come_in(server, people, outside):
    for claims, said in NOT_VOUCHED_FOR:
        outside.knows("kim", **claims)
        person = Person(server, outside)
        answer = person.sign_in("kim")
        assert answer.status_code == 403, answer.text
        assert said in answer.text
        assert person.session is None
    assert list(people.admin.client.users.list(filter='userName co "kim"')) == []


def test_the_first_administrators_name_is_nobody_elses(platform):
    from lakewright.identity import provider
    from lakewright.kernel.faults import Denied

    loose = SignInSettings(issuer="https://x.example", name_claim="preferred_username")
    for name in ("admin", "ADMIN", " Admin ", "system"):
        with pytest.raises(Denied, match="not a name"):
            provider.user_name(loose, {"preferred_username": name})


def test_a_deactivated_person_stays_out_and_a_deleted_one_comes_back_with_nothing(server, people, outside, person):
    from lakewright.identity import principals

    outside.knows("tim", groups=["analysts"])
    person.sign_in("tim")
    [user] = people.admin.client.users.list(filter='userName eq "tim@example.com"')
    server.platform.transact(lambda ctx: principals.set_active(ctx, user.id, False))
    assert not person.who()
    assert Person(server, outside).sign_in("tim").status_code == 403
    people.admin.client.users.delete(user.id)
    assert Person(server, outside).sign_in("tim").status_code == 200
    [again] = people.admin.client.users.list(filter='userName eq "tim@example.com"')
    assert again.id != user.id


def test_a_person_unknown_here_is_not_made_where_that_is_off(server, people, outside, person):
    server.platform.settings.signin.create_users = False
    outside.knows("zoe")
    answer = person.sign_in("zoe")
    assert answer.status_code == 403
    assert "an administrator makes one" in answer.text


# what goes wrong on the way


def returned(person, name="rosa", **changes):
    """The address of the way back, with some of it changed."""
    person.outside.knows(name)
    back = person.at_provider(person.leave(), name)
    query = {**dict(parse_qsl(urlsplit(back).query)), **changes}
    return f"{back.partition('?')[0]}?{urlencode({k: v for k, v in query.items() if v is not None})}"


def test_a17_the_way_back_is_only_for_the_browser_that_left(server, outside, person):
    """Login CSRF: a victim's browser is sent the attacker's way back, and has no note or another one."""
    back = returned(person)
    victim = Person(server, outside)
    assert victim.ours.get(back).status_code == 401
    victim.leave()
    answer = victim.ours.get(back)
    assert answer.status_code == 401
    assert "not begun in this browser" in answer.text
    assert victim.session is None


AMISS = (
    {"state": None},
    {"state": ""},
    {"state": "other"},
    {"code": None},
    {"code": "other"},
    {"iss": None},
    {"iss": "https://evil.example"},
    {"iss": "http://localhost"},
)


def test_a17_without_the_right_state_code_and_issuer_nobody_is_signed_in(server, outside):
    for changes in AMISS:
        person = Person(server, outside)
        answer = person.ours.get(returned(person, **changes))
        assert answer.status_code == 401, answer.text
        assert person.session is None


def test_a17_a_way_back_is_good_once(server, outside, person):
    back = returned(person)
    kept = dict(person.ours.cookies)
    assert person.ours.get(back).status_code == 200
    assert person.ours.get(back).status_code == 401, "the note is gone"
    thief = Person(server, outside)
    for name, value in kept.items():
        thief.ours.cookies.set(name, value)
    assert thief.ours.get(back).status_code == 401, "and with the note, the code is used up"
    assert thief.session is None


def test_a17_the_way_out_carries_state_nonce_and_pkce_and_takes_nobody_elsewhere(server, outside, person):
    asked = dict(parse_qsl(urlsplit(person.leave(after="https://evil.example/")).query))
    assert asked["code_challenge_method"] == "S256"
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) >= 43
    assert asked["redirect_uri"] == f"{server.url}/console/signed-in"
    outside.knows("max")
    for after in (
        "https://evil.example/",
        "//evil.example",
        "/console/..//evil",
        "/api/2.0/token/create",
        "javascript:x",
    ):
        page = Person(server, outside).sign_in("max", after)
        assert 'url=/console/"' in page.text
    foreign = httpx.post(f"{server.url}/console/provider", headers={"origin": "https://evil.example"})
    assert foreign.status_code == 403
    assert httpx.get(f"{server.url}/console/provider").status_code == 403


def test_a17_a_note_is_sealed_and_forged_ones_are_none(server, outside, person):
    back = returned(person)
    note = person.ours.cookies.get("lakewright_signing_in")
    for forged in ("", "x", note[:-4] + "AAAA", note[4:], "e30="):
        thief = Person(server, outside)
        thief.ours.cookies.set("lakewright_signing_in", forged)
        assert thief.ours.get(back).status_code == 401


def test_a19_failed_ways_back_are_slowed(person, server):
    codes = [httpx.get(f"{server.url}/console/signed-in?code=x&state=y").status_code for _ in range(22)]
    assert codes[:20] == [401] * 20
    assert codes[-1] == 429


def test_a23_signing_in_again_makes_another_session_and_ends_the_old_one(server, outside, person):
    outside.knows("rosa")
    person.sign_in("rosa")
    first = person.session
    person.sign_in("rosa")
    assert person.session != first
    old = httpx.get(f"{server.url}/console/", cookies={"lakewright_session": first})
    assert old.status_code == 303


def test_the_provider_being_away_is_said_and_tokens_still_work(server, people, settings, person):
    server.platform.settings.signin.issuer = "http://127.0.0.1:9"
    answer = person.ours.post(f"{server.url}/console/provider", headers={"origin": server.url})
    assert answer.status_code == 503
    assert "cannot be asked" in answer.text
    assert people.admin.client.current_user.me().user_name == "admin"


def test_in_chromium_an_application_signs_a_person_in_with_the_provider(server, people, outside):
    """The provider is another site (localhost, we are 127.0.0.1), so the strict cookie has to survive the way back."""
    from console.conftest import ARGUMENTS, BROWSER
    from playwright.sync_api import expect, sync_playwright
    from signin.test_applications import Flow

    if BROWSER is None:
        pytest.skip("Chromium is not on this machine")
    outside.knows("grace", groups=["analysts"])
    flow, back = Flow(server.url), []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        page = browser.new_page()
        page.set_default_timeout(30_000)
        page.route(
            f"{flow.redirect_uri}/**", lambda route: (back.append(route.request.url), route.fulfill(body="done"))
        )
        page.goto(flow.address())
        page.get_by_role("button", name="Sign in with Example Ltd").click()
        page.get_by_role("link", name="grace").click()
        expect(page.get_by_role("heading", name="Databricks command line and SDKs")).to_be_visible(timeout=30_000)
        cookies = {c["name"]: c for c in page.context.cookies()}
        page.get_by_role("button", name="Agree").click()
        page.wait_for_url(f"{flow.redirect_uri}/**", timeout=30_000)
        browser.close()
    assert cookies["lakewright_session"]["httpOnly"]
    assert cookies["lakewright_session"]["sameSite"] == "Strict"
    assert "lakewright_signing_in" not in cookies
    token = flow.redeem(dict(parse_qsl(urlsplit(back[0]).query))["code"]).json()["access_token"]
    me = httpx.get(f"{server.url}/api/2.0/preview/scim/v2/Me", headers={"authorization": f"Bearer {token}"}).json()
    assert me["userName"] == "grace@example.com"
    assert "analysts" in [g["display"] for g in me["groups"]]

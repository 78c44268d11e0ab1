"""Console sessions against who would take them over or keep them alive."""

import base64
import json

import httpx
import pytest

ME = "/api/2.0/preview/scim/v2/Me"
COOKIE = "lakewright_session"


def sign_in(url, token, **more):
    return httpx.post(f"{url}/console/login", data={"token": token}, headers={"origin": url}, **more)


def open_(url, session):
    """Whether the session opens a page; this one is plain, and opening it counts as use like any other."""
    answer = httpx.get(f"{url}/console/authorize", cookies={COOKIE: session})
    return answer.status_code != 303


@pytest.fixture
def ada(people):
    return people.person("ada@example.com")


@pytest.fixture
def session(server, ada):
    return sign_in(server.url, ada.token).cookies[COOKIE]


def test_a23_a_session_the_browser_brings_is_never_taken_over(server, ada):
    planted = "lwc_" + "A" * 43
    answer = sign_in(server.url, ada.token, cookies={COOKIE: planted})
    assert answer.cookies[COOKIE] != planted
    assert not open_(server.url, planted)
    again = sign_in(server.url, ada.token, cookies={COOKIE: answer.cookies[COOKIE]})
    assert again.cookies[COOKIE] != answer.cookies[COOKIE]
    assert open_(server.url, again.cookies[COOKIE])
    assert not open_(server.url, answer.cookies[COOKIE]), "whoever sat here before is signed out"


def test_a23_the_cookie_is_out_of_reach_of_scripts_and_other_sites(server, ada):
    cookie = sign_in(server.url, ada.token).headers["set-cookie"]
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= parts
    assert not any(part.startswith("domain") for part in parts)


def test_a23_over_tls_the_cookie_is_secure_and_no_other_host_can_plant_it(settings, clock):
    """Behind a proxy that ends TLS: the public address says so."""
    from actors import ADMIN_TOKEN

    from lakewright.app import build, serve
    from lakewright.kernel.socket import Server

    platform = build(settings.model_copy(update={"public_url": "https://ml.example.com"}), clock)
    listening = Server(serve(platform), platform.settings)
    url = listening.start()
    try:
        headers = {"origin": "https://ml.example.com", "host": "ml.example.com"}
        answer = httpx.post(f"{url}/console/login", data={"token": ADMIN_TOKEN}, headers=headers)
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-lakewright_session=lwc_")
        assert "; secure" in cookie.lower()
        value = cookie.partition("=")[2].partition(";")[0]
        for name, status in (("__Host-lakewright_session", 400), ("lakewright_session", 303)):
            page = httpx.get(
                f"{url}/console/authorize", headers={"host": "ml.example.com", "cookie": f"{name}={value}"}
            )
            assert page.status_code == status, "without the prefix it is somebody else's cookie"
    finally:
        listening.stop()
        platform.stop()


def test_a23_two_cookies_of_the_name_are_none(server, session):
    for cookie in (f"{COOKIE}=x; {COOKIE}={session}", f"{COOKIE}={session}; {COOKIE}=x"):
        answer = httpx.get(f"{server.url}/console/authorize", headers={"cookie": cookie})
        assert answer.status_code == 303


def test_a23_signing_out_kills_the_session_on_the_server(server, session):
    assert open_(server.url, session)
    for headers in ({}, {"origin": "https://evil.example"}):
        answer = httpx.post(f"{server.url}/console/logout", cookies={COOKIE: session}, headers=headers)
        assert answer.status_code == 403
    assert open_(server.url, session), "another site does not sign a person out"
    httpx.post(f"{server.url}/console/logout", cookies={COOKIE: session}, headers={"origin": server.url})
    assert not open_(server.url, session)


def test_a23_a_session_that_is_left_alone_ends(server, session, clock):
    for _ in range(3):
        clock.advance(59 * 60)
        assert open_(server.url, session), "used within the hour"
    clock.advance(61 * 60)
    assert not open_(server.url, session)
    clock.advance(1)
    assert not open_(server.url, session), "coming back does not revive it"


def test_a23_however_busy_a_session_ends_after_eight_hours(server, session, clock):
    opened = []
    for _ in range(16):
        clock.advance(32 * 60)
        opened.append(open_(server.url, session))
    assert opened == [True] * 14 + [False] * 2, "14 * 32 minutes are within eight hours, 15 * 32 are not"


def test_a23_the_last_use_is_written_down_so_that_a_restart_and_other_nodes_know(server, session, clock):
    from lakewright.console.activity import Activity

    clock.advance(50 * 60)
    assert open_(server.url, session)
    [row] = server.platform.snapshot(lambda ctx: ctx.tx.all("SELECT id, used_at FROM tokens WHERE kind = 'session'"))
    assert row["used_at"] == clock.now()
    elsewhere = Activity(server.platform)
    clock.advance(59 * 60)
    assert not elsewhere.idle(row["id"])
    clock.advance(2 * 60)
    assert elsewhere.idle(row["id"])


def test_a23_a_session_ends_with_the_token_it_was_opened_with(server, people, ada, clock):
    made = ada.client.tokens.create(lifetime_seconds=600)
    first = sign_in(server.url, made.token_value).cookies[COOKIE]
    clock.advance(601)
    assert not open_(server.url, first)
    second = ada.client.tokens.create()
    session = sign_in(server.url, second.token_value).cookies[COOKIE]
    ada.client.tokens.delete(second.token_info.token_id)
    assert not open_(server.url, session)


def test_a01_a_session_is_no_bearer_and_its_cookie_opens_no_operation(server, session):
    bearer = httpx.get(server.url + ME, headers={"authorization": f"Bearer {session}"})
    assert bearer.status_code == 401
    assert httpx.get(server.url + ME, cookies={COOKIE: session}).status_code == 401
    basic = base64.b64encode(f"token:{session}".encode()).decode()
    assert httpx.get(server.url + ME, headers={"authorization": f"Basic {basic}"}).status_code == 401


def test_no_header_can_say_what_the_console_says_for_its_cookies(server, session):
    """The scheme it uses begins with NUL: the HTTP parser lets no such header in."""
    import socket
    from urllib.parse import urlsplit

    where = urlsplit(server.url)
    for scheme in (b"\0session", b"session", b"\\0session"):
        with socket.create_connection((where.hostname, where.port)) as wire:
            wire.sendall(
                b"GET " + ME.encode() + b" HTTP/1.1\r\nHost: " + where.netloc.encode() + b"\r\nAuthorization: " + scheme
                + b" " + session.encode() + b"\r\nConnection: close\r\n\r\n"
            )  # fmt: skip
            answer = wire.recv(65536)
        assert answer.split(b" ")[1] in (b"400", b"401")


def test_a17_a_wrong_token_and_a_foreign_page_sign_nobody_in(server, ada):
    assert sign_in(server.url, "lwp_wrong").status_code == 401
    for origin in (
        "https://evil.example",
        "null",
        f"{server.url}.evil.example",
        server.url.replace("127.0.0.1", "localhost"),
    ):
        answer = httpx.post(f"{server.url}/console/login", data={"token": ada.token}, headers={"origin": origin})
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
    assert httpx.post(f"{server.url}/console/login", data={"token": ada.token}).status_code == 403


def test_a17_after_signing_in_a_person_is_sent_to_the_console_and_nowhere_else(server, ada):
    for target in (
        "//evil.example/", "https://evil.example/", "/console/../api", "/console//evil.example", "/console/\\evil.example",
        "/consolex", "javascript:alert(1)", "/console/%0d%0aset-cookie:x=y\r\n", "",
    ):  # fmt: skip
        answer = httpx.post(
            f"{server.url}/console/login",
            params={"next": target},
            data={"token": ada.token},
            headers={"origin": server.url},
        )
        assert answer.status_code == 303
        assert answer.headers["location"] == "/console/"


def test_a19_guessing_at_the_door_is_slowed(server):
    answers = [sign_in(server.url, f"lwp_{n}") for n in range(22)]
    assert [a.status_code for a in answers[:20]] == [401] * 20
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_signing_in_and_out_is_on_record_with_the_person_and_without_the_secret(server, ada, session):
    httpx.post(f"{server.url}/console/logout", cookies={COOKIE: session}, headers={"origin": server.url})
    rows = server.platform.snapshot(
        lambda ctx: ctx.tx.all("SELECT * FROM audit WHERE action IN ('signIn', 'signOut') ORDER BY seq")
    )
    assert [(r["action"], r["who_name"]) for r in rows] == [("signIn", ada.name), ("signOut", ada.name)]
    text = json.dumps([[str(v) for v in dict(r).values()] for r in rows])
    assert ada.token not in text
    assert session not in text

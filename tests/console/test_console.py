"""What a person does in the browser, in real Chromium; and what the console refuses to anybody else."""

import httpx
import pytest
from console.conftest import TOKEN
from playwright.sync_api import expect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

SOCKET = "/console/_nicegui_ws/socket.io/?EIO=4&transport=websocket"


def test_without_a_session_there_is_only_the_sign_in_page(site):
    for path in ("/console/", "/console/jobs", "/console/_nicegui/3.18.0/static/nicegui.js"):
        answer = httpx.get(site.url + path)
        assert (answer.status_code, answer.headers["location"].split("?")[0]) == (303, "/console/login")


def test_a_wrong_token_is_refused_with_a_reason(site, window):
    window.sign_in("nonsense")
    expect(window.page.get_by_role("alert")).to_contain_text("Invalid access token")


def test_a_foreign_page_cannot_sign_a_person_in(site):
    answer = httpx.post(f"{site.url}/console/login", data={"token": TOKEN}, headers={"origin": "https://evil.example"})
    assert answer.status_code == 403


def test_sign_in_sends_nobody_to_another_site(site):
    answer = httpx.post(
        f"{site.url}/console/login?next=//evil.example/", data={"token": TOKEN}, headers={"origin": site.url}
    )
    assert answer.headers["location"] == "/console/"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


@pytest.mark.parametrize("origin", ["https://evil.example", None])
@pytest.mark.parametrize("signed_in", [True, False])
def test_the_socket_opens_only_for_a_session_of_the_same_origin(site, origin, signed_in):
    session = _session(site) if signed_in else "nothing"

    address = site.url.replace("http", "ws") + SOCKET
    headers = {"cookie": f"lakewright_session={session}"}
    with (
        pytest.raises((InvalidStatus, ConnectionClosed)),
        connect(address, origin=origin, additional_headers=headers) as socket,
    ):
        socket.recv()


def test_the_socket_opens_for_a_session_of_the_same_origin(site):
    address = site.url.replace("http", "ws") + SOCKET
    headers = {"cookie": f"lakewright_session={_session(site)}"}
    httpx.get(f"{site.url}/console/", cookies={"lakewright_session": _session(site)})
    with connect(address, origin=site.url, additional_headers=headers) as socket:
        assert str(socket.recv()).startswith("0{")


def test_a_person_grants_and_revokes(site, window):
    admin = site.client()
    admin.catalogs.create("shop")
    admin.groups.create(display_name="analysts")
    window.sign_in()
    window.go("/console/catalog/shop")
    page = window.page
    page.get_by_label("User, group or application id").fill("analysts")
    page.get_by_label("Privilege, e.g. SELECT").fill("USE_CATALOG")
    page.get_by_role("button", name="Grant").click()
    expect(page.get_by_role("cell", name="analysts")).to_be_visible()
    held = {
        a.principal: [p.value for p in a.privileges] for a in admin.grants.get("catalog", "shop").privilege_assignments
    }
    assert held["analysts"] == ["USE_CATALOG"]
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("cell", name="analysts")).to_have_count(0)


def test_a_refusal_says_what_is_missing(site, window):
    site.client().catalogs.create("vault")
    window.sign_in(site.token_of("outsider"))
    window.go("/console/catalog/vault")
    expect(window.page.get_by_text("needs USE_CATALOG")).to_be_visible()


def test_a_run_is_followed_to_its_end(site, window):
    admin = site.client()
    check = lambda right: {"op": "EQUAL_TO", "left": "1", "right": right}
    job = admin.api_client.do("POST", "/api/2.2/jobs/create", body={
        "name": "fork",
        "tasks": [
            {"task_key": "ask", "condition_task": check("1")},
            {"task_key": "then", "condition_task": check("1"), "depends_on": [{"task_key": "ask", "outcome": "true"}]},
            {"task_key": "otherwise", "condition_task": check("1"), "depends_on": [{"task_key": "ask", "outcome": "false"}]},
        ],
    })  # fmt: skip
    window.sign_in()
    window.go(f"/console/jobs/{job['job_id']}")
    window.page.get_by_role("button", name="Run now").click()
    page = window.page
    expect(page.get_by_role("cell", name="otherwise")).to_be_visible()
    expect(page.get_by_role("cell", name="EXCLUDED", exact=True)).to_be_visible()
    expect(page.get_by_text("SUCCESS").first).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()


def test_a_session_that_is_signed_out_is_over(site, window):
    window.sign_in()
    expect(window.page.get_by_role("heading", name="Overview")).to_be_visible()
    window.page.get_by_role("button", name="Sign out").click()
    expect(window.page.get_by_label("Token")).to_be_visible()
    window.go("/console/jobs")
    expect(window.page.get_by_label("Token")).to_be_visible()


def test_every_page_of_the_navigation_opens_without_an_error(site, window):
    window.sign_in()
    window.page.wait_for_selector("nav")
    paths = window.page.eval_on_selector_all("nav a", "links => links.map(link => link.getAttribute('href'))")
    assert len(paths) >= 3
    for path in paths:
        window.go(path)
        expect(window.page.get_by_role("heading").first).to_be_visible()
        expect(window.page.get_by_text("500")).to_have_count(0)


def _session(site):
    answer = httpx.post(f"{site.url}/console/login", data={"token": TOKEN}, headers={"origin": site.url})
    return answer.cookies["lakewright_session"]


def test_the_audit_page_finds_a_refusal(site, window):
    admin = site.client()
    admin.api_client.do("POST", "/api/2.0/sql/warehouses", body={"name": "small", "cluster_size": "2X-Small"})
    outsider = site.client(site.token_of("nosy"))
    with pytest.raises(Exception, match="needs"):
        outsider.users.create(user_name="friend")
    window.sign_in()
    window.go("/console/audit?what=createUser&refused=true")
    expect(window.page.get_by_role("cell", name="createUser").first).to_be_visible()
    expect(window.page.get_by_role("cell", name="403").first).to_be_visible()


def test_the_access_page_explains_and_decides_requests(site, window):
    admin = site.client()
    admin.catalogs.create("lake")
    asker = site.client(site.token_of("asker"))
    asker.api_client.do("POST", "/api/2.0/lakewright/access/requests", body={
        "object": "catalogs:/lake", "rights": ["USE_CATALOG"], "reason": "the yearly count",
    })  # fmt: skip
    window.sign_in()
    name = asker.current_user.me().user_name
    window.go(f"/console/access?principal={name}&object=catalogs:/lake&action=USE_CATALOG")
    page = window.page
    expect(page.get_by_text("Refused", exact=True)).to_be_visible()
    expect(page.get_by_text("needs USE_CATALOG on catalog")).to_be_visible()
    expect(page.get_by_text("the yearly count")).to_be_visible()
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("the yearly count")).to_have_count(0)
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_text("Allowed", exact=True)).to_be_visible()
    expect(page.get_by_text(f"USE_CATALOG on catalogs:/lake by {name}")).to_be_visible()
    page.get_by_role("button", name="Who can").click()
    expect(page.get_by_role("cell", name=name, exact=True)).to_be_visible()

"""What answers say about the server, to whom, and what a browser may do with them (attacks D6, G2, G3, H12)."""

import ssl
import subprocess

import httpx
import pytest
from actors import ADMIN_TOKEN

from lakewright.app import build, serve
from lakewright.kernel.config import HttpLimits, Settings
from lakewright.kernel.front import Front
from lakewright.kernel.operation import OPERATIONS
from lakewright.kernel.rules import PUBLIC
from lakewright.kernel.socket import Server, check_exposure


@pytest.fixture
def bearer(people):
    return {"authorization": f"Bearer {people.admin.token}"}


def test_no_answer_names_the_server_or_shows_how_it_is_made(server, bearer):
    with httpx.Client(base_url=server.url) as http:
        for answer in (
            http.get("/health"), http.get("/api/9.9/nothing"), http.get("/api/2.0/preview/scim/v2/Me"),
            http.get("/api/2.0/preview/scim/v2/Me", headers=bearer), http.get("/console/login"),
            http.post("/api/2.0/token/create", content=b"{", headers=bearer),
        ):  # fmt: skip
            assert "server" not in answer.headers
            assert "x-powered-by" not in answer.headers
            assert answer.headers["x-content-type-options"] == "nosniff"
            for word in ("Traceback", "uvicorn", "starlette", "sqlite", "/src/", ".py"):
                assert word not in answer.text


def test_without_signing_in_there_is_only_what_is_listed_as_open(server, people):
    """Probes that other servers answer: documentation, metrics, debug pages, dumps (H12)."""
    with httpx.Client(base_url=server.url) as http:
        for path in (
            "/docs", "/redoc", "/openapi.json", "/metrics", "/debug", "/debug/pprof", "/status", "/version", "/healthz",
            "/server-status", "/actuator", "/actuator/env", "/.env", "/.git/config", "/robots.txt", "/favicon.ico",
            "/console/_nicegui/auto/static/nicegui.js", "/api/2.1/lakewright/openapi.json", "/graphql", "/backup",
        ):  # fmt: skip
            answer = http.get(path)
            assert answer.status_code in (303, 401, 404), path
            assert "lakewright.db" not in answer.text
        assert http.get("/health").json() == {"status": "ok"}
    open_paths = {o.path for o in OPERATIONS if o.needs is PUBLIC and o.verb == "GET"}
    assert "/health" in open_paths


def test_who_somebody_is_comes_from_the_token_and_from_no_other_header(server, people):
    eve = people.person("eve")
    claims = {
        "x-databricks-user": "admin", "x-databricks-user-id": people.admin.id, "x-forwarded-user": "admin",
        "x-forwarded-email": "admin", "x-remote-user": "admin", "remote-user": "admin", "x-user": "admin",
        "x-databricks-impersonate": "admin", "x-original-url": "/health", "x-rewrite-url": "/health",
        "x-http-method-override": "DELETE", "cookie": f"Authorization=Bearer {people.admin.token}",
    }  # fmt: skip
    me = httpx.get(
        f"{server.url}/api/2.0/preview/scim/v2/Me", headers={**claims, "authorization": f"Bearer {eve.token}"}
    )
    assert me.json()["userName"] == "eve"
    assert httpx.get(f"{server.url}/api/2.0/preview/scim/v2/Me", headers=claims).status_code == 401
    for where in (f"?access_token={eve.token}", f"?token={eve.token}", f"?authorization=Bearer%20{eve.token}"):
        assert httpx.get(f"{server.url}/api/2.0/preview/scim/v2/Me{where}").status_code in (401, 501)


def test_where_a_request_came_from_is_what_the_connection_says(server, bearer):
    """This client is on no trusted network: what it claims is not believed, neither in links nor in the trail."""
    claims = {
        "x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https", "x-forwarded-host": "evil.example",
        "forwarded": "for=203.0.113.9;host=evil.example;proto=https", "x-real-ip": "203.0.113.9",
        "user-agent": "a liar",
    }  # fmt: skip
    found = httpx.get(f"{server.url}/.well-known/databricks-config", headers=claims).json()
    assert found["oidc_endpoint"].startswith(server.url)
    rows = server.platform.snapshot(
        lambda ctx: ctx.tx.all("SELECT source FROM audit WHERE user_agent = ?", claims["user-agent"])
    )
    assert [r["source"] for r in rows] == ["127.0.0.1"]


def test_a_trusted_proxy_says_where_a_request_came_from_as_far_as_it_is_believed():
    front = Front(Settings(http=HttpLimits(trusted_proxies=["10.0.0.0/8", "::1"])))
    headers = {
        "host": "inner", "x-forwarded-for": "1.2.3.4, 203.0.113.9, 10.0.0.7", "x-forwarded-proto": "https",
        "x-forwarded-host": "ml.example.com",
    }  # fmt: skip
    came = front.forwarded("10.1.1.1", "http", headers)
    assert (came.source, came.scheme, came.host) == ("203.0.113.9", "https", "ml.example.com")
    assert front.forwarded("11.0.0.1", "http", headers).source == "11.0.0.1"
    assert front.forwarded("10.1.1.1", "http", {"x-forwarded-for": "x, 10.2.2.2"}).source == "10.2.2.2"
    assert front.forwarded("10.1.1.1", "http", {"x-forwarded-proto": "gopher"}).scheme == "http"


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("localhost:8470", True), ("127.0.0.1:8470", True), ("[::1]:8470", True), ("dev.localhost", True),
        ("ML.Example.com", True), ("qa.ml.example.com:443", True), ("ml.example.com.", True), ("evil.example", False),
        ("ml.example.com.evil.example", False), ("evilml.example.com", False), ("localhost.evil.example", False),
        ("localhost@evil.example", False), ("localhost:80@evil.example", False), ("localhost/evil", False),
        ("localhost:x", False), ("", False), ("localhost localhost", False), ("localhost,evil.example", False),
    ],
)  # fmt: skip
def test_names_that_are_ours(host, ours):
    front = Front(Settings(public_url="https://ml.example.com"))
    assert (front.refuses([(b"host", host.encode())], "1.1") is None) == ours


def test_a_refused_name_is_on_record(server):
    answer = httpx.get(f"{server.url}/health", headers={"host": "evil.example", "user-agent": "rebound"})
    assert (answer.status_code, answer.json()["error_code"]) == (421, "MISDIRECTED_REQUEST")
    rows = server.platform.snapshot(lambda ctx: ctx.tx.all("SELECT status FROM audit WHERE user_agent = 'rebound'"))
    assert [r["status"] for r in rows] == [421]


def test_no_other_origin_may_call_unless_it_is_set(server, bearer):
    origin = {"origin": "https://app.example.com"}
    preflight = {**origin, "access-control-request-method": "POST"}
    with httpx.Client(base_url=server.url) as http:
        for answer in (
            http.get("/health", headers=origin), http.options("/api/2.0/token/create", headers=preflight),
            http.get("/api/2.0/preview/scim/v2/Me", headers={**bearer, **origin}),
        ):  # fmt: skip
            assert not [name for name in answer.headers if name.startswith("access-control")]


def test_an_origin_that_is_set_may_call_and_no_other(tmp_path):
    with running(tmp_path, http=HttpLimits(cors_origins=["https://app.example.com"])) as (url, platform):
        ours, other = {"origin": "https://app.example.com"}, {"origin": "https://app.example.com.evil.example"}
        allowed = httpx.options(
            f"{url}/api/2.0/token/create", headers={**ours, "access-control-request-method": "POST"}
        )
        assert allowed.status_code == 204
        assert allowed.headers["access-control-allow-origin"] == "https://app.example.com"
        assert "access-control-allow-credentials" not in allowed.headers
        rebound = httpx.options(f"{url}/health", headers={**ours, "host": "evil.example"})
        assert rebound.status_code == 421
        assert httpx.get(f"{url}/health", headers=ours).headers["access-control-allow-origin"] == ours["origin"]
        for answer in (httpx.get(f"{url}/health", headers=other), httpx.options(f"{url}/health", headers=other)):
            assert "access-control-allow-origin" not in answer.headers
        rows = platform.snapshot(lambda ctx: ctx.tx.all("SELECT status FROM audit WHERE action = 'unknown OPTIONS'"))
        assert [r["status"] for r in rows] == [204, 421, 404]


@pytest.mark.parametrize("origin", ["*", "https://*.example.com", "example.com", "https://a.example/path", "null"])
def test_an_origin_that_is_not_exact_cannot_be_set(origin):
    with pytest.raises(ValueError, match="origin"):
        HttpLimits(cors_origins=[origin])


def test_what_people_uploaded_never_runs_in_a_browser(server, people, bearer):
    """HTML, SVG and scripts come back as bytes to save, whatever they are called (D6, CVE-2023-6568)."""
    page = b"<html><script>alert(document.domain)</script></html>"
    admin = people.admin.client
    admin.workspace.upload("/Shared/evil.html", page, format=_raw())
    admin.catalogs.create("main")
    admin.schemas.create("s", "main")
    from databricks.sdk.service.catalog import VolumeType

    admin.volumes.create("main", "s", "v", VolumeType.MANAGED)
    asked = ["/api/2.0/workspace/export?path=/Shared/evil.html&format=RAW&direct_download=true"]
    with httpx.Client(base_url=server.url, headers=bearer) as http:
        for name in ("x.html", "x.svg", "x.js", "x.xhtml", "%22%3Cscript%3E.html", "a%0d%0ab.html"):
            path = f"/api/2.0/fs/files/Volumes/main/s/v/{name}"
            if http.put(path, content=page).status_code == 204:
                asked.append(path)
        assert len(asked) > 4
        for path in asked:
            answer = http.get(path)
            assert answer.content == page, path
            assert answer.headers["content-type"] == "application/octet-stream"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-disposition"].startswith("attachment")
            assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
            assert "no-store" in answer.headers["cache-control"]


def test_over_tls_browsers_are_told_to_stay_there_and_cookies_too(tmp_path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    with running(tmp_path, tls_certificate=certificate, tls_key=key) as (url, _):
        assert url.startswith("https://")
        trusting = ssl.create_default_context(cafile=str(certificate))
        with httpx.Client(base_url=url, verify=trusting) as http:
            answer = http.get("/.well-known/databricks-config")
            assert answer.json()["oidc_endpoint"].startswith("https://")
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
            signed_in = http.post("/console/login", data={"token": ADMIN_TOKEN}, headers={"origin": url})
            assert signed_in.headers["strict-transport-security"]
            assert "; secure" in signed_in.headers["set-cookie"].lower()
        old = ["openssl", "s_client", "-connect", url.removeprefix("https://"), "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]
        assert subprocess.run(old, input=b"", capture_output=True, check=False).returncode != 0
        with pytest.raises(httpx.HTTPError):
            httpx.get(url.replace("https", "http") + "/health")


def test_nobody_listens_in_public_without_tls():
    with pytest.raises(ValueError, match="without TLS"):
        check_exposure(Settings(host="0.0.0.0"))
    with pytest.raises(ValueError, match="without tls_key"):
        check_exposure(Settings(host="0.0.0.0", tls_certificate="c.pem"))  # type: ignore[arg-type]


class running:
    """A server of its own with these settings."""

    def __init__(self, tmp_path, **settings):
        self.settings = Settings(data_dir=tmp_path / "own", admin_token=ADMIN_TOKEN, port=0, **settings)  # type: ignore[arg-type]

    def __enter__(self):
        self.platform = build(self.settings)
        self.server = Server(serve(self.platform), self.settings)
        return self.server.start(), self.platform

    def __exit__(self, *_):
        self.server.stop()
        self.platform.stop()


def _raw():
    from databricks.sdk.service.workspace import ImportFormat

    return ImportFormat.RAW

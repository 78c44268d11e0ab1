"""Exactly one row for every request, however it ends; nothing a client says of itself is taken for ours."""

import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest


@pytest.fixture
def ask(server, people):
    """Send a request under a user agent of its own; its answer and the rows it left."""
    count = iter(range(1000))

    def send(verb, path, *, token=None, headers=None, **more):
        mark = f"mark-{next(count)}"
        token = people.admin.token if token is None else token
        given = {"user-agent": mark, **({"authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
        answer = httpx.request(verb, server.url + path, headers=given, timeout=30, **more)
        return answer, rows(server, mark)

    return send


def rows(server, mark):
    return server.platform.snapshot(
        lambda ctx: [dict(r) for r in ctx.tx.all("SELECT * FROM audit WHERE user_agent = ? ORDER BY seq", mark)]
    )


def test_a_row_says_who_what_on_what_allowed_why_from_where_and_under_which_number(ask, people):
    people.admin.client.catalogs.create("main")
    answer, [row] = ask("GET", "/api/2.1/unity-catalog/catalogs/main", headers={"x-request-id": "theirs-1"})
    assert answer.status_code == 200
    assert (row["who"], row["who_name"], row["service"], row["action"]) == (
        people.admin.id,
        "admin",
        "unityCatalog",
        "getCatalog",
    )
    assert (row["kind"], row["address"], row["status"], row["decision"]) == ("catalog", "main", 200, "allowed")
    assert row["because"] and row["object_id"] and row["workspace"]
    assert row["source"] == "127.0.0.1"
    assert row["client_request_id"] == "theirs-1"
    assert row["request_id"] != "theirs-1"


WRONG = (
    ("POST", "/api/2.1/unity-catalog/catalogs", {"content": b"{not json"}, 400, ""),
    ("POST", "/api/2.1/unity-catalog/catalogs", {"json": {"name": "a", "nobody_enforces_this": 1}}, 501, ""),
    ("POST", "/api/2.1/unity-catalog/catalogs", {"content": b'{"a":' * 200 + b"1" + b"}" * 200}, 400, ""),
    ("POST", "/api/2.1/unity-catalog/catalogs?name=a", {"json": {"name": "b"}}, 400, ""),
    ("GET", "/api/2.1/unity-catalog/catalogs/nothing", {}, 404, ""),
    ("GET", "/api/9.9/nothing", {}, 404, ""),
    ("PATCH", "/health", {}, 404, ""),
    ("OPTIONS", "/health", {}, 404, ""),
    ("GET", "/api/2.0/instance-pools/list", {}, 501, ""),
    ("HEAD", "/api/2.1/unity-catalog/catalogs", {}, 200, "allowed"),
    ("PUT", "/api/2.0/fs/files/Volumes/no/such/volume/x", {"content": b"x"}, 404, ""),
)


def test_what_is_wrong_is_on_record_once_with_whose_it_was(ask):
    for verb, path, more, status, decision in WRONG:
        answer, found = ask(verb, path, **more)
        assert answer.status_code == status, (verb, path, answer.text)
        assert [(r["who_name"], r["status"], r["decision"]) for r in found] == [("admin", status, decision)], (
            verb,
            path,
        )


def test_who_is_nobody_is_on_record_as_nobody(ask):
    for verb, path, more in (
        ("GET", "/api/2.1/unity-catalog/catalogs", {}),
        ("PUT", "/api/2.0/fs/files/Volumes/a/b/c/x", {"content": b"x"}),
    ):
        for token in ("", "nonsense"):
            answer, [row] = ask(verb, path, token=token, **more)
            assert (answer.status_code, row["who"], row["status"], row["decision"]) == (401, "", 401, "refused")
            assert row["because"]
            assert "nonsense" not in str(row)
    answer, [row] = ask("GET", "/api/9.9/nothing", token="")
    assert (answer.status_code, row["who"], row["address"]) == (404, "", "/api/9.9/nothing")
    assert row["because"]


@pytest.fixture
def volume(people):
    """A place to upload to: who may not upload is refused before a byte is read."""
    people.admin.client.catalogs.create("a"), people.admin.client.schemas.create("b", "a")
    people.admin.do(
        "POST", "/api/2.1/unity-catalog/volumes", name="c", catalog_name="a", schema_name="b", volume_type="MANAGED"
    )
    return "/api/2.0/fs/files/Volumes/a/b/c/x"


def test_a_body_that_is_too_large_is_on_record(ask, settings, volume):
    settings.http.body_bytes = settings.http.upload_bytes = 1000
    for verb, path in (("POST", "/api/2.1/unity-catalog/catalogs"), ("PUT", volume)):
        answer, found = ask(verb, path, content=b"x" * 2000)
        assert answer.status_code == 413
        assert [(r["who_name"], r["status"]) for r in found] == [("admin", 413)]


def test_a_client_that_goes_away_half_way_is_on_record(server, people, volume):
    where = urlsplit(server.url)
    for agent, request in (
        ("gone-1", "POST /api/2.1/unity-catalog/catalogs"),
        ("gone-2", f"PUT {volume}"),
    ):
        with socket.create_connection((where.hostname, where.port)) as line:
            line.sendall(
                f"{request} HTTP/1.1\r\nhost: {where.netloc}\r\nauthorization: Bearer {people.admin.token}\r\n"
                f"user-agent: {agent}\r\ncontent-length: 1000\r\n\r\nonly this".encode()
            )
            time.sleep(0.1)
        deadline = time.monotonic() + 20
        while not (found := rows(server, agent)) and time.monotonic() < deadline:
            time.sleep(0.02)
        [row] = found
        assert (row["who_name"], row["status"]) == ("admin", 499)
        assert row["error"].startswith("the client went away")
    assert not list((server.platform.settings.data_dir / "spool").glob("*"))


def test_what_a_client_says_of_itself_is_one_line_and_no_identity(server, people):
    forged = {
        "authorization": f"Bearer {people.admin.token}", "user-agent": b"a\tb\x85c" + b"d" * 1000,
        "x-request-id": "i" * 1000, "x-databricks-user": "eve", "x-forwarded-user": "eve", "x-databricks-request-id": "eve",
    }  # fmt: skip
    httpx.get(server.url + "/api/2.0/token/list", headers=forged)
    [row] = server.platform.snapshot(
        lambda ctx: [dict(r) for r in ctx.tx.all("SELECT * FROM audit WHERE action = 'listTokens'")]
    )
    assert row["user_agent"] == "a\ufffdb\ufffdc" + "d" * 495
    assert row["client_request_id"] == "i" * 128
    assert row["who_name"] == "admin"
    assert "eve" not in str({k: v for k, v in row.items() if k != "ask"})

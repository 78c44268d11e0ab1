"""Clients that are slow, or that send what proxies in front may read otherwise (attacks B2, G1, H2, H3)."""

import re
import socket
import time

import httpx
import pytest

from lakewright.kernel.config import HttpLimits


def connected(server):
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def said(wire):
    """Everything until the server closes."""
    found = b""
    try:
        while piece := wire.recv(65536):
            found += piece
    except ConnectionResetError:
        pass
    return found


def send(server, raw):
    """The bytes, the last request among them asking to close; all that is answered."""
    before, host, after = raw.rpartition(b"Host: ")
    with connected(server) as wire:
        wire.sendall(before + b"Connection: close\r\n" + host + after if host else raw)
        return said(wire)


def statuses(answer):
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


# ---- slow


def test_who_says_nothing_is_let_go(server):
    with connected(server) as wire:
        assert b"408" in said(wire)


def test_a_head_that_never_ends_is_cut_off_however_it_dribbles(server):
    with connected(server) as wire:
        started = time.monotonic()
        wire.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
        try:
            while time.monotonic() - started < 5:
                wire.sendall(b"x-a: b\r\n")
                time.sleep(0.05)
        except OSError:
            pass
        assert time.monotonic() - started < 3


def test_a_body_that_dribbles_is_cut_off_and_on_record(server, people):
    with connected(server) as wire:
        started = time.monotonic()
        head = (
            f"POST /api/2.0/token/create HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {people.admin.token}\r\n"
        )
        wire.sendall((head + "User-Agent: dribbler\r\nContent-Length: 100000\r\n\r\n{").encode())
        try:
            while time.monotonic() - started < 5:
                wire.sendall(b" ")
                time.sleep(0.05)
        except OSError:
            pass
        assert time.monotonic() - started < 3
    assert recorded(server, "dribbler") == [499]


def test_a_body_at_a_fair_speed_may_take_its_time(server, people):
    """As fast as the limit asks, and longer than the time that any speed is good for."""
    limits = server.platform.settings.http
    pieces = [b" " * limits.body_rate] * 8
    with connected(server) as wire:
        length = sum(map(len, pieces)) + 2
        head = (
            f"POST /api/2.0/token/create HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {people.admin.token}\r\n"
        )
        wire.sendall((head + f"Connection: close\r\nContent-Length: {length}\r\n\r\n{{").encode())
        for piece in pieces:
            wire.sendall(piece)
            time.sleep(limits.body_seconds / 4)
        wire.sendall(b"}")
        assert statuses(said(wire)) == [200]


def test_a_kept_connection_may_be_idle_longer_than_a_head_may_take(server):
    with httpx.Client(base_url=server.url) as http:
        assert http.get("/health").status_code == 200
        time.sleep(2 * server.platform.settings.http.head_seconds)
        with connected(server) as other:  # the server has looked at its connections since
            other.close()
        assert http.get("/health").status_code == 200


def test_who_leaves_in_the_middle_of_a_body_is_on_record_once(server, people):
    with connected(server) as wire:
        head = (
            f"POST /api/2.0/token/create HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {people.admin.token}\r\n"
        )
        wire.sendall((head + "User-Agent: leaver\r\nContent-Length: 10\r\n\r\n{").encode())
        time.sleep(0.1)
    assert recorded(server, "leaver") == [499]


# ---- strange

GOOD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /oidc/v1/token HTTP/1.1\r\nHost: localhost\r\n"
REFUSED_ON_THE_WIRE = {
    "a length and chunks": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and a length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "chunks twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks that are not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunks, misspelt": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunks, quoted": POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "a vertical tab before chunks": POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded transfer-encoding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 1\r\n\r\na",
    "the same length twice": POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
    "a list of lengths": POST + b"Content-Length: 1, 1\r\n\r\na",
    "a negative length": POST + b"Content-Length: -1\r\n\r\n",
    "a hexadecimal length": POST + b"Content-Length: 0x1\r\n\r\na",
    "a length beyond 64 bits": POST + b"Content-Length: 99999999999999999999\r\n\r\n",
    "a chunk size that is none": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    "a negative chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "a chunk size beyond 64 bits": POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 17 + b"\r\n\r\n",
    "a chunk longer than it says": POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
    "a bare LF after a chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
    "a bare CR in a value": GOOD + b"X-A: b\rX-B: c\r\n\r\n",
    "bare LFs": b"GET /health HTTP/1.1\nHost: localhost\n\n",
    "a bare LF between headers": GOOD + b"X-A: b\nX-B: c\r\n\r\n",
    "a folded value": GOOD + b"X-A: b\r\n c\r\n\r\n",
    "a first header that is folded": b"GET /health HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "no name": GOOD + b": x\r\n\r\n",
    "a name with a space": GOOD + b"x a: x\r\n\r\n",
    "no version": b"GET /health\r\n\r\n",
    "an unknown version": b"GET /health HTTP/3.7\r\nHost: localhost\r\n\r\n",
    "a space in the target": b"GET /hea lth HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "two hosts": GOOD + b"Host: localhost\r\n\r\n",
    "two credentials": GOOD + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
    "a lower-case method": b"get /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED_ON_THE_WIRE)
def test_a_request_is_refused_and_nothing_after_it_read_with(server, what):
    """One answer, 400, and then the connection is closed: what follows could be somebody else's request."""
    answer = send(server, REFUSED_ON_THE_WIRE[what] + GOOD + b"\r\n")
    assert statuses(answer)[:1] == [400], answer
    if what not in ("no host", "two hosts", "two credentials"):  # those are read whole, and refused by name
        assert statuses(answer) == [400]
    assert b"200 OK" not in answer.partition(b"\r\n\r\n")[0]


def test_a_header_that_could_not_be_two_lines_is_kept_out_of_the_answer_and_the_trail(server):
    """CR and LF do not get as far as a value; what is recorded of a user agent is one line."""
    assert statuses(send(server, GOOD + b"User-Agent: a\r\nX: b\x00c\r\n\r\n")) == [400]
    httpx.get(f"{server.url}/health", headers={"user-agent": "a%0d%0aX: b", "x-request-id": "mine"})
    rows = server.platform.snapshot(lambda ctx: ctx.tx.all("SELECT user_agent, request_id FROM audit"))
    assert not any("\n" in r["user_agent"] or r["request_id"] == "mine" for r in rows)


def test_an_expectation_is_met_before_the_body_and_not_without_need(server, people):
    head = f"POST /api/2.0/token/create HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {people.admin.token}\r\n"
    with connected(server) as wire:
        wire.sendall((head + "Connection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").encode())
        assert wire.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.sendall(b"{}")
        assert statuses(said(wire)) == [200]
    with connected(server) as wire:
        wire.sendall((head + "Expect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n").encode())
        assert wire.recv(12) == b"HTTP/1.1 413"


def test_of_requests_in_one_piece_each_is_judged_by_its_own_credential(server, people):
    path = "GET /api/2.0/preview/scim/v2/Me HTTP/1.1\r\nHost: localhost\r\n"
    eve = people.person("eve")
    answer = send(
        server,
        (
            f"{path}Authorization: Bearer {people.admin.token}\r\n\r\n{path}\r\n"
            f"{path}Authorization: Bearer {eve.token}\r\n\r\n{path}Authorization: Bearer nonsense\r\n\r\n"
        ).encode(),
    )
    assert statuses(answer) == [200, 401, 200, 401]
    first, second = [part for part in answer.split(b"HTTP/1.1 ")[1:] if part.startswith(b"200")]
    assert b'"admin"' in first
    assert b'"eve"' in second


def test_http_1_0_is_answered_and_closed(server):
    answer = send(server, b"GET /health HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'{"status":"ok"}' in answer


def test_a_target_with_a_host_of_its_own_does_not_get_around_the_host_header(server):
    assert statuses(send(server, b"GET http://evil.example/health HTTP/1.1\r\nHost: evil.example\r\n\r\n")) == [421]
    assert statuses(send(server, b"GET http://localhost/health HTTP/1.1\r\nHost: evil.example\r\n\r\n")) == [421]


ALIASES = (
    "/api/2.0/preview/scim/v2/Users/", "//api/2.0/preview/scim/v2/Users", "/api/2.0/preview/scim/v2//Users",
    "/API/2.0/preview/scim/v2/Users", "/api/2.0/preview/scim/v2/users", "/api%2f2.0/preview/scim/v2/Users",
    "/api/2.0/preview/scim/v2/Users;x", "/api/2.0/preview/scim/v2/Users%3bx", "/api/2.1/preview/scim/v2/Users",
    "/api/3.0/preview/scim/v2/Users", "/ajax-api/2.0/preview/scim/v2/Users", "/api/2.0/preview/../preview/scim/v2/Users",
    "/api/2.0/preview/%2e%2e/preview/scim/v2/Users", "/api/2.0/preview/scim/v2/Users%00", "/api/2.0/preview/scim/v2/Users.json",
    "/api/2.0/preview/scim/v2/Users%20", "/api/2.0/preview/scim/v2/./Users", "/api/2.0/preview/scim/v2/Users%23",
    "/\\api/2.0/preview/scim/v2/Users", "/api/2.0\\preview/scim/v2/Users",
)  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_an_operation_is_reached_by_its_own_path_only(server, people, method):
    for path in ALIASES:
        raw = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {people.admin.token}\r\n\r\n"
        assert statuses(send(server, raw.encode()))[0] in (400, 404, 405), path


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "PROPFIND", "PUT", "LINK"])
def test_a_method_that_nobody_declared_is_unknown_says_nothing_and_is_on_record(server, people, method):
    raw = (
        f"{method} /api/2.0/preview/scim/v2/Users HTTP/1.1\r\nHost: localhost\r\nUser-Agent: by {method}\r\n"
        f"Authorization: Bearer {people.admin.token}\r\nX-Secret: s3cret\r\n\r\n"
    )
    answer = send(server, raw.encode())
    assert statuses(answer)[0] in (404, 405)
    assert b"s3cret" not in answer
    assert b"\r\nallow:" not in answer.lower()
    assert recorded(server, f"by {method}") == statuses(answer)


def test_head_is_get_without_the_body(server, people):
    bearer = {"authorization": f"Bearer {people.admin.token}"}
    got = httpx.get(f"{server.url}/api/2.0/preview/scim/v2/Me", headers=bearer)
    head = httpx.head(f"{server.url}/api/2.0/preview/scim/v2/Me", headers=bearer)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, got.headers["content-length"], b"")


def test_the_same_key_twice_is_refused_wherever_the_two_stand(server, people):
    """In a query, in query and body, in path and body; the same value twice is one value (B3)."""
    bob, eve = people.person("bob"), people.person("eve")
    bearer = {"authorization": f"Bearer {people.admin.token}"}
    users = "/api/2.0/preview/scim/v2/Users"
    with httpx.Client(base_url=server.url, headers=bearer) as http:
        assert http.get(f"{users}?filter=a&filter=b").status_code == 400
        assert http.get(f"{users}/{bob.id}?id={eve.id}").status_code == 400
        assert http.patch(f"{users}/{bob.id}", json={"id": eve.id, "Operations": []}).status_code == 400
        assert http.get(f"{users}/{bob.id}?id={bob.id}").status_code == 200
        assert http.post("/api/2.0/token/delete?token_id=a", json={"token_id": "b"}).status_code == 400


def test_the_defaults_are_patient_with_honest_clients():
    limits = HttpLimits()
    assert limits.head_seconds >= 10
    assert limits.body_seconds >= 10
    assert limits.body_rate <= 4096


def recorded(server, user_agent):
    """Statuses on record for requests of that client, waited for: it may be gone before its request is over."""
    end = time.monotonic() + 5
    while True:
        rows = server.platform.snapshot(
            lambda ctx: ctx.tx.all("SELECT status FROM audit WHERE user_agent = ?", user_agent)
        )
        if rows or time.monotonic() > end:
            return [r["status"] for r in rows]
        time.sleep(0.02)

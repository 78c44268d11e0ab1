"""What reaches the operations of the bytes on the wire, whatever the client offers, splits or sends twice."""

import contextlib
import json
import socket

import pytest

from lakewright.kernel.protocol import HEAD_BYTES, HEADERS

OFFER = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"


def connected(server):
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


@pytest.fixture
def wire(server):
    with connected(server) as connection:
        yield connection


def request(people, method, path, body="", more=""):
    return (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {people.admin.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{more}\r\n{body}"
    ).encode()


def answers(wire, count=1):
    """(status, body) of the next answers; an answer without a length ends with the connection."""
    file, found = wire.makefile("rb"), []
    for _ in range(count):
        status = int(file.readline().split()[1])
        length = 0
        while line := file.readline().strip():
            name, _, value = line.decode().partition(":")
            if name.lower() == "content-length":
                length = int(value)
        found.append((status, file.read(length)))
    return found


def scope(name):
    return json.dumps({"scope": name})


def test_a_body_that_comes_with_an_offer_of_another_protocol_is_read(wire, people):
    wire.sendall(request(people, "POST", "/api/2.0/secrets/scopes/create", scope("offered"), OFFER))
    assert answers(wire) == [(200, b"{}")]
    assert [s.name for s in people.admin.client.secrets.list_scopes()] == ["offered"]


def test_the_body_may_come_later_and_in_pieces(wire, people):
    sent = request(people, "POST", "/api/2.0/secrets/scopes/create", scope("in-pieces"), OFFER)
    for byte in sent:
        wire.sendall(bytes([byte]))
    assert answers(wire) == [(200, b"{}")]


def test_requests_in_one_piece_are_answered_in_their_order_offers_or_not(wire, people):
    path = "/api/2.0/secrets/scopes/create"
    wire.sendall(
        request(people, "POST", path, scope("one"), OFFER)
        + request(people, "POST", path, scope("two"))
        + request(people, "POST", path, scope("one"), OFFER)
        + request(people, "GET", "/api/2.0/secrets/scopes/list", more=OFFER)
    )
    first, second, again, listing = answers(wire, 4)
    assert [first[0], second[0], again[0], listing[0]] == [200, 200, 409, 200]
    assert [s["name"] for s in json.loads(listing[1])["scopes"]] == ["one", "two"]


def test_a_chunked_body_with_an_offer_is_read(wire, people):
    body = scope("chunked").encode()
    head = request(people, "POST", "/api/2.0/secrets/scopes/create", more=OFFER + "Transfer-Encoding: chunked\r\n")
    head = head.replace(b"Content-Length: 0\r\n", b"")
    wire.sendall(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    assert answers(wire) == [(200, b"{}")]


AMBIGUOUS = {
    "two kinds of length": "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
    "differing lengths": "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
    "a signed length": "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nabcd",
    "a folded header": "GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
    "a space before the colon": "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "a NUL in a name": "GET / HTTP/1.1\r\nA\0: a\r\n\r\n",
    "a tunnel": "CONNECT localhost:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "no HTTP": "NONSENSE\r\n\r\n",
}


def test_what_two_readers_could_read_differently_is_refused(server):
    for what, head in AMBIGUOUS.items():
        with connected(server) as wire:
            wire.sendall(head.encode())
            [(status, body)] = answers(wire)
            assert status == 400, what
            assert json.loads(body)["error_code"] == "MALFORMED_REQUEST"
            assert wire.recv(1) == b"", what


def test_a_head_has_a_largest_size(server):
    first = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
    for more in (
        b"a: " + b"x" * HEAD_BYTES + b"\r\n\r\n",
        b"".join(b"a%d: x\r\n" % i for i in range(HEADERS)) + b"\r\n",
        b"a: " + b"x" * (4 * HEAD_BYTES),
    ):
        with connected(server) as wire, contextlib.suppress(ConnectionError):  # it may close before it has read all
            wire.sendall(first + more)
            [(status, _)] = answers(wire)
            assert status == 431

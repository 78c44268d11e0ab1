"""What a body may be: one meaning, bounded size, and never a 500 (attacks B3, D4, G5)."""

import gzip
import json

import httpx
import pytest

from lakewright.kernel import bodies
from lakewright.kernel.config import HttpLimits
from lakewright.kernel.faults import Fault, Invalid, Malformed, TooLarge

LIMITS = HttpLimits(json_depth=10, json_values=50_000)

REFUSED = {
    "not JSON": b"{",
    "empty text": b" ",
    "an array": b"[]",
    "a number": b"1",
    "a trailing comma": b'{"a": 1,}',
    "bytes after the end": b'{"a": 1} x',
    "two objects": b"{}{}",
    "a comment": b'{"a": 1 /* one */}',
    "single quotes": b"{'a': 1}",
    "an unquoted name": b"{a: 1}",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "invalid UTF-8": b'{"a": "\xff"}',
    "overlong UTF-8": b'{"a": "\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"a": "\xed\xa0\x80"}',
    "a lone high surrogate": b'{"a": "\\ud800"}',
    "a lone low surrogate": b'{"a": "\\udc00"}',
    "surrogates the wrong way round": b'{"a": "\\udc00\\ud800"}',
    "a control character": b'{"a": "\x01"}',
    "NUL": b'{"a": "\\u0000"}',
    "NUL in a name": b'{"\\u0000": 1}',
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": Infinity}',
    "minus Infinity": b'{"a": -Infinity}',
    "1e400": b'{"a": 1e400}',
    "a leading zero": b'{"a": 01}',
    "hexadecimal": b'{"a": 0x1}',
    "a leading plus": b'{"a": +1}',
    "a bare point": b'{"a": 1.}',
    "2 to the 63rd": b'{"a": 9223372036854775808}',
    "2 to the 64th": b'{"a": 18446744073709551616}',
    "below -2 to the 63rd": b'{"a": {"b": [-9223372036854775809]}}',
    "a number of 5000 digits": b'{"a": ' + b"9" * 5000 + b"}",
    "a name twice": b'{"a": 1, "a": 1}',
    "a name twice with other space": b'{"a" : 1, "a":2}',
    "a name twice, once escaped": b'{"a": 1, "\\u0061": 2}',
    "a name twice, hidden by an escaped colon": b'{"a": "\\u003a", "b": "x", "b": "\\u003a"}',
    "a name twice below": b'{"a": [{"b": {"c": 1, "c": 2}}]}',
    "a name twice beside colons": b'{"a": "x:y", "b": 1, "b": 2}',
    "nested too deep": b'{"a":' + b"[" * 70 + b"]" * 70 + b"}",
    "nested 100,000 deep": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "objects 100,000 deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "100,000 openings": b"[" * 100_000,
}  # fmt: skip

ACCEPTED = {
    b"{}": {},
    b'{"a": "\\ud83d\\ude00"}': {"a": "\U0001f600"},
    b'{"a": 9223372036854775807, "b": -9223372036854775808}': {"a": 2**63 - 1, "b": -(2**63)},
    b'{"a": 1e300, "b": -1e300, "c": 1e-400}': {"a": 1e300, "b": -1e300, "c": 0.0},
    b'{"url": "http://x:1/y", "at": "12:30:00", "q": "\\":\\""}': {"url": "http://x:1/y", "at": "12:30:00", "q": '":"'},
    b'{"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 2}]}': {"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 2}]},
    b'{"a": "1\\u00e9\\u20ac"}': {"a": "1é€"},
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_json_body_is_refused_with(what):
    with pytest.raises((Malformed, TooLarge)):
        bodies.json_object(REFUSED[what], LIMITS)


@pytest.mark.parametrize("raw", ACCEPTED)
def test_a_json_body_is_read_as_it_stands(raw):
    assert bodies.json_object(raw, LIMITS) == ACCEPTED[raw]


def test_a_million_names_or_values_are_refused_before_they_are_held():
    names = b"{" + b",".join(b'"%d":0' % i for i in range(200_000)) + b"}"
    for raw in (names, b'{"a":[' + b"[]," * 100_000 + b"[]]}", b'{"a":[' + b"0," * 100_000 + b"0]}"):
        with pytest.raises(TooLarge):
            bodies.json_object(raw, LIMITS)


def test_random_bodies_with_a_repeated_name_are_refused_and_without_are_not():
    """Whatever colons, escapes and spaces there are around: repeated is refused exactly when json's pairs repeat."""
    from hypothesis import given, settings
    from hypothesis import strategies as st

    name = st.sampled_from(["a", "b", ":", "a:b", "\\u003a", "é"])
    written = name.map(lambda n: f'"{n}"')
    value = st.recursive(
        st.sampled_from(["1", '":"', '"\\":"', '"\\u003a"', "null", "1.5"]),
        lambda below: (
            st.lists(below, max_size=3).map(lambda v: f"[{','.join(v)}]")
            | st.lists(st.tuples(written, st.sampled_from([":", " :", ": "]), below), max_size=3).map(
                lambda v: "{" + ",".join(n + c + x for n, c, x in v) + "}"
            )
        ),
        max_leaves=6,
    )

    @settings(max_examples=150, deadline=None, database=None)
    @given(value)
    def check(text):
        raw = f'{{"top":{text}}}'.encode()
        repeats = []
        json.loads(raw, object_pairs_hook=lambda pairs: repeats.append(len(dict(pairs)) != len(pairs)))
        try:
            bodies.json_object(raw, HttpLimits())
        except Malformed:
            assert any(repeats), text
        else:
            assert not any(repeats), text

    check()


@pytest.mark.parametrize("raw", [b"a=1&a=1", b"a=%ff", b"a=%00", b"&".join(b"a%d=1" % i for i in range(2000))])
def test_a_form_that_means_two_things_or_nothing_is_refused(raw):
    with pytest.raises((Invalid, Malformed)):
        bodies.form(raw)


def test_over_the_socket_nothing_of_this_is_a_server_error_and_all_of_it_is_on_record(server, people):
    bearer = {"authorization": f"Bearer {people.person('eve').token}"}
    with httpx.Client(base_url=server.url, headers=bearer, timeout=30) as http:
        for what, raw in REFUSED.items():
            answer = http.post("/api/2.0/token/create", content=raw, headers={"user-agent": what})
            assert answer.status_code == 400, (what, answer.text)
            assert answer.json()["error_code"] == "MALFORMED_REQUEST"
    rows = server.platform.snapshot(
        lambda ctx: ctx.tx.all("SELECT user_agent FROM audit WHERE action = 'generateToken' AND status = 400")
    )
    assert sorted(r["user_agent"] for r in rows) == sorted(REFUSED)


def test_a_body_larger_than_its_operation_takes_is_refused_by_what_it_announces(server, people):
    """And by what it sends, when it announces nothing: chunks without an end are cut off at the limit."""
    limits = server.platform.settings.http
    bearer = {"authorization": f"Bearer {people.person('eve').token}"}
    sent = 0

    def endless():
        nonlocal sent
        while True:
            sent += 2**16
            yield b" " * 2**16

    with httpx.Client(base_url=server.url, headers=bearer, timeout=30) as http:
        announced = http.post("/api/2.0/token/create", content=b" " * (limits.body_bytes + 1))
        assert announced.status_code == 413
        larger = http.post("/api/2.0/mlflow/runs/log-batch", content=b" " * (limits.body_bytes + 1))
        assert larger.status_code == 400  # taken in, and then no JSON
        form = http.post("/oidc/v1/token", content=b"a" * (limits.form_bytes + 1))
        assert form.status_code == 413
        try:
            http.post("/api/2.0/token/create", content=endless())
        except httpx.HTTPError:
            pass  # the server closed while we were sending
    assert sent < 200 * 2**20
    rows = server.platform.snapshot(lambda ctx: ctx.tx.all("SELECT status FROM audit WHERE action = 'generateToken'"))
    assert [r["status"] for r in rows][-1] == 413


def test_a_compressed_body_is_not_unpacked(server, people):
    bearer = {"authorization": f"Bearer {people.person('eve').token}", "content-encoding": "gzip"}
    bomb = gzip.compress(b'{"comment": "' + b" " * 2**24 + b'"}')
    answer = httpx.post(f"{server.url}/api/2.0/token/create", content=bomb, headers=bearer)
    assert (answer.status_code, answer.json()["error_code"]) == (415, "MALFORMED_REQUEST")


def test_an_upload_is_not_taken_in_for_who_may_not_upload(server, people, tmp_path):
    """Neither for nobody, nor for somebody without the right: the disk is not theirs to fill (NF-04)."""
    spool = server.platform.settings.data_dir / "spool"
    refused = 0
    for token in ("lwp_nobody", people.person("eve").token):
        answer = httpx.put(
            f"{server.url}/api/2.0/fs/files/Volumes/a/b/c/x.bin",
            content=b"x" * 2**20,
            headers={"authorization": f"Bearer {token}"},
        )
        refused += answer.status_code in (401, 403)
    assert refused == 2
    assert not spool.exists() or not list(spool.iterdir())
    rows = server.platform.snapshot(lambda ctx: ctx.tx.all("SELECT status FROM audit WHERE action = 'filesPut'"))
    assert [r["status"] for r in rows] == [401, 403]


@pytest.mark.parametrize("given", [2**63, -(2**63) - 1, 1.8446744073709552e19, "9" * 40])
def test_an_integer_that_no_column_holds_is_refused_wherever_it_stands(given):
    """In the body, in a query (as text), and in what is nested."""
    from lakewright.identity import tokens
    from lakewright.tracking import runs

    with pytest.raises(Fault, match="lifetime_seconds"):
        tokens.create.parse({"lifetime_seconds": given})
    with pytest.raises(Fault, match="metrics.0.step"):
        runs.log_batch.parse({"run_id": "r", "metrics": [{"key": "k", "value": 1, "timestamp": 1, "step": given}]})


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/api/2.0/workspace/import", {"path": "/Shared/x", "format": "SOURCE", "language": "SQL", "content": "é"}),
        ("/api/2.0/secrets/put", {"scope": "letters", "key": "x", "bytes_value": "é"}),
    ],
)
def test_what_is_not_base64_is_refused_whatever_alphabet_it_is_in(server, people, path, fields):
    bearer = {"authorization": f"Bearer {people.admin.token}"}
    httpx.post(f"{server.url}/api/2.0/secrets/scopes/create", json={"scope": "letters"}, headers=bearer)
    answer = httpx.post(server.url + path, json=fields, headers=bearer)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "is not base64" in answer.json()["message"]


def test_a_basic_header_that_is_no_base64_is_nobody(server):
    answer = httpx.post(
        f"{server.url}/oidc/v1/token", data={"grant_type": "client_credentials"},
        headers={"authorization": b"Basic \xe9\xe9"},
    )  # fmt: skip
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")

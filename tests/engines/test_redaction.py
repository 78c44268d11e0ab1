"""Secrets in output: masked in every spelling, at every boundary, and nothing else touched."""

import base64
import json
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakewright.engines.local.redact import MASK, Redactor, forms
from lakewright.engines.processes import read_result

from .conftest import Tasks

SECRET = "pa55/w+rd=ü?&"


def masked(data: bytes, pieces: list[int], *secrets: str) -> bytes:
    redactor, out, start = Redactor(secrets), b"", 0
    for end in [*sorted(pieces), len(data)]:
        out, start = out + redactor.feed(data[start:end]), max(start, end)
    return out + redactor.close()


@pytest.mark.parametrize(
    "spelled",
    [
        SECRET,
        SECRET[::-1],
        quote(SECRET, safe=""),
        quote(SECRET),
        repr(SECRET),
        SECRET.encode().hex(),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        base64.b64encode(b"user:" + SECRET.encode() + b":more").decode(),
        base64.b64encode(b"x" + SECRET.encode()).decode(),
    ],
)
@given(st.data())
def test_every_spelling_across_every_boundary(spelled: str, data: st.DataObject) -> None:
    text = f"before {spelled} after".encode()
    pieces = data.draw(st.lists(st.integers(0, len(text)), max_size=8))
    out = masked(text, pieces, SECRET)
    assert MASK in out
    assert not any(form in out for form in forms(SECRET))
    assert out.startswith(b"before ") and out.endswith(b" after")


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_without_a_secret_nothing_changes(data: bytes, pieces: list[int]) -> None:
    assert masked(data, pieces, "not-in-there-at-all") == data


@given(
    st.text(min_size=4, max_size=30),
    st.text(max_size=50),
    st.text(max_size=50),
    st.lists(st.integers(0, 300), max_size=6),
)
def test_no_secret_comes_through(secret: str, before: str, after: str, pieces: list[int]) -> None:
    out = masked((before + secret + after).encode(), pieces, secret)
    if secret.encode() not in MASK:
        assert secret.encode() not in out


SMALL = st.text("ab", min_size=4, max_size=9)


@given(st.lists(SMALL, min_size=1, max_size=4), st.text("abc", max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_in_pieces_is_as_in_one_and_nothing_of_overlapping_secrets_is_left(secrets, text, pieces) -> None:
    data = text.encode()
    out = masked(data, pieces, *secrets)
    assert out == Redactor(secrets).whole(data)
    covered = set()
    for form in {form for secret in secrets for form in forms(secret)}:
        at = data.find(form)
        while at != -1:
            covered |= set(range(at, at + len(form)))
            at = data.find(form, at + 1)
    left = bytes(byte for at, byte in enumerate(data) if at not in covered)
    assert out.replace(MASK, b"") == left


@pytest.mark.parametrize(
    "spelled",
    [
        quote(SECRET, safe="")
        .replace("%2F", "%2f")
        .replace("%2B", "%2b")
        .replace("%3D", "%3d")
        .replace("%C3%BC", "%c3%bc")
        .replace("%3F", "%3f"),
        SECRET.encode().hex().upper(),
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        SECRET.replace("&", "&amp;"),
        quote_plus(SECRET),
    ],
)
def test_escapes_of_json_html_and_urls_are_spellings_too(spelled) -> None:
    assert MASK in masked(f"x{spelled}y".encode(), [], SECRET)


def test_a_key_of_many_kilobytes_is_masked_whole() -> None:
    key = "".join(chr(97 + (n * 7919) % 26) for n in range(20_000))
    out = masked(f"a {key} b".encode(), list(range(0, 20_000, 777)), key)
    assert out.replace(MASK, b"") == b"a  b"


def test_a_thousand_secrets_cost_no_more_than_one() -> None:
    """CPU time for a megabyte, with room to spare: one expression per spelling would take minutes."""
    data = b"an ordinary line of output, as programs print them\n" * 20_000
    seconds = []
    for number in (1, 1000):
        redactor = Redactor(f"s3cret-{n:06d}" for n in range(number))
        begun = time.process_time()
        for at in range(0, len(data), 65536):
            redactor.feed(data[at : at + 65536])
        seconds.append(time.process_time() - begun)
    assert max(seconds) < 2.0, seconds


def test_a_held_back_beginning_comes_out_at_the_end() -> None:
    assert masked(b"the pass", [], "password") == b"the pass"


def test_the_lines_of_a_key_are_masked_one_by_one() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END KEY-----"
    assert b"MIIEvQIBADANBg" not in masked(b"indented:   MIIEvQIBADANBg\n", [], key)


def test_a_value_too_short_to_mask_leaves_the_log_readable() -> None:
    assert masked(b"a cat sat", [], "a") == b"a cat sat"


def test_a_task_that_prints_its_token_bit_by_bit(tasks: Tasks) -> None:
    ran = tasks.run(
        """
        import os, sys, time, base64
        token = os.environ["DATABRICKS_TOKEN"]
        for character in token:
            sys.stdout.write(character); sys.stdout.flush(); time.sleep(0.01)
        print(); print(base64.b64encode(token.encode()).decode(), token[::-1]); print(token, file=sys.stderr)
        raise ValueError("bad token " + token)
        """,
        env={"DATABRICKS_TOKEN": "dapi0123456789abcdef"},
        redact=("dapi0123456789abcdef",),
    )
    assert ran.out == "[REDACTED]\n[REDACTED]== [REDACTED]\n" or ran.out.count("[REDACTED]") == 3
    assert "dapi0" not in ran.err and "bad token [REDACTED]" in ran.err


def test_a_secret_looked_up_while_running_is_masked_too(tasks: Tasks) -> None:
    ran = tasks.run(
        """
        import os, time
        os.write(int(os.environ["LAKEWRIGHT_SECRETS_FD"]), b"looked-up-later\\0")
        print("it is looked-up-later")
        open(os.environ["LAKEWRIGHT_RESULT"] + "/result.json", "w").write("looked-up-later as well")
        """
    )
    assert ran.out == "it is [REDACTED]\n"
    assert read_result(tasks.launcher.output(ran.attempt), "result.json", 100) == b"[REDACTED] as well"

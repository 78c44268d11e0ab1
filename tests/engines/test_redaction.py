"""Secrets in output: masked in every spelling, at every boundary, and nothing else touched."""

import base64
from urllib.parse import quote

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

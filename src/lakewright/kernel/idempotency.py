"""Doing once what is asked twice: a token that the caller chose stands for one request of theirs and its answer."""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson

from lakewright.kernel.context import Ctx
from lakewright.kernel.controllers import controller
from lakewright.kernel.faults import Invalid

if TYPE_CHECKING:
    from lakewright.kernel.platform import Platform

KEPT_MS = 60 * 24 * 3600 * 1000
"""As long as a run is kept: a token that is sent again later asks for something new."""
AT_ONCE = 1000


class TokenReused(Invalid):
    """A token that stands for something else says that the caller is confused; guessing which they mean helps nobody."""

    code = "IDEMPOTENCY_TOKEN_REUSED"


def once(
    ctx: Ctx, operation: str, token: str | None, asked: dict[str, Any], make: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """`make`'s answer, or the one that it gave when the same caller sent the same token with the same request.

    In the writer's transaction: the answer is remembered exactly when what it tells of has happened.
    """
    if not token:
        return make()
    what = f"{ctx.workspace}/{operation}"
    body = hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()
    known = ctx.tx.one(
        "SELECT body, reply FROM idempotency WHERE principal = ? AND operation = ? AND token = ?",
        ctx.principal.id, what, token,
    )  # fmt: skip
    if known is not None:
        if known["body"] != body:
            raise TokenReused("this idempotency token was sent before with another request")
        return orjson.loads(known["reply"])
    reply = make()
    ctx.tx.run(
        "INSERT INTO idempotency (principal, operation, token, body, reply, at) VALUES (?, ?, ?, ?, ?, ?)",
        ctx.principal.id, what, token, body, orjson.dumps(reply).decode(), ctx.now(),
    )  # fmt: skip
    return reply


@controller("idempotency", every=3600.0)
def forget(platform: "Platform") -> None:
    """In pieces: nobody waits for a month of tokens."""
    too_old = "SELECT principal, operation, token FROM idempotency WHERE at <= ? LIMIT ?"
    while platform.transact(
        lambda ctx: ctx.tx.run(
            f"DELETE FROM idempotency WHERE (principal, operation, token) IN ({too_old})", ctx.now() - KEPT_MS, AT_ONCE
        )
    ):
        pass

"""Invocations: a caller's rows in, a released model's predictions out, and both on record.

This is the one hot path of serving: the guard decides on the event loop, the body is never parsed here, and the
request log costs one write to an open file.
"""

import hashlib
import random
import time

import orjson
from pydantic import Field

from lakewright.kernel.answers import Raw
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Fault, Invalid, TooMany, Unavailable
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import ASYNC, OUTSIDE, Api, Ask, Reply
from lakewright.serving import endpoints
from lakewright.serving.endpoints import BY_NAME, CAN_MANAGE, CAN_QUERY, Endpoint
from lakewright.serving.fleet import Fleet, Leg
from lakewright.serving.model_client import Answered, TooSlow, Unreachable
from lakewright.serving.request_log import Call, RequestLog

api = Api("serverlessRealTimeInference", "/serving-endpoints")
STICKY = "x-lakewright-route-key"
"""Requests with the same value of this header go to the same version while the traffic split stays."""


class TooLate(Fault):
    """Not 503: clients repeat those, and a model that is too slow gets no faster by being asked twice."""

    status, code = 504, "DEADLINE_EXCEEDED"


class ModelFailed(Fault):
    """What the model raised. It is the request's fault or the model's, and asking again changes neither."""

    status, code = 400, "BAD_REQUEST"


class Invoke(Ask):
    name: str
    body: bytes = Field(b"", exclude=True)  # excluded: what was predicted is in the request log, not in the audit trail


@api("POST", "/{name}/invocations", audit="queryServingEndpoint", on=BY_NAME, needs=CAN_QUERY, runs=ASYNC, body="raw", large=True, verbatim=True,
     also=("/api/2.0/serving-endpoints/{name}/invocations",))  # fmt: skip
async def query(ctx: Ctx, endpoint: Obj[Endpoint], ask: Invoke) -> Raw:
    started = time.perf_counter()
    leg = _leg(ctx, endpoint)
    answered = await _asked(ctx, leg, ask.body)
    _remember(ctx, endpoint, leg, ask.body, answered, started)
    if answered.status != 200:
        raise _refusal(answered)
    return Raw(answered.body, "application/json", headers={"served-model-name": leg.entity.name})


class Logs(Ask):
    name: str
    served_model_name: str


@endpoints.api("GET", "/{name}/served-models/{served_model_name}/logs", audit="getServedModelLogs", on=BY_NAME,
               needs=CAN_MANAGE, runs=OUTSIDE)  # fmt: skip
def logs(ctx: Ctx, endpoint: Obj[Endpoint], ask: Logs) -> Reply:
    """What the model process printed. It may quote the data it was sent, so CAN_QUERY is not enough."""
    entity = endpoints.served(endpoint, ask.served_model_name)
    return {"logs": ctx.the(Fleet).logs(ctx, endpoint.id, entity)}


def _leg(ctx: Ctx, endpoint: Obj[Endpoint]) -> Leg:
    found = ctx.the(Fleet).of(endpoint.id)
    if found is None:
        raise Unavailable(f"endpoint '{endpoint.name}' is not ready to answer")
    leg = found.choose(point(ctx.request.headers.get(STICKY, ""), endpoint.id))
    if leg.is_full:
        raise TooMany(f"endpoint '{endpoint.name}' has as many requests as its workload size takes")
    return leg


def point(key: str, endpoint_id: str) -> float:
    """A place in [0, 100): by lot, or always the same one for a key."""
    if not key:
        return random.random() * 100
    digest = hashlib.blake2b(f"{endpoint_id}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64 * 100


async def _asked(ctx: Ctx, leg: Leg, body: bytes) -> Answered:
    try:
        return await leg.client.invoke(body, ctx.settings.serving.answer_seconds)
    except TooSlow as slow:
        return Answered(504, str(slow).encode())
    except Unreachable as gone:
        return Answered(503, str(gone).encode())


def _refusal(answered: Answered) -> Fault:
    said = harmless(answered.body.decode("utf-8", "replace"))
    match answered.status:
        case 400 | 413:
            return Invalid(said)
        case 503:
            return Unavailable(said)
        case 504:
            return TooLate(said)
        case _:
            return ModelFailed(f"the model failed on this request: {said[:1000]}")


def harmless(said: str) -> str:
    """The SDK repeats a request for minutes when a refusal has the wrong words; a model may happen to say them."""
    return said.replace("Unexpected error", "An error").replace("try again later", "ask again later")


def _remember(ctx: Ctx, endpoint: Obj[Endpoint], leg: Leg, body: bytes, answered: Answered, started: float) -> None:
    config = endpoint.spec.config
    if config is None or not config.capture.enabled:
        return
    call = Call(
        databricks_request_id=ctx.request.request_id,
        client_request_id=client_request_id(body),
        timestamp_ms=ctx.now(),
        status_code=answered.status,
        execution_time_ms=round(1000 * (time.perf_counter() - started), 3),
        request=ctx.redacted(body.decode("utf-8", "replace")),
        response=ctx.redacted(answered.body.decode("utf-8", "replace")),
        requester=ctx.principal.name,
        served_entity_name=leg.entity.name,
        model_name=leg.entity.model,
        model_version=str(leg.entity.version),
    )
    ctx.the(RequestLog).append(endpoint, config.capture.table, call)


def client_request_id(body: bytes) -> str | None:
    """Parsed only when it is there."""
    if b'"client_request_id"' not in body:
        return None
    try:
        sent = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    found = sent.get("client_request_id") if isinstance(sent, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return str(found) if found is not None else None  # pyright: ignore[reportUnknownArgumentType]

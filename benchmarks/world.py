"""The governed world of the kernel's benchmarks: 200 people in 40 nested groups, 525 places, 700 grants.

Two applications over it: *governed* asks for a token, a rule and an audit row; *floor* is the same server writing the
same object rows as durably, with none of the three.
"""

import random
from typing import Any
from uuid import uuid4

import orjson
import uvicorn
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lakewright.app import serve
from lakewright.identity import people, principals, tokens
from lakewright.identity.groups import GROUP, Group
from lakewright.kernel import grants, objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.kinds import Kind
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import Api, Ask, Reply
from lakewright.kernel.platform import Platform
from lakewright.kernel.roots import METASTORE, Root
from lakewright.kernel.rules import PER_ROW
from lakewright.kernel.socket import configured


class Place(BaseModel):
    comment: str | None = None


REGION = Kind("bench_region", example=Place(), under=METASTORE)
PLACE = Kind("bench_place", example=Place(), under=REGION)
THING = Kind("bench_thing", example=Place(), under=PLACE)
(ENTER,) = REGION.privileges("BENCH_ENTER")
(PUT,) = PLACE.privileges("BENCH_PUT")
(LOOK,) = THING.privileges("BENCH_LOOK")
api = Api("bench", "/api/2.0/bench")


class CreateThing(Ask):
    place: str
    name: str
    comment: str | None = None


class Named(Ask):
    name: str


class Listing(Ask):
    page_size: int
    page_token: str | None = None


@api("POST", "/things", audit="createThing", on=PLACE.at("{place}"), needs=ENTER & PUT)
def create(ctx: Ctx, place: Obj[Place], ask: CreateThing) -> Reply:
    return show(objects.create(ctx, THING, ask.name, Place(comment=ask.comment), under=place))


@api("GET", "/things/{name}", audit="getThing", on=THING.at("{name}"), needs=ENTER & LOOK)
def get(ctx: Ctx, thing: Obj[Place], ask: Named) -> Reply:
    return show(thing)


@api("GET", "/things", audit="listThings", on=METASTORE.at(""), needs=PER_ROW)
def list_(ctx: Ctx, metastore: Obj[Root], ask: Listing) -> Reply:
    found, token = objects.page(ctx, THING, LOOK, size=ask.page_size, token=ask.page_token)
    return {"things": [show(t) for t in found], "next_page_token": token}


def show(thing: Obj[Place]) -> Reply:
    return {"id": thing.id, "full_name": thing.full_name, "owner": thing.owner, "comment": thing.spec.comment}


def people_world(platform: Platform) -> dict[str, str]:
    """Build it; the tokens of a person who may write everywhere through groups, and of the administrator."""
    chance = random.Random(1)

    def make(ctx: Ctx) -> dict[str, str]:
        users = [principals.create(ctx, people.USER, "user", f"u{i}", f"u{i}", people.User()).id for i in range(200)]
        groups = [principals.create(ctx, GROUP, "group", f"g{i}", f"g{i}", Group()).id for i in range(40)]
        for i, group in enumerate(groups):
            for member in chance.sample(users, 20):
                principals.add_member(ctx, group, member)
            if i + 1 < len(groups):
                principals.add_member(ctx, group, groups[i + 1])
        root = objects.find(ctx, METASTORE, "")
        regions = [objects.create(ctx, REGION, f"r{i}", Place(), under=root) for i in range(25)]
        places = [
            objects.create(ctx, PLACE, f"p{i}", Place(), under=regions[i % 25], owner="admins") for i in range(500)
        ]
        for _ in range(700):
            obj = chance.choice(regions + places)
            right = "BENCH_ENTER" if obj.kind == "bench_region" else "BENCH_PUT"
            grants.change(ctx, obj, chance.choice(groups[1:]), add=[right])
        grants.change(ctx, root, groups[0], add=["BENCH_ENTER", "BENCH_PUT", "BENCH_LOOK"])
        _, secret = tokens.mint(ctx, users[0], 10**7, "bench")
        principals.add_member(ctx, groups[-1], users[0])
        _, admin = tokens.mint(ctx, ctx.id_of("admin"), 10**7, "bench")
        return {"person": secret, "admin": admin, "person_id": users[0]}

    return platform.transact(make)


def listen(app: Any, platform: Platform, **said: str) -> None:
    """Serve until told to stop; the first line printed is the URL and what else the caller must know."""
    import socket

    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    words = " ".join(f"{k}={v}" for k, v in said.items())
    print(f"http://127.0.0.1:{bound.getsockname()[1]} {words}", flush=True)
    uvicorn.Server(configured(app, platform.settings)).run(sockets=[bound])


class Floor:
    """Starlette handlers: the same bytes in and out, the same rows as durably, and nobody asked who they are."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.parent = platform.snapshot(lambda ctx: objects.find(ctx, PLACE, "r0.p0"))
        self.application = Starlette(
            routes=[
                Route("/api/2.0/bench/things/{name}", self._constant),
                Route("/api/2.0/bench/things", self._write, methods=["POST"]),
                Route("/health", self._constant),
            ]
        )

    async def _constant(self, request: Request) -> Response:
        return Response(CONSTANT, media_type="application/json")

    async def _write(self, request: Request) -> Response:
        ask = orjson.loads(await request.body())
        reply = await self.platform.writer.submit_async(lambda turn: self._insert(turn.tx, ask))
        return Response(orjson.dumps(reply), media_type="application/json")

    def _insert(self, tx: Any, ask: dict[str, Any]) -> dict[str, Any]:
        now, made = self.platform.clock.now(), str(uuid4())
        full_name = f"{self.parent.full_name}.{ask['name']}"
        tx.run(
            f"INSERT INTO objects ({objects.COLUMNS}) VALUES (?, ?, '', ?, ?, ?, ?, '{{}}', 1, ?, ?, ?, ?)",
            made, THING.name, ask["name"], full_name, self.parent.id, "admins", now, "x", now, "x",
        )  # fmt: skip
        tx.run(
            "INSERT INTO ancestry (object_id, ancestor_id, depth) SELECT ?, ancestor_id, depth + 1 FROM ancestry"
            " WHERE object_id = ? UNION ALL SELECT ?, ?, 0",
            made, self.parent.id, made, made,
        )  # fmt: skip
        return {"id": made, "full_name": full_name, "owner": "admins", "comment": None}


CONSTANT = orjson.dumps({"id": str(uuid4()), "full_name": "r0.p0.t0", "owner": "admins", "comment": None})


def application(name: str, platform: Platform) -> Any:
    return Floor(platform).application if name == "floor" else serve(platform)

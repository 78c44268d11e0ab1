"""Governed reads: by id against a handler that returns a constant, and long listings for a person against the admin's.

    make bench BENCH=reads

Read by id: token, rule, object and audit row; at least 0.4 of a Starlette handler that returns a constant. Listing
1,000 visible of 20,000 objects for a person in 50 groups: at most 1.5 times the administrator's listing of 1,000.
"""

import argparse
import statistics
import time

import httpx

from benchmarks import installation, load, world
from lakewright.identity import principals, tokens
from lakewright.identity.groups import GROUP, Group
from lakewright.identity.people import USER, User
from lakewright.kernel import grants, objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.platform import Platform

GET = """
wrk.headers["authorization"] = "Bearer %s"
request = function() return wrk.format("GET", "/api/2.0/bench/things/%s") end
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve")
    parser.add_argument("--seconds", type=int, default=8)
    arguments = parser.parse_args()
    if arguments.serve:
        platform = installation.fresh()
        said = world.people_world(platform)
        platform.transact(lambda ctx: objects.create(
            ctx, world.THING, "one", world.Place(), under=objects.find(ctx, world.PLACE, "r0.p0"), owner="admins"
        ))  # fmt: skip
        if arguments.serve == "governed":
            said |= crowd(platform)
        world.listen(world.application(arguments.serve, platform), platform, **said)
        return
    constant = measure("floor", arguments.seconds)
    governed = measure("governed", arguments.seconds)
    again = measure("floor", arguments.seconds)
    floor = (constant.per_second + again.per_second) / 2
    person, admin = listings()
    print(f"constant {floor:8.0f}/s   governed read {governed.per_second:8.0f}/s, {governed.cpu_ms:.3f} ms CPU each")
    print(f"listing 1,000: administrator {admin * 1000:.1f} ms, a person in 50 groups {person * 1000:.1f} ms")
    load.report(
        benchmark="reads", per_second=round(governed.per_second), cpu_ms=round(governed.cpu_ms, 3),
        p99_ms=round(governed.p99_ms, 1), of_floor=round(governed.per_second / floor, 3), failed=governed.failed,
        floor_per_second=round(floor), floor_cpu_ms=round((constant.cpu_ms + again.cpu_ms) / 2, 3),
        listing_admin_ms=round(admin * 1000, 1), listing_person_ms=round(person * 1000, 1),
        listing_ratio=round(person / admin, 2),
    )  # fmt: skip


def measure(name: str, seconds: int) -> load.Load:
    with load.served("benchmarks.reads", name) as (said, pid):
        url, words = split(said)
        load.wait_for(f"{url}/health")
        return load.wrk(url, pid, GET % (words["person"], "r0.p0.one"), seconds=seconds)


def listings() -> tuple[float, float]:
    """Median seconds of a page of 1,000 for the person and for the administrator, taken in turn."""
    with load.served("benchmarks.reads", "governed") as (said, _):
        url, words = split(said)
        load.wait_for(f"{url}/health")
        taken: dict[str, list[float]] = {"crowd": [], "admin": []}
        with httpx.Client(timeout=60) as client:
            for turn in range(22):
                for who, times in taken.items():
                    started = time.perf_counter()
                    answer = client.get(
                        f"{url}/api/2.0/bench/things", params={"page_size": 1000},
                        headers={"authorization": f"Bearer {words[who]}"},
                    )  # fmt: skip
                    if turn >= 2:
                        times.append(time.perf_counter() - started)
                    assert len(answer.json()["things"]) == 1000, answer.text[:200]
        return statistics.median(taken["crowd"]), statistics.median(taken["admin"])


def crowd(platform: Platform) -> dict[str, str]:
    """20,000 things, and a person who may see 1,000 of them through 50 groups, nested in pairs."""

    def make(ctx: Ctx) -> dict[str, str]:
        person = principals.create(ctx, USER, "user", "crowd", "crowd", User()).id
        groups = [principals.create(ctx, GROUP, "group", f"c{i}", f"c{i}", Group()).id for i in range(50)]
        for i, group in enumerate(groups):
            principals.add_member(ctx, group, person if i % 2 == 0 else groups[i - 1])
        _, secret = tokens.mint(ctx, person, 10**7, "bench")
        return {"crowd": secret, "groups": ",".join(groups)}

    made = platform.transact(make)
    groups = made.pop("groups").split(",")
    for start in range(0, 20_000, 1000):
        platform.transact(lambda ctx, start=start: things(ctx, start, groups))  # type: ignore[misc]
    return made


def things(ctx: Ctx, start: int, groups: list[str]) -> None:
    for i in range(start, start + 1000):
        place = objects.find(ctx, world.PLACE, f"r{i % 25}.p{i % 25}")
        thing = objects.create(ctx, world.THING, f"t{i:05}", world.Place(), under=place, owner="admins")
        if i % 20 == 0:
            grants.change(ctx, thing, groups[i // 20 % 50], add=["BENCH_LOOK"])


def split(said: str) -> tuple[str, dict[str, str]]:
    url, *words = said.split()
    return url, dict(word.split("=", 1) for word in words)


if __name__ == "__main__":
    main()

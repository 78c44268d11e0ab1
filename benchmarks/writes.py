"""Governed durable writes: token, rule with nested groups and inheritance, insert, audit, synchronous=FULL.

    make bench BENCH=writes [BENCH_ARGS="--postgres"]

64 connections by wrk on one process. The floor is the same server committing the same object rows as durably with no
token, no rule and no audit. At least 0.4 of the floor and at most 0.3 ms of server CPU each (Postgres: 0.5 ms).
"""

import argparse
import sys

from benchmarks import installation, load, world

SCRIPT = """
local n = 0
local run = "%s" .. os.time() .. math.random(1e9)
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer %s"
request = function()
  n = n + 1
  return wrk.format(nil, "/api/2.0/bench/things", nil, '{"place":"r' .. (n %% 25) .. '.p' .. (n %% 25) .. '","name":"' .. run .. n .. '"}')
end
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve")
    parser.add_argument("--database", default="")
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--seconds", type=int, default=8)
    arguments = parser.parse_args()
    if arguments.serve:
        platform = installation.fresh(arguments.database)
        said = world.people_world(platform)
        world.listen(world.application(arguments.serve, platform), platform, **said)
        return
    if arguments.postgres:
        sys.path.insert(0, "tests")
        from postgres import server  # type: ignore[import-not-found]

        with server() as url:
            compare(url, arguments.seconds)
    else:
        compare("", arguments.seconds)


def compare(database: str, seconds: int) -> None:
    """Floor, governed, floor again: the machine's other work hits both."""
    before = measure("floor", database, seconds // 2)
    governed = measure("governed", database, seconds)
    after = measure("floor", database, seconds // 2)
    floor = (before.per_second + after.per_second) / 2
    for name, each in (("floor", before), ("governed", governed), ("floor", after)):
        print(
            f"{name:9} {each.per_second:8.0f}/s {each.cpu_ms:6.3f} ms CPU {each.p99_ms:7.1f} ms p99 {each.failed} failed"
        )
    load.report(
        benchmark="writes", database="postgres" if database else "sqlite", per_second=round(governed.per_second),
        cpu_ms=round(governed.cpu_ms, 3), p99_ms=round(governed.p99_ms, 1), of_floor=round(governed.per_second / floor, 3),
        floor_per_second=round(floor), floor_cpu_ms=round((before.cpu_ms + after.cpu_ms) / 2, 3), failed=governed.failed,
    )  # fmt: skip


def measure(name: str, database: str, seconds: int) -> load.Load:
    with load.served("benchmarks.writes", name, *(["--database", new_database(database)] if database else [])) as (
        said,
        pid,
    ):
        url, *words = said.split()
        token = dict(word.split("=", 1) for word in words)["person"]
        load.wait_for(f"{url}/health")
        return load.wrk(url, pid, SCRIPT % (name, token), seconds=seconds)


def new_database(server: str) -> str:
    from uuid import uuid4

    import psycopg

    name = f"b{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"{server.rpartition('/')[0]}/{name}"


if __name__ == "__main__":
    main()

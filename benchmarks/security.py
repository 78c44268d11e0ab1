"""What security costs: the same build with authentication, rules and audit on, and with all three off.

    make bench BENCH=security

The switch is here and nowhere in the product: the other server of each pair takes everyone for the same person, asks
no rule and seals no audit row. Pairs run in turn, so that the machine's other work hits both. The median answer of a
mix of four reads and a write is at most 1.25 times that without.
"""

import argparse
import statistics
from dataclasses import dataclass, replace
from typing import Any

from benchmarks import installation, load, world
from lakewright.kernel import objects, operation
from lakewright.kernel.platform import Platform
from lakewright.kernel.rules import EVERYONE

MIX = """
local n = 0
local run = "%s" .. os.time() .. math.random(1e9)
local writes = %d
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer %s"
request = function()
  n = n + 1
  if n %% 5 < writes then
    return wrk.format("POST", "/api/2.0/bench/things", nil, '{"place":"r' .. (n %% 25) .. '.p' .. (n %% 25) .. '","name":"' .. run .. n .. '"}')
  end
  return wrk.format("GET", "/api/2.0/bench/things/r0.p0.one")
end
"""
MIXES = {"mix": 1, "reads": 0, "writes": 5}
CONNECTIONS = (1, 16, 64)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve")
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    figures: dict[str, Any] = {}
    with (
        load.served("benchmarks.security", "on") as on,
        load.served("benchmarks.security", "off") as off,
    ):
        for name, writes in MIXES.items():
            for connections in CONNECTIONS:
                pair = compare(on, off, writes, connections, arguments.seconds, arguments.rounds)
                print(
                    f"{name:6} {connections:3} connections: p50 {pair.on:7.3f} ms on, {pair.off:7.3f} ms off,"
                    f" ratio {pair.ratio:.2f}"
                )
                figures[f"{name}_{connections}"] = round(pair.ratio, 2)
    load.report(benchmark="security", **figures)


@dataclass(frozen=True)
class Pair:
    on: float
    off: float

    @property
    def ratio(self) -> float:
        return self.on / self.off


def compare(on: Any, off: Any, writes: int, connections: int, seconds: int, rounds: int) -> Pair:
    """Medians of p50 over rounds, in milliseconds."""
    seen: dict[str, list[float]] = {"on": [], "off": []}
    for turn in range(rounds):
        for name, (said, pid) in (("on", on), ("off", off)):
            url, *words = said.split()
            token = dict(word.split("=", 1) for word in words)["person"]
            script = MIX % (f"{name}{turn}", writes, token)
            done = load.wrk(url, pid, script, connections=connections, seconds=seconds, warm=1)
            if done.failed:
                raise SystemExit(f"{done.failed} requests failed")
            seen[name].append(done.p50_ms)
    return Pair(statistics.median(seen["on"]), statistics.median(seen["off"]))


def serve(which: str) -> None:
    platform = installation.fresh()
    said = world.people_world(platform)
    platform.transact(lambda ctx: objects.create(
        ctx, world.THING, "one", world.Place(), under=objects.find(ctx, world.PLACE, "r0.p0"), owner="admins"
    ))  # fmt: skip
    if which == "off":
        unsecured(platform, said["person_id"])
    world.listen(world.application("governed", platform), platform, **said)


def unsecured(platform: Platform, person: str) -> None:
    someone = platform.snapshot(lambda ctx: platform.principal(ctx.tx, person))
    platform.authenticator = lambda platform, tx, credential: someone
    platform.writer._seal = lambda tx, entries: None  # type: ignore[reportPrivateUsage]
    operation.OPERATIONS[:] = [
        replace(each, needs=EVERYONE) if each.service == "bench" else each for each in operation.OPERATIONS
    ]


if __name__ == "__main__":
    main()

"""kill -9 under load: no acknowledged write is lost or doubled, and each has its audit row.

    make bench BENCH=kills [BENCH_ARGS="--kills 100"]

Eight writers put things with unique names while the server is killed at random moments and started again. What was
acknowledged must be there once with exactly one audit row saying so; the audit chain must verify.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

from benchmarks import load, world
from lakewright.app import build
from lakewright.kernel import audit
from lakewright.kernel.config import Settings


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve")
    parser.add_argument("--directory", default="")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.directory, arguments.port)
    else:
        campaign(arguments.kills, arguments.seed)


def serve(directory: str, port: int) -> None:
    platform = build(Settings(data_dir=Path(directory), port=port))
    if not (Path(directory) / "person").exists():
        said = world.people_world(platform)
        (Path(directory) / "person").write_text(said["person"])
    import uvicorn

    from lakewright.kernel.socket import configured

    uvicorn.Server(configured(world.application("governed", platform), platform.settings)).run()


def campaign(kills: int, seed: int) -> None:
    chance = random.Random(seed)
    directory = tempfile.mkdtemp(prefix="lakewright-kills-")
    port, acknowledged, stop = free_port(), dict[str, str](), threading.Event()
    url = f"http://127.0.0.1:{port}"
    process = start(directory, port)
    load.wait_for(f"{url}/health")
    token = (Path(directory) / "person").read_text()
    threads = [threading.Thread(target=put, args=(url, token, i, acknowledged, stop)) for i in range(8)]
    for thread in threads:
        thread.start()
    started = time.monotonic()
    for _ in range(kills):
        time.sleep(chance.uniform(0.02, 0.6))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process = start(directory, port)
        load.wait_for(f"{url}/health")
    time.sleep(0.3)
    stop.set()
    for thread in threads:
        thread.join()
    process.send_signal(signal.SIGKILL)
    process.wait()
    lost, doubled, unrecorded, broken = judge(directory, acknowledged)
    print(f"{kills} kills in {time.monotonic() - started:.0f} s, {len(acknowledged)} acknowledged writes")
    load.report(
        benchmark="kills", kills=kills, acknowledged=len(acknowledged), lost=lost, doubled=doubled, unrecorded=unrecorded,
        chain="whole" if broken is None else str(broken),
    )  # fmt: skip
    if lost or doubled or unrecorded or broken is not None:
        raise SystemExit(1)


def put(url: str, token: str, writer: int, acknowledged: dict[str, str], stop: threading.Event) -> None:
    number = 0
    with httpx.Client(timeout=5) as client:
        while not stop.is_set():
            number += 1
            name = f"w{writer}n{number}"
            try:
                answer = client.post(
                    f"{url}/api/2.0/bench/things", json={"place": "r0.p0", "name": name},
                    headers={"authorization": f"Bearer {token}"},
                )  # fmt: skip
            except httpx.HTTPError:
                time.sleep(0.02)
                continue
            if answer.status_code == 200:
                acknowledged[name] = answer.json()["id"]


def judge(directory: str, acknowledged: dict[str, str]) -> tuple[int, int, int, audit.Break | None]:
    platform = build(Settings(data_dir=Path(directory)))
    try:
        with platform.store.snapshot() as tx:
            rows = tx.all("SELECT id, name FROM objects WHERE kind = 'bench_thing'")
            there: dict[str, list[str]] = {}
            for row in rows:
                there.setdefault(str(row["name"]), []).append(str(row["id"]))
            recorded: dict[str, int] = {}
            for row in tx.all("SELECT ask FROM audit WHERE action = 'createThing' AND status = 200"):
                name = str(row["ask"]).split('"name":"')[1].split('"')[0]
                recorded[name] = recorded.get(name, 0) + 1
            lost = sum(there.get(name) != [thing] for name, thing in acknowledged.items())
            doubled = sum(len(ids) > 1 for ids in there.values())
            unrecorded = sum(recorded.get(name) != 1 for name in there)
            return lost, doubled, unrecorded, audit.verify(tx, platform.keys.audit)
    finally:
        platform.stop()


def start(directory: str, port: int) -> "subprocess.Popen[bytes]":
    command = [
        sys.executable,
        "-m",
        "benchmarks.kills",
        "--serve",
        "yes",
        "--directory",
        directory,
        "--port",
        str(port),
    ]
    return subprocess.Popen(command, env=os.environ)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()

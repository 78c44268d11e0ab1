"""kill -9 of the server under running jobs: every run ends as if nothing had happened, and no finished task runs twice.

    make bench BENCH=job_kills [BENCH_ARGS="--runs 50 --kills 50 --mode server"]

Random graphs of tasks (run_if, failures, retries) run in real processes while the server is killed at random moments
and started again. Afterwards the result of every task and run must be what the rules alone predict, each execution
must have left its two marks exactly once, and no two processes of one task may ever have been alive together.

`--mode machine` kills the tasks with the server, as a power cut would: what was under way is then run again.
`--mode nodes` does that to one of two nodes at a time, and leaves it dead for a while: the other takes over.
`--database postgresql://…` does it on Postgres, which two nodes need.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks import load
from lakewright.jobs import graph, states
from lakewright.jobs.graph import Edge, RunIf

TOKEN = "lwa_the-administrators-token-of-the-campaign"
CONDITIONS: tuple[RunIf, ...] = (
    "ALL_SUCCESS", "AT_LEAST_ONE_SUCCESS", "NONE_FAILED", "ALL_DONE", "AT_LEAST_ONE_FAILED", "ALL_FAILED",
)  # fmt: skip

SILENCE = 2.0
"""Seconds after which a dead node's tasks count as lost."""

TASK = """
import fcntl, os, sys, time
marks, seconds, failures = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
lock = open(marks + ".lock", "w")
def mark(word):
    with open(marks, "a") as file:
        file.write(word + "\\n")
        file.flush()
        os.fsync(file.fileno())
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    mark("double")
done = open(marks).read().split().count("end") if os.path.exists(marks) else 0
mark("begin")
time.sleep(seconds)
mark("end")
sys.exit(1 if done < failures else 0)
"""


@dataclass(frozen=True)
class Planned:
    """One task of a random graph. It fails `failures` times before it succeeds; it is retried `retries` times."""

    edges: list[Edge]
    run_if: RunIf
    failures: int
    retries: int
    seconds: float


@dataclass
class Plan:
    tasks: dict[str, Planned]
    run_id: int = 0
    expected: dict[str, str] = field(default_factory=dict[str, str])
    executions: dict[str, int] = field(default_factory=dict[str, int])
    result: str = ""


def plan(chance: random.Random) -> Plan:
    tasks: dict[str, Planned] = {}
    for i in range(chance.randint(3, 7)):
        above = chance.sample(sorted(tasks), min(len(tasks), chance.choice((0, 1, 1, 2, 3))))
        failures, retries = chance.choice(((0, 0), (0, 0), (0, 0), (9, 0), (1, 1), (9, 1)))
        tasks[f"t{i}"] = Planned(
            [Edge(key) for key in above],
            chance.choice(CONDITIONS) if chance.random() < 0.4 else "ALL_SUCCESS",
            failures, retries, round(chance.uniform(0.05, 0.8), 2),
        )  # fmt: skip
    return foretell(Plan(tasks))


def foretell(made: Plan) -> Plan:
    """What must come of it, from the rules alone."""
    edges = {key: task.edges for key, task in made.tasks.items()}
    for key in graph.ordered(edges):
        task = made.tasks[key]
        verdict = graph.decide(task.run_if, [made.expected[edge.task_key] for edge in task.edges])
        passes = task.failures <= task.retries
        made.executions[key] = (min(task.failures, task.retries) + 1) if verdict == graph.RUN else 0
        made.expected[key] = (states.SUCCESS if passes else states.FAILED) if verdict == graph.RUN else verdict
    made.result = graph.roll_up(edges, made.expected, {}).result
    return made


# --- the server that is killed ---


def serve(directory: Path, port: int, database: str) -> None:
    import uvicorn

    from lakewright.app import build
    from lakewright.app import serve as application
    from lakewright.engines.local import Environment, LocalLauncher
    from lakewright.engines.processes import Isolation
    from lakewright.jobs.dispatcher import Dispatcher
    from lakewright.jobs.sources import Sources
    from lakewright.kernel.config import Settings
    from lakewright.kernel.socket import configured

    settings = Settings(data_dir=directory, port=port, database_url=database, admin_token=TOKEN)  # type: ignore[arg-type]
    settings.jobs.parallel_tasks = 8
    settings.jobs.lost_restarts = 1000  # a task may be on a machine that dies more often here than in a lifetime
    platform = build(settings)
    # Marks are made in a folder outside a task's own, so these tasks are not confined.
    launcher = LocalLauncher(directory / "attempts", {"default": Environment(preload=())}, most=Isolation.COOPERATIVE)
    platform.provide(Dispatcher(platform, launcher, directory / "tasks"))
    platform.provide(OneScript(), as_type=Sources)
    platform.start()
    uvicorn.Server(configured(application(platform), settings)).run()


class OneScript:
    """Every path is the marking script."""

    def folder(self, ctx: Any, path: str, into: Path) -> None:
        into.mkdir(exist_ok=True)

    def file(self, ctx: Any, path: str, into: Path) -> Path:
        into.write_text(TASK)
        return into


# --- the campaign ---


class Server:
    def __init__(self, directory: Path, port: int, database: str) -> None:
        self.directory, self.port, self.database = directory, port, database
        self.url = f"http://127.0.0.1:{port}"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "benchmarks.job_kills", "--serve", str(self.directory), "--port", str(self.port),
                "--database", self.database,
            ],
            stderr=(self.directory.parent / "server.log").open("a"), start_new_session=True,
            env={**os.environ, "LAKEWRIGHT_JOBS__NODE_SILENCE_SECONDS": str(SILENCE)},
        )  # fmt: skip
        load.wait_for(f"{self.url}/health")

    def kill(self, *, with_tasks: bool) -> None:
        below = psutil.Process(self.process.pid).children(recursive=True) if with_tasks else []
        if with_tasks:
            below += tasks_of(self.directory)
        self.process.send_signal(signal.SIGKILL)
        for process in below:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self.process.wait()

    def call(self, verb: str, path: str, **body: Any) -> Any:
        """Repeated until somebody answers: what is asked is safe to ask again."""
        where: dict[str, Any] = {"params": body} if verb == "GET" else {"json": body}
        while True:
            try:
                answer = httpx.request(
                    verb, self.url + path, headers={"authorization": f"Bearer {TOKEN}"}, timeout=20, **where
                )
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            if answer.status_code == 503:
                continue
            answer.raise_for_status()
            return answer.json()


def tasks_of(directory: Path) -> list[psutil.Process]:
    """Every process working for this server, orphaned or not."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter(["pid", "cwd", "cmdline"]):
        info = process.info
        if str(directory) in " ".join([info["cwd"] or "", *(info["cmdline"] or [])]) and info["pid"] != os.getpid():
            found.append(process)
    return found


def start_runs(server: Server, plans: list[Plan], marks: Path) -> None:
    for i, made in enumerate(plans):
        tasks = [
            {
                "task_key": key, "run_if": task.run_if, "max_retries": task.retries,
                "depends_on": [{"task_key": edge.task_key} for edge in task.edges],
                "spark_python_task": {
                    "python_file": "/Volumes/a/b/c/mark.py",
                    "parameters": [f"{marks}/{i}.{key}", str(task.seconds), str(task.failures)],
                },
            }
            for key, task in made.tasks.items()
        ]  # fmt: skip
        # A create has no idempotency token: one that the kill cut off may leave a second, unused job behind.
        job_id = server.call("POST", "/api/2.2/jobs/create", name=f"job {i}", tasks=tasks)["job_id"]
        token = f"run {i}"
        made.run_id = server.call("POST", "/api/2.2/jobs/run-now", job_id=job_id, idempotency_token=token)["run_id"]


def campaign(runs: int, kills: int, seed: int, mode: str, database: str) -> dict[str, Any]:
    chance = random.Random(seed)
    home = Path(tempfile.mkdtemp(prefix="lakewright-job-kills-"))
    marks = home / "marks"
    marks.mkdir()
    plans = [plan(chance) for _ in range(runs)]
    began = time.monotonic()
    server = Server(home / "data-a", load_port(), database)
    nodes = [server]
    if mode == "nodes":
        (home / "data-b").mkdir()
        shutil.copy(home / "data-a" / "root.key", home / "data-b" / "root.key")
        nodes.append(Server(home / "data-b", load_port(), database))
    starter = threading.Thread(target=start_runs, args=(server, plans, marks), daemon=True)
    starter.start()
    done = 0
    try:
        while done < kills and not (starter.is_alive() is False and all_ended(server, plans)):
            time.sleep(chance.uniform(0.05, 1.5))
            node = chance.choice(nodes)
            node.kill(with_tasks=mode != "server")
            if mode == "nodes":
                time.sleep(chance.uniform(0, 2 * SILENCE))
            node.start()
            done += 1
        starter.join(timeout=300)
        while not all_ended(server, plans) and time.monotonic() - began < 60 + 20 * runs + 10 * kills:
            time.sleep(0.2)
        problems = judge(server, plans, marks, exact=mode == "server")
    finally:
        for node in nodes:
            node.kill(with_tasks=True)
    for problem in problems[:20]:
        print(problem)
    return {
        "runs": runs, "kills": done, "mode": mode, "database": "postgres" if database else "sqlite", "seed": seed,
        "tasks": sum(len(p.tasks) for p in plans), "executions": sum(sum(p.executions.values()) for p in plans),
        "problems": len(problems), "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip


def all_ended(server: Server, plans: list[Plan]) -> bool:
    listed = server.call("GET", "/api/2.2/jobs/runs/list", active_only=True, limit=1)
    return not listed["runs"] and all(p.run_id for p in plans)


def judge(server: Server, plans: list[Plan], marks: Path, *, exact: bool) -> list[str]:
    problems: list[str] = []
    for i, made in enumerate(plans):
        run = server.call("GET", "/api/2.2/jobs/runs/get", run_id=made.run_id)
        results = {t["task_key"]: t["state"].get("result_state") for t in run["tasks"]}
        if results != made.expected:
            problems.append(f"run {i}: tasks ended {results}, expected {made.expected}")
        if run["state"].get("result_state") != made.result:
            problems.append(f"run {i}: ended {run['state']}, expected {made.result}")
        for key, times in made.executions.items():
            problems += _judge_marks(f"run {i} task {key}", marks / f"{i}.{key}", times, exact=exact)
    total = server.call("GET", "/api/2.2/jobs/runs/list", limit=25)
    if len(plans) <= 25 and len(total["runs"]) != len(plans):
        problems.append(f"{len(total['runs'])} runs exist, {len(plans)} were asked for")
    return problems


def _judge_marks(what: str, path: Path, times: int, *, exact: bool) -> list[str]:
    seen = Counter(path.read_text().split()) if path.exists() else Counter[str]()
    problems = [f"{what}: two processes were alive together"] if seen["double"] else []
    if exact and (seen["begin"], seen["end"]) != (times, times):
        problems.append(f"{what}: began {seen['begin']} and ended {seen['end']} times, expected {times}")
    if not exact and times and seen["end"] < times:
        problems.append(f"{what}: ended {seen['end']} times, expected at least {times}")
    if not exact and not times and seen["begin"]:
        problems.append(f"{what}: ran although it was not to")
    return problems


def load_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--database", default="")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mode", choices=("server", "machine", "nodes"), default="server")
    given = parser.parse_args()
    if given.serve:
        serve(Path(given.serve), given.port, given.database)
        return
    print(json.dumps(campaign(given.runs, given.kills, given.seed, given.mode, given.database)))


if __name__ == "__main__":
    main()

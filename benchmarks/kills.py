"""kill -9, frozen processes, failing disks: no acknowledged write is lost, none is doubled, each has its audit row.

    make bench BENCH=kills [BENCH_ARGS="--kills 1000 --faults 20 --full 1"]

`lakewright up` itself is hurt while eight clients write through its API: they make schemas, grant and take back rights,
make and revoke tokens, and upload files. What was acknowledged must be there, once, as acknowledged, with exactly one
audit row saying so; a revoked token must stay revoked; the audit chain must verify.

- `--kills`: SIGKILL at a random moment and start again. Most starts are forks of a process that has imported
  everything, which only saves time; every twentieth is a process of its own. One hurt in ten is a freeze (SIGSTOP) instead.
- `--faults`: runs under `strace -e inject` in which fdatasync and fsync fail with EIO, or pwrite64 with ENOSPC.
- `--full`: runs on a tmpfs that is filled and then freed: requests are refused, and served again without a restart.
"""

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import httpx
import orjson

from benchmarks import load
from lakewright.app import build
from lakewright.kernel import audit
from lakewright.kernel.config import Settings

TOKEN = "lwa_the-administrators-token-of-the-campaign"
UC = "/api/2.1/unity-catalog"
NAMES = re.compile(r"[kfd]\d*w\d+n\d+")
FAULTS = {
    "fsync EIO": ["-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:error=EIO:when=6+5"],
    "write ENOSPC": ["-e", "trace=pwrite64", "-e", "inject=pwrite64:error=ENOSPC:when=60+17"],
}
"""`when` counts by thread, so the first failures come to a writer that is already at work."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--zygote", nargs=2, metavar=("DIRECTORY", "PORT"))
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--faults", type=int, default=4)
    parser.add_argument("--full", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if asked.zygote:
        zygote(*asked.zygote)
    else:
        campaign(asked.kills, asked.faults, asked.full, asked.seed)


def campaign(kills: int, faults: int, full: int, seed: int) -> None:
    chance, started = random.Random(seed), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lakewright-kills-") as directory:
        told = Told()
        wrong, left_out = hurt(Path(directory) / "data", told, chance, kills, faults)
    for _ in range(full):
        if not (os.getuid() == 0 and shutil.which("mount")):
            left_out.append("full disk (only root may mount a tmpfs)")
            break
        wrong += fill(told)
    for what in left_out:
        print(f"*** LEFT OUT: {what} ***", flush=True)
    load.report(
        benchmark="kills", kills=kills, freezes=told.freezes, faults=dict(told.faults), full=full if not left_out else 0,
        acknowledged=len(told.made) + told.revocations + len(told.files) + told.grants, refused=told.refused,
        wrong=len(wrong), first=wrong[:3], answered_5xx=dict(told.failed),
        back_ms={how: summary(times) for how, times in told.back.items() if times},
        left_out=left_out, seconds=round(time.monotonic() - started),
    )  # fmt: skip
    raise SystemExit(1 if wrong or told.failed else 0)


def summary(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(1000 * s for s in seconds)
    return {
        "n": len(ordered), "p50": round(statistics.median(ordered)), "p99": round(ordered[int(len(ordered) * 0.99)]),
        "max": round(ordered[-1]),
    }  # fmt: skip


# ---- what the clients were told


@dataclass
class Told:
    """Every acknowledgement, and what is not known because the answer never came."""

    made: dict[str, str] = field(default_factory=dict[str, str])
    files: dict[str, str] = field(default_factory=dict[str, str])
    revoked: set[str] = field(default_factory=set[str])
    granted: set[bool] = field(default_factory=lambda: {False})
    """What the one grant may be: one value when the last change was acknowledged, both when it is not known."""
    grants: int = 0
    revocations: int = 0
    refused: int = 0
    freezes: int = 0
    failed: Counter[str] = field(default_factory=Counter[str])
    faults: Counter[str] = field(default_factory=Counter[str])
    back: dict[str, list[float]] = field(default_factory=lambda: {"forked": [], "fresh": []})

    def judged(self, answer: httpx.Response) -> bool:
        """Whether it was acknowledged; 503 is an honest refusal, any other 5xx is not."""
        if answer.status_code == 503:
            self.refused += 1
        elif answer.status_code >= 500:
            self.failed[f"{answer.request.method} {answer.request.url.path[:40]} {answer.status_code}"] += 1
        return answer.status_code < 300


@dataclass
class Clients:
    """Eight threads that write until told to stop."""

    url: str
    told: Told
    label: str
    stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        acts: list[Callable[[httpx.Client, str], None]] = [self.make] * 5 + [self.grant, self.revoke, self.upload]
        self.threads = [threading.Thread(target=self._run, args=(act, i)) for i, act in enumerate(acts)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def _run(self, act: Callable[[httpx.Client, str], None], number: int) -> None:
        n = 0
        headers = {"authorization": f"Bearer {TOKEN}"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=10) as client:
            while not self.stop.is_set():
                n += 1
                try:
                    act(client, f"{self.label}w{number}n{n}")
                except httpx.HTTPError:
                    time.sleep(0.01)

    def make(self, client: httpx.Client, name: str) -> None:
        answer = client.post(f"{UC}/schemas", json={"name": name, "catalog_name": "kills"})
        if self.told.judged(answer):
            self.told.made[name] = answer.json()["schema_id"]

    def grant(self, client: httpx.Client, name: str) -> None:
        wanted = self.told.granted == {False}
        change = {"principal": "users", "add" if wanted else "remove": ["USE_SCHEMA"]}
        self.told.granted = {True, False}
        answer = client.patch(f"{UC}/permissions/catalog/kills", json={"changes": [change]})
        if self.told.judged(answer):
            self.told.granted = {wanted}
            self.told.grants += 1

    def revoke(self, client: httpx.Client, name: str) -> None:
        made = client.post("/api/2.0/token/create", json={"comment": name})
        if not self.told.judged(made):
            return
        token = made.json()
        id_ = token["token_info"]["token_id"]
        if self.told.judged(client.post("/api/2.0/token/delete", json={"token_id": id_})):
            self.told.revocations += 1
            self.told.revoked.add(id_)
            bearer = {"authorization": f"Bearer {token['token_value']}"}
            if client.get("/api/2.0/preview/scim/v2/Me", headers=bearer).status_code == 200:
                self.told.failed["a revoked token was let in"] += 1

    def upload(self, client: httpx.Client, name: str) -> None:
        body = os.urandom(3000)
        if self.told.judged(client.put(f"/api/2.0/fs/files/Volumes/kills/files/v/{name}", content=body)):
            self.told.files[name] = sha256(body).hexdigest()


# ---- hurting it


def hurt(data: Path, told: Told, chance: random.Random, kills: int, faults: int) -> tuple[list[str], list[str]]:
    with Servers(data, told) as servers:
        servers.start("fresh")
        furnish(servers.url)
        with Clients(servers.url, told, "k"):
            for n in range(kills):
                time.sleep(chance.uniform(0.0, 0.15))
                if chance.random() < 0.1:
                    servers.freeze(chance.uniform(0.05, 0.5))
                    told.freezes += 1
                servers.kill()
                servers.start("fresh" if n % 20 == 19 else "forked")
            time.sleep(0.3)
        servers.kill()
        left_out = inject(servers, told, faults)
    return judge(data, told), left_out


def inject(servers: "Servers", told: Told, faults: int) -> list[str]:
    if not faults:
        return []
    if not can_trace():
        return ["I/O errors (strace is not here or may not trace)"]
    for n in range(faults):
        name = list(FAULTS)[n % len(FAULTS)]
        before = told.refused
        servers.start("fresh", ["strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", *FAULTS[name]], timed=False)
        with Clients(servers.url, told, f"f{n}"):
            time.sleep(1.5)
        servers.kill()
        told.faults[name] += told.refused - before
    return []


def can_trace() -> bool:
    if not shutil.which("strace"):
        return False
    done = subprocess.run(
        ["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "true"], capture_output=True, check=False
    )
    return done.returncode == 0


def fill(told: Told) -> list[str]:
    """A disk that fills up under the server and is freed again."""
    of_this = Told(back=told.back, failed=told.failed)
    with tmpfs("24m") as mounted:
        data = mounted / "data"
        with Servers(data, of_this) as servers:
            servers.start("forked")
            furnish(servers.url)
            with Clients(servers.url, of_this, "d"):
                time.sleep(0.5)
                ballast = mounted / "ballast"
                with contextlib.suppress(OSError), ballast.open("wb") as file:
                    while True:
                        file.write(b"x" * 65536)
                        file.flush()
                time.sleep(1)
                refused, at_full = of_this.refused, len(of_this.made)
                ballast.unlink()
                until = time.monotonic() + 5
                while len(of_this.made) == at_full and time.monotonic() < until:
                    time.sleep(0.01)
                recovered = len(of_this.made) > at_full
                time.sleep(0.5)
            servers.kill()
        wrong = judge(data, of_this)
    told.faults["disk full"] += refused
    told.refused += of_this.refused
    if not refused:
        wrong.append("a full disk refused nothing")
    if not recovered:
        wrong.append("nothing was written again after the disk was freed")
    return wrong


@contextlib.contextmanager
def tmpfs(size: str) -> Iterator[Path]:
    mounted = Path(tempfile.mkdtemp(prefix="lakewright-full-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", mounted], check=True)
    try:
        yield mounted
    finally:
        subprocess.run(["umount", "-l", mounted], check=False)
        mounted.rmdir()


def furnish(url: str) -> None:
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {TOKEN}"}, timeout=10) as client:
        for path, body in (
            ("catalogs", {"name": "kills"}),
            ("schemas", {"name": "files", "catalog_name": "kills"}),
            ("volumes", {"name": "v", "catalog_name": "kills", "schema_name": "files", "volume_type": "MANAGED"}),
        ):
            client.post(f"{UC}/{path}", json=body).raise_for_status()


# ---- the server, started and hurt


class Servers:
    """One server at a time on one directory and port."""

    def __init__(self, data: Path, told: Told) -> None:
        self.data, self.told, self.port = data, told, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._fresh: subprocess.Popen[bytes] | None = None
        self._pid = 0

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "benchmarks.kills", "--zygote", str(self.data), str(self.port)]
        self._zygote = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=surroundings()
        )
        assert self._zygote.stdout is not None
        assert self._zygote.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._zygote.kill()
        self._zygote.wait()

    def start(self, how: str, under: list[str] | None = None, *, timed: bool = True) -> None:
        begun = time.monotonic()
        if how == "forked":
            assert self._zygote.stdin is not None and self._zygote.stdout is not None
            self._zygote.stdin.write("start\n")
            self._zygote.stdin.flush()
            self._pid = int(self._zygote.stdout.readline())
        else:
            up = ["-m", "lakewright.cli.main", "up", "--data-dir", str(self.data), "--port", str(self.port)]
            self._fresh = subprocess.Popen(
                [*(under or []), sys.executable, *up], env=surroundings(), stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
            self._pid = self._fresh.pid
        until = begun + 60
        while time.monotonic() < until:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/health", timeout=5).status_code == 200:
                    if timed:
                        self.told.back[how].append(time.monotonic() - begun)
                    return
            time.sleep(0.005)
        raise RuntimeError(f"the server did not come back ({how})")

    def freeze(self, seconds: float) -> None:
        os.kill(self._pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(self._pid, signal.SIGCONT)

    def kill(self) -> None:
        if not self._pid:
            return
        if self._fresh is not None:
            os.killpg(self._pid, signal.SIGKILL)  # strace and what it traces
            self._fresh.wait()
            self._fresh = None
        else:
            os.kill(self._pid, signal.SIGKILL)
        self._pid = 0
        self._wait_until_free()

    def _wait_until_free(self) -> None:
        """A killed process lets go of the database's lock a moment after the signal."""
        import fcntl

        with self.data.joinpath("lakewright.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)


def zygote(directory: str, port: str) -> None:
    """Forks a server whenever it is told to. Nothing may have started a thread before the fork."""
    from lakewright.cli import up

    settings = Settings(data_dir=Path(directory), port=int(port))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            silent = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(silent, descriptor)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os._exit(up.serve(settings))
        print(child, flush=True)


def surroundings() -> dict[str, str]:
    return {**os.environ, "LAKEWRIGHT_ADMIN_TOKEN": TOKEN}


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# ---- judging


def judge(data: Path, told: Told) -> list[str]:
    """What is not as it was acknowledged."""
    platform = build(Settings(data_dir=data))
    wrong: list[str] = []
    try:
        with platform.store.snapshot() as tx:
            there: dict[str, list[str]] = {}
            for row in tx.all("SELECT id, name FROM objects WHERE kind = 'schema' AND deleted_at IS NULL"):
                there.setdefault(str(row["name"]), []).append(str(row["id"]))
            recorded = Counter(
                str(orjson.loads(row["ask"])["name"])
                for row in tx.all("SELECT ask FROM audit WHERE action = 'createSchema' AND status = 200")
            )
            wrong += [f"schema {n} is lost" for n, id_ in told.made.items() if there.get(n) != [id_]]
            names = [n for n in there if NAMES.fullmatch(n)]
            wrong += [f"schema {n} is there {len(there[n])} times" for n in names if len(there[n]) != 1]
            wrong += [f"schema {n} has {recorded[n]} audit rows" for n in names if recorded[n] != 1]
            ended = {r["id"] for r in tx.all("SELECT id FROM tokens WHERE revoked_at IS NOT NULL")}
            wrong += [f"token {t} lives again" for t in told.revoked - ended]
            granted = tx.scalar(
                'SELECT COUNT(*) FROM grants WHERE "right" = ? AND principal = ?', "USE_SCHEMA", "users"
            )
            if bool(granted) not in told.granted:
                wrong.append(f"the grant is {bool(granted)}, acknowledged was {told.granted}")
            broken = audit.verify(tx, platform.keys.audit)
            if broken is not None:
                wrong.append(f"the audit trail: {broken}")
        wrong += lost_files(data, told)
    finally:
        platform.stop()
    return wrong


def lost_files(data: Path, told: Told) -> list[str]:
    kept: dict[str, Any] = {path.name: path for path in (data / "storage").rglob("*") if path.is_file()}
    return [
        f"file {name} is not what was uploaded"
        for name, digest in told.files.items()
        if name not in kept or sha256(kept[name].read_bytes()).hexdigest() != digest
    ]


if __name__ == "__main__":
    main()

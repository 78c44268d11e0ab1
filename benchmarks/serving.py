"""What a prediction costs: our model process against `mlflow models serve`, same model, same callers, same run;
then the whole governed way through the platform: token, right, traffic split, audit row, request log.

    python benchmarks/serving.py [--seconds 4] [--callers 16]

The last line is one JSON object. `cpu_ms` is the model process's own CPU per request; `times_mlflow` is how many times
less that is than MLflow's scoring server (target: 15 or more). `governed_*` are of the platform and the model together.
"""

import argparse
import asyncio
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from dataclasses import dataclass
from pathlib import Path

import psutil

TOKEN = "lwa_the-benchmarks-administrator"
INVOCATIONS = "/serving-endpoints/e/invocations"
COLUMNS = [f"f{number}" for number in range(10)]
BODY = json.dumps({"dataframe_split": {"columns": COLUMNS, "data": [[0.1 * n for n in range(10)]]}}).encode()


@dataclass
class Load:
    requests: int
    seconds: float
    milliseconds: list[float]
    cpu_seconds: float

    def figures(self) -> dict[str, float]:
        ordered = sorted(self.milliseconds)
        return {
            "per_second": round(self.requests / self.seconds, 1),
            "cpu_ms": round(1000 * self.cpu_seconds / self.requests, 3),
            "p50_ms": round(ordered[len(ordered) // 2], 2),
            "p99_ms": round(ordered[int(len(ordered) * 0.99)], 2),
        }


def save_model(directory: Path) -> None:
    warnings.filterwarnings("ignore")
    import mlflow
    import numpy as np
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = pd.DataFrame(np.random.default_rng(0).normal(size=(500, 10)), columns=COLUMNS)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, features.f0 + features.f1 > 0)
    mlflow.sklearn.save_model(
        model, directory, signature=infer_signature(features, model.predict(features)),
        input_example=features.head(2), pip_requirements=[], serialization_format="cloudpickle",
    )  # fmt: skip


def ours(model: Path, port: int) -> tuple[list[str], dict[str, str]]:
    secret = secrets.token_hex(16)
    command = [sys.executable, "-m", "lakewright.engines.model_process", "--model", str(model), "--port", str(port)]
    return command, {"LAKEWRIGHT_MODEL_SECRET": secret}


def theirs(model: Path, port: int) -> tuple[list[str], dict[str, str]]:
    command = [
        sys.executable, "-m", "mlflow", "models", "serve", "-m", str(model), "--env-manager", "local",
        "-h", "127.0.0.1", "-p", str(port),
    ]  # fmt: skip
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # it runs `uvicorn` from there
    return command, {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "true", "PATH": path}


def cpu(process: psutil.Process) -> float:
    family = [process, *process.children(recursive=True)]
    return sum(sum(member.cpu_times()[:2]) for member in family if member.is_running())


def wait_until_it_answers(port: int, headers: dict[str, str], limit: float = 120) -> float:
    started = time.monotonic()
    while time.monotonic() - started < limit:
        try:
            urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/ping", headers=headers), timeout=1)
            return time.monotonic() - started
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


def request(headers: dict[str, str], path: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(BODY)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + BODY


async def caller(port: int, sent: bytes, until: float, took: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.monotonic() < until:
        began = time.perf_counter()
        writer.write(sent)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        assert head.startswith(b"HTTP/1.1 200"), body
        took.append(1000 * (time.perf_counter() - began))
    writer.close()


def drive(
    port: int, headers: dict[str, str], callers: int, seconds: float, server: psutil.Process, path: str = "/invocations"
) -> Load:
    async def all_callers(until: float) -> list[float]:
        took: list[float] = []
        await asyncio.gather(*(caller(port, request(headers, path), until, took) for _ in range(callers)))
        return took

    asyncio.run(all_callers(time.monotonic() + min(1.0, seconds / 4)))
    before, began = cpu(server), time.monotonic()
    took = asyncio.run(all_callers(began + seconds))
    return Load(len(took), time.monotonic() - began, took, cpu(server) - before)


def measure(command: list[str], environment: dict[str, str], port: int, callers: list[int], seconds: float) -> dict:
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        secret = environment.get("LAKEWRIGHT_MODEL_SECRET", "")
        headers = {"X-Model-Secret": secret} if secret else {}
        ready = wait_until_it_answers(port, headers)
        server = psutil.Process(process.pid)
        figures = {str(n): drive(port, headers, n, seconds, server).figures() for n in callers}
        memory = sum(member.memory_info().rss for member in [server, *server.children(recursive=True)])
        return {"ready_s": round(ready, 1), "rss_mb": memory >> 20, "callers": figures}
    finally:
        end(process)


def stand(model: Path, data: Path) -> None:
    """The platform with one endpoint, whose model needs no release."""
    import threading

    from lakewright.app import build, serve
    from lakewright.kernel.config import Settings
    from lakewright.kernel.rules import Verdict
    from lakewright.kernel.socket import Server
    from lakewright.serving.releases import Files, Releases

    class Shelf:
        def servable(self, ctx: object, name: str, version: int) -> Verdict:
            return Verdict(True, "the benchmark's own")

        def files(self, ctx: object, name: str, version: int) -> Files:
            return Files(model)

    platform = build(Settings(data_dir=data, admin_token=TOKEN, port=0))  # type: ignore[arg-type]
    platform.provide(Shelf(), as_type=Releases)
    server = Server(serve(platform), platform.settings)
    url = server.start()
    platform.start()
    print(url, flush=True)
    threading.Event().wait()


def governed(model: Path, data: Path, callers: list[int], seconds: float) -> dict:
    import httpx

    command = [sys.executable, __file__, "--stand", str(model), str(data)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with httpx.Client(base_url=url, headers=headers, timeout=60) as http:
            entity = {"entity_name": "a.b.model", "entity_version": "1"}
            config = {"served_entities": [entity]}
            http.post("/api/2.0/serving-endpoints", json={"name": "e", "config": config}).raise_for_status()
            began = time.monotonic()
            while http.post(INVOCATIONS, content=BODY).status_code != 200:
                time.sleep(0.05)
            ready = time.monotonic() - began
        server, port = psutil.Process(process.pid), int(url.rpartition(":")[2])
        figures = {str(n): drive(port, headers, n, seconds, server, INVOCATIONS).figures() for n in callers}
        return {"ready_s": round(ready, 1), "callers": figures}
    finally:
        end(process)
        for left in psutil.process_iter(["cwd"]):
            if (left.info["cwd"] or "").startswith(str(data / "serving")):
                left.kill()


def end(process: subprocess.Popen) -> None:
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    process.kill()
    process.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--stand", nargs=2, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--callers", type=int, default=16)
    asked = parser.parse_args()
    if asked.stand:
        stand(*asked.stand)
        return
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "model"
        save_model(model)
        callers = [1, asked.callers]
        port = 20000 + os.getpid() % 20000
        mine = measure(*ours(model, port), port, callers, asked.seconds)
        print("ours  ", json.dumps(mine), flush=True)
        whole = governed(model, Path(scratch) / "data", [*callers, 64], asked.seconds)
        print("whole ", json.dumps(whole), flush=True)
        peer = measure(*theirs(model, port + 1), port + 1, callers, asked.seconds)
        print("mlflow", json.dumps(peer), flush=True)
    many = str(asked.callers)
    print(json.dumps({
        "cpu_ms": mine["callers"][many]["cpu_ms"],
        "cpu_ms_single": mine["callers"]["1"]["cpu_ms"],
        "per_second": mine["callers"][many]["per_second"],
        "p99_ms": mine["callers"][many]["p99_ms"],
        "mlflow_cpu_ms": peer["callers"][many]["cpu_ms"],
        "times_mlflow": round(peer["callers"][many]["cpu_ms"] / mine["callers"][many]["cpu_ms"], 1),
        "governed_cpu_ms": whole["callers"][many]["cpu_ms"],
        "governed_per_second": whole["callers"][many]["per_second"],
        "governed_p99_ms": whole["callers"][many]["p99_ms"],
        "times_mlflow_single": round(peer["callers"]["1"]["cpu_ms"] / mine["callers"]["1"]["cpu_ms"], 1),
    }))  # fmt: skip


if __name__ == "__main__":
    main()

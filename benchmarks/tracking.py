"""MLflow's log_metric, as its unmodified client sends it: this server against `mlflow server` with its basic auth.

    make bench BENCH=tracking [BENCH_ARGS="--postgres"]

What the client sends is recorded from the client itself, then repeated with changing times. Both servers run on
this machine, one after the other, with SQLite; the peer as it comes (its default number of workers), and once more with
its password cache, which is off unless asked for. Ours is one process, with token, permission, audit and synchronous
commits. At least 20 times the rate of the peer.
"""

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks import installation, load, world

CONNECTIONS = 16
RUN, TIME = "f" * 32, 987654321000
PASSWORD = "a-long-enough-password"

CLIENT = f"""
from mlflow import MlflowClient
MlflowClient().log_metric("{RUN}", "loss", 0.25, timestamp={TIME}, step=7)
"""

SCRIPT = """
local n = 0
local start = %d
wrk.method = "POST"
%s
request = function()
  n = n + 1
  local body = string.gsub('%s', '%d', tostring(start + n))
  return wrk.format(nil, "%s", nil, body)
end
"""


@dataclass(frozen=True)
class Sent:
    path: str
    body: str


def recorded() -> Sent:
    """The request that the unmodified client makes of one log_metric."""
    seen: list[Sent] = []

    class Recorder(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            seen.append(Sent(self.path, self.rfile.read(int(self.headers["content-length"])).decode()))
            self._answer()

        def _answer(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"http://127.0.0.1:{server.server_address[1]}"
    environment = {
        **os.environ, "MLFLOW_TRACKING_URI": "databricks", "DATABRICKS_HOST": host, "DATABRICKS_TOKEN": "x",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }  # fmt: skip
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CLIENT], check=True, env=environment, stderr=subprocess.DEVNULL
    )
    server.shutdown()
    [sent] = [each for each in seen if each.path.endswith("/log-metric")]
    return sent


def script(sent: Sent, run_id: str, authorization: str) -> str:
    headers = f'wrk.headers["content-type"] = "application/json"\nwrk.headers["authorization"] = "{authorization}"'
    body = sent.body.replace(RUN, run_id).replace("\n", " ")
    assert str(TIME) in body
    assert run_id in body
    return SCRIPT % (TIME, headers, body, TIME, sent.path)


def new_run(url: str, name: str, **auth: Any) -> str:
    """A run to log to."""
    with httpx.Client(base_url=url, timeout=60, **auth) as client:
        made = client.post("/api/2.0/mlflow/experiments/create", json={"name": name}).raise_for_status().json()
        run = client.post("/api/2.0/mlflow/runs/create", json={"experiment_id": made["experiment_id"], "start_time": 1})
        return str(run.raise_for_status().json()["run"]["info"]["run_id"])


def ours(sent: Sent, seconds: int, database: str = "") -> load.Load:
    with load.served("benchmarks.tracking", *(["--database", database] if database else [])) as (said, pid):
        url, token = said.split()
        token = token.partition("=")[2]
        load.wait_for(f"{url}/health")
        bearer = {"authorization": f"Bearer {token}"}
        run_id = new_run(url, "/Shared/bench", headers=bearer)
        measured = load.wrk(url, pid, script(sent, run_id, f"Bearer {token}"), connections=CONNECTIONS, seconds=seconds)
        kept = httpx.get(
            f"{url}/api/2.0/mlflow/metrics/get-history", headers=bearer,
            params={"run_id": run_id, "metric_key": "loss", "max_results": 50_000}, timeout=60,
        ).json()["metrics"]  # fmt: skip
        assert len(kept) >= min(50_000, measured.per_second * seconds * 0.9), "answered and not kept"
        return measured


def peers(sent: Sent, seconds: int, *, cache: bool) -> load.Load:
    """Driven by four threads: at a few calls a second wrk would count timeouts, not calls."""
    with peer(cache=cache) as url:
        run_id = new_run(url, "bench", auth=("admin", PASSWORD))
        taken: list[float] = []

        def drive(offset: int) -> None:
            with httpx.Client(base_url=url, auth=("admin", PASSWORD), timeout=120) as client:
                while time.monotonic() < end:
                    began = time.monotonic()
                    body = sent.body.replace(RUN, run_id).replace(str(TIME), str(TIME + offset + len(taken) * 10))
                    client.post(
                        sent.path, content=body, headers={"content-type": "application/json"}
                    ).raise_for_status()
                    taken.append(time.monotonic() - began)

        began = time.monotonic()
        end = began + seconds
        threads = [threading.Thread(target=drive, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rate = len(taken) / (time.monotonic() - began)
        return load.Load(
            rate, 0.0, sorted(taken)[int(len(taken) * 0.99)] * 1000, sorted(taken)[len(taken) // 2] * 1000, 0
        )


@contextlib.contextmanager
def peer(*, cache: bool) -> Iterator[str]:
    """`mlflow server --app-name basic-auth` on an empty SQLite database."""
    with tempfile.TemporaryDirectory() as directory, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        config = Path(directory) / "auth.ini"
        config.write_text(
            f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{directory}/auth.db\nadmin_username = admin\n"
            f"admin_password = {PASSWORD}\nauth_cache_ttl_seconds = {60 if cache else 0}\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        )
        environment = {
            **os.environ, "MLFLOW_AUTH_CONFIG_PATH": str(config), "MLFLOW_FLASK_SERVER_SECRET_KEY": "bench",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its job runners would take CPU from it
        }  # fmt: skip
        command = [
            sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--host", "127.0.0.1", "--port", str(port),
            "--backend-store-uri", f"sqlite:///{directory}/mlflow.db", "--default-artifact-root", directory,
        ]  # fmt: skip
        with open(Path(directory) / "log", "wb") as log:
            process = subprocess.Popen(command, cwd=directory, env=environment, stdout=log, stderr=log)
        try:
            load.wait_for(f"http://127.0.0.1:{port}/health", seconds=180)
            yield f"http://127.0.0.1:{port}"
        finally:
            everything = [*psutil.Process(process.pid).children(recursive=True), process]
            for each in everything:
                each.kill()
            process.wait(20)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--database", default="")
    parser.add_argument("--postgres", action="store_true", help="measure ours on Postgres too")
    parser.add_argument("--seconds", type=int, default=10)
    arguments = parser.parse_args()
    if arguments.serve:
        platform = installation.fresh(arguments.database)
        world.listen(world.application("governed", platform), platform, token=admin(platform))
        return
    sent = recorded()
    print(f"as recorded from the client: POST {sent.path} {json.dumps(json.loads(sent.body))}")
    first, plain = ours(sent, arguments.seconds // 2), peers(sent, arguments.seconds, cache=False)
    cached, second = peers(sent, arguments.seconds, cache=True), ours(sent, arguments.seconds)
    rows = {"ours, before": first, "mlflow": plain, "mlflow, cached": cached, "ours": second}
    figures: dict[str, Any] = {}
    if arguments.postgres:
        sys.path.insert(0, "tests")
        from postgres import server  # type: ignore[import-not-found]

        from benchmarks.writes import new_database

        with server() as url:
            rows["ours, Postgres"] = ours(sent, arguments.seconds, new_database(url))
        figures["postgres_per_second"] = round(rows["ours, Postgres"].per_second)
    for name, each in rows.items():
        print(f"{name:15} {each.per_second:8.1f}/s {each.p99_ms:8.1f} ms p99 {each.failed} failed")
    mine = (first.per_second + second.per_second) / 2
    load.report(
        benchmark="tracking", per_second=round(mine), cpu_ms=round(second.cpu_ms, 3), p99_ms=round(second.p99_ms, 1),
        mlflow_per_second=round(plain.per_second, 2), mlflow_cached_per_second=round(cached.per_second, 2),
        of_mlflow=round(mine / plain.per_second, 1), of_mlflow_cached=round(mine / cached.per_second, 1),
        failed=first.failed + second.failed, **figures,
    )  # fmt: skip


def admin(platform: Any) -> str:
    from lakewright.identity import tokens

    return str(platform.transact(lambda ctx: tokens.mint(ctx, ctx.id_of("admin"), 10**7, "bench"))[1])


if __name__ == "__main__":
    main()

"""The server is killed under load: its models stay warm, the next one finds them, and no answered request is missing."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import psutil
import pytest

from .conftest import Folder, until

TOKEN = "lwa_the-administrators-token-in-tests"
ASK = "/serving-endpoints/delays/invocations"
ROWS = {"dataframe_records": [{"distance": 1.0, "delay": 2.0}]}


class Stand:
    def __init__(self, home: Path, models: Path) -> None:
        self.home, self.models = home, models
        self.tables = Folder(home / "tables")

    def start(self) -> httpx.Client:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "serving.stand", str(self.home / "data"), str(self.models), str(self.tables.root), TOKEN],
            stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1],
        )  # fmt: skip
        assert self.process.stdout is not None
        url = self.process.stdout.readline().strip()
        assert url
        return httpx.Client(base_url=url, headers={"authorization": f"Bearer {TOKEN}"}, timeout=30)

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def models_running(self) -> set[int]:
        found = set[int]()
        for process in psutil.process_iter(["cmdline", "cwd"]):
            if (process.info["cwd"] or "").startswith(str(self.home / "data" / "serving")):
                found.add(process.pid)
        return found


@pytest.fixture
def stand(models, tmp_path):
    made = Stand(tmp_path, models)
    yield made
    made.kill()
    for pid in made.models_running():
        psutil.Process(pid).kill()


def answers(client: httpx.Client) -> bool:
    return client.post(ASK, json=ROWS).status_code == 200


def load(client: httpx.Client, answered: set[str]) -> threading.Thread:
    def ask() -> None:
        number = 0
        try:
            while True:
                number += 1
                name = f"{client.base_url}-{threading.get_ident()}-{number}"
                if client.post(ASK, json=ROWS | {"client_request_id": name}).status_code == 200:
                    answered.add(name)
        except httpx.TransportError:
            return

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


@pytest.mark.timeout(240)
def test_killed_under_load_no_answered_request_is_lost_or_doubled_and_the_model_stays_warm(stand):
    client = stand.start()
    entity = {"entity_name": "main.ml.delay", "entity_version": "1"}
    made = client.post("/api/2.0/serving-endpoints", json={"name": "delays", "config": {"served_entities": [entity]}})
    assert made.status_code == 200, made.text
    until(lambda: answers(client), "the endpoint answers")
    warm = stand.models_running()
    assert warm
    answered: set[str] = set()
    for _ in range(3):
        callers = [load(client, answered) for _ in range(4)]
        before = len(answered)
        until(lambda before=before: len(answered) > before + 100, "a hundred answers")
        stand.kill()
        for caller in callers:
            caller.join()
        client = stand.start()
        until(lambda client=client: answers(client), "the next server answers", 60)
        assert stand.models_running() == warm  # no model was loaded again
    until(
        lambda: answered <= {row["client_request_id"] for row in stand.tables.rows(TABLE)}, "all of it is in the table"
    )
    rows = stand.tables.rows(TABLE)
    assert len(rows) == len({row["databricks_request_id"] for row in rows})


TABLE = "main.ml.delays_payload"

"""The same calls, the same answers: this platform against MLflow's own server and store."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import replay


@pytest.fixture(scope="module")
def mlflows_answers(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    where = tmp_path_factory.mktemp("mlflow")
    done = subprocess.run(
        [sys.executable, str(Path(replay.__file__))],
        capture_output=True, text=True, check=False, cwd=where,
        env={
            **os.environ, "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{where}/mlflow.db",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": str(where / "files"), "MLFLOW_DISABLE_TELEMETRY": "true",
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    said = next(line for line in done.stdout.splitlines() if line.startswith("ANSWER "))
    return json.loads(said[7:])


def test_every_call_is_answered_as_mlflow_answers_it(server: Any, people: Any, mlflows_answers: list[Any]) -> None:
    client = httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {people.admin.token}"}, timeout=30)

    def to_us(verb: str, path: str, fields: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        server.platform.clock.advance(1)
        where: dict[str, Any] = {"params": fields} if verb == "GET" else {"json": fields}
        answer = client.request(verb, path, **where)
        assert answer.status_code != 500, f"{verb} {path} {fields}"
        return answer.status_code, answer.json()

    ours = replay.replay(to_us)
    labels = [replay.label(step) for step in replay.steps()]
    different = [
        f"{label}\n  ours:   {json.dumps(mine)[:900]}\n  MLflow: {json.dumps(theirs)[:900]}"
        for label, mine, theirs in zip(labels, ours, mlflows_answers, strict=True)
        if mine != theirs
    ]
    assert not different, f"{len(different)} of {len(labels)} differ:\n" + "\n".join(different)

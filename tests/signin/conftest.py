"""The outside OpenID provider of the sign-in tests: `oidc-provider` from npm, pinned by its lock file."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from signin.provider.install import installed

SECRET = "a-secret-of-the-tests:with/odd characters"


@dataclass
class Outside:
    """A running provider, and the people it knows."""

    issuer: str
    accounts: Path

    def knows(self, name: str, **claims: object) -> None:
        known = json.loads(self.accounts.read_text())
        known[name] = {"email": f"{name}@example.com", "email_verified": True, "name": name.title(), **claims}
        self.accounts.write_text(json.dumps({**known, name: {k: v for k, v in known[name].items() if v is not None}}))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    """Of the provider, and of our own server: each has to know the other's address before it starts."""
    return free_port(), free_port()


@pytest.fixture(scope="module")
def outside(ports: tuple[int, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    folder = installed()
    if folder is None:
        pytest.skip("node, npm or the npm registry cannot be had: signing in with a provider is left out")
    accounts = tmp_path_factory.mktemp("provider") / "accounts.json"
    accounts.write_text("{}")
    back = f"http://127.0.0.1:{ports[1]}/console/signed-in"
    process = subprocess.Popen(
        ["node", "server.mjs", str(ports[0]), str(accounts), back], cwd=folder, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    issuer = f"http://localhost:{ports[0]}"
    try:
        end = time.monotonic() + 30
        while True:
            try:
                if httpx.get(f"{issuer}/.well-known/openid-configuration").status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.05)
        yield Outside(issuer, accounts)
    finally:
        process.terminate()
        process.wait(10)

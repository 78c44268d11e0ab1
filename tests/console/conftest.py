"""The console as a person meets it: a server of its own process, and real Chromium."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from databricks.sdk import WorkspaceClient

TOKEN = "lwa_the-consoles-administrator"
BROWSER = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@dataclass
class Site:
    url: str

    def client(self, token: str = TOKEN) -> WorkspaceClient:
        return WorkspaceClient(host=self.url, token=token, auth_type="pat")

    def token_of(self, name: str) -> str:
        """A person of that name, and a token of theirs."""
        admin = self.client()
        made = admin.service_principals.create(display_name=name)
        return admin.token_management.create_obo_token(made.application_id, comment=name).token_value


@dataclass
class Window:
    """One browser tab that remembers what went wrong in it."""

    page: object
    site: Site
    errors: list[str] = field(default_factory=list)

    def sign_in(self, token: str = TOKEN) -> None:
        self.page.goto(f"{self.site.url}/console/login")
        self.page.get_by_label("Token").fill(token)
        self.page.get_by_role("button", name="Sign in").click()

    def go(self, path: str) -> None:
        self.page.goto(self.site.url + path)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "NICEGUI"))}
    environment |= {
        "LAKEWRIGHT_DATA_DIR": str(tmp_path_factory.mktemp("console") / "data"), "LAKEWRIGHT_PORT": str(port),
        "LAKEWRIGHT_ADMIN_TOKEN": TOKEN,
    }  # fmt: skip
    process = subprocess.Popen(
        [Path(sys.executable).with_name("lakewright"), "up"], env=environment, stdout=subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{url}/health").status_code == 200:
                    break
            assert time.monotonic() < end
            time.sleep(0.05)
        yield Site(url)
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Closed with its module: while it is open, playwright's event loop runs in this thread and nobody else's can."""
    if BROWSER is None:
        pytest.skip("Chromium is not on this machine")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=20_000)

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def window(browser: object, site: Site) -> Iterator[Window]:
    """A fresh tab. Afterwards: no error on any page, and nothing was asked of another host."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(20_000)
    opened = Window(page, site)
    page.on("pageerror", lambda error: opened.errors.append(str(error)))
    page.on("request", lambda request: _foreign(request.url, site.url, opened.errors))
    yield opened
    context.close()
    assert opened.errors == []


def _foreign(url: str, ours: str, errors: list[str]) -> None:
    if not url.startswith((ours, ours.replace("http:", "ws:"), "data:", "blob:")):
        errors.append(f"asked another host: {url}")

"""One server for a whole module here: these tests ask it much and change little."""

from collections.abc import Iterator

import pytest
from actors import ADMIN_TOKEN, People, Served

from lakewright.app import build, serve
from lakewright.kernel.config import HttpLimits, Settings
from lakewright.kernel.socket import Server

LIMITS = HttpLimits(head_seconds=0.4, body_seconds=0.4, trusted_proxies=["10.0.0.0/8"])
"""Impatient, so that slow clients are soon told apart."""


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Served]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("hardening") / "data", admin_token=ADMIN_TOKEN, port=0, http=LIMITS
    )  # type: ignore[arg-type]
    platform = build(settings)
    listening = Server(serve(platform), settings)
    yield Served(listening.start(), platform)
    listening.stop()
    platform.stop()


@pytest.fixture(scope="module")
def people(server: Served) -> People:
    return People(server.platform, server.url)

"""Two workspaces beside the first, each with its own host name, and people in one, the other or both."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from actors import ADMIN_TOKEN, People, Person, Served
from databricks.sdk import AccountClient
from databricks.sdk.config import Config

from lakewright.identity import tokens, workspace_access, workspaces
from lakewright.kernel import objects
from lakewright.kernel.roots import ACCOUNT


@pytest.fixture(autouse=True)
def names_below_localhost(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`dev.localhost` is this machine, as RFC 6761 says and not every resolver knows."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        below = isinstance(host, str) and host.endswith(".localhost")
        return real("127.0.0.1" if below else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield


@dataclass
class Place:
    """A workspace: its id, and its address."""

    id: str
    url: str


@dataclass
class Account:
    """The installation as its administrator has it."""

    id: str
    server: Served
    people: People

    @property
    def port(self) -> int | None:
        return urlsplit(self.server.url).port

    @property
    def client(self) -> AccountClient:
        return self.client_of(ADMIN_TOKEN)

    def client_of(self, token: str) -> AccountClient:
        url = f"http://accounts.localhost:{self.port}"
        return AccountClient(
            config=Config(host=url, account_id=self.id, token=token, auth_type="pat", retry_timeout_seconds=5)
        )

    def workspace(self, name: str) -> Place:
        made = self.server.platform.call(
            self.people.admin.id, workspaces.create, account_id=self.id, workspace_name=name
        ).body
        return Place(str(made["workspace_id"]), f"http://{made['deployment_name']}.localhost:{self.port}")

    def person(self, name: str, place: Place, *, admin: bool = False) -> Person:
        """Somebody assigned to that workspace only, with a token made there."""
        found = self.people.person(name)
        platform = self.server.platform
        platform.transact(lambda ctx: workspace_access.unassign(ctx, found.id))
        platform.transact(lambda ctx: workspace_access.assign(ctx, found.id, admin=admin), workspace=place.id)
        token = platform.call(found.id, tokens.create, None, place.id, comment="test")["token_value"]
        return Person(found.id, name, token, place.url)


@pytest.fixture
def account(server: Served, people: People) -> Account:
    found = server.platform.snapshot(lambda ctx: objects.find(ctx, ACCOUNT, "").id)
    return Account(found, server, people)


@pytest.fixture
def dev(account: Account) -> Place:
    return account.workspace("dev")


@pytest.fixture
def qa(account: Account) -> Place:
    return account.workspace("qa")

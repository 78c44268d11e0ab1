"""The stage: the platform in a process of its own, and the people of the story with what each was granted."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakewright.projects.client import Client, Refused, Unreachable

SCIM = "/api/2.0/preview/scim/v2"
UNITY = "/api/2.1/unity-catalog"
PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Person:
    id: str
    name: str
    """What grants call them: a user name, or a service principal's application id."""
    token: str
    client: Client


class Running:
    """The platform, started here and stopped here."""

    def __init__(self, port: int, data_dir: Path, admin_token: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = data_dir / "demo.log"
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        environment = {**os.environ, "LAKEWRIGHT_ADMIN_TOKEN": admin_token}
        command = [sys.executable, "-m", "lakewright.cli.main", "up", "--port", str(port), "--data-dir", str(data_dir)]
        with self.log.open("w") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)

    def wait(self, client: Client) -> dict[str, Any]:
        """Until it answers; who the token belongs to."""
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise Refused(0, "DID_NOT_START", f"The platform did not start:\n{self.log.read_text()[-2000:]}")
            try:
                return client.call("GET", f"{SCIM}/Me")
            except Unreachable:
                time.sleep(0.1)
        raise Refused(0, "DID_NOT_START", f"The platform did not answer within {PATIENCE_SECONDS} seconds.")

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def stay(self) -> None:
        """Until it ends or somebody presses Ctrl-C."""
        try:
            self._process.wait()
        except KeyboardInterrupt:
            pass


def port_is_free(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) != 0


def new_token() -> str:
    return f"lwa_{secrets.token_urlsafe(32)}"


class People:
    """Made by the administrator, each with a token of their own from then on."""

    def __init__(self, admin: Client) -> None:
        self.admin = admin

    def user(self, name: str, display_name: str) -> Person:
        """With a first token that the administrator makes on their behalf, as an identity provider would vouch for them."""
        made = self.admin.call("POST", f"{SCIM}/Users", {"userName": name, "displayName": display_name})
        return self._with_token(str(made["id"]), name)

    def service_principal(self, display_name: str) -> Person:
        made = self.admin.call("POST", f"{SCIM}/ServicePrincipals", {"displayName": display_name})
        return self._with_token(str(made["id"]), str(made["applicationId"]))

    def group(self, name: str, *members: Person) -> str:
        body = {"displayName": name, "members": [{"value": one.id} for one in members]}
        return str(self.admin.call("POST", f"{SCIM}/Groups", body)["id"])

    def _with_token(self, id: str, name: str) -> Person:
        body = {"application_id": name, "comment": "demo", "lifetime_seconds": 7 * 24 * 3600}
        token = str(self.admin.call("POST", "/api/2.0/token-management/on-behalf-of/tokens", body)["token_value"])
        return Person(id, name, token, self.admin.as_(token))


def grant(client: Client, securable: str, full_name: str, principal: str, *privileges: str) -> None:
    changes = [{"principal": principal, "add": list(privileges)}]
    client.call("PATCH", f"{UNITY}/permissions/{securable}/{full_name}", {"changes": changes})


def allow(
    client: Client, kind: str, id: str, level: str, *, user: str = "", group: str = "", service: str = ""
) -> None:
    who = {"user_name": user} if user else {"group_name": group} if group else {"service_principal_name": service}
    body = {"access_control_list": [{**who, "permission_level": level}]}
    client.call("PATCH", f"/api/2.0/permissions/{kind}/{id}", body)

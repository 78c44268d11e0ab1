"""The stage: the platform in a process of its own, and the people of the story with what each was granted."""

from __future__ import annotations

import json
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

import httpx

from lakewright.projects.client import Client, Refused, Unreachable

SCIM = "/api/2.0/preview/scim/v2"
UNITY = "/api/2.1/unity-catalog"
PATIENCE_SECONDS = 60
WEEK = 7 * 24 * 3600


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
        environment = {
            **os.environ, "LAKEWRIGHT_ADMIN_TOKEN": admin_token,
            # The people of the demo stay signed in for as long as it may be looked at.
            "LAKEWRIGHT_TOKENS__ACCESS_MINUTES": str(WEEK // 60),
        }  # fmt: skip
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
    """Made by the administrator. People sign in through the demo's own identity provider, machines get a token."""

    def __init__(self, admin: Client) -> None:
        self.admin = admin
        self._provider = Provider(admin)

    def user(self, name: str, display_name: str) -> Person:
        made = self.admin.call("POST", f"{SCIM}/Users", {"userName": name, "displayName": display_name})
        return self._person(str(made["id"]), name, self._provider.sign_in(name))

    def service_principal(self, display_name: str) -> Person:
        made = self.admin.call("POST", f"{SCIM}/ServicePrincipals", {"displayName": display_name})
        name = str(made["applicationId"])
        body = {"application_id": name, "comment": "demo", "lifetime_seconds": WEEK}
        token = str(self.admin.call("POST", "/api/2.0/token-management/on-behalf-of/tokens", body)["token_value"])
        return self._person(str(made["id"]), name, token)

    def group(self, name: str, *members: Person) -> str:
        body = {"displayName": name, "members": [{"value": one.id} for one in members]}
        return str(self.admin.call("POST", f"{SCIM}/Groups", body)["id"])

    def _person(self, id: str, name: str, token: str) -> Person:
        return Person(id, name, token, self.admin.as_(token))


class Provider:
    """An identity provider of one key: the administrator trusts it once, and whoever it vouches for is signed in."""

    ISSUER = "https://people.flights.example"

    def __init__(self, admin: Client) -> None:
        from joserfc.jwk import ECKey

        self._host = admin.host
        self._key = ECKey.generate_key("P-256", parameters={"kid": "demo", "use": "sig", "alg": "ES256"})
        account = httpx.get(f"{self._host}/.well-known/databricks-config", timeout=30).json()["account_id"]
        keys = json.dumps({"keys": [self._key.as_dict(private=False)]})
        policy = {"issuer": self.ISSUER, "audiences": ["lakewright"], "jwks_json": keys}
        admin.call("POST", f"/api/2.0/accounts/{account}/federationPolicies", {"oidc_policy": policy})

    def sign_in(self, name: str) -> str:
        """An access token of the person, for a token of ours that says who they are."""
        from joserfc import jwt

        now = int(time.time())
        claims = {"iss": self.ISSUER, "aud": "lakewright", "sub": name, "iat": now, "exp": now + WEEK}
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "subject_token": jwt.encode({"alg": "ES256", "kid": "demo"}, claims, self._key),
            "scope": "all-apis",
        }
        answer = httpx.post(f"{self._host}/oidc/v1/token", data=form, timeout=30)
        if answer.status_code != 200:
            raise Refused(answer.status_code, "NOT_SIGNED_IN", answer.text)
        return str(answer.json()["access_token"])


def grant(client: Client, securable: str, full_name: str, principal: str, *privileges: str) -> None:
    changes = [{"principal": principal, "add": list(privileges)}]
    client.call("PATCH", f"{UNITY}/permissions/{securable}/{full_name}", {"changes": changes})


def allow(
    client: Client, kind: str, id: str, level: str, *, user: str = "", group: str = "", service: str = ""
) -> None:
    who = {"user_name": user} if user else {"group_name": group} if group else {"service_principal_name": service}
    body = {"access_control_list": [{**who, "permission_level": level}]}
    client.call("PATCH", f"/api/2.0/permissions/{kind}/{id}", body)

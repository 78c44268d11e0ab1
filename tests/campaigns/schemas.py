"""Schemathesis on the served OpenAPI document: whatever the schemas allow and what they forbid, nothing breaks.

    python -m tests.campaigns.schemas --examples 50 [--seed 7] [--routes] [--postgres]

The document is fetched from the server itself. Each operation is asked by an administrator and by somebody who holds
nothing, half of the requests aimed at an object that is there. What must hold of each answer:

- no 5xx but 501, and 503 of an endpoint whose model is not loaded
- only statuses, media types and bodies that the document declares
"""

import argparse
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, "tests")

import httpx
import hypothesis
import requests
import schemathesis
from actors import People, Person
from conformance.test_every_operation import KINDS_ONCE, fields_of
from hypothesis.errors import HypothesisException
from requests.exceptions import InvalidHeader, InvalidURL
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from lakewright.kernel import objects
from lakewright.kernel.operation import OPERATIONS

DOCUMENT = "/api/2.1/lakewright/openapi.json"
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
NOT_READY = {("serverlessRealTimeInference.queryServingEndpoint", 503)}
LEFT_OUT = {
    "accounts.deleteWorkspace": "aimed at the only workspace, it would end the server's usefulness",
}
"""Operations that are not asked, by name, with the reason."""


@dataclass
class Found:
    wrong: dict[str, str] = field(default_factory=dict[str, str])
    """One example per operation and kind of failure."""
    statuses: Counter[int] = field(default_factory=Counter[int])
    asked: set[str] = field(default_factory=set[str])
    answered: set[str] = field(default_factory=set[str])
    """Operations that came through for the administrator at least once."""


class Campaign:
    def __init__(self, platform: Any, url: str, seed: int) -> None:
        self.url, self.seed, self.found = url, seed, Found()
        people = People(platform, url)
        self.callers = (people.person("nobody"), people.admin)
        members = {
            "user": people.person("member").id, "group": people.group("members"),
            "servicePrincipal": people.service_principal("machine").id,
        }  # fmt: skip
        self.planted = platform.transact(lambda ctx: _plant(ctx, members))
        self.declared = {o.name: o for o in OPERATIONS}
        self.http = requests.Session()
        served = httpx.get(url + DOCUMENT, headers={"authorization": f"Bearer {people.admin.token}"})
        document = served.raise_for_status().json()
        for each in (document, *(o for item in document["paths"].values() for o in item.values())):
            each.pop("security", None)  # whose credential is sent is this campaign's to say
        self.schema = schemathesis.openapi.from_dict(document)

    def run(self, examples: int, *, all_routes: bool = False) -> Found:
        """`examples` per operation that keep to its schema, as many that do not; each by every caller."""
        for operation, name in self._operations(all_routes=all_routes):
            self.found.asked.add(name)
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                self._ask(operation, name, mode, examples)
        return self.found

    def _operations(self, *, all_routes: bool) -> Iterator[tuple[Any, str]]:
        for each in self.schema.get_all_operations():
            operation = each.ok()
            unique = operation.definition.raw["operationId"]
            name = unique if unique in self.declared else unique.rpartition(".")[0]
            if name not in LEFT_OUT and (all_routes or unique == name):
                yield operation, name

    def _ask(self, operation: Any, name: str, mode: GenerationMode, examples: int) -> None:
        chance = random.Random(f"{self.seed} {name} {mode}")

        @hypothesis.seed(chance.randrange(2**32))
        @hypothesis.settings(
            max_examples=examples, database=None, deadline=None, phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        def one(case: Any) -> None:
            if chance.random() < 0.5:
                self._aim(case, name)
            for caller in self.callers:
                self._send(case, name, caller)

        try:
            one()
        except HypothesisException:
            return  # there is nothing that such an operation forbids

    def _aim(self, case: Any, name: str) -> None:
        """At an object that is there, wherever the request names one."""
        real = {k: v for k, v in fields_of(self.declared[name], self.planted).items() if v not in ("something", 1)}
        for part in (case.path_parameters, case.query, case.body):
            if isinstance(part, dict):
                part.update({k: v for k, v in real.items() if k in part and isinstance(v, str)})

    def _send(self, case: Any, name: str, caller: Person) -> None:
        try:
            answer = case.call(
                base_url=self.url, session=self.http, timeout=60, allow_redirects=False,
                headers={"authorization": f"Bearer {caller.token}"},
            )  # fmt: skip
        except (InvalidURL, InvalidHeader, UnicodeError):
            return  # no client can say it
        status = answer.status_code
        self.found.statuses[status] += 1
        if status < 300 and caller.name == "admin":
            self.found.answered.add(name)
        said = f"{caller.name}: {case.method} {answer.request.url[:400]} {str(answer.request.body)[:600]} -> {status} {answer.content[:400]!r}"
        if status >= 500 and status != 501 and (name, status) not in NOT_READY:
            self.found.wrong.setdefault(f"{name} {status}", said)
            return
        try:
            case.validate_response(answer, checks=CHECKS)
        except FailureGroup as group:
            for failure in group.exceptions:
                title = f"{name} {status} {type(failure).__name__}"
                self.found.wrong.setdefault(title, f"{failure} {said}")


def _plant(ctx: Any, members: dict[str, str]) -> dict[str, Any]:
    """One example of every kind, each under an example of the kind above it, all of the administrators; `members` are
    the people, who are more than their objects."""
    made: dict[str, Any] = {}
    for kind in KINDS_ONCE:
        if kind.under is None:
            made[kind.name] = objects.find(ctx, kind, "")
        elif kind.name in members:
            made[kind.name] = objects.by_id(ctx, kind, members[kind.name])
        else:
            under = made[kind.under.name]
            made[kind.name] = objects.create(ctx, kind, f"a{kind.name}", kind.example, under=under, owner="admins")
    return made


def main() -> int:
    from actors import ADMIN_TOKEN

    from lakewright.app import build, serve
    from lakewright.kernel.config import Settings
    from lakewright.kernel.socket import Server

    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--examples", type=int, default=50, help="per operation, that keep to its schema; as many do not"
    )
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    parser.add_argument("--routes", action="store_true", help="every route of an operation, not only its first")
    parser.add_argument("--postgres", action="store_true", help="on a Postgres server of its own")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", file=sys.stderr)
    database: Any = nullcontext("")
    if arguments.postgres:
        from postgres import server as postgres

        database = postgres()
    with tempfile.TemporaryDirectory() as folder, database as url:
        settings = Settings(data_dir=Path(folder) / "data", database_url=url, admin_token=ADMIN_TOKEN, port=0)  # type: ignore[arg-type]
        platform = build(settings)
        server = Server(serve(platform), settings)
        campaign = Campaign(platform, server.start(), arguments.seed)
        started = time.monotonic()
        found = campaign.run(arguments.examples, all_routes=arguments.routes)
        seconds = time.monotonic() - started
        server.stop()
        platform.stop()
    for title, said in found.wrong.items():
        print(f"{title}\n    {re.sub(chr(10), ' ', said)}", file=sys.stderr)
    print(json.dumps({
        "campaign": "schemas", "seed": arguments.seed, "requests": sum(found.statuses.values()), "seconds": round(seconds, 1),
        "operations": len(found.asked), "answered": len(found.answered), "wrong": len(found.wrong),
        "statuses": dict(sorted(found.statuses.items())),
    }))  # fmt: skip
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())

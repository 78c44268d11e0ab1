"""Provisioning: what an identity provider with ten thousand people costs, and what hostile payloads break (nothing).

    make bench BENCH=provisioning [BENCH_ARGS="--people 10000 --payloads 20000 --seed 1"]

Pages, filters and changes of one resource are timed over a socket. Then random resources, PATCH paths, filters and
orders go through the same operations in the process: each is answered or refused by name, never by a failure, and what
filters look up is still what the resources say.
"""

import argparse
import collections
import json
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from benchmarks import installation, load
from lakewright.app import serve
from lakewright.identity import credentials, groups, people, principals, scim_discovery, service_principals
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Fault
from lakewright.kernel.platform import Platform
from lakewright.kernel.socket import Server

OPERATIONS: dict[str, Any] = {"user": people, "group": groups, "servicePrincipal": service_principals}
NAMED = {"user": "userName", "group": "displayName", "servicePrincipal": "displayName"}
PATCH = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--payloads", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    platform = installation.fresh()
    figures = timed(platform, arguments.people)
    platform.stop()
    platform = installation.fresh()
    outcome = hostile(platform, arguments.seed, arguments.payloads)
    platform.stop()
    for line in outcome.broken[:20]:
        print(line)
    print(f"{arguments.payloads} hostile payloads: {dict(outcome.answers)}")
    load.report(
        benchmark="provisioning", people=arguments.people, **figures, payloads=arguments.payloads,
        accepted=outcome.answers["accepted"], broken=len(outcome.broken),
    )  # fmt: skip


# what it costs


def timed(platform: Platform, count: int) -> dict[str, float]:
    """Milliseconds, the median of five, over a socket and one kept connection."""
    began = time.perf_counter()
    for start in range(0, count, 500):
        platform.transact(lambda ctx, start=start: _people(ctx, range(start, min(start + 500, count))))
    made = (time.perf_counter() - began) / count * 1000
    admin = platform.snapshot(lambda ctx: ctx.id_of("admin"))
    token = platform.transact(
        lambda ctx: credentials.issue(ctx, admin, "personal", lifetime_seconds=3600, comment="bench").secret
    )
    server = Server(serve(platform), platform.settings)
    url = server.start()
    with httpx.Client(
        base_url=f"{url}/api/2.0/preview/scim/v2", headers={"authorization": f"Bearer {token}"}, timeout=120
    ) as client:
        ids = [each["id"] for each in client.get("/Users?attributes=id").json()["Resources"]]
        group = client.post("/Groups", json={"displayName": "everybody else"}).json()["id"]
        one, values = f"/Users/{ids[7]}", [{"value": each} for each in ids]
        change = lambda **operation: {**PATCH, "Operations": [operation]}
        last = f"/Users?count=100&startIndex={max(count - 99, 1)}"
        figures = {
            "whole_ms": _median(lambda: client.get("/Users")),
            "last_page_ms": _median(lambda: client.get(last)),
            "by_name_ms": _median(lambda: client.get('/Users?filter=userName eq "u77@example.com"')),
            "by_value_filter_ms": _median(
                lambda: client.get('/Users?count=100&filter=emails[type eq "work" and value sw "u99"]')
            ),
            "sorted_page_ms": _median(lambda: client.get("/Users?count=100&sortBy=name.familyName")),
            "patch_person_ms": _median(
                lambda: client.patch(one, json=change(op="replace", path="title", value=str(time.time())))
            ),
            "fill_group_ms": _median(
                lambda: client.patch(
                    f"/Groups/{group}?attributes=id", json=change(op="replace", path="members", value=values)
                ),
                times=1,
            ),
            "member_out_ms": _median(
                lambda: client.patch(
                    f"/Groups/{group}?attributes=id",
                    json=change(op="remove", path=f'members[value eq "{ids[random.randrange(len(ids))]}"]'),
                )
            ),
        }
    server.stop()
    return {"make_person_ms": round(made, 2)} | {name: round(value, 1) for name, value in figures.items()}


def _people(ctx: Ctx, numbers: range) -> None:
    from lakewright.identity import scim_schemas

    for n in numbers:
        profile = {
            "name": {"givenName": f"G{n}", "familyName": f"F{n % 500}"}, "displayName": f"Person {n}", "title": "engineer",
            "emails": [{"value": f"u{n}@example.com", "type": "work", "primary": True}],
        }  # fmt: skip
        data = {**profile, "userName": f"u{n}@example.com", "externalId": f"e{n}"}
        texts = list(scim_schemas.texts(scim_schemas.Person, data))
        spec = people.User(external_id=f"e{n}", profile=profile)
        principals.create(ctx, people.USER, "user", f"u{n}@example.com", f"Person {n}", spec, texts=texts)


def _median(ask: Callable[[], httpx.Response], times: int = 5) -> float:
    taken: list[float] = []
    for _ in range(times):
        began = time.perf_counter()
        ask().raise_for_status()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


# what hostile payloads break


@dataclass
class Outcome:
    answers: collections.Counter[str] = field(default_factory=collections.Counter[str])
    broken: list[str] = field(default_factory=list[str])


def hostile(platform: Platform, seed: int, payloads: int) -> Outcome:
    """Random requests of an administrator; what was broken, in words."""
    return Hostile(platform, seed).run(payloads)


class Hostile:
    def __init__(self, platform: Platform, seed: int) -> None:
        from scim2_models import Path

        from lakewright.identity.scim_schemas import MODELS

        self.platform, self.dice, self.outcome = platform, random.Random(seed), Outcome()
        self.admin = platform.snapshot(lambda ctx: ctx.id_of("admin"))
        self.paths = {kind: [str(each) for each in Path[model].iter_paths()] for kind, model in MODELS.items()}
        self.living: dict[str, list[str]] = {kind: [] for kind in OPERATIONS}
        self.scalars: list[Any] = [
            None, True, False, 0, -1, 1.5, 10**18, "", " ", "x", "bob@example.com", "true", "False", "e\u0301", "'", '"',
            "%", "2020-01-01T00:00:00Z", "urn:x:y", "a" * 600, "admins", "users", self.admin, [], {}, [[]], [{}],
            {"value": "x"}, [{"value": "x", "type": "work", "primary": True}], [{"value": self.admin}],
            {"givenName": "A"}, [None], {"$ref": None}, "http://x/y", {"a": {"b": {"c": 1}}},
        ]  # fmt: skip

    def run(self, payloads: int) -> Outcome:
        for _ in range(payloads):
            kind = self.dice.choice(list(OPERATIONS))
            act = self.dice.choices(
                (self.create, self.replace, self.patch, self.list, self.delete), (25, 15, 40, 15, 5)
            )[0]  # fmt: skip
            act(kind, OPERATIONS[kind])
        for kind in OPERATIONS:
            self.check(kind)
        return self.outcome

    # requests

    def create(self, kind: str, operations: Any) -> None:
        made = self.call(operations.create, **{k: v for k, v in self.resource(kind).items() if k != "id"})
        if made is not None:
            self.living[kind].append(made["id"])

    def replace(self, kind: str, operations: Any) -> None:
        self.call(operations.replace, **{**self.resource(kind), "id": self.one(kind)})

    def patch(self, kind: str, operations: Any) -> None:
        changes: list[dict[str, Any]] = []
        for _ in range(self.dice.randint(1, 3)):
            change: dict[str, Any] = {"op": self.dice.choice(["add", "replace", "remove", "Add", "REMOVE", "move"])}
            if self.dice.random() < 0.7:
                change["path"] = self.path(kind)
            if self.dice.random() < 0.85:
                change["value"] = self.value() if self.dice.random() < 0.7 else self.resource(kind)
            changes.append(change)
        self.call(operations.patch, id=self.one(kind), Operations=changes)

    def list(self, kind: str, operations: Any) -> None:
        path, asked = self.path(kind), dict[str, Any]()
        if self.dice.random() < 0.7:
            operand = json.dumps(self.dice.choice([None, True, 1, 1.5, "x", "2020-01-01T00:00:00Z"]))
            asked["filter"] = self.dice.choice([
                self.comparison(), f"{path} pr", f"not ({path} pr) or {self.comparison()}",
                f"{path} {self.dice.choice(['eq', 'ne', 'co', 'gt'])} {operand}",
            ])  # fmt: skip
        if self.dice.random() < 0.3:
            asked |= {"sortBy": str(self.path(kind)), "sortOrder": self.dice.choice(["ascending", "DESCENDING", "x"])}
        if self.dice.random() < 0.3:
            asked[self.dice.choice(["attributes", "excludedAttributes"])] = str(self.path(kind))
        self.call(self.dice.choice([operations.list_, operations.search, scim_discovery.search]), **asked)

    def delete(self, kind: str, operations: Any) -> None:
        if len(self.living[kind]) > 5:
            self.call(operations.delete, id=self.living[kind].pop(self.dice.randrange(len(self.living[kind]))))

    def call(self, operation: Any, **fields: Any) -> Any:
        try:
            answer = self.platform.call(self.admin, operation, **fields)
        except Fault as fault:
            self.outcome.answers[str(fault.status)] += 1
            if fault.status >= 500 and fault.status != 501:
                self.outcome.broken.append(f"{operation.audit} {fields}: {fault}")
            return None
        except Exception as error:
            self.outcome.broken.append(f"{operation.audit} {fields}: {error!r}")
            return None
        self.outcome.answers["accepted"] += 1
        return getattr(answer, "body", answer)

    def check(self, kind: str) -> None:
        """What filters look up is what the resources say."""
        from lakewright.identity import scim_schemas

        model = scim_schemas.MODELS[kind]
        for each in self.living[kind]:
            shown = self.call(OPERATIONS[kind].get, id=each, excludedAttributes="members")
            if shown is None:
                self.outcome.broken.append(f"{kind} {each} cannot be read any more")
                continue
            resource = model.model_validate({**shown, "members": None} if kind == "group" else shown)
            said = {tuple(text) for text in scim_schemas.texts(model, scim_schemas.stored(resource))}
            rows = self.platform.snapshot(
                lambda ctx, each=each: ctx.tx.all("SELECT * FROM scim_values WHERE principal_id = ?", each)
            )
            kept = {(row["path"], row["entry"], row["head"], row["text"]) for row in rows}
            if any(text[0] != "displayname" for text in said ^ kept):  # a name stands in for a missing one
                self.outcome.broken.append(f"{kind} {each}: filters see {sorted(said ^ kept)}")

    # payloads

    def one(self, kind: str) -> str:
        return self.dice.choice(self.living[kind]) if self.living[kind] else self.admin

    def value(self, depth: int = 2) -> Any:
        kind = self.dice.random() if depth else 1.0
        if kind < 0.2:
            return [self.value(depth - 1) for _ in range(self.dice.randint(0, 3))]
        if kind < 0.4:
            names = ["value", "type", "primary", "display", "$ref", "givenName", "x", "VALUE", "members", "active"]
            return {self.dice.choice(names): self.value(depth - 1) for _ in range(self.dice.randint(0, 3))}
        return self.dice.choice(self.scalars)

    def comparison(self) -> str:
        name = self.dice.choice(["value", "type", "primary", "display", "x", "userName", "emails", "meta.created"])
        operand = json.dumps(self.dice.choice([None, True, 1, "x", self.admin, "2020-01-01T00:00:00Z"]))
        return f"{name} {self.dice.choice(['eq', 'ne', 'co', 'sw', 'ew', 'gt', 'le', 'pr', 'xx'])} {operand}"

    def path(self, kind: str) -> str | None:
        shape = self.dice.random()
        base = self.dice.choice([*self.paths[kind], "nothing", "members", "password", "urn:x", "schemas", "id", "meta"])
        if shape < 0.5:
            return base
        if shape < 0.8:
            return f"{base.split('.')[0]}[{self.comparison()}]{self.dice.choice(['', '.value', '.type', '.x'])}"
        if shape < 0.9:
            return base.upper()
        return self.dice.choice([None, "", " ", ".", "[", "a[b", "members[", 'members[value eq "x"', "a.b.c", "\u00e9"])

    def resource(self, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in range(self.dice.randint(0, 5)):
            name = self.dice.choice([*self.paths[kind], "nothing", "password", "owner"])
            name = name if self.dice.random() < 0.1 else name.split(".")[0].rpartition(":")[2]
            found[self.dice.choice([name, name, name.upper()])] = self.value()
        if self.dice.random() < 0.8:
            found[NAMED[kind]] = f"n{self.dice.randint(0, 40)}"
        if self.dice.random() < 0.3:
            found["schemas"] = self.value()
        return found


if __name__ == "__main__":
    main()

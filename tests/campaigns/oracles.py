"""Decisions compared with two engines that know nothing of ours: Postgres' roles and privileges, and Cedar.

Random worlds of nested groups, objects, owners and grants are built here and in the oracle, changed step by step (grants
and memberships given and taken back, owners exchanged), and after every step all decisions of the step are compared.
What is written here of the meaning of a right is written again, by hand, from the documentation: nothing of it is read
from the kernel.

    PYTHONPATH=tests python -m campaigns.oracles --decisions 100000
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lakewright.app import build
from lakewright.catalog import catalogs, schemas, tables
from lakewright.identity import groups as groups_api
from lakewright.identity import people as people_api
from lakewright.identity import principals
from lakewright.jobs.kind import JOB
from lakewright.kernel import grants, objects
from lakewright.kernel.clock import ManualClock
from lakewright.kernel.config import Settings
from lakewright.kernel.context import Ctx
from lakewright.kernel.kinds import KINDS
from lakewright.kernel.platform import Platform
from lakewright.kernel.roots import METASTORE, WORKSPACE
from lakewright.kernel.rules import Rule
from lakewright.tracking.experiments import EXPERIMENT
from lakewright.workspace.folders import ITEM

Decision = tuple[str, str, str]
"""Who, what they would do, to which object."""
Verdicts = dict[Decision, bool]


@dataclass(frozen=True)
class Change:
    """`grant` and `revoke` of a right on an object, `own` of an object, `join` and `leave` of a group."""

    what: str
    where: str
    who: str
    right: str = ""


class Oracle(Protocol):
    verbs: dict[str, dict[str, Callable[[], Rule]]]
    """By kind, what is compared on objects of it, and our rule for it."""
    grantable: dict[str, list[str]]
    """By kind, the rights that random grants draw from."""

    def build(self, world: "World") -> None: ...
    def apply(self, change: Change) -> None: ...
    def decide(self, asked: list[Decision]) -> Verdicts: ...


# ---- a world here


@dataclass
class World:
    """People `u…`, groups `g…` (a group is only ever in one with a smaller number), objects by name with their parents."""

    users: list[str]
    groups: list[str]
    objects: dict[str, tuple[str, str]]
    """By name: kind and parent's name; parents come first."""
    ids: dict[str, str] = field(default_factory=dict)
    members: set[tuple[str, str]] = field(default_factory=set)
    granted: set[tuple[str, str, str]] = field(default_factory=set)
    owner: dict[str, str] = field(default_factory=dict)

    @property
    def everyone(self) -> list[str]:
        return self.users + self.groups

    def above(self, name: str) -> list[str]:
        """The object and what it lies in, nearest first."""
        chain = [name]
        while (parent := self.objects[chain[-1]][1]) in self.objects:
            chain.append(parent)
        return chain

    def below(self, name: str) -> list[str]:
        return [each for each in self.objects if name in self.above(each)]


def random_changes(world: World, dice: random.Random, grantable: dict[str, list[str]], count: int) -> list[Change]:
    """Changes that each change something; half of the time something is taken back."""
    found: list[Change] = []
    held = sorted(world.granted)
    while len(found) < count:
        roll = dice.random()
        if roll < 0.35 and held:
            where, who, right = held.pop(dice.randrange(len(held)))
            found.append(Change("revoke", where, who, right))
            world.granted.discard((where, who, right))
        elif roll < 0.75:
            where = dice.choice(list(world.objects))
            right = dice.choice(grantable[world.objects[where][0]])
            who = dice.choice(world.everyone)
            if (where, who, right) not in world.granted:
                world.granted.add((where, who, right))
                found.append(Change("grant", where, who, right))
        elif roll < 0.87:
            where = dice.choice([name for name, (_, parent) in world.objects.items() if parent])
            world.owner[where] = dice.choice(world.everyone)
            found.append(Change("own", where, world.owner[where]))
        else:
            found += _membership(world, dice)
    return found


def _membership(world: World, dice: random.Random) -> list[Change]:
    if world.members and dice.random() < 0.45:
        edge = dice.choice(sorted(world.members))
        world.members.discard(edge)
        return [Change("leave", *edge)]
    group = dice.choice(world.groups)
    inner = [g for g in world.groups if int(g[1:]) > int(group[1:])]
    edge = (group, dice.choice(world.users + inner))
    if edge in world.members:
        return []
    world.members.add(edge)
    return [Change("join", *edge)]


# ---- the same world on the platform


class Ours:
    def __init__(self, platform: Platform, world: World, mark: str) -> None:
        self._platform, self._world, self._mark = platform, world, mark
        self._admin = platform.snapshot(lambda ctx: ctx.id_of("admin"))
        for name in world.users:
            world.ids[name] = platform.call(self._admin, people_api.create, userName=f"{mark}{name}").body["id"]
        for name in world.groups:
            world.ids[name] = platform.call(self._admin, groups_api.create, displayName=f"{mark}{name}").body["id"]
        platform.transact(self._plant, self._admin)

    def _plant(self, ctx: Ctx) -> None:
        for name, (kind, parent) in self._world.objects.items():
            if not parent:
                self._world.ids[name] = objects.find(ctx, KINDS[kind], "").id
                continue
            under_kind = KINDS[self._world.objects[parent][0]]
            under = (
                objects.find(ctx, under_kind, "") if under_kind.under is None
                else objects.by_id(ctx, under_kind, self._world.ids[parent])
            )  # fmt: skip
            called = f"{self._mark}{name}".replace(".", "_")
            made = objects.create(ctx, KINDS[kind], called, KINDS[kind].example, under=under, owner="admins")
            self._world.ids[name] = made.id

    def apply(self, changes: Iterable[Change]) -> None:
        self._platform.transact(lambda ctx: [self._one(ctx, change) for change in changes], self._admin)

    def _one(self, ctx: Ctx, change: Change) -> None:
        ids = self._world.ids
        if change.what in ("join", "leave"):
            act = principals.add_member if change.what == "join" else principals.remove_member
            act(ctx, ids[change.where], ids[change.who])
            return
        kind = KINDS[self._world.objects[change.where][0]]
        obj = objects.by_id(ctx, kind, ids[change.where]) if kind.under else objects.find(ctx, kind, "")
        if change.what == "own":
            objects.set_owner(ctx, obj, ids[change.who])
        else:
            side = {"add" if change.what == "grant" else "remove": [change.right]}
            grants.change(ctx, obj, ids[change.who], **side)

    def decide(self, asked: list[Decision], verbs: dict[str, dict[str, Callable[[], Rule]]]) -> Verdicts:
        def judge(ctx: Ctx) -> Verdicts:
            seen = {who: ctx.as_principal(self._world.ids[who]) for who in {d[0] for d in asked}}
            rules = {(kind, verb): rule() for kind, each in verbs.items() for verb, rule in each.items()}
            return {
                (who, verb, name): bool(
                    rules[self._world.objects[name][0], verb].judge(seen[who], self._world.ids[name])
                )
                for who, verb, name in asked
            }

        return self._platform.snapshot(judge)


# ---- Postgres


class Postgres:
    """Catalogs and schemas are schemas, tables tables, principals roles, groups roles granted to their members.

    What Postgres does not have is put into roles: a grant on something above is membership in a role that holds the
    privilege on all that lies below, and managing something lets one use what lies in it (but read none of it).
    """

    def __init__(self, url: str, live: int = 0, seed: int = 0) -> None:
        import psycopg

        self._connection = psycopg.connect(url, autocommit=True)
        self._live, self._dice = live, random.Random(seed)
        self.grantable = {
            "metastore": ["USE_CATALOG", "USE_SCHEMA", "SELECT", "MODIFY", "ALL_PRIVILEGES", "MANAGE"],
            "catalog": ["USE_CATALOG", "USE_CATALOG", "USE_SCHEMA", "SELECT", "MODIFY", "ALL_PRIVILEGES", "MANAGE"],
            "schema": ["USE_SCHEMA", "USE_SCHEMA", "SELECT", "MODIFY", "ALL_PRIVILEGES", "MANAGE"],
            "table": ["SELECT", "SELECT", "MODIFY", "ALL_PRIVILEGES", "MANAGE"],
        }
        self.verbs: dict[str, dict[str, Callable[[], Rule]]] = {
            "catalog": {"enter": lambda: catalogs.IN_CATALOG},
            "schema": {"enter": lambda: schemas.REACH},
            "table": {"read": lambda: tables.READ, "write": lambda: tables.WRITE},
        }

    def build(self, world: World) -> None:
        self._world = world
        self._mark = f"w{self._dice.randrange(10**9)}"
        statements = [f"CREATE ROLE {self._role(p)}" for p in world.everyone]
        for name, (kind, _) in world.objects.items():
            if kind in ("catalog", "schema"):
                statements.append(f"CREATE SCHEMA {self._at(name)}")
                statements.append(f"CREATE TABLE {self._at(name)}.door (x int)")
                statements.append(f"GRANT SELECT ON {self._at(name)}.door TO PUBLIC")
            elif kind == "table":
                statements.append(f"CREATE TABLE {self._at(name)} (x int)")
        for name, (kind, _) in world.objects.items():
            for right in {*self.grantable[kind], "BOSS"}:
                role = self._bundle(name, right)
                statements.append(f"CREATE ROLE {role}")
                statements += [f"GRANT {what} TO {role}" for what in self._carries(name, right)]
        self._run(statements)

    def _carries(self, name: str, right: str) -> Iterator[str]:
        """What of Postgres' privileges a right on an object amounts to, on everything at or below it."""
        for below in self._world.below(name):
            kind, at = self._world.objects[below][0], self._at(below)
            usable = {"catalog": "USE_CATALOG", "schema": "USE_SCHEMA"}.get(kind)
            if usable and right in (usable, "ALL_PRIVILEGES", "MANAGE", "BOSS"):
                yield f"USAGE ON SCHEMA {at}"
            if kind == "table" and right in ("SELECT", "ALL_PRIVILEGES"):
                yield f"SELECT ON {at}"
            if kind == "table" and right in ("MODIFY", "ALL_PRIVILEGES"):
                yield f"UPDATE ON {at}"

    def apply(self, change: Change) -> None:
        who = self._role(change.who)
        if change.what == "join":
            self._run([f"GRANT {self._role(change.where)} TO {who}"])
        elif change.what == "leave":
            self._run([f"REVOKE {self._role(change.where)} FROM {who}"])
        elif change.what == "grant":
            self._run([f"GRANT {self._bundle(change.where, change.right)} TO {who}"])
        elif change.what == "revoke":
            self._run([f"REVOKE {self._bundle(change.where, change.right)} FROM {who}"])
        else:
            self._hand_over(change.where, who)

    def _hand_over(self, name: str, who: str) -> None:
        boss = self._bundle(name, "BOSS")
        rows = self._connection.execute(
            "SELECT m.rolname FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member"
            " WHERE r.rolname = %s", [boss],
        ).fetchall()  # fmt: skip
        what = "TABLE" if self._world.objects[name][0] == "table" else "SCHEMA"
        self._run([
            *(f"REVOKE {boss} FROM {row[0]}" for row in rows), f"GRANT {boss} TO {who}",
            f"ALTER {what} {self._at(name)} OWNER TO {who}",
        ])  # fmt: skip

    def decide(self, asked: list[Decision]) -> Verdicts:
        found: Verdicts = {}
        with self._connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("CREATE TEMP TABLE asked (n int, who text, uses text[], at text, verb text) ON COMMIT DROP")
            with cursor.copy("COPY asked FROM STDIN") as copy:
                for n, (who, verb, name) in enumerate(asked):
                    uses = [
                        self._at(each) for each in self._world.above(name) if self._kind(each) in ("catalog", "schema")
                    ]
                    at = self._at(name) if verb != "enter" else None
                    right = {"read": "SELECT", "write": "UPDATE"}.get(verb)
                    copy.write_row((n, self._role(who), uses, at, right))
            rows = cursor.execute(
                "SELECT n, (SELECT bool_and(has_schema_privilege(who, u, 'USAGE')) FROM unnest(uses) u)"
                " AND (at IS NULL OR has_table_privilege(who, at, verb)) FROM asked ORDER BY n"
            ).fetchall()
            cursor.execute("COMMIT")
        for n, allowed in rows:
            found[asked[n]] = bool(allowed)
        for decision in self._dice.sample(asked, min(self._live, len(asked))):
            if decision[1] != "write":
                assert found[decision] == self._tried(decision), decision
        return found

    def _tried(self, decision: Decision) -> bool:
        """Really doing it, as that role."""
        import psycopg.errors

        who, verb, name = decision
        doors = [f"{self._at(e)}.door" for e in self._world.above(name) if self._kind(e) in ("catalog", "schema")]
        source = ", ".join([*doors, self._at(name)] if verb == "read" else doors)
        try:
            with self._connection.transaction():
                self._connection.execute(f"SET LOCAL ROLE {self._role(who)}")
                self._connection.execute(f"SELECT 1 FROM {source}")
        except psycopg.errors.InsufficientPrivilege:
            return False
        return True

    def _run(self, statements: list[str]) -> None:
        if statements:
            self._connection.execute(";".join(statements))

    def _kind(self, name: str) -> str:
        return self._world.objects[name][0]

    def _role(self, principal: str) -> str:
        return f"{self._mark}_{principal}"

    def _bundle(self, name: str, right: str) -> str:
        return f"{self._mark}_on_{name.replace('.', '_')}_{right.lower()}"

    def _at(self, name: str) -> str:
        kind = self._kind(name)
        if kind == "table":
            parent, _, own = name.rpartition(".")
            return f"{self._at(parent)}.{own}"
        return f"{self._mark}_{name.replace('.', '_')}"


# ---- Cedar

WEAKEST_FIRST = {
    "workspace_object": ["CAN_READ", "CAN_RUN", "CAN_EDIT", "CAN_MANAGE"],
    "experiment": ["CAN_READ", "CAN_EDIT", "CAN_MANAGE"],
    "job": ["CAN_VIEW", "CAN_MANAGE_RUN", "CAN_MANAGE"],
}
ALONE = {
    "catalog": ["USE_CATALOG", "CREATE_SCHEMA", "BROWSE"],
    "schema": ["USE_SCHEMA", "CREATE_TABLE", "CREATE_MODEL"],
    "table": ["SELECT", "MODIFY"],
}
NOT_IN_ALL = {"schema": ["EXTERNAL_USE_SCHEMA"]}


class Cedar:
    """Each grant is one policy; what a right implies is a hierarchy of actions, what lies in what one of resources."""

    def __init__(self) -> None:
        lists = {**WEAKEST_FIRST, **ALONE}
        lists["schema"] = lists["schema"] + NOT_IN_ALL["schema"]
        catalog, schema, table = (lists[k] for k in ("catalog", "schema", "table"))
        general = ["MANAGE", "ALL_PRIVILEGES"]
        self.grantable = {
            "metastore": catalog + schema + table + general, "catalog": catalog + schema + table + general,
            "schema": schema + table + general, "table": table + general,
            "workspace": [*WEAKEST_FIRST["workspace_object"], *WEAKEST_FIRST["job"], "MANAGE"],
            "workspace_object": [*WEAKEST_FIRST["workspace_object"], "MANAGE"],
            "experiment": [*WEAKEST_FIRST["experiment"], "MANAGE"], "job": [*WEAKEST_FIRST["job"], "MANAGE"],
        }  # fmt: skip
        self.verbs: dict[str, dict[str, Callable[[], Rule]]] = {
            kind: {
                right: (lambda kind=kind, right=right: _plain(kind, right)) for right in (*rights, "MANAGE", "OWNER")
            }
            for kind, rights in lists.items()
        }
        self._entities: list[dict[str, Any]] = []

    def build(self, world: World) -> None:
        self._world = world
        self._members: set[tuple[str, str]] = set()
        self._granted: set[tuple[str, str, str]] = set()
        self._owner: dict[str, str] = {}

    def apply(self, change: Change) -> None:
        if change.what == "join":
            self._members.add((change.where, change.who))
        elif change.what == "leave":
            self._members.discard((change.where, change.who))
        elif change.what == "grant":
            self._granted.add((change.where, change.who, change.right))
        elif change.what == "revoke":
            self._granted.discard((change.where, change.who, change.right))
        else:
            self._owner[change.where] = change.who

    def decide(self, asked: list[Decision]) -> Verdicts:
        import cedarpy

        requests = [
            {
                "principal": f'Who::"{who}"',
                "action": f'Action::"{self._world.objects[name][0]} {verb}"',
                "resource": f'Thing::"{name}"',
                "context": {},
            }
            for who, verb, name in asked
        ]
        answers = cedarpy.is_authorized_batch(requests, self._policies(), self._all_entities())
        wrong = [a.diagnostics.errors for a in answers if a.diagnostics.errors]
        assert not wrong, wrong[:3]
        return {d: a.decision == cedarpy.Decision.Allow for d, a in zip(asked, answers, strict=True)}

    def _policies(self) -> str:
        policies = [
            f'permit(principal in Who::"{who}", action in Action::"granted {right}", resource in Thing::"{where}");'
            for where, who, right in sorted(self._granted)
        ]
        for where, who in sorted(self._owner.items()):
            policies.append(f'permit(principal in Who::"{who}", action, resource == Thing::"{where}");')
            policies.append(
                f'permit(principal in Who::"{who}", action in Action::"of whoever owns what is above",'
                f' resource in Thing::"{where}");'
            )
        return "\n".join(policies)

    def _all_entities(self) -> list[dict[str, Any]]:
        world = self._world
        found = [
            _entity("Who", who, [("Who", group) for group, member in self._members if member == who])
            for who in world.everyone
        ]
        found += [
            _entity("Thing", name, [("Thing", parent)] if parent else []) for name, (_, parent) in world.objects.items()
        ]
        return found + self._actions()

    def _actions(self) -> list[dict[str, Any]]:
        def action(kind: str, verb: str, granted: list[str], *, from_above: bool) -> dict[str, Any]:
            parents = [f"granted {right}" for right in granted]
            parents += ["of whoever owns what is above"] if from_above else []
            return _entity("Action", f"{kind} {verb}", [("Action", p) for p in parents])

        found: list[dict[str, Any]] = []
        for kind, levels in WEAKEST_FIRST.items():
            for at, level in enumerate(levels):
                found.append(action(kind, level, levels[at:], from_above=True))
        for kind, rights in ALONE.items():
            found += [action(kind, right, [right, "ALL_PRIVILEGES"], from_above=False) for right in rights]
        for kind, rights in NOT_IN_ALL.items():
            found += [action(kind, right, [right], from_above=False) for right in rights]
        for kind in (*WEAKEST_FIRST, *ALONE):
            found.append(action(kind, "MANAGE", ["MANAGE", "CAN_MANAGE"], from_above=True))
            found.append(action(kind, "OWNER", [], from_above=False))
        return found


def _entity(kind: str, name: str, parents: list[tuple[str, str]]) -> dict[str, Any]:
    above = [{"type": t, "id": i} for t, i in parents]
    return {"uid": {"type": kind, "id": name}, "attrs": {}, "parents": above}


def _plain(kind: str, right: str) -> Rule:
    """Our rule for the right alone, without what it takes to get that far."""
    from lakewright.kernel.rules import MANAGE, OWNER

    return {"MANAGE": MANAGE, "OWNER": OWNER, **KINDS[kind].rights}[right]


# ---- the campaign


def catalog_world(users: int, groups: int) -> World:
    things: dict[str, tuple[str, str]] = {"m": ("metastore", "")}
    for c in "ab":
        things[c] = ("catalog", "m")
        for s in "xy":
            things[f"{c}.{s}"] = ("schema", c)
            things |= {f"{c}.{s}.t{n}": ("table", f"{c}.{s}") for n in range(3)}
    return World([f"u{i}" for i in range(users)], [f"g{i}" for i in range(groups)], things)


def whole_world(users: int, groups: int) -> World:
    world = catalog_world(users, groups)
    world.objects |= {
        "w": ("workspace", ""),
        "team": ("workspace_object", "w"),
        "team.in": ("workspace_object", "team"),
    }
    world.objects |= {f"team.in.e{n}": ("experiment", "team.in") for n in range(2)}
    world.objects |= {"team.e": ("experiment", "team"), "j1": ("job", "w"), "j2": ("job", "w")}
    return world


assert {JOB.name, EXPERIMENT.name, ITEM.name, METASTORE.name, WORKSPACE.name} <= set(KINDS)


@dataclass
class Outcome:
    decisions: int = 0
    allowed: int = 0
    changes: int = 0
    disagreements: list[str] = field(default_factory=list)


def compare(
    platform: Platform, oracle: Oracle, world: World, dice: random.Random, *, mark: str, decisions: int
) -> Outcome:
    """One world, changed until so many decisions were compared; each group of changes takes something back."""
    ours, outcome = Ours(platform, world, mark), Outcome()
    oracle.build(world)
    first = True
    while outcome.decisions < decisions:
        changes = random_changes(world, dice, oracle.grantable, 200 if first else 15)
        first = False
        ours.apply(changes)
        for change in changes:
            oracle.apply(change)
        asked = [
            (who, verb, name)
            for who in world.everyone
            for name, (kind, _) in world.objects.items()
            for verb in oracle.verbs.get(kind, ())
        ]
        theirs, mine = oracle.decide(asked), ours.decide(asked, oracle.verbs)
        outcome.disagreements += [f"{d}: ours {mine[d]}, theirs {theirs[d]}" for d in asked if mine[d] != theirs[d]]
        outcome.decisions += len(asked)
        outcome.allowed += sum(mine.values())
        outcome.changes += len(changes)
        if outcome.disagreements:
            break
    # The roots are shared by all worlds of a platform: what was granted on them goes with the world.
    ours.apply([Change("revoke", *each) for each in sorted(world.granted)])
    return outcome


@contextmanager
def a_platform() -> Iterator[Platform]:
    with tempfile.TemporaryDirectory() as folder:
        built = build(Settings(data_dir=Path(folder) / "data", port=0), ManualClock())
        yield built
        built.stop()


def main() -> int:
    from postgres import server  # tests/postgres.py

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--decisions", type=int, default=100_000, help="at least so many with each oracle")
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    with a_platform() as platform, server() as url:
        for name, oracle, made in (
            ("Postgres", Postgres(url, live=20, seed=given.seed), catalog_world),
            ("Cedar", Cedar(), whole_world),
        ):
            dice, total, began, worlds = random.Random(given.seed), Outcome(), time.monotonic(), 0
            while total.decisions < given.decisions and not total.disagreements:
                worlds += 1
                world = made(users=10, groups=6)
                one = compare(
                    platform, oracle, world, dice, mark=f"{name[0].lower()}{worlds}", decisions=given.decisions // 8
                )
                total.decisions += one.decisions
                total.allowed += one.allowed
                total.changes += one.changes
                total.disagreements += one.disagreements
            print(
                f"{name}: {total.decisions} decisions in {worlds} worlds, {total.allowed} allowed, {total.changes} changes,"
                f" {len(total.disagreements)} disagreements, {time.monotonic() - began:.0f} s"
            )
            for each in total.disagreements[:20]:
                print("  ", each)
            if total.disagreements:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

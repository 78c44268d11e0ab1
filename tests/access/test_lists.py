"""Lists show exactly what the caller may see, in full pages, also when that is ten of ten thousand."""

import random

import pytest
from access.test_explain import random_world, shuffle

from lakewright.kernel import grants, objects
from lakewright.kernel.kinds import KINDS
from lakewright.kernel.rules import MANAGE, OWNER
from lakewright.tracking.experiments import EXPERIMENT
from lakewright.workspace import folders

MANY = 10_000


@pytest.fixture
def ten_thousand(platform, people):
    """Experiments of the administrators; bob may read ten of them, spread over the whole."""
    bob = people.person("bob")

    def plant(ctx):
        folder = folders.make_folders(ctx, "team")
        numbers = [1_000_000 + n for n in range(MANY)]
        names = [f"team/e{n:05}" for n in range(MANY)]
        spec = EXPERIMENT.example.model_dump_json()
        ctx.tx.many(
            f"INSERT INTO objects ({objects.COLUMNS}) VALUES (?, 'experiment', ?, ?, ?, ?, 'admins', ?, 1, 1, 'admins', 1, 'admins')",
            [(str(i), ctx.workspace, n[5:], n, folder.id, spec) for i, n in zip(numbers, names, strict=True)],
        )
        above = [
            row["ancestor_id"] for row in ctx.tx.all("SELECT ancestor_id FROM ancestry WHERE object_id = ?", folder.id)
        ]
        ctx.tx.many(
            "INSERT INTO ancestry (object_id, ancestor_id, depth) VALUES (?, ?, ?)",
            [(str(i), a, d + 1) for i in numbers for d, a in enumerate(above)] + [(str(i), str(i), 0) for i in numbers],
        )
        ctx.tx.many(
            "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, creation_time,"
            " last_update_time) VALUES (?, ?, 'x', 'active', ?, ?)",
            [(i, f"/{n}", i, i) for i, n in zip(numbers, names, strict=True)],
        )
        mine = numbers[7 :: MANY // 10]
        for number in mine:
            grants.change(ctx, objects.by_id(ctx, EXPERIMENT, str(number)), bob.id, add=["CAN_READ"])
        return [str(number) for number in mine]

    return bob, platform.transact(plant, people.admin.id)


def pages(ask):
    token, found = None, []
    while True:
        said = ask(**({"page_token": token} if token else {}))
        found.append([e["experiment_id"] for e in said.get("experiments", [])])
        token = said.get("next_page_token")
        if not token:
            return found


def test_ten_of_ten_thousand_experiments_come_in_full_pages(ten_thousand, people):
    bob, mine = ten_thousand
    path = "/api/2.0/mlflow/experiments"
    for ask in (
        lambda **more: bob.do("POST", f"{path}/search", max_results=3, **more),
        lambda **more: bob.do("GET", f"{path}/list", max_results=3, **more),
        lambda **more: bob.do("POST", f"{path}/search", max_results=3, filter="name LIKE '/team/%'", **more),
    ):
        found = pages(ask)
        assert [len(page) for page in found] == [3, 3, 3, 1]
        assert sorted(e for page in found for e in page) == sorted(mine)
    assert pages(lambda **more: people.person("eve").do("POST", f"{path}/search", max_results=3, **more)) == [[]]


def test_a_thousand_random_lists_equal_the_check_of_each_object(platform, people):
    """By person, kind, rule, place and page size, with grants, revocations and new owners every hundred."""
    dice = random.Random(5)
    persons = [people.person(f"p{i}").id for i in range(5)]
    groups = [people.group(f"g{i}") for i in range(4)]
    for i, group in enumerate(groups):
        for member in dice.sample(persons, 2) + groups[i + 1 : i + 2]:
            people.join(f"g{i}", type("Member", (), {"id": member}))
    world = platform.transact(lambda ctx: random_world(ctx, dice, persons, groups), people.admin.id)
    kinds = sorted({o.kind for o in world if KINDS[o.kind].under is not None})
    shown = 0

    def one(ctx):
        kind, as_one = KINDS[dice.choice(kinds)], ctx.as_principal(dice.choice(persons))
        reached = [rule for name in kind.rights if (rule := kind.held_as(name)) is not None]
        rule = dice.choice([*kind.rights.values(), *reached, MANAGE, OWNER])
        places = [o for o in world if KINDS[o.kind] in kind.lineage()[1:]]
        under = dice.choice([None, *places])
        size = dice.choice([1, 2, 3, 100])
        token, listed, sizes = None, [], []
        while True:
            page, token = objects.page(as_one, kind, rule, under=under, size=size, token=token)
            listed += [o.id for o in page]
            sizes.append(len(page))
            if token is None:
                break
        inside = lambda o: under is None or under.id in ctx.platform.policy.chain(ctx.tx, o.id)
        home = [
            row["id"] for row in ctx.tx.all("SELECT id FROM objects WHERE kind = ? AND deleted_at IS NULL", kind.name)
        ]
        there = [o for o in (objects.by_id(ctx, kind, each) for each in home) if inside(o)]
        meant = [o.id for o in sorted(there, key=lambda o: o.full_name) if rule.judge(as_one, o.id)]
        assert listed == meant, (kind, str(rule), under)
        assert all(n == size for n in sizes[:-1]) and (sizes[-1] > 0 or len(sizes) == 1)
        return len(listed)

    for _ in range(10):
        shown += platform.snapshot(lambda ctx: sum(one(ctx) for _ in range(100)))
        platform.transact(lambda ctx: shuffle(ctx, dice, world, persons + groups), people.admin.id)
    assert shown > 300

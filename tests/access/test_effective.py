"""What the effective permissions say is what holds, on random worlds."""

import random

import pytest

from lakewright.access import privileges
from lakewright.catalog import catalogs, functions, schemas, tables, volumes
from lakewright.kernel import grants, objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.kinds import KINDS
from lakewright.kernel.roots import METASTORE

KINDS_BELOW = (tables.TABLE, volumes.VOLUME, functions.FUNCTION)


def a_world(ctx: Ctx, dice: random.Random, people: list[str], groups: list[str]) -> list:
    """Two catalogs of two schemas of one object a kind, owned by and granted to anybody."""
    metastore = objects.find(ctx, METASTORE, "")
    made = [metastore]
    for c in "ab":
        catalog = objects.create(
            ctx, catalogs.CATALOG, f"{c}{dice.randrange(10**9)}", catalogs.Catalog(), under=metastore
        )
        made.append(catalog)
        for s in "xy":
            schema = objects.create(ctx, schemas.SCHEMA, s, schemas.Schema(), under=catalog)
            made.append(schema)
            made += [objects.create(ctx, k, f"o{k.name}", k.example, under=schema) for k in KINDS_BELOW]
    for obj in made[1:]:
        if dice.random() < 0.3:
            objects.set_owner(ctx, obj, dice.choice(people + groups))
    for _ in range(40):
        obj = dice.choice(made)
        right = dice.choice(sorted(KINDS[obj.kind].grantable()))
        grants.change(ctx, obj, dice.choice(people + groups), add=[right])
    return [objects.again(ctx, obj) for obj in made[1:]]


@pytest.mark.parametrize("seed", range(8))
def test_a_privilege_is_effective_exactly_where_it_is_listed(platform, people, seed):
    dice = random.Random(seed)
    who = [people.person(name) for name in ("ann", "bob", "eve")]
    groups = [people.group(name) for name in ("g1", "g2")]
    for person in who:
        for group in ("g1", "g2"):
            if dice.random() < 0.5:
                people.join(group, person)
    ids = [p.id for p in who]
    world = platform.transact(lambda ctx: a_world(ctx.as_principal(people.admin.id), dice, ids, groups))

    def compare(ctx: Ctx) -> int:
        checked = 0
        for obj in world:
            kind = KINDS[obj.kind]
            listed = privileges.effective(ctx, obj)
            for principal in ids:
                mine = ctx.platform.policy.closure(ctx.tx, principal)
                names = {e["privilege"] for p, entries in listed.items() if p in mine for e in entries}
                for right in kind.rights.values():
                    said = bool({right.name, *right.stronger} & names) or _owns(obj, mine)
                    holds = bool(right.judge(ctx.as_principal(principal), obj.id))
                    assert said == holds, (obj.full_name, principal, right, names)
                    checked += 1
        return checked

    assert platform.snapshot(compare) > 100


def _owns(obj, mine) -> bool:
    """An owner is listed with ALL_PRIVILEGES, which for one right (EXTERNAL_USE_SCHEMA) is not the whole of ownership."""
    return obj.owner in mine

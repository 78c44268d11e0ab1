"""List equals check equals brute force, on random worlds, with revocations in between."""

import random

import pytest

from lakewright.kernel import grants, objects
from lakewright.kernel.kinds import KINDS, Kind
from lakewright.kernel.roots import METASTORE, WORKSPACE, Root
from lakewright.kernel.rules import ADMIN, MANAGE, OWNER

if "test_house" in KINDS:
    HOUSE, ROOM, DESK = KINDS["test_house"], KINDS["test_room"], KINDS["test_desk"]
else:
    HOUSE = Kind("test_house", example=Root(), under=METASTORE)
    ROOM = Kind("test_room", example=Root(), under=HOUSE)
    DESK = Kind("test_desk", example=Root(), under=WORKSPACE)
(ENTER,) = HOUSE.privileges("ENTER")
SIT, PAINT = ROOM.privileges("SIT", "PAINT")
SEE, USE, RUN = DESK.levels("SEE", "USE", "RUN")

RULES = {
    ROOM: [SIT, ENTER & SIT, ENTER & (SIT | PAINT), MANAGE, OWNER, ADMIN, ENTER & MANAGE, SIT | OWNER],
    DESK: [SEE, USE, RUN, MANAGE, OWNER, USE & MANAGE],
    HOUSE: [ENTER, MANAGE, ADMIN],
}


def world(platform, people, chance):
    """Nested groups, persons, a tree of objects, random owners and grants."""
    groups = [people.group(f"g{i}") for i in range(8)]
    persons = [people.person(f"p{i}").id for i in range(6)]

    def build(ctx):
        from lakewright.identity import principals

        for i, group in enumerate(groups):
            for member in chance.sample(groups[i + 1 :], min(2, len(groups) - i - 1)) + chance.sample(persons, 2):
                principals.add_member(ctx, group, member)
        owners = [*persons, *groups, "admins", "admins"]
        made = [objects.find(ctx, METASTORE, ""), objects.find(ctx, WORKSPACE, "")]
        for h in range(4):
            house = objects.create(ctx, HOUSE, f"h{h}", Root(), under=made[0], owner=chance.choice(owners))
            made.append(house)
            for r in range(5):
                made.append(objects.create(ctx, ROOM, f"r{r}", Root(), under=house, owner=chance.choice(owners)))
        for d in range(10):
            made.append(objects.create(ctx, DESK, f"d{d}", Root(), under=made[1], owner=chance.choice(owners)))
        return made

    return groups, persons, platform.transact(build)


def oracle(ctx, rule, obj, tables):
    """The documented meaning, spelled out slowly: no cache, no SQL conditions."""
    from lakewright.kernel.rules import Admin, Both, Either, Owner

    parents, owner, granted, up = tables
    me = closure(ctx.principal.id, up)
    if isinstance(rule, Both):
        return oracle(ctx, rule.left, obj, tables) and oracle(ctx, rule.right, obj, tables)
    if isinstance(rule, Either):
        return oracle(ctx, rule.left, obj, tables) or oracle(ctx, rule.right, obj, tables)
    if isinstance(rule, Owner):
        return owner[obj] in me
    chain = [obj]
    while parents[chain[-1]]:
        chain.append(parents[chain[-1]])
    if isinstance(rule, Admin):
        return owner[chain[-1]] in me
    if owner[obj] in me:
        return True
    if rule.from_owner_above and any(owner[above] in me for above in chain):
        return True
    return any((above, who, name) in granted for above in chain for who in me for name in rule.names)


def closure(principal, up):
    found, new = {principal}, [principal]
    while new:
        for group in up.get(new.pop(), ()):
            if group not in found:
                found.add(group)
                new.append(group)
    return found


def tables_of(ctx):
    objects_ = ctx.tx.all("SELECT id, parent_id, owner FROM objects")
    up = {}
    for row in ctx.tx.all("SELECT group_id, member_id FROM members"):
        up.setdefault(row["member_id"], []).append(row["group_id"])
    granted = {
        (r["object_id"], r["principal"], r["right"])
        for r in ctx.tx.all('SELECT object_id, principal, "right" FROM grants')
    }
    return {r["id"]: r["parent_id"] for r in objects_}, {r["id"]: r["owner"] for r in objects_}, granted, up


@pytest.mark.parametrize("seed", range(3))
def test_list_check_and_meaning_agree_through_grants_and_revocations(platform, people, seed):
    chance = random.Random(seed)
    groups, persons, made = world(platform, people, chance)
    decisions = 0
    for _ in range(12):

        def change(ctx):
            for _ in range(6):
                obj = chance.choice(made)
                rights = sorted(KINDS[obj.kind].grantable() | ({"IS_OWNER"} if KINDS[obj.kind].uses_levels else set()))
                right, who = chance.choice(rights), chance.choice(groups + persons)
                held = grants.held(ctx, obj).get(who, [])
                grants.change(ctx, obj, who, **({"remove": [right]} if right in held else {"add": [right]}))
            for obj in chance.sample(made[2:], 2):
                current = objects.again(ctx, obj)
                objects.set_owner(ctx, current, chance.choice(groups + persons))

        platform.transact(change)

        def compare(ctx):
            found = 0
            tables = tables_of(ctx)
            for person in persons:
                as_person = ctx.as_principal(person)
                for kind, rules in RULES.items():
                    for rule in rules:
                        mine = [o for o in made if o.kind == kind.name]
                        meant = {o.id for o in mine if oracle(as_person, rule, o.id, tables)}
                        checked = {o.id for o in mine if rule.judge(as_person, o.id)}
                        listed = {o.id for o in objects.visible(as_person, kind, rule)}
                        assert meant == checked == listed, (person, str(rule))
                        found += len(mine)
            return found

        decisions += platform.snapshot(compare)
    assert decisions > 5000


def test_pages_are_full_complete_and_bound_to_their_caller(platform, people):
    chance = random.Random(7)
    _, persons, made = world(platform, people, chance)
    desks = [o for o in made if o.kind == "test_desk"]
    platform.transact(lambda ctx: [grants.change(ctx, d, persons[0], add=["SEE"]) for d in desks])

    def walk(ctx):
        token, names, sizes = None, [], []
        as_person = ctx.as_principal(persons[0])
        while True:
            page, token = objects.page(as_person, DESK, SEE, size=3, token=token)
            names += [o.name for o in page]
            sizes.append(len(page))
            if token is None:
                return names, sizes
            with pytest.raises(Exception, match="page_token"):
                objects.page(ctx.as_principal(persons[1]), DESK, SEE, size=3, token=token)

    names, sizes = platform.snapshot(walk)
    assert names == sorted(d.name for d in desks)
    assert sizes == [3, 3, 3, 1]


def test_a_grant_and_its_revocation_hold_at_the_very_next_decision(platform, people):
    """Nothing else changes in between: the change of grants itself must end what was remembered."""
    bob = people.person("bob").id
    desk = platform.transact(lambda ctx: objects.create(ctx, DESK, "d", Root(), under=objects.find(ctx, WORKSPACE, "")))
    may = lambda: bool(platform.snapshot(lambda ctx: SEE.judge(ctx.as_principal(bob), desk.id)))
    assert not may()
    platform.transact(lambda ctx: grants.change(ctx, desk, bob, add=["SEE"]))
    assert may()
    platform.transact(lambda ctx: grants.change(ctx, desk, bob, remove=["SEE"]))
    assert not may()

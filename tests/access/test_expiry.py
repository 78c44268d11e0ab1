"""Grants that end by themselves."""

from lakewright.access import expiry
from lakewright.app import build
from lakewright.kernel import audit, grants, objects
from lakewright.kernel.roots import WORKSPACE
from lakewright.workspace.folders import CAN_MANAGE, CAN_READ, CAN_RUN, ITEM


def test_a_grant_ends_at_its_time_and_only_it_and_the_end_is_on_record(platform, people, settings, clock):
    bob = people.person("bob")
    make = lambda ctx: objects.create(ctx, ITEM, "team", ITEM.example, under=objects.find(ctx, WORKSPACE, ""))
    folder = platform.transact(make, people.admin.id)
    held = lambda: platform.snapshot(lambda ctx: grants.held(ctx, folder).get(bob.id, []))

    def give(right, until):
        platform.transact(lambda ctx: grants.change(ctx, folder, bob.id, add=[right], until=until), people.admin.id)

    soon, later = clock.now() + 60_000, clock.now() + 600_000
    give("CAN_READ", soon), give("CAN_RUN", soon), give("CAN_EDIT", soon)
    give("CAN_RUN", None)  # for good: the end it had is forgotten
    give("CAN_EDIT", later), give("CAN_EDIT", soon)  # longer counts; nothing is shortened by asking again
    clock.advance(59)
    expiry.tick(platform)
    assert held() == ["CAN_EDIT", "CAN_READ", "CAN_RUN"]
    give("CAN_MANAGE", clock.now() + 1000)
    may = lambda: platform.snapshot(lambda ctx: bool(CAN_MANAGE.judge(ctx, folder.id)), bob.id)
    assert may()
    clock.advance(1)
    expiry.tick(platform)
    assert held() == ["CAN_EDIT", "CAN_RUN"]
    assert not may(), "what was remembered of it ends with it"
    give("CAN_RUN", soon)
    clock.advance(600)
    platform.stop()
    again = build(settings, clock)  # the node was down when the time came
    assert again.snapshot(lambda ctx: grants.held(ctx, folder)[bob.id]) == ["CAN_RUN"]
    judged = lambda rule: again.snapshot(lambda ctx: bool(rule.judge(ctx, folder.id)), bob.id)
    assert (judged(CAN_READ), judged(CAN_RUN), judged(ITEM.rights["CAN_EDIT"])) == (True, True, False)
    rows = again.snapshot(
        lambda ctx: ctx.tx.all("SELECT address, ask, who_name FROM audit WHERE action = 'grantEnded' ORDER BY seq")
    )
    assert [("CAN_READ" in r["ask"], "CAN_EDIT" in r["ask"], "bob" in r["ask"]) for r in rows] == [
        (False, False, True), (True, False, True), (False, True, True),
    ]  # fmt: skip
    assert {(r["address"], r["who_name"]) for r in rows} == {("team", "system")}
    assert again.snapshot(lambda ctx: audit.verify(ctx.tx, again.keys.audit)) is None
    again.stop()


def test_no_decision_and_no_list_counts_a_grant_from_its_end_on_whoever_is_late_in_taking_it_away(
    platform, people, clock
):
    """Nothing runs here but the clock; what was remembered of the grant, and the listing in SQL, end with it."""
    bob, admin = people.person("bob"), people.admin.id

    def plant(ctx):
        under = objects.find(ctx, WORKSPACE, "")
        made = [objects.create(ctx, ITEM, name, ITEM.example, under=under) for name in ("soon", "later", "lasting")]
        for folder, until in zip(made, (clock.now() + 1000, clock.now() + 2000, None), strict=True):
            grants.change(ctx, folder, bob.id, add=["CAN_READ"], until=until)
        return made

    made = platform.transact(plant, admin)

    def seen(ctx):
        judged = [o.name for o in made if CAN_READ.judge(ctx, o.id)]
        listed = [o.name for o in objects.visible(ctx, ITEM, CAN_READ)]
        assert sorted(judged) == sorted(name for name in listed if name != "bob")
        return judged

    look = lambda: platform.snapshot(seen, bob.id)
    assert look() == ["soon", "later", "lasting"]
    clock.advance(0.999)
    assert look() == ["soon", "later", "lasting"]
    clock.advance(0.001)
    assert look() == ["later", "lasting"]
    clock.advance(1)
    assert look() == ["lasting"]
    again = lambda ctx: grants.change(ctx, made[0], bob.id, add=["CAN_READ"], until=clock.now() + 1000)
    platform.transact(again, admin)
    assert look() == ["soon", "lasting"]

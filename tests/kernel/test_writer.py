"""The writer commits together, undoes alone and answers last."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from lakewright.identity.people import USER, User
from lakewright.kernel import audit, objects
from lakewright.kernel.faults import AlreadyExists, Invalid
from lakewright.kernel.roots import ACCOUNT, WORKSPACE


def put(name):
    def work(turn):
        turn.tx.run("INSERT INTO meta (name, value) VALUES (?, 'x')", name)
        if "bad" in name:
            raise Invalid(name)
        if "bug" in name:
            raise ZeroDivisionError
        return name

    return work


def test_a_failing_turn_is_undone_alone(platform):
    names = [f"{kind}{i}" for i in range(60) for kind in ("good", "bad", "bug")]

    def attempt(name):
        try:
            return platform.writer.submit(put(name))
        except (Invalid, ZeroDivisionError):
            return None

    with ThreadPoolExecutor(40) as threads:
        results = list(threads.map(attempt, names))
    kept = platform.snapshot(lambda ctx: {r["name"] for r in ctx.tx.all("SELECT name FROM meta WHERE value = 'x'")})
    assert kept == {n for n in names if n.startswith("good")} == {r for r in results if r}


def test_every_request_has_its_row_and_the_chain_holds(platform, people):
    bob = people.person("bob")
    with pytest.raises(Exception, match="needs"):
        bob.client.users.create(user_name="eve")
    rows = platform.snapshot(lambda ctx: ctx.tx.all("SELECT * FROM audit ORDER BY seq"))
    refused = [r for r in rows if r["action"] == "createUser" and r["who_name"] == "bob"]
    assert [r["status"] for r in refused] == [403]
    assert platform.snapshot(lambda ctx: audit.verify(ctx.tx, platform.keys.audit)) is None


def test_a_turn_may_go_on_after_a_name_that_was_taken(platform):
    """On Postgres an error would end the transaction: a taken name must not be one."""

    def twice(ctx):
        workspace = objects.find(ctx, WORKSPACE, "")
        for _ in range(2):
            try:
                objects.create(ctx, USER, "once", User(), under=objects.find(ctx, ACCOUNT, ""))
            except AlreadyExists:
                return ctx.tx.scalar("SELECT COUNT(*) FROM objects WHERE name = 'once'"), workspace.id
        return None

    assert platform.transact(twice) == (1, platform.workspace)

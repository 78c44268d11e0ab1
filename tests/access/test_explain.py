"""Explaining access: the same answer as enforcement, by every path, to those who may ask and to nobody else."""

import random

import pytest
from databricks.sdk.errors import BadRequest, NotFound, PermissionDenied, Unauthenticated
from typer.testing import CliRunner

import lakewright.app  # noqa: F401 (declares the kinds)
from lakewright.access import explain
from lakewright.catalog import catalogs, functions, schemas, tables, volumes
from lakewright.catalog.columns import RowFilter
from lakewright.cli.main import app
from lakewright.identity import principals, workspace_access
from lakewright.jobs.kind import JOB
from lakewright.kernel import grants, objects
from lakewright.kernel.faults import Denied, Fault
from lakewright.kernel.kinds import KINDS, Target
from lakewright.kernel.roots import METASTORE, WORKSPACE
from lakewright.models.registered import REGISTERED_MODEL
from lakewright.serving.endpoints import ENDPOINT
from lakewright.tracking.experiments import EXPERIMENT
from lakewright.workspace.folders import ITEM

PATH = "/api/2.0/lakewright/access"


@pytest.fixture
def shop(people):
    """main.sales.orders of the administrator; ann reads it through a group in a group, bob manages the schema."""
    admin = people.admin.client
    admin.catalogs.create("main")
    admin.schemas.create("sales", "main")
    people.person("ann", groups=["analysts"]), people.person("bob"), people.person("eve")
    people.join("staff", type("G", (), {"id": people.group("analysts")}))
    platform = people.platform

    def build(ctx):
        sales = objects.find(ctx, schemas.SCHEMA, "main.sales")
        orders = objects.create(ctx, tables.TABLE, "orders", tables.TABLE.example, under=sales)
        staff, bob = ctx.id_of("staff"), ctx.id_of("bob")
        grants.change(ctx, objects.find(ctx, catalogs.CATALOG, "main"), staff, add=["USE_CATALOG"])
        grants.change(ctx, objects.find(ctx, catalogs.CATALOG, "main"), bob, add=["USE_CATALOG"])
        grants.change(ctx, sales, staff, add=["USE_SCHEMA", "SELECT"])
        grants.change(ctx, sales, bob, add=["MANAGE"])
        return orders

    return platform.transact(build, people.admin.id)


def ask(person, principal, thing="tables:/main.sales.orders", action="SELECT"):
    return person.do("GET", f"{PATH}/explain", principal=principal, object=thing, action=action)


def paths(explanation):
    found = list(explanation.get("paths", ()))
    for part in explanation.get("parts", ()):
        found += paths(part)
    return found


def test_the_path_is_named_from_the_person_through_each_group_to_the_object_above(people, shop):
    said = ask(people.admin, "ann")
    assert said["allowed"] is True
    by = {(p["holds"], p["on"], p["inherited"], tuple(map(tuple, p["through"]))) for p in paths(said["explanation"])}
    chain = (("ann", "analysts", "staff"),)
    assert ("SELECT", "schemas:/main.sales", True, chain) in by
    assert ("USE_CATALOG", "catalogs:/main", False, chain) in by
    assert "SELECT on schemas:/main.sales through analysts › staff" in said["because"]


def test_managing_is_not_reading_and_the_refusal_names_what_is_missing(people, shop):
    assert ask(people.admin, "bob", action="MANAGE")["allowed"] is True
    said = ask(people.admin, "bob")
    assert (said["allowed"], said["because"]) == (False, "needs SELECT on table")
    eve = ask(people.admin, "eve")
    assert eve["because"] == "needs USE_CATALOG on catalog and USE_SCHEMA on schema and SELECT on table"


def test_every_path_is_shown_and_revoking_one_leaves_the_other(people, shop):
    who = people.person("ann").id
    people.platform.transact(lambda ctx: grants.change(ctx, shop, who, add=["SELECT"]))
    on = lambda: {p["on"] for p in paths(ask(people.admin, "ann")["explanation"]) if p["holds"] == "SELECT"}
    assert on() == {"tables:/main.sales.orders", "schemas:/main.sales"}
    people.platform.transact(lambda ctx: grants.change(ctx, shop, who, remove=["SELECT"]))
    assert on() == {"schemas:/main.sales"}


def test_without_an_action_every_right_and_operation_of_the_kind_is_answered(people, shop):
    said = people.admin.do("GET", f"{PATH}/explain", principal="ann", object="tables:/main.sales.orders")
    allowed = {a["action"] for a in said["actions"] if a["allowed"]}
    assert {"SELECT", "getTable"} <= allowed
    assert not {"MODIFY", "MANAGE", "OWNER", "deleteTable"} & allowed


def test_a_row_filter_in_force_is_part_of_the_answer(people, shop):
    change = lambda ctx: objects.update(
        ctx, objects.again(ctx, shop), row_filter=RowFilter(function_name="main.sales.mine", input_column_names=[])
    )
    people.platform.transact(change)
    assert ask(people.admin, "ann")["limits"] == [{"limit": "row filter", "function": "main.sales.mine"}]


def test_one_asks_about_oneself_or_on_what_one_manages(people, shop):
    ann, bob, eve = people.person("ann"), people.person("bob"), people.person("eve")
    assert ask(ann, "me")["allowed"] is ask(ann, "ann")["allowed"] is True
    assert ask(bob, "ann")["allowed"] is True
    for asking, about in ((ann, "bob"), (eve, "ann"), (eve, "nobody at all")):
        with pytest.raises(PermissionDenied, match="MANAGE"):
            ask(asking, about)
    with pytest.raises(PermissionDenied):
        ann.do("GET", f"{PATH}/who-can", object="tables:/main.sales.orders", action="SELECT")


def test_to_a_stranger_what_is_there_and_what_is_not_are_the_same_answer(people, shop):
    eve = people.person("eve")
    same = lambda name: str(ask(eve, "me", f"tables:/main.sales.{name}")).replace(name, "?")
    assert same("orders") == same("unheard_of")
    for call in (
        lambda n: ask(eve, "ann", f"tables:/main.sales.{n}"),
        lambda n: who_can(eve, "SELECT", f"tables:/main.sales.{n}"),
    ):
        said = []
        for name in ("orders", "unheard_of"):
            with pytest.raises(PermissionDenied) as refused:
                call(name)
            said.append(str(refused.value).replace(name, "?"))
        assert said[0] == said[1]
    with pytest.raises(NotFound):
        ask(people.admin, "ann", "tables:/main.sales.unheard_of")
    for wrong in ("orders", "things:/x", "tables:main"):
        with pytest.raises(BadRequest):
            ask(people.admin, "ann", wrong)
    with pytest.raises(BadRequest, match="possible: .*SELECT"):
        ask(people.admin, "ann", action="FLY")


def who_can(person, action, thing):
    token, found = None, []
    while True:
        page = {"page_token": token} if token else {}
        said = person.do("GET", f"{PATH}/who-can", action=action, object=thing, page_size=3, **page)
        found += [p["name"] for p in said["principals"]]
        token = said.get("next_page_token")
        if token is None:
            return found


def test_who_can_names_everybody_who_may_and_nobody_else(people, shop):
    thing = "tables:/main.sales.orders"
    assert who_can(people.admin, "SELECT", thing) == ["admin", "analysts", "ann", "staff"]
    assert sorted(who_can(people.admin, "deleteTable", thing)) == ["admin", "admins", "bob"]
    people.platform.transact(lambda ctx: principals.set_active(ctx, people.person("bob").id, False), people.admin.id)
    assert "bob" not in who_can(people.admin, "deleteTable", thing)
    said = ask(people.admin, "bob", action="MANAGE")
    assert (said["allowed"], said["because"]) == (False, "bob is deactivated")


def test_whoever_may_not_enter_the_workspace_may_do_nothing_in_it(people, shop):
    unassign = lambda ctx: workspace_access.unassign(ctx, people.person("ann").id)
    people.platform.transact(unassign, people.admin.id)
    said = ask(people.admin, "ann")
    assert (said["allowed"], said["because"]) == (False, "ann is not assigned to this workspace")
    assert "ann" not in who_can(people.admin, "SELECT", "tables:/main.sales.orders")
    with pytest.raises((PermissionDenied, Unauthenticated)):
        people.person("ann").client.tables.get("main.sales.orders")


def test_the_command_line_says_the_same_and_exits_by_it(server, people, shop):
    def run(*arguments):
        return CliRunner().invoke(
            app, [*arguments, "--host", server.url, "--token", people.admin.token], env={"COLUMNS": "200"}
        )

    yes = run("access", "explain", "ann", "tables:/main.sales.orders", "SELECT")
    assert yes.exit_code == 0, yes.output
    assert "ann › analysts › staff" in yes.output
    no = run("access", "explain", "bob", "tables:/main.sales.orders", "SELECT")
    assert (no.exit_code, "needs SELECT on table" in no.output) == (1, True)
    assert "analysts" in run("access", "who-can", "SELECT", "tables:/main.sales.orders").output
    assert "getTable" in run("access", "explain", "ann", "tables:/main.sales.orders").output


# ---- the same code decides


def random_world(ctx, dice, persons, groups):
    metastore, workspace = objects.find(ctx, METASTORE, ""), objects.find(ctx, WORKSPACE, "")
    made = [metastore, workspace]
    for c in "ab":
        catalog = objects.create(ctx, catalogs.CATALOG, c, catalogs.Catalog(), under=metastore)
        schema = objects.create(ctx, schemas.SCHEMA, "s", schemas.Schema(), under=catalog)
        made += [catalog, schema]
        for kind in (tables.TABLE, volumes.VOLUME, functions.FUNCTION, REGISTERED_MODEL):
            made.append(objects.create(ctx, kind, f"o{kind.name}", kind.example, under=schema))
    folder = objects.create(ctx, ITEM, "team", ITEM.example, under=workspace)
    made += [folder, objects.create(ctx, EXPERIMENT, "e", EXPERIMENT.example, under=folder)]
    for kind in (JOB, ENDPOINT, KINDS["warehouse"], KINDS["secret_scope"]):
        made.append(objects.create(ctx, kind, f"a{kind.name}", kind.example, under=workspace))
    for obj in made[2:]:
        if dice.random() < 0.4:
            objects.set_owner(ctx, obj, dice.choice(persons + groups))
    for _ in range(3):
        shuffle(ctx, dice, made, persons + groups)
    return made


def shuffle(ctx, dice, made, holders):
    """Thirty grants more, a third of those there were fewer, two owners others."""
    for obj in made:
        for holder, rights in grants.held(ctx, obj).items():
            grants.change(ctx, obj, holder, remove=[r for r in rights if dice.random() < 0.3])
    for _ in range(30):
        obj = dice.choice(made)
        grants.change(ctx, obj, dice.choice(holders), add=[dice.choice(sorted(KINDS[obj.kind].grantable()))])
    for obj in dice.sample(made[2:], 2):
        objects.set_owner(ctx, objects.again(ctx, obj), dice.choice(holders))


def test_explanations_agree_with_enforcement_on_random_principals_objects_and_verbs(platform, people):
    """1,000, with grants, revocations and new owners after each hundred. Enforced is what the operation's own guard
    does, asked as that principal."""
    dice = random.Random(11)
    persons = [people.person(f"p{i}").id for i in range(5)]
    groups = [people.group(f"g{i}") for i in range(4)]
    for i, group in enumerate(groups):
        for member in dice.sample(persons, 2) + groups[i + 1 : i + 2]:
            people.join(f"g{i}", type("Member", (), {"id": member}))
    world = platform.transact(lambda ctx: random_world(ctx, dice, persons, groups), people.admin.id)
    by_kind = {}
    for obj in world:
        by_kind.setdefault(obj.kind, []).append(obj)
    verbs = [each for kind in by_kind for each in explain.operations_on(KINDS[kind]).items()]
    names = {p: platform.snapshot(lambda ctx, p=p: ctx.name_of(p)) for p in persons}
    outcomes = []

    def check(ctx):
        for _ in range(100):
            (verb, operation), who = dice.choice(verbs), dice.choice(persons)
            obj = dice.choice(by_kind[operation.on.kind.name])
            spelled = explain.naming.written(obj, operation.on.kind)
            said = ctx.platform.call(
                people.admin.id, explain.explain, principal=names[who], object=spelled, action=verb
            )
            enforced = guarded(ctx.as_principal(who), operation, obj)
            assert said["allowed"] == enforced, (names[who], spelled, verb, said)
            outcomes.append(enforced)

    for _ in range(10):
        platform.snapshot(check)
        platform.transact(lambda ctx: shuffle(ctx, dice, world, persons + groups), people.admin.id)
    assert len(outcomes) == 1000
    assert 100 < sum(outcomes) < 900, "a world in which everything is allowed, or nothing, says little"


def guarded(ctx, operation, obj):
    """Whether the operation's own way in lets this principal past, for this object."""
    from dataclasses import replace

    from lakewright.kernel.audit import Entry

    class Here:
        def __iter__(self):
            return iter(())

    at = Target("", operation.on.kind, finds=lambda ctx, address: obj)
    entry = Entry(0, "", "", "", "", "", "")
    try:
        replace(operation, on=at).decide(ctx, Here(), entry)
    except Denied:
        return False
    except Fault as fault:  # pragma: no cover
        raise AssertionError(f"{operation.audit}: {fault}") from fault
    return True

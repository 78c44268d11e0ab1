"""Least privilege: a fresh user holds what the one list of defaults says, and nothing else."""

import pytest
from conformance.test_every_operation import planted
from databricks.sdk.errors import PermissionDenied
from typer.testing import CliRunner

from lakewright.access.defaults import DEFAULTS
from lakewright.app import build
from lakewright.cli.main import app
from lakewright.kernel import objects
from lakewright.kernel.kinds import KINDS
from lakewright.kernel.roots import BY_DEFAULT
from lakewright.kernel.rules import MANAGE, OWNER

__all__ = ["planted"]


def held_by(platform, principal):
    """Every right on every object there is, judged one by one."""

    def look(ctx):
        found = set()
        for row in ctx.tx.all(f"SELECT {objects.COLUMNS} FROM objects WHERE deleted_at IS NULL"):
            kind = KINDS[row["kind"]]
            for name, rule in {**kind.rights, "MANAGE": MANAGE, "OWNER": OWNER}.items():
                if rule.judge(ctx, row["id"]):
                    found.add((kind.name, row["full_name"], name))
        return found

    return platform.snapshot(look, principal)


OWN_TOKENS = {("authorization", "tokens", "CAN_USE")}
EVERYBODYS = OWN_TOKENS | {("workspace", "", entitlement) for entitlement in BY_DEFAULT}


def home(folder):
    kind = KINDS["directory"]
    return {(kind.name, folder, right) for right in (*kind.rights, "MANAGE", "OWNER")} | EVERYBODYS


def test_a_fresh_user_holds_their_home_and_nothing_else_of_all_there_is(platform, people, planted):
    fresh = people.person("fresh")
    assert held_by(platform, fresh.id) == home("Users/fresh")
    robot = people.service_principal("robot")
    assert held_by(platform, robot.id) == home(f"Users/{robot.name}")
    client = fresh.client
    for each in (
        client.catalogs.list, client.jobs.list, client.warehouses.list, client.serving_endpoints.list,
        client.experiments.list_experiments, client.registered_models.list, client.secrets.list_scopes,
        client.external_locations.list, client.storage_credentials.list, client.users.list, client.groups.list,
    ):  # fmt: skip
        assert [one for one in each() if getattr(one, "user_name", "") != "fresh"] == [], each
    for kind, obj in planted.items():
        if KINDS[kind].uses_levels and KINDS[kind].under is not None:
            with pytest.raises(PermissionDenied):
                client.permissions.get(kind, obj.id)


def test_each_default_that_can_be_set_is_as_it_is_set(settings, clock):
    settings.access.home_folders, settings.access.shared_folder = False, "CAN_RUN"
    assert {d.setting for d in DEFAULTS if d.setting} == {
        "LAKEWRIGHT_ACCESS__HOME_FOLDERS", "LAKEWRIGHT_ACCESS__SHARED_FOLDER",
    }  # fmt: skip
    assert [d.holds(settings) for d in DEFAULTS if d.setting] == ["", "CAN_RUN"]
    from actors import People

    built = build(settings, clock)
    fresh = People(built, "").person("fresh")
    assert (
        held_by(built, fresh.id)
        == {("workspace_object", "Shared", level) for level in ("CAN_READ", "CAN_RUN")} | EVERYBODYS
    )
    built.stop()


def test_the_list_is_printed_with_every_open_operation(server, people):
    arguments = ["defaults", "show", "--host", server.url, "--token", people.person("ann").token]
    said = CliRunner().invoke(app, arguments, env={"COLUMNS": "400"})
    assert said.exit_code == 0, said.output
    for each in DEFAULTS:
        assert each.why in said.output
    assert "LAKEWRIGHT_ACCESS__SHARED_FOLDER" in said.output
    assert "accounts.currentUser" in said.output

"""Permission levels, the same way for every kind of workspace object, present and future."""

import pytest
from databricks.sdk.errors import BadRequest, PermissionDenied
from databricks.sdk.service.iam import AccessControlRequest, PermissionLevel

import lakewright.app  # noqa: F401 (declares the kinds)
from lakewright.access import levels
from lakewright.kernel import grants, objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.kinds import KINDS
from lakewright.kernel.roots import WORKSPACE

LEVELED = sorted({k for k in KINDS.values() if k.root is WORKSPACE and k.uses_levels and k.under}, key=lambda k: k.name)


def api_name(kind) -> str:
    """A name that the permissions endpoint knows the kind by, as its clients write it."""
    return next((n for n in (kind.name, *kind.also_called) if n.endswith("s")), kind.name)


@pytest.fixture
def planted(platform, people):
    """One object of a kind, of the administrators."""

    def plant(ctx: Ctx, kind):
        under = objects.find(ctx, WORKSPACE, "") if kind.under is WORKSPACE else plant(ctx, kind.under)
        return objects.create(ctx, kind, f"a{kind.name}", kind.example, under=under, owner="admins")

    return lambda kind: platform.transact(lambda ctx: plant(ctx, kind))


def entry(name: str, level: str) -> AccessControlRequest:
    return AccessControlRequest(user_name=name, permission_level=PermissionLevel(level))


@pytest.mark.parametrize("kind", LEVELED, ids=lambda k: k.name)
def test_each_level_of_each_kind_implies_the_weaker_and_not_the_stronger(kind, platform, people, planted):
    """Type by level by level, from the endpoint that lists them: allowed or refused, as many cells as there are."""
    obj, bob, admin = planted(kind), people.person("bob"), people.admin.client
    shown = people.admin.do("GET", f"/api/2.0/permissions/{api_name(kind)}/{obj.id}/permissionLevels")
    possible = [level["permission_level"] for level in shown["permission_levels"]]
    assert possible == levels.possible(kind)
    grantable = [level for level in possible if level != "IS_OWNER"]
    for at, level in enumerate(grantable):
        people.admin.do(
            "PATCH", f"/api/2.0/permissions/{api_name(kind)}/{obj.id}",
            access_control_list=[{"user_name": "bob", "permission_level": level}],
        )  # fmt: skip
        held = platform.snapshot(
            lambda ctx: [bool(kind.rights[r].judge(ctx.as_principal(bob.id), obj.id)) for r in grantable]
        )
        assert held == [i <= at for i in range(len(grantable))], level
        may_manage = level in ("CAN_MANAGE", "MANAGE")
        act = lambda: bob.client.permissions.get(api_name(kind), obj.id)
        if may_manage:
            act()
        else:
            with pytest.raises(PermissionDenied):
                act()
    assert admin.permissions.get(api_name(kind), obj.id).object_id == f"/{api_name(kind)}/{obj.id}"


@pytest.fixture
def folder(people):
    admin = people.admin.client
    admin.workspace.mkdirs("/team/inner")
    return str(admin.workspace.get_status("/team").object_id)


def levels_of(person, folder: str) -> dict[str, list[tuple[str, bool]]]:
    shown = person.client.permissions.get("directories", folder).access_control_list
    return {
        e.user_name or e.group_name or e.service_principal_name: [
            (p.permission_level.value, p.inherited) for p in e.all_permissions
        ]
        for e in shown
    }


def test_a_change_touches_only_whom_it_names(people, folder):
    people.person("bob"), people.person("eve")
    it = people.admin.client.permissions
    it.update("directories", folder, access_control_list=[entry("bob", "CAN_READ")])
    it.update("directories", folder, access_control_list=[entry("eve", "CAN_EDIT")])
    it.update("directories", folder, access_control_list=[entry("bob", "CAN_RUN")])
    held = levels_of(people.admin, folder)
    assert (held["bob"], held["eve"]) == ([("CAN_RUN", False)], [("CAN_EDIT", False)])
    it.set("directories", folder, access_control_list=[entry("eve", "CAN_READ")])
    held = levels_of(people.admin, folder)
    assert ("bob" in held, held["eve"]) == (False, [("CAN_READ", False)])
    assert held["admins"] == [("CAN_MANAGE", True)]


def test_groups_and_service_principals_are_named_as_what_they_are(people, folder):
    sp, bob = people.service_principal("sp"), people.person("bob", groups=["analysts"])
    it = people.admin.client.permissions
    it.update(
        "directories", folder, access_control_list=[
            AccessControlRequest(group_name="analysts", permission_level=PermissionLevel.CAN_READ),
            AccessControlRequest(service_principal_name=sp.name, permission_level=PermissionLevel.CAN_MANAGE),
        ],
    )  # fmt: skip
    assert bob.client.workspace.get_status("/team").path == "/team"
    assert levels_of(sp, folder)[sp.name] == [("CAN_MANAGE", False)]
    for wrong in (
        AccessControlRequest(user_name="analysts", permission_level=PermissionLevel.CAN_READ),
        AccessControlRequest(user_name="nobody", permission_level=PermissionLevel.CAN_READ),
        AccessControlRequest(user_name="bob", group_name="analysts", permission_level=PermissionLevel.CAN_READ),
        AccessControlRequest(permission_level=PermissionLevel.CAN_READ),
        AccessControlRequest(user_name="bob", permission_level=PermissionLevel.CAN_QUERY),
        AccessControlRequest(user_name="bob", permission_level=PermissionLevel.IS_OWNER),
    ):
        with pytest.raises(BadRequest):
            it.update("directories", folder, access_control_list=[wrong])


def test_the_endpoints_of_one_vocabulary_refuse_objects_of_the_other(people, folder):
    admin = people.admin
    admin.client.catalogs.create("main")
    catalog_id = admin.do("GET", "/api/2.1/unity-catalog/catalogs/main")["id"]
    with pytest.raises(BadRequest, match="privileges|levels"):
        admin.do("GET", f"/api/2.0/permissions/catalog/{catalog_id}")
    with pytest.raises(BadRequest, match="permission levels"):
        admin.do(
            "PATCH",
            "/api/2.1/unity-catalog/permissions/directory/team",
            changes=[{"principal": "admin", "add": ["MANAGE"]}],
        )
    with pytest.raises(BadRequest, match="no kind"):
        admin.do("GET", "/api/2.0/permissions/nothing/1")


JOB = KINDS.get("jobs")


@pytest.mark.skipif(JOB is None, reason="jobs are not part of this build")
def test_a_job_has_exactly_one_owner(platform, people, planted):
    job = planted(JOB)
    bob, eve = people.person("bob"), people.person("eve")
    path, admin = f"/api/2.0/permissions/jobs/{job.id}", people.admin

    def put(who, *entries: tuple[str, str]):
        given = [{"user_name": name, "permission_level": level} for name, level in entries]
        return who.do("PUT", path, access_control_list=given)

    for wrong in ((("bob", "CAN_VIEW"),), (("bob", "IS_OWNER"), ("eve", "IS_OWNER"))):
        with pytest.raises(BadRequest, match="exactly one owner"):
            put(admin, *wrong)
    put(admin, ("bob", "IS_OWNER"), ("eve", "CAN_MANAGE"))
    owner = platform.snapshot(lambda ctx: objects.by_id(ctx, JOB, job.id).owner)
    assert owner == bob.id
    put(eve, ("bob", "IS_OWNER"), ("eve", "CAN_MANAGE"))  # a deployment repeats what is there
    with pytest.raises(PermissionDenied, match="owner"):
        put(eve, ("eve", "IS_OWNER"))
    put(bob, ("eve", "IS_OWNER"))
    assert platform.snapshot(lambda ctx: objects.by_id(ctx, JOB, job.id).owner) == eve.id
    with pytest.raises(PermissionDenied):
        bob.do("GET", path)


def test_what_is_granted_is_gone_with_the_object(platform, people, folder):
    it = people.admin.client
    bob = people.person("bob")
    it.permissions.update("directories", folder, access_control_list=[entry("bob", "CAN_MANAGE")])
    it.workspace.delete("/team", recursive=True)
    it.workspace.mkdirs("/team")
    with pytest.raises(PermissionDenied):
        bob.client.workspace.mkdirs("/team/x")
    again = str(it.workspace.get_status("/team").object_id)
    assert platform.snapshot(lambda ctx: grants.held(ctx, objects.by_id(ctx, KINDS["directories"], again))) == {}


SPELLED = {
    "job": ("jobs", "jobs", "job_id"),
    "experiment": ("experiments", "experiments", "experiment_id"),
    "serving_endpoint": ("serving_endpoints", "serving-endpoints", "serving_endpoint_id"),
    "warehouse": ("warehouses", "warehouses", "warehouse_id"),
    "workspace_object": ("workspace", "directories", "workspace_object_id"),
}
"""The SDK's own methods for permissions: its service, what it calls the type, and the parameter with the id."""
ELSEWHERE = {"secret_scope", "servicePrincipal", "submittedRun", "authorization"}
"""Kinds whose rights the SDK sets by calls of their own, or not at all."""


def test_every_kind_with_levels_is_reached_by_the_sdks_own_methods(platform, people, planted):
    people.person("bob")
    assert {k.name for k in LEVELED} - ELSEWHERE <= set(SPELLED)
    for name, (service, called, parameter) in SPELLED.items():
        the = getattr(people.admin.client, service)
        if name == "workspace_object":
            people.admin.client.workspace.mkdirs("/here")
            obj = platform.snapshot(lambda ctx: objects.find(ctx, KINDS["directory"], "here"))
        else:
            obj = planted(KINDS[name])
        given = {parameter: obj.id, **({"workspace_object_type": called} if name == "workspace_object" else {})}
        [weakest, *_] = KINDS[name].rights
        kept = [{"user_name": "admin", "permission_level": "IS_OWNER"}] if levels.has_owner(KINDS[name]) else []
        entry = {"user_name": "bob", "permission_level": weakest}
        shown = the.set_permissions(**given, access_control_list=[_Plain(e) for e in (*kept, entry)])
        assert shown.object_id == f"/{called}/{obj.id}"
        for each in (shown, the.get_permissions(**given)):
            held = {
                e.user_name or e.group_name: [(p.permission_level.value, p.inherited, p.inherited_from_object)]
                for e in each.access_control_list
                for p in e.all_permissions[:1]
            }
            assert held["bob"] == [(weakest, False, None)]
        above = [
            source
            for e in shown.access_control_list
            for p in e.all_permissions
            if e.group_name and p.inherited and p.permission_level.value == "CAN_MANAGE"
            for source in p.inherited_from_object
        ]
        assert f"/{called}/" in above, "the administrators manage it, from the root"
        listed = [level.permission_level.value for level in the.get_permission_levels(**given).permission_levels]
        assert listed == levels.possible(KINDS[name])
        the.update_permissions(**given, access_control_list=[_Plain({**entry, "permission_level": "CAN_MANAGE"})])
        assert platform.snapshot(lambda ctx, obj=obj: grants.held(ctx, obj))[people.person("bob").id] == ["CAN_MANAGE"]


class _Plain(dict):
    """An entry of an access control list, for whichever of the SDK's classes a method asks for."""

    def as_dict(self):
        return dict(self)


def test_older_clients_spell_warehouses_with_sql_in_front(people):
    admin = people.admin
    made = admin.do("POST", "/api/2.0/sql/warehouses", name="small", cluster_size="2X-Small")
    for path in (f"/api/2.0/permissions/sql/warehouses/{made['id']}", f"/api/2.0/permissions/warehouses/{made['id']}"):
        assert admin.do("GET", path)["object_id"] == f"/warehouses/{made['id']}"
        assert admin.do("GET", f"{path}/permissionLevels")["permission_levels"]

"""Folders, notebooks and files through the unmodified SDK."""

import base64
import io

import pytest
from databricks.sdk.errors import BadRequest, NotFound, PermissionDenied, ResourceAlreadyExists
from databricks.sdk.service.iam import AccessControlRequest, PermissionLevel
from databricks.sdk.service.workspace import ExportFormat, ImportFormat, Language, ObjectType

from lakewright.workspace import files

NOTEBOOK = b"# Databricks notebook source\nprint(1)\n"


def allow(people, kind: str, path: str, name: str, level: PermissionLevel):
    object_id = people.admin.client.workspace.get_status(path).object_id
    entry = AccessControlRequest(user_name=name, permission_level=level)
    return people.admin.client.permissions.update(kind, str(object_id), access_control_list=[entry])


def test_everybody_has_a_home_of_their_own(people):
    bob, eve = people.person("bob").client.workspace, people.person("eve").client.workspace
    bob.mkdirs("/Users/bob/project/src")
    bob.upload("/Users/bob/project/a.txt", io.BytesIO(b"\x00\r\n--x"), format=ImportFormat.AUTO)
    assert bob.download("/Users/bob/project/a.txt").read() == b"\x00\r\n--x"
    assert {(o.path, o.object_type) for o in bob.list("/Users/bob/project")} == {
        ("/Users/bob/project/a.txt", ObjectType.FILE), ("/Users/bob/project/src", ObjectType.DIRECTORY),
    }  # fmt: skip
    assert bob.get_status("/Workspace/Users/bob/project/a.txt").size == 6
    assert {o.path for o in bob.list("/")} == {"/Users"}, "the shared folder is not theirs until somebody says so"
    assert [o.path for o in bob.list("/Users")] == ["/Users/bob"]
    for act in (
        lambda: list(eve.list("/Users/bob")), lambda: eve.get_status("/Users/bob/project"),
        lambda: eve.export("/Users/bob/project/a.txt"), lambda: eve.mkdirs("/Users/bob/x"),
        lambda: eve.upload("/Users/bob/project/a.txt", io.BytesIO(b"mine"), format=ImportFormat.AUTO, overwrite=True),
        lambda: eve.delete("/Users/bob/project", recursive=True), lambda: eve.mkdirs("/top"),
    ):  # fmt: skip
        with pytest.raises(PermissionDenied):
            act()


def test_a_service_principal_has_one_too(people):
    sp = people.service_principal("sp")
    sp.client.workspace.mkdirs(f"/Users/{sp.name}/x")


def test_what_a_stranger_may_not_see_looks_like_what_is_not_there(people):
    people.admin.client.workspace.mkdirs("/Shared/team/inner")
    people.admin.client.workspace.mkdirs("/hidden/inner")
    eve = people.person("eve").client.workspace
    for path in ("/Shared", "/Shared/nothing", "/hidden", "/hidden/inner", "/hidden/nothing", "/nothing", "/nothing/x"):
        for act in (
            lambda p=path: eve.get_status(p), lambda p=path: list(eve.list(p)), lambda p=path: eve.export(p),
            lambda p=path: eve.delete(p), lambda p=path: eve.mkdirs(p),
            lambda p=path: eve.upload(p, io.BytesIO(b""), format=ImportFormat.AUTO),
        ):  # fmt: skip
            with pytest.raises(PermissionDenied) as refused:
                act()
            assert path.strip("/") in str(refused.value)
    with pytest.raises(NotFound):
        eve.get_status("/Users/eve/nothing/deep")


def test_a_right_on_a_folder_holds_for_what_is_in_it(people):
    admin = people.admin.client.workspace
    admin.mkdirs("/team/etl")
    admin.upload("/team/etl/load.py", io.BytesIO(NOTEBOOK), format=ImportFormat.AUTO)
    bob = people.person("bob").client.workspace
    shown = allow(people, "directories", "/team", "bob", PermissionLevel.CAN_READ)
    assert shown.object_type == "directory"
    assert bob.get_status("/team/etl/load").object_type == ObjectType.NOTEBOOK
    inherited = people.admin.client.permissions.get("notebooks", str(bob.get_status("/team/etl/load").object_id))
    [permission] = next(e for e in inherited.access_control_list if e.user_name == "bob").all_permissions
    assert permission.inherited
    assert permission.permission_level == PermissionLevel.CAN_READ
    again = {"overwrite": True, "format": ImportFormat.SOURCE, "language": Language.PYTHON}
    with pytest.raises(PermissionDenied, match="CAN_EDIT"):
        bob.upload("/team/etl/load", io.BytesIO(b""), **again)
    allow(people, "notebooks", "/team/etl/load", "bob", PermissionLevel.CAN_EDIT)
    bob.upload("/team/etl/load", io.BytesIO(b"2"), **again)
    with pytest.raises(PermissionDenied, match="CAN_MANAGE"):
        bob.upload("/team/etl/other", io.BytesIO(b""), **again)
    with pytest.raises(PermissionDenied, match="CAN_MANAGE"):
        bob.delete("/team/etl/load")
    allow(people, "directories", "/team", "bob", PermissionLevel.CAN_MANAGE)
    bob.delete("/team/etl/load")


def test_a_folder_on_the_way_to_something_visible_is_visible(people):
    admin = people.admin.client.workspace
    admin.mkdirs("/team/open"), admin.mkdirs("/team/closed")
    allow(people, "directories", "/team/open", people.person("bob").name, PermissionLevel.CAN_READ)
    assert [o.path for o in people.person("bob").client.workspace.list("/team")] == ["/team/open"]


def test_formats(people):
    it = people.admin.client.workspace
    it.upload("/a.py", io.BytesIO(NOTEBOOK), format=ImportFormat.AUTO)
    assert (it.get_status("/a").object_type, it.get_status("/a").language) == (ObjectType.NOTEBOOK, Language.PYTHON)
    it.upload("/b.py", io.BytesIO(b"x = 1\n"), format=ImportFormat.AUTO)
    assert it.get_status("/b.py").object_type == ObjectType.FILE
    it.upload("/c.py", io.BytesIO(NOTEBOOK), format=ImportFormat.RAW)
    assert it.get_status("/c.py").object_type == ObjectType.FILE
    jupyter = it.export("/a", format=ExportFormat.JUPYTER)
    assert jupyter.file_type == "ipynb"
    it.import_("/d", content=jupyter.content, format=ImportFormat.JUPYTER)
    assert base64.b64decode(it.export("/d").content) == NOTEBOOK
    with pytest.raises(ResourceAlreadyExists):
        it.import_("/d", content=jupyter.content, format=ImportFormat.JUPYTER)
    with pytest.raises(BadRequest, match="is a NOTEBOOK, not a FILE"):
        it.upload("/d", io.BytesIO(b""), format=ImportFormat.RAW, overwrite=True)
    from databricks.sdk.errors import NotImplemented as NotThere

    with pytest.raises(NotThere, match="DBC"):
        it.import_("/e", content="", format=ImportFormat.DBC)
    for path in ("a", "/../a", "/a/./b", "/a//b", "/a\x00b"):
        with pytest.raises(BadRequest):
            it.mkdirs(path)


def test_a_folder_goes_with_its_content_only_when_told(people):
    it = people.admin.client.workspace
    it.mkdirs("/a/b/c")
    with pytest.raises(BadRequest, match="not empty"):
        it.delete("/a")
    it.delete("/a", recursive=True)
    with pytest.raises(NotFound):
        it.get_status("/a/b/c")
    for kept in ("/Users", "/Shared", "/"):
        with pytest.raises(BadRequest):
            it.delete(kept, recursive=True)
    it.mkdirs("/a/b")
    assert [o.path for o in it.list("/a")] == ["/a/b"]


def test_the_trail_says_that_something_was_imported_and_not_what(people, platform):
    content = base64.b64encode(b"password = 'CANARY'").decode()
    people.admin.client.workspace.import_("/x", content=content, format=ImportFormat.RAW)
    rows = platform.snapshot(lambda ctx: ctx.tx.all("SELECT ask FROM audit WHERE action = 'workspaceImport'"))
    assert ["/x" in r["ask"] for r in rows] == [True]
    assert content not in str([dict(r) for r in rows])


def test_work_reads_what_its_principal_may_read(people, platform):
    from lakewright.kernel.faults import Denied

    bob, eve = people.person("bob"), people.person("eve")
    bob.client.workspace.upload("/Users/bob/n.py", io.BytesIO(NOTEBOOK), format=ImportFormat.AUTO)
    read = lambda who: platform.snapshot(lambda ctx: files.read(ctx.as_principal(who.id), "/Users/bob/n"))
    assert read(bob) == NOTEBOOK
    with pytest.raises(Denied):
        read(eve)

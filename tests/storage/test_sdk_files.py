"""The Files API through the unmodified SDK, and what it must not let through."""

import io
from pathlib import Path

import httpx
import pytest
from databricks.sdk.errors import BadRequest, NotFound, PermissionDenied, ResourceConflict
from databricks.sdk.service.catalog import PermissionsChange, Privilege, VolumeType

from lakewright.storage import files

V = "/Volumes/main/raw/v"


@pytest.fixture
def volume(people):
    admin = people.admin.client
    admin.catalogs.create("main")
    admin.schemas.create("raw", "main")
    return admin.volumes.create("main", "raw", "v", VolumeType.MANAGED)


def allow(people, name: str, *privileges: Privilege) -> None:
    change = [PermissionsChange(principal=name, add=[Privilege.USE_CATALOG, Privilege.USE_SCHEMA, *privileges])]
    people.admin.client.grants.update("CATALOG", "main", changes=change)


def raw(people, verb: str, path: str, who=None, **more) -> httpx.Response:
    headers = {"authorization": f"Bearer {(who or people.admin).token}", **more.pop("headers", {})}
    return httpx.request(verb, f"{people.url}/api/2.0/fs/files{path}", headers=headers, **more)


def test_a_file_lives(people, volume):
    it = people.admin.client.files
    assert list(it.list_directory_contents(V)) == []
    it.upload(f"{V}/a/b c.txt", io.BytesIO(b"hello"))
    assert it.download(f"{V}/a/b c.txt").contents.read() == b"hello"
    about = it.get_metadata(f"{V}/a/b c.txt")
    assert (about.content_length, about.content_type) == (5, "application/octet-stream")
    [entry] = it.list_directory_contents(f"{V}/a")
    assert (entry.name, entry.path, entry.file_size, entry.is_directory) == ("b c.txt", f"{V}/a/b c.txt", 5, False)
    with pytest.raises(ResourceConflict):
        it.upload(f"{V}/a/b c.txt", io.BytesIO(b"other"), overwrite=False)
    it.upload(f"{V}/a/b c.txt", io.BytesIO(b"other"))
    assert it.download(f"{V}/a/b c.txt").contents.read() == b"other"
    with pytest.raises(BadRequest, match="not empty"):
        it.delete_directory(f"{V}/a")
    it.delete(f"{V}/a/b c.txt")
    with pytest.raises(NotFound):
        it.download(f"{V}/a/b c.txt")
    it.delete_directory(f"{V}/a")
    it.create_directory(f"{V}/x/y")
    it.get_directory_metadata(f"{V}/x")
    with pytest.raises(NotFound):
        it.get_directory_metadata(f"{V}/nothing")
    with pytest.raises(NotFound):
        it.get_metadata(f"{V}/x")


def test_reading_and_writing_are_two_rights(people, volume):
    people.admin.client.files.upload(f"{V}/f", io.BytesIO(b"x"))
    bob = people.person("bob").client.files
    for act in (
        lambda: bob.download(f"{V}/f"),
        lambda: bob.upload(f"{V}/g", io.BytesIO(b"")),
        lambda: bob.delete(f"{V}/f"),
    ):
        with pytest.raises(PermissionDenied, match="USE_CATALOG"):
            act()
    allow(people, "bob", Privilege.READ_VOLUME)
    assert bob.download(f"{V}/f").contents.read() == b"x"
    assert [e.name for e in bob.list_directory_contents(V)] == ["f"]
    for act in (
        lambda: bob.upload(f"{V}/f", io.BytesIO(b"mine")), lambda: bob.delete(f"{V}/f"),
        lambda: bob.create_directory(f"{V}/d"), lambda: bob.delete_directory(V),
    ):  # fmt: skip
        with pytest.raises(PermissionDenied, match="WRITE_VOLUME"):
            act()
    allow(people, "bob", Privilege.WRITE_VOLUME)
    bob.upload(f"{V}/f", io.BytesIO(b"mine"))
    assert bob.download(f"{V}/f").contents.read() == b"mine"


def test_a_stranger_cannot_tell_a_file_from_none(people, volume):
    people.admin.client.files.upload(f"{V}/f", io.BytesIO(b"x"))
    eve = people.person("eve")
    answers = [raw(people, "GET", p, eve) for p in (f"{V}/f", f"{V}/g", "/Volumes/main/raw/w/f", "/Volumes/a/b/c/f")]
    assert {a.status_code for a in answers} == {403}
    texts = {a.json()["message"].partition(" for ")[0] for a in answers}
    assert texts == {"eve needs USE_CATALOG on catalog"}


@pytest.mark.parametrize(
    "path",
    ["/../../../root.key", "/%2e%2e/%2e%2e/root.key", "/..%2f..%2froot.key", "/a/%2e%2e/%2e%2e/x", "/.%2e/x", "//etc/passwd",
     "/%00", "/a%0d%0ax", "/a%5c..%5cb"],
)  # fmt: skip
def test_no_path_leads_out_of_the_volume(people, volume, path):
    import http.client

    connection = http.client.HTTPConnection(people.url.removeprefix("http://"))
    for verb in ("GET", "PUT", "DELETE", "HEAD"):
        # Sent as it is: a careful client would tidy the path up first.
        body = b"x" if verb == "PUT" else None
        connection.request(verb, f"/api/2.0/fs/files{V}{path}", body, {"authorization": f"Bearer {people.admin.token}"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status in (400, 404), (verb, answer.status)


def test_another_volume_cannot_be_named_through_the_path(people, volume):
    people.admin.client.volumes.create("main", "raw", "secret", VolumeType.MANAGED)
    people.admin.client.files.upload("/Volumes/main/raw/secret/f", io.BytesIO(b"CANARY"))
    eve = people.person("eve")
    change = [PermissionsChange(principal="eve", add=[Privilege.READ_VOLUME])]
    people.admin.client.grants.update("VOLUME", "main.raw.v", changes=change)
    allow(people, "eve")
    for path in (
        "/Volumes/main/raw/v/../secret/f",
        "/Volumes/main/raw/v%2f..%2fsecret/f",
        "/Volumes/main/raw/secret/f",
    ):
        answer = raw(people, "GET", path, eve)
        assert answer.status_code in (400, 403)
        assert "CANARY" not in answer.text


def test_a_link_in_a_volume_is_not_followed(people, volume, settings):
    people.admin.client.files.upload(f"{V}/f", io.BytesIO(b"x"))
    [file] = [p for p in (settings.data_dir / "storage").rglob("f") if p.is_file()]
    (file.parent / "link").symlink_to(settings.data_dir / "root.key")
    assert raw(people, "GET", f"{V}/link").status_code == 404
    assert [e.name for e in people.admin.client.files.list_directory_contents(V)] == ["f"]


def test_a_page_of_a_volume_is_never_a_page_of_this_origin(people, volume):
    people.admin.client.files.upload(f"{V}/<script>.html", io.BytesIO(b"<script>alert(1)</script>"))
    answer = raw(people, "GET", f"{V}/%3Cscript%3E.html")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''%3Cscript%3E.html"
    assert "sandbox" in answer.headers["content-security-policy"]


def test_part_of_a_file_can_be_read(people, volume):
    people.admin.client.files.upload(f"{V}/f", io.BytesIO(b"0123456789"))
    part = raw(people, "GET", f"{V}/f", headers={"range": "bytes=2-4"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    beyond = raw(people, "GET", f"{V}/f", headers={"range": "bytes=10-"})
    assert beyond.status_code == 416
    stale = raw(people, "GET", f"{V}/f", headers={"if-unmodified-since": "Wed, 01 Jan 2020 00:00:00 GMT"})
    assert stale.status_code == 412


def test_a_long_folder_is_listed_in_pages(people, volume):
    it = people.admin.client.files
    for i in range(5):
        it.upload(f"{V}/{i}", io.BytesIO(b""))
    assert [e.name for e in it.list_directory_contents(V, page_size=2)] == list("01234")
    first = people.admin.do("GET", f"/api/2.0/fs/directories{V}", page_size=2)
    with pytest.raises(BadRequest, match="page_token"):
        people.admin.do("GET", f"/api/2.0/fs/directories{V}/x", page_token=first["next_page_token"])


def test_what_is_mounted_is_decided_by_its_resolver(people, volume, settings):
    from lakewright.kernel.faults import Denied

    class OnlyBob:
        def decide(self, ctx, relative: str, access: str) -> Path:
            if ctx.principal.name != "bob" or access == "delete":
                raise Denied(f"{ctx.principal.name} may not {access} this")
            return ctx.settings.data_dir.resolve() / "bobs" / relative

    settings.data_dir.joinpath("bobs").mkdir()
    files.mount("/Internal/Bob", OnlyBob())
    bob, eve = people.person("bob").client.files, people.person("eve").client.files
    bob.upload("/Internal/Bob/a/f", io.BytesIO(b"x"))
    assert bob.download("/Internal/Bob/a/f").contents.read() == b"x"
    with pytest.raises(NotFound):
        bob.download("/Internal/Bob/a/g")
    with pytest.raises(PermissionDenied, match="eve may not read"):
        eve.download("/Internal/Bob/a/f")
    with pytest.raises(PermissionDenied, match="may not delete"):
        bob.delete("/Internal/Bob/a/f")


def test_an_external_volume_keeps_to_its_location(people, volume, settings, tmp_path):
    landing = tmp_path / "landing"
    (landing / "in").mkdir(parents=True)
    (landing / "in" / "f").write_bytes(b"given")
    settings.storage.external_roots = [tmp_path]
    admin = people.admin
    admin.do("POST", "/api/2.1/unity-catalog/storage-credentials", name="own", databricks_gcp_service_account={})
    admin.client.external_locations.create("landing", f"file://{landing}", "own", read_only=True)
    bob = people.person("bob")
    allow(people, "bob", Privilege.CREATE_VOLUME)

    def create():
        return bob.client.volumes.create(
            "main", "raw", "ext", VolumeType.EXTERNAL, storage_location=f"file://{landing}/in"
        )

    with pytest.raises(PermissionDenied, match="CREATE_EXTERNAL_VOLUME"):
        create()
    change = [PermissionsChange(principal="bob", add=[Privilege.CREATE_EXTERNAL_VOLUME])]
    admin.client.grants.update("EXTERNAL_LOCATION", "landing", changes=change)
    create()
    assert bob.client.files.download("/Volumes/main/raw/ext/f").contents.read() == b"given"
    with pytest.raises(BadRequest, match="read-only"):
        bob.client.files.upload("/Volumes/main/raw/ext/g", io.BytesIO(b""))

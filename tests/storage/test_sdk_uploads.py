"""Uploads in parts through the unmodified SDK, and addresses that are nobody else's."""

import io
import os

import httpx
import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.config import Config
from databricks.sdk.errors import BadRequest, PermissionDenied
from databricks.sdk.service.catalog import PermissionsChange, Privilege, VolumeType

from lakewright.storage import uploads

V = "/Volumes/main/raw/v"
SMALL_PARTS = 64 * 1024


@pytest.fixture
def volume(people):
    admin = people.admin.client
    admin.catalogs.create("main")
    admin.schemas.create("raw", "main")
    return admin.volumes.create("main", "raw", "v", VolumeType.MANAGED)


def in_parts(person) -> WorkspaceClient:
    """The SDK as it is with large files, but from 64 kB on."""
    config = Config(host=person.url, token=person.token, auth_type="pat", retry_timeout_seconds=5)
    config.files_ext_multipart_upload_min_stream_size = SMALL_PARTS
    return WorkspaceClient(config=config)


@pytest.mark.parametrize("parallel", [True, False])
def test_a_large_file_arrives_in_parts_as_it_was_sent(people, volume, settings, parallel):
    content = os.urandom(5 * SMALL_PARTS + 7)
    client = in_parts(people.admin)
    client.files.upload(f"{V}/big", io.BytesIO(content), part_size=SMALL_PARTS, use_parallel=parallel)
    assert client.files.download(f"{V}/big").contents.read() == content
    assert list((settings.data_dir / "uploads").iterdir()) == []
    actions = [r["action"] for r in people.platform.snapshot(lambda c: c.tx.all("SELECT action FROM audit"))]
    assert actions.count("filesPutPart") == 6


def test_an_upload_that_fails_is_given_up_and_leaves_nothing(people, volume, settings):
    class Breaks(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer) -> int:
            if self.tell_ > 3 * SMALL_PARTS:
                raise OSError("the line broke")
            buffer[:] = b"x" * len(buffer)
            self.tell_ += len(buffer)
            return len(buffer)

        tell_ = 0

    with pytest.raises(OSError, match="the line broke"):
        in_parts(people.admin).files.upload(
            f"{V}/big", io.BufferedReader(Breaks(), 1024), part_size=SMALL_PARTS, use_parallel=False
        )
    assert list(people.admin.client.files.list_directory_contents(V)) == []
    assert list((settings.data_dir / "uploads").iterdir()) == []


def post(person, api: str, **body):
    return person.client.api_client.do("POST", api, body=body)


def begin(person, path: str = f"{V}/f") -> str:
    made = post(person, f"/api/2.0/fs/files{path}?action=initiate-upload&overwrite=false")
    return made["multipart_upload"]["session_token"]


def send(person, token: str, number: int, content: bytes, path: str = f"{V}/f") -> httpx.Response:
    asked = post(
        person, "/api/2.0/fs/create-upload-part-urls", path=path, session_token=token, start_part_number=number, count=1
    )
    [address] = asked["upload_part_urls"]
    headers = {h["name"]: h["value"] for h in address["headers"]}
    return httpx.put(address["url"], headers=headers, content=content)


def finish(person, token: str, path: str = f"{V}/f", **etags: str):
    parts = [{"part_number": int(n.strip("_")), "etag": etag} for n, etag in etags.items()]
    return post(person, f"/api/2.0/fs/files{path}?action=complete-upload&session_token={token}", parts=parts)


def test_an_upload_is_its_beginners_for_its_path_only(people, volume):
    bob = people.person("bob")
    change = [
        PermissionsChange(principal="bob", add=[Privilege.USE_CATALOG, Privilege.USE_SCHEMA, Privilege.WRITE_VOLUME])
    ]
    people.admin.client.grants.update("CATALOG", "main", changes=change)
    token = begin(people.admin)
    etag = send(people.admin, token, 1, b"admin's").headers["etag"]
    for act in (
        lambda: send(bob, token, 1, b"bob's"), lambda: finish(bob, token, _1=etag),
        lambda: finish(people.admin, token, f"{V}/g", _1=etag), lambda: finish(people.admin, "nonsense", _1=etag),
        lambda: finish(people.admin, token, _1='"other"'), lambda: finish(people.admin, token, _1=etag, _2=etag),
        lambda: finish(people.admin, token),
    ):  # fmt: skip
        with pytest.raises(BadRequest):
            act()
    finish(people.admin, token, _1=etag)
    assert people.admin.client.files.download(f"{V}/f").contents.read() == b"admin's"


def test_a_right_revoked_between_two_parts_ends_the_upload(people, volume):
    bob = people.person("bob")
    rights = [Privilege.USE_CATALOG, Privilege.USE_SCHEMA, Privilege.WRITE_VOLUME]
    people.admin.client.grants.update("CATALOG", "main", changes=[PermissionsChange(principal="bob", add=rights)])
    token = begin(bob)
    asked = post(
        bob, "/api/2.0/fs/create-upload-part-urls", path=f"{V}/f", session_token=token, start_part_number=1, count=1
    )
    address = asked["upload_part_urls"][0]["url"]
    people.admin.client.grants.update("CATALOG", "main", changes=[PermissionsChange(principal="bob", remove=rights)])
    answer = httpx.put(address, headers={"authorization": f"Bearer {bob.token}"}, content=b"x")
    assert answer.status_code == 403
    assert httpx.put(address, content=b"x").status_code == 401
    with pytest.raises(PermissionDenied):
        finish(bob, token)


def test_what_was_begun_and_forgotten_is_swept(people, volume, settings, clock):
    begin(people.admin)
    uploads.sweep(people.platform)
    assert len(list((settings.data_dir / "uploads").iterdir())) == 1
    clock.advance(86_401)
    uploads.sweep(people.platform)
    assert list((settings.data_dir / "uploads").iterdir()) == []


def test_an_address_to_download_opens_nothing_by_itself(people, volume):
    people.admin.client.files.upload(f"{V}/a b", io.BytesIO(b"x"))
    made = post(people.admin, "/api/2.0/fs/create-download-url", path=f"{V}/a b")
    headers = {h["name"]: h["value"] for h in made["headers"]}
    assert httpx.get(made["url"], headers=headers).content == b"x"
    assert httpx.get(made["url"]).status_code == 401
    eve = people.person("eve")
    assert httpx.get(made["url"], headers={"authorization": f"Bearer {eve.token}"}).status_code == 403
    with pytest.raises(PermissionDenied):
        post(eve, "/api/2.0/fs/create-download-url", path=f"{V}/a b")

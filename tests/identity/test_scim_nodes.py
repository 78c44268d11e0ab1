"""Several nodes on one database: what one node is told holds on the others at their very next request."""

import shutil

import httpx
import pytest

from lakewright.app import build, serve
from lakewright.kernel.config import Settings
from lakewright.kernel.socket import Server

PATCH = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]}


@pytest.fixture
def other_node(server, tmp_path, database_url):
    """A second node with the same keys, on the same Postgres."""
    if not database_url:
        pytest.skip("SQLite has one node")
    shutil.copytree(
        server.platform.settings.data_dir, tmp_path / "second", ignore=shutil.ignore_patterns("node", "*.lock")
    )
    settings = Settings(data_dir=tmp_path / "second", database_url=database_url, port=0)  # type: ignore[arg-type]
    platform = build(settings, server.platform.clock)
    listening = Server(serve(platform), settings)
    yield listening.start()
    listening.stop()
    platform.stop()


def test_a_deactivation_and_a_group_left_hold_on_the_other_node_at_once(server, people, other_node):
    bob = people.person("bob@example.com", groups=["analysts"])
    mine, root = {"authorization": f"Bearer {bob.token}"}, {"authorization": f"Bearer {people.admin.token}"}
    scim = "/api/2.0/preview/scim/v2"
    for _ in range(20):
        me = httpx.get(f"{other_node}{scim}/Me", headers=mine)
        assert "analysts" in {g["display"] for g in me.json()["groups"]}
        gone = {"op": "remove", "path": f'members[value eq "{bob.id}"]'}
        back = {"op": "add", "path": "members", "value": [{"value": bob.id}]}
        group = f"{server.url}{scim}/Groups/{people.group('analysts')}"
        assert httpx.patch(group, headers=root, json={**PATCH, "Operations": [gone]}).status_code == 200
        me = httpx.get(f"{other_node}{scim}/Me", headers=mine)
        assert "analysts" not in {g["display"] for g in me.json()["groups"]}
        assert httpx.patch(group, headers=root, json={**PATCH, "Operations": [back]}).status_code == 200
    off = {**PATCH, "Operations": [{"op": "Replace", "path": "active", "value": "False"}]}
    assert httpx.patch(f"{server.url}{scim}/Users/{bob.id}", headers=root, json=off).status_code == 200
    assert httpx.get(f"{other_node}{scim}/Me", headers=mine).status_code == 401
    assert httpx.get(f"{server.url}{scim}/Me", headers=mine).status_code == 401

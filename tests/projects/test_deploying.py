"""Deploying to a real server: what is asked for is there, twice changes nothing, and destroying leaves nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lakewright.projects import deployment
from lakewright.projects.client import Client, Refused
from lakewright.projects.loading import Project, load

UNITY = "/api/2.1/unity-catalog"
BUNDLE = """
bundle: {name: shop}
variables: {comment: {default: as declared}}
resources:
  schemas:
    raw:
      catalog_name: shop
      name: raw
      comment: ${var.comment}
      grants: [{principal: analysts, privileges: [USE_SCHEMA, SELECT]}]
  volumes:
    landing: {catalog_name: shop, schema_name: raw, name: landing, volume_type: MANAGED}
targets:
  local: {default: true, workspace: {root_path: /Shared/shop}}
"""

Ready = Callable[..., Project]


@pytest.fixture
def settings(settings):
    """Everybody may make things in /Shared, as an installation may set it."""
    settings.access.shared_folder = "CAN_MANAGE"
    return settings


@pytest.fixture
def ada(server, people) -> Client:
    """An engineer who may make schemas in one catalog."""
    person = people.person("ada@example.com", groups=["analysts"])
    admin = Client(server.url, people.admin.token)
    admin.call("POST", f"{UNITY}/catalogs", {"name": "shop"})
    changes = [{"principal": person.name, "add": ["USE_CATALOG", "CREATE_SCHEMA"]}]
    admin.call("PATCH", f"{UNITY}/permissions/catalog/shop", {"changes": changes})
    return Client(server.url, person.token)


@pytest.fixture
def project(tmp_path: Path) -> Ready:
    folder = tmp_path / "project"  # the server's own data lies beside it
    folder.mkdir()

    def ready(text: str = BUNDLE, **variables: str) -> Project:
        (folder / "databricks.yml").write_text(text)
        (folder / "notes.txt").write_text("kept beside the project")
        return load(folder, None, "ada@example.com", variables)

    return ready


def _grants(client: Client, schema: str) -> dict[str, list[str]]:
    found = client.call("GET", f"{UNITY}/permissions/schema/{schema}").get("privilege_assignments", [])
    return {one["principal"]: sorted(one["privileges"]) for one in found}


def test_what_is_deployed_is_there_and_a_second_plan_is_empty(ada: Client, project: Ready) -> None:
    made = deployment.deploy(ada, project())
    assert {str(change.action) for change in made} == {"upload", "create", "grants"}
    assert ada.call("GET", f"{UNITY}/schemas/shop.raw")["comment"] == "as declared"
    assert ada.call("GET", f"{UNITY}/volumes/shop.raw.landing")["volume_type"] == "MANAGED"
    assert _grants(ada, "shop.raw") == {"analysts": ["SELECT", "USE_SCHEMA"]}
    assert deployment.plan_now(ada, project())[1] == []
    assert deployment.deploy(ada, project()) == []


def test_only_what_changed_is_changed(ada: Client, project: Ready) -> None:
    deployment.deploy(ada, project())
    changed = BUNDLE.replace("[USE_SCHEMA, SELECT]", "[USE_SCHEMA]")
    said = [str(change) for change in deployment.deploy(ada, project(changed, comment="said anew"))]
    assert said[0] == "upload databricks.yml"
    assert said[1:] == ["update schemas.raw (comment)", "grants schemas.raw (- analysts SELECT)"]
    assert ada.call("GET", f"{UNITY}/schemas/shop.raw")["comment"] == "said anew"
    assert _grants(ada, "shop.raw") == {"analysts": ["USE_SCHEMA"]}


def test_what_somebody_removed_is_made_again(ada: Client, project: Ready) -> None:
    deployment.deploy(ada, project())
    ada.call("DELETE", f"{UNITY}/volumes/shop.raw.landing")
    assert [str(change) for change in deployment.plan_now(ada, project())[1]] == ["create volumes.landing (it is gone)"]
    deployment.deploy(ada, project())
    assert ada.call("GET", f"{UNITY}/volumes/shop.raw.landing")["name"] == "landing"


def test_destroying_leaves_nothing(ada: Client, project: Ready) -> None:
    deployment.deploy(ada, project())
    deployment.destroy(ada, project())
    with pytest.raises(Refused, match=r"raw"):
        ada.call("GET", f"{UNITY}/schemas/shop.raw")
    with pytest.raises(Refused):
        ada.call("GET", "/api/2.0/workspace/get-status", path="/Shared/shop")
    assert deployment.destroy(ada, project()) == []


def test_a_deployment_can_do_no_more_than_its_person(server, people, ada: Client, project: Ready) -> None:
    stranger = Client(server.url, people.person("eve@example.com").token)
    with pytest.raises(Refused) as refused:
        deployment.deploy(stranger, project(BUNDLE.replace("/Shared/shop", "/Users/eve@example.com/shop")))
    assert refused.value.status == 403


def test_what_was_done_before_a_refusal_is_remembered(ada: Client, project: Ready) -> None:
    broken = BUNDLE.replace("volume_type: MANAGED", "volume_type: MANAGED, colour: blue")
    with pytest.raises(Refused, match="colour"):
        deployment.deploy(ada, project(broken))
    said = [str(change) for change in deployment.deploy(ada, project())]
    assert "create volumes.landing" in said
    assert not any("create schemas.raw" in one for one in said)

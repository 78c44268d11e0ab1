"""Ways to more than one was given, or to a server that answers nobody: each is refused, and changes nothing."""

import json
import time
from itertools import pairwise

import httpx
import pytest

BASE = "/api/2.0/preview/scim/v2"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


@pytest.fixture
def scim(server, people):
    """A request as somebody: (status, body)."""

    def ask(who, verb, path, body=None, **headers):
        answer = httpx.request(
            verb, f"{server.url}{BASE}{path}", timeout=60, content=json.dumps(body) if body is not None else None,
            headers={"authorization": f"Bearer {who.token}", "content-type": "application/json", **headers},
        )  # fmt: skip
        return answer.status_code, answer.json() if answer.content else {}

    return ask


def patch(*operations):
    return {"schemas": [PATCH], "Operations": list(operations)}


def test_nobody_gives_themselves_a_group_a_role_or_an_entitlement(scim, people):
    bob, admin = people.person("bob@example.com", groups=["analysts"]), people.admin
    group = people.group("analysts")
    for path, operation in (
        (f"/Users/{bob.id}", {"op": "add", "path": "groups", "value": [{"value": "admins"}]}),
        (f"/Users/{bob.id}", {"op": "add", "path": "roles", "value": [{"value": "account_admin"}]}),
        (f"/Users/{bob.id}", {"op": "replace", "path": "active", "value": True}),
        ("/Groups/admins", {"op": "add", "path": "members", "value": [{"value": bob.id}]}),
        ("/Groups/admins", {"op": "add", "path": "members", "value": [{"value": group}]}),
        (f"/Groups/{group}", {"op": "add", "path": "groups", "value": [{"value": "admins"}]}),
    ):
        assert scim(bob, "PATCH", path, patch(operation))[0] == 403, operation
    assert scim(bob, "PUT", "/Groups/admins", {"displayName": "admins", "members": [{"value": bob.id}]})[0] == 403
    assert scim(bob, "POST", "/Users", {"userName": "eve@example.com"})[0] == 403
    # To an administrator the same mistakes are named.
    for path, operation in (
        (f"/Users/{bob.id}", {"op": "add", "path": "groups", "value": [{"value": "admins"}]}),
        (f"/Users/{bob.id}", {"op": "replace", "path": "id", "value": "1"}),
        (f"/Users/{bob.id}", {"op": "replace", "path": "meta.created", "value": "2000-01-01T00:00:00Z"}),
        (f"/Groups/{group}", {"op": "add", "path": "groups", "value": [{"value": "admins"}]}),
        (f"/Groups/{group}", {"op": "replace", "path": f'members[value eq "{bob.id}"].value', "value": "1"}),
        (f"/Groups/{group}", {"op": "remove", "path": f'members[value eq "{bob.id}"].value'}),
    ):
        status, said = scim(admin, "PATCH", path, patch(operation))
        assert (status, said["scimType"]) == (400, "mutability"), (operation, said)
    assert {m["value"] for m in scim(admin, "GET", "/Groups/admins")[1]["members"]} == {admin.id}


def test_read_only_attributes_of_a_new_resource_are_ignored_and_unknown_ones_refused(scim, people):
    status, made = scim(
        people.admin, "POST", "/Users",
        {"userName": "bob@example.com", "id": "admins", "groups": [{"value": "admins"}], "meta": {"version": "x"}},
    )  # fmt: skip
    assert status == 201
    assert made["id"] != "admins"
    assert [g["value"] for g in made["groups"]] == ["users"]
    for field in ("owner", "created_by", "is_admin", "kind", "metastore_id", "workspace", "version"):
        status, said = scim(people.admin, "POST", "/Users", {"userName": "eve@example.com", field: "admins"})
        assert status == 400, field
        assert field in said["detail"]


def test_a_group_is_never_inside_itself_however_deep(scim, people):
    admin = people.admin
    ids = [scim(admin, "POST", "/Groups", {"displayName": f"g{n}"})[1]["id"] for n in range(60)]
    for outer, inner in pairwise(ids):
        assert (
            scim(
                admin, "PATCH", f"/Groups/{outer}", patch({"op": "add", "path": "members", "value": [{"value": inner}]})
            )[0]
            == 200
        )
    for inside in (ids[0], ids[30]):
        operation = {"op": "add", "path": "members", "value": [{"value": inside}]}
        assert scim(admin, "PATCH", f"/Groups/{ids[-1]}", patch(operation))[0] == 400
        assert scim(admin, "PUT", f"/Groups/{ids[-1]}", {"displayName": "x", "members": [{"value": inside}]})[0] == 400
    assert (
        scim(
            admin, "PATCH", f"/Groups/{ids[5]}", patch({"op": "add", "path": "members", "value": [{"value": ids[5]}]})
        )[0]
        == 400
    )
    assert scim(admin, "GET", f"/Groups/{ids[-1]}")[1]["members"] == []


def test_a_patch_is_whole_or_nothing(scim, people):
    admin = people.admin
    _, group = scim(admin, "POST", "/Groups", {"displayName": "analysts"})
    status, _ = scim(
        admin, "PATCH", f"/Groups/{group['id']}",
        patch(
            {"op": "replace", "path": "displayName", "value": "renamed"},
            {"op": "add", "path": "members", "value": [{"value": admin.id}]},
            {"op": "add", "path": "members", "value": [{"value": "nobody"}]},
        ),
    )  # fmt: skip
    assert status == 400
    now = scim(admin, "GET", f"/Groups/{group['id']}")[1]
    assert (now["displayName"], now["members"], now["meta"]["version"]) == ("analysts", [], group["meta"]["version"])


def test_the_last_administrator_stays_whichever_way_is_tried(scim, people):
    root, crew, machine = people.admin, people.group("crew"), people.service_principal("robot")
    ann = people.person("ann@example.com", groups=["crew"])
    assert (
        scim(root, "PATCH", "/Groups/admins", patch({"op": "add", "path": "members", "value": [{"value": crew}]}))[0]
        == 200
    )
    assert scim(ann, "DELETE", f"/Users/{root.id}")[0] == 204
    # Ann is the only one left, through the group crew.
    assert scim(ann, "PATCH", f"/Groups/{crew}", patch({"op": "remove", "path": "members"}))[0] == 400
    assert (
        scim(ann, "PATCH", "/Groups/admins", patch({"op": "remove", "path": f'members[value eq "{crew}"]'}))[0] == 400
    )
    assert scim(ann, "PUT", f"/Groups/{crew}", {"displayName": "crew"})[0] == 400
    assert scim(ann, "DELETE", f"/Groups/{crew}")[0] == 400
    assert scim(ann, "DELETE", f"/Users/{ann.id}")[0] == 400
    assert scim(ann, "PATCH", f"/Users/{ann.id}", patch({"op": "replace", "path": "active", "value": False}))[0] == 400
    assert scim(ann, "PUT", f"/Users/{ann.id}", {"userName": "ann@example.com", "active": False})[0] == 400
    assert scim(ann, "DELETE", "/Groups/admins")[0] == 400
    assert scim(ann, "PUT", "/Groups/admins", {"displayName": "others", "members": [{"value": crew}]})[0] == 400
    assert (
        scim(ann, "PATCH", "/Groups/users", patch({"op": "remove", "path": f'members[value eq "{machine.id}"]'}))[0]
        == 400
    )
    assert scim(ann, "GET", "/Users")[1]["totalResults"] == 1


def test_a_recreated_principal_has_nothing_of_the_one_before(scim, server, people):
    from lakewright.kernel import grants, objects
    from lakewright.kernel.roots import METASTORE

    admin = people.admin
    made = {
        "Users": {"userName": "bob@example.com", "externalId": "e"}, "Groups": {"displayName": "readers", "externalId": "e"},
        "ServicePrincipals": {"applicationId": "11111111-1111-1111-1111-111111111111", "externalId": "e"},
    }  # fmt: skip
    for endpoint, body in made.items():
        _, before = scim(admin, "POST", f"/{endpoint}", body)
        server.platform.transact(
            lambda ctx, who=before["id"]: grants.change(ctx, objects.find(ctx, METASTORE, ""), who, add=["MANAGE"])
        )
        assert scim(admin, "DELETE", f"/{endpoint}/{before['id']}")[0] == 204
        status, after = scim(admin, "POST", f"/{endpoint}", body)
        assert (status, after["id"] != before["id"]) == (201, True)
        held = server.platform.snapshot(lambda ctx: grants.held(ctx, objects.find(ctx, METASTORE, "")))
        assert before["id"] not in held
        assert after["id"] not in held
        assert scim(admin, "GET", f'/{endpoint}?filter=externalId%20eq%20"e"')[1]["totalResults"] == 1


def test_a_stranger_finds_nobody_by_any_filter(scim, people):
    bob = people.person("bob@example.com")
    for filter in ("", '?filter=userName%20eq%20"admin"', '?filter=not%20(userName%20eq%20"x")', "?sortBy=userName"):
        for endpoint in ("Users", "Groups", "ServicePrincipals"):
            if endpoint != "Users" and "userName" in filter:
                continue
            assert scim(bob, "GET", f"/{endpoint}{filter}")[1]["totalResults"] == 0
    assert scim(bob, "POST", "/.search", {"filter": 'id eq "admins"'})[1]["totalResults"] == 0
    assert scim(bob, "GET", f"/Users/{people.admin.id}")[0] == 403
    assert scim(bob, "GET", "/Users/4711")[0] == 403


def test_paging_that_makes_no_sense_is_answered_as_the_rfc_says(scim, people):
    admin = people.admin
    for n in range(3):
        people.person(f"u{n}@example.com")
    for query, count in (
        ("count=-1", 0), ("count=0", 0), ("startIndex=-5", 4), ("startIndex=0&count=2", 2), ("count=99999999999", 4),
        ("startIndex=99999999999", 0), ("startIndex=4&count=10", 1), ("startIndex=9223372036854775807&count=2", 0),
    ):  # fmt: skip
        status, said = scim(admin, "GET", f"/Users?{query}")
        assert (status, said["totalResults"], len(said["Resources"])) == (200, 4, count), query
        assert said["itemsPerPage"] == count
    for query in (
        "count=x",
        "count=99999999999999999999",
        "startIndex=99999999999999999999",
        "startIndex=1.5",
        "sortBy=nothing",
        "sortBy=name",
        "sortOrder=sideways&sortBy=id",
    ):
        assert scim(admin, "GET", f"/Users?{query}")[0] == 400, query


def test_ten_thousand_clauses_are_refused_at_once(scim, people):
    huge = " or ".join(['title eq "x"'] * 10_000)
    began = time.perf_counter()
    status, said = scim(people.admin, "POST", "/Users/.search", {"filter": huge})
    assert (status, said["scimType"]) == (400, "invalidFilter")
    assert "characters at most" in said["detail"], "it was read to the end before it was refused"
    status, said = scim(people.admin, "POST", "/Users/.search", {"filter": "(" * 4000 + "title pr" + ")" * 4000})
    assert time.perf_counter() - began < 5
    assert (status, said.get("scimType")) in ((400, "invalidFilter"), (200, None))
    bound = patch(*[{"op": "add", "path": "title", "value": "x"}] * 1001)
    assert scim(people.admin, "PATCH", f"/Users/{people.admin.id}", bound)[0] == 400


NOWHERE = {
    'members[value eq "x"].roles': "invalidPath", "members[": "invalidPath", "nothing": "invalidPath", "members[value eq]": "invalidPath",
    'displayName[value eq "x"]': "invalidFilter", "members.roles": "invalidPath", 'members[nothing eq "x"]': "invalidFilter",
    "urn:ietf:params:scim:schemas:core:2.0:Nothing:members": "invalidPath", "members[" * 50: "invalidPath",
    "members[" + " or ".join(['value eq "x"'] * 10_000) + "]": "invalidFilter",
}  # fmt: skip


def test_a_path_that_leads_nowhere_is_refused(scim, people):
    group = people.group("analysts")
    for path, word in NOWHERE.items():
        status, said = scim(people.admin, "PATCH", f"/Groups/{group}", patch({"op": "remove", "path": path}))
        assert (status, said.get("scimType")) == (400, word), said


def test_an_older_version_does_not_overwrite_a_newer_one(scim, people):
    admin = people.admin
    _, made = scim(admin, "POST", "/Users", {"userName": "bob@example.com"})
    here, seen = f"/Users/{made['id']}", {"if-match": made["meta"]["version"]}
    assert scim(admin, "GET", here, **{"if-none-match": made["meta"]["version"]})[0] == 304
    assert scim(admin, "PATCH", here, patch({"op": "add", "path": "title", "value": "1"}), **seen)[0] == 200
    assert scim(admin, "PATCH", here, patch({"op": "add", "path": "title", "value": "2"}), **seen)[0] == 412
    assert scim(admin, "PUT", here, {"userName": "bob@example.com"}, **seen)[0] == 412
    assert scim(admin, "DELETE", here, **seen)[0] == 412
    assert scim(admin, "GET", here)[1]["title"] == "1"
    assert scim(admin, "DELETE", here, **{"if-match": "*"})[0] == 204


def test_a_change_of_members_is_another_version(scim, people):
    admin, group = people.admin, people.group("analysts")
    versions = [scim(admin, "GET", f"/Groups/{group}")[1]["meta"]["version"]]
    for operation in ("add", "remove"):
        change = {"op": operation, "path": "members", "value": [{"value": admin.id}]}
        scim(admin, "PATCH", f"/Groups/{group}", patch(change))
        versions.append(scim(admin, "GET", f"/Groups/{group}")[1]["meta"]["version"])
        scim(admin, "PATCH", f"/Groups/{group}", patch(change))  # which changes nothing
        assert scim(admin, "GET", f"/Groups/{group}")[1]["meta"]["version"] == versions[-1]
    assert len(set(versions)) == 3


def test_a_name_that_only_its_case_tells_apart_is_taken(scim, people):
    admin = people.admin
    assert scim(admin, "POST", "/Groups", {"displayName": "ADMINS"})[0] == 409
    assert scim(admin, "POST", "/Users", {"userName": "Admin"})[0] == 409
    _, group = scim(admin, "POST", "/Groups", {"displayName": "readers"})
    status, said = scim(
        admin, "PATCH", f"/Groups/{group['id']}", patch({"op": "replace", "path": "displayName", "value": "Users"})
    )
    assert (status, said["scimType"]) == (409, "uniqueness")


def test_what_is_asked_for_is_answered_and_nothing_else(scim, people):
    admin = people.admin
    body = {"userName": "b@example.com", "name": {"givenName": "B", "familyName": "Ob"}, "title": "x"}
    _, made = scim(admin, "POST", "/Users", body)
    here = f"/Users/{made['id']}"
    assert scim(admin, "GET", f"{here}?attributes=name.givenName,TITLE")[1] == {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "id": made["id"], "name": {"givenName": "B"}, "title": "x",
    }  # fmt: skip
    urn = "urn:ietf:params:scim:schemas:core:2.0:User"
    assert scim(admin, "GET", f"{here}?attributes={urn}:name.familyName")[1]["name"] == {"familyName": "Ob"}
    left = scim(admin, "GET", f"{here}?excludedAttributes=id,schemas,name.givenName,emails,groups")[1]
    assert (left["id"], left["name"], "emails" in left, "groups" in left) == (
        made["id"],
        {"familyName": "Ob"},
        False,
        False,
    )
    assert scim(admin, "GET", f"{here}?attributes=name&excludedAttributes=title")[0] == 400


def test_values_have_limits(scim, people):
    admin = people.admin
    many = [{"value": f"{n}@example.com"} for n in range(101)]
    assert scim(admin, "POST", "/Users", {"userName": "b@example.com", "title": "x" * 513})[0] == 400
    assert scim(admin, "POST", "/Users", {"userName": "b@example.com", "emails": many})[0] == 400
    assert scim(admin, "POST", "/Users", {"userName": "x" * 256})[0] == 400
    assert scim(admin, "POST", "/Users", {"userName": " "})[0] == 400
    assert (
        scim(admin, "POST", "/Groups", {"displayName": "x", "members": [{"value": admin.id, "roles": "x"}]})[0] == 400
    )
    assert scim(admin, "GET", "/Users")[1]["totalResults"] == 1


def test_random_payloads_are_answered_or_refused_and_break_nothing(platform):
    """The short form of `make bench BENCH=provisioning`."""
    from benchmarks import provisioning

    outcome = provisioning.hostile(platform, seed=5, payloads=500)
    assert not outcome.broken, "\n".join(outcome.broken)
    assert outcome.answers["accepted"] > 50

"""A process in which a capability enforces an entitlement: what it declares is what SCIM accepts, and no more.

Run by test_entitlements.py in a process of its own: the schemas are made once, after all capabilities have declared.
"""

import sys
from pathlib import Path

from lakewright.identity import principals
from lakewright.kernel import grants, objects
from lakewright.kernel.faults import NotSupported
from lakewright.kernel.roots import METASTORE
from lakewright.kernel.rules import Condition


def write(ctx, principal_id, values):
    metastore = objects.find(ctx, METASTORE, "")
    grants.change(ctx, metastore, principal_id, remove=["MANAGE"], add=values)


principals.ASSIGNMENTS["entitlements"] = principals.Assignment(
    values=("MANAGE",), write=write,
    rows=lambda: Condition(
        'SELECT g.principal AS principal_id, g."right" AS value FROM grants g JOIN objects o ON o.id = g.object_id'
        " WHERE o.kind = ?", ("metastore",),
    ),
)  # fmt: skip

from lakewright.app import build
from lakewright.identity import groups, people, scim_discovery
from lakewright.kernel.config import Settings

platform = build(Settings(data_dir=Path(sys.argv[1]), port=0))
admin = platform.snapshot(lambda ctx: ctx.id_of("admin"))
can = [{"value": "MANAGE"}]


def call(operation, **fields):
    return platform.call(admin, operation, **fields).body


def refused(operation, **fields):
    try:
        call(operation, **fields)
    except NotSupported as fault:
        return str(fault)
    return ""


for operations, named in ((people, {"userName": "bob@example.com"}), (groups, {"displayName": "managers"})):
    made = call(operations.create, **named, entitlements=can)
    assert made["entitlements"] == can
    assert call(operations.get, id=made["id"])["entitlements"] == can
    found = call(operations.list_, filter='entitlements.value eq "MANAGE"')["Resources"]
    assert [each["id"] for each in found] == [made["id"]]
    assert call(operations.list_, filter='not (entitlements[value eq "MANAGE"])')["totalResults"] > 0
    taken = [{"op": "remove", "path": 'entitlements[value eq "MANAGE"]'}]
    assert "entitlements" not in call(operations.patch, id=made["id"], Operations=taken)
    given = [{"op": "add", "path": "entitlements", "value": can}]
    assert call(operations.patch, id=made["id"], Operations=given)["entitlements"] == can
    more = [{"op": "add", "path": "entitlements", "value": [{"value": "FLY"}]}]
    assert "nothing enforces FLY; possible: MANAGE" in refused(operations.patch, id=made["id"], Operations=more)
    assert "nothing enforces FLY" in refused(
        operations.replace, id=made["id"], **named, entitlements=[{"value": "FLY"}]
    )
    assert "nothing enforces admin" in refused(operations.replace, id=made["id"], **named, roles=[{"value": "admin"}])
    assert call(operations.get, id=made["id"])["entitlements"] == can
    assert "entitlements" not in call(operations.replace, id=made["id"], **named)

schema = call(scim_discovery.schema, id="urn:ietf:params:scim:schemas:core:2.0:User")
attributes = {each["name"]: each for each in schema["attributes"]}
assert attributes["entitlements"]["mutability"] == "readWrite"
assert attributes["entitlements"]["subAttributes"][0]["canonicalValues"] == ["MANAGE"]
assert attributes["roles"]["mutability"] == "readOnly"
platform.stop()

"""People of an installation that is older than SCIM's schemas here are shown and found like all others."""

import base64
import json

from benchmarks import upgrades
from lakewright.app import build
from lakewright.identity import groups, people, service_principals
from lakewright.kernel.store import open_store
from scripts import old_schemas


def test_people_of_an_older_installation_keep_their_names_and_are_found(settings):
    old = old_schemas.load()[0]
    for row in old["rows"]["objects"]:
        if row["name"] == "ada@example.com":
            row["spec"] = json.dumps({"external_id": "E7", "given_name": "Ada", "family_name": "Óskarsdóttir"})
    settings.data_dir.mkdir(parents=True)
    (settings.data_dir / "root.key").write_bytes(base64.b64decode(old["key"]))
    store = open_store(settings.database_url, settings.sqlite_path)
    upgrades.make(store, old)
    store.close()
    platform = build(settings)
    try:
        admin = platform.snapshot(lambda ctx: ctx.id_of("admin"))

        def found(operation, filter):
            return platform.call(admin, operation, filter=filter).body["Resources"]

        for filter in ('userName eq "ADA@example.com"', 'name.familyName sw "ÓSK"', 'externalId eq "E7"'):
            [ada] = found(people.list_, filter)
            assert ada["name"] == {"givenName": "Ada", "familyName": "Óskarsdóttir"}
        body = {"Operations": [{"op": "replace", "path": "name.familyName", "value": "Lovelace"}]}
        changed = platform.call(admin, people.patch, id=ada["id"], **body).body
        assert changed["name"] == {"givenName": "Ada", "familyName": "Lovelace"}
        assert [g["displayName"] for g in found(groups.list_, 'displayName eq "Analysts"')] == ["analysts"]
        [machine] = found(service_principals.list_, "applicationId pr")
        assert found(service_principals.list_, f'applicationId eq "{machine["applicationId"]}"')
        assert {g["displayName"] for g in found(groups.list_, 'displayName ew "s"')} == {"admins", "analysts", "users"}
    finally:
        platform.stop()

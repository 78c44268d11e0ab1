"""The trail is whole until somebody alters it, and then it says where."""

from __future__ import annotations

import pytest

from lakewright.projects.client import Client, Refused

VERIFY = "/api/2.1/lakewright/audit/verify"


def test_the_trail_is_whole_and_counts_the_refusals(server, people) -> None:
    ada = people.person("ada@example.com")
    with pytest.raises(Refused) as refused:
        Client(server.url, ada.token).call("GET", VERIFY)
    assert refused.value.status == 403
    found = Client(server.url, people.admin.token).call("GET", VERIFY)
    assert found["whole"]
    assert found["rows"] >= 1


def test_an_altered_row_is_named(server, people) -> None:
    admin = Client(server.url, people.admin.token)
    admin.call("GET", VERIFY)

    def alter(ctx) -> int:
        return ctx.tx.run("UPDATE audit SET who_name = 'nobody' WHERE seq = 1")

    server.platform.transact(alter)
    found = admin.call("GET", VERIFY)
    assert (found["whole"], found["seq"], found["what"]) == (False, 1, "altered")

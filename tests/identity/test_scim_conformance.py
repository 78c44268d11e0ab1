"""An independent judge of SCIM 2.0: scim2-tester asks over a socket, and every check of it passes."""

import httpx2
import pytest
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server


@pytest.mark.parametrize("scope", ["workspace", "account"])
def test_every_check_of_scim2_tester_passes(server, people, scope):
    account = server.platform.snapshot(lambda ctx: ctx.tx.scalar("SELECT id FROM objects WHERE kind = 'account'"))
    path = {"workspace": "/api/2.0/preview/scim/v2", "account": f"/api/2.0/accounts/{account}/scim/v2"}[scope]
    with httpx2.Client(
        base_url=server.url + path, headers={"Authorization": f"Bearer {people.admin.token}"}, timeout=30
    ) as http:
        results = check_server(SyncSCIMClient(http))
    wrong = [f"{r.title} {r.resource_type}: {r.status.name} {r.reason}" for r in results if r.status != Status.SUCCESS]
    assert not wrong, "\n".join(wrong)
    assert len(results) > 100

"""Schemathesis in its short form; the long one is `python -m tests.campaigns.schemas --examples 50`."""

import pytest
from campaigns import schemas

from lakewright.kernel.operation import OPERATIONS


@pytest.mark.timeout(400)
def test_what_the_schemas_allow_and_forbid_breaks_nothing_and_is_answered_as_declared(server):
    found = schemas.Campaign(server.platform, server.url, 20261121).run(2)
    assert found.wrong == {}, "\n".join(f"{title}: {said}" for title, said in list(found.wrong.items())[:20])
    assert len(found.asked) == len(OPERATIONS) - len(schemas.LEFT_OUT)
    assert len(found.answered) > 80
    assert min(found.statuses[status] for status in (200, 400, 403, 404)) > 100
    assert found.statuses[401] < 50  # nobody lost their token on the way

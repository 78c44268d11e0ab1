"""The attack campaign in its short form; the long one is `python -m tests.campaigns.attacks --requests 20000`."""

import os

import pytest
from campaigns import attacks, hostile_world


@pytest.mark.timeout(240)
def test_hostile_requests_leak_nothing_break_nothing_and_are_all_on_record(platform, server):
    seed = int(os.environ.get("LAKEWRIGHT_ATTACK_SEED", "20261121"))
    campaign = attacks.run(hostile_world.build(platform, server.url, seed), 800, seed)
    assert campaign.wrong == [], f"seed {seed}:\n" + "\n".join(campaign.wrong[:20])
    assert len({name for name, _ in campaign.reached}) > 200
    assert campaign.statuses[401] > 100
    assert campaign.statuses[403] > 100
    assert campaign.statuses[200] > 10


@pytest.mark.timeout(240)
def test_whatever_reads_shows_nobody_what_is_anothers(platform, server):
    campaign = attacks.sweep(hostile_world.build(platform, server.url, 3))
    assert campaign.wrong == [], "\n".join(campaign.wrong[:20])
    assert campaign.statuses[200] > 300

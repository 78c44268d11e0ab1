"""Decisions as two other engines make them. The long form: `PYTHONPATH=tests python -m campaigns.oracles`."""

import random

import pytest
from campaigns.oracles import Cedar, Postgres, catalog_world, compare, whole_world
from postgres import binaries, server


def test_decisions_agree_with_cedar(platform):
    outcome = compare(platform, Cedar(), whole_world(10, 6), random.Random(3), mark="c", decisions=6000)
    assert not outcome.disagreements, outcome.disagreements[:10]
    assert outcome.decisions >= 6000
    assert 0.1 < outcome.allowed / outcome.decisions < 0.9


@pytest.mark.skipif(binaries() is None, reason="Postgres is not installed")
def test_decisions_agree_with_the_privileges_of_nested_roles_in_postgres(platform):
    with server() as url:
        oracle = Postgres(url, live=10)
        outcome = compare(platform, oracle, catalog_world(10, 6), random.Random(4), mark="p", decisions=6000)
    assert not outcome.disagreements, outcome.disagreements[:10]
    assert outcome.decisions >= 6000
    assert 0.1 < outcome.allowed / outcome.decisions < 0.9

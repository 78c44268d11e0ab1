"""Fixtures of the tracking tests."""

from typing import Any

import pytest
from worlds import World, make_world


@pytest.fixture
def world(server: Any, people: Any) -> World:
    return make_world(server, people)

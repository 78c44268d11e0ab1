"""Fixtures of the tracking tests."""

from typing import Any

import pytest
from worlds import World, make_world


@pytest.fixture
def world(server: Any, people: Any) -> World:
    return make_world(server, people)


@pytest.fixture
def settings(settings: Any) -> Any:
    """Everybody may make things in /Shared, as an installation may set it."""
    settings.access.shared_folder = "CAN_MANAGE"
    return settings

"""The guide for security reviewers names tests that exist; and there is one place from which the server fetches."""

import re
from pathlib import Path

import lakewright
from lakewright.kernel.config import HttpLimits

TESTS = Path(__file__).parent.parent
GUIDE = (TESTS.parent / "docs/guides/security.md").read_text()
SOURCE = Path(lakewright.__file__).parent


def test_every_attack_of_the_guide_names_tests_that_exist():
    missing, found, file = [], 0, ""
    for row in re.findall(r"^\| [A-H]\d.*$", GUIDE, re.MULTILINE):
        for named, test in re.findall(r"`([\w/.]+\.py)?::(test_\w+)`", row):
            file, found = named or file, found + 1
            if not (TESTS / file).exists() or f"def {test}" not in (TESTS / file).read_text():
                missing.append(f"{file}::{test}")
    assert missing == []
    assert found > 60


def test_every_limit_of_a_request_is_in_the_guide():
    assert [
        name
        for name in HttpLimits.model_fields
        if f"`{name.upper()}" not in GUIDE and f", `{name.upper()}" not in GUIDE
    ] == []


CLIENTS = ("cli", "runtime", "projects", "engines/model_process")
"""Programs of their own, which talk to the platform or run inside a task."""
TO_ITSELF = "serving/model_client.py"
"""Talks to the model processes that this server started, and to nothing that a request names."""


def test_the_server_fetches_from_one_place():
    """Addresses that come from outside are fetched by identity/fetching.py only, which reaches no inner address (E1, E2)."""
    fetching = re.compile(
        r"^\s*(?:import|from) (?:httpx|requests|urllib3|aiohttp|urllib\.request|http\.client)\b", re.MULTILINE
    )
    found = {
        str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py")
        if fetching.search(path.read_text()) and not str(path.relative_to(SOURCE)).startswith(CLIENTS)
    }  # fmt: skip
    assert found == {"identity/fetching.py", TO_ITSELF}

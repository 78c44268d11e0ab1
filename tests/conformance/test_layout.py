"""How the tests themselves are laid out: what pytest would otherwise refuse only when all of them run together."""

from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parent.parent


def test_no_two_test_files_outside_packages_share_a_name():
    loose = [path for path in TESTS.rglob("test_*.py") if not (path.parent / "__init__.py").exists()]
    often = Counter(path.name for path in loose)
    assert [str(path.relative_to(TESTS)) for path in loose if often[path.name] > 1] == []

"""What may be called what."""

import pytest

from lakewright.catalog.names import checked, joined, parts
from lakewright.kernel.faults import Invalid


def test_a_name_is_kept_in_lower_case():
    assert checked("Sales_2013") == "sales_2013"
    assert joined("Main", "RAW") == "main.raw"


@pytest.mark.parametrize("name", ["données", "a-b", "Ünïcode", "_x", "1", "a" * 255, "日本"])
def test_a_name_may_hold_letters_of_any_script(name: str):
    assert checked(name) == name.lower()


@pytest.mark.parametrize(
    "name",
    ["", "a.b", "a/b", "..", "a b", "a\\b", "a`b", "a'b", 'a"b', "a;b", "a\x00b", "a\nb", "a\x7fb", "a\u202eb", "a\u200bb",
     "a\ud800", "e\u0301", "a" * 256],
)  # fmt: skip
def test_a_name_that_could_end_an_identifier_or_hide_text_is_refused(name: str):
    with pytest.raises(Invalid):
        checked(name)


def test_a_full_name_has_the_levels_of_its_kind():
    assert parts("Main.Raw.Flights", 3) == ["main", "raw", "flights"]
    for wrong in ("main", "main.raw", "a.b.c.d", "a..c", "..", ""):
        with pytest.raises(Invalid):
            parts(wrong, 3)

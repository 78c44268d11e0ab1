"""Commands are read in one pass, whatever is in them: a text made to be tried in every way is refused like any other."""

import pytest

from lakewright.kernel.faults import Invalid, NotSupported
from lakewright.sql import commands

LONG = 90_000
HOSTILE = {
    "blanks before nothing": "GRANT" + " " * LONG + "x",
    "blanks among optional parts": "CREATE FUNCTION a.b.c ( ) RETURNS INT" + " " * LONG + "x",
    "many ends of a list": "CREATE FUNCTION a.b.c ( " + ") RETURNS i " * (LONG // 12),
    "many words of a type": "CREATE FUNCTION a.b.c () RETURNS " + "a " * (LONG // 2),
    "comments that never end": "SHOW " + "/* " * (LONG // 3),
    "quotes that never end": "COMMENT ON TABLE a IS '" + "''" * (LONG // 2),
    "names without end": "ALTER TABLE " + "a . " * (LONG // 4),
    "columns without end": "ALTER TABLE a SET ROW FILTER f ON (" + "a , " * (LONG // 4),
    "properties without end": "ALTER TABLE a SET TBLPROPERTIES (" + ") " * (LONG // 2) + "x",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_text_made_to_be_tried_in_every_way_is_refused_at_once(text: str) -> None:
    with pytest.raises((Invalid, NotSupported)):
        commands.read(text)


@pytest.mark.parametrize(
    "text",
    [
        "SHOW TABLES IN a.b -- with /* in it",
        "SHOW /* one */ /* two */\n\n   TABLES\tIN a.b ;",
        "CREATE FUNCTION a.b.c (x STRUCT<a: DECIMAL(10, 2)> COMMENT 'a ) in it')\n  RETURNS INT\n  RETURN 1",
        "COMMENT ON TABLE a.b.c IS 'two  blanks -- and /* no comment'",
    ],
)
def test_comments_and_blanks_stand_anywhere_outside_of_quotes(text: str) -> None:
    assert commands.read(text) is not None


def test_a_comment_that_is_not_closed_does_not_hide_the_rest() -> None:
    with pytest.raises(Invalid, match="not closed"):
        commands.read("DROP TABLE a.b.c /* but not this one")

"""The statements that sqlglot has no grammar for: SHOW, DESCRIBE, GRANT, ALTER … SET ROW FILTER and their like.

Each is one pattern and one function. A text that begins like one of them and fits no pattern is refused, never guessed at.
"""

# pyarrow, sqlglot and duckdb have no types, or only some.
# pyright: basic
from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from lakewright.kernel.faults import Invalid, NotSupported
from lakewright.sql.governed import Result
from lakewright.sql.statement import Desk

Do = Callable[[Desk, "Given"], Result]

_ONE = r"(?:`(?:[^`]|``)+`|[\w-]+)"
_NAME = rf"{_ONE}(?:\s*\.\s*{_ONE}){{0,2}}"
_SECURABLE = r"(?:TABLE|VIEW|SCHEMA|DATABASE|CATALOG|VOLUME|FUNCTION|MODEL|EXTERNAL\s+LOCATION|STORAGE\s+CREDENTIAL)"
_TEXT = r"(?:'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\")"
_PLAIN = rf"(?:[^;()'\"`]|{_TEXT}|`[^`]*`)"
_INSIDE = rf"(?:{_PLAIN}|\((?:{_PLAIN}|\({_PLAIN}*+\))*+\))*+"
"""What may stand between parentheses: up to the one that closes them, which is found in one pass."""


@dataclass(frozen=True)
class Given:
    """What the placeholders of a pattern stood for."""

    groups: dict[str, str | None]

    def has(self, key: str) -> bool:
        return self.groups.get(key) is not None

    def word(self, key: str) -> str:
        return (self.groups.get(key) or "").strip().lower()

    def raw(self, key: str) -> str:
        return (self.groups.get(key) or "").strip()

    def name(self, key: str = "name") -> list[str]:
        """The parts of a dotted name, without backticks."""
        return [unquoted(p) for p in re.findall(_ONE, self.groups.get(key) or "")]

    def names(self, key: str) -> list[str]:
        return [unquoted(p) for p in re.findall(_ONE, self.groups.get(key) or "")]

    def text(self, key: str) -> str | None:
        found = self.groups.get(key)
        return None if found is None else literal(found)


def unquoted(part: str) -> str:
    return part[1:-1].replace("``", "`") if part.startswith("`") else part


def literal(text: str) -> str:
    inner = text.strip()[1:-1].replace("''", "'")
    return re.sub(r"\\(.)", r"\1", inner)


@dataclass(frozen=True)
class Pattern:
    regex: re.Pattern[str]
    do: Do


def pattern(text: str, do: Do) -> Pattern:
    """A pattern in which <name>, <text>, <rest> … stand for what is given; <key:name> gives it another key.
    `[…]` may be left out, `(a|b)` is a choice, « and » are parentheses that must be there. Blanks are taken possessively:
    shared out among several optional parts, forty of them would keep the interpreter busy for seconds, a hundred for ever."""
    from re import escape

    kinds = {
        "name": _NAME, "one": _ONE, "text": _TEXT, "names": rf"{_ONE}(?:\s*,\s*{_ONE})*", "rest": r".+",
        "words": r"[\w ,]+?", "list": rf"(?:{_ONE}(?:\s*,\s*{_ONE})*)?", "pairs": r".+?", "inside": _INSIDE,
        "type": r"\w[\w<>,:() `]*?", "exists": r"IF\s+NOT\s+EXISTS\b", "replace": r"OR\s+REPLACE\b", "word": r"EXISTS\b",
        "how": r"(?:CASCADE|RESTRICT)\b", "kind": r"(?:TABLE|VIEW|SCHEMA|DATABASE|CATALOG|VOLUME|FUNCTION)\b",
        "extended": r"(?:EXTENDED|FORMATTED)\b", "securable": rf"{_SECURABLE}\b", "metastore": r"METASTORE\b",
    }  # fmt: skip
    keys = {"securable": "kind", "metastore": "kind"}
    out: list[str] = []
    for token in re.findall(r"<[^>]+>|\[|\]|\||\(|\)|[^\s<>\[\]|()]+|\s+", text):
        if token.startswith("<"):
            key, _, kind = token[1:-1].rpartition(":")
            out.append(f"(?P<{key or keys.get(kind, kind)}>{kinds[kind]})")
        elif token == "[":
            out.append("(?:")
        elif token == "]":
            out.append(")?")
        elif token in "|":
            out.append("|")
        elif token == "(":
            out.append("(?:")
        elif token == ")":
            out.append(")")
        elif token.isspace():
            out.append(r"\s*+")
        elif token in ("«", "»"):
            out.append(r"\(" if token == "«" else r"\)")
        else:
            out.append(rf"{escape(token)}" + (r"\b" if token[-1].isalnum() else ""))
    return Pattern(re.compile(r"\s*+" + "".join(out) + r"\s*+;?\s*+", re.IGNORECASE | re.DOTALL), do)


LONGEST = 100_000
_OWN = re.compile(
    r"\s*(SHOW|DESCRIBE|DESC|ALTER|GRANT|REVOKE|DENY|USE|SET|RESET|EXPLAIN|COMMENT|DROP|UNDROP|OPTIMIZE|VACUUM|RESTORE|ANALYZE|CALL|EXECUTE|COPY"
    r"|CREATE\s+(?:OR\s+REPLACE\s+)?(?:CATALOG|SCHEMA|DATABASE|VOLUME|EXTERNAL\s+VOLUME|FUNCTION|VIEW))\b",
    re.IGNORECASE,
)


def read(sql: str) -> Callable[[Desk], Result] | None:
    """The command that the text is; None when it is not of this grammar at all."""
    if len(sql) > LONGEST and _OWN.match(sql):
        raise Invalid(f"This statement may have at most {LONGEST} characters")
    text = _without_comments(sql)
    begins = _OWN.match(text)
    if begins is None:
        return None
    from lakewright.sql import definitions, showing

    for each in (*showing.PATTERNS, *definitions.PATTERNS):
        if found := each.regex.fullmatch(text):
            given = Given(found.groupdict())
            return lambda desk, do=each.do: do(desk, given)
    verb = " ".join(begins.group(1).upper().split())
    if verb in ("DROP", "GRANT", "REVOKE", "COMMENT", "SHOW", "DESCRIBE", "DESC", "ALTER"):
        raise Invalid(f"[PARSE_SYNTAX_ERROR] This {verb} is not understood, or not supported", code="BAD_REQUEST")
    raise NotSupported(f"{verb} is not supported")


def _without_comments(sql: str) -> str:
    """Comments outside of quotes, and blanks in a row, become one blank."""
    return _TOKEN.sub(_plain, sql)


_TOKEN = re.compile(
    rf"{_TEXT}|`(?:[^`]|``)*`|(?P<open>/\*(?:(?!\*/).)*+\Z)|(?P<blank>(?:\s|--[^\n]*|/\*.*?\*/)++)", re.DOTALL
)


def _plain(token: re.Match[str]) -> str:
    if token["open"]:
        raise Invalid("[PARSE_SYNTAX_ERROR] A comment is not closed", code="BAD_REQUEST")
    return " " if token["blank"] else token[0]

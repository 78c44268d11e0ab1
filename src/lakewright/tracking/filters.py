"""The language people search runs, experiments and logged models with: `metrics.auc > 0.8 AND params.model = 'gbm'`.

A filter is comparisons joined by AND. Names are `kind.key`, the key bare or in backticks or double quotes; texts are
quoted, numbers are not. This reads the language and nothing else: what a comparison means in SQL is `searching`'s.
"""

import re
from dataclasses import dataclass
from typing import Literal

from lakewright.kernel.faults import Invalid

Entity = Literal["metric", "param", "tag", "attribute", "dataset", "metadata"]
Operator = Literal["=", "!=", "<", "<=", ">", ">=", "LIKE", "ILIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL"]
Value = str | float | int | tuple[str, ...] | None

LONGEST = 20_000
MOST = 100
"""Characters and comparisons of one filter: each comparison is one more condition the database evaluates."""

NUMBERS = frozenset({"=", "!=", "<", "<=", ">", ">="})
TEXTS = frozenset({"=", "!=", "LIKE", "ILIKE"})
LISTS = frozenset({"IN", "NOT IN"})
NULLS = frozenset({"IS NULL", "IS NOT NULL"})

ENTITIES: dict[str, Entity] = {
    "metric": "metric", "metrics": "metric",
    "param": "param", "params": "param", "parameter": "param", "parameters": "param",
    "tag": "tag", "tags": "tag",
    "attribute": "attribute", "attributes": "attribute", "attr": "attribute", "run": "attribute",
    "dataset": "dataset", "datasets": "dataset",
    "trace": "attribute", "metadata": "metadata", "request_metadata": "metadata",
}  # fmt: skip

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^']|'')*')
      | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?![\w.])
      | (?P<operator><=|>=|!=|=|<|>)
      | (?P<name>(?:\w[\w\-]*|`[^`]*`|"[^"]*")(?:\.(?:[\w\-/:]+|`[^`]*`|"[^"]*"))*)
      | (?P<mark>[(),])
    )""",
    re.VERBOSE,
)
_PART = re.compile(r'`[^`]*`|"[^"]*"|[^.`"]+')


@dataclass(frozen=True)
class Name:
    entity: Entity
    key: str


@dataclass(frozen=True)
class Comparison:
    name: Name
    operator: Operator
    value: Value


@dataclass(frozen=True)
class Order:
    name: Name
    ascending: bool


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str

    def __str__(self) -> str:
        return self.text

    def word(self) -> str:
        return self.text.upper() if self.kind == "name" else ""


def parse(text: str | None) -> list[Comparison]:
    """The comparisons of a filter; Invalid with the place that could not be read."""
    if not text or not text.strip():
        return []
    reader = _Reader(_tokens(text), text)
    found = [reader.comparison()]
    while reader.left():
        reader.expect_and()
        found.append(reader.comparison())
        if len(found) > MOST:
            raise Invalid(f"Invalid filter: at most {MOST} comparisons can be joined")
    return found


def parse_order(text: str) -> Order:
    """One `order_by` entry: a name, and ASC or DESC."""
    tokens = _tokens(text)
    if tokens and tokens[0].kind == "name" and len(tokens) <= 2:
        way = tokens[1].word() if len(tokens) == 2 else "ASC"
        if way in ("ASC", "DESC"):
            return Order(named(tokens[0].text), way == "ASC")
    raise Invalid(f"Invalid order_by clause '{text[:200]}'. Could not be parsed.")


def named(text: str) -> Name:
    """`metrics.`val loss`` as what it names; a name without a kind is an attribute."""
    parts = _PART.findall(text)
    if len(parts) == 1:
        return Name("attribute", _bare(parts[0]))
    entity = ENTITIES.get(_bare(parts[0]))
    if entity is None:
        raise Invalid(
            f"Invalid entity type '{_bare(parts[0])[:100]}'. Valid values are"
            " ['metric', 'parameter', 'tag', 'attribute', 'dataset']"
        )
    return Name(entity, _bare(text[len(parts[0]) + 1 :]))


def _bare(text: str) -> str:
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "`\"'" else text


def _tokens(text: str) -> list[_Token]:
    if len(text) > LONGEST:
        raise Invalid(f"Invalid filter: it is longer than {LONGEST} characters")
    tokens, at, end = list[_Token](), 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise Invalid(f"Invalid clause(s) in filter string: '{text[at : at + 40].strip()}'")
        tokens.append(_Token(found.lastgroup, found[found.lastgroup]))
        at = found.end()
    return tokens


class _Reader:
    def __init__(self, tokens: list[_Token], text: str) -> None:
        self._tokens, self._text, self._at = tokens, text, 0

    def left(self) -> bool:
        return self._at < len(self._tokens)

    def comparison(self) -> Comparison:
        name = self._take()
        if name.kind != "name":
            raise self._bad(f"Expected a name, found '{name}'")
        operator = self._operator()
        if operator in NULLS:
            return Comparison(named(name.text), operator, None)
        value = self._list() if operator in LISTS else self._value()
        return Comparison(named(name.text), operator, value)

    def expect_and(self) -> None:
        token = self._take()
        if token.word() != "AND":
            raise self._bad(f"Comparisons are joined by AND, found '{token}'")

    def _operator(self) -> Operator:
        token = self._take()
        match token.kind, token.word():
            case "operator", _:
                return token.text  # type: ignore[return-value]  # the token's pattern allows nothing else
            case _, "LIKE" | "ILIKE" | "IN":
                return token.word()  # type: ignore[return-value]
            case _, "NOT":
                self._word("IN")
                return "NOT IN"
            case _, "IS":
                negated = self._peek() == "NOT"
                if negated:
                    self._take()
                self._word("NULL")
                return "IS NOT NULL" if negated else "IS NULL"
            case _:
                raise self._bad(f"Expected a comparison, found '{token}'")

    def _value(self) -> Value:
        token = self._take()
        if token.kind == "number":
            return float(token.text) if any(c in token.text for c in ".eE") else int(token.text)
        if token.kind == "text":
            return token.text[1:-1].replace("''", "'")
        if token.kind == "name" and len(token.text) >= 2 and token.text[0] == '"':
            return _bare(token.text)
        raise self._bad(f"Expected a quoted string or a number, found '{token}'. Use single or double quotes.")

    def _list(self) -> tuple[str, ...]:
        if self._take().text != "(":
            raise self._bad("Expected a list of quoted strings in parentheses")
        found: list[str] = []
        while True:
            value = self._value()
            if not isinstance(value, str):
                raise self._bad("A list holds quoted strings only")
            found.append(value)
            mark = self._take().text
            if mark == ")":
                return tuple(found)
            if mark != ",":
                raise self._bad(f"Expected ',' or ')', found '{mark}'")
            if self.left() and self._tokens[self._at].text == ")":
                self._take()
                return tuple(found)

    def _word(self, wanted: str) -> None:
        token = self._take()
        if token.word() != wanted:
            raise self._bad(f"Expected {wanted}, found '{token}'")

    def _peek(self) -> str:
        return self._tokens[self._at].word() if self.left() else ""

    def _take(self) -> _Token:
        if not self.left():
            raise self._bad("It ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _bad(self, why: str) -> Invalid:
        return Invalid(f"Invalid filter '{self._text[:200]}'. {why}")

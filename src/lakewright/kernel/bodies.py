"""What a request's body may be: JSON and forms that mean one thing, and no more than a server can hold.

orjson refuses invalid UTF-8, lone surrogates, NaN, Infinity and 1e400 by itself. It reads a name given twice by its
last value and a number beyond 64 bits as a double: both are looked for here, at the price of two counts when there is
nothing to find.
"""

import json
from collections.abc import Iterable
from typing import Any, cast
from urllib.parse import parse_qsl

import orjson

from lakewright.kernel.config import HttpLimits
from lakewright.kernel.faults import Invalid, Malformed, TooLarge

MOST_INTEGER, LEAST_INTEGER = 2**63 - 1, -(2**63)
MOST_PARAMETERS = 1000
"""Of a query or a form."""
_MANY = 64 * 1024
"""Bytes below which no body can hold enough values to matter."""


def json_object(raw: bytes, limits: HttpLimits) -> dict[str, Any]:
    """The object that the body is; Malformed when it is none, or could be read in two ways."""
    if len(raw) > _MANY and raw.count(b"{") + raw.count(b"[") + raw.count(b",") > limits.json_values:
        raise TooLarge(f"the body holds more than {limits.json_values} values")
    try:
        sent = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the body is not valid JSON: {error}") from error
    if not isinstance(sent, dict):
        raise Malformed("the body must be a JSON object")
    found = cast("dict[str, Any]", sent)
    if raw.count(b"{") + raw.count(b"[") > limits.json_depth:
        _check_depth(found, limits.json_depth)
    # Each name is followed by a colon: as many colons as names, and no name was given twice.
    if raw.count(b":") != _names(found):
        _read_closely(raw)
    if b"\\u0000" in raw:
        refuse_nul(found)
    return found


def form(raw: bytes) -> dict[str, str]:
    """The fields of a form; none of them twice (RFC 6749, 3.2)."""
    found: dict[str, str] = {}
    for name, value in pairs(raw, "form"):
        if name in found:
            raise Invalid(f"'{name}' is given twice")
        found[name] = value
    return found


def pairs(raw: bytes, what: str) -> list[tuple[str, str]]:
    """Names and values of a query or a form, as given."""
    try:
        found = parse_qsl(
            raw.decode("latin-1"), keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS
        )
    except ValueError as error:
        raise Malformed(f"the {what} is not valid UTF-8 form data of at most {MOST_PARAMETERS} fields") from error
    for pair in found:
        refuse_nul(pair)
    return found


def merge(fields: dict[str, Any], more: dict[str, Any]) -> None:
    """Path, query and body name a thing once, or alike: else one could be checked and another used."""
    for name, value in more.items():
        if name in fields and str(fields[name]) != str(value):
            raise Invalid(f"'{name}' is given twice with different values")
        fields[name] = value


def refuse_nul(value: Any) -> None:
    """Postgres holds no NUL in a text: one that got as far as the audit row would fail its whole batch."""
    left: list[Any] = [value]
    while left:
        each = left.pop()
        if isinstance(each, str) and "\0" in each:
            raise Malformed("texts may not hold NUL characters")
        if isinstance(each, dict):
            left += [*each.keys(), *each.values()]  # type: ignore[reportUnknownArgumentType]
        elif isinstance(each, (list, tuple)):
            left += cast("Iterable[Any]", each)


def _names(found: dict[str, Any]) -> int:
    """How many names there are in all of it; -1 when there is a number that was an integer of more than 64 bits,
    or only looks like one as a double."""
    left: list[Any] = [found]
    names = 0
    while left:
        each: Any = left.pop()
        if type(each) is dict:
            names += len(cast("dict[str, Any]", each))
            each = cast("dict[str, Any]", each).values()
        for value in cast("Iterable[Any]", each):
            kind = cast("type[Any]", type(value))
            if kind is dict or kind is list:
                left.append(value)
            elif (kind is int or kind is float) and not LEAST_INTEGER < value < MOST_INTEGER:
                return -1
    return names


def _read_closely(raw: bytes) -> None:
    """The same body once more by a parser that can be asked about each name and each number."""
    json.loads(raw, object_pairs_hook=_once_each, parse_int=_in_range)


def _once_each(given: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(given)
    if len(found) != len(given):
        raise Malformed("the body gives a name twice")
    return found


def _in_range(digits: str) -> int:
    if len(digits) > 20 or not LEAST_INTEGER <= int(digits) <= MOST_INTEGER:
        raise Malformed("the body holds an integer of more than 64 bits")
    return int(digits)


def _check_depth(value: Any, limit: int) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > limit:
            raise Malformed(f"the body is nested deeper than {limit} levels")
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                below += [v for v in each.values() if isinstance(v, (dict, list))]  # type: ignore[reportUnknownVariableType]
            elif isinstance(each, list):
                below += [v for v in each if isinstance(v, (dict, list))]  # type: ignore[reportUnknownVariableType]
        level = below

"""What MLflow accepts as a name or a value, and how much of it: the limits its clients already count on."""

import posixpath
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from pydantic import Field

from lakewright.kernel.faults import Invalid

KEY = 250
PARAM_VALUE = 6000
TAG_VALUE = 8000
EXPERIMENT_TAG_VALUE = 20_000
EXPERIMENT_NAME = 256
METRICS_PER_BATCH = 1000
PARAMS_PER_BATCH = 100
TAGS_PER_BATCH = 100
ENTRIES_PER_BATCH = 1000
DATASETS_PER_CALL = 1000
PAGE = 50_000

Long = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
"""A 64-bit number: what the database can hold, so that nothing larger reaches it."""

Time = Annotated[int, Field(ge=0, le=2**63 - 1)]

_NAME = re.compile(r"[/\w.\- :]*")
_LOGGED_MODEL_BAD = frozenset("/:.%\"'\0")


def key(value: str, what: str) -> str:
    """A metric's, param's or tag's name: a relative path of plain characters, at most 250 of them."""
    if not value:
        raise Invalid(f"Missing value for required parameter '{what}'. A key name must be provided.")
    if _NAME.fullmatch(value) is None:
        raise Invalid(
            f"Invalid value {value[:100]!r} for parameter '{what}': Names may only contain alphanumerics, underscores"
            " (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/)."
        )
    plain = posixpath.normpath(value)
    if plain != value or plain == "." or plain.startswith(("..", "/")):
        raise Invalid(
            f"Invalid value {value[:100]!r} for parameter '{what}': Names may be treated as files in certain cases, and"
            f" must not resolve to other names when treated as such. This name would resolve to {plain[:100]!r}"
        )
    if len(value) > KEY:
        raise Invalid(f"'{what}' exceeds the maximum length of {KEY} characters")
    return value


def at_most(value: str, limit: int, what: str) -> str:
    if len(value) > limit:
        raise Invalid(f"'{what}' exceeds the maximum length of {limit} characters")
    return storable(value, what)


def cut(value: str, limit: int, what: str) -> str:
    """Long param and tag values are cut, not refused: autologging counts on it."""
    return storable(value[:limit], what)


def storable(value: str, what: str) -> str:
    """Postgres has no NUL in texts; the same is refused on SQLite."""
    if "\0" in value:
        raise Invalid(f"'{what}' must not hold NUL characters")
    return value


def batch(metrics: Sequence[Any], params: Sequence[Any], tags: Sequence[Any]) -> None:
    for what, sent, limit in (
        ("metrics", len(metrics), METRICS_PER_BATCH),
        ("params", len(params), PARAMS_PER_BATCH),
        ("tags", len(tags), TAGS_PER_BATCH),
        ("metrics, params, and tags", len(metrics) + len(params) + len(tags), ENTRIES_PER_BATCH),
    ):
        if sent > limit:
            raise Invalid(
                f"A batch logging request can contain at most {limit} {what}. Got {sent} {what}. Please split up {what}"
                " across multiple requests and try again."
            )


def unique(keys: Iterable[str]) -> None:
    seen: set[str] = set()
    twice: list[str] = []
    for each in keys:
        if each in seen:
            twice.append(each)
        seen.add(each)
    if twice:
        raise Invalid(
            f"Duplicate parameter keys have been submitted: {twice[:10]}. Please ensure the request contains only one"
            " param value per param key."
        )


def logged_model_name(name: str) -> str:
    if not name or not _LOGGED_MODEL_BAD.isdisjoint(name):
        raise Invalid(
            f"Invalid model name ({name[:100]!r}) provided. Model name must be a non-empty string and cannot contain the"
            " following characters: / : . % \" '"
        )
    return at_most(name, 500, "name")


def page_size(asked: int | None, default: int) -> int:
    if asked is None:
        return default
    if not 1 <= asked <= PAGE:
        raise Invalid(f"Invalid value {asked} for parameter 'max_results': it must be between 1 and {PAGE}")
    return asked

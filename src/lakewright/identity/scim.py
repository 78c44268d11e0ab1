"""SCIM 2.0 as the SDK speaks it: list envelopes, `attr eq "value"` filters, PATCH operations."""

import re
from typing import Any

from pydantic import Field

from lakewright.kernel.dialects import scim
from lakewright.kernel.faults import Invalid, NotSupported
from lakewright.kernel.operation import Api, Ask

LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
_EQ = re.compile(r'^\s*(\w+(?:\.\w+)?)\s+eq\s+(?:"((?:[^"\\]|\\.)*)"|(\S+))\s*$', re.IGNORECASE)
_MEMBER = re.compile(r'^members\[value eq "([^"]+)"\]$')

WORKSPACE = "/api/2.0/preview/scim/v2"
ACCOUNT = "/api/2.0/account/scim/v2"


def api(resource: str) -> Api:
    return Api("accounts", f"{WORKSPACE}/{resource}", scim)


def both(resource: str, path: str = "") -> tuple[str, ...]:
    """The account-level address of a workspace-level one: the same principals are seen through both."""
    return (f"{ACCOUNT}/{resource}{path}",)


class Listing(Ask):
    filter: str | None = None
    start_index: int = Field(1, alias="startIndex", ge=1)
    count: int = Field(100, ge=0, le=10_000)
    attributes: str | None = None
    excluded_attributes: str | None = Field(None, alias="excludedAttributes")
    sort_by: str | None = Field(None, alias="sortBy")
    sort_order: str | None = Field(None, alias="sortOrder")


class PatchOperation(Ask):
    op: str
    path: str | None = None
    value: Any = None


class Value(Ask):
    value: str
    display: str | None = None
    type: str | None = None
    primary: bool | None = None
    ref: str | None = Field(None, alias="$ref")


def equals(filter: str | None, allowed: dict[str, str]) -> tuple[str, str] | None:
    """The one comparison of a filter: (our attribute, value). Other filters are refused, not ignored."""
    if not filter:
        return None
    match = _EQ.match(filter)
    if match is None:
        raise NotSupported('filter: only `attribute eq "value"` is supported')
    name = match.group(1).lower()
    if name not in allowed:
        raise NotSupported(f"filter: '{match.group(1)}' cannot be filtered by; possible: {', '.join(sorted(allowed))}")
    return allowed[name], (match.group(2) if match.group(2) is not None else match.group(3))


def envelope(resources: list[dict[str, Any]], ask: Listing) -> dict[str, Any]:
    start = ask.start_index - 1
    page = resources[start : start + ask.count]
    return {
        "schemas": [LIST], "totalResults": len(resources), "startIndex": ask.start_index, "itemsPerPage": len(page),
        "Resources": [projected(r, ask) for r in page],
    }  # fmt: skip


def projected(resource: dict[str, Any], ask: Listing) -> dict[str, Any]:
    if ask.attributes:
        wanted = {a.strip().split(".")[0].lower() for a in ask.attributes.split(",")} | {"id", "schemas"}
        return {k: v for k, v in resource.items() if k.lower() in wanted}
    if ask.excluded_attributes:
        dropped = {a.strip().lower() for a in ask.excluded_attributes.split(",")} - {"id", "schemas"}
        return {k: v for k, v in resource.items() if k.lower() not in dropped}
    return resource


def member_of_path(path: str) -> str | None:
    """The member's id in `members[value eq "…"]`."""
    match = _MEMBER.match(path)
    return match.group(1) if match else None


def ids(value: Any) -> list[str]:
    """Principal ids in a PATCH value: one or many objects with `value`, or bare strings."""
    values: list[Any] = value if isinstance(value, list) else [value]  # type: ignore[reportUnknownVariableType]
    found: list[str] = []
    for each in values:
        one = each.get("value") if isinstance(each, dict) else each  # type: ignore[reportUnknownMemberType]
        if not isinstance(one, str):
            raise Invalid("members: each entry needs a 'value', the id of a principal")
        found.append(one)
    return found


def boolean(value: Any) -> bool:
    """Entra sends the strings "True" and "False"."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise Invalid("active must be true or false")

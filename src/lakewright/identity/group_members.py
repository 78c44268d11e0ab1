"""What a PATCH says about the members of a group, read by the grammar of scim2-models.

Imported with the first PATCH of a group, like the schemas.
"""

from dataclasses import dataclass
from typing import Any

import scim2_models as scim2
from scim2_models.path import FilterNode

from lakewright.identity import principals, scim_filters
from lakewright.identity.scim import Refused, faults, names, several, short
from lakewright.identity.scim_schemas import Group
from lakewright.kernel.context import Ctx

MOST = 100_000
"""Members put in or taken out by one operation."""


@dataclass(frozen=True)
class Change:
    """Members to take out (everybody, these, or whom the filter means) and then to put in."""

    everybody: bool = False
    removed: tuple[str, ...] = ()
    where: FilterNode | None = None
    kept: frozenset[str] = frozenset()
    added: tuple[str, ...] = ()


def told_apart(operations: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[Change]]:
    """The operations on everything else, and those on members. Neither changes what the other reads."""
    rest, changes = list[dict[str, Any]](), list[Change]()
    for each in operations:
        op, value = str(each["op"]).lower(), each.get("value")
        path = _path(each.get("path"))
        if path is not None and path.parts[0].lower() == "members":
            changes.append(_change(op, path, value))
            continue
        if path is None and (given := names(value)) is not None:
            inside = [v for k, v in given.items() if short(k) == "members"]
            if inside:
                changes.append(_whole(op, inside[0]))
                value = {k: v for k, v in given.items() if short(k) != "members"}
                if not value:
                    continue
        rest.append({**each, "value": value} if "value" in each else each)
    return rest, changes


def removed_by(ctx: Ctx, group_id: str, change: Change, base_url: str) -> list[str]:
    """Whom the change takes out of the group as it is now."""
    if change.everybody:
        return [each for each in principals.member_ids_of(ctx, group_id) if each not in change.kept]
    if change.where is None:
        return [*change.removed]
    where = scim_filters.members_where(change.where, base_url)
    rows = ctx.tx.all(
        "SELECT m.member_id FROM members m JOIN principals q ON q.id = m.member_id WHERE m.group_id = ?"
        f" AND {where.sql}",
        group_id, *where.params,
    )  # fmt: skip
    return [str(row["member_id"]) for row in rows]


def ids(value: Any) -> list[str]:
    """Principal ids in a value: one or many objects with `value`, or bare strings."""
    found: list[str] = []
    if len(several(value)) > MOST:
        raise Refused(f"members: {MOST} at most at once", status=413)
    for each in several(value):
        inside = names(each)
        named = {k.lower(): v for k, v in inside.items()} if inside is not None else {"value": each}
        unknown = sorted(named.keys() - {"value", "$ref", "ref", "type", "display"})
        one = named.get("value")
        if unknown or not isinstance(one, str) or not one:
            said = f"'{unknown[0]}' is not known" if unknown else "each entry needs a 'value', the id of a principal"
            raise Refused(f"members: {said}", scim_type="invalidValue")
        found.append(one)
    return found


def _path(text: Any) -> "scim2.Path[Any] | None":
    if text is None or text == "":
        return None
    if len(str(text)) > scim_filters.LONGEST:
        raise Refused(f"path: {scim_filters.LONGEST} characters at most", scim_type="invalidFilter")
    with faults():
        return scim2.Path[Group](str(text))


def _change(op: str, path: "scim2.Path[Any]", value: Any) -> Change:
    if path.resolve() is None:
        raise Refused(f"'{path}' is not an attribute of a group", scim_type="invalidPath")
    if len(path.parts) > 1:
        raise Refused(f"'{path}': a member cannot be changed, only put in or taken out", scim_type="mutability")
    if path.value_filter is None:
        return _whole(op, value)
    if op != "remove":
        raise Refused(f"'{path}': {op} members by their ids, without a filter", scim_type="noTarget")
    with faults():  # which also knows the parts of a member, and refuses others
        scim2.SearchRequest[Group].model_validate({"filter": f"members[{path.value_filter}]"})
    return Change(where=path.value_filter)


def _whole(op: str, value: Any) -> Change:
    if op == "add":
        return Change(added=tuple(ids(value)))
    if op == "replace":
        wanted = ids(value) if value else []
        return Change(everybody=True, kept=frozenset(wanted), added=tuple(wanted))
    if op == "remove":
        return Change(removed=tuple(ids(value))) if value else Change(everybody=True)
    raise Refused(f"'{op}' is not a PATCH operation: add, remove or replace", scim_type="invalidValue")

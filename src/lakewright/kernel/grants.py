"""Who holds what on an object."""

from collections.abc import Iterable
from typing import Any

from lakewright.kernel import policy
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid
from lakewright.kernel.kinds import KINDS
from lakewright.kernel.objects import Obj

_GRANT = (
    'INSERT INTO grants (object_id, principal, "right", granted_by, granted_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)'
    ' ON CONFLICT (object_id, principal, "right") DO UPDATE SET granted_by = excluded.granted_by,'
    " granted_at = excluded.granted_at, expires_at = excluded.expires_at WHERE grants.expires_at IS NOT NULL"
)
_FOR_GOOD = _GRANT
_FOR_A_TIME = f"{_GRANT} AND grants.expires_at < excluded.expires_at"


def change(
    ctx: Ctx,
    obj: Obj[Any],
    principal: str,
    *,
    add: Iterable[str] = (),
    remove: Iterable[str] = (),
    until: int | None = None,
) -> None:
    """Grant and revoke rights of a principal (its id) on the object. Invalid for a right the kind does not have.

    What is granted `until` some time counts for nothing from then on. It never shortens what is held for longer,
    and granting the same without an end makes it last.
    """
    add, remove = list(add), list(remove)
    kind = KINDS[obj.kind]
    possible = kind.grantable() | ({"IS_OWNER"} if kind.uses_levels else set[str]())
    if unknown := sorted({*add, *remove} - possible):
        raise Invalid(
            f"{', '.join(unknown)} cannot be granted on a {obj.kind}; possible: {', '.join(sorted(possible))}"
        )
    if ctx.tx.one("SELECT id FROM principals WHERE id = ? AND deleted_at IS NULL", principal) is None:
        raise Invalid(f"there is no principal '{principal}'", code="PRINCIPAL_DOES_NOT_EXIST")
    for right in remove:
        ctx.tx.run('DELETE FROM grants WHERE object_id = ? AND principal = ? AND "right" = ?', obj.id, principal, right)
    for right in add:
        ctx.tx.run(
            _FOR_GOOD if until is None else _FOR_A_TIME, obj.id, principal, right, ctx.principal.id, ctx.now(), until
        )
    policy.bump(ctx.tx)


def take_back(ctx: Ctx, object_id: str, principal: str, right: str, *, granted_at: int) -> bool:
    """End exactly this grant, not one of the same right given since; whether it was still there."""
    ended = ctx.tx.run(
        'DELETE FROM grants WHERE object_id = ? AND principal = ? AND "right" = ? AND granted_at = ?',
        object_id, principal, right, granted_at,
    )  # fmt: skip
    policy.bump(ctx.tx)
    return bool(ended)


def held(ctx: Ctx, obj: Obj[Any]) -> dict[str, list[str]]:
    """Rights granted on the object itself, by principal id."""
    return _by_principal(ctx, obj.id)


def inherited(ctx: Ctx, obj: Obj[Any]) -> list[tuple[str, str, str, dict[str, list[str]]]]:
    """What is granted above it, nearest first: (object id, kind, full name, rights by principal id)."""
    above = ctx.tx.all(
        "SELECT o.id, o.kind, o.full_name FROM ancestry a JOIN objects o ON o.id = a.ancestor_id"
        " WHERE a.object_id = ? AND a.depth > 0 ORDER BY a.depth",
        obj.id,
    )
    return [(str(r["id"]), str(r["kind"]), str(r["full_name"]), _by_principal(ctx, str(r["id"]))) for r in above]


def _by_principal(ctx: Ctx, object_id: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in ctx.tx.all(
        'SELECT principal, "right" FROM grants WHERE object_id = ? ORDER BY principal, "right"', object_id
    ):
        found.setdefault(str(row["principal"]), []).append(str(row["right"]))
    return found

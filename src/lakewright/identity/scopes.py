"""Scopes: which of its owner's rights a token may use. A token without any may use all of them.

Every operation has exactly one scope, by the service it belongs to; `name:read` is the part of it that only reads
(GET). The names are those Databricks publishes for its REST API. Whoever has any scope may ask who they are.
"""

from collections.abc import Iterable

from lakewright.kernel.context import Principal
from lakewright.kernel.faults import Denied, Invalid
from lakewright.kernel.operation import Operation
from lakewright.kernel.rules import PUBLIC

ALL = "all-apis"
REFRESH = "offline_access"
"""Not a right: asks for a refresh token beside the access token."""

OF_SERVICE = {
    "databrickssql": "sql",
    "filesystem": "files",
    "iamPermissions": "access-management",
    "jobs": "jobs",
    "lakewright": "lakewright",
    "mlflowExperiment": "mlflow",
    "mlflowUnityCatalog": "mlflow",
    "secrets": "secrets",
    "serverlessRealTimeInference": "model-serving",
    "unityCatalog": "unity-catalog",
    "workspace": "workspace",
}
OF_PATH = {
    "/api/2.0/account/scim/": "scim",
    "/api/2.0/accounts/{account_id}/workspaces": "access-management",
    "/api/2.0/accounts": "authentication",
    "/api/2.0/lakewright/access": "access-management",
    "/api/2.0/lakewright/": "lakewright",
    "/api/3.0/rfa/": "access-management",
    "/api/2.0/preview/permissionassignments": "access-management",
    "/api/2.0/preview/scim/": "scim",
    "/api/2.0/token": "authentication",
    "/api/2.1/lakewright/": "lakewright",
}
"""For services that hold operations of several kinds."""

ANY = "any"
NONE = "none"
WHO_AM_I = "currentUser"

NAMES = frozenset({*OF_SERVICE.values(), *OF_PATH.values()})
KNOWN = frozenset({ALL, *NAMES, *(f"{name}:read" for name in NAMES)})


def of(operation: Operation[object, object]) -> str:  # type: ignore[type-var]
    """The operation's scope: one of NAMES, ANY, or NONE where only an unlimited token will do."""
    if operation.needs is PUBLIC or operation.audit == WHO_AM_I:
        return ANY
    if operation.service == "console":
        return NONE
    by_path = next((scope for start, scope in OF_PATH.items() if operation.path.startswith(start)), None)
    return OF_SERVICE.get(operation.service) or by_path or NONE


def require(who: Principal, operation: Operation[object, object]) -> None:  # type: ignore[type-var]
    """Denied unless the token's scopes cover the operation. Asked only of tokens that are limited."""
    scope, held = of(operation), who.scopes or frozenset[str]()
    if scope == ANY or scope in held or (operation.verb in ("GET", "HEAD") and f"{scope}:read" in held):
        return
    needed = ALL if scope == NONE else scope
    raise Denied(f"this token is limited to the scopes {', '.join(sorted(held))}; {operation.audit} needs {needed}")


def parse(asked: str | Iterable[str] | None) -> frozenset[str] | None:
    """Scopes as they are stored; None for everything. Invalid for one that does not exist."""
    names = asked.split() if isinstance(asked, str) else list(asked or ())
    if unknown := sorted(set(names) - KNOWN):
        raise Invalid(f"unknown scope: {', '.join(unknown)}; possible: {', '.join(sorted(KNOWN))}")
    return None if not names or ALL in names else frozenset(names)


def within(asked: frozenset[str] | None, held: frozenset[str] | None) -> bool:
    """Whether scopes that are asked for stay inside those that are held."""
    if held is None:
        return True
    return asked is not None and all(s in held or (s.removesuffix(":read") in held) for s in asked)


def written(scopes: frozenset[str] | None) -> str:
    return ALL if scopes is None else " ".join(sorted(scopes))


def read(stored: str | None) -> frozenset[str] | None:
    """From a row of `tokens`."""
    return None if stored is None else frozenset(stored.split())

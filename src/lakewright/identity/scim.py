"""SCIM 2.0: how identity providers and the SDK read and write people, groups and service principals.

This module is the edge: addresses, asks, answers with their status, version and location, and refusals with their
`scimType`. What the resources are is said in `schemas`, what a filter means in `filters`; both stand on scim2-models
and are imported with the first request that needs them.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from lakewright.identity import accounts
from lakewright.kernel.answers import Json, Raw
from lakewright.kernel.context import Ctx
from lakewright.kernel.dialects import scim
from lakewright.kernel.faults import Fault, Invalid
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import Api, Ask

WORKSPACE = "/api/2.0/preview/scim/v2"
ACCOUNTS = "/api/2.0/accounts/{account_id}/scim/v2"
CURRENT_ACCOUNT = "/api/2.0/account/scim/v2"

LARGEST_PAGE = 10_000
FURTHEST = 2**31 - 1
MEDIA_TYPE = "application/scim+json"

R = TypeVar("R")
Names = dict[str, Any]
S = TypeVar("S", bound=BaseModel)


def api(resource: str) -> Api:
    return Api("accounts", f"{WORKSPACE}/{resource}", scim)


def both(resource: str, path: str = "") -> tuple[str, ...]:
    """The account-level addresses of a workspace-level one: the same principals are seen through all of them."""
    return (f"{ACCOUNTS}/{resource}{path}", f"{CURRENT_ACCOUNT}/{resource}{path}")


class Refused(Fault):
    """A refusal that SCIM has a word for (RFC 7644 §3.12)."""

    def __init__(self, message: str, *, status: int = 400, scim_type: str = "") -> None:
        super().__init__(message, code="INVALID_PARAMETER_VALUE" if status < 500 else "NOT_IMPLEMENTED")
        self.status = status
        if scim_type:
            self.details["scimType"] = scim_type


class Addressed(Ask):
    """What every SCIM request may say besides its resource."""

    account_id: str = ""


class Projected(Addressed):
    attributes: str | None = None
    excluded_attributes: str | None = Field(None, alias="excludedAttributes")


class ById(Projected):
    id: str


class Listing(Projected):
    filter: str | None = None
    start_index: int = Field(1, alias="startIndex")
    count: int | None = None
    sort_by: str | None = Field(None, alias="sortBy")
    sort_order: str | None = Field(None, alias="sortOrder")

    @property
    def offset(self) -> int:
        """RFC 7644 §3.4.2.4: what is below 1 counts as 1."""
        return min(max(self.start_index, 1), FURTHEST) - 1

    @property
    def limit(self) -> int:
        """A negative count counts as 0; nobody gets more than `filter.maxResults` at once."""
        return LARGEST_PAGE if self.count is None else min(max(self.count, 0), LARGEST_PAGE)


class Search(Listing):
    """The same as a listing, in a body; a client may write the attribute names as a list."""

    schemas: list[str] = []

    @model_validator(mode="before")
    @classmethod
    def _as_in_a_query(cls, given: dict[str, Any]) -> dict[str, Any]:
        named = ("attributes", "excludedAttributes")
        return {k: ",".join(map(str, several(v))) if k in named else v for k, v in given.items()}


class Sent(Projected):
    """A resource or a part of one. Its attributes are checked against the schema, which knows their spelling in any
    case; whatever the schema does not have is refused there. A password is sealed before anything can record it."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _sealed(cls, given: dict[str, Any]) -> dict[str, Any]:
        return {k: SecretStr(str(v)) if k.lower() == "password" else v for k, v in given.items()}

    @property
    def resource(self) -> dict[str, Any]:
        """The attributes without the password: nobody signs in with one here, so it is dropped, not kept."""
        return {k: v for k, v in (self.model_extra or {}).items() if k.lower() != "password"}

    def resource_with(self, **defaults: Any) -> dict[str, Any]:
        """The attributes, and these where the client left them out."""
        given = self.resource
        named = {name.lower() for name, value in given.items() if value is not None}
        return {**given, **{name: value for name, value in defaults.items() if name.lower() not in named}}


class SentById(Sent):
    id: str


class PatchOperation(Ask):
    op: str
    path: str | None = None
    value: Any = None

    @model_validator(mode="before")
    @classmethod
    def _sealed(cls, given: dict[str, Any]) -> dict[str, Any]:
        if (sent := names(given)) is None:
            return given
        named = {k.lower(): v for k, v in sent.items()}
        if short(named.get("path")) == "password":
            return {**named, "value": SecretStr(str(named.get("value")))}
        if (value := names(named.get("value"))) is not None:
            named["value"] = {k: SecretStr(str(v)) if short(k) == "password" else v for k, v in value.items()}
        return named

    @property
    def of_password(self) -> bool:
        return isinstance(self.value, SecretStr)

    def as_sent(self) -> dict[str, Any]:
        value = self.value
        if (inside := names(value)) is not None:
            value = {k: v for k, v in inside.items() if not isinstance(v, SecretStr)}
        return {"op": self.op, "value": value, **({"path": self.path} if self.path else {})}


class Patch(ById):
    schemas: list[str] = []
    operations: list[PatchOperation] = Field(alias="Operations", max_length=1000)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: dict[str, Any]) -> dict[str, Any]:
        """RFC 7643 §2.1: names have no case."""
        known = {"operations": "Operations", "schemas": "schemas"}
        return {known.get(k.lower(), k): v for k, v in given.items()}

    def operations_sent(self) -> list[dict[str, Any]]:
        if not self.operations:
            raise Refused("Operations: one at least", scim_type="invalidSyntax")
        return [each.as_sent() for each in self.operations if not each.of_password]


def names(value: Any) -> Names | None:
    """The value if it is a JSON object."""
    return cast("Names", value) if isinstance(value, dict) else None


def several(value: Any) -> list[Any]:
    """One or many values as a list."""
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def short(name: Any) -> str:
    """An attribute's name without its schema, in lower case."""
    return str(name or "").rpartition(":")[2].lower()


@contextmanager
def faults() -> Generator[None]:
    """What the SCIM library refuses, as refusals of ours."""
    from pydantic import ValidationError
    from scim2_models import Error, SCIMException

    try:
        yield
    except SCIMException as error:
        raise Refused(error.detail, status=error.status, scim_type=error.scim_type) from error
    except ValidationError as error:
        first = Error.from_validation_errors(error)[0]
        raise Refused(first.detail or "invalid", status=first.status or 400, scim_type=first.scim_type or "") from error


def in_account(run: Callable[[Ctx, Obj[S], Any], R]) -> Callable[[Ctx, Obj[S], Any], R]:
    """An operation's body that first looks whether the account of its address is this one."""

    @wraps(run)
    def checked(ctx: Ctx, target: Obj[S], ask: Any) -> R:
        accounts.check(ctx, ask.account_id)
        return run(ctx, target, ask)

    return checked


def base_url(ctx: Ctx, ask: Any) -> str:
    """Where the resources are, as the caller addressed them."""
    account: str = getattr(ask, "account_id", "")
    return ctx.request.base_url + (ACCOUNTS.format(account_id=account) if account else WORKSPACE)


def speaks_scim(ctx: Ctx) -> bool:
    """Whether the caller is a SCIM client. The SDK asks for plain JSON, and is told what members are called too."""
    accepted = ctx.request.headers.get("accept", "application/json")
    return MEDIA_TYPE in accepted or "application/json" not in accepted


def version(obj: Obj[Any]) -> str:
    return f'W/"{obj.version}"'


def check_version(ctx: Ctx, obj: Obj[Any]) -> None:
    """If-Match (RFC 7644 §3.14): a client that saw an older version does not overwrite a newer one."""
    wanted = ctx.request.headers.get("if-match", "")
    if wanted and not _matches(wanted, version(obj)):
        raise Refused(f"{obj.kind} '{obj.id}' has changed since that version", status=412)


def unchanged(ctx: Ctx, obj: Obj[Any]) -> bool:
    known = ctx.request.headers.get("if-none-match", "")
    return bool(known) and _matches(known, version(obj))


def _matches(header: str, tag: str) -> bool:
    return any(each.strip() in ("*", tag, tag[2:]) for each in header.split(","))


def answer(ctx: Ctx, shown: dict[str, Any], ask: Any, *, status: int = 200) -> Json:
    """One resource with its version and address, or the part of it that was asked for."""
    meta = shown["meta"]
    headers = {"etag": meta["version"], "location": meta["location"], "content-location": meta["location"]}
    return Json(projected(shown, ask), status, {**headers, **media_type(ctx)})


def media_type(ctx: Ctx) -> dict[str, str]:
    return {"content-type": MEDIA_TYPE} if speaks_scim(ctx) else {}


def not_modified(obj: Obj[Any]) -> Raw:
    return Raw(b"", MEDIA_TYPE, 304, {"etag": version(obj)})


def gone() -> Raw:
    return Raw(b"", MEDIA_TYPE, 204)


def envelope(ctx: Ctx, resources: list[dict[str, Any]], total: int, ask: Listing) -> Json:
    body = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"], "totalResults": total,
        "startIndex": ask.offset + 1, "itemsPerPage": len(resources),
        "Resources": [projected(each, ask) for each in resources],
    }  # fmt: skip
    return Json(body, headers=media_type(ctx))


def projected(resource: dict[str, Any], ask: Projected) -> dict[str, Any]:
    """The attributes asked for (RFC 7644 §3.9); `id` and `schemas` are always told."""
    if ask.attributes and ask.excluded_attributes:
        raise Invalid("attributes and excludedAttributes exclude each other")
    if ask.attributes:
        return _kept(resource, [_steps(name, resource) for name in ask.attributes.split(",")])
    if ask.excluded_attributes:
        return _dropped(resource, [_steps(name, resource) for name in ask.excluded_attributes.split(",")])
    return resource


def wants(ask: Projected, attribute: str) -> bool:
    """Whether the answer will hold the attribute at all: the members of a large group are not read for nothing."""
    names = {each.strip().rpartition(":")[2].partition(".")[0].lower() for each in (ask.attributes or "").split(",")}
    excluded = {each.strip().rpartition(":")[2].lower() for each in (ask.excluded_attributes or "").split(",")}
    return attribute.lower() not in excluded and (not ask.attributes or attribute.lower() in names)


def _steps(name: str, resource: dict[str, Any]) -> list[str]:
    """`urn:…:User:name.familyName` as the keys to walk; the core schema's own name is left out."""
    name = name.strip().lower()
    for schema in (str(s).lower() for s in resource["schemas"]):
        if name == schema and schema.endswith(_EXTENSION):
            return [schema]
        if name.startswith(schema + ":"):
            rest = name[len(schema) + 1 :].split(".")
            return [schema, *rest] if schema.endswith(_EXTENSION) else rest
    return name.split(".") if not name.startswith("urn:") else [name]


_EXTENSION = ":extension:enterprise:2.0:user"


def _kept(value: Any, wanted: list[list[str]], top: bool = True) -> Any:
    if isinstance(value, list):
        return [_kept(each, wanted, top=False) for each in several(value)]
    found: Names = {}
    for key, each in (names(value) or {}).items():
        below = [steps[1:] for steps in wanted if steps[0] == key.lower()]
        if (top and key in ("id", "schemas")) or [] in below:
            found[key] = each
        elif below:
            found[key] = _kept(each, below, top=False)
    return found


def _dropped(value: Any, unwanted: list[list[str]], top: bool = True) -> Any:
    if isinstance(value, list):
        return [_dropped(each, unwanted, top=False) for each in several(value)]
    found: Names = {}
    for key, each in (names(value) or {}).items():
        below = [steps[1:] for steps in unwanted if steps[0] == key.lower()]
        if (top and key in ("id", "schemas")) or not below:
            found[key] = each
        elif [] not in below:
            found[key] = _dropped(each, below, top=False)
    return found

"""What a SCIM user, group and service principal are here: the schemas that clients discover and payloads must fit.

Imported with the first SCIM request that needs it, never at start: scim2-models and its grammar take a third of a
second. What a schema does not have is refused. Absent on purpose: `password` (nobody signs in with one),
`x509Certificates` (nobody signs in with one either), `ims` and `photos`.
"""

from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, TypeVar, Union

import scim2_models as scim2
from pydantic import Field
from scim2_models import CaseExact, ComplexAttribute, Context, Mutability, Reference, Required, ScimPolicy, Uniqueness

from lakewright.identity import principals
from lakewright.identity.scim import LARGEST_PAGE, Refused, faults, names, several

R = TypeVar("R", bound="scim2.Resource[Any]")

LENIENT = ScimPolicy(
    remove_value_as_filter=ScimPolicy.RemoveValue.apply,
    unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
)
"""Entra removes members by `value`, and fills `emails[type eq "work"].value` before there is a work address."""

LONGEST = 512
"""Characters of one value: each is indexed for filters, and an index entry has a limit."""
MOST = 100
"""Values of one attribute, members apart."""

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
MANAGER = f"{ENTERPRISE}:manager".lower()


def _granted(attribute: str) -> Mutability:
    """Read-only until some capability enforces a value of it."""
    return Mutability.read_write if principals.assignable(attribute) else Mutability.read_only


class Email(ComplexAttribute):
    """Its value is not held against RFC 5321: directories have `test.user@corp.local`."""

    value: str | None = None
    display: str | None = None
    type: str | None = Field(None, examples=["work", "home", "other"])
    primary: bool | None = None


class Manager(ComplexAttribute):
    """Entra sends the id alone, so the address is not required."""

    value: Annotated[str | None, CaseExact.true] = None
    ref: Annotated[Reference["User"] | None, Required.false] = Field(  # type: ignore[reportMissingTypeArgument]
        None, serialization_alias="$ref", validation_alias="$ref"
    )


class EnterpriseUser(scim2.Extension):
    __schema__ = scim2.URN(ENTERPRISE)

    employee_number: str | None = None
    cost_center: str | None = None
    organization: str | None = None
    division: str | None = None
    department: str | None = None
    manager: Manager | None = None


class Entitlement(ComplexAttribute):
    value: Annotated[str | None, CaseExact.true] = Field(None, examples=[*principals.assignable("entitlements")])


class Role(ComplexAttribute):
    value: Annotated[str | None, CaseExact.true] = Field(None, examples=[*principals.assignable("roles")])


class User(scim2.Resource[scim2.AnyExtension]):
    """`active` is required so that no PATCH can leave it open; whoever leaves it out of a POST means true."""

    __schema__ = scim2.URN("urn:ietf:params:scim:schemas:core:2.0:User")

    user_name: Annotated[str | None, Uniqueness.server, Required.true] = None
    name: scim2.Name | None = None
    display_name: str | None = None
    nick_name: str | None = None
    profile_url: Reference[scim2.External] | None = None
    title: str | None = None
    user_type: str | None = None
    preferred_language: str | None = None
    locale: str | None = None
    timezone: str | None = None
    active: Annotated[bool | None, Required.true] = None
    emails: list[Email] | None = None
    phone_numbers: list[scim2.PhoneNumber] | None = None
    addresses: list[scim2.Address] | None = None
    groups: Annotated[list[scim2.GroupMembership] | None, Mutability.read_only] = None
    entitlements: Annotated[list[Entitlement] | None, _granted("entitlements")] = None
    roles: Annotated[list[Role] | None, _granted("roles")] = None


class Member(ComplexAttribute):
    value: Annotated[str | None, Mutability.immutable, CaseExact.true] = None
    ref: Annotated[Reference[Union["User", "Group", "ServicePrincipal"]] | None, Mutability.immutable] = Field(  # type: ignore[type-arg]
        None, serialization_alias="$ref", validation_alias="$ref"
    )
    type: Annotated[str | None, Mutability.immutable] = Field(None, examples=["User", "Group", "ServicePrincipal"])
    display: Annotated[str | None, Mutability.read_only] = None


class Group(scim2.Resource[Any]):
    __schema__ = scim2.URN("urn:ietf:params:scim:schemas:core:2.0:Group")

    display_name: Annotated[str | None, Uniqueness.server, Required.true] = None
    members: list[Member] | None = None
    groups: Annotated[list[scim2.GroupMembership] | None, Mutability.read_only] = None
    entitlements: Annotated[list[Entitlement] | None, _granted("entitlements")] = None
    roles: Annotated[list[Role] | None, _granted("roles")] = None


class ServicePrincipal(scim2.Resource[Any]):
    """`applicationId` is made up for whoever leaves it out."""

    __schema__ = scim2.URN("urn:ietf:params:scim:schemas:core:2.0:ServicePrincipal")

    application_id: Annotated[str | None, Uniqueness.server, Required.true, Mutability.immutable, CaseExact.true] = None
    display_name: str | None = None
    active: Annotated[bool | None, Required.true] = None
    groups: Annotated[list[scim2.GroupMembership] | None, Mutability.read_only] = None
    entitlements: Annotated[list[Entitlement] | None, _granted("entitlements")] = None
    roles: Annotated[list[Role] | None, _granted("roles")] = None


Person = User[EnterpriseUser]
MODELS: dict[str, type[scim2.Resource[Any]]] = {
    "user": Person, "group": Group, "servicePrincipal": ServicePrincipal,
}  # fmt: skip
"""By kind."""


@cache
def provider() -> scim2.ScimProvider:
    supported = {"supported": True}
    return scim2.ScimProvider(
        models=[User, EnterpriseUser, Group, ServicePrincipal],
        resource_types=[scim2.ResourceType.from_resource(model) for model in MODELS.values()],
        config=scim2.ServiceProviderConfig.model_validate({
            "patch": supported, "sort": supported, "etag": supported, "changePassword": {"supported": False},
            "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
            "filter": {"supported": True, "maxResults": LARGEST_PAGE},
            "pagination": {
                "cursor": False, "index": True, "defaultPaginationMethod": "index", "defaultPageSize": LARGEST_PAGE,
                "maxPageSize": LARGEST_PAGE,
            },
            "authenticationSchemes": [{
                "type": "oauthbearertoken", "name": "OAuth bearer token", "primary": True,
                "description": "A personal token of an administrator, or a service principal's OAuth token",
                "specUri": "https://www.rfc-editor.org/info/rfc6750",
            }],
        }),
        policy=LENIENT,
    )  # fmt: skip


# reading


def created(model: type[R], payload: dict[str, Any]) -> R:
    """The resource of a POST."""
    with faults():
        return model.model_validate(_named(model, payload), scim_ctx=Context.RESOURCE_CREATION_REQUEST)


def replaced(model: type[R], payload: dict[str, Any], stored: dict[str, Any]) -> R:
    """The resource after a PUT: what is read-only stays, what is left out goes."""
    with faults():
        before = model.model_validate(stored)
        after = model.model_validate(_named(model, payload), scim_ctx=Context.RESOURCE_REPLACEMENT_REQUEST)
        after.replace(before)
        return after


def patched(model: type[R], operations: list[dict[str, Any]], stored: dict[str, Any]) -> R:
    """The resource after a PATCH: all of its operations, or none."""
    with faults(), LENIENT:
        resource = model.model_validate(stored)
        message: Any = scim2.PatchOp[model]  # type: ignore[valid-type]
        body = {"schemas": [str(scim2.PatchOp.__schema__)], "Operations": [*_spelled_out(operations)]}
        message.model_validate(body, scim_ctx=Context.RESOURCE_PATCH_REQUEST).patch(resource)
        return resource


def stored(resource: "scim2.Resource[Any]") -> dict[str, Any]:
    """The resource as plain data, by its SCIM names."""
    return resource.model_dump()


def _named(model: type[R], payload: dict[str, Any]) -> dict[str, Any]:
    """With the schemas that its attributes are of. The SDK names none, Entra and the SDK name some of their own; an
    attribute of those is refused."""
    given = {k: v for k, v in payload.items() if k.lower() != "schemas"}
    extensions = {str(urn).lower(): str(urn) for urn in model.get_extension_models()}
    return {
        **given,
        "schemas": [str(model.__schema__), *(extensions[k.lower()] for k in given if k.lower() in extensions)],
    }


def _spelled_out(operations: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Entra's ways: values by path in an operation without one, and a manager by the bare id."""
    for each in operations:
        inside = names(each.get("value")) if not each.get("path") else None
        if inside is not None and any("[" in name for name in inside):
            yield from _spelled_out([{**each, "path": name, "value": value} for name, value in inside.items()])
        elif str(each.get("path") or "").lower() == MANAGER and isinstance(each.get("value"), str):
            yield {**each, "value": {"value": each["value"]}}
        else:
            yield each


# what filters look up

ELSEWHERE = frozenset({"schemas", "id", "meta", "groups", "members", "active", "entitlements", "roles"})
"""Attributes that are not the resource's own texts: they have a column or a table of their own."""


def texts(model: type["scim2.Resource[Any]"], data: dict[str, Any]) -> Iterator[tuple[str, int, str, str]]:
    """(path, number of the value, attribute, text to compare) of everything a filter or a sort may look for."""
    for name, value in data.items():
        if name in ELSEWHERE:
            continue
        if name.lower().startswith("urn:"):
            for below, each in value.items():
                yield from _entries(model, f"{name}:{below}", each)
        else:
            yield from _entries(model, name, value)


def _entries(model: type["scim2.Resource[Any]"], name: str, value: Any) -> Iterator[tuple[str, int, str, str]]:
    values = several(value)
    if len(values) > MOST:
        raise Refused(f"{name}: {MOST} values at most", scim_type="invalidValue")
    for number, each in enumerate(values):
        inside = names(each)
        parts = {f"{name}.{k}": v for k, v in inside.items()} if inside is not None else {name: each}
        for path, text in parts.items():
            yield path.lower(), number, name.lower(), _comparable(model, path, text)


def _comparable(model: type["scim2.Resource[Any]"], path: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    binding = scim2.Path[model](path).resolve()  # type: ignore[valid-type]
    text = str(binding.comparable(str(value)) if binding else value)
    if len(text) > LONGEST:
        raise Refused(f"{path}: {LONGEST} characters at most", scim_type="invalidValue")
    return text

"""How one fault is written for each family of clients."""

from collections.abc import Callable
from typing import Any

from lakewright.kernel.faults import Fault

Dialect = Callable[[Fault], dict[str, Any]]


def databricks(fault: Fault) -> dict[str, Any]:
    return {"error_code": fault.code, "message": str(fault), **fault.details}


def scim(fault: Fault) -> dict[str, Any]:
    """RFC 7644 §3.12. A refusal made without SCIM in mind gets the word that fits its class."""
    said = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": str(fault.status),
        "detail": str(fault),
    }
    word = fault.details.get("scimType") or _SCIM_TYPES.get(fault.code)
    return {**said, "scimType": word} if word else said


_SCIM_TYPES = {
    "RESOURCE_ALREADY_EXISTS": "uniqueness", "MALFORMED_REQUEST": "invalidSyntax",
}  # fmt: skip


def oauth(fault: Fault) -> dict[str, Any]:
    """RFC 6749 §5.2; a fault that carries no OAuth code is a bad request."""
    code = fault.code if fault.code.islower() else "invalid_request"
    return {"error": code, "error_description": str(fault)}


def openai(fault: Fault) -> dict[str, Any]:
    kind = "invalid_request_error" if fault.status < 500 else "server_error"
    return {"error": {"message": str(fault), "type": kind, "param": None, "code": fault.code.lower()}}

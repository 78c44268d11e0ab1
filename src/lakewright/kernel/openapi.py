"""The declared operations as an OpenAPI 3.1 document: what can be asked, of whom, and how refusals are written.

It is read off the declarations that the server itself obeys, so it cannot say anything else than they do. What a
successful answer holds is not declared anywhere, so the document only says whether it is a JSON object.
"""

import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from types import UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

import orjson
from pydantic.json_schema import models_json_schema

from lakewright.kernel.answers import Json
from lakewright.kernel.dialects import Dialect, databricks, oauth, scim
from lakewright.kernel.operation import OPERATIONS, Operation
from lakewright.kernel.rules import PUBLIC

Op = Operation[Any, Any]
Part = dict[str, Any]

SCHEMAS = "#/components/schemas/"
JSON = "application/json"
IN_THE_QUERY = ("GET", "HEAD", "DELETE")
"""Verbs of whose fields a client has no body to put them in."""

REFUSALS = {
    400: "A field is missing, malformed or of the wrong type, or the object's state does not allow it.",
    401: "No credential, or not a good one.",
    403: "A right or a scope is missing; also where something is not there and the caller may not know.",
    404: "No such object.",
    409: "It exists already, is in use, or somebody else was first.",
    413: "More than this server takes in one request.",
    415: "The body is compressed or in an unknown encoding.",
    421: "This server does not answer at that host.",
    429: "Too many requests; Retry-After says when to come back.",
    501: "Known to the API, not enforced here, and therefore refused.",
    503: "Not now; Retry-After says when to come back.",
}
FILE_RANGE = {416: "The file has no such range."}
TEXT: Part = {"type": "string"}
ERRORS: dict[str, Part] = {
    "DatabricksError": {
        "type": "object", "required": ["error_code", "message"], "properties": {"error_code": TEXT, "message": TEXT},
    },
    "ScimError": {
        "type": "object", "required": ["schemas", "status", "detail"],
        "properties": {
            "schemas": {"type": "array", "items": TEXT}, "status": TEXT, "detail": TEXT, "scimType": TEXT,
        },
    },
    "OauthError": {"type": "object", "required": ["error"], "properties": {"error": TEXT, "error_description": TEXT}},
}  # fmt: skip
NAMED: dict[Dialect, str] = {databricks: "Databricks", scim: "Scim", oauth: "Oauth"}


@cache
def written() -> bytes:
    """The document as it is served. Built once: operations are declared at import and never change afterwards."""
    return orjson.dumps(document())


def document(operations: Iterable[Op] = OPERATIONS) -> Part:
    declared = list(operations)
    asked, shared = _asks(declared)
    spelt: dict[str, str] = {}
    paths: dict[str, Part] = {}
    for operation in declared:
        for number, (verb, path) in enumerate(operation.routes, 1):
            names = re.findall(r"{(\w+)(?::rest)?}", path)
            # Paths that differ only in a parameter's name are one path: its parameters have the names given first.
            plain = re.sub(r"{(\w+):rest}", r"{\1}", path)
            template = spelt.setdefault(re.sub(r"{\w+}", "{}", plain), plain)
            unique = operation.name if number == 1 else f"{operation.name}.{number}"
            item = _Described(operation, asked[operation.ask], path, dict(zip(names, _names(template), strict=True)))
            paths.setdefault(template, {})[verb.lower()] = {"operationId": unique, **item.shown()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Lakewright", "version": version("lakewright"), "license": {"name": "Apache-2.0"}},
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": [{"name": service} for service in sorted({o.service for o in declared})],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {**ERRORS, **_reachable(paths, shared)},
            "responses": {
                f"{name}{status}": _refusal(dialect, said)
                for dialect, name in NAMED.items()
                for status, said in {**REFUSALS, **FILE_RANGE}.items()
            },
        },
    }


class _Described:
    """One route of an operation."""

    def __init__(self, operation: Op, ask: Part, path: str, names: dict[str, str]) -> None:
        self.operation, self.path, self.names = operation, path, names
        fields: Part = dict(ask.get("properties", {}))
        if operation.body in ("file", "raw"):
            fields.pop("body", None)
        self.required = set(ask.get("required", ())) & set(fields)
        self.in_path = {name: fields.pop(name, TEXT) for name in names}
        self.fields, self.ask = fields, ask

    def shown(self) -> Part:
        operation = self.operation
        summary, _, more = operation.doc.partition("\n\n")
        shown: Part = {"tags": [operation.service], "summary": " ".join(summary.split()) or operation.audit}
        if more:
            shown["description"] = more.strip()
        if operation.needs is PUBLIC:
            shown["security"] = []
        if parameters := [*self._of_path(), *self._of_query()]:
            shown["parameters"] = parameters
        if body := self._body():
            shown["requestBody"] = body
        return {**shown, "responses": self._responses()}

    def _of_path(self) -> list[Part]:
        found: list[Part] = []
        for own, name in self.names.items():
            schema = _never_null(self.in_path[own])
            parameter: Part = {"name": name, "in": "path", "required": True, "schema": schema}
            if f"{{{own}:rest}}" in self.path:
                parameter["description"] = "The rest of the path, slashes included: they may be sent as they are."
            elif schema.get("type") == "string":
                parameter["schema"] = {"minLength": 1, **schema}
            found.append(parameter)
        return found

    def _of_query(self) -> list[Part]:
        if self.operation.verb not in IN_THE_QUERY and self.operation.body != "file":
            return []
        return [
            {"name": name, "in": "query", "required": name in self.required, "schema": _never_null(schema)}
            for name, schema in self.fields.items()
        ]

    def _body(self) -> Part | None:
        operation = self.operation
        if operation.body == "file":
            return {"required": True, "content": {"application/octet-stream": {"schema": {}}}}
        if operation.body == "raw":
            return {"required": True, "content": {JSON: {"schema": {}}, "application/octet-stream": {"schema": {}}}}
        if operation.verb in IN_THE_QUERY or operation.body == "none":
            return None
        if not self.fields and not self.ask.get("additionalProperties"):
            return None
        schema = {**self.ask, "properties": self.fields, "required": sorted(self.required - set(self.names))}
        media = {
            "form": ("application/x-www-form-urlencoded",), "multipart": (JSON, "multipart/form-data"),
        }.get(operation.body, (JSON,))  # fmt: skip
        return {"required": bool(schema["required"]), "content": {each: {"schema": schema} for each in media}}

    def _responses(self) -> Part:
        operation, name = self.operation, NAMED[self.operation.dialect]
        answered = get_type_hints(operation.run).get("return", Any)
        kinds = get_args(answered) if get_origin(answered) in (Union, UnionType) else (answered,)
        refusals = dict(REFUSALS)
        if operation.verb == "HEAD":
            success: Part = {"2XX": {"description": "It is there."}}
        elif all(get_origin(kind) is dict for kind in kinds):
            success = {"200": {"description": "Done.", "content": {JSON: {"schema": {"type": "object"}}}}}
        elif kinds == (Json,):
            media = (JSON, "application/scim+json") if operation.dialect is scim else (JSON,)
            success = {"2XX": {"description": "Done.", "content": {each: {} for each in media}}}
        else:
            refusals |= FILE_RANGE
            success = {"2XX": {"description": "Done."}, "3XX": {"description": "Go on there."}}
        return {**success, **{str(s): {"$ref": f"#/components/responses/{name}{s}"} for s in sorted(refusals)}}


def _asks(operations: list[Op]) -> tuple[dict[type, Part], dict[str, Part]]:
    """The schema of every ask, and all schemas by name. Two models of one name get names that tell them apart."""
    models = list(dict.fromkeys(o.ask for o in operations))
    refs, found = models_json_schema(
        [(model, "validation") for model in models], by_alias=True, ref_template=SCHEMAS + "{model}"
    )
    shared: dict[str, Part] = _bounded(found.get("$defs", {}))
    return {m: shared[cast("str", refs[m, "validation"]["$ref"]).removeprefix(SCHEMAS)] for m in models}, shared


def _bounded(schema: Any) -> Any:
    """Integers within 64 bits, as they are held to when a request is read."""
    if isinstance(schema, list):
        return [_bounded(each) for each in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    given = {name: _bounded(value) for name, value in cast("Part", schema).items()}
    if given.get("type") == "integer":
        lowest = {} if "exclusiveMinimum" in given else {"minimum": -(2**63)}
        highest = {} if "exclusiveMaximum" in given else {"maximum": 2**63 - 1}
        return {**lowest, **highest, **given}
    return given


def _never_null(schema: Part) -> Part:
    """As it can be said in an address, where nothing means null but saying nothing."""
    options = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    kept = {k: v for k, v in schema.items() if k != "anyOf" and not (k == "default" and v is None)}
    if not options:
        return kept
    return {**kept, **options[0]} if len(options) == 1 else {**kept, "anyOf": options}


def _refusal(dialect: Dialect, said: str) -> Part:
    content = {JSON: {"schema": {"$ref": f"{SCHEMAS}{NAMED[dialect]}Error"}}}
    if dialect is scim:
        content["application/scim+json"] = content[JSON]
    return {"description": said, "content": content}


def _names(template: str) -> list[str]:
    return re.findall(r"{(\w+)}", template)


def _reachable(paths: dict[str, Part], shared: dict[str, Part]) -> dict[str, Part]:
    """The schemas that something refers to: an ask itself stands where it is asked."""
    found: dict[str, Part] = {}
    waiting: list[Any] = [paths]
    while waiting:
        for name in re.findall(rf'"{SCHEMAS}([^"]+)"', orjson.dumps(waiting.pop()).decode()):
            if name not in found and name in shared:
                found[name] = shared[name]
                waiting.append(shared[name])
    return dict(sorted(found.items()))

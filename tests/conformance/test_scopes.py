"""Every operation has one scope, and a token that is limited to another never gets past it."""

import re

import httpx
import pytest
from conformance.test_every_operation import called

import lakewright.app  # noqa: F401 (declares the operations)
from lakewright.identity import scopes
from lakewright.kernel.operation import OPERATIONS
from lakewright.kernel.rules import PUBLIC

SIGNED_IN = [o for o in OPERATIONS if o.needs is not PUBLIC]


def test_every_operation_has_a_scope():
    free = ("console", scopes.WHO_AM_I)
    wrong = [o for o in SIGNED_IN if scopes.of(o) not in scopes.NAMES and o.service not in free and o.audit not in free]
    assert [called(o) for o in wrong] == []


def test_a_token_limited_to_one_scope_is_refused_by_every_operation_of_another(server, people):
    """All operations over the socket, with a token that may only run SQL: refused before the object is looked for."""
    ada = people.person("ada@example.com")
    token = ada.client.tokens.create(scopes=["sql"]).token_value
    wrong = []
    for operation in SIGNED_IN:
        if scopes.of(operation) in ("sql", scopes.ANY):
            continue
        path = re.sub(r"{\w+(:rest)?}", "x", operation.path)
        answer = httpx.request(operation.verb, server.url + path, headers={"authorization": f"Bearer {token}"})
        told = operation.verb == "HEAD" or "limited to the scopes sql" in answer.text
        if answer.status_code != 403 or not told:
            wrong.append(f"{called(operation)}: {answer.status_code} {answer.text[:120]}")
    assert not wrong, "\n".join(wrong)


def test_a_scope_to_read_covers_no_operation_that_is_not_a_get():
    from lakewright.kernel.context import Principal
    from lakewright.kernel.faults import Denied

    for operation in SIGNED_IN:
        scope = scopes.of(operation)
        if scope in (scopes.ANY, scopes.NONE):
            continue
        reader = Principal("1", "ada", "user", frozenset(), frozenset({f"{scope}:read"}))
        if operation.verb in ("GET", "HEAD"):
            scopes.require(reader, operation)
        else:
            with pytest.raises(Denied):
                scopes.require(reader, operation)

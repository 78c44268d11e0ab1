"""Every kind, every right and owner that may be held on it or above it, every operation: allowed or refused as declared.

Generated from the declared kinds and operations, present and future. What a rule means is spelled out here once more,
for a world in which one person holds exactly one thing; the other opinion is the operation's own guard.
"""

import re
from dataclasses import replace
from types import SimpleNamespace

import httpx
import pytest
from conformance.test_every_operation import GUARDED, KINDS_ONCE, called, fields_of, planted

from lakewright.access.requests import ToManage
from lakewright.catalog.reach import At
from lakewright.identity.workspace_access import AssignedToMine
from lakewright.kernel import grants, objects
from lakewright.kernel.audit import Entry
from lakewright.kernel.faults import Denied
from lakewright.kernel.kinds import KINDS, Target
from lakewright.kernel.rules import Admin, Both, Either, Owner, Right
from lakewright.models.approvals import Approver
from lakewright.storage.mounts import Governed
from lakewright.workspace.folders import SomethingIn

__all__ = ["planted"]

FIXED = [o for o in GUARDED if o.on.kind is not None]
REACHED = {"catalog": "USE_CATALOG", "schema": "USE_SCHEMA"}


class RolledBack(Exception):
    pass


def meaning(rule, lineage, held):
    """Whether the rule is fulfilled for somebody who holds `held`: (kind, right) pairs, right "OWNER" for owning it."""
    kinds = [kind.name for kind in lineage]
    again = lambda inner, below=0: meaning(inner, lineage[below:], held)
    if isinstance(rule, Both):
        return again(rule.left) and again(rule.right)
    if isinstance(rule, Either):
        return again(rule.left) or again(rule.right)
    if isinstance(rule, At):
        there = len(kinds) - 1 - rule.depth
        return again(rule.rule, max(there, 0))
    if isinstance(rule, Governed):
        return again(rule.rule)
    if isinstance(rule, SomethingIn):
        return again(rule.right)
    if isinstance(rule, Owner):
        return (kinds[0], "OWNER") in held
    if str(rule) == "to be an administrator of the account":
        return ("account", "OWNER") in held
    if isinstance(rule, Admin):
        return (kinds[-1], "OWNER") in held
    if isinstance(rule, AssignedToMine):  # nobody of this world is assigned to a workspace
        return False
    if isinstance(rule, Approver):  # nobody is named as approver in this world
        return again(KINDS["approval"].held_as("MANAGE").right)
    if isinstance(rule, ToManage):
        return again(lineage[0].held_as("MANAGE"))
    assert isinstance(rule, Right), f"say here what {rule!r} means"
    if (kinds[0], "OWNER") in held:
        return True
    owned_above = any((kind, "OWNER") in held for kind in kinds[1:])
    return (rule.from_owner_above and owned_above) or any((k, name) in held for k in kinds for name in rule.names)


def holdings(kind):
    """Each single thing one may hold on the kind or on what it lies in."""
    for above in kind.lineage():
        yield above, "OWNER"
        for right in sorted(above.grantable() | ({"IS_OWNER"} if above.uses_levels else set())):
            yield above, right


def allowed(ctx, operation, target):
    """What the operation's own guard says, its object found for it."""
    at = Target("", operation.on.kind, finds=lambda ctx, address: target)
    try:
        replace(operation, on=at).decide(ctx, SimpleNamespace(), Entry(0, "", "", "", "", "", ""))
    except Denied:
        return False
    return True


@pytest.mark.parametrize("reaching", [False, True], ids=["nothing else", "and may use catalog and schema"])
def test_each_cell_of_kind_by_right_by_operation_is_as_declared(platform, people, planted, reaching):
    pat, wrong, cells = people.person("pat").id, [], []

    def hold(ctx, kind, right, *, take_back=False):
        obj = objects.again(ctx, planted[kind.name])
        if right == "OWNER":
            objects.set_owner(ctx, obj, "admins" if take_back else pat)
        else:
            grants.change(ctx, obj, pat, **{"remove" if take_back else "add": [right]})

    def check(ctx):
        for kind in KINDS_ONCE:
            operations = [o for o in FIXED if o.on.kind is kind]
            extra = [(KINDS[k], r) for k, r in REACHED.items() if reaching and KINDS[k] in kind.lineage()[1:]]
            for above, right in holdings(kind) if operations else ():
                for each in {(above, right), *extra}:
                    hold(ctx, *each)
                held = {(above.name, right), *((k.name, r) for k, r in extra)}
                as_pat = ctx.as_principal(pat)
                for operation in operations:
                    meant = meaning(operation.needs, kind.lineage(), held)
                    cells.append(meant)
                    if meant != allowed(as_pat, operation, planted[kind.name]):
                        wrong.append(
                            f"{called(operation)} with {sorted(held)}: should be {'allowed' if meant else 'refused'}"
                        )
                for each in {(above, right), *extra}:
                    hold(ctx, *each, take_back=True)
        raise RolledBack

    with pytest.raises(RolledBack):
        platform.transact(check, people.admin.id)
    assert not wrong, f"{len(wrong)} of {len(cells)} cells:\n" + "\n".join(wrong[:40])
    assert len(cells) > 4000
    assert sum(cells) > 500


WEAKEST = {
    "job": {
        "CAN_VIEW": ["get", "getRun", "getRunOutput"],
        "CAN_MANAGE_RUN": ["runNow", "cancel", "cancelAllRuns", "repairRun"],
        "CAN_MANAGE": ["update", "reset", "delete", "deleteRun"],
    },
    "serving_endpoint": {
        "CAN_VIEW": ["getServingEndpoint"],
        "CAN_QUERY": ["queryServingEndpoint"],
        "CAN_MANAGE": ["updateServingEndpoint", "deleteServingEndpoint", "getServedModelLogs"],
    },
    "experiment": {
        "CAN_READ": ["getMlflowExperiment", "getRun", "listArtifacts"],
        "CAN_EDIT": ["createRun", "logMetric", "deleteRun"],
        "CAN_MANAGE": ["deleteMlflowExperiment", "updateMlflowExperiment"],
    },
    "warehouse": {
        "CAN_VIEW": ["getWarehouse"],
        "CAN_USE": ["executeStatement"],
        "CAN_MANAGE": ["editWarehouse", "deleteWarehouse"],
    },
    "secret_scope": {"READ": ["getSecret", "listSecrets"], "WRITE": ["putSecret"], "MANAGE": ["deleteScope", "putAcl"]},
    "registered_model": {"EXECUTE": ["getRegisteredModel"], "CREATE_MODEL_VERSION": ["createModelVersion"]},
    "table": {"SELECT": ["getTable"], "MANAGE": ["deleteTable", "updateTable"]},
}
"""Written by hand from what Databricks documents: the weakest right that lets one do it."""


@pytest.mark.parametrize("kind", WEAKEST)
def test_the_weakest_right_that_lets_one_do_it_is_the_documented_one(kind):
    wrong, the = [], KINDS[kind]
    reach = {(k, r) for k, r in REACHED.items() if KINDS[k] in the.lineage()[1:]}
    order = list(the.rights)
    for weakest, names in WEAKEST[kind].items():
        for name in names:
            found = [o for o in FIXED if o.on.kind is the and o.audit == name]
            assert found, f"{kind} has no operation {name}: {sorted({o.audit for o in FIXED if o.on.kind is the})}"
            for operation in found:
                weaker = order[: order.index(weakest)] if the.uses_levels else []
                if not meaning(operation.needs, the.lineage(), {(kind, weakest), *reach}):
                    wrong.append(f"{name} is refused with {weakest}")
                wrong += [
                    f"{name} is allowed with {right}"
                    for right in weaker
                    if meaning(operation.needs, the.lineage(), {(kind, right), *reach})
                ]
    assert not wrong, "\n".join(wrong)


def test_every_reading_operation_over_the_socket_answers_403_exactly_below_what_it_needs(server, people, planted):
    """For each GET on a kind: with the first single holding that suffices, and with the last that does not."""
    pat, wrong, asked = people.person("pat"), [], 0
    bearer = {"authorization": f"Bearer {pat.token}"}

    def change(held, side):
        server.platform.transact(
            lambda ctx: [grants.change(ctx, planted[kind], pat.id, **{side: [right]}) for kind, right in held]
        )

    for operation in (o for o in FIXED if o.verb == "GET" and o.on.finds is None and o.on.kind.under):
        kind = operation.on.kind
        extra = {(k, r) for k, r in REACHED.items() if KINDS[k] in kind.lineage()[1:]}
        cases = {}
        for above, right in holdings(kind):
            if right not in ("OWNER", "IS_OWNER"):
                held = {(above.name, right), *extra}
                cases.setdefault(meaning(operation.needs, kind.lineage(), held), held)
        for meant, held in cases.items():
            change(held, "add")
            path, rest = operation.path, fields_of(operation, planted)
            for name in re.findall(r"{(\w+)(?::rest)?}", path):
                path = re.sub(rf"{{{name}(:rest)?}}", str(rest.pop(name, "x")), path)
            answer = httpx.get(server.url + path, params=rest, headers=bearer, timeout=30)
            change(held, "remove")
            asked += 1
            if (answer.status_code == 403) == meant:
                wrong.append(f"{called(operation)} with {sorted(held)}: {answer.status_code} {answer.text[:150]}")
    assert not wrong, "\n".join(wrong)
    assert asked > 40

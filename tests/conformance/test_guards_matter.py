"""Each operation is refused by its own rule, and by nothing else. For the kernel's own guard: campaigns/test_mutants.py."""

import os
from dataclasses import replace
from pathlib import Path

from conformance.test_every_operation import GUARDED, called, fields_of, planted

from lakewright.kernel.answers import Incoming
from lakewright.kernel.context import Ctx, RequestInfo
from lakewright.kernel.faults import Denied, Fault
from lakewright.kernel.platform import Call
from lakewright.kernel.rules import EVERYONE

__all__ = ["planted"]


DECIDED_FURTHER_IN = {"workspaceMkdirs", "workspaceImport"}
"""Their rule is only to see the nearest folder that exists; that one may write there is required by the body."""


def test_each_operation_is_refused_by_its_own_rule_and_by_nothing_else(platform, people, planted):
    """With its rule taken away, the same stranger gets past the decision: so it is the rule that refuses."""
    stranger = people.person("stranger")
    wrong = []

    def decide(ctx: Ctx, operation, fields):
        call = Call(platform, operation, RequestInfo("r"), ctx.principal, fields)
        operation.decide(ctx, call._ask, call._new_entry())

    def attempt(ctx, operation, fields):
        try:
            decide(ctx, operation, fields)
        except Fault as fault:
            return fault
        return None

    def check(ctx):
        as_stranger = ctx.as_principal(stranger.id)
        for operation in GUARDED:
            if operation.audit in DECIDED_FURTHER_IN:
                continue
            fields = fields_of(operation, planted)
            if operation.body == "file":
                fields["body"] = Incoming(Path(os.devnull), 0)
            if not isinstance(attempt(as_stranger, operation, fields), Denied):
                wrong.append(f"{called(operation)}: not refused")
            elif isinstance(attempt(as_stranger, replace(operation, needs=EVERYONE), fields), Denied):
                wrong.append(f"{called(operation)}: refused without its rule")

    platform.snapshot(check)
    assert not wrong, "\n".join(wrong)

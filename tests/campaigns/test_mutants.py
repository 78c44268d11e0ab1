"""Removing a check from the kernel's guard makes a test fail.

Changes one line of a copy of the source and runs the tests that must notice. A mutant that survives means that a check
could be lost without anybody hearing of it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lakewright

SOURCE = Path(lakewright.__file__).parent
TESTS = Path(__file__).parent.parent

AGREE = "conformance/test_rules_agree.py"
STRANGER = (
    "conformance/test_every_operation.py::test_a_stranger_is_refused_everywhere_and_each_refusal_is_recorded_once"
)
WRITER = "kernel/test_writer.py"
MISSING = "kernel/test_missing.py"
CHAIN = "audit/test_chain.py"
APPEND = "audit/test_refused_append.py"
IDENTITY = "identity/test_sdk_identity.py"
ORACLES = "conformance/test_permission_oracles.py::test_decisions_agree_with_cedar"
EXPIRY = "access/test_expiry.py"
REQUESTS = "access/test_requests.py::test_nobody_decides_what_they_asked_for_or_would_get"
REVIEWS = "access/test_reviews.py::test_owners_decide_nobody_reviews_their_own_and_closing_revokes_and_signs"

RIGHT_FAILS = """        return Verdict(False, str(self))

    def ways(self, ctx: "Ctx", object_id: str) -> Iterator[Way]:
        return self._search("""
COVERS = "self.left.covers(ctx, object_id) and self.right.covers(ctx, object_id)"
RECORD = """        turn.entries.append(entry)
        try:
            ctx = self._decide(turn.tx"""

MUTANTS = {
    "a refusal is not raised": ("kernel/operation.py", "if not verdict:", "if False:", MISSING),
    "a refusal is not recorded": ("kernel/platform.py", RECORD, RECORD.partition("\n")[2], WRITER),
    "every right is held": ("kernel/rules.py", RIGHT_FAILS, RIGHT_FAILS.replace("False", "True", 1), AGREE),
    "owning what is above is everything": ("kernel/rules.py", "(own and distance == 0)", "own", ORACLES),
    "both means either": ("kernel/rules.py", COVERS, COVERS.replace("and", "or"), AGREE),
    "lists are not filtered": ("kernel/objects.py", "if needs.covers(ctx, above.id):", "if True:", AGREE),
    "a change of grants bumps nothing": ("kernel/grants.py", "    policy.bump(ctx.tx)\n\n\ndef take", "\n\n\ndef take", AGREE),
    "a grant taken back is remembered": ("kernel/grants.py", "    policy.bump(ctx.tx)\n    return", "    return", REVIEWS),
    "a grant outlives its end": ("kernel/policy.py", "found.ends is not None and found.ends <= self._now()", "False", EXPIRY),
    "a list counts what has ended": ("kernel/rules.py", "if ctx.platform.policy.sets(ctx.tx).timed:", "if False:", EXPIRY),
    "one decides one's own request": ("access/requests.py", 'ctx.principal.id == row["requested_by"] or', "", REQUESTS),
    "one reviews one's own grant": ("access/reviews.py", 'in ctx.principal.ids - everybody(ctx)', "in set()", REVIEWS),
    "a revoked token still works": ("identity/credentials.py", 'row["revoked_at"] is not None or', "", IDENTITY),
    "an expired token still works": ("identity/credentials.py", '    if row["expires_at"] is not None and row["expires_at"] <= platform', "    if False and row[\"expires_at\"] <= platform", IDENTITY),
    "a deactivated person still works": ("kernel/platform.py", "known is None or not known.active", "known is None", IDENTITY),
    "a stranger is told what is missing": ("kernel/operation.py", "            if verdict:\n                raise\n", "            raise\n", MISSING),
    "the audit chain is not linked": ("kernel/audit.py", "        state.update(last.encode())\n", "", CHAIN),
    "the head of the trail is not signed": ("kernel/audit.py", "if now is None or not now.is_ours(chain):", "if now is None:", CHAIN),
    "work begins that cannot be recorded": ("kernel/platform.py", "        audit.rehearse(turn.tx)\n", "", APPEND),
    "page tokens are not bound": ("kernel/objects.py", 'bound = f"{ctx.principal.id}:', 'bound = f"', AGREE),
    "a failing turn is kept": ("kernel/writer.py", "if poisoned and not guarded:", "if False:", WRITER),
}  # fmt: skip
"""What is changed, where, into what, and the tests that must notice."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_tests_notice_when(mutant, tmp_path):
    name, there, instead, noticing = MUTANTS[mutant]
    copy = tmp_path / "lakewright"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    text = (copy / name).read_text()
    assert text.count(there) == 1, f"the line to take away is not in {name}, or is there {text.count(there)} times"
    (copy / name).write_text(text.replace(there, instead))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")} | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", noticing]
    done = subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, f"nobody noticed:\n{done.stdout[-2000:]}"


def test_the_generated_mutants_are_all_there_and_one_of_them_is_noticed():
    """The long form is `python -m tests.campaigns.mutants`."""
    from campaigns import mutants

    filters = list(mutants.filters())
    assert len(filters) > 20
    assert len(list(mutants.audits())) > 10
    assert not mutants.survives(next(m for m in filters if m.file == "workspace/secrets.py"))

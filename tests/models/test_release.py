"""One way to production: carded, gated, approved by somebody else, released."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from databricks.sdk.errors import (
    BadRequest,
    DatabricksError,
    InvalidParameterValue,
    InvalidState,
    NotFound,
    NotImplemented,
    PermissionDenied,
)

from lakewright.identity.service_principals import SERVICE_PRINCIPAL
from lakewright.kernel import grants, objects
from lakewright.kernel.faults import BadState
from lakewright.models import files, release, versions
from lakewright.models.registered import REGISTERED_MODEL
from lakewright.models.sweeping import sweep
from lakewright.serving.registry import Registry

from .conftest import MODEL, good_files

LEGACY = "/api/2.0/mlflow/unity-catalog"
UC = "/api/2.1/unity-catalog"
LW = "/api/2.1/lakewright"


def test_the_whole_way(world):
    version = world.releasable()
    approval = world.request(version, comment="better in spring")
    assert world.approve(approval, comment="looked at the slices")["state"] == "APPROVED"
    assert world.release(approval)["state"] == "RELEASED"
    assert world.alias() == version
    [live] = world.trainer.do("GET", f"{LW}/releases/{MODEL}/history")["history"]
    assert (live["version"], live["target"], live["approved_by"], live["moved_by"]) == (
        version, "alias:champion", ["bob"], world.trainer.name,
    )  # fmt: skip
    assert live["live_until"] is None and live["reason"] == "better in spring"


def move_ways(world, version):
    """Every way there is to make an alias point, or to make the name mean another version."""
    change = {"name": MODEL, "alias": "champion"}
    return {
        "legacy": lambda who: who.do("POST", f"{LEGACY}/registered-models/alias", **change, version=version),
        "legacy, other case": lambda who: who.do(
            "POST", f"{LEGACY}/registered-models/alias", name=MODEL.upper(), alias="ChAmPiOn", version=version
        ),
        "native": lambda who: who.do("PUT", f"{UC}/models/{MODEL}/aliases/champion", version_num=version),
        "native, other case": lambda who: who.do("PUT", f"{UC}/models/{MODEL}/aliases/CHAMPION", version_num=version),
        "sdk": lambda who: who.client.registered_models.set_alias(MODEL, "champion", version),
        "legacy unset": lambda who: who.do("DELETE", f"{LEGACY}/registered-models/alias", **change),
        "native unset": lambda who: who.client.registered_models.delete_alias(MODEL, "champion"),
        "delete the version": lambda who: who.client.model_versions.delete(MODEL, 1),
        "delete the model": lambda who: who.client.registered_models.delete(MODEL),
        "delete the model the old way": lambda who: who.do("DELETE", f"{LEGACY}/registered-models/delete", name=MODEL),
        "rename the model": lambda who: who.client.registered_models.update(MODEL, new_name="aside"),
        "rename the old way": lambda who: who.do(
            "PATCH", f"{LEGACY}/registered-models/update", name=MODEL, new_name="main.ml.aside"
        ),
    }


WAYS = list(move_ways(None, 0))


@pytest.mark.parametrize("way", WAYS)
def test_nobody_moves_a_protected_alias_without_a_release(world, way):
    world.champion()
    other = world.version(run_id="r2")
    world.evaluated("r2", champion=1)
    for who in (world.people.admin, world.trainer, world.bob):
        with pytest.raises((PermissionDenied, InvalidState)):
            move_ways(world, other)[way](who)
    assert world.alias() == 1


def test_aliases_at_creation_are_refused(world):
    with pytest.raises(NotImplemented, match="aliases"):
        world.trainer.do(
            "POST", f"{UC}/models", catalog_name="main", schema_name="ml", name="sly",
            aliases=[{"alias_name": "champion", "version_num": 1}],
        )  # fmt: skip


def test_a_tag_approves_nothing(world):
    version = world.version()
    world.trainer.do(
        "POST", f"{LEGACY}/model-versions/set-tag", name=MODEL, version=version, key="approved", value="true"
    )
    with pytest.raises(PermissionDenied, match="protected"):
        world.trainer.client.registered_models.set_alias(MODEL, "champion", version)


def test_the_ordinary_client_carries_out_an_approved_release_once(world):
    first, second = world.champion(), world.version(run_id="r2")
    world.evaluated("r2", champion=1, comparison=better())
    world.gate(second)
    world.approve(world.request(second))
    world.trainer.client.registered_models.set_alias(MODEL, "champion", second)
    assert world.alias() == second
    with pytest.raises(PermissionDenied, match="protected"):
        world.trainer.client.registered_models.set_alias(MODEL, "champion", first)


def better(by: float = 0.05) -> dict:
    return {"loss": "log_loss", "blocks": [[100, 100 * (0.4 - by + d / 1000), 40.0] for d in range(20)]}


# ---- who may approve


def test_the_author_cannot_approve_and_is_told_why(world):
    version = world.releasable()
    world.run("r1", world.ann)
    approval = world.request(version)
    with pytest.raises(PermissionDenied, match=r"only a person can approve|registered version"):
        world.approve(approval, world.trainer)


def test_who_asked_cannot_approve(world):
    version = world.releasable()
    approval = world.request(version, world.bob)
    with pytest.raises(PermissionDenied, match="bob asked for this approval and cannot approve it"):
        world.approve(approval)


def test_who_logged_the_run_cannot_approve(world):
    world.run("r7", world.bob)
    version = world.releasable("r7")
    with pytest.raises(PermissionDenied, match="bob logged its run"):
        world.approve(world.request(version))


def test_who_registered_it_cannot_approve(world):
    world.grant("SCHEMA", "main.ml", world.bob, "CREATE_MODEL_VERSION")
    version = world.version(world.bob)
    world.evaluated("r1")
    world.card()
    world.gate(version)
    with pytest.raises(PermissionDenied, match="bob registered version 1"):
        world.approve(world.request(version, world.ann))


@pytest.mark.parametrize("through_a_group", [False, True])
def test_who_answers_for_the_service_principal_cannot_approve(world, through_a_group):
    version = world.releasable()
    approval = world.request(version)
    name = "trainers" if through_a_group else "bob"
    if through_a_group:
        world.people.join("trainers", world.bob)

    def may_use(ctx):
        grants.change(ctx, objects.by_id(ctx, SERVICE_PRINCIPAL, world.trainer.id), ctx.id_of(name), add=["CAN_USE"])

    world.platform.transact(may_use)
    with pytest.raises(PermissionDenied, match=f"bob answers for {world.trainer.name}"):
        world.approve(approval)


def test_a_service_principal_cannot_approve_even_with_every_right(world):
    version = world.releasable()
    robot = world.people.service_principal("robot")
    world.grant("CATALOG", "main", robot, "MANAGE", "USE_CATALOG", "USE_SCHEMA")
    with pytest.raises(PermissionDenied, match="only a person can approve"):
        world.approve(world.request(version), robot)


def test_who_is_no_approver_gets_403_and_does_not_see_the_request(world):
    approval = world.request(world.releasable())
    for act in (
        lambda: world.approve(approval, world.eve),
        lambda: world.eve.do("POST", f"{LW}/approvals/{approval}/reject"),
        lambda: world.eve.do("GET", f"{LW}/approvals/{approval}"),
    ):
        with pytest.raises(PermissionDenied):
            act()
    assert world.eve.do("GET", f"{LW}/approvals")["approvals"] == []
    assert [a["approval_id"] for a in world.bob.do("GET", f"{LW}/approvals")["approvals"]] == [approval]


def named(world, **policy):
    return world.people.admin.do("PUT", f"{LW}/release-policies/schemas/main.ml", policy=policy)


def test_named_approvers_and_nobody_else(world):
    world.people.join("risk", world.eve)
    named(world, approvers=["risk"])
    approval = world.request(world.releasable())
    with pytest.raises(PermissionDenied, match="one of the approvers"):
        world.approve(approval)
    with pytest.raises(PermissionDenied, match="one of the approvers"):
        world.approve(approval, world.people.admin)
    assert world.approve(approval, world.eve)["state"] == "APPROVED"


def test_the_owner_of_the_model_cannot_name_an_approver(world):
    """Approving is no right that could be granted: the owner would grant it to a friend."""
    world.people.join("risk", world.bob)
    named(world, approvers=["risk"])
    approval = world.request(world.releasable())
    for right in ("APPROVE", "MANAGE", "ALL_PRIVILEGES"):
        try:
            body = {"changes": [{"principal": "eve", "add": [right]}]}
            world.trainer.do("PATCH", f"{UC}/permissions/approval/{approval}", **body)
        except (BadRequest, PermissionDenied, NotFound):
            continue
    with pytest.raises(PermissionDenied, match="one of the approvers"):
        world.approve(approval, world.eve)


def test_two_approvers_of_two_groups(world):
    for group, who in (("risk", world.bob), ("data", world.eve), ("risk", world.ann)):
        world.people.join(group, who)
    named(world, approvers=["risk", "data"], approvals=2, from_different_groups=True)
    approval = world.request(world.releasable())
    assert world.approve(approval)["state"] == "PENDING"
    with pytest.raises(InvalidState, match="answered already"):
        world.approve(approval)
    assert world.approve(approval, world.ann)["state"] == "PENDING", "two of one group are not two groups"
    assert world.approve(approval, world.eve)["state"] == "APPROVED"


def test_the_owner_of_the_model_does_not_set_its_policy(world):
    with pytest.raises(PermissionDenied):
        world.trainer.do("PUT", f"{LW}/release-policies/schemas/main.ml", policy={"approvals": 1})
    with pytest.raises(PermissionDenied):
        world.trainer.do("DELETE", f"{LW}/release-policies/schemas/main.ml")


def test_the_nearest_policy_counts_and_unknown_rules_are_refused(world):
    admin = world.people.admin
    admin.do("PUT", f"{LW}/release-policies/catalogs/main", policy={"approvals": 2, "approvers": ["bob"]})
    got = admin.do("GET", f"{LW}/release-policies/schemas/main.ml")
    assert (got["set_on"], got["policy"]["approvals"], got["policy"]["approvers"]) == ("main", 2, ["bob"])
    named(world, approvals=3)
    assert admin.do("GET", f"{LW}/release-policies/schemas/main.ml")["policy"]["approvals"] == 3
    for wrong in ({"approvals": 0}, {"gates": [{"check": "vibes"}]}, {"nothing": 1}, {"approvers": ["nobody"]}):
        with pytest.raises((BadRequest, NotImplemented)):
            named(world, **wrong)


# ---- what is approved


def test_any_change_after_the_approval_voids_it(world):
    version = world.releasable()
    approval = world.request(version)
    world.approve(approval)
    world.ann.do("PATCH", f"{LW}/cards/{MODEL}/{version}", limits="Anything goes.")
    assert world.bob.do("GET", f"{LW}/approvals/{approval}")["state"] == "VOID"
    for act in (
        lambda: world.release(approval),
        lambda: world.trainer.client.registered_models.set_alias(MODEL, "champion", version),
    ):
        with pytest.raises(PermissionDenied):
            act()


def test_a_verdict_replaced_between_approval_and_release_voids_it(world):
    version = world.releasable()
    approval = world.request(version)
    world.approve(approval)
    world.evaluated("r1", slices=[])
    assert not world.gate(version)["passed"]
    with pytest.raises(PermissionDenied, match="VOID"):
        world.release(approval)
    world.evaluated("r1")
    assert world.gate(version)["passed"]
    assert world.release(approval)["state"] == "RELEASED", "the same evidence is the same subject again"


def test_files_changed_on_disk_fail_the_gate_and_void_the_approval(world):
    version = world.releasable()
    approval = world.request(version)
    world.approve(approval)
    path = world.folder(version) / "model.pkl"
    path.chmod(0o600)
    path.write_bytes(path.read_bytes() + b" ")
    assert world.gate(version)["reasons"] == ["safe_files: *: the files are not those that were registered"]
    with pytest.raises(PermissionDenied, match="VOID"):
        world.release(approval)


def test_of_two_approved_promotions_the_second_is_stale(world):
    first = world.releasable("r1")
    second = world.version(run_id="r2")
    world.evaluated("r2")
    world.gate(second)
    one, two = world.request(first), world.request(second)
    world.approve(one)
    world.approve(two)
    world.release(one)
    with pytest.raises(InvalidState, match="run the gate again"):
        world.release(two)
    assert world.alias() == first


def test_an_approval_expires_by_the_clock(world):
    version = world.releasable()
    approval, other = world.request(version), None
    world.approve(approval)
    world.platform.clock.advance(72 * 3600 + 1)
    assert world.bob.do("GET", f"{LW}/approvals/{approval}")["state"] == "EXPIRED"
    with pytest.raises(PermissionDenied, match="EXPIRED"):
        world.release(approval)
    other = world.request(version)
    world.platform.clock.advance(72 * 3600 + 1)
    with pytest.raises(InvalidState, match="EXPIRED"):
        world.approve(other)


def test_rejected_is_rejected(world):
    approval = world.request(world.releasable())
    assert world.bob.do("POST", f"{LW}/approvals/{approval}/reject", comment="no")["state"] == "REJECTED"
    with pytest.raises(InvalidState, match="REJECTED"):
        world.approve(approval)
    with pytest.raises(PermissionDenied, match="REJECTED"):
        world.release(approval)


def test_asking_again_answers_the_open_request(world):
    version = world.releasable()
    assert world.request(version) == world.request(version)


def test_an_approver_who_saw_something_else_is_stopped(world):
    approval = world.request(world.releasable())
    with pytest.raises(InvalidState, match="not what this approval is about"):
        world.approve(approval, subject="0" * 64)


def test_nothing_unready_is_asked_about(world):
    version = world.version()
    with pytest.raises(InvalidState, match="run the gate first"):
        world.request(version)
    world.gate(version)
    with pytest.raises(InvalidState, match="lacks intended_use, limits, owner"):
        world.request(version)


# ---- what may be served


def servable(world, version):
    return world.trainer.do("GET", f"{LW}/releases/{MODEL}/versions/{version}/servable")


def test_only_a_released_or_approved_version_may_be_served(world):
    version = world.version()
    world.evaluated("r1")
    assert servable(world, version)["because"].endswith(
        "no gate has judged it; its model card lacks a gate run that filled it; nobody but its authors has approved it"
    )
    world.card()
    world.gate(version)
    assert servable(world, version)["because"].endswith("may not be served: nobody but its authors has approved it")
    approval = world.request(version)
    assert not servable(world, version)["servable"]
    world.approve(approval)
    assert servable(world, version)["servable"]
    world.release(approval)
    world.platform.clock.advance(1000 * 3600)
    assert servable(world, version)["servable"], "what is live does not stop by the clock"


def test_a_finding_after_the_release_stops_serving(world):
    version = world.champion()
    named(world, gates=[{"check": "limit", "metric": "auc", "min": 0.9}])
    world.gate(version)
    verdict = world.platform.snapshot(lambda ctx: release.servable(ctx, MODEL, version))
    assert not verdict.allowed and "limit auc" in verdict.because


def test_a_lenient_policy_is_somebody_elses_decision_and_is_obeyed(world):
    version = world.version()
    named(world, needs=[])
    assert servable(world, version)["servable"]


# ---- what was live


def test_rolling_back_goes_back_and_is_in_the_history(world):
    first = world.champion()
    world.platform.clock.advance(60)
    second = world.releasable("r2", champion=1, comparison=better())
    approval = world.request(second)
    world.approve(approval)
    world.release(approval)
    world.platform.clock.advance(60)
    with pytest.raises(InvalidParameterValue, match="reason"):
        world.trainer.do("POST", f"{LW}/releases/rollback", model=MODEL, reason=" ")
    world.trainer.do("POST", f"{LW}/releases/rollback", model=MODEL, reason="too many misses")
    assert world.alias() == first
    told = world.trainer.do("GET", f"{LW}/releases/{MODEL}/history")["history"]
    assert [(h["version"], h["live_until"] is None) for h in told] == [(1, False), (2, False), (1, True)]
    assert told[-1]["reason"] == "rolled back: too many misses"
    with pytest.raises(InvalidState, match="no other version"):
        world.trainer.do("POST", f"{LW}/releases/rollback", model=MODEL, reason="again")


def test_what_was_live_is_kept_for_the_retention_time(world):
    world.champion()
    world.platform.clock.advance(60)
    second = world.releasable("r2", champion=1, comparison=better())
    approval = world.request(second)
    world.approve(approval)
    world.release(approval)
    with pytest.raises(InvalidState, match="was live in the last 90"):
        world.trainer.client.model_versions.delete(MODEL, 1)
    world.platform.clock.advance(91 * 24 * 3600)
    world.people.again(world.trainer).client.model_versions.delete(MODEL, 1)
    with pytest.raises(InvalidState, match="is live"):
        world.people.admin.client.model_versions.delete(MODEL, second)


def test_a_schema_with_a_live_model_cannot_be_dropped_around_it(world):
    world.champion()
    for act in (
        lambda: world.people.admin.client.schemas.delete("main.ml", force=True),
        lambda: world.people.admin.client.catalogs.delete("main", force=True),
    ):
        with pytest.raises((InvalidState, BadRequest)):
            act()
    assert world.alias() == 1


# ---- the gate and the card


def test_the_author_cannot_bring_a_verdict_only_evidence(world):
    with pytest.raises(NotImplemented, match="passed"):
        world.trainer.do("POST", f"{LW}/gates/run", model=MODEL, version=1, passed=True)


def test_hostile_files_fail_the_gate_by_name(world):
    hostile = good_files() | {"extra/tool.pkl": b"cos\nsystem\n(S'id'\ntR."}
    version = world.version(files=hostile)
    world.evaluated("r1")
    world.card()
    judged = world.gate(version)
    assert judged["reasons"] == ["safe_files: extra/tool.pkl: imports os.system"]


def test_an_evaluation_of_another_model_is_refused(world):
    version = world.version()
    world.evaluated("r1", run_id="r2")
    with pytest.raises(InvalidParameterValue, match="not about this version"):
        world.gate(version)


def test_the_verdict_is_kept_and_readable(world):
    version = world.releasable()
    kept = world.bob.do("GET", f"{LW}/gates/{MODEL}/{version}")
    assert kept["passed"] and [o["check"] for o in kept["outcomes"]] == [
        "signature", "safe_files", "card", "lineage", "better_than_champion",
    ]  # fmt: skip


def test_a_service_principal_writes_no_card(world):
    with pytest.raises(PermissionDenied, match="written by a person"):
        world.card(world.trainer)


def test_a_card_fills_itself_where_it_can_and_says_what_is_missing(world):
    version = world.version()
    world.evaluated("r1")
    world.ann.do("PATCH", f"{LW}/cards/{MODEL}", intended_use="Late flights.")
    card = world.bob.do("GET", f"{LW}/cards/{MODEL}/{version}")
    assert card["missing"] == ["limits", "owner"] and not card["complete"]
    sections = card["sections"]
    assert sections["metrics"] == {"auc": 0.71} and sections["lineage"]["run_id"] == "r1"
    assert sections["environment"]["requirements"] == ["scikit-learn==1.9.1"]
    world.ann.do("PATCH", f"{LW}/cards/{MODEL}/{version}", limits="Not abroad.", owner="ann")
    assert world.bob.do("GET", f"{LW}/cards/{MODEL}/{version}")["complete"]


def test_the_owner_on_a_card_is_somebody(world):
    with pytest.raises(BadRequest):
        world.ann.do("PATCH", f"{LW}/cards/{MODEL}", owner="nobody@nowhere")
    with pytest.raises(InvalidParameterValue, match="a person or a group"):
        world.ann.do("PATCH", f"{LW}/cards/{MODEL}", owner=world.trainer.name)


def serving(world, *parts):
    """What an endpoint's fleet says when a configuration takes over."""
    who = world.trainer.id
    world.platform.transact(lambda ctx: release.goes_live(ctx, "endpoint:delays", list(parts)), principal=who)


def test_traffic_of_an_endpoint_is_in_the_history_with_who_approved(world):
    first = world.champion()
    world.platform.clock.advance(60)
    serving(world, (MODEL, first, 1.0))
    world.platform.clock.advance(60)
    second = world.releasable("r2", champion=1, comparison=better())
    world.approve(world.request(second))
    serving(world, (MODEL, first, 0.9), (MODEL, second, 0.1))
    world.platform.clock.advance(60)
    serving(world, (MODEL, first, 0.9), (MODEL, second, 0.1))
    told = world.trainer.do("GET", f"{LW}/releases/{MODEL}/history")["history"]
    shown = [
        (h["version"], h["share"], h["live_until"] is None, h["approved_by"]) for h in told if "endpoint" in h["target"]
    ]
    assert sorted(shown) == [(1, 0.9, True, ["bob"]), (1, 1.0, False, ["bob"]), (2, 0.1, True, ["bob"])]
    with pytest.raises(InvalidState, match="is live at endpoint:delays"):
        world.people.admin.client.model_versions.delete(MODEL, second)
    serving(world)
    told = world.trainer.do("GET", f"{LW}/releases/{MODEL}/history")["history"]
    assert all(h["live_until"] for h in told if "endpoint" in h["target"])


def test_files_of_a_deleted_version_go_after_their_days(world):
    version = world.version()
    folder = world.folder(version)
    world.trainer.client.model_versions.delete(MODEL, version)
    sweep(world.platform)
    assert folder.is_dir()
    world.platform.clock.advance(8 * 24 * 3600)
    sweep(world.platform)
    assert not folder.exists()


# ---- at the same time


def together(*acts):
    """The acts at once, each in its own thread; what each answered or was refused with."""
    gate = threading.Barrier(len(acts))

    def run(act):
        gate.wait()
        try:
            return act()
        except DatabricksError as refused:
            return refused

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def test_one_person_approving_twice_at_once_is_one_approval(world):
    named(world, approvers=["bob", "eve"], approvals=2)
    approval = world.request(world.releasable())
    told = together(*[lambda: world.approve(approval)] * 4)
    assert sum(isinstance(t, dict) for t in told) == 1
    assert world.bob.do("GET", f"{LW}/approvals/{approval}")["state"] == "PENDING"


def test_of_two_releases_at_once_one_wins(world):
    first, second = world.releasable("r1"), world.releasable("r2")
    approvals = [world.request(first), world.request(second)]
    for approval in approvals:
        world.approve(approval)
    told = together(*[lambda a=a: world.release(a) for a in approvals])
    assert sorted(isinstance(t, dict) for t in told) == [False, True]
    assert world.alias() == next(t["version"] for t in told if isinstance(t, dict))


def test_versions_registered_at_once_have_numbers_of_their_own(world):
    for i in range(6):
        world.run(f"r{i}", world.trainer)
    made = together(
        *[
            lambda i=i: world.trainer.do(
                "POST", f"{LEGACY}/model-versions/create", name=MODEL, source=f"models:/m-r{i}"
            )
            for i in range(6)
        ]
    )
    assert sorted(int(m["model_version"]["version"]) for m in made) == [1, 2, 3, 4, 5, 6]


def test_the_history_is_a_table(world):
    world.champion()
    client = world.people.admin.client
    warehouse = client.warehouses.create(name="w").result().id
    sql = "SELECT version, target, approved_by, live_until FROM system.mlops.deployment_history WHERE model_name = 'main.ml.flights'"
    told = client.statement_execution.execute_statement(sql, warehouse, wait_timeout="50s")
    assert told.result is not None, told.status
    assert told.result.data_array == [["1", "alias:champion", '["bob"]', None]]
    refused = world.eve.client.statement_execution
    with pytest.raises(PermissionDenied):
        refused.execute_statement(sql, warehouse, wait_timeout="50s")


def test_changed_files_are_not_loaded_for_serving(world):
    version = world.champion()
    assert world.platform.snapshot(lambda ctx: Registry().files(ctx, MODEL, version)).directory == world.folder(version)
    (world.folder(version) / "extra.pkl").write_bytes(b"cos\nsystem\n(S'id'\ntR.")
    with pytest.raises(BadState, match="not those that were registered"):
        world.platform.snapshot(lambda ctx: Registry().files(ctx, MODEL, version))


def test_who_manages_a_schema_does_not_relax_the_catalogs_policy(world):
    bob = world.bob
    bob.do("PUT", f"{LW}/release-policies/schemas/main.ml", policy={"needs": []})
    bob.do("DELETE", f"{LW}/release-policies/schemas/main.ml")
    world.people.admin.do("PUT", f"{LW}/release-policies/catalogs/main", policy={"approvals": 2})
    for act in (
        lambda: bob.do("PUT", f"{LW}/release-policies/schemas/main.ml", policy={"needs": []}),
        lambda: bob.do("DELETE", f"{LW}/release-policies/schemas/main.ml"),
    ):
        with pytest.raises(PermissionDenied, match="MANAGE"):
            act()
    assert bob.do("GET", f"{LW}/release-policies/schemas/main.ml")["policy"]["approvals"] == 2


def test_a_new_model_of_an_old_name_inherits_no_approval(world):
    version = world.releasable()
    approval = world.request(version)
    world.approve(approval)
    world.trainer.client.registered_models.delete(MODEL)
    world.model()
    again = world.version(run_id="r2")
    for act in (
        lambda: world.release(approval),
        lambda: world.trainer.client.registered_models.set_alias(MODEL, "champion", again),
    ):
        with pytest.raises((PermissionDenied, NotFound)):
            act()
    assert world.alias() is None


def test_a_copy_carries_no_approval(world):
    version = world.champion()
    world.model(name="copied")
    world.trainer.do(
        "POST", f"{LEGACY}/model-versions/create", name="main.ml.copied", source=f"models:/{MODEL}/{version}"
    )
    copied = world.platform.snapshot(lambda ctx: objects.find(ctx, REGISTERED_MODEL, "main.ml.copied"))
    version_row = world.platform.snapshot(lambda ctx: versions.of(ctx, copied, 1))
    for path, body in good_files().items():
        (files.pending(versions.folder(copied, version_row)) / path).write_bytes(body)
    world.trainer.do("POST", f"{LEGACY}/model-versions/finalize", name="main.ml.copied", version=1)
    with pytest.raises(PermissionDenied, match="protected"):
        world.trainer.client.registered_models.set_alias("main.ml.copied", "champion", 1)


def test_an_approver_reads_the_card_as_it_was_judged_without_a_right_on_the_run(world):
    version = world.releasable()
    world.recorded.readers["r1"] = {world.trainer.id}
    card = world.bob.do("GET", f"{LW}/cards/{MODEL}/{version}")
    assert card["complete"] and card["sections"]["metrics"] == {"auc": 0.71}
    with pytest.raises(PermissionDenied, match="CAN_READ"):
        world.gate(version, world.bob)

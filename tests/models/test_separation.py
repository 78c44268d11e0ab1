import pytest

from lakewright.models.separation import Actor, Part, enough, refusal

ANN = Actor("1", "ann", "user")
BOB = Actor("2", "bob", "user")
ROBOT = Actor("9", "trainer", "service_principal", hands=frozenset({"1", "trainers"}))


def test_somebody_else_may_approve():
    assert refusal(BOB, [Part(ROBOT, "registered version 3")]) is None


@pytest.mark.parametrize("did", ["registered version 3", "logged its run", "asked for this approval"])
def test_whoever_had_a_hand_in_it_may_not(did):
    assert refusal(ANN, [Part(BOB, "created the model"), Part(ANN, did)]) == (
        f"ann {did} and cannot approve it: somebody else has to"
    )


def test_who_answers_for_the_service_principal_that_made_it_may_not():
    assert refusal(ANN, [Part(ROBOT, "registered version 3")]) == (
        "ann answers for trainer, which registered version 3, and cannot approve it"
    )


def test_who_may_run_things_as_it_through_a_group_may_not_either():
    eve = Actor("3", "eve", "user", ids=frozenset({"3", "trainers"}))
    assert refusal(eve, [Part(ROBOT, "logged its run")]) == (
        "eve answers for trainer, which logged its run, and cannot approve it"
    )


def test_a_service_principal_never_approves_not_even_another_persons_work():
    assert refusal(ROBOT, [Part(BOB, "registered version 3")]) == (
        "only a person can approve, and trainer is a service principal"
    )


def test_one_approval_is_not_two():
    assert enough([frozenset()], needed=1)
    assert not enough([frozenset()], needed=2)


def test_two_approvers_of_one_group_are_not_two_groups():
    both = frozenset({"risk", "data"})
    assert not enough([frozenset({"risk"}), frozenset({"risk"})], 2, both)
    assert enough([frozenset({"risk"}), frozenset({"data"})], 2, both)


def test_who_is_in_both_groups_counts_for_the_one_the_other_approver_lacks():
    both = frozenset({"risk", "data"})
    assert enough([both, frozenset({"risk"})], 2, both)
    assert enough([both, frozenset({"data"})], 2, both)
    assert not enough([frozenset({"sales"}), frozenset({"risk"})], 2, both)

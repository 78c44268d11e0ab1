"""Separation of duties: who made a thing does not say that it is good."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Actor:
    """Somebody who did something."""

    id: str
    name: str
    kind: str
    ids: frozenset[str] = frozenset()
    """Their own id and every group they are in."""
    hands: frozenset[str] = frozenset()
    """Of a service principal: the people and groups who made it, manage it or may run things as it."""


@dataclass(frozen=True)
class Part:
    """What an actor had to do with the thing: "registered the version", "logged the run", "asked for the approval"."""

    actor: Actor
    did: str


def refusal(approver: Actor, parts: Iterable[Part]) -> str | None:
    """Why this approver may not approve; None when they may."""
    if approver.kind != "user":
        return f"only a person can approve, and {approver.name} is a {approver.kind.replace('_', ' ')}"
    for part in parts:
        if part.actor.id == approver.id:
            return f"{approver.name} {part.did} and cannot approve it: somebody else has to"
        if not part.actor.hands.isdisjoint(approver.ids | {approver.id}):
            return f"{approver.name} answers for {part.actor.name}, which {part.did}, and cannot approve it"
    return None


def enough(voters: Iterable[frozenset[str]], needed: int, groups: frozenset[str] = frozenset()) -> bool:
    """Whether the approvals given suffice. With `groups`, each must come from another of these groups.

    `voters` are the groups each distinct approver belongs to. Matching one approver to one group is a bipartite
    matching: Ann of {risk, data} and Bob of {risk} are two groups' worth, whatever order they voted in.
    """
    given = list(voters)
    if not groups:
        return len(given) >= needed
    taken: dict[str, int] = {}

    def seat(voter: int, tried: set[str]) -> bool:
        for group in sorted(given[voter] & groups - tried):
            tried.add(group)
            if group not in taken or seat(taken[group], tried):
                taken[group] = voter
                return True
        return False

    return sum(seat(voter, set()) for voter in range(len(given))) >= needed

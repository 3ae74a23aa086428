"""Who may take which call: the one judgement that both the indexes and the explanations rest on."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from vsek.acd.rules import Admits, AgentRules, Clearance, Group


class Bar(StrEnum):
    """Why an agent may not take a call, leaving aside what the agent is doing."""

    SKILL = "skill"
    """Lacks a skill, or the level of it."""
    NOT_CLEARED = "not_cleared"
    """Has nothing to do with the client's group."""
    CIRCLE = "circle"
    """Will be let in when the call has waited longer."""
    NEW_CLIENTS = "new_clients"
    """Is learning, and has had enough new clients in this shift."""
    BESIDE_TRAINED = "beside_trained"
    """Is learning, and nobody who is trained is free as well."""
    HELD = "held"
    """The call is kept for somebody who knows the matter."""


class Tier(NamedTuple):
    """How well an agent suits; the smallest is asked first."""

    circle: int
    """Number of the circle that admits the agent, from 0."""
    level: int
    """The negated skill level, 0 where levels do not count."""


class Who(NamedTuple):
    """What the rules say of an agent. Agents who are alike here are interchangeable."""

    team: str
    skills: tuple[tuple[str, int], ...]
    cleared: tuple[tuple[str, Clearance], ...]
    full: frozenset[str]
    """Groups of which the agent, who is learning there, gets no new clients for now."""

    @classmethod
    def of(cls, rules: AgentRules, full: frozenset[str]) -> Who:
        """What the rules say of an agent who has had enough new clients of the groups ``full``."""
        return cls(
            rules.team,
            tuple(sorted(rules.skills.items())),
            tuple(sorted(rules.cleared.items())),
            full,
        )

    def clearance(self, group: str) -> Clearance:
        """How far the agent is cleared for ``group``."""
        if not self.cleared:
            return Clearance.TRAINED
        cleared = dict(self.cleared)
        return cleared.get(group, cleared.get("*", Clearance.NONE))


class Want(NamedTuple):
    """What a call asks of its agent."""

    group: str
    requires: tuple[tuple[str, int], ...]
    circles: int
    """How many circles are open."""
    beside_trained: bool


def judge(want: Want, group: Group, who: Who) -> Tier | Bar:
    """Whether ``who`` may take a call that wants ``want`` of ``group``, and how well they suit.

    ``NEW_CLIENTS`` does not hold for clients whose calls the agent has taken before, and
    ``BESIDE_TRAINED`` not while somebody trained is free: both are for the caller to see to.
    """
    skills = dict(who.skills)
    if any(skills.get(skill, 0) < least for skill, least in want.requires):
        return Bar.SKILL
    level = 0
    if group.level_first and want.requires:
        level = -min(skills[skill] for skill, _ in want.requires)
    clearance = who.clearance(want.group)
    if clearance is Clearance.LEARNING and want.beside_trained:
        return Bar.NEW_CLIENTS if want.group in who.full else Bar.BESIDE_TRAINED
    for number, circle in enumerate(group.circles):
        if _admits(circle.admits, group, who, clearance):
            if number >= want.circles:
                return Bar.CIRCLE
            if circle.admits is Admits.LEARNING and want.group in who.full:
                return Bar.NEW_CLIENTS
            return Tier(number, level)
    return Bar.NOT_CLEARED


def _admits(admits: Admits, group: Group, who: Who, clearance: Clearance) -> bool:
    match admits:
        case Admits.TEAM:
            return clearance is Clearance.TRAINED and who.team == group.team
        case Admits.TRAINED:
            return clearance is Clearance.TRAINED
        case Admits.LEARNING:
            return clearance is Clearance.LEARNING
        case Admits.OVERFLOW:
            return any(who.clearance(name) is Clearance.TRAINED for name in group.overflow_to)

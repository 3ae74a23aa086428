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


class Who:
    """What the rules say of an agent. Agents who are alike here are interchangeable, and equal."""

    __slots__ = ("_key", "cleared", "full", "skills", "team")

    def __init__(self, rules: AgentRules, full: frozenset[str] = frozenset()) -> None:
        self.team = rules.team
        self.skills = rules.skills
        self.cleared = rules.cleared
        self.full = full
        """Groups of which the agent, who is learning there, gets no new clients for now."""
        skills, cleared = frozenset(rules.skills.items()), frozenset(rules.cleared.items())
        self._key = rules.team, skills, cleared, full

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Who) and self._key == other._key

    def clearance(self, group: str) -> Clearance:
        """How far the agent is cleared for ``group``."""
        if not self.cleared:
            return Clearance.TRAINED
        return self.cleared.get(group) or self.cleared.get("*", Clearance.NONE)


class Want(NamedTuple):
    """What a call asks of its agent."""

    group: str
    requires: tuple[tuple[str, int], ...]
    circles: int
    """How many circles are open."""
    beside_trained: bool


def judge(want: Want, group: Group, who: Who, *, met: bool = False) -> Tier | Bar:
    """Whether ``who`` may take a call that wants ``want`` of ``group``, and how well they suit.

    ``met``: the agent has taken calls of this client before, so it is no new one. The bar
    ``BESIDE_TRAINED`` is void while somebody trained is free, which is for the caller to see to.
    """
    levels = []
    for skill, least in want.requires:
        has = who.skills.get(skill, 0)
        if has < least:
            return Bar.SKILL
        levels.append(has)
    level = -min(levels) if group.level_first and levels else 0
    clearance = who.clearance(want.group)
    full = clearance is Clearance.LEARNING and want.group in who.full and not met
    if clearance is Clearance.LEARNING and want.beside_trained:
        return Bar.NEW_CLIENTS if full else Bar.BESIDE_TRAINED
    admitted = _admitted(group, who, clearance)
    for number, circle in enumerate(group.circles):
        if circle.admits in admitted:
            if number >= want.circles:
                return Bar.CIRCLE
            if circle.admits is Admits.LEARNING and full:
                return Bar.NEW_CLIENTS
            return Tier(number, level)
    return Bar.NOT_CLEARED


def _admitted(group: Group, who: Who, clearance: Clearance) -> tuple[Admits, ...]:
    """What the circles that admit ``who`` are called."""
    first: tuple[Admits, ...] = ()
    if clearance is Clearance.TRAINED:
        first = _TRAINED_IN_TEAM if who.team == group.team else _TRAINED
    elif clearance is Clearance.LEARNING:
        first = _LEARNING
    for name in group.overflow_to:
        if who.clearance(name) is Clearance.TRAINED:
            return *first, Admits.OVERFLOW
    return first


_TRAINED_IN_TEAM = Admits.TEAM, Admits.TRAINED
_TRAINED = (Admits.TRAINED,)
_LEARNING = (Admits.LEARNING,)

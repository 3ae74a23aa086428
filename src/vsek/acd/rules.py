"""The rules of the distribution, as data: who may take whom, in which order, and what else.

Everything has a default, so that a house without any rules works: every agent takes every client's
calls, whoever has waited longest first, the agent longest idle first. What is imported is checked
before it becomes rules (``vsek.domain.distribution``); nothing is checked here.
"""

from __future__ import annotations

import math
from enum import StrEnum

import msgspec

from vsek.acd.hours import DayHours, OpenSpan
from vsek.domain.ids import AgentId, ClientId


class Clearance(StrEnum):
    """How far an agent is cleared for a group's clients."""

    TRAINED = "trained"
    LEARNING = "learning"
    """Gets calls of so many new clients per shift (:attr:`Group.new_clients`), and of those whose
    calls they have taken before."""
    NONE = "none"


class Admits(StrEnum):
    """Who is let in when a circle opens. Each circle admits those of the circles before, too."""

    TEAM = "team"
    """Who is trained and in the group's own team."""
    TRAINED = "trained"
    LEARNING = "learning"
    OVERFLOW = "overflow"
    """Who is trained for one of the groups in :attr:`Group.overflow_to`."""


class Order(StrEnum):
    """Who is asked first among agents who are equally suited."""

    LONGEST_IDLE = "longest_idle"
    LEAST_CALLS = "least_calls"
    """Calls taken in this shift."""
    LEAST_TALK = "least_talk"
    """Time spent talking in this shift."""
    FIXED = "fixed"
    """By :attr:`AgentRules.position`."""


class Circle(msgspec.Struct, frozen=True):
    """From ``after_s`` seconds of waiting on, these agents may take the call as well."""

    after_s: float
    admits: Admits


class Group(msgspec.Struct, frozen=True):
    """Clients that the same agents are trained for (a service group)."""

    team: str = ""
    """Whose agents the circle TEAM admits."""
    circles: tuple[Circle, ...] = (Circle(0.0, Admits.TRAINED),)
    """In the order in which they open."""
    order: Order = Order.LONGEST_IDLE
    level_first: bool = True
    """Among the admitted those with the higher skill level are asked first."""
    overflow_to: tuple[str, ...] = ()
    new_clients: int = 3
    """How many new clients an agent who is learning gets in one shift."""


class Target(msgspec.Struct, frozen=True):
    """A service level: ``share`` of the calls are to be answered within ``within_s`` seconds."""

    share: float = 0.8
    within_s: float = 20.0

    @property
    def scale_s(self) -> float:
        """The mean wait, in seconds, at which the target would just be met if waits were
        exponential: 80/20 gives 12.4, 95/20 gives 6.7. Waiting times are divided by it."""
        return self.within_s / -math.log1p(-self.share)


class Action(StrEnum):
    """What happens to a call that nobody can take in time."""

    ANNOUNCE = "announce"
    """Play ``detail`` (an announcement) and go on waiting."""
    CALLBACK = "callback"
    """Offer to be called back; the call goes on waiting while the caller decides."""
    VOICEMAIL = "voicemail"
    FORWARD = "forward"
    """To the number ``detail``."""
    REGROUP = "regroup"
    """Served by the group ``detail`` from now on."""


class Treatment(msgspec.Struct, frozen=True):
    """One action and when it is taken: as soon as everything that is given holds.

    It is looked at when the call begins to wait, after ``after_s``, and from then on every
    ``RECHECK_S`` seconds. An announcement is repeated if ``every_s`` is above 0, everything else
    happens once per call.
    """

    action: Action
    detail: str = ""
    after_s: float = 0.0
    """Waited in this call at least so long."""
    waiting: int = 0
    """At least so many other calls of the same group wait."""
    expected_s: float = 0.0
    """The expected wait is at least this (unknown: does not hold)."""
    nobody: bool = False
    """Nobody is signed in who may ever take the call."""
    every_s: float = 0.0
    hours: tuple[OpenSpan, ...] = ()
    """When it applies, in the client's local time; empty: always."""
    timezone: str = "UTC"
    days: tuple[DayHours, ...] = ()


class ClientRules(msgspec.Struct, frozen=True):
    """One client's part."""

    group: str = ""
    requires: dict[str, int] = {}
    """Skills that an agent needs, with the least level of each."""
    target: Target = Target()
    vip_target: Target = Target(0.9, 10.0)
    hold_s: float = 0.0
    """How long a known caller is kept for the agent who knows the matter, in seconds."""
    learn_beside_trained: bool = False
    """Agents who are learning get this client's calls only while somebody who is trained is free
    as well; then they are asked as if trained, whatever the circles say."""
    treatments: tuple[Treatment, ...] = ()


class AgentRules(msgspec.Struct, frozen=True):
    """One agent's part."""

    team: str = ""
    skills: dict[str, int] = {}
    """Skill → level, 1 and more."""
    cleared: dict[str, Clearance] = {}
    """Group → clearance; ``*`` is for all groups not named. Empty: trained for all."""
    position: int = 0


class Rules(msgspec.Struct, frozen=True):
    """All of them. Durations are seconds."""

    ring_timeout_s: float = 20.0
    rona_park_s: float = 60.0
    """How long an agent gets no call who did not answer or could not be reached."""
    refusal_park_s: float = 10.0
    """How long an agent gets no call who refused."""
    redial_s: float = 300.0
    """Who calls the same client again within this time keeps the place of the earlier call."""
    shift_gap_s: float = 4 * 3600.0
    """Who was away for so long begins a new shift: calls taken, talk time and new clients count
    from zero."""
    version: int = 0
    """Counts the changes; decisions are explained with it."""
    groups: dict[str, Group] = {}
    clients: dict[ClientId, ClientRules] = {}
    agents: dict[AgentId, AgentRules] = {}

    def group(self, name: str) -> Group:
        """The group, or one with all defaults."""
        return self.groups.get(name, _GROUP)

    def client(self, client_id: ClientId) -> ClientRules:
        """The client's rules, or all defaults."""
        return self.clients.get(client_id, _CLIENT)

    def agent(self, agent_id: AgentId) -> AgentRules:
        """The agent's rules, or all defaults."""
        return self.agents.get(agent_id, _AGENT)


RECHECK_S = 10.0
"""How often, in seconds, treatments are looked at that depend on more than the time waited."""

_GROUP = Group()
_CLIENT = ClientRules()
_AGENT = AgentRules()

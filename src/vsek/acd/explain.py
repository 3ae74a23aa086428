"""Why a call went, or goes, to one agent and not to another: everybody's standing towards it.

This asks every agent and uses no index, so it is also what the indexes are checked against. Takes
time proportional to the number of agents; for people who ask and for tests.
"""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

import msgspec

from vsek.acd.entitlement import Bar, Tier, judge
from vsek.acd.matching import acquainted, keeper, urgency, verdict
from vsek.acd.rules import Admits, Order
from vsek.acd.state import Acd, Agent, AgentState, CallState, QueuedCall
from vsek.domain.ids import AgentId, CallId


class Hindrance(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why an agent may not take a call now, with the particulars that belong to ``bar``."""

    bar: Bar
    lacks: dict[str, int] = {}
    """SKILL: each skill that is missing, with the level that is needed."""
    has: dict[str, int] = {}
    """SKILL: the levels that the agent has of those, where there is any."""
    opens_in_s: float | None = None
    """CIRCLE: after how many seconds more of waiting the agent is let in; HELD: for how long the
    call is still kept."""
    admits: Admits | None = None
    """CIRCLE: the circle that lets the agent in."""
    met: int = 0
    """NEW_CLIENTS: new clients met in this shift …"""
    allowed: int = 0
    """… of so many."""
    keeper: AgentId | None = None
    """HELD: for whom the call is kept."""


class Standing(msgspec.Struct, frozen=True):
    """One agent's standing towards a call at one moment."""

    agent_id: AgentId
    state: AgentState
    bar: Bar | None
    """Why the agent may not take it, whatever they are doing."""
    known: bool = False
    """Knows the matter, and is therefore asked before all others."""
    tier: Tier | None = None
    place: float = 0.0
    """What the group orders by: rank of idleness, calls, seconds talked, or position."""
    idle_rank: int = 0

    @property
    def entitled(self) -> bool:
        """Whether the agent may take the call now."""
        return self.state is AgentState.READY and self.bar is None


class Edge(StrEnum):
    """What one agent who may take a call has over the next one."""

    ALONE = "alone"
    """Nobody else may."""
    KNOWN = "known"
    """Knows the matter; the other does not."""
    KNOWS_BETTER = "knows_better"
    """Both know it, this one better (or more recently)."""
    CIRCLE = "circle"
    """Was let in by an earlier circle."""
    LEVEL = "level"
    """Has a higher level of the skills that are needed."""
    CALLS = "calls"
    TALK = "talk"
    POSITION = "position"
    IDLE = "idle"
    """Has been idle for longer."""


class Candidate(msgspec.Struct, frozen=True, omit_defaults=True):
    """An agent as seen by somebody who asks about a call."""

    agent_id: AgentId
    state: AgentState
    for_s: float
    """How long the agent has been in this state, in seconds."""
    reason: str = ""
    """Why the agent is in this state, in a word or, for a pause, in the agent's words."""
    entitled: bool = False
    """May take the call now."""
    known: bool = False
    """Knows the matter."""
    circle: int = 0
    """Number of the circle that lets the agent in, from 1; 0: none does."""
    level: int = 0
    """Least level among the skills that the call needs; 0 where levels do not count."""
    calls: int = 0
    talked_s: float = 0.0
    position: int = 0
    hindrance: Hindrance | None = None
    """Why the agent may not take it, even if ready."""


class View(msgspec.Struct, frozen=True):
    """A call that waits, at one moment: how it stands, and everybody's standing towards it."""

    call_id: CallId
    group: str
    team: str
    """The group's own team."""
    order: Order
    waited_s: float
    """Since the arrival that gives the call its place."""
    circle: int
    """How many circles are open."""
    circles: tuple[tuple[float, Admits], ...]
    """After how many seconds each opens, and whom it lets in."""
    requires: dict[str, int]
    known: tuple[AgentId, ...]
    """Agents who know the matter, the best one first."""
    keeper: AgentId | None
    """For whom the call is kept."""
    held_s: float
    """For how long it may still be kept for one of ``known``, in seconds; 0: not (any more)."""
    vip: bool
    urgency: float
    """Waiting time in terms of the target."""
    waiting: int
    """How many other calls wait."""
    rules_version: int
    counts: dict[AgentState, int]
    edge: Edge | None
    """What the first has over the second; ``None``: nobody may take the call now."""
    candidates: tuple[Candidate, ...]
    """Who may take it, in the order in which they are asked, then the others by id."""

    @property
    def entitled(self) -> list[Candidate]:
        """Who may take the call now, in the order in which they are asked."""
        return [one for one in self.candidates if one.entitled]


def view(acd: Acd, call: QueuedCall, now: float) -> View:
    """How a waiting call stands at ``now`` (Unix seconds), and everybody's standing towards it."""
    rules = acd.rules
    group, client = rules.group(call.group), rules.client(call.client_id)
    order = standings(acd, call)
    first = [standing for standing in order if standing.entitled]
    kept_for = keeper(acd, call)
    return View(
        call_id=call.call_id,
        group=call.group,
        team=group.team,
        order=group.order,
        waited_s=now - call.arrival,
        circle=call.circles,
        circles=tuple((circle.after_s, circle.admits) for circle in group.circles),
        requires=client.requires,
        known=call.known,
        keeper=kept_for.agent_id if kept_for is not None else None,
        held_s=max(0.0, call.hold_until - now),
        vip=call.vip,
        urgency=urgency(acd, call, now),
        waiting=sum(other.state is CallState.WAITING for other in acd.calls.values())
        - (call.state is CallState.WAITING),
        rules_version=rules.version,
        counts=dict(acd.counts),
        edge=_edge(call, first, group.order) if first else None,
        candidates=tuple(_candidate(acd, call, standing, now) for standing in order),
    )


def standings(acd: Acd, call: QueuedCall) -> list[Standing]:
    """Everybody's standing towards a waiting call: who may take it first, in the order in which
    they are asked, then the others by id."""
    need = acd.need(call)
    order = acd.rules.group(call.group).order
    found: list[Standing] = []
    beside: list[Standing] = []
    for agent in acd.agents.values():
        known = agent.agent_id in call.known and acquainted(acd, call, agent)
        result = verdict(acd, call, agent, need)
        tier = result if isinstance(result, Tier) else None
        bar = result if isinstance(result, Bar) and not known else None
        if bar is None and call.held and not known:
            bar = Bar.HELD
        standing = Standing(
            agent.agent_id,
            agent.state,
            bar,
            known,
            tier,
            _place(acd, agent, order),
            agent.idle_rank,
        )
        (beside if bar is Bar.BESIDE_TRAINED else found).append(standing)
    trained = [s.tier for s in found if s.entitled and s.tier is not None]
    if trained and not call.held:
        beside = [msgspec.structs.replace(s, bar=None, tier=min(trained)) for s in beside]
    found += beside
    first = [s for s in found if s.entitled]
    others = [s for s in found if not s.entitled]
    first.sort(key=lambda s: _rank(call, s))
    return first + sorted(others, key=lambda s: s.agent_id)


def hindrance(acd: Acd, call: QueuedCall, agent: Agent, bar: Bar, now: float) -> Hindrance:
    """What exactly bars ``agent`` from a waiting call at ``now`` (Unix seconds)."""
    match bar:
        case Bar.SKILL:
            required = acd.rules.client(call.client_id).requires
            skills = acd.rules.agent(agent.agent_id).skills
            lacks = {s: least for s, least in required.items() if skills.get(s, 0) < least}
            has = {skill: skills[skill] for skill in lacks if skill in skills}
            return Hindrance(bar, lacks=lacks, has=has)
        case Bar.CIRCLE:
            result = judge(
                acd.full_need(call).want,
                acd.rules.group(call.group),
                acd.profiles[agent.agent_id].who,
                met=True,
            )
            assert isinstance(result, Tier)  # some circle lets the agent in
            circle = acd.rules.group(call.group).circles[result.circle]
            opens_in_s = max(0.0, circle.after_s - (now - call.arrival))
            return Hindrance(bar, opens_in_s=opens_in_s, admits=circle.admits)
        case Bar.NEW_CLIENTS:
            met = agent.new_clients.get(call.group, 0)
            return Hindrance(bar, met=met, allowed=acd.rules.group(call.group).new_clients)
        case Bar.HELD:
            kept_for = keeper(acd, call)
            return Hindrance(
                bar,
                opens_in_s=max(0.0, call.hold_until - now),
                keeper=kept_for.agent_id if kept_for is not None else None,
            )
        case Bar.NOT_CLEARED | Bar.BESIDE_TRAINED:
            return Hindrance(bar)
        case _:
            assert_never(bar)


def _candidate(acd: Acd, call: QueuedCall, standing: Standing, now: float) -> Candidate:
    agent = acd.agents[standing.agent_id]
    bar = standing.bar
    return Candidate(
        agent.agent_id,
        agent.state,
        max(0.0, now - agent.since),
        agent.reason,
        standing.entitled,
        standing.known,
        0 if standing.tier is None else standing.tier.circle + 1,
        0 if standing.tier is None else -standing.tier.level,
        agent.calls,
        agent.talked_s,
        acd.rules.agent(agent.agent_id).position,
        None if bar is None else hindrance(acd, call, agent, bar, now),
    )


_EDGE_OF = {
    Order.LONGEST_IDLE: Edge.IDLE,
    Order.LEAST_CALLS: Edge.CALLS,
    Order.LEAST_TALK: Edge.TALK,
    Order.FIXED: Edge.POSITION,
}


def _edge(call: QueuedCall, asked: list[Standing], order: Order) -> Edge:
    """What the first of ``asked`` has over the second."""
    if len(asked) == 1:
        return Edge.ALONE
    first, second = (_rank(call, standing) for standing in asked[:2])
    if asked[0].known:
        return Edge.KNOWS_BETTER if asked[1].known else Edge.KNOWN
    if first[1].circle != second[1].circle:
        return Edge.CIRCLE
    if first[1].level != second[1].level:
        return Edge.LEVEL
    return _EDGE_OF[order] if first[2] != second[2] else Edge.IDLE


def _rank(call: QueuedCall, standing: Standing) -> tuple[int, Tier, float, int]:
    known = call.known.index(standing.agent_id) if standing.known else len(call.known)
    return known, standing.tier or Tier(0, 0), standing.place, standing.idle_rank


def _place(acd: Acd, agent: Agent, order: Order) -> float:
    match order:
        case Order.LONGEST_IDLE:
            return 0.0
        case Order.LEAST_CALLS:
            return float(agent.calls)
        case Order.LEAST_TALK:
            return agent.talked_s
        case Order.FIXED:
            return float(acd.rules.agent(agent.agent_id).position)
        case _:
            assert_never(order)

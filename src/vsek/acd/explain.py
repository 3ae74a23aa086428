"""Why a call went, or goes, to one agent and not to another: everybody's standing towards it.

This asks every agent and uses no index, so it is also what the indexes are checked against. Takes
time proportional to the number of agents; for people who ask and for tests.
"""

from __future__ import annotations

import msgspec

from vsek.acd.entitlement import Bar, Tier
from vsek.acd.matching import acquainted, verdict
from vsek.acd.rules import Order
from vsek.acd.state import Acd, Agent, AgentState, QueuedCall
from vsek.domain.ids import AgentId


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

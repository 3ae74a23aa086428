"""The rules of the distribution told a second time, slowly, without what ``vsek.acd`` judges by.

What the walks of ``world.py`` compare with: who changes a rule has to change it in both places.
"""

from __future__ import annotations

import math

from vsek.acd.rules import Admits, Clearance, Group, Order, Target
from vsek.acd.state import Acd, Agent, AgentState, CallState, QueuedCall

Standing = tuple[int, int, int, float, int]
"""Place among those who know the matter, circle, level, place by the group's order, idleness."""


def clearance(acd: Acd, agent: Agent, group: str) -> Clearance:
    cleared = acd.rules.agent(agent.agent_id).cleared
    if not cleared:
        return Clearance.TRAINED
    for name in (group, "*"):
        if name in cleared:
            return cleared[name]
    return Clearance.NONE


def admits(acd: Acd, what: Admits, group: Group, name: str, agent: Agent) -> bool:
    own = clearance(acd, agent, name)
    trained = own is Clearance.TRAINED
    in_team = acd.rules.agent(agent.agent_id).team == group.team
    elsewhere = [clearance(acd, agent, other) for other in group.overflow_to]
    return {
        Admits.TEAM: trained and in_team,
        Admits.TRAINED: trained,
        Admits.LEARNING: own is Clearance.LEARNING,
        Admits.OVERFLOW: Clearance.TRAINED in elsewhere,
    }[what]


def circle(acd: Acd, call: QueuedCall, agent: Agent, opened: int) -> int | None:
    """Number of the circle that lets the agent in, if it is one of the first ``opened``."""
    client, group = acd.rules.client(call.client_id), acd.rules.group(call.group)
    skills = acd.rules.agent(agent.agent_id).skills
    if not all(skills.get(skill, 0) >= least for skill, least in client.requires.items()):
        return None
    learning = clearance(acd, agent, call.group) is Clearance.LEARNING
    if learning and client.learn_beside_trained:
        return None
    for number, one in enumerate(group.circles):
        if admits(acd, one.admits, group, call.group, agent):
            spent = one.admits is Admits.LEARNING and exhausted(acd, call, agent)
            return number if number < opened and not spent else None
    return None


def exhausted(acd: Acd, call: QueuedCall, agent: Agent) -> bool:
    """The agent has had enough new clients, and this would be another one."""
    met = agent.new_clients.get(call.group, 0)
    return met >= acd.rules.group(call.group).new_clients and call.client_id not in agent.met


def knows(acd: Acd, call: QueuedCall, agent: Agent) -> bool:
    """Knows the matter, and would be let in sooner or later."""
    return agent.agent_id in call.known and circle(acd, call, agent, 99) is not None


def beside(acd: Acd, call: QueuedCall, agent: Agent) -> bool:
    """May take it because somebody else is free who may."""
    client = acd.rules.client(call.client_id)
    skills = acd.rules.agent(agent.agent_id).skills
    return (
        client.learn_beside_trained
        and clearance(acd, agent, call.group) is Clearance.LEARNING
        and not exhausted(acd, call, agent)
        and all(skills.get(skill, 0) >= least for skill, least in client.requires.items())
    )


def entitled(acd: Acd, call: QueuedCall) -> dict[str, Standing]:
    """Who of the ready may take a waiting call now, with what they are ordered by."""
    group = acd.rules.group(call.group)
    ready = [agent for agent in acd.agents.values() if agent.state is AgentState.READY]
    found: dict[str, Standing] = {}
    inner = []
    for agent in ready:
        number = circle(acd, call, agent, call.circles)
        if number is not None:
            inner.append((number, -level(acd, call, agent)))
    for agent in ready:
        number = circle(acd, call, agent, call.circles)
        if knows(acd, call, agent):
            suits = 0, 0
        elif call.held:
            continue
        elif number is not None:
            suits = number, -level(acd, call, agent)
        elif inner and beside(acd, call, agent):
            suits = min(inner)
        else:
            continue
        place = {
            Order.LONGEST_IDLE: 0.0,
            Order.LEAST_CALLS: float(agent.calls),
            Order.LEAST_TALK: agent.talked_s,
            Order.FIXED: float(acd.rules.agent(agent.agent_id).position),
        }[group.order]
        known = call.known.index(agent.agent_id) if knows(acd, call, agent) else 99
        found[agent.agent_id] = known, *suits, place, agent.idle_rank
    return found


def level(acd: Acd, call: QueuedCall, agent: Agent) -> int:
    """The lowest of the levels that count."""
    requires = acd.rules.client(call.client_id).requires
    if not requires or not acd.rules.group(call.group).level_first:
        return 0
    return min(acd.rules.agent(agent.agent_id).skills.get(skill, 0) for skill in requires)


def urgency(acd: Acd, call: QueuedCall, now: float) -> float:
    """Waiting time over the mean wait at which the target would just be met."""
    client = acd.rules.client(call.client_id)
    target: Target = client.vip_target if call.vip else client.target
    return (now - call.arrival) / (-target.within_s / math.log(1 - target.share))


def before(acd: Acd, one: QueuedCall, other: QueuedCall, now: float) -> bool:
    """Whether ``one`` is to be served before ``other`` by an agent who may take both."""
    if one.held != other.held:
        return one.held
    first, second = urgency(acd, one, now), urgency(acd, other, now)
    if math.isclose(first, second, rel_tol=1e-9, abs_tol=1e-9):
        return False
    return first > second


def needs_timer(acd: Acd, call: QueuedCall) -> bool:
    """Whether time alone may change something for a call."""
    if call.state is not CallState.WAITING:
        return False
    treatments = acd.rules.client(call.client_id).treatments
    open_ones = [
        number
        for number, one in enumerate(treatments)
        if number not in call.treated or (one.action == "announce" and one.every_s > 0)
    ]
    return bool(call.held or open_ones or call.circles < len(acd.rules.group(call.group).circles))

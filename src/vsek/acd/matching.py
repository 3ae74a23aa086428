"""Which agent takes which call.

Theory of operation
-------------------
Between two decisions nobody who is ready may take a call that waits. So after an event only those
pairs are new in which one side has just become free, or admitted: these are noted as *unmatched*
while the event is taken in. Matching asks for the best call for each unmatched agent, then for the
best agent for each unmatched call, until nobody is left.

The best agent for a call: somebody who knows the matter, then who suits best (circle, skill level),
then by the order of the group. The best call for an agent: one that was kept for them, then the
most urgent: whose wait is longest in terms of its target. When a call and an agent come free in one
moment the call still goes to the best of all agents, and the agent to the most urgent of all calls.
"""

from __future__ import annotations

from typing import NamedTuple

from vsek.acd.entitlement import Bar, Tier, judge
from vsek.acd.index import Key, Need, bits
from vsek.acd.state import Acd, Agent, AgentState, QueuedCall
from vsek.domain.ids import AgentId, CallId


class Choice(NamedTuple):
    """An agent for a call."""

    agent: Agent
    known: bool
    """The agent knows the matter."""
    entitled: int
    """How many ready agents might have taken the call."""


def next_pair(acd: Acd, now: float) -> tuple[QueuedCall, Choice] | None:
    """The next call and agent to be put together, or ``None`` when nobody else can be.

    Whoever stays behind is not looked at again until noted anew; the calls among them are in their
    lanes then, or kept for somebody.
    """
    calls = acd.unmatched_calls
    if acd.unmatched_agents:
        for call_id in calls:
            acd.index_call(acd.calls[call_id])
        for agent_id in list(acd.unmatched_agents):
            agent = acd.agents.get(agent_id)
            while agent is not None and agent.state is AgentState.READY:
                call = _call_for(acd, agent, now)
                if call is None:
                    break
                choice = agent_for(acd, call)
                if choice is not None:
                    return call, choice
                _hold(acd, call)
            del acd.unmatched_agents[agent_id]
    while calls:
        call = acd.calls[next(iter(calls)) if len(calls) == 1 else _most_urgent(acd, now)]
        choice = agent_for(acd, call)
        if choice is not None:
            return call, choice
        del calls[call.call_id]
        if keeper(acd, call) is not None:
            _hold(acd, call)
        else:
            call.hold_until = 0.0
            acd.index_call(call)
    return None


def urgency(acd: Acd, call: QueuedCall, now: float) -> float:
    """Waiting time in terms of the target: 1 is the mean wait at which the target would be met."""
    return (now - call.arrival) / acd.scale_s(call)


def verdict(acd: Acd, call: QueuedCall, agent: Agent, need: Need) -> Tier | Bar:
    """Whether ``agent`` may take a call that asks ``need``, whatever the agent is doing.

    ``BESIDE_TRAINED`` becomes void while somebody with a tier is ready.
    """
    group, who = acd.rules.group(call.group), acd.profiles[agent.agent_id].who
    result = judge(need.want, group, who)
    if result is Bar.NEW_CLIENTS and call.client_id in agent.met:
        return judge(need.want, group, who._replace(full=frozenset()))
    return result


def acquainted(acd: Acd, call: QueuedCall, agent: Agent) -> bool:
    """Whether ``agent``, who knows the matter, may take the call: as soon as any of the group's
    circles would admit them."""
    return isinstance(verdict(acd, call, agent, acd.full_need(call)), Tier)


def keeper(acd: Acd, call: QueuedCall) -> Agent | None:
    """Somebody who knows the matter, is busy now, and for whom the call is worth keeping."""
    if not call.hold_until:
        return None
    for agent_id in call.known:
        agent = acd.agents.get(agent_id)
        if agent is not None and agent.returns and acquainted(acd, call, agent):
            return agent
    return None


def _hold(acd: Acd, call: QueuedCall) -> None:
    acd.unindex_call(call)
    call.held = True


def _most_urgent(acd: Acd, now: float) -> CallId:
    calls = (acd.calls[call_id] for call_id in acd.unmatched_calls)
    return min(calls, key=lambda call: (-urgency(acd, call, now), call.key)).call_id


# An agent for a call


def agent_for(acd: Acd, call: QueuedCall) -> Choice | None:
    """The best of the ready agents who may take ``call``; ``None`` also when it is to be kept for
    somebody who is busy."""
    need = acd.need(call)
    for agent_id in call.known:
        agent = acd.agents.get(agent_id)
        if agent is not None and agent.state is AgentState.READY and acquainted(acd, call, agent):
            return Choice(agent, True, max(1, _count(acd, need)))
    if call.held or keeper(acd, call) is not None:
        return None
    return _best(acd, call, need)


def _count(acd: Acd, need: Need) -> int:
    profiles = acd.index.profiles
    return sum(len(profiles[n].ready[0]) for n in bits(need.mask & acd.index.ready_mask))


def _best(acd: Acd, call: QueuedCall, need: Need) -> Choice | None:
    index = acd.index
    mask = need.mask & index.ready_mask
    tier, chosen = _first_tier(need, mask) if mask else (_NOWHERE, 0)
    if mask and need.learners:
        # Somebody trained is free: who is learning is asked as an equal.
        learners = need.learners & index.ready_mask
        mask |= learners
        chosen |= learners
    best: tuple[Tier, Key, AgentId] | None = None
    entitled = 0
    for number in bits(mask):
        profile = index.profiles[number]
        queue = profile.ready[need.order]
        entitled += len(queue)
        if chosen >> number & 1:
            head = queue.first()
            if head is not None and (best is None or head[0] < best[1]):
                best = tier, head[0], head[1]
    for agent_id in index.graduates.get(call.client_id, ()):
        agent = acd.agents.get(agent_id)
        if agent is None or agent.state is not AgentState.READY:
            continue
        if not acd.profiles[agent_id].bit & mask:
            own = verdict(acd, call, agent, need)
            if own is Bar.BESIDE_TRAINED and mask:
                own = tier
            if isinstance(own, Tier):
                entitled += 1
                candidate = own, index.key_of(agent_id, need.order), agent_id
                if best is None or candidate < best:
                    best = candidate
    if best is None:
        return None
    return Choice(acd.agents[best[2]], False, entitled)


_NOWHERE = Tier(0, 0)


def _first_tier(need: Need, mask: int) -> tuple[Tier, int]:
    for tier, members in need.tiers:
        chosen = members & mask
        if chosen:
            return tier, chosen
    raise AssertionError("every profile in the mask has a tier")


# A call for an agent


def _call_for(acd: Acd, agent: Agent, now: float) -> QueuedCall | None:
    index, profile = acd.index, acd.profiles[agent.agent_id]
    best: tuple[float, Key, CallId] | None = None
    known = index.known.get(agent.agent_id)
    if known:
        mine = [c for c in map(acd.calls.__getitem__, known) if acquainted(acd, c, agent)]
        kept = [call for call in mine if call.held]
        if kept:
            return min(kept, key=lambda call: call.key)
        for call in mine:
            best = _more_urgent(best, now, call.key, acd.scale_s(call), call.call_id)
    for lane in index.lanes.values():
        head = lane.first_of(profile.needs)
        if head is not None:
            best = _more_urgent(best, now, head[0], lane.scale_s, head[1])
    if profile.who.full:
        for client_id in agent.met & index.by_client.keys():
            for call_id in index.by_client[client_id]:
                call = acd.calls[call_id]
                if isinstance(verdict(acd, call, agent, acd.need(call)), Tier):
                    best = _more_urgent(best, now, call.key, acd.scale_s(call), call_id)
    return acd.calls[best[2]] if best is not None else None


def _more_urgent(
    best: tuple[float, Key, CallId] | None, now: float, key: Key, scale_s: float, call_id: CallId
) -> tuple[float, Key, CallId]:
    candidate = (key[0] - now) / scale_s, key, call_id
    return candidate if best is None or candidate < best else best

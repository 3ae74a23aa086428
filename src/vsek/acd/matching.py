"""Which agent takes which call.

Theory of operation
-------------------
Between two decisions nobody who is ready may take a call that waits. So after an event only those
pairs are new in which one side has just become free, or admitted: these are noted as *unmatched*
while the event is taken in. Of the unmatched calls, and of the calls that unmatched agents may
take, the most urgent is given to the best of all agents, and so on until there is nobody left; so
it makes no difference in which order calls and agents came free in one moment.

The most urgent call: one that is kept for an agent who has come free, then the one whose wait is
longest in terms of its target. The best agent for a call: somebody who knows the matter, then who
suits best (circle, skill level), then by the order of the group.
"""

from __future__ import annotations

from typing import NamedTuple

from vsek.acd.entitlement import Bar, Tier, judge
from vsek.acd.index import Key, Need, Profile
from vsek.acd.state import Acd, Agent, AgentState, QueuedCall
from vsek.domain.ids import AgentId, CallId


class Choice(NamedTuple):
    """An agent for a call."""

    agent: Agent
    known: bool
    """The agent knows the matter."""
    entitled: int
    """How many ready agents might have taken the call."""


def line_up(acd: Acd, now: float) -> None:
    """Put the unmatched calls into the order in which :func:`next_pair` is to look at them."""
    if len(acd.unmatched_calls) < 2:
        return
    calls = [acd.calls[call_id] for call_id in acd.unmatched_calls]
    calls.sort(key=lambda call: _rank(acd, call, now))
    acd.unmatched_calls = dict.fromkeys(call.call_id for call in calls)


def next_pair(acd: Acd, now: float) -> tuple[QueuedCall, Choice] | None:
    """The next call and agent to be put together, or ``None`` when nobody else can be.

    Whoever stays behind is not looked at again until noted anew; the calls among them are in their
    lanes then, or kept for somebody.
    """
    while (call := _most_urgent(acd, now)) is not None:
        choice = agent_for(acd, call)
        if choice is not None:
            return call, choice
        acd.unmatched_calls.pop(call.call_id, None)
        if keeper(acd, call) is not None:
            acd.unindex_call(call)
            call.held = True
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
    return judge(need.want, group, who, met=call.client_id in agent.met)


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


# An agent for a call


def agent_for(acd: Acd, call: QueuedCall) -> Choice | None:
    """The best of the ready agents who may take ``call``; ``None`` also when it is to be kept for
    somebody who is busy."""
    knowing = [one for one in call.known if _ready_and_acquainted(acd, call, one)]
    if call.held or (not knowing and keeper(acd, call) is not None):
        return Choice(acd.agents[knowing[0]], True, len(knowing)) if knowing else None
    best, entitled = _best(acd, call, knowing)
    if knowing:
        return Choice(acd.agents[knowing[0]], True, entitled)
    return Choice(acd.agents[best], False, entitled) if best is not None else None


def _ready_and_acquainted(acd: Acd, call: QueuedCall, agent_id: AgentId) -> bool:
    agent = acd.agents.get(agent_id)
    return agent is not None and agent.state is AgentState.READY and acquainted(acd, call, agent)


def _best(acd: Acd, call: QueuedCall, knowing: list[AgentId]) -> tuple[AgentId | None, int]:
    """Who is asked first if nobody knows the matter, and how many might be asked, with those
    ``knowing`` it."""
    index, need = acd.index, acd.need(call)
    mask = need.mask & index.ready_mask
    tier, chosen = _NOBODY, 0
    for suits, members in need.tiers:
        if members & mask:
            tier, chosen = suits, members & mask
            break
    if mask and need.learners:
        # Somebody trained is free: who is learning is asked as an equal.
        learners = need.learners & index.ready_mask
        mask |= learners
        chosen |= learners
    best: tuple[Tier, Key, AgentId] | None = None
    entitled = 0
    order, left = need.order, mask
    while left:  # what ``bits`` does, written out: nothing is done more often than this
        low = left & -left
        left ^= low
        profile = index.profiles[low.bit_length() - 1]
        entitled += profile.idle
        if chosen & low:
            head = profile.ready[order].first()
            if head is not None and (best is None or head[0] < best[1]):
                best = tier, head[0], head[1]
    # Whom their profile does not admit, but perhaps what they did or know themselves.
    others = dict.fromkeys(knowing)
    if call.client_id in index.graduates:
        others |= index.graduates[call.client_id]
    for agent_id in others:
        agent = acd.agents[agent_id]
        if agent.state is not AgentState.READY or acd.profiles[agent_id].bit & mask:
            continue
        own = verdict(acd, call, agent, need)
        if own is Bar.BESIDE_TRAINED and mask:
            own = tier
        if isinstance(own, Tier):
            candidate = own, index.key_of(agent_id, need.order), agent_id
            if best is None or candidate < best:
                best = candidate
        entitled += isinstance(own, Tier) or agent_id in knowing
    return (best[2] if best is not None else None), entitled


_NOBODY = Tier(0, 0)


# A call for an agent

_Rank = tuple[bool, float, Key]
"""The smallest is served first: not kept for an agent, the negated urgency, the place."""


def _rank(acd: Acd, call: QueuedCall, now: float) -> _Rank:
    return not call.held, -urgency(acd, call, now), call.key


def _most_urgent(acd: Acd, now: float) -> QueuedCall | None:
    """The most urgent of the unmatched calls, and of those that unmatched agents may take."""
    first = next(iter(acd.unmatched_calls), None)  # they are lined up
    call = acd.calls[first] if first is not None else None
    if not acd.unmatched_agents:
        return call
    best = (_rank(acd, call, now), call.call_id) if call is not None else None
    heads: dict[Profile, tuple[_Rank, CallId] | None] = {}
    for agent_id in list(acd.unmatched_agents):
        profile = acd.profiles[agent_id]
        if profile not in heads:
            heads[profile] = _in_lanes(acd, profile, now)
        found = _call_for(acd, acd.agents[agent_id], heads[profile], now)
        if found is None:
            del acd.unmatched_agents[agent_id]
        elif best is None or found < best:
            best = found
    return acd.calls[best[1]] if best is not None else None


def _in_lanes(acd: Acd, profile: Profile, now: float) -> tuple[_Rank, CallId] | None:
    """The most urgent call in a lane that all agents of the profile may take."""
    best: tuple[_Rank, CallId] | None = None
    for lane in acd.index.lanes.values():
        head = lane.first_of(profile.needs)
        if head is not None:
            key, call_id = head
            found = (True, (key[0] - now) / lane.scale_s, key), call_id
            if best is None or found < best:
                best = found
    return best


def _call_for(
    acd: Acd, agent: Agent, best: tuple[_Rank, CallId] | None, now: float
) -> tuple[_Rank, CallId] | None:
    """The most urgent call that the agent may take; ``best`` is what all alike may take."""
    index, own = acd.index, []
    if agent.agent_id in index.known:
        known = map(acd.calls.__getitem__, index.known[agent.agent_id])
        own = [call for call in known if acquainted(acd, call, agent)]
    if acd.profiles[agent.agent_id].who.full:
        own += [
            call
            for client_id in agent.met & index.by_client.keys()
            for call in map(acd.calls.__getitem__, index.by_client[client_id])
            if isinstance(verdict(acd, call, agent, acd.need(call)), Tier)
        ]
    for call in own:
        found = _rank(acd, call, now), call.call_id
        if best is None or found < best:
            best = found
    return best

"""What always holds between two events. For tests, simulations and a switchboard in doubt."""

from __future__ import annotations

import math
from collections import Counter

import msgspec

from vsek.acd.errors import AcdError
from vsek.acd.explain import standings
from vsek.acd.matching import keeper
from vsek.acd.state import AWAY, Acd, AgentState, CallState, QueuedCall
from vsek.acd.treatment import look_again_at

_WITH_TIMER = {AgentState.OFFERED: "ring", AgentState.WRAP_UP: "wrap", AgentState.PARKED: "park"}
_WITH_CALL = (AgentState.OFFERED, AgentState.TALKING, AgentState.WRAP_UP)


def check(acd: Acd) -> None:
    """Raise ``AcdError`` that names every broken promise. Takes time proportional to the state."""
    broken = [*_agents(acd), *_calls(acd), *_indexes(acd)]
    if broken:
        raise AcdError("; ".join(broken))


def _agents(acd: Acd) -> list[str]:
    broken: list[str] = []

    def must(holds: bool, what: str) -> None:
        if not holds:
            broken.append(what)

    for key, agent in acd.agents.items():
        name, state = f"agent {key} ({agent.state})", agent.state
        must(agent.agent_id == key, f"{name} is filed under another id")
        kind = _WITH_TIMER.get(state)
        if state is AgentState.WRAP_UP and agent.wrap_up_s < 0:
            kind = None
        timer = agent.timer.name if agent.timer is not None else None
        must(timer == (f"acd:{kind}:{key}" if kind else None), f"{name} has timer {timer}")
        must((agent.call_id is not None) == (state in _WITH_CALL), f"{name} has {agent.call_id}")
        busy = state in (AgentState.OFFERED, AgentState.TALKING)
        must((agent.offer_id is not None) == busy, f"{name} has offer {agent.offer_id}")
        if busy:
            call = acd.calls.get(agent.call_id) if agent.call_id is not None else None
            must(
                call is not None and call.agent_id == key and call.state.value == state.value,
                f"{name} and call {agent.call_id} do not agree",
            )
        online = (AgentState.READY, AgentState.OFFERED, AgentState.PARKED)
        must(agent.reachable or state not in online, f"{name} is not reachable")
        must(not (agent.reachable and state is AgentState.LOGGED_OUT), f"{name} is reachable")
        must(not agent.leaving or state is AgentState.TALKING, f"{name} should be gone")
        away = state in AWAY
        must((agent.away_since is not None) == away, f"{name} is away since {agent.away_since}")
        talking = (AgentState.TALKING, AgentState.WRAP_UP)
        must(agent.pause_wanted is None or state in talking, f"{name} should be paused")
    return broken


def _calls(acd: Acd) -> list[str]:
    broken: list[str] = []
    for key, call in acd.calls.items():
        agent = acd.agents.get(call.agent_id) if call.agent_id is not None else None
        if call.call_id != key:
            broken.append(f"call {key} is filed under another id")
        if call.state is CallState.WAITING:
            if call.agent_id is not None:
                broken.append(f"call {key} waits, but has agent {call.agent_id}")
            if not acd.halted:
                broken += _waiting(acd, call)
        else:
            if agent is None or agent.call_id != key:
                broken.append(f"call {key} ({call.state}) and agent {call.agent_id} do not agree")
            if call.held or call.timer is not None:
                broken.append(f"call {key} ({call.state}) is held or has a timer")
    return broken


def _waiting(acd: Acd, call: QueuedCall) -> list[str]:
    broken = [
        f"agent {standing.agent_id} is idle while call {call.call_id} waits"
        for standing in standings(acd, call)
        if standing.entitled
    ]
    if call.held and keeper(acd, call) is None:
        broken.append(f"call {call.call_id} is kept for nobody")
    if call.held == (call.call_id in acd.index):
        broken.append(f"call {call.call_id} is held ({call.held}), and so in a lane or not")
    circles = acd.rules.group(call.group).circles[call.circles :]
    moments = [call.arrival + circle.after_s for circle in circles[:1]]
    moments += [call.hold_until] if call.held else []
    treated = look_again_at(acd, call, call.queued_at) is not None
    if (call.timer is not None) != (treated or bool(moments)):
        broken.append(f"call {call.call_id} has a timer for nothing, or none")
    elif call.timer is not None and call.timer.deadline > min(moments, default=math.inf):
        broken.append(f"call {call.call_id} is woken too late")
    return broken


def _indexes(acd: Acd) -> list[str]:
    fresh = msgspec.msgpack.decode(msgspec.msgpack.encode(acd), type=Acd)
    broken: list[str] = []

    def must(holds: bool, what: str) -> None:
        if not holds:
            broken.append(what)

    must(acd.offers == fresh.offers, "the index of offers is wrong")
    must(acd.counts == fresh.counts, "agents are counted wrongly")
    states = Counter(agent.state for agent in acd.agents.values())
    must({s: n for s, n in acd.counts.items() if n} == dict(states), "states are counted wrongly")
    must(_ready(acd) == _ready(fresh), "the index of ready agents is wrong")
    must(_present(acd) == _present(fresh), "who is present is counted wrongly")
    must(acd.index.by_group == fresh.index.by_group, "waiting calls are counted wrongly")
    must(acd.index.known == fresh.index.known, "known callers are indexed wrongly")
    must(acd.index.graduates == fresh.index.graduates, "learners are indexed wrongly")
    if not acd.halted:  # else who waits goes into the lanes when offers go on
        must(_lanes(acd) == _lanes(fresh), "the index of waiting calls is wrong")
        must(acd.index.by_client == fresh.index.by_client, "clients' calls are indexed wrongly")
        must(not acd.unmatched_agents and not acd.unmatched_calls, "somebody was not matched")
    return broken


def _ready(acd: Acd) -> dict[str, object]:
    index = acd.index
    must_be_set = sum({profile.bit for profile in index.ready.values()})
    places = {
        agent_id: (profile.who, [queue.key(agent_id) for queue in profile.ready])
        for agent_id, profile in index.ready.items()
    }
    sizes = {
        p.who: (p.idle, [len(queue) for queue in p.ready])
        for p in index.profiles
        if p.bit & must_be_set
    }
    return {"places": places, "sizes": sizes, "mask": index.ready_mask == must_be_set}


def _lanes(acd: Acd) -> dict[object, object]:
    return {
        scale: (
            sorted(
                (key, call) for queue in lane.queues.values() for call, key in queue.items().items()
            ),
            [key for key, _ in lane.order],
            lane.mask == sum(1 << need for need in lane.queues),
        )
        for scale, lane in acd.index.lanes.items()
    }


def _present(acd: Acd) -> dict[object, int]:
    return {p.who: p.present for p in acd.index.profiles if p.present}

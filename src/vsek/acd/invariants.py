"""What always holds between two events. For tests, simulations and a switchboard in doubt."""

from __future__ import annotations

from vsek.acd.errors import AcdError
from vsek.acd.state import Acd, AgentState, CallState

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
        elif agent is None or agent.call_id != key:
            broken.append(f"call {key} ({call.state}) and agent {call.agent_id} do not agree")
    return broken


def _indexes(acd: Acd) -> list[str]:
    fresh = Acd(acd.rules, acd.agents, acd.calls, acd.last_rank, acd.last_generation)
    broken: list[str] = []
    if acd.ready.items() != fresh.ready.items():
        broken.append("the index of ready agents is wrong")
    if acd.offers != fresh.offers:
        broken.append("the index of offers is wrong")
    if acd.heads.items() != fresh.heads.items():
        broken.append("the index of queues is wrong")
    waiting = {key: queue.waiting.items() for key, queue in acd.queues.items()}
    if waiting != {key: queue.waiting.items() for key, queue in fresh.queues.items()}:
        broken.append("the index of waiting calls is wrong")
    if len(acd.ready) and len(acd.heads):
        broken.append("somebody is idle while somebody waits")
    return broken

"""The checker sees each kind of damage (a checker that sees nothing would pass every test)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vsek.acd import AcdError, decide
from vsek.acd.events import AgentAdded, AgentReachable, CallQueued, OfferAccepted
from vsek.acd.invariants import check
from vsek.acd.state import Acd, AgentState, CallState
from vsek.domain.ids import AgentId, CallId, ClientId, OfferId

A, B, C = AgentId("a"), AgentId("b"), AgentId("c")
C1, C2 = CallId("c1"), CallId("c2")


def house() -> Acd:
    """One talks, one rings, one is ready."""
    acd = Acd()
    for agent_id in (A, B, C):
        decide(acd, AgentAdded(agent_id), 0)
        decide(acd, AgentReachable(agent_id, True), 0)
    decide(acd, CallQueued(C1, ClientId("x"), 0, 30), 0)
    decide(acd, OfferAccepted(OfferId("c1.1")), 0)
    decide(acd, CallQueued(C2, ClientId("x"), 0, 30), 0)
    check(acd)
    return acd


def swap_agents(acd: Acd) -> None:
    acd.agents[A], acd.agents[B] = acd.agents[B], acd.agents[A]


def swap_calls(acd: Acd) -> None:
    acd.calls[C1], acd.calls[C2] = acd.calls[C2], acd.calls[C1]


def idle_while_waiting(acd: Acd) -> None:
    acd.calls[C2].state, acd.calls[C2].agent_id = CallState.WAITING, None
    acd.index_call(acd.calls[C2])


def forgotten_queue(acd: Acd) -> None:
    acd.calls[C2].state, acd.calls[C2].agent_id = CallState.WAITING, None


@pytest.mark.parametrize(
    ("damage", "seen"),
    [
        (swap_agents, "filed under another id"),
        (swap_calls, "call c1 is filed under another id"),
        (lambda acd: setattr(acd.agents[B], "timer", None), "has timer None"),
        (lambda acd: setattr(acd.agents[C], "call_id", C1), "has c1"),
        (lambda acd: setattr(acd.agents[A], "offer_id", None), "has offer None"),
        (lambda acd: setattr(acd.agents[A], "call_id", None), "call None do not agree"),
        (lambda acd: acd.calls.pop(C1), "call c1 do not agree"),
        (lambda acd: acd.agents.pop(A), "agent a do not agree"),
        (lambda acd: setattr(acd.calls[C2], "state", CallState.WAITING), "waits, but has agent"),
        (lambda acd: setattr(acd.calls[C2], "agent_id", None), "agent None do not agree"),
        (lambda acd: setattr(acd.agents[C], "reachable", False), "is not reachable"),
        (lambda acd: setattr(acd.agents[C], "state", AgentState.LOGGED_OUT), "is reachable"),
        (lambda acd: setattr(acd.agents[C], "leaving", True), "should be gone"),
        (lambda acd: setattr(acd.agents[C], "pause_wanted", "x"), "should be paused"),
        (lambda acd: acd.index.unset_ready(C), "index of ready agents"),
        (lambda acd: acd.offers.clear(), "index of offers"),
        (forgotten_queue, "index of waiting calls"),
        (idle_while_waiting, "agent c is idle while call c2 waits"),
    ],
)
def test_damage_is_seen(damage: Callable[[Acd], object], seen: str) -> None:
    acd = house()
    damage(acd)
    with pytest.raises(AcdError, match=seen):
        check(acd)

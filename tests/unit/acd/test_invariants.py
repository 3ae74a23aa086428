"""The checker sees each kind of damage (a checker that sees nothing would pass every test)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace
from tests.unit.acd.house import rulebook

from vsek.acd import AcdError, decide
from vsek.acd.events import AgentAdded, AgentReachable, CallQueued, OfferAccepted
from vsek.acd.invariants import check
from vsek.acd.rules import (
    Action,
    Admits,
    AgentRules,
    Circle,
    Clearance,
    ClientRules,
    Group,
    Treatment,
)
from vsek.acd.state import Acd, AgentState, CallState
from vsek.domain.ids import AgentId, CallId, ClientId, OfferId

A, B, C = AgentId("a"), AgentId("b"), AgentId("c")
C1, C2, C3, C4 = CallId("c1"), CallId("c2"), CallId("c3"), CallId("c4")


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


def full_house() -> Acd:
    """Anna, who is learning and has had enough, talks; c2 is kept for her, c3 waits for a circle,
    c4 for its treatment; nobody else is there."""
    rules = rulebook(
        {
            "x": ClientRules(group="g", hold_s=30),
            "y": ClientRules(group="h"),
            "z": ClientRules(group="i", treatments=(Treatment(Action.VOICEMAIL, after_s=50),)),
        },
        {
            "g": Group(circles=(Circle(0, Admits.LEARNING),), new_clients=1),
            "h": Group(circles=(Circle(0, Admits.TEAM), Circle(20, Admits.TRAINED)), team="t"),
        },
        {A: AgentRules(cleared={"g": Clearance.LEARNING})},
    )
    acd = Acd(rules)
    decide(acd, AgentAdded(A), 0)
    decide(acd, AgentReachable(A, True), 0)
    decide(acd, CallQueued(C1, ClientId("x"), 0, 30), 0)
    decide(acd, OfferAccepted(OfferId("c1.1")), 0)
    decide(acd, CallQueued(C2, ClientId("x"), 0, 30, known=(A,), sure=True), 0)
    decide(acd, CallQueued(C3, ClientId("y"), 0, 30), 0)
    decide(acd, CallQueued(C4, ClientId("z"), 0, 30), 0)
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


def later(acd: Acd, call_id: CallId) -> None:
    timer = acd.calls[call_id].timer
    assert timer is not None
    acd.calls[call_id].timer = replace(timer, deadline=timer.deadline + 1)


def untimed(acd: Acd, call_id: CallId) -> None:
    acd.calls[call_id].timer = None


def timed(acd: Acd, call_id: CallId) -> None:
    acd.calls[call_id].timer = acd.calls[C2].timer


def away(acd: Acd) -> None:
    acd.agents[A].pause_wanted = "lunch"


@pytest.mark.parametrize(
    ("damage", "seen"),
    [
        (away, "call c2 is kept for nobody"),
        (lambda acd: untimed(acd, C2), "call c2 has a timer for nothing, or none"),
        (lambda acd: later(acd, C2), "call c2 is woken too late"),
        (lambda acd: untimed(acd, C3), "call c3 has a timer for nothing, or none"),
        (lambda acd: later(acd, C3), "call c3 is woken too late"),
        (lambda acd: untimed(acd, C4), "call c4 has a timer for nothing, or none"),
        (lambda acd: setattr(acd.calls[C3], "circles", 2), "call c3 has a timer for nothing"),
        (lambda acd: timed(acd, C1), r"c1 \(talking\) is held or has a timer"),
        (lambda acd: setattr(acd.calls[C1], "held", True), r"c1 \(talking\) is held"),
        (lambda acd: setattr(acd.calls[C3], "held", True), "and so in a lane or not"),
        (lambda acd: setattr(acd.calls[C2], "held", False), "and so in a lane or not"),
        (lambda acd: setattr(acd.agents[A], "away_since", 5.0), "is away since 5.0"),
        (lambda acd: acd.counts.update({AgentState.READY: 1}), "agents are counted wrongly"),
        (lambda acd: acd.index.by_group.update(g=9), "waiting calls are counted wrongly"),
        (lambda acd: acd.index.by_client.clear(), "clients' calls are indexed wrongly"),
        (lambda acd: acd.index.known.clear(), "known callers are indexed wrongly"),
        (lambda acd: acd.index.lanes.clear(), "the index of waiting calls is wrong"),
        (lambda acd: acd.index.graduates.clear(), "learners are indexed wrongly"),
        (lambda acd: setattr(acd.profiles[A], "present", 7), "who is present is counted wrongly"),
        (lambda acd: setattr(acd.index, "ready_mask", 1), "the index of ready agents is wrong"),
        (lambda acd: acd.unmatched_calls.update({C3: None}), "somebody was not matched"),
        (lambda acd: acd.unmatched_agents.update({A: None}), "somebody was not matched"),
    ],
)
def test_damage_to_waiting_calls_and_indexes_is_seen(
    damage: Callable[[Acd], object], seen: str
) -> None:
    acd = full_house()
    damage(acd)
    with pytest.raises(AcdError, match=seen):
        check(acd)

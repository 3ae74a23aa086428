"""What the distribution decides, case by case."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.acd.house import ANNA, ANY, BERT, CARL, RULES, House, accepted, offers

from vsek.acd import AcdError, decide, match, take
from vsek.acd.effects import (
    AgentChanged,
    Answered,
    CancelTimer,
    Offer,
    SetTimer,
    Withdrawal,
    WithdrawOffer,
    WrapUpEnded,
)
from vsek.acd.events import (
    AgentAdded,
    AgentPaused,
    AgentReachable,
    AgentReadied,
    AgentReleased,
    AgentRemoved,
    CallLeft,
    CallQueued,
    Event,
    OfferFailed,
    OfferFailure,
    RulesChanged,
    TimerDue,
)
from vsek.acd.invariants import check
from vsek.acd.rules import Rules
from vsek.acd.state import Acd, AgentState, CallState
from vsek.acd.table import AGENTS, AgentInput, Go, Never
from vsek.domain.ids import AgentId, CallId, ClientId, OfferId

# From waiting to wrap-up


def test_a_call_from_beginning_to_end() -> None:
    house = House(ANNA)
    assert house.call("c1") == [
        AgentChanged(ANNA, AgentState.READY, AgentState.OFFERED, "offer", CallId("c1")),
        SetTimer("acd:ring:anna", 1, house.now + 20),
        Offer(OfferId("c1.1"), CallId("c1"), ANNA, ANY),
    ]
    assert house.send(accepted("c1")) == [
        CancelTimer("acd:ring:anna"),
        Answered(CallId("c1"), 1.0, 0.0),
        AgentChanged(ANNA, AgentState.OFFERED, AgentState.TALKING, "answered", CallId("c1")),
    ]
    assert house.send(AgentReleased(CallId("c1"), ANNA)) == [
        AgentChanged(ANNA, AgentState.TALKING, AgentState.WRAP_UP, "released", CallId("c1")),
        SetTimer("acd:wrap:anna", 2, house.now + 30),
    ]
    assert house.acd.calls == {}
    assert house.due(ANNA) == [
        WrapUpEnded(CallId("c1"), ANNA, house.now),
        AgentChanged(ANNA, AgentState.WRAP_UP, AgentState.READY, "wrap_up_over", CallId("c1")),
    ]


def test_the_agent_who_has_been_idle_longest_is_asked_first() -> None:
    house = House(ANNA, BERT, CARL)
    asked = [offers(house.call(name))[0].agent_id for name in ("c1", "c2", "c3")]
    assert asked == [ANNA, BERT, CARL]


def test_idle_time_starts_anew_after_wrap_up() -> None:
    house = House(ANNA, BERT)
    house.talk("c1")
    house.send(AgentReleased(CallId("c1"), ANNA))
    house.due(ANNA)
    assert offers(house.call("c2"))[0].agent_id == BERT


def test_a_caller_who_leaves_costs_the_agent_no_place() -> None:
    house = House(ANNA, BERT)
    house.call("c1")
    assert house.send(CallLeft(CallId("c1"))) == [
        CancelTimer("acd:ring:anna"),
        WithdrawOffer(OfferId("c1.1"), Withdrawal.CALLER_LEFT),
        AgentChanged(ANNA, AgentState.OFFERED, AgentState.READY, "caller_left", CallId("c1")),
    ]
    assert house.acd.calls == {}
    assert offers(house.call("c2"))[0].agent_id == ANNA


def test_calls_are_served_in_order_of_arrival_over_all_queues() -> None:
    house = House()
    house.call("late", "acme", arrival=30)
    house.call("early", "beta", arrival=10)
    house.call("middle", "acme", arrival=20)
    house.call("tie", "gamma", arrival=20)
    assert house.acd.place(CallId("early")) == 0
    assert house.acd.place(CallId("tie")) == 2
    assert house.acd.place(CallId("late")) == 3
    assert house.acd.place(CallId("nobody")) is None
    for agent_id, call_id in zip("abcd", ("early", "middle", "tie", "late"), strict=True):
        house.send(AgentAdded(AgentId(agent_id)))
        (offer,) = offers(house.send(AgentReachable(AgentId(agent_id), True)))
        assert offer.call_id == call_id
    assert house.acd.index.lanes == {}


def test_a_call_that_talks_has_no_place() -> None:
    house = House(ANNA)
    house.talk("c1")
    assert house.acd.place(CallId("c1")) is None
    house.call("c2", arrival=0)
    assert house.acd.place(CallId("c2")) == 0


def test_a_waiting_caller_leaves() -> None:
    house = House()
    house.call("c1")
    house.call("c2")
    assert house.send(CallLeft(CallId("c1"))) == []
    assert list(house.acd.calls) == ["c2"]
    assert house.send(CallLeft(CallId("c1"))) == []
    house.send(CallLeft(CallId("c2")))
    assert house.acd.index.lanes == {}


# No answer, refusal, faults


def test_no_answer_goes_on_to_the_next_and_parks() -> None:
    house = House(ANNA, BERT)
    house.call("c1")
    assert house.due(ANNA) == [
        WithdrawOffer(OfferId("c1.1"), Withdrawal.NO_ANSWER),
        AgentChanged(ANNA, AgentState.OFFERED, AgentState.PARKED, "no_answer", CallId("c1")),
        SetTimer("acd:park:anna", 2, house.now + 60),
        AgentChanged(BERT, AgentState.READY, AgentState.OFFERED, "offer", CallId("c1")),
        SetTimer("acd:ring:bert", 3, house.now + 20),
        Offer(OfferId("c1.2"), CallId("c1"), BERT, ANY),
    ]


def test_a_call_keeps_its_place_while_offered() -> None:
    house = House(ANNA)
    house.call("c1")
    house.call("c2")
    house.due(ANNA)
    assert house.acd.place(CallId("c1")) == 0
    (offer,) = offers(house.due(ANNA))
    assert (offer.call_id, offer.offer_id) == ("c1", "c1.2")


@pytest.mark.parametrize(
    ("failure", "rules", "seconds"),
    [
        (OfferFailure.REFUSED, RULES, 10),
        (OfferFailure.UNREACHABLE, RULES, 60),
        (OfferFailure.LOST, RULES, 1),
        (OfferFailure.FAILED, RULES, 10),
        (OfferFailure.REFUSED, Rules(20, 0, 0), 1),
        (OfferFailure.UNREACHABLE, Rules(20, 0, 0), 1),
        (OfferFailure.LOST, Rules(20, 0, 0), 1),
        (OfferFailure.FAILED, Rules(20, 0, 0), 1),
    ],
)
def test_parking(failure: OfferFailure, rules: Rules, seconds: float) -> None:
    house = House(ANNA, BERT, rules=rules)
    house.call("c1")
    effects = house.send(OfferFailed(OfferId("c1.1"), failure))
    assert not any(isinstance(effect, WithdrawOffer) for effect in effects)
    assert offers(effects) == [Offer(OfferId("c1.2"), CallId("c1"), BERT, ANY)]
    anna = house.acd.agents[ANNA]
    assert anna.reason == failure
    assert anna.state is AgentState.PARKED
    assert anna.timer is not None
    assert anna.timer.deadline == house.now + seconds


def test_the_only_agent_is_not_rung_again_at_once() -> None:
    house = House(ANNA, rules=Rules(20, 0, 0))
    house.call("c1")
    assert offers(house.due(ANNA)) == []
    assert house.state(ANNA) is AgentState.PARKED
    (offer,) = offers(house.due(ANNA))
    assert (offer.agent_id, offer.offer_id) == (ANNA, "c1.2")


def test_parking_ends_with_its_timer_or_by_readying() -> None:
    house = House(ANNA)
    house.call("c1")
    house.due(ANNA)
    assert house.state(ANNA) is AgentState.PARKED
    assert offers(house.send(AgentReadied(ANNA)))[0].offer_id == "c1.2"


def test_late_news_of_an_offer_are_dropped() -> None:
    house = House(ANNA, BERT)
    house.call("c1")
    house.due(ANNA)
    assert house.send(accepted("c1", 1)) == []
    assert house.send(OfferFailed(OfferId("c1.1"), OfferFailure.LOST)) == []
    assert house.state(BERT) is AgentState.OFFERED
    assert house.state(ANNA) is AgentState.PARKED


def test_stale_timers_are_dropped() -> None:
    house = House(ANNA)
    house.call("c1")
    house.send(OfferFailed(OfferId("c1.1"), OfferFailure.REFUSED))
    house.send(AgentReadied(ANNA))
    assert house.send(TimerDue("acd:ring:anna", 1)) == []  # of the first offer
    assert house.send(TimerDue("acd:park:anna", 3)) == []  # another name
    assert house.state(ANNA) is AgentState.OFFERED
    house.send(accepted("c1", 2))
    assert house.send(TimerDue("acd:ring:anna", 3)) == []  # cancelled
    assert house.send(TimerDue("acd:ring:nobody", 3)) == []
    assert house.send(TimerDue("guard:c1", 3)) == []


# Login, pause, removal


def test_nobody_is_offered_a_call_without_a_registered_softphone() -> None:
    house = House()
    house.send(AgentAdded(ANNA))
    assert house.call("c1") == []
    assert house.send(AgentReadied(ANNA)) == []
    assert offers(house.send(AgentReachable(ANNA, True)))


def test_an_offer_ends_when_the_softphone_disappears() -> None:
    house = House(ANNA, BERT)
    house.call("c1")
    effects = house.send(AgentReachable(ANNA, False))
    assert effects[1] == WithdrawOffer(OfferId("c1.1"), Withdrawal.AGENT_GONE)
    assert offers(effects) == [Offer(OfferId("c1.2"), CallId("c1"), BERT, ANY)]
    assert house.state(ANNA) is AgentState.LOGGED_OUT


def test_a_softphone_that_disappears_in_the_talk_changes_nothing_until_the_wrap_up_is_over() -> (
    None
):
    house = House(ANNA)
    house.talk("c1")
    assert house.send(AgentReachable(ANNA, False)) == []
    house.send(AgentReleased(CallId("c1"), ANNA))
    assert house.state(ANNA) is AgentState.WRAP_UP
    assert house.due(ANNA) == [
        WrapUpEnded(CallId("c1"), ANNA, house.now),
        AgentChanged(ANNA, AgentState.WRAP_UP, AgentState.LOGGED_OUT, "unreachable", CallId("c1")),
    ]


def test_a_softphone_that_comes_back_in_time_is_no_matter() -> None:
    house = House(ANNA)
    house.talk("c1")
    house.send(AgentReachable(ANNA, False))
    house.send(AgentReleased(CallId("c1"), ANNA))
    house.send(AgentReachable(ANNA, True))
    house.due(ANNA)
    assert house.state(ANNA) is AgentState.READY


def test_pause_while_ringing() -> None:
    house = House(ANNA, BERT)
    house.call("c1")
    effects = house.send(AgentPaused(ANNA, "lunch"))
    assert effects[:3] == [
        CancelTimer("acd:ring:anna"),
        WithdrawOffer(OfferId("c1.1"), Withdrawal.AGENT_PAUSED),
        AgentChanged(ANNA, AgentState.OFFERED, AgentState.PAUSED, "lunch", CallId("c1")),
    ]
    assert offers(effects)[0].agent_id == BERT


def test_pause_while_talking_begins_after_the_wrap_up() -> None:
    house = House(ANNA)
    house.talk("c1")
    assert house.send(AgentPaused(ANNA, "lunch")) == []
    house.send(AgentReleased(CallId("c1"), ANNA))
    assert house.state(ANNA) is AgentState.WRAP_UP
    house.call("c2")
    assert offers(house.due(ANNA)) == []
    assert (house.state(ANNA), house.acd.agents[ANNA].reason) == (AgentState.PAUSED, "lunch")
    assert offers(house.send(AgentReadied(ANNA)))


def test_a_pause_that_was_asked_for_can_be_taken_back() -> None:
    house = House(ANNA)
    house.talk("c1")
    house.send(AgentPaused(ANNA, "lunch"))
    house.send(AgentReadied(ANNA))
    house.send(AgentReleased(CallId("c1"), ANNA))
    house.send(AgentPaused(ANNA, "coffee"))
    effects = house.send(AgentReadied(ANNA))
    assert effects == [
        CancelTimer("acd:wrap:anna"),
        WrapUpEnded(CallId("c1"), ANNA, house.now),
        AgentChanged(ANNA, AgentState.WRAP_UP, AgentState.READY, "readied", CallId("c1")),
    ]


def test_a_pause_outlasts_a_new_login() -> None:
    house = House(ANNA)
    house.send(AgentPaused(ANNA, "lunch"))
    house.send(AgentReachable(ANNA, False))
    house.send(AgentReachable(ANNA, True))
    assert house.state(ANNA) is AgentState.PAUSED
    house.send(AgentReachable(ANNA, False))
    house.send(AgentReadied(ANNA))
    assert house.state(ANNA) is AgentState.LOGGED_OUT


def test_a_pause_without_a_reason() -> None:
    house = House(ANNA)
    house.send(AgentPaused(ANNA, ""))
    assert house.acd.agents[ANNA].reason == "paused"
    house.send(AgentPaused(ANNA, "lunch"))
    assert house.acd.agents[ANNA].reason == "lunch"


def test_no_wrap_up() -> None:
    house = House(ANNA)
    house.talk("c1", wrap_up_s=0)
    assert house.send(AgentReleased(CallId("c1"), ANNA)) == [
        WrapUpEnded(CallId("c1"), ANNA, house.now),
        AgentChanged(ANNA, AgentState.TALKING, AgentState.READY, "released", CallId("c1")),
    ]


def test_removed_while_talking() -> None:
    house = House(ANNA)
    house.talk("c1")
    assert house.send(AgentRemoved(ANNA)) == []
    assert house.send(AgentReleased(CallId("c1"), ANNA)) == [
        WrapUpEnded(CallId("c1"), ANNA, house.now),
        AgentChanged(ANNA, AgentState.TALKING, AgentState.LOGGED_OUT, "removed", CallId("c1")),
    ]
    assert house.acd.agents == {}
    house.call("c2")
    assert house.send(AgentReachable(ANNA, True)) == []


def test_removed_and_added_again_while_talking() -> None:
    house = House(ANNA)
    house.talk("c1")
    house.send(AgentRemoved(ANNA))
    assert house.send(AgentAdded(ANNA)) == []
    house.send(AgentReleased(CallId("c1"), ANNA))
    assert house.state(ANNA) is AgentState.WRAP_UP


def test_removed_in_wrap_up() -> None:
    house = House(ANNA)
    house.talk("c1")
    house.send(AgentReleased(CallId("c1"), ANNA))
    assert house.send(AgentRemoved(ANNA)) == [
        CancelTimer("acd:wrap:anna"),
        WrapUpEnded(CallId("c1"), ANNA, house.now),
        AgentChanged(ANNA, AgentState.WRAP_UP, AgentState.LOGGED_OUT, "removed", CallId("c1")),
    ]


def test_removed_while_ringing() -> None:
    house = House(ANNA, BERT)
    house.call("c1")
    effects = house.send(AgentRemoved(ANNA))
    assert WithdrawOffer(OfferId("c1.1"), Withdrawal.AGENT_GONE) in effects
    assert offers(effects)[0].agent_id == BERT


# The table, cell by cell


def in_state(state: AgentState) -> House:
    """A house whose agent Anna is in ``state`` (and no call waits)."""
    house = House(ANNA)
    if state is AgentState.LOGGED_OUT:
        house.send(AgentReachable(ANNA, False))
    elif state is AgentState.PAUSED:
        house.send(AgentPaused(ANNA, "lunch"))
    elif state is not AgentState.READY:
        house.call("c1")
        if state is AgentState.PARKED:
            house.due(ANNA)
            house.send(CallLeft(CallId("c1")))
        elif state is not AgentState.OFFERED:
            house.send(accepted("c1"))
            if state is AgentState.WRAP_UP:
                house.send(AgentReleased(CallId("c1"), ANNA))
    assert house.state(ANNA) is state
    return house


_FROM_OUTSIDE: dict[AgentInput, Event] = {
    AgentInput.REACHABLE: AgentReachable(ANNA, True),
    AgentInput.UNREACHABLE: AgentReachable(ANNA, False),
    AgentInput.READIED: AgentReadied(ANNA),
    AgentInput.PAUSED: AgentPaused(ANNA, "coffee"),
    AgentInput.REMOVED: AgentRemoved(ANNA),
    AgentInput.RELEASED: AgentReleased(CallId("c1"), ANNA),
    AgentInput.CALLER_LEFT: CallLeft(CallId("c1")),
    AgentInput.ACCEPTED: accepted("c1"),
    AgentInput.OFFER_FAILED: OfferFailed(OfferId("c1.1"), OfferFailure.REFUSED),
    AgentInput.OFFER_MADE: CallQueued(CallId("c9"), ClientId("acme"), 0.0, 30.0),
    AgentInput.RING_DUE: TimerDue("acd:ring:anna", 1),
    AgentInput.WRAP_UP_DUE: TimerDue("acd:wrap:anna", 2),
    AgentInput.PARK_DUE: TimerDue("acd:park:anna", 2),
}


@pytest.mark.parametrize("what", AgentInput)
@pytest.mark.parametrize("state", AgentState)
def test_the_table_is_what_happens(state: AgentState, what: AgentInput) -> None:
    house = in_state(state)
    step = AGENTS[state][what]
    loud = what is AgentInput.RELEASED or (
        what is AgentInput.CALLER_LEFT and state is AgentState.TALKING
    )
    if isinstance(step, Never) and loud:
        before = msgspec.msgpack.encode(house.acd)
        with pytest.raises(AcdError):
            house.send(_FROM_OUTSIDE[what])
        assert msgspec.msgpack.encode(house.acd) == before
        return
    house.send(_FROM_OUTSIDE[what])
    expected = step.target if isinstance(step, Go) else state
    if expected is None:
        assert ANNA not in house.acd.agents
    else:
        assert house.state(ANNA) is expected


# Mistakes of the owner


def test_a_call_cannot_be_queued_twice() -> None:
    house = House(ANNA)
    house.call("c1")
    with pytest.raises(AcdError, match="queued already"):
        house.call("c1")


def test_released_from_another_call() -> None:
    house = House(ANNA)
    house.talk("c1")
    with pytest.raises(AcdError, match="without being in it"):
        house.send(AgentReleased(CallId("c2"), ANNA))
    with pytest.raises(AcdError, match="without being in it"):
        house.send(AgentReleased(CallId("c1"), BERT))


def test_queued_again_after_the_agent_was_lost() -> None:
    house = House(ANNA, BERT)
    house.talk("c1")
    house.send(AgentReleased(CallId("c1"), ANNA))
    (offer,) = offers(house.call("c1", arrival=0, offers=1))
    assert (offer.offer_id, offer.agent_id) == ("c1.2", BERT)


def test_several_events_of_one_moment_are_matched_once() -> None:
    house = House(ANNA)
    house.talk("c1")
    house.call("c2")
    house.call("c3")
    taken = take(house.acd, AgentReleased(CallId("c1"), ANNA), house.now)
    taken += take(house.acd, AgentReadied(ANNA), house.now)
    taken += take(house.acd, CallLeft(CallId("c2")), house.now)
    assert offers(taken) == []
    (offer,) = offers(match(house.acd, house.now))
    check(house.acd)
    assert offer.call_id == "c3"


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(AssertionError):
        decide(Acd(), object(), 0.0)  # type: ignore[arg-type]


# Rules, snapshots


def test_new_rules_hold_for_new_timers() -> None:
    house = House(ANNA)
    house.send(RulesChanged(Rules(ring_timeout_s=5)))
    house.call("c1")
    (timer,) = house.acd.timers()
    assert timer.deadline == house.now + 5


def test_agent_added_twice() -> None:
    house = House(ANNA)
    assert house.send(AgentAdded(ANNA)) == []
    assert house.state(ANNA) is AgentState.READY


def test_a_snapshot_goes_on_where_it_was_taken() -> None:
    house = House(ANNA, BERT, CARL)
    house.talk("c1")
    for name in ("c2", "c3", "c4"):
        house.call(name)
    copy = msgspec.msgpack.decode(msgspec.msgpack.encode(house.acd), type=Acd)
    check(copy)
    assert copy == house.acd
    assert copy.timers() == house.acd.timers()
    assert [timer.name for timer in copy.timers()] == ["acd:ring:bert", "acd:ring:carl"]
    for event in (CallLeft(CallId("c2")), AgentReleased(CallId("c1"), ANNA), AgentReadied(ANNA)):
        assert decide(copy, event, house.now) == decide(house.acd, event, house.now)
    assert copy.calls[CallId("c3")].state is CallState.OFFERED

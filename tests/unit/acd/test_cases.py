"""What other distributors got wrong, told one case at a time.

Each of these was a fault of some queue in the field: a caller who was forgotten, two agents who
said hello at once, an agent whom nobody could ring any more.
"""

from __future__ import annotations

import msgspec
from tests.unit.acd.house import ANNA, BERT, CARL, House, accepted, offers, rulebook

from vsek.acd import Acd, AgentState, match, take
from vsek.acd.effects import Offer, Withdrawal, WithdrawOffer, WrapUpEnded
from vsek.acd.events import (
    AgentAdded,
    AgentPaused,
    AgentReachable,
    AgentReadied,
    AgentReleased,
    CallLeft,
    OfferFailed,
    OfferFailure,
    RulesChanged,
    TimerDue,
)
from vsek.acd.invariants import check
from vsek.acd.rules import ClientRules, Rules, Target
from vsek.domain.ids import AgentId, CallId, OfferId


def test_two_agents_answer_one_call() -> None:
    """Anna picks up in the instant in which her ringing is given up: Bert has the call by then."""
    house = House(ANNA, BERT)
    house.call("c1")
    house.due(ANNA)  # 20 s of ringing: Bert is rung
    assert house.rings("c1") == BERT
    assert house.send(accepted("c1", 1)) == []  # Anna's answer comes too late
    assert house.state(ANNA) is AgentState.PARKED
    house.answers(BERT)
    assert house.acd.calls[CallId("c1")].agent_id == BERT
    assert house.send(accepted("c1", 1)) == []
    assert house.acd.counts[AgentState.TALKING] == 1


def test_one_early_hang_up_drops_other_ringing_agents() -> None:
    house = House(ANNA, BERT, CARL)
    for call_id in ("c1", "c2", "c3"):
        house.call(call_id)
    effects = house.hangs_up("c2")
    withdrawn = [effect for effect in effects if isinstance(effect, WithdrawOffer)]
    assert withdrawn == [WithdrawOffer(OfferId("c2.1"), Withdrawal.CALLER_LEFT)]
    assert (house.rings("c1"), house.rings("c3")) == (ANNA, CARL)
    house.answers(ANNA)
    house.answers(CARL)


def test_the_wrap_up_outlasts_a_reload_of_the_rules() -> None:
    house = House(ANNA)
    house.talk("c1", wrap_up_s=30)
    house.ends(ANNA)
    (timer,) = house.acd.timers()
    house.call("c2")
    effects = house.send(RulesChanged(Rules(ring_timeout_s=5, version=2)))
    assert effects == []
    assert house.state(ANNA) is AgentState.WRAP_UP
    assert house.acd.timers() == [timer]
    effects = house.due(ANNA)
    assert [effect for effect in effects if isinstance(effect, WrapUpEnded)]
    assert house.rings("c2") == ANNA


def test_the_wrap_up_outlasts_a_restart() -> None:
    house = House(ANNA)
    house.talk("c1", wrap_up_s=30)
    house.ends(ANNA)
    (timer,) = house.acd.timers()
    house.acd = msgspec.msgpack.decode(msgspec.msgpack.encode(house.acd), type=Acd)
    assert house.call("c2") == []
    assert house.acd.timers() == [timer]
    house.due(ANNA)
    assert house.rings("c2") == ANNA


def test_the_wrap_up_outlasts_the_call_going_on_to_somebody_else() -> None:
    """Anna's softphone dies in the talk; her caller gets Bert, and she still has her note."""
    house = House(ANNA, BERT)
    house.talk("c1", wrap_up_s=30)
    take(house.acd, AgentReleased(CallId("c1"), ANNA), house.now)
    house.call("c1", arrival=0, offers=1)
    assert house.rings("c1") == BERT
    assert house.state(ANNA) is AgentState.WRAP_UP
    house.answers(BERT)
    house.ends(BERT)
    assert house.state(ANNA) is AgentState.WRAP_UP
    house.due(ANNA)
    assert house.state(ANNA) is AgentState.READY
    assert house.state(BERT) is AgentState.WRAP_UP


def test_a_call_in_a_heavier_queue_that_nobody_can_serve_blocks_a_lighter_one() -> None:
    rules = rulebook(
        {
            "heavy": ClientRules(requires={"french": 1}, target=Target(0.95, 5)),
            "light": ClientRules(target=Target(0.5, 120)),
        }
    )
    house = House(rules=rules)
    house.call("h1", "heavy", arrival=0)
    house.call("h2", "heavy", arrival=10)
    house.call("l1", "light")
    (offer,) = offers(house.login(ANNA))
    assert offer.call_id == "l1"
    house.answers(ANNA)
    assert house.waiting() == ["h1", "h2"]


def test_one_unavailable_agent_stops_distribution() -> None:
    """Anna is first in line, and her softphone fails whenever it is rung."""
    house = House(ANNA, BERT)
    for n in range(1, 4):
        house.call(f"c{n}")
        if house.rings(f"c{n}") == ANNA:
            house.send(OfferFailed(OfferId(f"c{n}.1"), OfferFailure.UNREACHABLE))
        assert house.rings(f"c{n}") == BERT
        house.answers(BERT)
        house.ends(BERT)
        house.ready(BERT)
    assert house.state(ANNA) is AgentState.PARKED


def test_an_agent_is_offered_a_call_between_add_and_pause() -> None:
    """Who logs in paused is not rung in between: several events of one moment are one decision."""
    house = House()
    house.call("c1")
    for event in (AgentAdded(ANNA), AgentReachable(ANNA, True), AgentPaused(ANNA, "late shift")):
        assert not offers(take(house.acd, event, house.now))
    assert match(house.acd, house.now) == []
    check(house.acd)
    assert house.state(ANNA) is AgentState.PAUSED
    take(house.acd, AgentReadied(ANNA), house.now)
    take(house.acd, AgentPaused(ANNA, "not yet"), house.now)
    assert match(house.acd, house.now) == []
    house.ready(ANNA)
    assert house.rings("c1") == ANNA


def test_the_eighth_caller_is_served_first() -> None:
    """Eight wait; whatever happens to the offers, each keeps the place."""
    house = House()
    for n in range(1, 9):
        house.call(f"c{n}")
    house.login(ANNA)
    house.login(BERT)
    served: list[str] = []
    while house.acd.calls:
        for agent_id in (ANNA, BERT):
            call_id = house.acd.agents[agent_id].call_id
            if call_id is None:
                continue
            if len(served) in (1, 4):  # somebody does not pick up: the call stays in front
                house.due(agent_id)
                house.ready(agent_id)
            call_id = house.acd.agents[agent_id].call_id
            assert call_id is not None
            house.answers(agent_id)
            served.append(call_id)
            house.ends(agent_id)
            house.ready(agent_id)
    assert served == [f"c{n}" for n in range(1, 9)]


def test_the_sole_agent_is_rung_again_at_once_after_refusing() -> None:
    house = House(ANNA)
    house.call("c1")
    assert offers(house.refuses(ANNA)) == []
    assert offers(house.passes(8)) == []
    (offer,) = offers(house.passes(3))
    assert (offer.agent_id, offer.offer_id) == (ANNA, "c1.2")


def test_a_dead_call_is_offered_to_an_agent_who_logs_in() -> None:
    house = House()
    house.call("c1")
    house.call("c2")
    house.hangs_up("c1")
    (offer,) = offers(house.login(ANNA))
    assert offer.call_id == "c2"
    house.hangs_up("c2")
    assert offers(house.login(BERT)) == []


def test_caller_and_agent_go_in_the_same_moment_in_which_another_logs_in() -> None:
    house = House()
    house.call("c1")
    effects = []
    for event in (
        AgentAdded(ANNA),
        AgentReachable(ANNA, True),
        CallLeft(CallId("c1")),
    ):
        effects += take(house.acd, event, house.now)
    effects += match(house.acd, house.now)
    assert not [effect for effect in effects if isinstance(effect, Offer)]
    check(house.acd)


def test_an_agent_is_stuck_reserved_after_the_callers_hang_up() -> None:
    house = House(ANNA)
    house.call("c1")
    ring = house.acd.agents[ANNA].timer
    assert ring is not None
    house.hangs_up("c1")
    assert house.state(ANNA) is AgentState.READY
    # All that may still be under way of the offer changes nothing.
    assert house.send(accepted("c1")) == []
    assert house.send(OfferFailed(OfferId("c1.1"), OfferFailure.LOST)) == []
    assert house.send(TimerDue(ring.name, ring.generation)) == []
    (offer,) = offers(house.call("c2"))
    assert offer.agent_id == ANNA
    house.answers(ANNA)


def test_an_agent_whose_id_has_a_colon_is_not_stuck_ringing() -> None:
    """Ids come from outside; the name of a timer must lead back to any of them."""
    agent_id = AgentId("desk:7:anna")
    house = House(agent_id, BERT)
    house.call("c1")
    house.due(agent_id)
    assert house.rings("c1") == BERT
    house.due(agent_id)
    assert house.state(agent_id) is AgentState.READY

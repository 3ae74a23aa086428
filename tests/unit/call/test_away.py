"""While Asterisk is away, and known to be, nobody is offered a call."""

from __future__ import annotations

from tests.unit.call.book import RING
from tests.unit.call.house import House
from tests.unit.call.steps import ANNA, BERT, K1, LEG, house, ringing

from vsek.acd import decide
from vsek.acd import events as acd_events
from vsek.acd.effects import Answered, Offer
from vsek.acd.events import AgentPaused, AgentReadied
from vsek.acd.state import Acd, AgentState
from vsek.domain.ids import ClientId
from vsek.domain.outcomes import Stage


def for_a_long_time(made: House) -> None:
    """Longer than any telephone rings."""
    began = made.now
    while made.now < began + 3 * made.state.directory.rules.ring_timeout_s:
        made.timer()


def back(made: House) -> None:
    """Asterisk is there again."""
    made.reconnect()
    made.recovered()
    made.settle()


def test_nobody_is_offered_a_call_and_nobody_is_to_blame() -> None:
    made = ringing()
    made.disconnect()
    made.asterisk.call(RING)
    sent = len(made.sent)
    for_a_long_time(made)
    assert made.states[ANNA] is AgentState.OFFERED, "nobody can see whether she picks up"
    assert made.states[BERT] is AgentState.READY
    assert made.sent[sent:] == []
    back(made)
    assert made.state.acd.agents[ANNA].call_id == K1
    assert made.states[BERT] is AgentState.OFFERED, "the caller who came meanwhile"


def test_who_picks_up_meanwhile_has_the_caller() -> None:
    made = ringing()
    made.disconnect()
    for_a_long_time(made)
    made.asterisk.pick_up(LEG)
    back(made)
    assert made.states[ANNA] is AgentState.TALKING
    assert made.state.calls[K1].stage is Stage.TALKING


def test_who_does_not_pick_up_when_it_is_back_was_rung_long_enough() -> None:
    made = ringing()
    made.disconnect()
    for_a_long_time(made)
    back(made)
    at = made.now
    made.timer()
    assert made.state.acd.agents[ANNA].reason == "no_answer"
    assert made.now - at <= 3.0


def test_of_a_wait_for_asterisk_nothing_is_learnt() -> None:
    acd = Acd()
    for event in (
        acd_events.AgentAdded(ANNA),
        acd_events.AgentReachable(ANNA, True),
        acd_events.Halted(True),
        acd_events.CallQueued(K1, ClientId("oak"), 0.0, 0.0),
    ):
        assert not any(isinstance(effect, Offer) for effect in decide(acd, event, 0.0))
    (offer,) = (e for e in decide(acd, acd_events.Halted(False), 60.0) if isinstance(e, Offer))
    (answered,) = (
        effect
        for effect in decide(acd, acd_events.OfferAccepted(offer.offer_id), 61.0)
        if isinstance(effect, Answered)
    )
    assert (answered.waited_s, answered.expected_s) == (61.0, None)


def test_a_restart_meanwhile_forgets_nobody() -> None:
    made = house(ANNA)
    made.decide(AgentPaused(ANNA, "lunch"))
    made.asterisk.call(RING)
    made.settle()
    made.disconnect()
    made.decide(AgentReadied(ANNA))
    made.take_snapshot()
    made.restart()
    assert made.states[ANNA] is AgentState.READY
    back(made)
    assert made.states[ANNA] is AgentState.OFFERED

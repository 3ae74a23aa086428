"""Offers that come to nothing, and failures of agents' legs."""

from __future__ import annotations

import pytest
from tests.unit.call.book import RING
from tests.unit.call.house import House
from tests.unit.call.steps import ANNA, BERT, CALLER, CARL, K1, LEG, LEG2, house, ringing

from vsek.acd.events import AgentPaused, AgentReadied
from vsek.acd.state import AgentState
from vsek.call import effects as do
from vsek.call import events as ev
from vsek.call.script import LEG_S
from vsek.domain.ids import CallId, ChannelId
from vsek.domain.outcomes import Stage


@pytest.mark.parametrize(
    ("cause", "failure"), [(17, "refused"), (21, "refused"), (20, "unreachable"), (0, "failed")]
)
def test_refusals_and_faults_go_on_to_the_next(cause: int, failure: str) -> None:
    made = ringing()
    made.asterisk.end(LEG, cause)
    made.settle()
    assert made.states == {
        ANNA: AgentState.PARKED,
        BERT: AgentState.OFFERED,
        CARL: AgentState.LOGGED_OUT,
    }
    assert made.state.acd.agents[ANNA].reason == failure
    assert made.state.calls[K1].leg_id == LEG2


def test_no_answer_goes_on_to_the_next() -> None:
    made = ringing()
    made.timer()
    hangup = next(c for c in made.sent if isinstance(c, do.HangupLeg))
    assert (hangup.channel_id, hangup.reason) == (LEG, "no_answer")
    made.settle()
    assert set(made.asterisk.channels) == {CALLER, LEG2}


def test_an_answer_that_crosses_the_withdrawal() -> None:
    made = ringing()
    made.asterisk.pick_up(LEG)
    made.timer()
    made.settle()
    assert made.state.calls[K1].leg_id == LEG2
    assert set(made.asterisk.channels) == {CALLER, LEG2}


def test_a_leg_that_rings_or_is_joined_after_its_withdrawal_needs_no_second_hang_up() -> None:
    made = ringing()
    made.timer()
    for event in (ev.ChannelRinging(LEG), ev.Joined(LEG)):
        assert made.decide(event) == []
    (again,) = made.decide(ev.ChannelUp(LEG))
    assert isinstance(again, do.HangupLeg)


def waits_for_leg() -> House:
    """Anna is offered a call, and Asterisk has not made her leg."""
    made = house(ANNA, BERT)
    made.asterisk.call(RING)
    made.deliver()
    assert made.states[ANNA] is AgentState.OFFERED
    return made


def test_who_was_not_rung_has_not_failed_to_answer() -> None:
    made = waits_for_leg()
    offered_at = made.now
    made.timer()  # the time to ring is over
    assert made.states[ANNA] is AgentState.OFFERED
    made.settle()
    assert made.state.calls[K1].leg_id == LEG
    dialled_at = made.now
    assert dialled_at > offered_at
    made.timer()
    assert made.now - dialled_at == made.state.directory.rules.ring_timeout_s
    assert made.state.acd.agents[ANNA].reason == "no_answer"


def test_a_telephone_that_is_asked_late_rings_for_its_whole_time() -> None:
    made = waits_for_leg()
    made.now += 3.0
    made.settle()
    dialled_at = made.now
    made.timer()
    assert made.now - dialled_at == made.state.directory.rules.ring_timeout_s


def test_an_asterisk_that_never_makes_the_leg_is_no_fault_of_the_agent() -> None:
    made = waits_for_leg()
    offered_at = made.now
    while made.states[ANNA] is AgentState.OFFERED:
        made.timer()
    assert LEG_S <= made.now - offered_at < LEG_S + made.state.directory.rules.ring_timeout_s
    assert made.state.acd.agents[ANNA].reason == "lost"
    assert any(isinstance(c, do.HangupLeg) and c.channel_id == LEG for c in made.sent)
    made.settle()
    assert set(made.asterisk.channels) == {CALLER, LEG2}


def test_a_clock_that_is_set_back_binds_nobody_to_a_leg_that_never_comes() -> None:
    made = waits_for_leg()
    made.now -= 3600
    for _ in range(3):
        made.timer()
    assert made.states[ANNA] is not AgentState.OFFERED


def test_pause_while_ringing() -> None:
    made = ringing()
    made.decide(AgentPaused(ANNA, "lunch"))
    made.settle()
    assert made.state.calls[K1].leg_id == LEG2
    made.decide(AgentReadied(ANNA))
    assert made.states[ANNA] is AgentState.READY


@pytest.mark.parametrize(
    ("command", "status", "failure"),
    [
        ("CreateLeg", 500, "unreachable"),
        ("CreateLeg", 400, "failed"),
        ("CreateLeg", 0, "lost"),
        ("Dial", 500, "unreachable"),
        ("Dial", 404, "failed"),
    ],
)
def test_a_leg_that_cannot_be_made_or_rung(command: str, status: int, failure: str) -> None:
    made = house(ANNA, BERT)
    made.asterisk.call(RING)
    made.deliver()
    if command == "Dial":
        made.work(LEG)
        made.deliver()
    if status:
        made.fail(LEG, status)
    else:
        made.time_out(LEG)
    made.hear()
    assert made.state.acd.agents[ANNA].reason == failure
    made.settle()
    assert made.state.calls[K1].leg_id == LEG2
    assert set(made.asterisk.channels) == {CALLER, LEG2}


def test_failures_of_a_leg_that_was_withdrawn() -> None:
    made = house(ANNA, BERT)
    made.asterisk.call(RING)
    made.deliver()
    made.decide(AgentPaused(ANNA, "lunch"))
    before = made.state.calls[K1].leg_id
    assert made.decide(ev.CommandFailed("Dial", K1, LEG, 500, "")) == []
    assert made.decide(ev.CommandFailed("CreateLeg", K1, LEG, 500, "")) == []
    assert LEG not in made.state.channels
    assert made.decide(ev.CommandFailed("Dial", K1, LEG, 500, "")) == []
    assert made.state.calls[K1].leg_id == before


def test_the_last_leg_of_a_closed_call_could_not_be_made() -> None:
    made = house(ANNA)
    made.asterisk.call(RING)
    made.deliver()
    made.asterisk.end(CALLER)
    made.deliver()
    assert made.state.calls[K1].stage is Stage.ENDED
    made.decide(ev.CommandFailed("CreateLeg", K1, LEG, 400, ""))
    assert made.state.calls == {}


def test_a_command_that_was_sent_twice_is_no_failure() -> None:
    made = ringing()
    for command in ("CreateLeg", "Dial"):
        assert made.decide(ev.CommandFailed(command, K1, LEG, 409, "")) == []


def test_a_leg_that_was_given_up_and_comes_after_all() -> None:
    made = house()
    (effect,) = made.decide(ev.LegReady(ChannelId("vsekcall-old.1")))
    assert effect == do.HangupStray(CallId(""), ChannelId("vsekcall-old.1"))
    assert made.decide(ev.ChannelUp(ChannelId("vsekcall-old.1"))) == []


def test_a_stranger_in_a_bridge_of_ours_is_put_out() -> None:
    made = house()
    (effect,) = made.decide(ev.Joined(ChannelId("1795323549.90")))
    assert effect == do.HangupStray(CallId(""), ChannelId("1795323549.90"))

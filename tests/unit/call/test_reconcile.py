"""After a crash or a lost connection: each difference between state and world, by itself."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.call.asterisk import Channel
from tests.unit.call.book import GREET, MUTE, RING, UNKNOWN
from tests.unit.call.house import House
from tests.unit.call.steps import (
    ANNA,
    BERT,
    CALLER,
    K1,
    K2,
    LEG,
    LEG2,
    commands,
    house,
    names,
    ringing,
    talking,
)

from vsek.acd.decide import PARK_MIN_S
from vsek.acd.state import AgentState
from vsek.call import effects as do
from vsek.call.model import LegStage, State
from vsek.domain.ids import CallId, ChannelId
from vsek.domain.outcomes import Outcome, Stage


def lose(made: House, keep: int = 0, *, crash: bool = True) -> None:
    made.disconnect(keep)
    if crash:
        made.restart()
    made.sent.clear()


def recover(made: House) -> None:
    made.reconnect()
    made.recovered()
    made.settle()


@pytest.mark.parametrize("crash", [True, False])
def test_nothing_was_missed(crash: bool) -> None:
    made = talking()
    made.asterisk.call(GREET)
    made.settle()
    made.asterisk.ring(ChannelId("vsekcall-k2.1"))
    made.asterisk.call(RING)
    made.settle()
    before = {key: call.stage for key, call in made.state.calls.items()}
    lose(made, crash=crash)
    recover(made)
    assert {key: call.stage for key, call in made.state.calls.items()} == before
    assert not {"Hangup", "HangupLeg", "Join", "CreateLeg", "Dial", "DestroyBridge"} & set(
        names(made.sent)
    )


def test_a_caller_left_and_the_agent_is_not_blamed() -> None:
    made = ringing()
    lose(made)
    made.asterisk.end(CALLER)
    made.asterisk.end(LEG)
    recover(made)
    assert (made.closed[K1].outcome, made.closed[K1].stage) == (Outcome.ABANDONED, Stage.WAITING)
    assert made.states[ANNA] is made.states[BERT] is AgentState.READY
    assert "CreateLeg" not in names(made.sent)


def test_an_agent_who_is_found_free_is_not_rung_for_a_caller_who_is_found_gone() -> None:
    made = house(ANNA, wrap_up_s=0.0)
    for _ in range(3):
        made.asterisk.call(RING)
    made.settle()
    made.asterisk.pick_up(LEG)
    made.settle()
    assert made.state.calls[K1].stage is Stage.TALKING
    lose(made)
    for number in (1, 2):
        made.asterisk.end(ChannelId(f"1700000000.{number}"))
    recover(made)
    assert made.states[ANNA] is AgentState.OFFERED
    assert [c.call_id for c in made.sent if isinstance(c, do.CreateLeg)] == ["k3"]


def test_a_caller_left_for_whom_nobody_rang() -> None:
    made = house()
    made.asterisk.call(RING)
    made.settle()
    lose(made)
    made.asterisk.end(CALLER)
    recover(made)
    assert made.closed[K1].outcome is Outcome.ABANDONED
    assert made.closed[K1].reason == "found_gone"
    assert made.state.calls == {}


def test_a_talk_of_which_nothing_is_left() -> None:
    made = talking()
    lose(made)
    made.asterisk.end(CALLER)
    made.asterisk.end(LEG)
    recover(made)
    assert made.closed[K1].outcome is Outcome.ANSWERED
    assert made.closed[K1].reason == "found_gone"


def test_a_talk_that_began_and_ended_in_the_gap() -> None:
    made = ringing()
    made.asterisk.pick_up(LEG)
    made.decide(made.asterisk.events.popleft())
    assert made.state.calls[K1].stage is Stage.CONNECTING
    lose(made)
    made.asterisk.end(CALLER)
    made.asterisk.end(LEG)
    recover(made)
    closed = made.closed[K1]
    assert (closed.outcome, closed.reason) == (Outcome.ANSWERED, "found_gone")
    assert closed.agent_id == ANNA
    assert closed.answered_at is not None


def test_what_an_announcement_was_for_is_not_forgotten() -> None:
    made = house()
    made.asterisk.call("+4999")
    made.settle()
    lose(made)
    made.asterisk.end(CALLER)
    recover(made)
    assert made.closed[K1].reason == "unknown_number"


def test_an_agent_picked_up() -> None:
    made = ringing(GREET)
    lose(made)
    made.asterisk.pick_up(LEG)
    recover(made)
    assert made.state.calls[K1].stage is Stage.TALKING


def test_an_agent_refused() -> None:
    made = ringing()
    lose(made)
    made.asterisk.end(LEG, 21)
    recover(made)
    assert made.states[ANNA] is AgentState.PARKED
    assert made.state.calls[K1].leg_id == LEG2


def test_a_phone_began_to_ring() -> None:
    made = house(ANNA)
    made.asterisk.call(RING)
    made.settle()
    lose(made)
    made.asterisk.ring(LEG)
    recover(made)
    assert made.state.calls[K1].legs[LEG].stage is LegStage.RINGING


def test_the_dialling_got_lost() -> None:
    made = house(ANNA)
    made.asterisk.call(RING)
    made.deliver()
    made.work(LEG)
    made.deliver()
    lose(made)
    recover(made)
    assert made.asterisk.channels[LEG].dialled


def test_a_leg_that_was_dialled_and_does_not_ring_yet_is_not_dialled_again() -> None:
    made = house(ANNA)
    made.asterisk.call(RING)
    made.settle()
    assert made.asterisk.channels[LEG].state == "Down"
    lose(made)
    recover(made)
    assert "Dial" not in names(made.sent)
    assert made.states[ANNA] is AgentState.OFFERED
    made.asterisk.pick_up(LEG)
    made.settle()
    assert made.state.calls[K1].stage is Stage.TALKING


def test_the_leg_was_never_made() -> None:
    made = house(ANNA, BERT)
    made.asterisk.call(RING)
    made.deliver()
    lose(made)
    recover(made)
    assert made.state.calls[K1].leg_id == LEG2
    anna = made.state.acd.agents[ANNA]
    assert (anna.reason, anna.timer and anna.timer.deadline - made.now) == ("lost", PARK_MIN_S)


@pytest.mark.parametrize("did", [GREET, UNKNOWN])
def test_the_answer_got_lost(did: str) -> None:
    made = house()
    made.asterisk.call(did)
    made.deliver()
    lose(made)
    recover(made)
    assert names(made.sent) == ["Answer", "Play"]
    assert made.asterisk.channels[CALLER].sounds


def test_the_answer_before_the_music_got_lost() -> None:
    made = house()
    made.asterisk.call(MUTE)
    made.deliver()
    lose(made)
    recover(made)
    assert names(made.sent) == ["Answer", "StartMusic"]


@pytest.mark.parametrize("did", [GREET, UNKNOWN])
def test_a_sound_ended(did: str) -> None:
    made = house()
    made.asterisk.call(did)
    made.settle()
    lose(made)
    made.asterisk.sound_ends(CALLER)
    recover(made)
    if did == GREET:
        assert made.asterisk.channels[CALLER].music == "client-greet"
    else:
        assert made.closed[K1].outcome is Outcome.UNKNOWN_NUMBER


@pytest.mark.parametrize("keep", [0, 1])
def test_the_join_got_lost(keep: int) -> None:
    made = ringing()
    made.asterisk.pick_up(LEG)
    made.deliver()
    lose(made, keep)
    recover(made)
    assert made.state.calls[K1].stage is Stage.TALKING


def test_the_join_under_the_greeting_got_lost() -> None:
    made = ringing(GREET)
    made.asterisk.pick_up(LEG)
    made.deliver()
    lose(made)
    recover(made)
    assert made.state.calls[K1].stage is Stage.TALKING
    assert made.asterisk.channels[CALLER].sounds == []


def test_they_were_joined_and_nobody_was_told() -> None:
    made = ringing()
    made.asterisk.pick_up(LEG)
    made.deliver()
    lose(made, keep=3)
    recover(made)
    assert made.state.calls[K1].stage is Stage.TALKING
    assert "Join" not in names(made.sent)


def test_the_bridge_was_never_made() -> None:
    made = house(ANNA)
    made.asterisk.call(RING)
    made.deliver()
    made.work(LEG)
    lose(made)
    recover(made)
    assert "CreateBridge" in names(made.sent)


def test_the_talk_ended() -> None:
    made = talking()
    lose(made)
    made.asterisk.end(LEG)
    recover(made)
    assert made.closed[K1].reason == "agent_hangup"
    assert made.asterisk.channels == {}
    assert made.asterisk.bridges == {}


@pytest.mark.parametrize("next_agent", [True, False])
def test_an_agent_who_was_lost_leaves_the_caller_out_of_the_bridge(next_agent: bool) -> None:
    made = ringing()
    made.register(BERT, next_agent)
    made.settle()
    made.asterisk.pick_up(LEG)
    made.deliver()
    made.work(K1)
    made.time_out(K1)
    made.hear()  # the reply to joining them is late, so the agent is let go
    lose(made, keep=1)  # and then they are joined after all
    assert made.asterisk.channels[CALLER].bridge
    made.reconnect()
    made.recovered()  # Bert is asked if he is there; and then all that is lost
    lose(made)
    recover(made)
    assert made.state.calls[K1].stage is Stage.WAITING
    assert made.asterisk.channels[CALLER].bridge == ""


def test_an_agent_who_was_joined_and_is_gone_has_talked() -> None:
    made = ringing()
    made.asterisk.pick_up(LEG)
    made.deliver()
    lose(made, keep=3)
    assert made.asterisk.channels[CALLER].bridge
    made.asterisk.end(LEG)
    recover(made)
    closed = made.closed[K1]
    assert (closed.outcome, closed.reason) == (Outcome.ANSWERED, "agent_hangup")
    assert CALLER not in made.asterisk.channels


def test_an_agent_who_picked_up_in_the_gap_finds_a_bridge() -> None:
    made = house(ANNA)
    made.asterisk.call(RING)
    made.deliver()
    made.work(LEG)
    made.deliver()
    made.work(LEG)  # the leg rings, and there is no bridge yet
    lose(made)
    made.asterisk.pick_up(LEG)
    recover(made)
    assert made.kinds[K1][-2:] == ["agent_answered", "connected"]


def test_a_hang_up_got_lost() -> None:
    made = talking()
    made.asterisk.end(LEG)
    made.deliver()
    lose(made)
    recover(made)
    assert made.asterisk.channels == {}
    assert made.state.calls == {}


def test_the_hang_up_of_a_leg_got_lost() -> None:
    made = ringing()
    made.timer()
    lose(made, keep=0)
    recover(made)
    assert LEG not in made.asterisk.channels


def test_a_closed_calls_leg_ended() -> None:
    made = ringing()
    made.asterisk.end(CALLER)
    made.deliver()
    lose(made)
    made.asterisk.end(LEG)
    recover(made)
    assert made.state.calls == {}


def test_strays_are_cleared_away_and_others_left_alone() -> None:
    made = house()
    made.asterisk.channels[ChannelId("vsekcall-old.1")] = Channel("Up")
    made.asterisk.channels[ChannelId("1699.1")] = Channel("Up")
    made.asterisk.bridges = {"vsekcall-old": [], "conference": []}
    made.disconnect()
    made.reconnect()
    assert made.picture is not None
    effects = made.decide(made.picture)
    assert commands(effects) == [
        do.HangupStray(CallId(""), ChannelId("vsekcall-old.1")),
        do.DestroyBridge(CallId(""), ChannelId(""), "vsekcall-old"),
    ]


def test_a_leg_that_is_made_while_reconciling_is_not_taken_for_lost() -> None:
    """The first caller left in the gap; the agent is offered to the second at once."""
    made = house(ANNA)
    made.asterisk.call(RING)
    made.asterisk.call(RING)
    made.settle()
    lose(made)
    made.asterisk.end(CALLER)
    recover(made)
    leg = made.state.calls[K2].leg
    assert leg is not None
    assert leg.agent_id == ANNA
    assert made.asterisk.channels[leg.channel_id].dialled


def test_callers_who_came_meanwhile_are_served() -> None:
    made = house(ANNA)
    made.asterisk.call(RING)  # its event gets lost
    made.disconnect()
    made.reconnect()
    made.recovered()
    made.settle()
    (call,) = made.state.calls.values()
    assert (call.channel_id, call.stage) == (CALLER, Stage.WAITING)
    assert call.leg is not None


def test_a_call_of_an_earlier_version_has_had_its_one_bridge() -> None:
    made = talking()
    call = made.state.calls[K1]
    call.bridges = 0  # were not counted then
    made.state = msgspec.msgpack.decode(msgspec.msgpack.encode(made.state), type=State)
    assert made.state.calls[K1].bridges == 1

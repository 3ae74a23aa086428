"""Calls from arrival to outcome, step by step, over the model of Asterisk."""

from __future__ import annotations

import pytest
from tests.unit.call.book import CLOSED, GREET, MUTE, RING, UNKNOWN, directory
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

from vsek.acd.effects import AgentChanged, CancelTimer, SetTimer
from vsek.acd.events import AgentPaused, AgentReachable, AgentReadied, TimerDue
from vsek.acd.state import AgentState
from vsek.call import effects as do
from vsek.call import events as ev
from vsek.call.decide import decide
from vsek.call.desk import GUARD_ANNOUNCEMENT_S, GUARD_ENDED_S, GUARD_RINGING_S
from vsek.call.model import LegStage, State, new_state
from vsek.domain.ids import AgentId, CallId
from vsek.domain.outcomes import Outcome, Stage
from vsek.domain.records import CallClosed

# The ways of a call


def test_policy_ring() -> None:
    made = house(ANNA)
    made.asterisk.call(RING, caller_number="+49301", caller_name="Eva")
    made.settle()
    assert names(made.sent) == ["Ring", "CreateLeg", "CreateBridge", "Dial"]
    create = made.sent[1]
    assert isinstance(create, do.CreateLeg)
    assert (create.agent_id, create.shown_number, create.shown_name) == (ANNA, "+49301", "Ring")
    assert made.asterisk.channels[CALLER].state == "Ring"
    made.asterisk.ring(LEG)
    made.asterisk.ring(LEG)  # 180 again
    made.asterisk.pick_up(LEG)
    made.settle()
    assert names(made.sent[4:]) == ["Answer", "Join"]
    made.now += 60
    made.asterisk.end(CALLER)
    made.settle()
    assert made.kinds[K1] == [
        "arrived", "ringing", "offered", "agent_ringing", "agent_answered", "connected", "ended",
    ]  # fmt: skip
    closed = made.closed[K1]
    assert (closed.outcome, closed.stage, closed.reason) == (
        Outcome.ANSWERED,
        Stage.TALKING,
        "caller_hangup",
    )
    assert (closed.agent_id, closed.answered_at) == (ANNA, made.now - 60)
    assert closed.note_due_at == made.now + 30 + 120
    assert made.state.calls == {}
    made.timer()  # wrap-up
    assert made.moved[0].due_at == made.now + 120
    assert made.states[ANNA] is AgentState.READY


def test_who_loses_the_agent_is_offered_before_who_came_later() -> None:
    made = house(ANNA, wrap_up_s=0.0)
    for _ in range(2):
        made.asterisk.call(RING)
        made.settle()
        made.now += 1
    made.asterisk.pick_up(LEG)
    made.deliver()
    made.work(K1)  # answered
    made.fail(K1, 500)
    made.settle()
    assert made.kinds[K1].count("agent_lost") == 1
    assert made.state.calls[K1].leg_id == LEG2
    assert made.state.calls[K2].leg_id is None


def test_nobody_rings_for_ever() -> None:
    made = house()
    made.asterisk.call(RING)
    made.settle()
    assert made.state.timers[f"guard:{K1}"][1] == made.now + GUARD_RINGING_S
    made.timer()
    made.settle()
    closed = made.closed[K1]
    assert (closed.outcome, closed.stage, closed.reason) == (
        Outcome.ABANDONED,
        Stage.WAITING,
        "ring_limit",
    )
    assert made.asterisk.channels == {}


def test_policy_greet() -> None:
    made = house(ANNA)
    made.asterisk.call(GREET)
    made.settle()
    assert names(made.sent) == ["Answer", "Play", "CreateLeg", "CreateBridge", "Dial"]
    assert made.state.calls[K1].stage is Stage.GREETING
    made.asterisk.sound_ends(CALLER)
    made.settle()
    assert names(made.sent[5:]) == ["StartMusic"]
    made.asterisk.pick_up(LEG)
    made.settle()
    assert names(made.sent[6:]) == ["StopMusic", "Join"]
    assert made.state.calls[K1].stage is Stage.TALKING


def test_policy_greet_without_a_greeting() -> None:
    made = house()
    made.asterisk.call(MUTE)
    made.settle()
    assert names(made.sent) == ["Answer", "StartMusic"]


def test_an_agent_who_is_quick_cuts_the_greeting_short() -> None:
    made = ringing(GREET)
    made.sent.clear()
    made.asterisk.pick_up(LEG)
    made.settle()
    assert names(made.sent) == ["StopSound", "Join"]


def test_the_agent_hangs_up() -> None:
    made = talking()
    made.sent.clear()
    made.asterisk.end(LEG)
    made.settle()
    assert made.closed[K1].outcome is Outcome.ANSWERED
    assert made.closed[K1].reason == "agent_hangup"
    assert names(made.sent) == ["DestroyBridge", "Hangup"]
    assert made.states[ANNA] is AgentState.WRAP_UP


def test_no_wrap_up() -> None:
    made = talking(MUTE)
    made.asterisk.end(CALLER)
    made.settle()
    assert made.states[ANNA] is AgentState.READY
    assert made.closed[K1].note_due_at == made.moved[0].due_at == made.now + 120


@pytest.mark.parametrize(
    ("did", "outcome", "reason"),
    [(UNKNOWN, Outcome.UNKNOWN_NUMBER, "unknown_number"), (CLOSED, Outcome.ABANDONED, "closed")],
)
@pytest.mark.parametrize("end", ["sound", "caller", "guard", "refused", "late"])
def test_announcements(did: str, outcome: Outcome, reason: str, end: str) -> None:
    made = house(ANNA)
    made.asterisk.call(did)
    if end in ("refused", "late"):
        made.deliver()
        made.work("k1")
        if end == "refused":
            made.fail("k1", 500)
        else:
            made.time_out("k1")
    made.settle()
    if end == "sound":
        made.asterisk.sound_ends(CALLER)
    elif end == "caller":
        made.asterisk.end(CALLER)
    elif end == "guard":
        assert made.state.timers["guard:k1"][1] == made.now + GUARD_ANNOUNCEMENT_S
        made.timer()
    made.settle()
    closed = made.closed[K1]
    assert (closed.outcome, closed.stage, closed.reason) == (outcome, Stage.ANNOUNCEMENT, reason)
    assert made.asterisk.channels == {}
    assert made.state.timers == {}
    assert made.states[ANNA] is AgentState.READY


def test_without_an_announcement_the_call_ends_at_once() -> None:
    state = new_state()
    effects = decide(state, ev.CallArrived(K1, CALLER, (RING,)), 0.0)
    assert names(commands(effects)) == ["Answer", "Hangup"]
    assert state.calls[K1].stage is Stage.ENDED
    decide(state, ev.ChannelGone(CALLER), 1.0)
    assert state == new_state() or state.calls == {}


def test_a_caller_gives_up_in_each_stage() -> None:
    made = house()
    for number, did in enumerate((RING, GREET, MUTE), 1):
        channel_id = made.asterisk.call(did)
        made.settle()
        stage = made.state.calls[CallId(f"k{number}")].stage
        made.asterisk.end(channel_id)
        made.settle()
        closed = made.closed[CallId(f"k{number}")]
        assert (closed.outcome, closed.stage) == (Outcome.ABANDONED, stage)
        assert closed.agent_id is None
        assert closed.note_due_at == made.now


def test_a_caller_gives_up_while_an_agent_rings() -> None:
    made = ringing()
    made.asterisk.end(CALLER)
    made.settle()
    assert made.asterisk.channels == {}
    assert made.states[ANNA] is AgentState.READY
    assert made.closed[K1].agent_id is None


def test_a_caller_gives_up_in_the_moment_of_joining() -> None:
    made = ringing()
    made.asterisk.pick_up(LEG)
    made.deliver()
    made.asterisk.end(CALLER)
    made.deliver()
    made.settle()
    closed = made.closed[K1]
    assert (closed.outcome, closed.stage) == (Outcome.ABANDONED, Stage.CONNECTING)
    assert (closed.agent_id, closed.answered_at) == (ANNA, None)
    assert made.states[ANNA] is AgentState.WRAP_UP
    assert made.asterisk.channels == {}


# Joining


@pytest.mark.parametrize("did", [RING, GREET])
@pytest.mark.parametrize("status", [400, 0])
def test_a_join_that_fails_keeps_the_callers_place(did: str, status: int) -> None:
    made = ringing(did)
    made.now += 1
    made.asterisk.call(RING)  # waits behind
    made.settle()
    made.asterisk.pick_up(LEG)
    made.deliver()
    while type(made.lanes["k1"][0]) is not do.Join:
        made.work("k1")
    if status:
        made.fail("k1", status)
    else:
        made.time_out("k1")
    made.hear()
    call = made.state.calls[K1]
    assert (call.stage, call.agent_id, call.answered_at) == (Stage.WAITING, None, None)
    assert made.states[ANNA] is AgentState.WRAP_UP
    made.settle()
    assert made.state.acd.place(K1) == 0
    made.decide(AgentReadied(ANNA))
    made.settle()
    leg = made.state.calls[K1].leg
    assert leg is not None
    assert leg.offer_id == "k1.2"
    made.asterisk.pick_up(leg.channel_id)
    made.settle()
    assert made.state.calls[K1].stage is Stage.TALKING


def test_a_late_failure_of_a_join_does_not_hit_the_next_leg() -> None:
    made = ringing()
    made.asterisk.pick_up(LEG)
    made.deliver()
    made.asterisk.end(LEG)
    made.settle()
    made.asterisk.pick_up(LEG2)
    made.deliver()
    assert made.decide(ev.CommandFailed("Join", K1, LEG, 0, "")) == []
    made.settle()
    assert made.state.calls[K1].stage is Stage.TALKING


def test_the_agent_hangs_up_before_being_heard() -> None:
    made = ringing()
    made.asterisk.pick_up(LEG)
    made.deliver()
    made.work("k1")
    made.work("k1")
    made.deliver()  # the caller is in the bridge
    assert made.state.calls[K1].caller_joined
    made.asterisk.end(LEG)
    made.asterisk.events.remove(ev.Joined(LEG))
    made.settle()
    assert "agent_lost" in made.kinds[K1]
    assert made.asterisk.channels[CALLER].music == "client-ring"
    assert made.state.calls[K1].leg_id == LEG2


# The end


def test_a_hang_up_that_is_never_reported_is_repeated() -> None:
    made = talking()
    made.asterisk.end(LEG)
    made.deliver()
    made.work("k1")
    assert names(list(made.lanes.pop("k1"))) == ["Hangup"]  # lost, as it were
    assert made.state.timers["guard:k1"][1] == made.now + GUARD_ENDED_S
    made.now += GUARD_ENDED_S
    effects = made.decide(TimerDue("guard:k1", made.state.timers["guard:k1"][0]))
    assert names(commands(effects)) == ["Hangup"]
    made.settle()
    assert made.state.calls == {}


def test_a_guard_repeats_for_legs_and_hears_that_there_is_none() -> None:
    made = ringing()
    made.asterisk.end(CALLER)
    made.deliver()
    made.lanes.clear()
    made.asterisk.bridges.clear()
    made.asterisk.channels.clear()  # ended, but nobody told
    effects = made.decide(TimerDue("guard:k1", made.state.timers["guard:k1"][0]))
    assert names(commands(effects)) == ["HangupLeg"]
    made.settle()
    assert made.state.calls == {}
    assert made.state.timers.keys() == set()


def test_news_of_calls_that_are_over() -> None:
    made = talking()
    made.asterisk.end(CALLER)
    made.settle()
    for event in (
        ev.ChannelGone(CALLER),
        ev.ChannelUp(LEG),
        ev.SoundDone("vsekcall-k1-s1", K1),
        ev.CommandFailed("Join", K1, LEG, 500, ""),
        TimerDue("guard:k1", 1),
    ):
        assert made.decide(event) == []


def test_news_that_mean_nothing() -> None:
    made = ringing(GREET)
    for event in (
        ev.ChannelUp(CALLER),  # our own answer
        ev.SoundDone("vsekcall-k1-s9", K1),
        ev.Joined(CALLER),
        ev.Joined(LEG),
        ev.LegReady(LEG),  # dialled already
        ev.CommandFailed("Answer", K1, CALLER, 409, ""),
        AgentReachable(AgentId("nobody"), True),
    ):
        assert made.decide(event) == []
    assert made.state.calls[K1].legs[LEG].stage is LegStage.RINGING


def test_the_same_arrival_again() -> None:
    made = ringing()
    assert made.decide(ev.CallArrived(K2, CALLER, (RING,))) == []


def test_a_play_that_fails_when_nothing_plays() -> None:
    made = talking(GREET)
    assert made.decide(ev.CommandFailed("Play", K1, CALLER, 0, "")) == []


def test_a_greeting_without_an_answer_is_stopped() -> None:
    made = house()
    made.asterisk.call(GREET)
    made.deliver()
    made.work("k1")
    made.time_out("k1")
    made.hear()
    assert names(made.sent[2:]) == ["StopSound", "StartMusic"]
    made.settle()
    assert made.asterisk.channels[CALLER].sounds == []


# Agents, timers


def test_a_removed_agent_finishes_the_call() -> None:
    made = talking()
    made.decide(ev.DirectoryChanged(directory((BERT,))))
    assert made.states[ANNA] is AgentState.TALKING
    made.asterisk.end(CALLER)
    made.settle()
    assert ANNA not in made.state.acd.agents
    assert made.moved[0].due_at == made.now + 120, "the note need not wait for a wrap-up"


def test_timers_are_kept_in_the_state() -> None:
    made = ringing()
    (name,) = (name for name in made.state.timers if name.startswith("acd:"))
    generation, deadline = made.state.timers[name]
    assert (name, deadline) == ("acd:ring:anna", made.now + 20)
    effects = made.decide(AgentPaused(ANNA, "lunch"))
    assert CancelTimer(name) in effects
    assert name not in made.state.timers
    assert made.decide(TimerDue(name, generation)) == []
    assert any(isinstance(effect, SetTimer) for effect in effects)


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(AssertionError):
        decide(State(new_state().acd), object(), 0.0)  # type: ignore[arg-type]


def test_the_next_caller_is_offered_in_the_same_decision() -> None:
    made = talking(MUTE)
    made.decide(AgentPaused(BERT, "lunch"))
    second = made.asterisk.call(RING)
    made.settle()
    assert made.state.calls[K2].leg is None
    made.asterisk.end(CALLER)
    effects = made.decide(made.asterisk.events.popleft())
    kinds = [type(effect) for effect in effects]
    assert kinds.index(CallClosed) < kinds.index(do.CreateLeg)
    assert [e.new for e in effects if isinstance(e, AgentChanged)] == [
        AgentState.READY,
        AgentState.OFFERED,
    ]
    assert second in made.asterisk.channels

"""Calls from arrival to outcome, step by step, over the model of Asterisk."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.call.world import (
    AGENTS,
    CLOSED,
    GREET,
    MUTE,
    RING,
    UNKNOWN,
    House,
    directory,
)

from vsek.acd.effects import AgentChanged, CancelTimer, SetTimer
from vsek.acd.events import AgentPaused, AgentReachable, AgentReadied, TimerDue
from vsek.acd.rules import Rules
from vsek.acd.state import AgentState
from vsek.call import effects as do
from vsek.call import events as ev
from vsek.call.decide import decide, find_client
from vsek.call.desk import GUARD_ANNOUNCEMENT_S, GUARD_ENDED_S, GUARD_RINGING_S
from vsek.call.model import LegStage, State, new_state
from vsek.domain.ids import AgentId, CallId, ChannelId, ClientId
from vsek.domain.outcomes import LOOP, Outcome, Stage
from vsek.domain.records import CallClosed, CallOpened

ANNA, BERT, CARL = AGENTS
K1, K2 = CallId("k1"), CallId("k2")
CALLER = ChannelId("1700000000.1")
LEG = ChannelId("vsekcall-k1.1")
LEG2 = ChannelId("vsekcall-k1.2")


def house(*agents: AgentId, rules: Rules | None = None, wrap_up_s: float = 30.0) -> House:
    made = House(directory(rules=rules, wrap_up_s=wrap_up_s))
    for agent_id in agents:
        made.register(agent_id)
    made.settle()
    return made


def names(commands: list[do.Command]) -> list[str]:
    return [type(command).__name__ for command in commands]


def commands(effects: list[do.Effect]) -> list[do.Command]:
    return [effect for effect in effects if isinstance(effect, do.Command)]


def ringing(did: str = RING) -> House:
    """Anna's phone rings for the first call, Bert is there too."""
    made = house(ANNA, BERT)
    made.asterisk.call(did)
    made.settle()
    made.asterisk.ring(LEG)
    made.settle()
    return made


def talking(did: str = RING) -> House:
    made = ringing(did)
    made.asterisk.pick_up(LEG)
    made.settle()
    assert made.state.calls[K1].stage is Stage.TALKING
    return made


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


# Offers that come to nothing


@pytest.mark.parametrize(
    ("cause", "failure"), [(17, "refused"), (21, "refused"), (20, "unreachable"), (0, "lost")]
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
        ("CreateLeg", 0, "failed"),
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


# Clients and agents


def test_who_was_called() -> None:
    book = directory()
    assert find_client(book, ("+4911", GREET), ())[1] == GREET
    client, did = find_client(book, ("+4911",), ("+49555", "+49777"))
    assert client is not None
    assert (client.client_id, did) == ("ring", "+4911")
    assert find_client(book, (), ("+49777",)) == (client, "")
    client, did = find_client(book, (GREET,), ("+49777",))
    assert client is not None
    assert client.client_id == "greet", "a number of its own wins"
    assert find_client(book, ("+4911",), ("+49555",)) == (None, "+4911")


def test_a_block_of_numbers_is_a_clients() -> None:
    book = msgspec.structs.replace(
        directory(),
        dids={"+493012*": ClientId("ring"), "+49301": ClientId("greet")},
        forwarders={"+493415*": ClientId("mute")},
    )
    for dids, forwarded_by, expected in (
        (("+49301234",), (), ("ring", "+49301234")),
        (("+493012",), (), ("ring", "+493012")),
        (("+49301",), (), ("greet", "+49301")),
        (("+493013",), (), (None, "+493013")),
        (("+4911",), ("+49341", "+4934155"), ("mute", "+4911")),
    ):
        client, did = find_client(book, dids, forwarded_by)
        assert (client and client.client_id, did) == expected


@pytest.mark.parametrize(
    ("more", "word"), [({"loop": "number_twice"}, "number_twice"), ({"our_call": "k1"}, "our_call")]
)
def test_a_call_that_goes_round_rings_nobody(more: dict[str, str], word: str) -> None:
    made = house(ANNA, BERT)
    made.asterisk.call(RING)
    made.settle()
    before = len(made.closed)
    second = made.asterisk.call(GREET, **more)
    made.deliver()
    assert made.states[BERT] is AgentState.READY
    call = made.state.calls[K2]
    assert call.script is None, "a note on it is for operations"
    closed = made.closed[K2]
    assert (closed.outcome, closed.stage, closed.reason) == (Outcome.FAILED, Stage.ARRIVING, LOOP)
    assert len(made.closed) == before + 1
    made.settle()
    assert second not in made.asterisk.channels
    assert K2 not in made.state.calls
    assert word


def test_a_call_of_another_house_is_no_loop() -> None:
    made = house(ANNA)
    made.asterisk.call(RING, our_call="261122-062201-abcdef")
    made.settle()
    assert made.states[ANNA] is AgentState.OFFERED


def test_what_is_recorded_of_an_arrival() -> None:
    made = house()
    event = ev.CallArrived(K1, CALLER, ("+4911",), "+49301", "Eva", False, ("+49777",), "no-answer")
    effects = made.decide(event)
    opened = effects[0]
    assert isinstance(opened, CallOpened)
    assert (opened.client_id, opened.did, opened.policy) == ("ring", "+4911", "ring")
    assert (opened.forwarded_by, opened.forward_reason) == (("+49777",), "no-answer")
    assert (opened.caller_number, opened.caller_name) == ("+49301", "Eva")


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

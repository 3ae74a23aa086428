"""Screening and fallback where a connection was lost, or a reply came too late."""

from __future__ import annotations

import pytest
from tests.unit.call.book import KEYS, RING, SCREEN, UNKNOWN
from tests.unit.call.house import House
from tests.unit.call.steps import ANNA, CALLER, K1, LEG, house, names, talking

from vsek.call import effects as do
from vsek.call import events as ev
from vsek.call.fallback import TOLD_LIMIT
from vsek.call.model import Asking
from vsek.domain.ids import AgentId, ChannelId
from vsek.domain.ledger import Served
from vsek.domain.outcomes import Finding, Outcome, Stage


def before_the_tone(*agents: AgentId) -> House:
    """The caller has heard greeting, prompt and notice."""
    made = house(*agents)
    made.asterisk.call(SCREEN)
    made.settle()
    for _ in range(3):
        made.asterisk.sound_ends(CALLER)
        made.settle()
    return made


def asked(*agents: AgentId) -> House:
    """The caller has heard greeting, prompt, notice and tone, and is recorded."""
    made = before_the_tone(*agents)
    made.asterisk.sound_ends(CALLER)
    made.settle()
    assert made.asterisk.channels[CALLER].recording
    return made


def ringing() -> House:
    """What the caller said was examined, Anna's phone rings."""
    made = asked(ANNA)
    made.asterisk.sound_ends(CALLER)
    made.settle()
    made.examined(Finding.SPEECH, 3.0)
    made.settle()
    made.asterisk.ring(LEG)
    made.settle()
    return made


def back(made: House) -> list[str]:
    """The connection is there again; what was sent then."""
    made.reconnect()
    sent = len(made.sent)
    made.recovered()
    commands = names(made.sent[sent:])
    made.settle()
    return commands


def back_after_a_loss(made: House) -> list[str]:
    made.disconnect()
    return back(made)


def test_a_recording_that_was_given_up_while_nobody_was_connected_is_stopped() -> None:
    made = asked()
    made.disconnect()
    made.timer()  # the guard of the recording
    assert back(made)[-1] == "StopRecording"
    assert made.state.calls[K1].stage is Stage.SCREENING
    made.examined(Finding.SPEECH, 1.0)
    made.settle()
    assert made.state.calls[K1].stage is Stage.WAITING


def test_a_prompt_that_was_given_up_while_nobody_was_connected_is_stopped() -> None:
    made = house()
    made.asterisk.call(SCREEN)
    made.settle()
    made.asterisk.sound_ends(CALLER)
    made.settle()
    made.disconnect()
    made.timer()  # the guard of the prompt
    assert back(made)[0] == "StopSound"
    screened = made.state.calls[K1].screened
    assert screened is not None
    assert screened.asking is Asking.NOTICE


def test_who_may_not_have_heard_the_prompt_is_asked_again_before_being_recorded() -> None:
    made = house()
    made.asterisk.call(SCREEN)
    made.settle()
    made.asterisk.sound_ends(CALLER)
    made.deliver()
    made.disconnect()
    assert "Play" in back(made)
    assert made.asterisk.channels[CALLER].sounds == ["vsekcall-k1-s3"]
    assert not made.asterisk.channels[CALLER].recording


def test_a_recording_without_a_reply_is_not_left_running() -> None:
    made = before_the_tone()
    made.asterisk.sound_ends(CALLER)
    made.deliver()
    made.time_out(K1)
    made.settle()
    assert not made.asterisk.channels[CALLER].recording
    assert names(made.sent[-2:]) == ["Record", "StopRecording"]


def test_a_recording_that_was_refused_needs_no_stop() -> None:
    made = before_the_tone()
    made.asterisk.sound_ends(CALLER)
    made.deliver()
    made.fail(K1, 500)
    made.settle()
    assert names(made.sent[-1:]) == ["Record"]
    assert len(made.examining) == 1


def test_an_agent_who_picked_up_in_the_gap_is_briefed_before_the_talk() -> None:
    made = ringing()
    made.disconnect()
    made.asterisk.pick_up(LEG)
    assert "Join" not in back(made)
    assert made.asterisk.channels[LEG].sounds == [made.state.calls[K1].briefing_id]
    made.asterisk.sound_ends(LEG)
    made.settle()
    assert made.state.calls[K1].stage is Stage.TALKING


@pytest.mark.parametrize("lost", ["the music", "the answer too"])
def test_who_waits_for_the_end_of_a_briefing_hears_the_music_that_was_lost(lost: str) -> None:
    made = asked(ANNA)
    made.asterisk.sound_ends(CALLER)
    made.settle()
    made.examined(Finding.SPEECH, 3.0)
    if lost == "the answer too":
        made.asterisk.channels[CALLER].state = "Ring"
    while LEG in made.lanes:
        made.work(LEG)
        while made.asterisk.events:
            made.deliver()
    assert names(list(made.lanes[K1]))[0] == "StartMusic"
    made.asterisk.pick_up(LEG)
    assert "StartMusic" in back_after_a_loss(made)
    assert made.state.calls[K1].stage is Stage.BRIEFING
    caller = made.asterisk.channels[CALLER]
    assert (caller.state, caller.music) == ("Up", "client-screen")


def test_a_briefing_that_was_given_up_in_the_gap_does_not_hold_up_the_talk() -> None:
    made = ringing()
    made.asterisk.pick_up(LEG)
    made.settle()
    made.disconnect()
    made.timer()  # the guard of the briefing
    assert made.state.calls[K1].stage is Stage.CONNECTING
    sent = back(made)
    assert sent.index("StopBriefing") < sent.index("Join")
    assert made.state.calls[K1].stage is Stage.TALKING


def test_the_ledgers_late_word_is_about_the_call_that_was_found_gone() -> None:
    made = house()
    made.asterisk.call(RING)
    made.settle()
    made.disconnect()
    made.asterisk.divert(CALLER)
    made.asterisk.leave_message(CALLER)
    made.asterisk.end(CALLER)
    back(made)
    assert made.closed[K1].outcome is Outcome.ABANDONED
    assert made.state.calls == {}
    (line,) = made.asterisk.ledger
    made.decide(line)
    assert list(made.opened) == [K1]
    assert made.made[0].call_id == K1


def test_an_arrival_that_comes_later_than_its_end_is_known() -> None:
    made = house()
    channel_id = made.asterisk.call(RING)
    made.asterisk.end(channel_id)
    (line,) = made.asterisk.ledger
    assert line.served is Served.VSEK
    made.decide(line)
    made.settle()
    assert len(made.opened) == len(made.closed) == 1
    assert not any(isinstance(command, do.Ring) for command in made.sent)


def test_an_agent_is_joined_where_the_briefing_gets_no_reply() -> None:
    made = ringing()
    made.asterisk.pick_up(LEG)
    made.deliver()
    made.time_out(LEG)
    made.hear()
    made.settle()
    assert made.state.calls[K1].stage is Stage.TALKING
    assert "StopBriefing" in names(made.sent)


def test_a_key_of_the_agent_ends_the_briefing() -> None:
    made = ringing()
    made.asterisk.pick_up(LEG)
    made.settle()
    assert made.state.calls[K1].stage is Stage.BRIEFING
    made.asterisk.press(LEG, "5")
    made.settle()
    assert made.state.calls[K1].stage is Stage.TALKING


def test_late_news_of_the_screening_is_dropped() -> None:
    made = asked()
    refused = ev.CommandFailed("Play", K1, CALLER, 500, "too late")
    other = ev.Examined("vsek/k1-9", K1, Finding.SPEECH, 2.0)
    assert made.decide(refused) == made.decide(other) == []
    made.asterisk.sound_ends(CALLER)
    made.settle()
    assert made.decide(other) == []


def test_a_stranger_who_is_diverted_is_none_of_our_calls() -> None:
    assert house().decide(ev.CallerDiverted(ChannelId("1700000000.9"))) == []


def test_who_talked_and_was_then_diverted_was_answered() -> None:
    made = talking()
    made.disconnect()
    made.asterisk.end(LEG)
    made.asterisk.execute(do.DestroyBridge(K1, CALLER, "vsekcall-k1"))
    made.asterisk.divert(CALLER)
    back(made)
    assert made.state.calls[K1].stage is Stage.FALLBACK
    made.asterisk.leave_message(CALLER)
    made.asterisk.end(CALLER)
    made.decide(made.asterisk.ledger[0])
    closed = made.closed[K1]
    assert (closed.outcome, closed.reason, closed.agent_id) == (
        Outcome.ANSWERED,
        "agent_hangup",
        ANNA,
    )
    assert made.made[0].kind == "voicemail"


@pytest.mark.parametrize(
    ("did", "heard", "message", "expected"),
    [
        (RING, True, True, (Outcome.VOICEMAIL, "fallback")),
        (RING, True, False, (Outcome.FAILED, "fallback")),
        (RING, False, False, (Outcome.ABANDONED, "caller_hangup")),
        (UNKNOWN, True, True, (Outcome.UNKNOWN_NUMBER, "unknown_number")),
    ],
)
def test_what_becomes_of_callers_whom_only_the_dialplan_served(
    did: str, heard: bool, message: bool, expected: tuple[Outcome, str]
) -> None:
    made = house()
    made.disconnect()
    channel_id = made.asterisk.call(did)
    channel = made.asterisk.channels[channel_id]
    channel.fallback = True
    if message:
        made.asterisk.leave_message(channel_id)
    channel.heard = heard
    made.asterisk.end(channel_id)
    back(made)
    (line,) = made.asterisk.ledger
    made.decide(line)
    (closed,) = made.closed.values()
    assert (closed.outcome, closed.reason) == expected
    assert names(made.decide(line)) == (["RecordingMade"] if message else [])  # type: ignore[arg-type]
    assert len(made.closed) == 1


def test_what_is_remembered_of_the_ledger_has_a_limit() -> None:
    made = house()
    made.state.told = {ChannelId(f"x.{n}"): K1 for n in range(TOLD_LIMIT)}
    made.asterisk.end(made.asterisk.call(RING))
    made.settle()
    assert len(made.state.told) == TOLD_LIMIT
    assert CALLER in made.state.told


def test_who_says_nothing_twice_goes_to_an_agent() -> None:
    made = asked(ANNA)
    for _ in range(2):
        made.asterisk.sound_ends(CALLER)
        made.settle()
        made.examined(Finding.SILENCE)
        made.settle()
        while made.asterisk.channels[CALLER].sounds:
            made.asterisk.sound_ends(CALLER)
            made.settle()
    assert made.state.calls[K1].stage is Stage.WAITING
    assert made.asterisk.stored == set()
    assert made.asterisk.channels[LEG].dialled


def test_who_was_not_even_answered_is_answered_and_asked() -> None:
    made = house()
    made.asterisk.call(KEYS)
    made.deliver()
    made.disconnect()
    assert made.asterisk.channels[CALLER].state == "Ring"
    assert back(made)[-2:] == ["Answer", "Play"]
    assert made.asterisk.channels[CALLER].sounds == ["vsekcall-k1-s1"]

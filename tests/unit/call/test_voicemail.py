"""Callers who leave a message."""

from __future__ import annotations

import pytest
from tests.unit.call.book import SCREEN
from tests.unit.call.steps import CALLER, K1, names
from tests.unit.call.treated import (
    NUMBER,
    book,
    call_of,
    ended,
    goes_missing,
    guard,
    hear_out,
    lost,
    press,
    recording,
    recovered,
    sound,
    until,
    waiting,
)

from vsek.acd.rules import Action, Treatment
from vsek.call import events as ev
from vsek.call.treating import MESSAGE_S
from vsek.domain.outcomes import MESSAGE, Finding, Outcome, Stage


@pytest.mark.parametrize("how", ["silence", "key", "guard", "hang-up"])
def test_a_message_is_recorded_and_goes_to_the_client(how: str) -> None:
    made = recording()
    assert made.state.timers[f"guard:{K1}"][1] > made.now + MESSAGE_S
    match how:
        case "silence":
            made.asterisk.sound_ends(CALLER)
        case "key":
            press(made, "5")
        case "guard":
            made.timer()
        case _:
            made.asterisk.end(CALLER)
    made.settle()
    if how != "hang-up":
        assert sound(made) == "sound:/voicemail_thanks"
        made.asterisk.sound_ends(CALLER)
        made.settle()
        assert ended(made) == (Outcome.VOICEMAIL, Stage.ANNOUNCEMENT, MESSAGE)
    else:
        assert ended(made) == (Outcome.VOICEMAIL, Stage.VOICEMAIL, "caller_hangup")
    assert [(m.kind, m.name, m.consent) for m in made.made] == [("voicemail", "vsek/k1-1", True)]


def test_who_hangs_up_before_the_tone_has_left_no_message() -> None:
    known = book(Treatment(Action.VOICEMAIL, after_s=3.0))
    made = until(waiting(known=known), Stage.VOICEMAIL)
    press(made, "1")
    made.asterisk.end(CALLER)
    made.settle()
    assert ended(made)[:2] == (Outcome.ABANDONED, Stage.VOICEMAIL)
    assert made.made == []


def test_the_message_of_a_caller_who_was_screened_has_a_name_of_its_own() -> None:
    known = book(Treatment(Action.VOICEMAIL, after_s=3.0), client="screen")
    made = waiting(SCREEN, NUMBER, known=known)
    for _ in range(4):
        hear_out(made)
    made.examined(Finding.SPEECH, 2.0)
    made.settle()
    until(made, Stage.VOICEMAIL)
    hear_out(made)
    hear_out(made)
    made.asterisk.end(CALLER)
    made.settle()
    kept = {m.kind: m.name for m in made.made}
    assert kept == {"voicemail": "vsek/k1-2", "screening": "vsek/k1-1"}


@pytest.mark.parametrize("how", ["refused", "not played"])
def test_nobody_is_recorded_who_was_not_told_of_it(how: str) -> None:
    known = book(Treatment(Action.VOICEMAIL, after_s=3.0))
    made = waiting(known=known)
    made.timer()
    if how == "refused":
        made.fail(K1, 500)
    else:
        made.settle()
        goes_missing(made)
    made.settle()
    assert call_of(made).stage is Stage.WAITING
    assert "Record" not in names(made.sent)


def test_a_recording_that_asterisk_refuses_ends_with_thanks_and_a_note() -> None:
    known = book(Treatment(Action.VOICEMAIL, after_s=3.0))
    made = until(waiting(known=known), Stage.VOICEMAIL)
    hear_out(made)
    made.asterisk.sound_ends(CALLER)
    made.deliver()
    made.fail(K1, 500)
    made.settle()
    assert call_of(made).stage is Stage.ANNOUNCEMENT
    made.decide(ev.RecordingDone("vsek/k1-1", K1))
    assert call_of(made).stage is Stage.ANNOUNCEMENT


def test_the_end_of_another_recording_is_not_that_of_the_message() -> None:
    made = recording()
    assert made.decide(ev.RecordingDone("vsek/k1-9", K1)) == []


def test_the_fallback_takes_over_a_message() -> None:
    made = recording()
    lost(made).divert(CALLER)
    recovered(made)
    guard(made)
    assert ended(made) == (Outcome.VOICEMAIL, Stage.FALLBACK, "caller_hangup")
    assert [m.name for m in made.made] == ["vsek/k1-1"]

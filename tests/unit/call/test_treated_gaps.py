"""Treatments after a crash or a lost connection."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.call.book import BUSY_LINE, OUTSIDE, TREAT_RING
from tests.unit.call.steps import CALLER, names
from tests.unit.call.treated import (
    FORWARD,
    asked_for_a_number,
    book,
    call_of,
    ended,
    forwarded,
    forwarding,
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
from vsek.domain.ids import ChannelId
from vsek.domain.ledger import Served
from vsek.domain.outcomes import Outcome, Stage


def test_an_announcement_that_was_not_begun_is_begun() -> None:
    made = waiting(TREAT_RING, known=book(
        Treatment(Action.ANNOUNCE, "sound:/soon", after_s=5.0), client="treat-ring"
    ))  # fmt: skip
    made.timer()
    lost(made)
    recovered(made)
    assert names(made.sent)[:2] == ["Answer", "Play"]
    assert sound(made) == "sound:/soon"


def test_an_announcement_that_ended_meanwhile() -> None:
    made = until(waiting(), Stage.NOTICE)
    lost(made).sound_ends(CALLER)
    recovered(made)
    assert call_of(made).stage is Stage.WAITING
    assert made.asterisk.channels[CALLER].music


def test_a_number_is_keyed_in_after_a_crash_too() -> None:
    made = asked_for_a_number()
    press(made, "03012")
    lost(made)
    recovered(made)
    press(made, "34#")
    assert sound(made).startswith("sound:/callback_check")


def test_a_message_is_asked_for_again_unless_it_is_being_recorded() -> None:
    known = book(Treatment(Action.VOICEMAIL, after_s=3.0))
    made = until(waiting(known=known), Stage.VOICEMAIL)
    lost(made)
    recovered(made)
    assert "Play" not in names(made.sent)
    lost(made).sound_ends(CALLER)
    recovered(made)
    assert sound(made) == "sound:/voicemail"
    hear_out(made)
    hear_out(made)
    lost(made)
    recovered(made)
    assert made.asterisk.channels[CALLER].recording
    lost(made).sound_ends(CALLER)
    recovered(made)
    assert sound(made) == "sound:/voicemail_thanks"


def test_a_message_whose_prompt_was_never_begun() -> None:
    made = waiting(TREAT_RING, known=book(
        Treatment(Action.VOICEMAIL, after_s=5.0), client="treat-ring"
    ))  # fmt: skip
    made.timer()
    lost(made)
    recovered(made)
    assert sound(made) == "sound:/voicemail"


def test_a_recording_that_was_given_up_while_nobody_was_connected_is_stopped() -> None:
    made = recording()
    made.disconnect()
    made.timer()
    recovered(made)
    assert "StopRecording" in names(made.sent)
    assert ended(made)[0] is Outcome.VOICEMAIL


@pytest.mark.parametrize(
    "meanwhile", ["nothing", "ringing", "answered", "refused", "joined", "over", "gone"]
)
def test_a_number_that_rings_when_the_connection_is_lost(meanwhile: str) -> None:
    made = forwarded() if meanwhile in ("joined", "over", "gone") else forwarding()
    world = lost(made)
    match meanwhile:
        case "answered":
            world.pick_up(FORWARD)
        case "refused":
            world.end(FORWARD, 17)
        case "over":
            world.end(FORWARD)
        case "gone":
            world.end(CALLER)
            world.end(FORWARD)
        case _:
            pass
    recovered(made)
    match meanwhile:
        case "nothing" | "ringing":
            assert call_of(made).stage is Stage.FORWARDING
        case "answered" | "joined":
            assert call_of(made).stage is Stage.FORWARDED
        case "refused":
            assert call_of(made).stage is Stage.WAITING
        case _:
            assert ended(made)[0] is Outcome.FORWARDED


def test_a_number_that_was_made_and_not_dialled_is_dialled() -> None:
    made = waiting(known=book(Treatment(Action.FORWARD, OUTSIDE, after_s=5.0)))
    made.timer()
    made.work(FORWARD)
    made.deliver()
    lost(made)
    recovered(made)
    assert made.asterisk.channels[FORWARD].dialled


def test_a_number_that_was_never_made_is_not_rung() -> None:
    made = waiting(known=book(Treatment(Action.FORWARD, OUTSIDE, after_s=5.0)))
    made.timer()
    lost(made)
    recovered(made)
    assert call_of(made).stage is Stage.WAITING


def test_the_joining_is_done_again() -> None:
    made = forwarding()
    made.asterisk.pick_up(FORWARD)
    made.deliver()
    lost(made)
    recovered(made)
    assert names(made.sent)[-2:] == ["StopMusic", "Join"]
    assert call_of(made).stage is Stage.FORWARDED


def test_who_was_being_joined_and_is_found_gone_has_talked() -> None:
    made = forwarding()
    made.asterisk.pick_up(FORWARD)
    made.deliver()
    lost(made)
    made.asterisk.end(CALLER)
    recovered(made)
    assert ended(made)[0] is Outcome.FORWARDED
    assert not made.asterisk.channels


def test_a_number_that_was_given_up_and_not_hung_up_is_hung_up() -> None:
    made = forwarding()
    made.disconnect()
    made.timer()
    recovered(made)
    assert FORWARD not in made.asterisk.channels


def test_a_number_that_was_given_up_and_is_gone() -> None:
    made = forwarding()
    made.timer()
    lost(made, keep=1)
    recovered(made)
    assert call_of(made).forwards == {}


def test_a_treatment_that_begins_in_the_very_recovery_is_not_taken_for_lost() -> None:
    known = book(
        Treatment(Action.FORWARD, BUSY_LINE, after_s=5.0),
        Treatment(Action.FORWARD, OUTSIDE, after_s=5.0),
    )
    made = waiting(known=known)
    made.timer()
    lost(made)
    recovered(made)
    assert call_of(made).forward_id == ChannelId("vsekcall-k1-f2")
    assert made.asterisk.channels[ChannelId("vsekcall-k1-f2")].dialled


def test_the_ledger_tells_of_a_call_that_was_promised_a_call_back() -> None:
    made = until(waiting(), Stage.CALLBACK)
    press(made, "1")
    lost(made)
    made.asterisk.end(CALLER)
    line = made.asterisk.ledger[-1]
    made.decide(msgspec.structs.replace(line, served=Served.FALLBACK, message="vsek/fallback-1"))
    assert ended(made)[0] is Outcome.CALLBACK
    assert [m.name for m in made.made] == ["vsek/fallback-1"]
    made.reconnect()
    made.recovered()

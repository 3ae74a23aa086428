"""Callers who are offered to be called back."""

from __future__ import annotations

import pytest
from tests.unit.call.book import SOUNDS, TREAT
from tests.unit.call.steps import ANNA, CALLER, K1, LEG
from tests.unit.call.treated import (
    FORWARD,
    NUMBER,
    asked_for_a_number,
    book,
    call_of,
    ended,
    goes_missing,
    guard,
    hear_out,
    lost,
    press,
    recovered,
    sound,
    step_of,
    until,
    untreated,
    waiting,
)

from vsek.acd.rules import Action, Treatment
from vsek.acd.state import AgentState
from vsek.call import events as ev
from vsek.call.model import CallingBack
from vsek.call.treating import ATTEMPTS, MOST_DIGITS
from vsek.domain.outcomes import PROMISED, Outcome, Stage


def test_key_1_promises_to_call_the_number_that_the_caller_shows() -> None:
    made = until(waiting(), Stage.CALLBACK)
    assert sound(made) == "sound:/callback"
    assert K1 in made.state.acd.calls
    effects = made.decide(ev.KeyPressed(CALLER, "1"))
    assert step_of(effects, "callback_promised") == {"number": NUMBER}
    made.settle()
    assert K1 not in made.state.acd.calls
    assert sound(made) == "sound:/callback_thanks"
    hear_out(made)
    assert ended(made) == (Outcome.CALLBACK, Stage.ANNOUNCEMENT, PROMISED)
    assert CALLER not in made.asterisk.channels
    assert not made.state.acd.recent, "who was served has no claim to the old place"


def test_who_hangs_up_during_the_thanks_was_promised_it_all_the_same() -> None:
    made = until(waiting(), Stage.CALLBACK)
    press(made, "1")
    made.asterisk.end(CALLER)
    made.settle()
    assert ended(made)[0] is Outcome.CALLBACK


def test_the_offer_stands_while_the_caller_waits() -> None:
    made = until(waiting(), Stage.CALLBACK)
    hear_out(made)
    assert made.asterisk.channels[CALLER].music
    press(made, "27")
    assert call_of(made).stage is Stage.WAITING
    until(made, Stage.NOTICE)
    press(made, "1")
    assert call_of(made).outcome_if_left is Outcome.CALLBACK


def test_a_key_without_an_offer_means_nothing() -> None:
    made = waiting()
    press(made, "1")
    assert call_of(made).stage is Stage.WAITING


def test_the_promise_takes_the_call_from_an_agent_who_is_being_rung() -> None:
    made = until(waiting(), Stage.CALLBACK)
    made.register(ANNA)
    made.settle()
    press(made, "1")
    assert made.states[ANNA] is AgentState.READY
    assert LEG not in made.asterisk.channels


def test_the_promise_ends_the_ringing_of_the_clients_number() -> None:
    made = until(waiting(), Stage.FORWARDING)
    press(made, "1")
    assert call_of(made).stage is Stage.ANNOUNCEMENT
    assert FORWARD not in made.asterisk.channels


@pytest.mark.parametrize("number", ["", "12", "alice"])
def test_who_shows_no_number_that_can_be_called_keys_it_in_and_confirms_it(number: str) -> None:
    made = until(waiting(TREAT, number), Stage.CALLBACK)
    assert sound(made) == "sound:/callback_hidden"
    press(made, "1")
    assert sound(made) == "sound:/callback_number"
    press(made, "0")
    assert sound(made) == "", "the first digit ends the question"
    press(made, "99A*030 1234#".replace(" ", ""))
    check = [part.removeprefix("sound:/") for part in sound(made).split(",")]
    digits = [f"digit_{digit}" for digit in "0301234"]
    assert check == ["callback_check", *digits, "callback_confirm"]
    press(made, "7")
    hear_out(made)
    press(made, "1")
    assert made.kinds[K1][-2:] == ["callback_number", "callback_promised"]
    hear_out(made)
    assert ended(made)[0] is Outcome.CALLBACK


def test_a_number_that_is_wrong_is_keyed_in_anew() -> None:
    made = asked_for_a_number()
    press(made, "0301234#*")
    assert sound(made) == "sound:/callback_number"
    callback = call_of(made).callback
    assert callback is not None
    assert (callback.digits, callback.asking) == ("", CallingBack.NUMBER)


def test_a_number_that_is_too_short_is_asked_for_again_and_then_no_more() -> None:
    made = asked_for_a_number()
    for _ in range(ATTEMPTS - 1):
        press(made, "12#")
        assert sound(made) == "sound:/callback_number"
    press(made, "12#")
    assert call_of(made).stage is Stage.WAITING
    assert made.asterisk.channels[CALLER].music
    press(made, "1")
    assert sound(made) == "sound:/callback_number", "who wants to may try again"


def test_a_number_has_an_end() -> None:
    made = asked_for_a_number()
    press(made, "5" * (MOST_DIGITS + 5))
    callback = call_of(made).callback
    assert callback is not None
    assert callback.digits == "5" * MOST_DIGITS


def test_without_keys_the_number_is_read_back_and_then_given_up() -> None:
    made = asked_for_a_number()
    press(made, "0301234")
    heard = []
    while call_of(made).stage is Stage.CALLBACK:
        guard(made)
        heard.append(sound(made).partition(",")[0])
    assert heard == ["sound:/callback_check", "sound:/callback_check", ""]
    assert made.asterisk.channels[CALLER].music


def test_who_keys_in_nothing_waits_on() -> None:
    made = asked_for_a_number()
    hear_out(made)
    made.timer()
    made.settle()
    assert call_of(made).stage is Stage.WAITING


def test_a_number_cannot_be_asked_for_without_words() -> None:
    sounds = {name: media for name, media in SOUNDS.items() if name != "callback_number.de"}
    made = until(waiting(TREAT, "", known=book(
        Treatment(Action.CALLBACK), announcements={**sounds, "tone": "sound:/tone"}
    )), Stage.CALLBACK)  # fmt: skip
    press(made, "1")
    assert call_of(made).stage is Stage.WAITING


def test_an_agent_who_picks_up_while_a_number_is_keyed_in() -> None:
    made = asked_for_a_number()
    press(made, "030")
    made.register(ANNA)
    made.settle()
    made.asterisk.pick_up(LEG)
    made.settle()
    assert call_of(made).stage is Stage.TALKING
    assert f"guard:{K1}" not in made.state.timers


def test_a_call_is_offered_a_call_back_once() -> None:
    made = until(waiting(), Stage.CALLBACK)
    hear_out(made)
    assert untreated(made, Action.CALLBACK) == "was offered before"


def test_the_fallback_does_not_undo_a_promise() -> None:
    made = until(waiting(), Stage.CALLBACK)
    press(made, "1")
    lost(made).divert(CALLER)
    recovered(made)
    made.asterisk.end(CALLER)
    made.settle()
    made.decide(made.asterisk.ledger[-1])
    assert ended(made) == (Outcome.CALLBACK, Stage.FALLBACK, PROMISED)


@pytest.mark.parametrize("asking", CallingBack)
def test_a_question_that_cannot_be_played_leaves_nobody_in_silence(asking: CallingBack) -> None:
    if asking is CallingBack.OFFERED:
        made = until(waiting(), Stage.CALLBACK)
    else:
        made = asked_for_a_number()
        if asking is CallingBack.CONFIRM:
            press(made, "030123456#")
    callback = call_of(made).callback
    assert callback is not None
    assert callback.asking is asking
    goes_missing(made)
    assert call_of(made).stage is Stage.WAITING
    assert made.asterisk.channels[CALLER].music == "client-treat"
    assert "untreated" in made.kinds[K1]


def test_an_offer_that_was_not_heard_is_not_taken_by_a_key() -> None:
    made = until(waiting(), Stage.CALLBACK)
    goes_missing(made)
    press(made, "1")
    assert K1 not in made.closed
    assert call_of(made).stage is Stage.WAITING

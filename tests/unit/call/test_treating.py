"""Callers whom nobody can serve in time: what is done, in which order, and announcements."""

from __future__ import annotations

import pytest
from tests.unit.call.book import SCREEN, TREAT, TREAT_NOW, TREAT_RING
from tests.unit.call.house import House
from tests.unit.call.steps import ANNA, BERT, CALLER, K1, LEG, house, names
from tests.unit.call.treated import (
    NUMBER,
    book,
    call_of,
    ended,
    goes_missing,
    hear_out,
    sound,
    until,
    untreated,
    waiting,
)

from vsek.acd.rules import Action, Treatment
from vsek.acd.state import AgentState
from vsek.call import effects as do
from vsek.call import events as ev
from vsek.domain.outcomes import Finding, Outcome, Stage


def test_an_announcement_is_heard_once_and_then_the_music_again() -> None:
    made = until(waiting(), Stage.NOTICE)
    assert sound(made) == "sound:/soon"
    assert made.state.acd.calls[K1].agent_id is None, "keeps the place"
    assert made.asterisk.channels[CALLER].music == ""
    hear_out(made)
    assert call_of(made).stage is Stage.WAITING
    assert made.asterisk.channels[CALLER].music == "client-treat"


def test_who_hears_it_ring_is_answered_for_an_announcement_and_hears_music_from_then_on() -> None:
    made = until(waiting(TREAT_RING), Stage.NOTICE)
    assert made.asterisk.channels[CALLER].state == "Up"
    assert f"guard:{K1}" not in made.state.timers
    hear_out(made)
    assert made.asterisk.channels[CALLER].music == "client-treat-ring"


def test_an_agent_who_picks_up_cuts_an_announcement_short() -> None:
    made = until(waiting(), Stage.NOTICE)
    made.register(ANNA)
    made.settle()
    made.sent.clear()
    made.asterisk.pick_up(LEG)
    made.settle()
    assert call_of(made).stage is Stage.TALKING
    assert names(made.sent) == ["StopSound", "Join"]


def test_who_was_screened_hears_music_while_the_agent_listens() -> None:
    known = book(Treatment(Action.ANNOUNCE, "sound:/soon", after_s=5.0), client="screen")
    made = waiting(SCREEN, NUMBER, known=known)
    for _ in range(4):
        hear_out(made)
    made.examined(Finding.SPEECH, 2.0)
    made.settle()
    until(made, Stage.NOTICE)
    made.register(ANNA)
    made.settle()
    made.asterisk.pick_up(LEG)
    made.settle()
    assert call_of(made).stage is Stage.BRIEFING
    assert made.asterisk.channels[CALLER].music == "client-screen"


def test_what_is_wanted_during_the_greeting_comes_after_it_one_by_one() -> None:
    known = book(
        Treatment(Action.ANNOUNCE, "sound:/one"),
        Treatment(Action.ANNOUNCE, "sound:/two"),
        Treatment(Action.ANNOUNCE, "sound:/two", nobody=True),
    )
    made = House(known)
    made.asterisk.call(TREAT)
    made.settle()
    heard = []
    while call_of(made).sound_id:
        heard.append(sound(made))
        made.asterisk.sound_ends(CALLER)
        made.settle()
    assert heard == ["sound:/greeting", "sound:/one", "sound:/two"]
    assert call_of(made).stage is Stage.WAITING


@pytest.mark.parametrize("how", ["refused", "not dialled", "not answered"])
def test_nothing_new_begins_while_an_agent_is_rung(how: str) -> None:
    known = book(Treatment(Action.ANNOUNCE, "sound:/one"), Treatment(Action.ANNOUNCE, "sound:/two"))
    made = waiting(known=known)
    assert sound(made) == "sound:/one"
    made.register(ANNA)
    made.deliver()
    if how == "not dialled":
        made.fail(LEG, 400)
        made.asterisk.sound_ends(CALLER)
        made.deliver()
        assert call_of(made).stage is Stage.WAITING, "her phone is thought to ring"
        made.settle()
    else:
        made.settle()
        made.asterisk.sound_ends(CALLER)
        made.settle()
        assert call_of(made).stage is Stage.WAITING
        if how == "refused":
            made.asterisk.end(LEG, 17)
        else:
            made.timer()
        made.settle()
    assert sound(made) == "sound:/two"


def test_a_caller_who_hangs_up_while_rung_leaves_what_was_wanted_undone() -> None:
    known = book(Treatment(Action.ANNOUNCE, "sound:/one"), Treatment(Action.ANNOUNCE, "sound:/two"))
    made = waiting(known=known)
    made.register(ANNA)
    made.settle()
    hear_out(made)
    made.asterisk.end(CALLER)
    made.settle()
    assert ended(made)[:2] == (Outcome.ABANDONED, Stage.WAITING)
    assert made.states[ANNA] is AgentState.READY


def test_what_cannot_be_done_is_told_and_the_caller_waits_on() -> None:
    made = waiting(known=book(announcements={}))
    assert untreated(made, Action.ANNOUNCE) == "there is no announcement"
    assert untreated(made, Action.CALLBACK) == "there is no announcement"
    assert untreated(made, Action.VOICEMAIL) == "there is no announcement"
    assert untreated(made, Action.REGROUP, "backup") == "the distribution does this"


@pytest.mark.parametrize("how", ["refused", "too late", "not played"])
def test_an_announcement_that_cannot_be_played_is_over(how: str) -> None:
    known = book(Treatment(Action.ANNOUNCE, "sound:/soon", after_s=5.0))
    made = waiting(known=known)
    made.timer()
    if how == "refused":
        made.fail(K1, 500)
    elif how == "too late":
        made.time_out(K1)
    else:
        made.settle()
        goes_missing(made)
    made.settle()
    assert call_of(made).stage is Stage.WAITING
    assert made.asterisk.channels[CALLER].music == "client-treat"
    assert made.kinds[K1][-2:] == ["untreated", "music"]


def test_the_failure_of_an_earlier_sound_is_not_that_of_this_one() -> None:
    made = until(waiting(), Stage.NOTICE)
    effects = made.decide(ev.CommandFailed("Play", K1, CALLER, 0, "too late", "vsekcall-k1-s1"))
    assert effects == [do.StopSound(K1, CALLER, "vsekcall-k1-s1")]
    assert call_of(made).stage is Stage.NOTICE


def test_another_group_may_serve_the_call_and_the_caller_hears_nothing_of_it() -> None:
    made = waiting(known=book(Treatment(Action.REGROUP, "backup", after_s=5.0)))
    made.timer()
    made.settle()
    assert made.kinds[K1][-1] == "regrouped"
    assert made.state.acd.calls[K1].group == "backup"
    assert made.asterisk.channels[CALLER].music


def test_who_is_served_at_once_is_not_treated() -> None:
    made = house(ANNA, BERT)
    made.asterisk.call(TREAT_NOW)
    made.settle()
    hear_out(made)
    assert made.kinds[K1] == ["arrived", "greeting", "offered", "music"]

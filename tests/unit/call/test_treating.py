"""Callers whom nobody can serve in time: announcements, callbacks, messages, forwarding."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.call.test_decide import ANNA, BERT, CALLER, K1, K2, LEG, commands, house, names
from tests.unit.call.world import (
    BUSY_LINE,
    GREET,
    OUTSIDE,
    RING,
    SCREEN,
    SOUNDS,
    TREAT,
    TREAT_NOW,
    TREAT_RING,
    Asterisk,
    House,
    directory,
)

from vsek.acd.events import TimerDue
from vsek.acd.rules import Action, ClientRules, Rules, Treatment
from vsek.acd.state import AgentState
from vsek.call import effects as do
from vsek.call import events as ev
from vsek.call.model import Call, CallingBack, Directory, Outbound
from vsek.call.treating import ATTEMPTS, MESSAGE_S, MOST_DIGITS, treat
from vsek.domain.ids import AgentId, ChannelId, ClientId
from vsek.domain.ledger import Served
from vsek.domain.outcomes import MESSAGE, PROMISED, Finding, Outcome, Stage

NUMBER = "+49301234567"
FORWARD = ChannelId("vsekcall-k1-f1")


def book(*treatments: Treatment, client: str = "treat", **changes: object) -> Directory:
    """A directory in which one client has these treatments."""
    plain = directory()
    clients = {**plain.rules.clients, ClientId(client): ClientRules(treatments=treatments)}
    rules: Rules = msgspec.structs.replace(plain.rules, clients=clients)
    return msgspec.structs.replace(plain, **{"rules": rules, **changes})


def waiting(
    did: str = TREAT,
    number: str = NUMBER,
    *agents: AgentId,
    known: Directory | None = None,
) -> House:
    """The first caller has heard the greeting, and waits."""
    made = House(known)
    for agent_id in agents:
        made.register(agent_id)
    made.settle()
    made.asterisk.call(did, caller_number=number)
    made.settle()
    if made.state.calls[K1].stage is Stage.GREETING:
        made.asterisk.sound_ends(CALLER)
        made.settle()
    return made


def call_of(made: House) -> Call:
    return made.state.calls[K1]


def until(made: House, stage: Stage) -> House:
    """Time passes, sounds end, until the call is there."""
    for _ in range(30):
        call = call_of(made)
        if call.stage is stage:
            return made
        if call.sound_id:
            made.asterisk.sound_ends(CALLER)
        else:
            made.timer()
        made.settle()
    raise AssertionError(f"never {stage}: {made.kinds[K1]}")


def hear_out(made: House) -> None:
    """What the caller hears comes to its end."""
    made.asterisk.sound_ends(CALLER)
    made.settle()


def guard(made: House) -> None:
    """The call's guard timer runs out."""
    generation, deadline = made.state.timers[f"guard:{K1}"]
    made.now = max(made.now, deadline)
    made.decide(TimerDue(f"guard:{K1}", generation))
    made.settle()


def press(made: House, keys: str) -> None:
    for key in keys:
        made.asterisk.press(CALLER, key)
        made.settle()


def sound(made: House) -> str:
    """What the caller hears."""
    jobs = made.asterisk.channels[CALLER].jobs
    return made.asterisk.media[jobs[0]] if jobs else ""


def ended(made: House) -> tuple[Outcome, Stage, str]:
    closed = made.closed[K1]
    return closed.outcome, closed.stage, closed.reason


def step_of(effects: list[do.Effect], kind: str) -> dict[str, str]:
    found = [e for e in effects if getattr(e, "kind", "") == kind]
    assert len(found) == 1, effects
    detail = found[0].detail  # type: ignore[union-attr]
    return dict(detail)


def untreated(made: House, action: Action, detail: str = "") -> str:
    """Why the treatment of a caller who waits is not done."""
    from vsek.call.decide import distribute
    from vsek.call.desk import Desk

    desk = Desk(made.state, made.now, distribute)
    treat(desk, call_of(made), action, detail)
    why = step_of(desk.effects, "untreated")["reason"]
    call_of(made).steps -= 1  # it was only asked
    assert [type(effect).__name__ for effect in desk.effects] == ["CallStep"]
    assert call_of(made).stage is Stage.WAITING
    return why


# --- announcements ------------------------------------------------------------------------------


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
        sound_id = made.asterisk.channels[CALLER].jobs.pop()
        made.asterisk.report(ev.SoundDone(sound_id, K1, played=False))
    made.settle()
    assert call_of(made).stage is Stage.WAITING
    assert made.asterisk.channels[CALLER].music == "client-treat"


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


# --- being called back --------------------------------------------------------------------------


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


def asked_for_a_number() -> House:
    made = until(waiting(TREAT, ""), Stage.CALLBACK)
    press(made, "1")
    return made


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


# --- messages -----------------------------------------------------------------------------------


def recording() -> House:
    known = book(Treatment(Action.VOICEMAIL, after_s=3.0))
    made = until(waiting(known=known), Stage.VOICEMAIL)
    assert sound(made) == "sound:/voicemail"
    hear_out(made)
    assert sound(made) == "sound:/tone"
    assert K1 in made.state.acd.calls
    hear_out(made)
    assert made.asterisk.channels[CALLER].recording == call_of(made).message == "vsek/k1-1"
    assert K1 not in made.state.acd.calls
    return made


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
        sound_id = made.asterisk.channels[CALLER].jobs.pop()
        made.asterisk.report(ev.SoundDone(sound_id, K1, played=False))
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


# --- forwarding ---------------------------------------------------------------------------------


def forwarding(did: str = TREAT) -> House:
    """The client's number rings."""
    known = book(
        Treatment(Action.FORWARD, OUTSIDE, after_s=5.0),
        client="treat" if did == TREAT else "treat-ring",
    )
    made = until(waiting(did, known=known), Stage.FORWARDING)
    made.asterisk.ring(FORWARD)
    made.settle()
    return made


def forwarded(did: str = TREAT) -> House:
    made = forwarding(did)
    made.now += 2.0
    made.asterisk.pick_up(FORWARD)
    made.settle()
    assert call_of(made).stage is Stage.FORWARDED
    return made


def test_the_clients_number_is_rung_with_a_number_of_ours() -> None:
    made = forwarding()
    (command,) = [c for c in made.sent if isinstance(c, do.CreateForward)]
    assert (command.number, command.shown_number, command.channel_id) == (OUTSIDE, TREAT, FORWARD)
    assert made.asterisk.channels[CALLER].music == "client-treat"
    assert K1 in made.state.acd.calls


def test_a_number_of_the_house_is_shown_where_the_one_called_belongs_to_no_client() -> None:
    known = book(Treatment(Action.FORWARD, OUTSIDE), client="ring")
    made = House(known)
    made.asterisk.call("+49305550", forwarded_by=("+49777",))
    made.settle()
    (command,) = [c for c in made.sent if isinstance(c, do.CreateForward)]
    assert command.shown_number == "+49309999"


@pytest.mark.parametrize("did", [TREAT, TREAT_RING])
@pytest.mark.parametrize("who", ["caller", "number"])
def test_the_two_are_joined_and_either_ends_it_for_both(did: str, who: str) -> None:
    made = forwarded(did)
    answered_at = made.now
    assert made.asterisk.channels[CALLER].state == "Up"
    made.now += 60.0
    made.asterisk.end(CALLER if who == "caller" else FORWARD)
    made.settle()
    reason = "caller_hangup" if who == "caller" else "forward_hangup"
    assert ended(made) == (Outcome.FORWARDED, Stage.FORWARDED, reason)
    assert made.closed[K1].answered_at == answered_at
    assert not made.asterisk.channels
    assert K1 not in made.state.calls


@pytest.mark.parametrize("did", [TREAT, TREAT_RING])
@pytest.mark.parametrize("how", ["busy", "no answer", "refused", "not made", "not dialled"])
def test_a_number_that_cannot_be_had_costs_the_caller_nothing(did: str, how: str) -> None:
    client = "treat" if did == TREAT else "treat-ring"
    made = waiting(did, known=book(Treatment(Action.FORWARD, OUTSIDE, after_s=5.0), client=client))
    arrival = made.state.acd.calls[K1].arrival
    made.timer()
    if how == "not made":
        made.fail(FORWARD, 500)
    elif how == "not dialled":
        made.work(FORWARD)
        made.deliver()
        made.fail(FORWARD, 500)
    made.settle()
    if how in ("busy", "refused"):
        made.asterisk.end(FORWARD, 17 if how == "busy" else 21)
        made.settle()
    elif how == "no answer":
        made.timer()
        made.settle()
    assert call_of(made).stage is Stage.WAITING
    assert made.state.acd.calls[K1].arrival == arrival
    assert made.kinds[K1].count("forward_failed") == 1
    assert untreated(made, Action.FORWARD, OUTSIDE) == "was rung before"
    assert FORWARD not in made.asterisk.channels
    if did == TREAT_RING:
        assert made.asterisk.channels[CALLER].ringback
        made.timer()
        made.settle()
        assert ended(made)[2] == "ring_limit", "as if nothing had been"


def test_an_agent_may_pick_up_first() -> None:
    made = forwarding()
    made.register(ANNA)
    made.settle()
    made.asterisk.pick_up(LEG)
    made.settle()
    assert call_of(made).stage is Stage.TALKING
    assert FORWARD not in made.asterisk.channels


def test_the_number_may_pick_up_while_an_agent_is_rung() -> None:
    made = forwarding()
    made.register(ANNA)
    made.settle()
    made.asterisk.pick_up(FORWARD)
    made.settle()
    assert call_of(made).stage is Stage.FORWARDED
    assert made.states[ANNA] is AgentState.READY


def test_a_caller_who_hangs_up_ends_the_ringing() -> None:
    made = forwarding()
    made.asterisk.end(CALLER)
    made.settle()
    assert ended(made)[:2] == (Outcome.ABANDONED, Stage.FORWARDING)
    assert not made.asterisk.channels


@pytest.mark.parametrize(
    ("number", "why"),
    [
        ("110", "is no public number"),
        ("sip:x@evil", "is no public number"),
        ("+49110", "is an emergency number"),
        ("+4930112", "is an emergency number"),
        ("+49900123456", "is a premium-rate number"),
        (GREET, "leads back here"),
    ],
)
def test_numbers_that_are_never_dialled(number: str, why: str) -> None:
    assert untreated(waiting(), Action.FORWARD, number) == why


def test_no_call_leaves_without_a_trunk_or_a_number_of_ours() -> None:
    made = waiting(known=book(outbound=None))
    assert untreated(made, Action.FORWARD, OUTSIDE) == "no trunk takes calls from here"
    made = waiting(known=book(outbound=Outbound()))
    call_of(made).did = "1234"
    assert untreated(made, Action.FORWARD, OUTSIDE) == "there is no number to be shown"


def test_the_trunk_may_be_taken_away_while_it_is_dialled() -> None:
    made = waiting(known=book(Treatment(Action.FORWARD, OUTSIDE, after_s=5.0)))
    made.timer()
    made.decide(ev.DirectoryChanged(book(outbound=None)))
    made.settle()
    assert made.asterisk.channels[FORWARD].dialled


def test_what_a_number_reports_after_it_was_given_up_counts_no_more() -> None:
    made = waiting(known=book(Treatment(Action.FORWARD, OUTSIDE, after_s=5.0)))
    made.timer()
    made.work(FORWARD)
    made.timer()
    assert call_of(made).stage is Stage.WAITING
    assert names(commands(made.decide(made.asterisk.events.popleft()))) == ["HangupLeg"]
    made.decide(ev.ChannelRinging(FORWARD))
    made.decide(ev.Joined(FORWARD))
    made.decide(ev.CommandFailed("Dial", K1, FORWARD, 500, "refused"))
    made.decide(ev.CommandFailed("Join", K1, FORWARD, 500, "refused"))
    made.settle()
    assert call_of(made).stage is Stage.WAITING
    assert FORWARD not in made.asterisk.channels


def test_a_refusal_to_make_a_channel_that_was_given_up() -> None:
    made = forwarding()
    press(made, "x")
    made.asterisk.end(CALLER)
    made.deliver()
    made.decide(ev.CommandFailed("CreateForward", K1, FORWARD, 500, "late"))
    made.settle()


def test_a_leg_is_dialled_once() -> None:
    made = forwarding()
    assert made.decide(ev.LegReady(FORWARD)) == []


@pytest.mark.parametrize("how", ["number gone", "not joined"])
def test_who_was_not_joined_keeps_the_place(how: str) -> None:
    made = forwarding()
    made.asterisk.pick_up(FORWARD)
    made.deliver()
    if how == "not joined":
        while not isinstance(made.lanes[K1][0], do.Join):
            made.work(K1)
        made.fail(K1, 500)
        made.hear()
    else:
        made.asterisk.end(FORWARD)
        made.deliver()
    made.settle()
    assert call_of(made).stage is Stage.WAITING
    assert made.state.acd.calls[K1].arrival == call_of(made).received_at
    assert not made.asterisk.channels[CALLER].bridge
    assert made.asterisk.channels[CALLER].music


def test_who_hangs_up_before_the_two_are_joined_was_not_forwarded() -> None:
    made = forwarding()
    made.asterisk.pick_up(FORWARD)
    made.deliver()
    made.asterisk.end(CALLER)
    made.deliver()
    made.settle()
    assert ended(made)[:2] == (Outcome.ABANDONED, Stage.FORWARDED)


def test_the_fallback_after_a_talk_with_the_clients_number() -> None:
    made = forwarded()
    world = lost(made)
    world.end(FORWARD)
    world.channels[CALLER].bridge = ""
    world.bridges.clear()
    world.divert(CALLER)
    recovered(made)
    made.asterisk.end(CALLER)
    made.settle()
    made.decide(made.asterisk.ledger[-1])
    assert ended(made)[0] is Outcome.FORWARDED


def test_a_call_of_ours_that_comes_back_is_known_by_the_number_that_we_show() -> None:
    made = forwarding()
    made.asterisk.call(TREAT, caller_number=TREAT)
    made.settle()
    assert made.closed[K2].outcome is Outcome.FAILED
    assert call_of(made).stage is Stage.FORWARDING
    # Other clients of ours may call each other.
    made.asterisk.call(RING, caller_number=TREAT)
    made.asterisk.call(TREAT, caller_number=NUMBER)
    made.asterisk.call(TREAT, caller_number=GREET)
    made.settle()
    assert set(made.closed) == {K2}


def test_without_a_trunk_nothing_comes_back() -> None:
    made = waiting(known=book(outbound=None))
    made.asterisk.call(TREAT, caller_number=TREAT)
    made.settle()
    assert not made.closed


# --- after a crash ------------------------------------------------------------------------------


def recovered(made: House) -> House:
    made.reconnect()
    made.sent.clear()
    made.recovered()
    made.settle()
    return made


def lost(made: House, keep: int = 0) -> Asterisk:
    made.disconnect(keep)
    made.restart()
    return made.asterisk


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


def test_who_is_served_at_once_is_not_treated() -> None:
    made = house(ANNA, BERT)
    made.asterisk.call(TREAT_NOW)
    made.settle()
    hear_out(made)
    assert made.kinds[K1] == ["arrived", "greeting", "offered", "music"]

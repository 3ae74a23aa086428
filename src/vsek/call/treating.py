"""When nobody can come in time: what a caller who waits is told, offered, or served with instead.

Theory of operation. The distribution says what is to be done (``treat``), in what order and how
often; here it is done. Until something cannot be undone any more the call keeps its place in the
queue and goes on being offered, because a human is what the caller phoned for: an agent who picks
up cuts every sound short (``give_way``). It leaves the queue when the caller is promised to be
called back, when a message begins to be recorded, and when the client's own number answers.

One thing at a time: what is wanted while another sound runs, or while an agent is being rung, waits
for its turn (``later``, ``go_on``). A client whose callers hear it ring until somebody picks up
(policy ``ring``) pays that for them: who is to hear an announcement is answered first, and hears
music from then on. Sounds before the answer are cut off by many networks, keys get lost in them,
and a call that is not answered ends after two to four minutes.

The offer to be called back stands from its first word on, for as long as the caller waits: key 1.
The number is the one that the caller shows; who shows none, or one that nobody can dial, keys it in
and confirms it digit by digit. Recording begins only after the announcement that says so.
"""

from __future__ import annotations

from typing import assert_never

from vsek.acd import events as acd_events
from vsek.acd.rules import Action
from vsek.call import effects as do
from vsek.call import forwarding
from vsek.call.desk import (
    GUARD_RINGING_S,
    Desk,
    answer,
    drop_forward,
    play,
    say_goodbye,
    stop_sound,
    wait,
)
from vsek.call.model import Call, Callback, CallingBack, Forward, Wanted
from vsek.domain.ids import RECORDINGS
from vsek.domain.numbers import is_dialable
from vsek.domain.outcomes import MESSAGE, PROMISED, Outcome, Stage

UNHEARD = "the announcement could not be played"
YES = "1"
"""The key that takes the offer, and confirms a number."""
AGAIN = "*"
"""The key that begins a number anew."""
DONE = "#"
"""The key that ends a number."""
FEWEST_DIGITS = 5
"""A number with less is not one that the client could call from anywhere."""
MOST_DIGITS = 20
ATTEMPTS = 3
"""How often a caller is asked for a number, or hears it."""
GUARD_PROMPT_S = 60.0
"""A prompt whose end was never reported is taken to have ended."""
KEYS_S = 10.0
"""How long the next key may take."""
MESSAGE_S = 120.0
"""The longest message."""
MESSAGE_SILENCE_S = 5.0
"""So much silence ends it."""
GUARD_RECORDING_S = 10.0
"""How much longer than the longest message a recording may run before it is given up."""


# --- what is wanted -----------------------------------------------------------------------------


def treat(desk: Desk, call: Call, action: Action, detail: str) -> None:
    """Do it now; what cannot be done is a line in the timeline, and the caller goes on waiting."""
    match action:
        case Action.ANNOUNCE:
            why = _announce(desk, call, detail)
        case Action.CALLBACK:
            why = _offer_callback(desk, call)
        case Action.VOICEMAIL:
            why = _ask_for_message(desk, call)
        case Action.FORWARD:
            why = _forward(desk, call, detail)
        case Action.REGROUP:
            why = "the distribution does this"
        case _:
            assert_never(action)
    if why:
        desk.step(call, "untreated", action=action, detail=detail, reason=why)


def later(desk: Desk, call: Call, action: Action, detail: str) -> None:
    """Do it when what the caller hears now is over."""
    wanted = Wanted(action, detail)
    if wanted not in call.wanted:
        call.wanted.append(wanted)


def go_on(desk: Desk, call: Call) -> None:
    """The next thing that is wanted, if the caller does nothing but wait and nobody is rung."""
    while (
        call.wanted
        and call.stage is Stage.WAITING
        and call.leg_id is None
        and call.call_id in desk.state.acd.calls
    ):
        wanted = call.wanted.pop(0)
        treat(desk, call, wanted.action, wanted.detail)


def resume(desk: Desk, call: Call) -> None:
    """Back to waiting: with music, or hearing it ring as before."""
    if call.answer_sent:
        wait(desk, call)
    else:
        call.stage = Stage.WAITING
        desk.arm_guard(call, max(1.0, call.received_at + GUARD_RINGING_S - desk.now))
    go_on(desk, call)


def give_way(desk: Desk, call: Call) -> bool:
    """An agent picked up: nothing else matters. Whether the caller heard a sound, not music."""
    call.wanted.clear()
    desk.disarm_guard(call)
    drop_forward(desk, call)
    if call.callback is not None:
        call.callback.asking = CallingBack.OFFERED
    silent = call.stage is Stage.CALLBACK and not call.sound_id
    if call.sound_id:
        stop_sound(desk, call)
        return True
    return silent


def _sound(desk: Desk, call: Call, name: str) -> str:
    """The house's announcement of that name in the client's language; empty: there is none."""
    assert call.script is not None
    return desk.state.directory.announcements.get(f"{name}.{call.script.language}", "")


def _speak(desk: Desk, call: Call, stage: Stage, media: str) -> None:
    """Let a caller who waits hear something; whoever was not answered yet is, first."""
    if not call.answer_sent:
        desk.disarm_guard(call)
        answer(desk, call)
    if call.sound_id:
        stop_sound(desk, call)
    call.stage = stage
    play(desk, call, media)


# --- an announcement ----------------------------------------------------------------------------


def _announce(desk: Desk, call: Call, media: str) -> str:
    if not media:
        return "there is no announcement"
    desk.step(call, "notice", media=media)
    _speak(desk, call, Stage.NOTICE, media)
    return ""


def notice_over(desk: Desk, call: Call) -> None:
    """The caller has heard it: music again."""
    call.sound_id = ""
    resume(desk, call)


def notice_unheard(desk: Desk, call: Call) -> None:
    """It could not be played."""
    _unheard(desk, call, Action.ANNOUNCE)
    notice_over(desk, call)


def _unheard(desk: Desk, call: Call, action: Action) -> None:
    desk.step(call, "untreated", action=action, detail=call.media, reason=UNHEARD)


# --- being called back --------------------------------------------------------------------------


def _offer_callback(desk: Desk, call: Call) -> str:
    shown = _may_be_called(call.caller_number)
    media = _sound(desk, call, "callback" if shown else "callback_hidden")
    if not media:
        return "there is no announcement"
    if call.callback is not None:
        return "was offered before"
    call.callback = Callback()
    desk.step(call, "callback_offered")
    _speak(desk, call, Stage.CALLBACK, media)
    return ""


def callback_said(desk: Desk, call: Call) -> None:
    """The caller has heard the offer, or is to press keys now."""
    callback = call.callback
    assert callback is not None
    call.sound_id = ""
    if callback.asking is CallingBack.OFFERED:
        resume(desk, call)
    else:
        desk.arm_guard(call, KEYS_S)


def callback_unsaid(desk: Desk, call: Call) -> None:
    """It could not be played: who was offered nothing, or hears no question, waits on."""
    callback = call.callback
    assert callback is not None
    call.sound_id = ""
    _unheard(desk, call, Action.CALLBACK)
    if callback.asking is CallingBack.OFFERED:
        call.callback = None
        resume(desk, call)
    else:
        _no_callback(desk, call, callback)


def callback_key(desk: Desk, call: Call, key: str) -> None:
    """A key of a caller who may have been offered to be called back."""
    callback = call.callback
    if callback is None:
        return
    match callback.asking:
        case CallingBack.OFFERED if key == YES:
            drop_forward(desk, call)
            if _may_be_called(call.caller_number):
                _promise(desk, call, call.caller_number)
            else:
                _ask_for_number(desk, call, callback)
        case CallingBack.OFFERED:
            pass
        case CallingBack.NUMBER:
            _keyed(desk, call, callback, key)
        case CallingBack.CONFIRM if key == YES:
            _promise(desk, call, callback.digits)
        case CallingBack.CONFIRM if key == AGAIN:
            _ask_for_number(desk, call, callback)
        case CallingBack.CONFIRM:
            pass
        case _:
            assert_never(callback.asking)


def _may_be_called(number: str) -> bool:
    return is_dialable(number) and len(number.lstrip("+")) >= FEWEST_DIGITS


def _ask_for_number(desk: Desk, call: Call, callback: Callback) -> None:
    media = _sound(desk, call, "callback_number")
    if callback.attempts == ATTEMPTS or not media:
        _no_callback(desk, call, callback)
        return
    callback.attempts += 1
    callback.asking = CallingBack.NUMBER
    callback.digits = ""
    desk.step(call, "callback_number", attempt=str(callback.attempts))
    desk.arm_guard(call, GUARD_PROMPT_S)
    _speak(desk, call, Stage.CALLBACK, media)


def _keyed(desk: Desk, call: Call, callback: Callback, key: str) -> None:
    if call.sound_id:
        stop_sound(desk, call)
    desk.arm_guard(call, KEYS_S)
    if key == DONE:
        _check(desk, call, callback)
    elif key == AGAIN:
        callback.digits = ""
    elif key in "0123456789" and len(callback.digits) < MOST_DIGITS:
        callback.digits += key


def _check(desk: Desk, call: Call, callback: Callback) -> None:
    """Read the number back, digit by digit."""
    digits = [_sound(desk, call, f"digit_{digit}") for digit in callback.digits]
    parts = [_sound(desk, call, "callback_check"), *digits, _sound(desk, call, "callback_confirm")]
    if len(callback.digits) < FEWEST_DIGITS or not all(parts):
        _ask_for_number(desk, call, callback)
        return
    callback.asking = CallingBack.CONFIRM
    desk.arm_guard(call, GUARD_PROMPT_S)
    _speak(desk, call, Stage.CALLBACK, ",".join(parts))


def keys_due(desk: Desk, call: Call) -> None:
    """No key came: a number that was not ended is read back, one that was not confirmed is read
    again; a caller who keys in nothing goes on waiting."""
    callback = call.callback
    assert callback is not None
    if call.sound_id:
        stop_sound(desk, call)
    if callback.digits and callback.attempts < ATTEMPTS:
        callback.attempts += 1
        _check(desk, call, callback)
    else:
        _no_callback(desk, call, callback)


def _no_callback(desk: Desk, call: Call, callback: Callback) -> None:
    """There is no number: the caller goes on waiting, and may press the key again."""
    callback.asking = CallingBack.OFFERED
    callback.attempts = 0
    desk.step(call, "callback_given_up")
    if call.sound_id:
        stop_sound(desk, call)
    desk.disarm_guard(call)
    resume(desk, call)


def _promise(desk: Desk, call: Call, number: str) -> None:
    """The caller will be called back: out of the queue, thanks, and the end."""
    desk.step(call, "callback_promised", number=number)
    if call.sound_id:
        stop_sound(desk, call)
    call.wanted.clear()
    desk.distribute(desk, acd_events.CallLeft(call.call_id, served=True))
    say_goodbye(desk, call, _sound(desk, call, "callback_thanks"), Outcome.CALLBACK, PROMISED)


# --- a message ----------------------------------------------------------------------------------


def _ask_for_message(desk: Desk, call: Call) -> str:
    media = _sound(desk, call, "voicemail")
    if not media:
        return "there is no announcement"
    desk.step(call, "voicemail")
    _speak(desk, call, Stage.VOICEMAIL, media)
    return ""


def message_prompted(desk: Desk, call: Call) -> None:
    """The announcement was heard, or the tone after it: out of the queue, and record.

    One after the other, because of a list Asterisk tells only whether the last could be played.
    """
    call.sound_id = ""
    tone = desk.state.directory.announcements["tone"]
    if call.media != tone:
        play(desk, call, tone)
        return
    before = call.screened.recordings if call.screened is not None else 0
    call.message = f"{RECORDINGS}{call.call_id}-{before + 1}"
    call.outcome_if_left = Outcome.VOICEMAIL
    call.wanted.clear()
    desk.step(call, "recording", name=call.message)
    desk.arm_guard(call, MESSAGE_S + GUARD_RECORDING_S)
    desk.distribute(desk, acd_events.CallLeft(call.call_id, served=True))
    desk.do(do.Record(call.call_id, call.channel_id, call.message, MESSAGE_S, MESSAGE_SILENCE_S))


def message_untold(desk: Desk, call: Call) -> None:
    """It could not be played, so nothing is recorded: the caller goes on waiting."""
    call.sound_id = ""
    _unheard(desk, call, Action.VOICEMAIL)
    resume(desk, call)


def message_key(desk: Desk, call: Call, key: str) -> None:
    """Any key ends the message."""
    if call.message:
        desk.do(do.StopRecording(call.call_id, call.channel_id, call.message))


def message_done(desk: Desk, call: Call, recording: str) -> None:
    """The caller has spoken, or not."""
    if recording == call.message:
        thanks = _sound(desk, call, "voicemail_thanks")
        say_goodbye(desk, call, thanks, Outcome.VOICEMAIL, MESSAGE)


def message_due(desk: Desk, call: Call) -> None:
    """The end of the recording was never reported."""
    desk.do(do.StopRecording(call.call_id, call.channel_id, call.message))
    message_done(desk, call, call.message)


# --- to the client's own number -----------------------------------------------------------------


def _forward(desk: Desk, call: Call, number: str) -> str:
    why = forwarding.refusal(desk, call, number)
    if not why:
        forwarding.begin(desk, call, number)
    return why


def forward_gone(desk: Desk, call: Call, forward: Forward, cause: int) -> None:
    """Busy, refused, or out of reach: the caller goes on waiting."""
    _go_on_without(desk, call, forward, f"cause {cause}")


def forward_impossible(desk: Desk, call: Call, forward: Forward, status: int, message: str) -> None:
    """Asterisk would not make or ring the channel."""
    _go_on_without(desk, call, forward, f"{status} {message}"[:200])


def forward_due(desk: Desk, call: Call) -> None:
    """Nobody answered in time."""
    forward = call.forward
    assert forward is not None
    _go_on_without(desk, call, forward, "no answer")


def _go_on_without(desk: Desk, call: Call, forward: Forward, why: str) -> None:
    forwarding.failed(desk, call, forward, why)
    desk.disarm_guard(call)
    resume(desk, call)

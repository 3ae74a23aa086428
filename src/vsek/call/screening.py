"""Screening: who calls, and why, before an agent is rung.

Theory of operation. After the greeting the caller is asked for name and concern (``ask``), may
press a key that stands for a concern, is told of the recording, and is recorded after a tone until
a silence. The recording
is examined elsewhere; the answer (``examined``) decides whether the caller is asked once more
(nothing was said), is a fax machine, or is queued. The agent who picks up hears the recording first
(``brief``) while the caller hears music; its end, or any key of the agent, joins the two.

Who was told of the recording and speaks after the tone agrees to it. That is the consent, and it is
a step of the call. So prompt, notice and tone are played one after the other: of a list Asterisk
tells only whether the last could be played. A key cuts the prompt short, never notice or tone.
Unless both of them are known to have been heard to the end, nothing is recorded.

Nothing here may keep a caller from a human: each wait has a guard, and whatever cannot be played,
recorded or examined is passed over.
"""

from __future__ import annotations

from vsek.acd.effects import CancelTimer
from vsek.call import effects as do
from vsek.call.desk import Desk, close, connect, guard_of, play, queue, stop_sound, wait
from vsek.call.model import Asking, Call, Leg, Screened, Screening
from vsek.domain.ids import OURS, RECORDINGS
from vsek.domain.outcomes import FAX, Finding, Outcome, Stage

GUARD_PROMPT_S = 120.0
"""What the caller hears is given up when its end is never reported."""
KEY_WAIT_S = 5.0
"""How long a key may take after the prompt where nothing is recorded."""
GUARD_RECORDING_S = 10.0
"""How much longer than its limit a recording may run before it is given up."""
GUARD_EXAMINING_S = 4.0
"""An examination that takes longer is not waited for."""
GUARD_BRIEFING_S = 15.0
"""How much longer than the recording can be an agent listens to it before being joined."""
ATTEMPTS = 2
"""How often a caller who says nothing is asked."""


def _of(call: Call) -> tuple[Screening, Screened]:
    assert call.script is not None
    assert call.script.screening is not None
    if call.screened is None:
        call.screened = Screened()
    return call.script.screening, call.screened


def shown_name(call: Call, client: str) -> str:
    """What the agent's phone shows: the client, and what the caller chose."""
    choice = call.screened.choice if call.screened is not None else ""
    return f"{client}: {choice}" if choice else client


def ask(desk: Desk, call: Call) -> None:
    """Ask the caller for name and concern."""
    screening, screened = _of(call)
    call.stage = Stage.SCREENING
    desk.step(call, "screening", attempt=str(screened.recordings + 1))
    if screening.prompt:
        _say(desk, call, Asking.PROMPT, screening.prompt)
    else:
        _say(desk, call, Asking.NOTICE, screening.notice)


def _say(desk: Desk, call: Call, what: Asking, media: str) -> None:
    _, screened = _of(call)
    screened.asking = what
    desk.arm_guard(call, GUARD_PROMPT_S)
    play(desk, call, media)


def say_again(desk: Desk, call: Call) -> None:
    """It is not known whether the caller has heard what was being said."""
    _, screened = _of(call)
    _say(desk, call, screened.asking, call.media)


def sound_done(desk: Desk, call: Call) -> None:
    """The caller has heard what was being said."""
    screening, screened = _of(call)
    call.sound_id = ""
    match screened.asking:
        case Asking.PROMPT if screening.notice:
            _say(desk, call, Asking.NOTICE, screening.notice)
        case Asking.PROMPT:
            _await_key(desk, call)
        case Asking.NOTICE:
            _say(desk, call, Asking.TONE, screening.tone)
        case _:
            assert screened.asking is Asking.TONE
            _record(desk, call)


def sound_failed(desk: Desk, call: Call) -> None:
    """It could not be played. Who was not told, or not when, is not recorded."""
    screening, screened = _of(call)
    call.sound_id = ""
    match screened.asking:
        case Asking.PROMPT if screening.notice:
            _say(desk, call, Asking.NOTICE, screening.notice)
        case Asking.PROMPT:
            _done(desk, call)
        case Asking.NOTICE | Asking.TONE:
            desk.step(call, "unrecorded", reason=f"the {screened.asking} was not heard")
            _done(desk, call)
        case _:
            pass  # whose failure, is not known: journals of earlier versions


def _record(desk: Desk, call: Call) -> None:
    screening, screened = _of(call)
    screened.asking = Asking.RECORDING
    screened.recordings += 1
    screened.recording = f"{RECORDINGS}{call.call_id}-{screened.recordings}"
    desk.step(call, "recording", name=screened.recording)
    desk.arm_guard(call, screening.max_s + GUARD_RECORDING_S)
    desk.do(do.Record(call.call_id, call.channel_id, screened.recording, screening.max_s))


def _await_key(desk: Desk, call: Call) -> None:
    _, screened = _of(call)
    if screened.key:
        _done(desk, call)
    else:
        screened.asking = Asking.KEY
        desk.arm_guard(call, KEY_WAIT_S)


def key_pressed(desk: Desk, call: Call, key: str) -> None:
    """A key: the first that stands for something counts; any of them ends the recording. What is
    said of the recording is heard to its end all the same."""
    screening, screened = _of(call)
    if not screened.key and key in screening.keys:
        screened.key = key
        screened.choice = screening.keys[key]
        desk.step(call, "key", key=key, choice=screened.choice)
    match screened.asking:
        case Asking.PROMPT if screened.key == key:
            stop_sound(desk, call)
            sound_done(desk, call)
        case Asking.KEY if screened.key:
            _done(desk, call)
        case Asking.RECORDING:
            desk.do(do.StopRecording(call.call_id, call.channel_id, screened.recording))
        case _:
            pass


def early_key(desk: Desk, call: Call, key: str) -> None:
    """Who knows the keys need not hear the greeting to its end."""
    assert call.script is not None
    if call.script.screening is not None and key in call.script.screening.keys:
        stop_sound(desk, call)
        ask(desk, call)
        key_pressed(desk, call, key)


def recording_done(desk: Desk, call: Call, recording: str) -> None:
    """The caller has spoken, or not."""
    _, screened = _of(call)
    if screened.asking is Asking.RECORDING and recording == screened.recording:
        screened.asking = Asking.EXAMINING
        desk.arm_guard(call, GUARD_EXAMINING_S)
        desk.do(do.Examine(call.call_id, recording))


def examined(desk: Desk, call: Call, recording: str, finding: Finding, spoken_s: float) -> None:
    """It is known what was recorded."""
    _, screened = _of(call)
    if screened.asking is not Asking.EXAMINING or recording != screened.recording:
        return
    screened.finding = finding
    screened.spoken_s = spoken_s
    if finding is Finding.SILENCE:
        desk.do(do.DropRecording(call.call_id, call.channel_id, recording))
        screened.recording = ""
        if screened.recordings < ATTEMPTS and not screened.key:
            ask(desk, call)
            return
    elif finding is Finding.SPEECH:
        desk.step(call, "consent", recording=recording, spoken_s=f"{spoken_s:.1f}")
    _done(desk, call)


def guard_due(desk: Desk, call: Call) -> None:
    """Something took too long."""
    _, screened = _of(call)
    match screened.asking:
        case Asking.PROMPT | Asking.NOTICE | Asking.TONE:
            stop_sound(desk, call)
            sound_failed(desk, call)
        case Asking.RECORDING:
            desk.do(do.StopRecording(call.call_id, call.channel_id, screened.recording))
            recording_done(desk, call, screened.recording)
        case _:
            _done(desk, call)


def _done(desk: Desk, call: Call) -> None:
    """Asked enough: to an agent."""
    _, screened = _of(call)
    screened.asking = Asking.DONE
    desk.step(
        call,
        "screened",
        finding=screened.finding.value,
        spoken_s=f"{screened.spoken_s:.1f}",
        key=screened.key,
        choice=screened.choice,
    )
    desk.do(CancelTimer(guard_of(call)))
    if screened.finding is Finding.FAX:
        close(desk, call, Outcome.BLOCKED, FAX)
        return
    wait(desk, call)
    queue(desk, call)


# --- the agent hears it ---------------------------------------------------------------------------


def briefing_of(call: Call) -> str:
    """Id of the playback by which the agent of the last offer is briefed."""
    return f"{OURS}{call.call_id}-b{call.offers}"


def brief(desk: Desk, call: Call, leg: Leg) -> None:
    """The agent picked up: first what the caller said, while the caller goes on hearing music."""
    screening, screened = _of(call)
    call.stage = Stage.BRIEFING
    call.briefing_id = briefing_of(call)
    desk.step(call, "briefing", agent=leg.agent_id)
    desk.arm_guard(call, screening.max_s + GUARD_BRIEFING_S)
    media = f"recording:{screened.recording}"
    desk.do(do.Brief(call.call_id, leg.channel_id, call.briefing_id, media))


def briefed(desk: Desk, call: Call) -> None:
    """The agent has heard it: join the two."""
    leg = call.leg
    assert leg is not None
    call.briefing_id = ""
    desk.do(CancelTimer(guard_of(call)))
    desk.do(do.StopMusic(call.call_id, call.channel_id))
    connect(desk, call, leg)


def heard_enough(desk: Desk, call: Call, key: str) -> None:
    """A key of the agent: join them without waiting for the end."""
    listened_too_long(desk, call)


def listened_too_long(desk: Desk, call: Call) -> None:
    """The end of the recording was never reported."""
    leg = call.leg
    assert leg is not None
    desk.do(do.StopBriefing(call.call_id, leg.channel_id, call.briefing_id))
    briefed(desk, call)

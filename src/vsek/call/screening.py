"""Screening: who calls, and why, before an agent is rung.

Theory of operation. After the greeting the caller is asked for name and concern (``ask``), may
press a key that stands for a concern, and is recorded after a tone until a silence. The recording
is examined elsewhere; the answer (``examined``) decides whether the caller is asked once more
(nothing was said), is a fax machine, or is queued. The agent who picks up hears the recording first
(``brief``) while the caller hears music; its end, or any key of the agent, joins the two.

The prompt says that it records; who speaks after the tone agrees to it. That is the consent, and it
is a step of the call.

Nothing here may keep a caller from a human: each wait has a guard, and whatever cannot be recorded
or examined is passed over.
"""

from __future__ import annotations

from vsek.acd.effects import CancelTimer
from vsek.call import effects as do
from vsek.call.desk import Desk, close, connect, guard_of, play, queue, stop_sound, wait
from vsek.call.model import Asking, Call, Leg, Screened, Screening
from vsek.domain.ids import OURS, RECORDINGS
from vsek.domain.outcomes import FAX, Finding, Outcome, Stage

GUARD_PROMPT_S = 120.0
"""A prompt whose end was never reported is taken to have ended."""
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
    _, screened = _of(call)
    call.stage = Stage.SCREENING
    screened.asking = Asking.PROMPT
    desk.step(call, "screening", attempt=str(screened.recordings + 1))
    prompt(desk, call)


def prompt(desk: Desk, call: Call) -> None:
    """Tell the caller what is wanted, and that it is recorded."""
    screening, _ = _of(call)
    desk.arm_guard(call, GUARD_PROMPT_S)
    play(desk, call, screening.prompt)


def prompt_done(desk: Desk, call: Call) -> None:
    """The caller was asked; now the answer."""
    screening, screened = _of(call)
    if screened.asking is not Asking.PROMPT:
        return
    call.sound_id = ""
    if screening.record:
        screened.asking = Asking.RECORDING
        screened.recordings += 1
        screened.recording = f"{RECORDINGS}{call.call_id}-{screened.recordings}"
        desk.step(call, "recording", name=screened.recording)
        desk.arm_guard(call, screening.max_s + GUARD_RECORDING_S)
        desk.do(do.Record(call.call_id, call.channel_id, screened.recording, screening.max_s))
    elif screened.key:
        _done(desk, call)
    else:
        screened.asking = Asking.KEY
        desk.arm_guard(call, KEY_WAIT_S)


def key_pressed(desk: Desk, call: Call, key: str) -> None:
    """A key: the first that stands for something counts; any of them ends the recording."""
    screening, screened = _of(call)
    if not screened.key and key in screening.keys:
        screened.key = key
        screened.choice = screening.keys[key]
        desk.step(call, "key", key=key, choice=screened.choice)
    match screened.asking:
        case Asking.PROMPT if screened.key == key:
            stop_sound(desk, call)
            prompt_done(desk, call)
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
        case Asking.PROMPT:
            stop_sound(desk, call)
            prompt_done(desk, call)
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

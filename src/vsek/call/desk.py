"""What the scripts of a call share: the working place of one decision, and the steps that more than
one of them takes.
"""

from __future__ import annotations

from collections.abc import Callable

from vsek.acd import events as acd_events
from vsek.acd.effects import CancelTimer, SetTimer
from vsek.call import effects as do
from vsek.call.model import Asking, Call, Forward, Leg, LegStage, State
from vsek.domain.ids import OURS
from vsek.domain.outcomes import (
    AGENT_LOST,
    FOUND_GONE,
    LOOP,
    MISSED,
    Finding,
    Outcome,
    Stage,
)
from vsek.domain.records import CallClosed, CallStep, RecordingMade

GUARD_ENDED_S = 10.0
"""A closed call whose channels were not reported gone is hung up again after this time."""

DIAL_GUARD_S = 15.0
"""How much longer than vsek does Asterisk would let a telephone ring on its own."""
GUARD_ANNOUNCEMENT_S = 120.0
"""An announcement whose end was never reported is taken to have ended."""
GUARD_RINGING_S = 300.0
"""A caller who hears it ring is given up after this. Networks end unanswered calls after two to
four minutes (timer C of RFC 3261 is three), so nobody is there any more to send the CANCEL."""

GUARD = "guard:"
"""How the names of guard timers begin; the distribution's begin otherwise."""


def guard_of(call: Call) -> str:
    """Name of the call's guard timer."""
    return f"{GUARD}{call.call_id}"


class Desk:
    """The working place of one decision: state, time and the effects gathered so far."""

    __slots__ = ("distribute", "effects", "now", "state")

    def __init__(
        self, state: State, now: float, distribute: Callable[[Desk, acd_events.Event], None]
    ) -> None:
        self.state = state
        self.now = now
        self.effects: list[do.Effect] = []
        self.distribute = distribute

    def do(self, effect: do.Effect) -> None:
        """Add an effect."""
        self.effects.append(effect)

    def step(self, call: Call, kind: str, **detail: str) -> None:
        """Add a line to the call's timeline."""
        call.steps += 1
        self.effects.append(CallStep(call.call_id, call.steps, self.now, kind, detail))

    def arm_guard(self, call: Call, seconds: float) -> None:
        """(Re)start the call's guard timer."""
        self.state.timers_made += 1
        self.do(SetTimer(guard_of(call), self.state.timers_made, self.now + seconds))

    def disarm_guard(self, call: Call) -> None:
        """Stop the call's guard timer, if it runs or was set in this decision."""
        name = guard_of(call)
        if name in self.state.timers or any(
            isinstance(effect, SetTimer) and effect.name == name for effect in self.effects
        ):
            self.do(CancelTimer(name))


def wrap_up_s(desk: Desk, call: Call) -> float:
    """Seconds that an agent has after this call."""
    own = call.script.wrap_up_s if call.script is not None else None
    return desk.state.directory.wrap_up_s if own is None else own


def queue(desk: Desk, call: Call) -> None:
    """Ask the distribution for an agent; who was queued before keeps the place."""
    assert call.script is not None
    desk.distribute(
        desk,
        acd_events.CallQueued(
            call.call_id,
            call.script.client_id,
            call.received_at if call.place is None else call.place,
            wrap_up_s(desk, call),
            call.offers,
            call.caller_key,
            call.caller_number in call.script.vip,
            call.known,
            # Once: who is queued again has been kept, or had somebody.
            sure=call.sure and call.place is None,
        ),
    )
    call.place = desk.state.acd.calls[call.call_id].arrival


def answer(desk: Desk, call: Call) -> None:
    """Answer the caller."""
    call.answer_sent = True
    desk.do(do.Answer(call.call_id, call.channel_id))


def play(desk: Desk, call: Call, media: str) -> None:
    """Let the caller hear ``media``."""
    call.sounds += 1
    call.sound_id = f"{OURS}{call.call_id}-s{call.sounds}"
    call.media = media
    desk.do(do.Play(call.call_id, call.channel_id, call.sound_id, media))


def stop_sound(desk: Desk, call: Call) -> None:
    """End what the caller hears; its end is of no interest any more."""
    desk.do(do.StopSound(call.call_id, call.channel_id, call.sound_id))
    call.sound_id = ""


def wait(desk: Desk, call: Call) -> None:
    """A caller who was answered hears the client's music until an agent is there."""
    assert call.script is not None
    call.stage = Stage.WAITING
    desk.step(call, "music")
    desk.do(do.StartMusic(call.call_id, call.channel_id, call.script.music))


def say_goodbye(desk: Desk, call: Call, media: str, outcome: Outcome, reason: str) -> None:
    """Tell a caller who was answered something, and end the call with ``outcome``."""
    call.stage = Stage.ANNOUNCEMENT
    call.outcome_if_left = outcome
    call.reason_if_left = reason
    if media:
        desk.arm_guard(call, GUARD_ANNOUNCEMENT_S)
        play(desk, call, media)
    else:
        close(desk, call, outcome, reason)


def connect(desk: Desk, call: Call, leg: Leg) -> None:
    """Put caller and agent together."""
    call.stage = Stage.CONNECTING
    call.answered_at = desk.now
    desk.do(do.Join(call.call_id, call.channel_id, call.bridge_id, leg.channel_id))


def drop_leg(desk: Desk, call: Call, leg: Leg, reason: str) -> None:
    """Hang up an agent's leg, once."""
    if leg.stage is not LegStage.LEAVING:
        leg.stage = LegStage.LEAVING
        desk.do(do.HangupLeg(call.call_id, leg.channel_id, reason))


def bridge_name(call: Call, number: int) -> str:
    """Each bridge of a call has its own: Asterisk dissolves a bridge when it comes to it, and one
    of the same name would not be made before."""
    return f"{OURS}{call.call_id}" if number == 1 else f"{OURS}{call.call_id}-{number}"


def bridge(desk: Desk, call: Call) -> None:
    """Have the bridge in which the caller will talk."""
    if not call.bridge_id:
        call.bridges += 1
        call.bridge_id = bridge_name(call, call.bridges)
        desk.do(do.CreateBridge(call.call_id, call.channel_id, call.bridge_id))


def forget_forward(desk: Desk, call: Call, forward: Forward) -> None:
    """The channel to the client's number is gone."""
    del desk.state.channels[forward.channel_id]
    del call.forwards[forward.channel_id]


def recording_of(call: Call) -> str:
    """Name of the recording that was made of the caller last; empty: there is none."""
    return call.message or (call.screened.recording if call.screened is not None else "")


def drop_forward(desk: Desk, call: Call) -> None:
    """Hang up on the client's number."""
    forward, call.forward_id = call.forward, None
    if forward is not None:  # unless its end is why
        forward.stage = LegStage.LEAVING
        desk.do(do.HangupLeg(call.call_id, forward.channel_id, "normal"))


_QUEUED = frozenset(
    {
        Stage.GREETING,
        Stage.WAITING,
        Stage.NOTICE,
        Stage.CALLBACK,
        Stage.VOICEMAIL,
        Stage.FORWARDING,
    }
)
"""In which the distribution looks for an agent, or may do so."""


def let_go(desk: Desk, call: Call, *, served: bool = False, cut: bool = False) -> None:
    """Out of the queue, or away from the agent; and out of the bridge.

    ``served``: the caller got something else instead of an agent. ``cut``: there was an agent, but
    the two did not talk, or a fault broke it. Who was neither served nor talked to the end keeps
    the place when calling again soon.
    """
    leg = call.leg
    drop_forward(desk, call)
    if call.agent_id is None:
        if call.stage in _QUEUED:
            desk.distribute(desk, acd_events.CallLeft(call.call_id, served))
    elif call.stage is not Stage.FALLBACK:
        call.leg_id = None
        if leg is not None:  # unless its end is why the call ends
            drop_leg(desk, call, leg, "normal")
        desk.distribute(desk, acd_events.AgentReleased(call.call_id, call.agent_id, cut))
    if call.bridge_id:
        desk.do(do.DestroyBridge(call.call_id, call.channel_id, call.bridge_id))


_UNSERVED = frozenset({Outcome.ABANDONED, Outcome.FAILED})
_BROKEN = frozenset({AGENT_LOST, FOUND_GONE, MISSED})
"""Why a talk ended that nobody is known to have ended. Where nobody saw it, the caller is given the
benefit of the doubt."""


def close(
    desk: Desk, call: Call, outcome: Outcome, reason: str, ended_at: float | None = None
) -> None:
    """Give the call its one outcome and clear away what belongs to it.

    ``ended_at`` (Unix seconds): when it ended, if that was not now.
    """
    stage = call.stage
    detail = {"outcome": outcome.value, "stage": stage.value, "reason": reason}
    desk.step(call, "ended", **detail)
    _settle_recording(desk, call)
    directory = desk.state.directory
    due_at = desk.now
    if call.agent_id is not None:
        due_at += wrap_up_s(desk, call) + directory.note_grace_s
    desk.do(
        CallClosed(
            call.call_id,
            desk.now if ended_at is None else ended_at,
            outcome,
            stage,
            reason,
            call.agent_id,
            call.answered_at if outcome in (Outcome.ANSWERED, Outcome.FORWARDED) else None,
            due_at,
        )
    )
    desk.arm_guard(call, GUARD_ENDED_S)
    unserved = outcome in _UNSERVED
    let_go(desk, call, served=not unserved, cut=unserved or reason in _BROKEN)
    call.stage = Stage.ENDED
    if not call.caller_gone:
        desk.do(do.Hangup(call.call_id, call.channel_id, LOOP if reason == LOOP else "normal"))
    forget_if_empty(desk, call)


def _settle_recording(desk: Desk, call: Call) -> None:
    """What the caller said goes to the client where that was agreed on, else it is deleted."""
    if call.message:
        desk.do(RecordingMade(call.call_id, desk.now, "voicemail", call.message, consent=True))
    screened = call.screened
    if screened is None or not screened.recording:
        return
    assert call.script is not None
    assert call.script.screening is not None
    # Who hung up while being recorded may have spoken: whether, shows when the audio is fetched.
    spoke = screened.finding is Finding.SPEECH or screened.asking is not Asking.DONE
    if call.script.screening.attach and spoke:
        desk.do(
            RecordingMade(call.call_id, desk.now, "screening", screened.recording, consent=True)
        )
    else:
        desk.do(do.DropRecording(call.call_id, call.channel_id, screened.recording))


def forget_if_empty(desk: Desk, call: Call) -> None:
    """Drop a closed call once nothing of it is left in Asterisk."""
    if call.stage is Stage.ENDED and call.caller_gone and not (call.legs or call.forwards):
        desk.do(CancelTimer(guard_of(call)))
        del desk.state.calls[call.call_id]

"""What happens in one call: the handlers behind :mod:`vsek.call.table`.

Theory of operation. A call has a *stage* (what its caller experiences) and at any moment at most
one current *leg* (the agent's channel of the present offer). The distribution (:mod:`vsek.acd`)
decides whom to offer and until when; this module turns offers into legs, joins caller and agent,
and closes the call with exactly one outcome. An offer runs beside the greeting: a free agent
rings at once, and one who picks up early cuts the greeting short, because a human is what the
caller phoned for.

A closed call stays in the state as ``ENDED`` until Asterisk has reported the end of each of its
channels (or has said that it does not know them), so that nothing is left behind; a guard timer
asks again where a report is missing.

Handlers never fail because something is gone already: the report of its end is on its way and is
what counts.
"""

from __future__ import annotations

from collections.abc import Callable

from vsek.acd import events as acd_events
from vsek.acd.effects import CancelTimer, Offer, SetTimer, WithdrawOffer
from vsek.call import effects as do
from vsek.call.model import Call, Leg, LegStage, State
from vsek.domain.ids import OURS, ChannelId, OfferId
from vsek.domain.outcomes import FOUND_GONE, RING_LIMIT, Outcome, Stage
from vsek.domain.records import CallClosed, CallStep

GUARD_ANNOUNCEMENT_S = 120.0
"""An announcement whose end was never reported is taken to have ended."""
GUARD_RINGING_S = 300.0
"""A caller who hears it ring is given up after this. Networks end unanswered calls after two to
four minutes (timer C of RFC 3261 is three), so nobody is there any more to send the CANCEL."""
GUARD_ENDED_S = 10.0
"""A closed call whose channels were not reported gone is hung up again after this time."""
DIAL_GUARD_S = 15.0
"""How much longer than the offer Asterisk would let an agent's phone ring on its own."""

# Q.850 causes by which an agent's softphone says no, in contrast to being out of reach.
REFUSALS = frozenset({17, 18, 19, 21, 31})


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


# --- arriving -----------------------------------------------------------------------------------


def announce(desk: Desk, call: Call, media: str, outcome: Outcome, reason: str) -> None:
    """Answer, tell the caller something, and end the call with ``outcome``."""
    call.stage = Stage.ANNOUNCEMENT
    call.outcome_if_left = outcome
    call.reason_if_left = reason
    call.announcement = media
    desk.step(call, "announcement", reason=reason)
    desk.arm_guard(call, GUARD_ANNOUNCEMENT_S)
    _answer(desk, call)
    if media:
        _play(desk, call, media)
    else:
        close(desk, call, outcome, reason)


def begin(desk: Desk, call: Call) -> None:
    """Start the client's answer policy and ask for an agent."""
    script = call.script
    assert script is not None
    if script.policy == "greet":
        _answer(desk, call)
        if script.greeting:
            call.stage = Stage.GREETING
            desk.step(call, "greeting")
            _play(desk, call, script.greeting)
        else:
            _wait(desk, call)
    else:
        call.stage = Stage.WAITING
        desk.step(call, "ringing")
        desk.arm_guard(call, GUARD_RINGING_S)
        desk.do(do.Ring(call.call_id, call.channel_id))
    _queue(desk, call)


def _wrap_up_s(desk: Desk, call: Call) -> float:
    own = call.script.wrap_up_s if call.script is not None else None
    return desk.state.directory.wrap_up_s if own is None else own


def _queue(desk: Desk, call: Call) -> None:
    assert call.script is not None
    desk.distribute(
        desk,
        acd_events.CallQueued(
            call.call_id,
            call.script.client_id,
            call.received_at,
            _wrap_up_s(desk, call),
            call.offers,
        ),
    )


def _answer(desk: Desk, call: Call) -> None:
    call.answer_sent = True
    desk.do(do.Answer(call.call_id, call.channel_id))


def _play(desk: Desk, call: Call, media: str) -> None:
    call.sounds += 1
    call.sound_id = f"{OURS}{call.call_id}-s{call.sounds}"
    desk.do(do.Play(call.call_id, call.channel_id, call.sound_id, media))


def _stop_sound(desk: Desk, call: Call) -> None:
    desk.do(do.StopSound(call.call_id, call.channel_id, call.sound_id))
    call.sound_id = ""


def _wait(desk: Desk, call: Call) -> None:
    """A caller who was answered hears the client's music until an agent is there."""
    assert call.script is not None
    call.stage = Stage.WAITING
    desk.step(call, "music")
    desk.do(do.StartMusic(call.call_id, call.channel_id, call.script.music))


# --- sounds -------------------------------------------------------------------------------------


def greeting_done(desk: Desk, call: Call) -> None:
    """The greeting is over and no agent is there yet."""
    call.sound_id = ""
    _wait(desk, call)


def announcement_done(desk: Desk, call: Call) -> None:
    """The caller has heard the announcement."""
    call.sound_id = ""
    close(desk, call, call.outcome_if_left, call.reason_if_left)


# --- offers and legs ----------------------------------------------------------------------------


def _leg_id(offer_id: OfferId) -> ChannelId:
    return ChannelId(f"{OURS}{offer_id}")


def offer(desk: Desk, call: Call, made: Offer) -> None:
    """The distribution chose an agent: make the leg (it is dialled once it is ours)."""
    script = call.script
    assert script is not None
    call.offers += 1
    leg = Leg(_leg_id(made.offer_id), made.agent_id, made.offer_id)
    call.legs[leg.channel_id] = leg
    call.leg_id = leg.channel_id
    desk.state.channels[leg.channel_id] = call.call_id
    desk.step(call, "offered", agent=made.agent_id)
    desk.do(
        do.CreateLeg(
            call.call_id,
            leg.channel_id,
            made.agent_id,
            call.channel_id,
            call.caller_number or "anonymous",
            script.name,
        )
    )
    if not call.bridge_id:
        call.bridge_id = f"{OURS}{call.call_id}"
        desk.do(do.CreateBridge(call.call_id, call.channel_id, call.bridge_id))


def withdraw(desk: Desk, call: Call, withdrawn: WithdrawOffer) -> None:
    """The distribution takes the offer back."""
    leg = call.legs[_leg_id(withdrawn.offer_id)]
    call.leg_id = None
    desk.step(call, "offer_withdrawn", agent=leg.agent_id, reason=withdrawn.reason)
    _drop_leg(desk, call, leg, "no_answer" if withdrawn.reason == "no_answer" else "normal")


def _drop_leg(desk: Desk, call: Call, leg: Leg, reason: str) -> None:
    if leg.stage is not LegStage.LEAVING:
        leg.stage = LegStage.LEAVING
        desk.do(do.HangupLeg(call.call_id, leg.channel_id, reason))


def leg_ready(desk: Desk, call: Call, leg: Leg) -> None:
    """The new leg is ours: ring the agent, once."""
    if leg.stage is not LegStage.CREATING:
        return
    leg.stage = LegStage.DIALLED
    timeout_s = desk.state.directory.rules.ring_timeout_s + DIAL_GUARD_S
    desk.do(do.Dial(call.call_id, leg.channel_id, timeout_s))


def leg_ringing(desk: Desk, call: Call, leg: Leg) -> None:
    """The agent's softphone rings."""
    if leg.stage is not LegStage.RINGING:  # 180 may come more than once
        leg.stage = LegStage.RINGING
        desk.step(call, "agent_ringing", agent=leg.agent_id)


def leg_up(desk: Desk, call: Call, leg: Leg) -> None:
    """The agent picked up: join the two."""
    leg.stage = LegStage.UP
    if call.stage is Stage.GREETING:
        _stop_sound(desk, call)
    elif call.answer_sent:
        desk.do(do.StopMusic(call.call_id, call.channel_id))
    call.stage = Stage.CONNECTING
    call.agent_id = leg.agent_id
    call.answered_at = desk.now
    if not call.answer_sent:
        desk.do(CancelTimer(guard_of(call)))
        _answer(desk, call)
    desk.do(do.Join(call.call_id, call.channel_id, call.bridge_id, leg.channel_id))
    desk.step(call, "agent_answered", agent=leg.agent_id)
    desk.distribute(desk, acd_events.OfferAccepted(leg.offer_id))


def caller_joined(desk: Desk, call: Call) -> None:
    """The caller is in the bridge."""
    call.caller_joined = True
    _talk_if_joined(desk, call)


def leg_joined(desk: Desk, call: Call, leg: Leg) -> None:
    """The agent is in the bridge."""
    leg.joined = True
    _talk_if_joined(desk, call)


def _talk_if_joined(desk: Desk, call: Call) -> None:
    leg = call.leg
    if call.caller_joined and leg is not None and leg.joined:
        call.stage = Stage.TALKING
        desk.step(call, "connected", agent=leg.agent_id)


def leg_refused(desk: Desk, call: Call, leg: Leg, cause: int) -> None:
    """The agent's softphone said no, or could not be reached."""
    call.leg_id = None
    if cause in REFUSALS:
        failure = acd_events.OfferFailure.REFUSED
    elif cause:
        failure = acd_events.OfferFailure.UNREACHABLE
    else:
        failure = acd_events.OfferFailure.LOST
    desk.step(call, "offer_failed", agent=leg.agent_id, reason=failure, cause=str(cause))
    desk.distribute(desk, acd_events.OfferFailed(leg.offer_id, failure))


def leg_impossible(desk: Desk, call: Call, leg: Leg, status: int, message: str) -> None:
    """Asterisk would not make or ring the leg."""
    call.leg_id = None
    # 500 "Allocation failed" is how Asterisk says that the account has no registered phone.
    failure = (
        acd_events.OfferFailure.UNREACHABLE if status == 500 else acd_events.OfferFailure.FAILED
    )
    desk.step(call, "offer_failed", agent=leg.agent_id, reason=failure, message=message[:200])
    _drop_leg(desk, call, leg, "normal")
    desk.distribute(desk, acd_events.OfferFailed(leg.offer_id, failure))


def agent_lost(desk: Desk, call: Call, leg: Leg, cause: int) -> None:
    """The agent hung up before being heard."""
    _back_to_queue(desk, call, leg, f"hung up ({cause})")


def join_failed(desk: Desk, call: Call, leg: Leg, status: int, message: str) -> None:
    """Asterisk would not join the two. If the caller is gone its report follows."""
    _back_to_queue(desk, call, leg, f"{status} {message}"[:200])


def _back_to_queue(desk: Desk, call: Call, leg: Leg, why: str) -> None:
    """The agent was lost between picking up and being heard: the caller keeps the place."""
    call.leg_id = None
    call.agent_id = None
    call.answered_at = None
    call.caller_joined = False
    desk.step(call, "agent_lost", agent=leg.agent_id, reason=why)
    _drop_leg(desk, call, leg, "normal")
    desk.distribute(desk, acd_events.AgentReleased(call.call_id, leg.agent_id))
    # The caller may be in the bridge already: out of it, the next offer makes a new one.
    desk.do(do.DestroyBridge(call.call_id, call.channel_id, call.bridge_id))
    call.bridge_id = ""
    # Was answered, so hears music now, whatever the policy: ringing would be over.
    _wait(desk, call)
    _queue(desk, call)


# --- the end ------------------------------------------------------------------------------------


def caller_left(desk: Desk, call: Call) -> None:
    """The caller hung up.

    Who was being joined with an agent when nobody was looking, and is gone now, has talked: the
    joining takes milliseconds.
    """
    if call.stage is Stage.CONNECTING and call.reason_if_left == FOUND_GONE:
        call.stage = Stage.TALKING
    if call.stage is Stage.TALKING:
        close(desk, call, Outcome.ANSWERED, call.reason_if_left)
    else:
        close(desk, call, call.outcome_if_left, call.reason_if_left)


def rang_too_long(desk: Desk, call: Call) -> None:
    """Nobody picked up for so long that no caller can be there any more."""
    close(desk, call, Outcome.ABANDONED, RING_LIMIT)


def agent_left(desk: Desk, call: Call, leg: Leg, cause: int) -> None:
    """The agent hung up, so the talk is over."""
    close(desk, call, Outcome.ANSWERED, "agent_hangup")


def close(desk: Desk, call: Call, outcome: Outcome, reason: str) -> None:
    """Give the call its one outcome and clear away what belongs to it."""
    stage = call.stage
    leg = call.leg
    call.stage = Stage.ENDED
    detail = {"outcome": outcome.value, "stage": stage.value, "reason": reason}
    desk.step(call, "ended", **detail)
    directory = desk.state.directory
    due_at = desk.now
    if call.agent_id is not None:
        due_at += _wrap_up_s(desk, call) + directory.note_grace_s
    desk.do(
        CallClosed(
            call.call_id,
            desk.now,
            outcome,
            stage,
            reason,
            call.agent_id,
            call.answered_at if outcome is Outcome.ANSWERED else None,
            due_at,
        )
    )
    desk.arm_guard(call, GUARD_ENDED_S)
    if stage in (Stage.GREETING, Stage.WAITING):
        desk.distribute(desk, acd_events.CallLeft(call.call_id))
    elif call.agent_id is not None:
        call.leg_id = None
        if leg is not None:  # unless its end is why the call ends
            _drop_leg(desk, call, leg, "normal")
        desk.distribute(desk, acd_events.AgentReleased(call.call_id, call.agent_id))
    if call.bridge_id:
        desk.do(do.DestroyBridge(call.call_id, call.channel_id, call.bridge_id))
    if not call.caller_gone:
        desk.do(do.Hangup(call.call_id, call.channel_id, "normal"))
    forget_if_empty(desk, call)


def forget_if_empty(desk: Desk, call: Call) -> None:
    """Drop a closed call once nothing of it is left in Asterisk."""
    if call.stage is Stage.ENDED and call.caller_gone and not call.legs:
        desk.do(CancelTimer(guard_of(call)))
        del desk.state.calls[call.call_id]


def guard_due(desk: Desk, call: Call) -> None:
    """A report that should have come did not."""
    if call.stage is Stage.ANNOUNCEMENT:
        announcement_done(desk, call)
    else:
        # Where there is nothing to hang up any more, the answer to this says so. A call that was
        # forgotten with its caller still there would come back as a new one.
        if not call.caller_gone:
            desk.do(do.Hangup(call.call_id, call.channel_id, "normal"))
        for leg in call.legs.values():
            desk.do(do.HangupLeg(call.call_id, leg.channel_id, "normal"))
        desk.arm_guard(call, GUARD_ENDED_S)

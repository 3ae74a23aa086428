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

import msgspec

from vsek.acd import events as acd_events
from vsek.acd.effects import DECISION_COUNTS, CancelTimer, Decision, Offer, WithdrawOffer
from vsek.call import effects as do
from vsek.call import forwarding, screening, treating
from vsek.call.desk import (
    DIAL_GUARD_S,
    GUARD_ENDED_S,
    GUARD_RINGING_S,
    Desk,
    answer,
    bridge,
    close,
    connect,
    drop_leg,
    guard_of,
    play,
    queue,
    say_goodbye,
    wait,
)
from vsek.call.model import IN_A_GAP, Call, Leg, LegStage
from vsek.domain.ids import OURS, ChannelId, OfferId
from vsek.domain.outcomes import AGENT_LOST, FOUND_GONE, RING_LIMIT, Outcome, Stage

# Q.850 causes by which an agent's softphone says no, in contrast to being out of reach.
REFUSALS = frozenset({17, 18, 19, 21, 31})
_ALLOCATION_FAILED = 500
"""How Asterisk says that the account has no registered phone."""
_LATE_S = 0.25
"""A telephone that is asked to ring later than this after the offer has its whole time from then
on; usually it is a few milliseconds."""
LEG_S = 30.0
"""How long Asterisk is given to make an agent's leg, in seconds."""


# --- arriving -----------------------------------------------------------------------------------


def announce(desk: Desk, call: Call, media: str, outcome: Outcome, reason: str) -> None:
    """Answer, tell the caller something, and end the call with ``outcome``."""
    desk.step(call, "announcement", reason=reason)
    answer(desk, call)
    say_goodbye(desk, call, media, outcome, reason)


def begin(desk: Desk, call: Call) -> None:
    """Start the client's answer policy and ask for an agent."""
    script = call.script
    assert script is not None
    if script.policy in ("greet", "screen"):
        answer(desk, call)
        if script.greeting:
            call.stage = Stage.GREETING
            desk.step(call, "greeting")
            play(desk, call, script.greeting)
        elif script.screening is not None:
            screening.ask(desk, call)
        else:
            wait(desk, call)
        if script.screening is not None:
            return  # an agent is rung when it is known who calls and why
    else:
        call.stage = Stage.WAITING
        desk.step(call, "ringing")
        desk.arm_guard(call, GUARD_RINGING_S)
        desk.do(do.Ring(call.call_id, call.channel_id))
    queue(desk, call)


# --- sounds -------------------------------------------------------------------------------------


def greeting_done(desk: Desk, call: Call) -> None:
    """The greeting is over and no agent is there yet."""
    call.sound_id = ""
    assert call.script is not None
    if call.script.screening is not None:
        screening.ask(desk, call)
    else:
        treating.resume(desk, call)


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
    desk.step(call, "offered", agent=made.agent_id, **_decision(made.decision))
    desk.do(
        do.CreateLeg(
            call.call_id,
            leg.channel_id,
            made.agent_id,
            call.channel_id,
            call.caller_number or "anonymous",
            screening.shown_name(call, script.name),
        )
    )
    bridge(desk, call)


def _decision(decision: Decision) -> dict[str, str]:
    """What the timeline tells of a decision; counts of nobody are left out."""
    told = {"sequence": str(decision.sequence), "waited_s": f"{decision.waited_s:.3f}"}
    counts = msgspec.structs.asdict(decision)
    for name in ("rules_version", "circle", "known", *DECISION_COUNTS):
        if counts[name]:
            told[name] = str(int(counts[name]))
    return told


def withdraw(desk: Desk, call: Call, withdrawn: WithdrawOffer) -> None:
    """The distribution takes the offer back."""
    leg = call.legs[_leg_id(withdrawn.offer_id)]
    call.leg_id = None
    desk.step(call, "offer_withdrawn", agent=leg.agent_id, reason=withdrawn.reason)
    drop_leg(desk, call, leg, "no_answer" if withdrawn.reason == "no_answer" else "normal")
    treating.go_on(desk, call)


def leg_ready(desk: Desk, call: Call, leg: Leg) -> None:
    """The new leg is ours: ring the agent, once."""
    if leg.stage is not LegStage.CREATING:
        return
    leg.stage = LegStage.DIALLED
    timeout_s = desk.state.directory.rules.ring_timeout_s + DIAL_GUARD_S
    desk.do(do.Dial(call.call_id, leg.channel_id, timeout_s))
    if desk.now - desk.state.acd.agents[leg.agent_id].since > _LATE_S:
        desk.distribute(desk, acd_events.OfferDelayed(leg.offer_id))


def ring_later(desk: Desk, call: Call, leg: Leg) -> None:
    """The time to ring is over, and Asterisk has not even made the leg: it has too much to do."""
    waited_s = desk.now - desk.state.acd.agents[leg.agent_id].since
    if 0 <= waited_s < LEG_S:  # a clock that was set back would have us wait for as long
        desk.distribute(desk, acd_events.OfferDelayed(leg.offer_id))
    else:
        leg_impossible(desk, call, leg, 0, f"not made within {waited_s:.0f} s")


def leg_ringing(desk: Desk, call: Call, leg: Leg) -> None:
    """The agent's softphone rings."""
    if leg.stage is not LegStage.RINGING:  # 180 may come more than once
        leg.stage = LegStage.RINGING
        desk.step(call, "agent_ringing", agent=leg.agent_id)


def leg_up(desk: Desk, call: Call, leg: Leg) -> None:
    """The agent picked up: join the two."""
    leg.stage = LegStage.UP
    call.agent_id = leg.agent_id
    heard = treating.give_way(desk, call)
    if call.screened is not None and call.screened.recording:
        if heard:
            wait(desk, call)  # with music, while the agent listens
        screening.brief(desk, call, leg)
    else:
        if not call.answer_sent:
            answer(desk, call)
        elif not heard:
            desk.do(do.StopMusic(call.call_id, call.channel_id))
        connect(desk, call, leg)
    desk.distribute(desk, acd_events.OfferAccepted(leg.offer_id))
    waited = {"waited_s": f"{call.waited_s:.3f}"}
    if call.expected_s is not None:
        waited["expected_s"] = f"{call.expected_s:.3f}"
    desk.step(call, "agent_answered", agent=leg.agent_id, **waited)


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
    elif cause == IN_A_GAP:
        failure = acd_events.OfferFailure.LOST
    elif cause:
        failure = acd_events.OfferFailure.UNREACHABLE
    else:
        failure = acd_events.OfferFailure.FAILED
    desk.step(call, "offer_failed", agent=leg.agent_id, reason=failure, cause=_told(cause))
    desk.distribute(desk, acd_events.OfferFailed(leg.offer_id, failure))
    treating.go_on(desk, call)


def _told(cause: int) -> str:
    return "in a gap" if cause == IN_A_GAP else str(cause)


def leg_impossible(desk: Desk, call: Call, leg: Leg, status: int, message: str) -> None:
    """Asterisk would not make or ring the leg."""
    call.leg_id = None
    if status == _ALLOCATION_FAILED:
        failure = acd_events.OfferFailure.UNREACHABLE
    else:
        # Asterisk that does not answer (0) says nothing about the agent.
        failure = acd_events.OfferFailure.FAILED if status else acd_events.OfferFailure.LOST
    desk.step(call, "offer_failed", agent=leg.agent_id, reason=failure, message=message[:200])
    drop_leg(desk, call, leg, "normal")
    desk.distribute(desk, acd_events.OfferFailed(leg.offer_id, failure))
    treating.go_on(desk, call)


def agent_lost(desk: Desk, call: Call, leg: Leg, cause: int) -> None:
    """The agent hung up before being heard."""
    _back_to_queue(desk, call, leg, f"hung up ({_told(cause)})")


def join_failed(desk: Desk, call: Call, leg: Leg, status: int, message: str) -> None:
    """Asterisk would not join the two. If the caller is gone its report follows."""
    _back_to_queue(desk, call, leg, f"{status} {message}"[:200])


def _back_to_queue(desk: Desk, call: Call, leg: Leg, why: str) -> None:
    """The agent was lost between picking up and being heard: the caller keeps the place."""
    music = call.stage is Stage.BRIEFING
    call.leg_id = None
    call.agent_id = None
    call.answered_at = None
    call.caller_joined = False
    call.briefing_id = ""
    desk.step(call, "agent_lost", agent=leg.agent_id, reason=why)
    drop_leg(desk, call, leg, "normal")
    desk.distribute(desk, acd_events.AgentReleased(call.call_id, leg.agent_id))
    # The caller may be in the bridge already: out of it, the next offer makes a new one.
    desk.do(do.DestroyBridge(call.call_id, call.channel_id, call.bridge_id))
    call.bridge_id = ""
    if music:
        desk.do(CancelTimer(guard_of(call)))
        call.stage = Stage.WAITING  # and hears it still
    else:
        # Was answered, so hears music now, whatever the policy: ringing would be over.
        wait(desk, call)
    queue(desk, call)


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
    elif call.stage is Stage.FORWARDED:
        forwarding.caller_left(desk, call)
    else:
        close(desk, call, call.outcome_if_left, call.reason_if_left)


def rang_too_long(desk: Desk, call: Call) -> None:
    """Nobody picked up for so long that no caller can be there any more."""
    close(desk, call, Outcome.ABANDONED, RING_LIMIT)


def agent_left(desk: Desk, call: Call, leg: Leg, cause: int) -> None:
    """The agent hung up, or was lost: the talk is over."""
    close(desk, call, Outcome.ANSWERED, AGENT_LOST if _is_fault(cause) else "agent_hangup")


def _is_fault(cause: int) -> bool:
    """Whether a leg that ended with ``cause`` (Q.850) was lost: 20 and 27 are out of reach, 32 to
    47 are for lack of resources (44 also where no sound came any more), from 96 on the protocol
    failed. 0 is unknown, and found after a gap: more likely hung up."""
    return cause in (20, 27) or 32 <= cause <= 47 or cause >= 96


def guard_due(desk: Desk, call: Call) -> None:
    """A report that should have come did not."""
    if call.stage is Stage.ANNOUNCEMENT:
        announcement_done(desk, call)
    else:
        # Where there is nothing to hang up any more, the answer to this says so. A call that was
        # forgotten with its caller still there would come back as a new one.
        if not call.caller_gone:
            desk.do(do.Hangup(call.call_id, call.channel_id, "normal"))
        for channel_id in (*call.legs, *call.forwards):
            desk.do(do.HangupLeg(call.call_id, channel_id, "normal"))
        desk.arm_guard(call, GUARD_ENDED_S)

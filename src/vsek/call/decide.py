"""The one way through: ``decide(state, event, now)`` changes the state and says what is to be done.

Deterministic: the same state, events and times give the same effects, so a journal of the events
is a journal of everything. The distribution is asked from here; what it wants from calls is
carried out by their scripts within the same decision. It gives callers to agents once, at the end:
only then everything is known that the event means, who is free and who waits.
"""

from __future__ import annotations

from typing import Any, assert_never

from vsek.acd import effects as acd_effects
from vsek.acd import events as acd_events
from vsek.acd.decide import RING_TIMER, match, take
from vsek.acd.hours import is_open
from vsek.acd.known import Why
from vsek.acd.waiting import CALL_TIMER
from vsek.call import effects as do
from vsek.call import events as ev
from vsek.call import script
from vsek.call.desk import (
    GUARD,
    Desk,
    close,
    forget_forward,
    forget_if_empty,
    recording_of,
)
from vsek.call.fallback import remember
from vsek.call.forwarding import came_back
from vsek.call.model import Call, ClientScript, Directory, Forward, Leg, LegStage, State, owner_of
from vsek.call.reconcile import NO_CALL, reconcile
from vsek.call.table import TABLE, Happening
from vsek.domain.ids import AgentId, CallId, ClientId
from vsek.domain.ledger import Served
from vsek.domain.outcomes import LOOP, Outcome
from vsek.domain.records import CallOpened, NoteDueMoved, RecordingMade

_NOT_FOUND = 404
_CONFLICT = 409
"""The leg is there already, or was dialled already: the command was sent twice."""


def decide(state: State, event: ev.Event, now: float) -> list[do.Effect]:
    """What follows from ``event`` at ``now`` (Unix seconds). Changes ``state``."""
    desk = Desk(state, now, distribute)
    match event:
        case ev.ChannelUp() | ev.ChannelRinging() | ev.LegReady() | ev.Joined() | ev.ChannelGone():
            _channel_event(desk, event)
        case ev.CallArrived():
            _arrived(desk, event)
        case ev.SoundDone():
            _sound_done(desk, event)
        case ev.RecordingDone() | ev.Examined():
            _recorded(desk, event)
        case ev.KeyPressed():
            _key_pressed(desk, event)
        case ev.CallerDiverted():
            _caller_diverted(desk, event)
        case ev.LedgerTold():
            _ledger_told(desk, event)
        case ev.CommandFailed():
            _command_failed(desk, event)
        case acd_events.TimerDue():
            _timer_due(desk, event)
        case acd_events.AgentReachable() | acd_events.AgentReadied() | acd_events.AgentPaused():
            if event.agent_id in state.acd.agents:
                distribute(desk, event)
        case ev.DirectoryChanged():
            _directory_changed(desk, event.directory)
        case ev.AsteriskAway() | ev.Reconciled():
            _asterisk(desk, event)
        case _:
            assert_never(event)
    _carry_out(desk, match(state.acd, now))
    _keep_timers(state, desk.effects)
    return desk.effects


def distribute(desk: Desk, event: acd_events.Event) -> None:
    """Tell the distribution and carry out what it wants; it offers calls at the decision's end."""
    _carry_out(desk, take(desk.state.acd, event, desk.now))


def _carry_out(desk: Desk, wanted: list[acd_effects.Effect]) -> None:
    for effect in wanted:
        match effect:
            case acd_effects.Offer():
                script.offer(desk, desk.state.calls[effect.call_id], effect)
            case acd_effects.WithdrawOffer():
                call_id = CallId(effect.offer_id.rpartition(".")[0])
                script.withdraw(desk, desk.state.calls[call_id], effect)
            case acd_effects.WrapUpEnded():
                due_at = effect.at + desk.state.directory.note_grace_s
                desk.do(NoteDueMoved(effect.call_id, effect.agent_id, due_at))
            case acd_effects.Answered():
                call = desk.state.calls[effect.call_id]
                call.waited_s, call.expected_s = effect.waited_s, effect.expected_s
            case acd_effects.Regrouped():
                call = desk.state.calls[effect.call_id]
                desk.step(call, "regrouped", group=effect.group)
            case acd_effects.Treat():
                call = desk.state.calls[effect.call_id]
                happen(desk, call, Happening.TREATMENT, effect.action, effect.detail)
            case acd_effects.SetTimer() | acd_effects.CancelTimer() | acd_effects.AgentChanged():
                desk.do(effect)
            case _:
                assert_never(effect)


def happen(desk: Desk, call: Call, happening: Happening, *detail: Any) -> None:
    """Look the happening up in the call's table and do what stands there."""
    cell = TABLE[call.stage][happening]
    if not isinstance(cell, str):
        cell(desk, call, *detail)


def _arrived(desk: Desk, event: ev.CallArrived) -> None:
    state = desk.state
    if event.channel_id in state.channels or event.channel_id in state.told:
        return  # seen already: reported again after a reconnect, or later than its end
    call = _open(desk, event, desk.now)
    client = call.script
    directory = state.directory
    if _goes_round(state, event):
        # Not answered: whoever placed the call, perhaps we ourselves, shall go on without us.
        close(desk, call, Outcome.FAILED, LOOP)
    elif client is None:
        media = directory.announcements.get(f"unknown_number.{directory.default_language}", "")
        script.announce(desk, call, media, Outcome.UNKNOWN_NUMBER, "unknown_number")
    elif not is_open(client.hours, client.timezone, desk.now, client.days, client.closures):
        media = directory.announcements.get(f"closed.{client.language}", "")
        script.announce(desk, call, media, Outcome.ABANDONED, "closed")
    else:
        if event.recognised:
            _tell_who_calls(desk, call, event)
        script.begin(desk, call)


def _tell_who_calls(desk: Desk, call: Call, event: ev.CallArrived) -> None:
    told = {"agents": ", ".join(event.known), "sure": "yes" if event.sure else ""}
    known = {name: text for name, text in told.items() if text}
    desk.step(call, "recognised", why=event.recognised.value, **known)


def _caller_key(directory: Directory, client: ClientScript | None, event: ev.CallArrived) -> str:
    """The caller's number, unless many callers share it: the client's own, that of a system which
    forwards under its own name, or one from which so many call that nobody can be told apart."""
    number = event.caller_number
    if client is None or event.recognised is Why.CROWD or number in event.forwarded_by:
        return ""
    return "" if belongs_to(directory, client.client_id, number) else number


def belongs_to(directory: Directory, client_id: ClientId, number: str) -> bool:
    """Whether ``number`` is one of the client's own."""
    return client_id in (owner_of(directory.dids, number), owner_of(directory.forwarders, number))


def _open(desk: Desk, event: ev.CallArrived, received_at: float) -> Call:
    """The call, known from now on."""
    state = desk.state
    client, did = find_client(state.directory, event.dids, event.forwarded_by)
    loop = _goes_round(state, event)
    if loop:
        client = None  # operations are told: no client has been called
    call = Call(
        event.call_id,
        event.channel_id,
        client,
        received_at,
        event.caller_number,
        event.caller_name,
        did=did,
        caller_key=_caller_key(directory=state.directory, client=client, event=event),
        known=event.known,
        sure=event.sure,
    )
    state.calls[call.call_id] = call
    state.channels[call.channel_id] = call.call_id
    desk.do(
        CallOpened(
            call.call_id,
            client.client_id if client is not None else None,
            received_at,
            event.caller_number,
            event.caller_name,
            event.caller_withheld,
            did,
            event.forwarded_by,
            event.forward_reason,
            client.policy if client is not None else "",
            event.channel_id,
        )
    )
    desk.step(call, "arrived", did=did, **({"loop": loop} if loop else {}))
    return call


def _goes_round(state: State, event: ev.CallArrived) -> str:
    """Why this is a call that goes round in circles, in a word; empty: it is none.

    A call that carries the id of a call which we have now was placed by us for that one; and one
    that shows the number which we show just now.
    """
    if event.loop or event.our_call in state.calls:
        return event.loop or "our_call"
    return "our_number" if came_back(state, event.caller_number, event.dids) else ""


def find_client(
    directory: Directory, dids: tuple[str, ...], forwarded_by: tuple[str, ...]
) -> tuple[ClientScript | None, str]:
    """The client who was called, and the number at which the call arrived.

    A number of its own at the service wins; otherwise the first registered number in the
    forwarding chain, from the most recent forwarder to the first.
    """
    for number in dids:
        owner = owner_of(directory.dids, number)
        if owner is not None:
            return directory.clients[owner], number
    did = dids[0] if dids else ""
    for number in forwarded_by:
        owner = owner_of(directory.forwarders, number)
        if owner is not None:
            return directory.clients[owner], did
    return None, did


ChannelEvent = ev.ChannelUp | ev.ChannelRinging | ev.LegReady | ev.Joined | ev.ChannelGone


def _channel_event(desk: Desk, event: ChannelEvent) -> None:
    call_id = desk.state.channels.get(event.channel_id)
    if call_id is None:
        # None of ours, or known to be gone; but a leg that came so late that it was given up must
        # not stay, nor somebody who took another's place in a talk (SIP's Replaces).
        if isinstance(event, ev.LegReady | ev.Joined):
            desk.do(do.HangupStray(NO_CALL, event.channel_id))
        return
    call = desk.state.calls[call_id]
    if event.channel_id == call.channel_id:
        _caller_event(desk, call, event)
    elif event.channel_id in call.legs:
        _leg_event(desk, call, call.legs[event.channel_id], event)
    else:
        _forward_event(desk, call, call.forwards[event.channel_id], event)


def _caller_event(desk: Desk, call: Call, event: ChannelEvent) -> None:
    match event:
        case ev.ChannelGone():
            del desk.state.channels[call.channel_id]
            call.caller_gone = True
            remember(desk.state, call.channel_id, call.call_id)
            happen(desk, call, Happening.CALLER_GONE)
            if call.call_id in desk.state.calls:
                forget_if_empty(desk, call)
        case ev.Joined():
            happen(desk, call, Happening.CALLER_JOINED)
        case _:
            pass  # our own answer and ringing, reported back


def _leg_event(desk: Desk, call: Call, leg: Leg, event: ChannelEvent) -> None:
    if isinstance(event, ev.ChannelGone):
        current = leg.channel_id == call.leg_id
        del desk.state.channels[leg.channel_id]
        del call.legs[leg.channel_id]
        if current:
            # Gone already: nothing is left to hang up.
            leg.stage = LegStage.LEAVING
            happen(desk, call, Happening.LEG_GONE, leg, event.cause)
        forget_if_empty(desk, call)
    elif leg.channel_id != call.leg_id:
        # An answer (or a birth) that crossed our hang-up: the hang-up counts.
        if not isinstance(event, ev.Joined | ev.ChannelRinging):
            desk.do(do.HangupLeg(call.call_id, leg.channel_id, "answered_elsewhere"))
    else:
        happen(desk, call, _LEG_HAPPENINGS[type(event)], leg)


def _forward_event(desk: Desk, call: Call, forward: Forward, event: ChannelEvent) -> None:
    current = forward.channel_id == call.forward_id
    match event:
        case ev.ChannelGone():
            forget_forward(desk, call, forward)
            if current:
                happen(desk, call, Happening.FORWARD_GONE, forward, event.cause)
            forget_if_empty(desk, call)
        case ev.LegReady() | ev.ChannelUp() if not current:
            # Crossed our hang-up: the hang-up counts.
            desk.do(do.HangupLeg(call.call_id, forward.channel_id, "normal"))
        case ev.LegReady():
            happen(desk, call, Happening.FORWARD_READY, forward)
        case ev.ChannelUp():
            happen(desk, call, Happening.FORWARD_UP, forward)
        case ev.Joined() if current:
            happen(desk, call, Happening.FORWARD_JOINED, forward)
        case _:
            pass  # it rings, or was hung up before it was in


_LEG_HAPPENINGS: dict[type, Happening] = {
    ev.LegReady: Happening.LEG_READY,
    ev.ChannelRinging: Happening.LEG_RINGING,
    ev.ChannelUp: Happening.LEG_UP,
    ev.Joined: Happening.LEG_JOINED,
}


def _sound_done(desk: Desk, event: ev.SoundDone) -> None:
    call = desk.state.calls.get(event.call_id)
    if call is None:
        return
    if call.sound_id == event.sound_id:
        happen(desk, call, Happening.SOUND_DONE if event.played else Happening.SOUND_FAILED)
    elif call.briefing_id == event.sound_id:
        happen(desk, call, Happening.BRIEFING_DONE)


def _recorded(desk: Desk, event: ev.RecordingDone | ev.Examined) -> None:
    call = desk.state.calls.get(event.call_id)
    if call is None:
        return
    if isinstance(event, ev.RecordingDone):
        happen(desk, call, Happening.RECORDING_DONE, event.recording)
    else:
        heard = (event.recording, event.finding, event.spoken_s)
        happen(desk, call, Happening.EXAMINED, *heard)


def _key_pressed(desk: Desk, event: ev.KeyPressed) -> None:
    call_id = desk.state.channels.get(event.channel_id)
    if call_id is None:
        return
    call = desk.state.calls[call_id]
    if event.channel_id == call.channel_id:
        happen(desk, call, Happening.CALLER_KEY, event.key)
    elif event.channel_id == call.leg_id:
        happen(desk, call, Happening.LEG_KEY, event.key)


def _caller_diverted(desk: Desk, event: ev.CallerDiverted) -> None:
    call_id = desk.state.channels.get(event.channel_id)
    if call_id is not None:
        happen(desk, desk.state.calls[call_id], Happening.CALLER_DIVERTED)


def _ledger_told(desk: Desk, event: ev.LedgerTold) -> None:
    state = desk.state
    channel_id = event.arrival.channel_id
    call_id = state.channels.get(channel_id) or state.told.get(channel_id)
    if call_id is None:
        happen(desk, _open(desk, event.arrival, event.began_at), Happening.LEDGER_TOLD, event)
    elif call_id in state.calls:
        call = state.calls[call_id]
        if event.served is Served.VSEK and channel_id in state.channels:
            # It was ours to the end; only the report of that end is missing.
            _channel_event(desk, ev.ChannelGone(channel_id))
        else:
            happen(desk, call, Happening.LEDGER_TOLD, event)
    elif event.message:
        at = event.ended_at
        desk.do(RecordingMade(call_id, at, "voicemail", event.message, consent=True))


def _command_failed(desk: Desk, event: ev.CommandFailed) -> None:
    call = desk.state.calls.get(event.call_id)
    if call is None:
        return
    match event.command:
        case "Play":
            _play_failed(desk, call, event)
        case "Brief":
            # No answer is no refusal: it may begin yet, under the talk.
            if event.status:
                happen(desk, call, Happening.BRIEFING_DONE)
            else:
                happen(desk, call, Happening.LEG_KEY, "")
        case "Record":
            recording = recording_of(call)
            if not event.status and recording:
                # As with a sound: it may begin yet, and who is recorded can be joined to nobody.
                desk.do(do.StopRecording(call.call_id, call.channel_id, recording))
            happen(desk, call, Happening.RECORDING_DONE, recording)
        case "Join":
            _join_failed(desk, call, event)
        case "CreateLeg" | "CreateForward" | "Dial":
            if event.status != _CONFLICT:
                _leg_failed(desk, call, event)
        case _ if event.status == _NOT_FOUND:
            _channel_event(desk, ev.ChannelGone(event.channel_id))
        case _:
            pass


def _play_failed(desk: Desk, call: Call, event: ev.CommandFailed) -> None:
    if not event.status and event.sound_id:
        # No answer is no refusal: it may begin yet, under the music or the talk.
        desk.do(do.StopSound(call.call_id, call.channel_id, event.sound_id))
    if event.sound_id in ("", call.sound_id):  # journals of earlier versions name none
        happen(desk, call, Happening.SOUND_FAILED)


def _join_failed(desk: Desk, call: Call, event: ev.CommandFailed) -> None:
    leg, forward = call.leg, call.forward
    if leg is not None and leg.channel_id == event.channel_id:
        happen(desk, call, Happening.JOIN_FAILED, leg, event.status, event.message)
    elif forward is not None and forward.channel_id == event.channel_id:
        happen(desk, call, Happening.FORWARD_FAILED, forward, event.status, event.message)


def _leg_failed(desk: Desk, call: Call, event: ev.CommandFailed) -> None:
    leg = call.legs.get(event.channel_id)
    if leg is None:
        if event.channel_id in call.forwards:
            _forward_failed(desk, call, event, call.forwards[event.channel_id])
        return
    if event.command == "CreateLeg" and event.status:
        # Asterisk said that there is no such channel, so no report of its end will come.
        del desk.state.channels[leg.channel_id]
        del call.legs[leg.channel_id]
    if leg.channel_id == call.leg_id:
        if event.command == "CreateLeg" and event.status:
            leg.stage = LegStage.LEAVING
        happen(desk, call, Happening.LEG_FAILED, leg, event.status, event.message)
    forget_if_empty(desk, call)


def _forward_failed(desk: Desk, call: Call, event: ev.CommandFailed, forward: Forward) -> None:
    current = forward.channel_id == call.forward_id
    if event.command == "CreateForward" and event.status:
        # As with a leg: no report of its end will come.
        forget_forward(desk, call, forward)
    if current:
        happen(desk, call, Happening.FORWARD_FAILED, forward, event.status, event.message)
    forget_if_empty(desk, call)


def _timer_due(desk: Desk, event: acd_events.TimerDue) -> None:
    armed = desk.state.timers.get(event.name)
    if armed is None or armed[0] != event.generation:
        return
    del desk.state.timers[event.name]
    if event.name.startswith(GUARD):
        call_id = CallId(event.name.removeprefix(GUARD))
        happen(desk, desk.state.calls[call_id], Happening.GUARD_DUE)
    elif event.name.startswith(RING_TIMER) and (offered := _not_rung(desk.state, event)):
        script.ring_later(desk, *offered)
    else:
        distribute(desk, event)


def _not_rung(state: State, event: acd_events.TimerDue) -> tuple[Call, Leg] | None:
    """The call and leg of an agent whose telephone was not even asked to ring."""
    agent = state.acd.agents.get(AgentId(event.name.removeprefix(RING_TIMER)))
    call = state.calls.get(agent.call_id) if agent is not None and agent.call_id else None
    leg = call.leg if call is not None else None
    if call is None or leg is None or leg.stage is not LegStage.CREATING:
        return None
    return call, leg


def _asterisk(desk: Desk, event: ev.AsteriskAway | ev.Reconciled) -> None:
    distribute(desk, acd_events.Halted(isinstance(event, ev.AsteriskAway)))
    if isinstance(event, ev.Reconciled):
        reconcile(desk, event, happen)
        _catch_up(desk)


def _catch_up(desk: Desk) -> None:
    """Look at the callers for whom something fell due meanwhile (a circle opens, the agent did not
    come in time) before the timers do: callers who came later are about to be told of."""
    for name, (generation, deadline) in list(desk.state.timers.items()):
        if name.startswith(CALL_TIMER) and deadline <= desk.now:
            _timer_due(desk, acd_events.TimerDue(name, generation))


def _directory_changed(desk: Desk, directory: Directory) -> None:
    state = desk.state
    state.directory = directory
    distribute(desk, acd_events.RulesChanged(directory.rules))
    for agent_id in [a for a in state.acd.agents if a not in directory.agents]:
        distribute(desk, acd_events.AgentRemoved(agent_id))
    for agent_id in directory.agents:
        distribute(desk, acd_events.AgentAdded(AgentId(agent_id)))


def _keep_timers(state: State, effects: list[do.Effect]) -> None:
    for effect in effects:
        if isinstance(effect, acd_effects.SetTimer):
            state.timers[effect.name] = (effect.generation, effect.deadline)
        elif isinstance(effect, acd_effects.CancelTimer):
            state.timers.pop(effect.name, None)

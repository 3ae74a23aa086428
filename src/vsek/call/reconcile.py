"""Bringing the state and Asterisk together after a start or a reconnect.

Asterisk decides which channels exist and who is joined with whom; the journal knows everything
else. In the gap events and commands got lost. Each difference is turned into the event that was
missed, or into the command that was not carried out; all of these are harmless when nothing was
missed. Callers are offered to agents when all of it was taken in, so no leg that the picture cannot
know is made meanwhile, and nobody is rung for a caller who is found gone.
"""

from __future__ import annotations

from collections.abc import Callable

from vsek.call import effects as do
from vsek.call.desk import Desk, bridge_name, forget_forward, forget_if_empty, play
from vsek.call.events import Reconciled
from vsek.call.fallback import remember
from vsek.call.model import IN_A_GAP, Asking, Call, Forward, Leg, LegStage
from vsek.call.screening import briefing_of, say_again
from vsek.call.table import Happening
from vsek.domain.ids import OURS, CallId, ChannelId
from vsek.domain.outcomes import CALLER_HANGUP, FOUND_GONE, Stage

NO_CALL = CallId("")

Happen = Callable[..., None]


def reconcile(desk: Desk, world: Reconciled, happen: Happen) -> None:
    """Act on every difference between the state and ``world``."""
    state = desk.state
    known = set(state.channels)
    calls = list(state.calls.values())
    # Briefings that ended meanwhile; those that begin from here on are in no picture either, and
    # so it is with sounds and with legs to clients' numbers.
    briefed = {call.briefing_id for call in calls}.difference(world.sounds)
    heard = {call.call_id: call.sounds for call in calls}
    # Who hung up comes first: nobody is to be blamed for a caller who is gone.
    for call in calls:
        if not call.caller_gone and call.channel_id not in world.channels:
            del state.channels[call.channel_id]
            call.caller_gone = True
            remember(state, call.channel_id, call.call_id)
            if call.reason_if_left == CALLER_HANGUP:
                call.reason_if_left = FOUND_GONE
            happen(desk, call, Happening.CALLER_GONE)
        elif call.channel_id in world.diverted and call.stage is not Stage.FALLBACK:
            happen(desk, call, Happening.CALLER_DIVERTED)
    for call in calls:
        if call.channel_id in state.channels:
            _clear_the_way(desk, call, world)
        for leg in list(call.legs.values()):
            _leg(desk, call, leg, world, happen)
        for forward in [call.forwards[one] for one in call.forwards if one in known]:
            _forward(desk, call, forward, world, happen)
        if call.call_id in state.calls:
            forget_if_empty(desk, call)
        there = call.call_id in state.calls and not call.caller_gone
        if there and call.sounds == heard[call.call_id]:
            _caller(desk, call, world, briefed, happen)
    _remove_strays(desk, world, known)


def _remove_strays(desk: Desk, world: Reconciled, known: set[ChannelId]) -> None:
    state = desk.state
    for channel_id in world.channels:
        if channel_id.startswith(OURS) and channel_id not in known:
            desk.do(do.HangupStray(NO_CALL, channel_id))
    bridges = {call.bridge_id for call in state.calls.values() if call.stage is not Stage.ENDED}
    for bridge_id in world.bridges:
        if bridge_id.startswith(OURS) and bridge_id not in bridges:
            desk.do(do.DestroyBridge(NO_CALL, ChannelId(""), bridge_id))


def _clear_the_way(desk: Desk, call: Call, world: Reconciled) -> None:
    """Before two can be joined: a bridge, and nothing left over that keeps the caller busy."""
    if call.stage in (Stage.ENDED, Stage.FALLBACK):
        return
    if call.answer_sent and world.channels[call.channel_id] != "Up":
        desk.do(do.Answer(call.call_id, call.channel_id))
    if call.bridge_id and call.bridge_id not in world.bridges:
        desk.do(do.CreateBridge(call.call_id, call.channel_id, call.bridge_id))
    if call.channel_id not in world.bridges.get(call.bridge_id, ()):
        _stop_old_sounds(desk, call)
        _stop_old_recording(desk, call, world)


def _leg(desk: Desk, call: Call, leg: Leg, world: Reconciled, happen: Happen) -> None:
    current = leg.channel_id == call.leg_id
    if leg.channel_id not in world.channels:
        if current and call.channel_id in world.bridges.get(call.bridge_id, ()):
            # The two were joined, and the agent has ended the talk.
            happen(desk, call, Happening.CALLER_JOINED)
            happen(desk, call, Happening.LEG_JOINED, leg)
        del desk.state.channels[leg.channel_id]
        del call.legs[leg.channel_id]
        if current:
            leg.stage = LegStage.LEAVING
            happen(desk, call, Happening.LEG_GONE, leg, IN_A_GAP)
    elif not current:
        desk.do(do.HangupLeg(call.call_id, leg.channel_id, "normal"))
    elif call.stage not in _WITH_AGENT:
        match world.channels[leg.channel_id]:
            case "Up":
                happen(desk, call, Happening.LEG_UP, leg)
            case "Down":
                # One that was dialled must not be dialled again: that would end it. One that is
                # not ours yet is reported when it is.
                if leg.channel_id in world.undialled:
                    leg.stage = LegStage.CREATING
                    happen(desk, call, Happening.LEG_READY, leg)
            case _ if leg.stage is not LegStage.RINGING:
                happen(desk, call, Happening.LEG_RINGING, leg)
            case _:
                pass


_WITH_AGENT = (Stage.BRIEFING, Stage.CONNECTING, Stage.TALKING)


def _forward(desk: Desk, call: Call, forward: Forward, world: Reconciled, happen: Happen) -> None:
    """As with an agent's leg."""
    current = forward.channel_id == call.forward_id
    state = world.channels.get(forward.channel_id)
    if state is None:
        if current and call.channel_id in world.bridges.get(call.bridge_id, ()):
            happen(desk, call, Happening.CALLER_JOINED)
            happen(desk, call, Happening.FORWARD_JOINED, forward)
        forget_forward(desk, call, forward)
        if current:
            happen(desk, call, Happening.FORWARD_GONE, forward, 0)
    elif not current:
        desk.do(do.HangupLeg(call.call_id, forward.channel_id, "normal"))
    elif call.stage is Stage.FORWARDING and state == "Up":
        happen(desk, call, Happening.FORWARD_UP, forward)
    elif call.stage is Stage.FORWARDING and forward.channel_id in world.undialled:
        forward.stage = LegStage.CREATING
        happen(desk, call, Happening.FORWARD_READY, forward)


def _caller(desk: Desk, call: Call, world: Reconciled, briefed: set[str], happen: Happen) -> None:
    up = world.channels[call.channel_id] == "Up"
    match call.stage:
        case Stage.ENDED:
            desk.do(do.Hangup(call.call_id, call.channel_id, "normal"))
        case Stage.FALLBACK:
            pass  # not in our hands
        case Stage.SCREENING:
            _ask_on(desk, call, world, up, happen)
        case Stage.BRIEFING:
            _resume_waiting(desk, call)
            if call.briefing_id in briefed:
                happen(desk, call, Happening.BRIEFING_DONE)
        case Stage.CONNECTING | Stage.TALKING:
            _rejoin(desk, call, world, happen)
        case Stage.FORWARDED:
            _rejoin_forward(desk, call, world, happen)
        case Stage.VOICEMAIL:
            _leave_bridge(desk, call, world)
            _hear_on(desk, call, world, up, happen)
        case Stage.GREETING | Stage.ANNOUNCEMENT | Stage.NOTICE | Stage.CALLBACK:
            _leave_bridge(desk, call, world)
            if not call.sound_id:
                pass  # keys are waited for
            elif not up:
                _start_again(desk, call)
            elif call.sound_id not in world.sounds:
                happen(desk, call, Happening.SOUND_DONE)
        case _:
            _leave_bridge(desk, call, world)
            _resume_waiting(desk, call)


def _ask_on(desk: Desk, call: Call, world: Reconciled, up: bool, happen: Happen) -> None:
    screened = call.screened
    assert screened is not None
    match screened.asking:
        case Asking.PROMPT | Asking.NOTICE | Asking.TONE if not up:
            _start_again(desk, call)
        case Asking.PROMPT | Asking.NOTICE | Asking.TONE if call.sound_id not in world.sounds:
            # Ended, or never begun: nobody is recorded without having been told so.
            say_again(desk, call)
        case Asking.RECORDING if screened.recording not in world.recordings:
            happen(desk, call, Happening.RECORDING_DONE, screened.recording)
        case Asking.EXAMINING:
            desk.do(do.Examine(call.call_id, screened.recording))
        case _:
            pass  # goes on by itself, or its timer runs


def _hear_on(desk: Desk, call: Call, world: Reconciled, up: bool, happen: Happen) -> None:
    if not up:
        _start_again(desk, call)
    elif not call.message:
        if call.sound_id not in world.sounds:
            # Ended, or never begun: nobody is recorded without having been told so.
            play(desk, call, call.media)
    elif call.message not in world.recordings:
        happen(desk, call, Happening.RECORDING_DONE, call.message)


def _start_again(desk: Desk, call: Call) -> None:
    """The answer never reached Asterisk, nor did what followed on it."""
    desk.do(do.Play(call.call_id, call.channel_id, call.sound_id, call.media))


def _leave_bridge(desk: Desk, call: Call, world: Reconciled) -> None:
    """The agent was lost, and the end of the bridge in which the caller is left got lost too."""
    for number in range(1, call.bridges + 1):
        bridge_id = bridge_name(call, number)
        if bridge_id != call.bridge_id and call.channel_id in world.bridges.get(bridge_id, ()):
            desk.do(do.DestroyBridge(call.call_id, call.channel_id, bridge_id))


def _resume_waiting(desk: Desk, call: Call) -> None:
    if call.answer_sent:
        assert call.script is not None
        desk.do(do.StartMusic(call.call_id, call.channel_id, call.script.music))
    else:
        desk.do(do.Ring(call.call_id, call.channel_id))


def _stop_old_sounds(desk: Desk, call: Call) -> None:
    """The commands to stop them may have been lost."""
    for number in range(1, call.sounds + 1):
        sound_id = f"{OURS}{call.call_id}-s{number}"
        if sound_id != call.sound_id:
            desk.do(do.StopSound(call.call_id, call.channel_id, sound_id))


def _stop_old_recording(desk: Desk, call: Call, world: Reconciled) -> None:
    """The same of a recording; nobody can be joined who is being recorded."""
    if call.message in world.recordings and call.stage is not Stage.VOICEMAIL:
        desk.do(do.StopRecording(call.call_id, call.channel_id, call.message))
    screened = call.screened
    if screened is not None and screened.recording in world.recordings:
        asking = call.stage is Stage.SCREENING and screened.asking is Asking.RECORDING
        if not asking:
            desk.do(do.StopRecording(call.call_id, call.channel_id, screened.recording))


def _rejoin(desk: Desk, call: Call, world: Reconciled, happen: Happen) -> None:
    leg = call.leg
    assert leg is not None
    members = world.bridges.get(call.bridge_id, ())
    if call.channel_id in members and leg.channel_id in members:
        happen(desk, call, Happening.CALLER_JOINED)
        happen(desk, call, Happening.LEG_JOINED, leg)
        return
    if call.screened is not None:
        # The agent would be joined only after hearing it out, and all of this connection waits.
        briefing = briefing_of(call)
        desk.do(do.StopBriefing(call.call_id, leg.channel_id, briefing))
    desk.do(do.StopMusic(call.call_id, call.channel_id))
    desk.do(do.Join(call.call_id, call.channel_id, call.bridge_id, leg.channel_id))


def _rejoin_forward(desk: Desk, call: Call, world: Reconciled, happen: Happen) -> None:
    forward = call.forward
    assert forward is not None
    members = world.bridges.get(call.bridge_id, ())
    if call.channel_id in members and forward.channel_id in members:
        happen(desk, call, Happening.CALLER_JOINED)
        happen(desk, call, Happening.FORWARD_JOINED, forward)
        return
    desk.do(do.StopMusic(call.call_id, call.channel_id))
    desk.do(do.Join(call.call_id, call.channel_id, call.bridge_id, forward.channel_id))

"""Bringing the state and Asterisk together after a start or a reconnect.

Asterisk decides which channels exist and who is joined with whom; the journal knows everything
else. In the gap events and commands got lost. Each difference is turned into the event that was
missed, or into the command that was not carried out; all of these are harmless when nothing was
missed.
"""

from __future__ import annotations

from collections.abc import Callable

from vsek.call import effects as do
from vsek.call.events import Reconciled
from vsek.call.model import Call, Leg, LegStage
from vsek.call.script import Desk, forget_if_empty
from vsek.call.table import Happening
from vsek.domain.ids import CallId, ChannelId
from vsek.domain.outcomes import Stage

OURS = "vsek-"
NO_CALL = CallId("")

Happen = Callable[..., None]


def reconcile(desk: Desk, world: Reconciled, happen: Happen) -> None:
    """Act on every difference between the state and ``world``."""
    state = desk.state
    for call in list(state.calls.values()):
        _legs(desk, call, world, happen)
        if call.call_id in state.calls:
            _caller(desk, call, world, happen)
    for channel_id in world.channels:
        if channel_id.startswith(OURS) and channel_id not in state.channels:
            desk.do(do.HangupStray(NO_CALL, channel_id))
    bridges = {call.bridge_id for call in state.calls.values() if call.stage is not Stage.ENDED}
    for bridge_id in world.bridges:
        if bridge_id.startswith(OURS) and bridge_id not in bridges:
            desk.do(do.DestroyBridge(NO_CALL, ChannelId(""), bridge_id))


def _legs(desk: Desk, call: Call, world: Reconciled, happen: Happen) -> None:
    for leg in list(call.legs.values()):
        current = leg.channel_id == call.leg_id
        if leg.channel_id not in world.channels:
            del desk.state.channels[leg.channel_id]
            del call.legs[leg.channel_id]
            if current:
                leg.stage = LegStage.LEAVING
                happen(desk, call, Happening.LEG_GONE, leg, 0)
            if call.call_id in desk.state.calls:
                forget_if_empty(desk, call)
        elif not current:
            desk.do(do.HangupLeg(call.call_id, leg.channel_id, "normal"))
        else:
            _current_leg(desk, call, leg, world.channels[leg.channel_id], happen)


def _current_leg(desk: Desk, call: Call, leg: Leg, state: str, happen: Happen) -> None:
    if call.stage not in (Stage.GREETING, Stage.WAITING):
        return
    if state == "Up":
        happen(desk, call, Happening.LEG_UP, leg)
    elif state == "Down":
        # Created, perhaps never dialled. Dialling twice is refused by Asterisk and harmless.
        happen(desk, call, Happening.LEG_READY, leg)


def _caller(desk: Desk, call: Call, world: Reconciled, happen: Happen) -> None:
    if call.channel_id not in world.channels:
        if not call.caller_gone:
            del desk.state.channels[call.channel_id]
            call.caller_gone = True
            happen(desk, call, Happening.CALLER_GONE)
        if call.call_id in desk.state.calls:
            forget_if_empty(desk, call)
        return
    up = world.channels[call.channel_id] == "Up"
    match call.stage:
        case Stage.ENDED:
            desk.do(do.Hangup(call.call_id, call.channel_id, "normal"))
        case Stage.CONNECTING | Stage.TALKING:
            _rejoin(desk, call, world, up, happen)
        case Stage.GREETING | Stage.ANNOUNCEMENT:
            if not up:
                _start_again(desk, call)
            elif call.sound_id not in world.sounds:
                happen(desk, call, Happening.SOUND_DONE)
        case _:
            _resume_waiting(desk, call, up)
    if call.bridge_id and call.bridge_id not in world.bridges and call.stage is not Stage.ENDED:
        desk.do(do.CreateBridge(call.call_id, call.channel_id, call.bridge_id))


def _start_again(desk: Desk, call: Call) -> None:
    """The answer never reached Asterisk: the caller still hears it ring."""
    assert call.script is not None or call.announcement
    media = call.announcement or (call.script.greeting if call.script is not None else "")
    desk.do(do.Answer(call.call_id, call.channel_id))
    desk.do(do.Play(call.call_id, call.channel_id, call.sound_id, media))


def _resume_waiting(desk: Desk, call: Call, up: bool) -> None:
    assert call.script is not None
    if call.answer_sent:
        if not up:
            desk.do(do.Answer(call.call_id, call.channel_id))
        desk.do(do.StartMusic(call.call_id, call.channel_id, call.script.music))
    else:
        desk.do(do.Ring(call.call_id, call.channel_id))


def _rejoin(desk: Desk, call: Call, world: Reconciled, up: bool, happen: Happen) -> None:
    leg = call.leg
    assert leg is not None
    members = world.bridges.get(call.bridge_id, ())
    if call.channel_id in members and leg.channel_id in members:
        happen(desk, call, Happening.CALLER_JOINED)
        happen(desk, call, Happening.LEG_JOINED, leg)
        return
    if not up:
        desk.do(do.Answer(call.call_id, call.channel_id))
    desk.do(do.CreateBridge(call.call_id, call.channel_id, call.bridge_id))
    desk.do(do.Join(call.call_id, call.channel_id, call.bridge_id, leg.channel_id))

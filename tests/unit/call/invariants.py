"""What must hold of calls and Asterisk: after each decision, and when nothing is under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vsek.acd.invariants import check
from vsek.acd.state import AgentState
from vsek.call.model import Asking, Call, CallingBack, LegStage
from vsek.domain.ids import AgentId, CallId, ChannelId
from vsek.domain.outcomes import Stage

if TYPE_CHECKING:
    from tests.unit.call.house import House

_TOGETHER = (Stage.CONNECTING, Stage.TALKING, Stage.FORWARDED)
_WITH_AGENT = (Stage.BRIEFING, Stage.CONNECTING, Stage.TALKING)
_WAITING = (Stage.WAITING, Stage.NOTICE, Stage.CALLBACK, Stage.FORWARDING)


def after_decision(house: House) -> None:
    """What holds after every decision."""
    state = house.state
    check(state.acd)
    engaged: dict[AgentId, CallId] = {}
    for call in state.calls.values():
        assert (call.call_id in house.closed) == (call.stage is Stage.ENDED)
        leg = call.leg
        assert (leg is not None) == (call.leg_id is not None)
        assert (call.stage in _WITH_AGENT) <= (leg is not None)
        for other in call.legs.values():
            if other is leg:
                assert other.stage is not LegStage.LEAVING
                assert other.agent_id not in engaged, "double booking"
                engaged[other.agent_id] = call.call_id
            else:
                assert other.stage is LegStage.LEAVING, "an old leg was not hung up"
            assert state.channels[other.channel_id] == call.call_id
        forward = call.forward
        assert (forward is not None) == (call.forward_id is not None)
        assert (call.stage in (Stage.FORWARDING, Stage.FORWARDED)) == (forward is not None)
        for one in call.forwards.values():
            assert (one is forward) == (one.stage is not LegStage.LEAVING)
            assert state.channels[one.channel_id] == call.call_id
        queued = state.acd.calls.get(call.call_id)
        assert (queued is not None) == _queued(call)
        if leg is not None and queued is not None:
            assert queued.agent_id == leg.agent_id
    busy = {
        agent.agent_id: agent.call_id
        for agent in state.acd.agents.values()
        if agent.state in (AgentState.OFFERED, AgentState.TALKING)
    }
    assert busy == engaged
    assert set(state.acd.calls) <= set(state.calls)
    for timer in state.acd.timers():
        assert state.timers[timer.name] == (timer.generation, timer.deadline)
    guards = {name for name in state.timers if name.startswith("guard:")}
    assert guards == {f"guard:{call.call_id}" for call in state.calls.values() if _guarded(call)}
    assert len(state.timers) == len(guards) + len(state.acd.timers())
    assert set(house.opened) == set(house.closed) | {
        c.call_id for c in state.calls.values() if c.stage is not Stage.ENDED
    }


def when_quiet(house: House) -> None:
    """What holds when nothing is under way: state and world are one."""
    world = house.asterisk
    there: set[ChannelId] = set()
    ghosts: set[ChannelId] = set()
    live = [call for call in house.state.calls.values() if call.stage is not Stage.ENDED]
    for call in house.state.calls.values():
        ghosts |= {leg.channel_id for leg in call.legs.values() if leg is not call.leg}
        ghosts |= {one.channel_id for one in call.forwards.values() if one is not call.forward}
        if call.stage is Stage.ENDED and not call.caller_gone:
            ghosts.add(call.channel_id)
    for call in live:
        if not call.caller_gone:
            there.add(call.channel_id)
        if call.leg is not None:
            there.add(call.leg.channel_id)
        if call.forward is not None:
            there.add(call.forward.channel_id)
        _check_call(house, call)
    # The answer to a hang-up can come too late to be heard; then the guard asks again. The end
    # of a caller who was diverted is told by the ledger alone.
    diverted = {key for key, channel in world.channels.items() if channel.fallback}
    told = {c.channel_id for c in live if c.stage is Stage.FALLBACK}
    assert house.late or not ghosts - world.unheard, "what is over lingers"
    assert set(world.channels) - diverted == there - told
    assert set(house.state.channels) == there | ghosts
    assert set(world.bridges) <= {call.bridge_id for call in live}
    assert house.late or not world.waited_for, "two were joined after somebody heard a sound out"


def _check_call(house: House, call: Call) -> None:
    world = house.asterisk
    if call.stage is Stage.FALLBACK:
        return
    caller = world.channels[call.channel_id]
    leg = world.channels[call.leg.channel_id] if call.leg is not None else None
    recording = [caller.recording] if caller.recording else []
    sound = [call.sound_id] if call.sound_id else []
    heard = (Stage.GREETING, Stage.ANNOUNCEMENT, Stage.NOTICE, Stage.CALLBACK, Stage.VOICEMAIL)
    musical = (Stage.WAITING, Stage.FORWARDING, Stage.BRIEFING)
    music = call.stage in musical and call.answer_sent
    if call.stage is Stage.SCREENING:
        assert call.screened is not None
        asking = call.screened.asking
        saying = asking in (Asking.PROMPT, Asking.NOTICE, Asking.TONE)
        assert caller.sounds == ([call.sound_id] if saying else [])
        assert recording == ([call.screened.recording] if asking is Asking.RECORDING else [])
        waits = [asked.recording for asked in house.examining if asked.call_id == call.call_id]
        assert (asking is Asking.EXAMINING) <= (call.screened.recording in waits)
    else:
        message = [call.message] if call.stage is Stage.VOICEMAIL and call.message else []
        assert (caller.sounds, recording) == (sound if call.stage in heard else [], message)
        assert sound or message or call.stage in (*musical, *_TOGETHER, Stage.CALLBACK)
    assert caller.music == (call.script.music if music and call.script else "")
    assert caller.ringback if not call.answer_sent else caller.state == "Up"
    if call.stage is Stage.BRIEFING:
        assert leg is not None
        assert (leg.state, leg.sounds) == ("Up", [call.briefing_id])
    elif call.stage is Stage.TALKING:
        assert leg is not None
        assert leg.bridge == caller.bridge == call.bridge_id != ""
        assert (leg.state, leg.jobs, leg.music) == ("Up", [], "")
        return
    elif call.stage is Stage.FORWARDED:
        assert call.forward is not None
        forward = world.channels[call.forward.channel_id]
        assert forward.bridge == caller.bridge == call.bridge_id != ""
        assert call.answered_at is not None
        return
    else:
        assert call.stage is not Stage.CONNECTING, "two are up and do not hear each other"
        if leg is not None:
            assert leg.dialled
            assert leg.state != "Up", "an agent picked up and nobody noticed"
    if call.forward is not None:
        forward = world.channels[call.forward.channel_id]
        assert forward.dialled
        assert forward.state != "Up", "the client's number answered and nobody noticed"
    assert not caller.bridge


def _queued(call: Call) -> bool:
    if call.stage is Stage.GREETING:
        return call.script is not None and call.script.screening is None
    if call.stage is Stage.VOICEMAIL:
        return not call.message
    return call.stage in _WAITING or call.stage in _WITH_AGENT


def _guarded(call: Call) -> bool:
    if call.stage is Stage.SCREENING:
        return call.screened is not None
    if call.stage is Stage.CALLBACK:
        return call.callback is not None and call.callback.asking is not CallingBack.OFFERED
    if call.stage is Stage.VOICEMAIL:
        return bool(call.message)
    return call.stage in (
        Stage.FORWARDING,
        Stage.ANNOUNCEMENT,
        Stage.BRIEFING,
        Stage.FALLBACK,
        Stage.ENDED,
    ) or (call.stage is Stage.WAITING and not call.answer_sent)

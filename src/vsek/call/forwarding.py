"""Forwarding a caller who waits to a number of the client's own, over a trunk.

Theory of operation. The number is rung beside the queue (stage ``FORWARDING``): the caller goes on
hearing what was heard, keeps the place, and an agent who becomes free may still pick up first. When
the number answers, the call leaves the queue and the two are joined (``FORWARDED``); whoever hangs
up ends it for both. A number that is busy, does not answer in time or cannot be reached costs the
caller nothing, and is not rung again for this call.

What is dialled stands in the client's rules, and is looked at again here, since a mistake costs
money or rings the police: public numbers only, none for emergencies, none at premium rates, none at
which we answer ourselves. What is shown is a number of ours. A call that comes back to us over the
client's own forwarding is known by the id of the call that it carries, by its forwarding chain, or
by the number that we showed (``decide``); nobody answers it, and so the ringing here fails.
"""

from __future__ import annotations

from vsek.acd import events as acd_events
from vsek.call import effects as do
from vsek.call.desk import (
    DIAL_GUARD_S,
    Desk,
    answer,
    bridge,
    close,
    drop_forward,
    queue,
    wait,
)
from vsek.call.model import Call, Directory, Forward, LegStage, Outbound, State, owner_of
from vsek.domain.destinations import objection
from vsek.domain.ids import OURS, ChannelId
from vsek.domain.numbers import is_e164
from vsek.domain.outcomes import FOUND_GONE, Outcome, Stage


def _shown(directory: Directory, outbound: Outbound, call: Call) -> str:
    """The number of ours that the client's telephone shows: if possible the one called."""
    own = is_e164(call.did) and owner_of(directory.dids, call.did) is not None
    return call.did if own else outbound.number


def refusal(desk: Desk, call: Call, number: str) -> str:
    """Why ``number`` is not rung, in a few words; empty: nothing speaks against it."""
    directory = desk.state.directory
    if directory.outbound is None:
        return "no trunk takes calls from here"
    if not is_e164(number):
        return "is no public number"
    if owner_of(directory.dids, number) is not None:
        return "leads back here"
    if number in call.dialled:
        return "was rung before"
    if not _shown(directory, directory.outbound, call):
        return "there is no number to be shown"
    return objection(number)


def begin(desk: Desk, call: Call, number: str) -> None:
    """Ring the client's number, which was found good, while the caller goes on waiting."""
    directory = desk.state.directory
    outbound = directory.outbound
    assert outbound is not None
    call.dialled = (*call.dialled, number)
    channel_id = ChannelId(f"{OURS}{call.call_id}-f{len(call.dialled)}")
    call.forwards[channel_id] = Forward(channel_id, number)
    call.forward_id = channel_id
    desk.state.channels[channel_id] = call.call_id
    call.stage = Stage.FORWARDING
    shown = _shown(directory, outbound, call)
    desk.step(call, "forwarding", number=number, shown=shown)
    desk.arm_guard(call, outbound.ring_s)
    desk.do(do.CreateForward(call.call_id, channel_id, number, call.channel_id, shown))
    bridge(desk, call)


def ready(desk: Desk, call: Call, forward: Forward) -> None:
    """The channel is ours: ring, once."""
    if forward.stage is LegStage.CREATING:
        forward.stage = LegStage.DIALLED
        outbound = desk.state.directory.outbound or Outbound()
        timeout_s = outbound.ring_s + DIAL_GUARD_S
        desk.do(do.Dial(call.call_id, forward.channel_id, timeout_s))


def up(desk: Desk, call: Call, forward: Forward) -> None:
    """Somebody answered: out of the queue, and the two together."""
    forward.stage = LegStage.UP
    desk.disarm_guard(call)
    call.stage = Stage.FORWARDED
    call.wanted.clear()
    desk.distribute(desk, acd_events.CallLeft(call.call_id, served=True))
    if call.answer_sent:
        desk.do(do.StopMusic(call.call_id, call.channel_id))
    else:
        answer(desk, call)
    desk.do(do.Join(call.call_id, call.channel_id, call.bridge_id, forward.channel_id))


def caller_joined(desk: Desk, call: Call) -> None:
    """The caller is in the bridge."""
    call.caller_joined = True
    _talk_if_joined(desk, call)


def joined(desk: Desk, call: Call, forward: Forward) -> None:
    """The client's number is in the bridge."""
    forward.joined = True
    _talk_if_joined(desk, call)


def _talk_if_joined(desk: Desk, call: Call) -> None:
    forward = call.forward
    both = call.caller_joined and forward is not None and forward.joined
    if both and call.answered_at is None:
        assert forward is not None
        call.answered_at = desk.now
        desk.step(call, "forwarded", number=forward.number)


def caller_left(desk: Desk, call: Call) -> None:
    """The caller hung up. Who was just being joined when nobody was looking has talked."""
    if call.answered_at is None and call.reason_if_left == FOUND_GONE:
        call.answered_at = desk.now
    if call.answered_at is None:
        close(desk, call, call.outcome_if_left, call.reason_if_left)
    else:
        close(desk, call, Outcome.FORWARDED, call.reason_if_left)


def left(desk: Desk, call: Call, forward: Forward, cause: int) -> None:
    """The client's number hung up."""
    if call.answered_at is None:
        _back_to_queue(desk, call, forward, f"hung up ({cause})")
    else:
        close(desk, call, Outcome.FORWARDED, "forward_hangup")


def not_joined(desk: Desk, call: Call, forward: Forward, status: int, message: str) -> None:
    """Asterisk would not join the two."""
    _back_to_queue(desk, call, forward, f"{status} {message}"[:200])


def _back_to_queue(desk: Desk, call: Call, forward: Forward, why: str) -> None:
    """Lost between answering and being heard: the caller keeps the place."""
    failed(desk, call, forward, why)
    call.caller_joined = False
    desk.do(do.DestroyBridge(call.call_id, call.channel_id, call.bridge_id))
    call.bridge_id = ""
    wait(desk, call)
    queue(desk, call)


def failed(desk: Desk, call: Call, forward: Forward, why: str) -> None:
    """The number could not be had, and is left alone."""
    desk.step(call, "forward_failed", number=forward.number, reason=why)
    drop_forward(desk, call)


def came_back(state: State, caller_number: str, dids: tuple[str, ...]) -> bool:
    """Whether a call from ``caller_number`` to one of ``dids`` is one that we are placing: it shows
    the number which we show for that call, just now."""
    outbound = state.directory.outbound
    if outbound is None or not caller_number:
        return False
    if caller_number != outbound.number and owner_of(state.directory.dids, caller_number) is None:
        return False  # whom nobody has to be compared with
    clients = {owner_of(state.directory.dids, did) for did in dids}
    return any(
        call.stage is Stage.FORWARDING
        and call.script is not None
        and call.script.client_id in clients
        and _shown(state.directory, outbound, call) == caller_number
        for call in state.calls.values()
    )

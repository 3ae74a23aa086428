"""What can happen to the distribution. All times are Unix seconds, all durations seconds."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from vsek.acd.rules import Rules
from vsek.domain.ids import AgentId, CallId, ClientId, OfferId


class OfferFailure(StrEnum):
    """Why the ringing of an agent ended without an answer, as seen by the telephone side."""

    REFUSED = "refused"
    """The agent refused (busy or declined)."""
    UNREACHABLE = "unreachable"
    """The agent's softphone could not be reached."""
    LOST = "lost"
    """The agent's leg vanished while nobody looked, or was not made in time: the agent is not to
    blame."""
    FAILED = "failed"
    """Asterisk could not do what was asked."""


class AgentAdded(msgspec.Struct, frozen=True, tag=True):
    """There is an agent; logged out until :class:`AgentReachable`. One who is already there is
    left alone; one who was being removed stays."""

    agent_id: AgentId


class AgentRemoved(msgspec.Struct, frozen=True, tag=True):
    """The agent is no more. A call that the agent is talking with is finished first."""

    agent_id: AgentId


class AgentReachable(msgspec.Struct, frozen=True, tag=True):
    """The agent's softphone is registered and answers, or no longer."""

    agent_id: AgentId
    reachable: bool


class AgentReadied(msgspec.Struct, frozen=True, tag=True):
    """Ends a pause, wrap-up or parking; takes back a pause that was asked for during a call."""

    agent_id: AgentId


class AgentPaused(msgspec.Struct, frozen=True, tag=True):
    """No more calls until :class:`AgentReadied`. During a call: after its wrap-up."""

    agent_id: AgentId
    reason: str


class CallQueued(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A call waits for an agent. ``arrival`` gives its place, also when it is queued again after
    an agent who answered was lost; ``offers`` is then the number of offers made so far, so that
    no offer id is used twice."""

    call_id: CallId
    client_id: ClientId
    arrival: float
    wrap_up_s: float
    """Below 0: the wrap-up has no end of its own, see :class:`AgentReadied`."""
    offers: int = 0
    caller: str = ""
    """What the caller is recognised by (the number); empty: not at all. Who calls the same client
    again soon keeps the place."""
    vip: bool = False
    known: tuple[AgentId, ...] = ()
    """Agents who know the matter, the best one first."""
    sure: bool = False
    """The caller is known for certain, so the call may be kept for one of ``known``."""


class CallLeft(msgspec.Struct, frozen=True, tag=True):
    """The caller is gone, or the call ends otherwise, before an agent answered. A call that the
    distribution does not know is ignored; for one that an agent talks with there is
    :class:`AgentReleased`. ``served``: the caller got something else (a callback, voicemail), so
    that calling again is no claim to the old place."""

    call_id: CallId
    served: bool = False


class OfferAccepted(msgspec.Struct, frozen=True, tag=True):
    """The agent picked up. Ignored when the offer was withdrawn before: ask
    ``acd.calls[…].agent_id`` or look for ``AgentChanged`` to TALKING."""

    offer_id: OfferId


class OfferFailed(msgspec.Struct, frozen=True, tag=True):
    """The ringing ended without an answer. Ignored when the offer was withdrawn before."""

    offer_id: OfferId
    reason: OfferFailure


class OfferDelayed(msgspec.Struct, frozen=True, tag=True):
    """The telephone is asked to ring only now, or not yet: the ring timeout counts from now on.
    Ignored when the offer is over."""

    offer_id: OfferId


class AgentReleased(msgspec.Struct, frozen=True, tag=True):
    """The talk is over, whoever ended it; also when caller and agent were never joined. The call
    leaves the distribution, the agent goes into wrap-up. ``cut``: the talk was cut off by a fault;
    who calls again keeps the place."""

    call_id: CallId
    agent_id: AgentId
    cut: bool = False


class Halted(msgspec.Struct, frozen=True, tag=True):
    """No telephone can be made to ring now (``halted``), or they can again. Meanwhile nobody is
    offered a call, and an offer is not over because nobody picks up: who does cannot be seen."""

    halted: bool


class TimerDue(msgspec.Struct, frozen=True, tag=True):
    """A timer ran out. One that was cancelled or set anew since (``generation``) is dropped."""

    name: str
    generation: int


class RulesChanged(msgspec.Struct, frozen=True, tag=True):
    """Other rules from now on; timers that already run stay. Nobody loses a call, a wrap-up, a
    place or a count."""

    rules: Rules


Event = (
    AgentAdded
    | AgentRemoved
    | AgentReachable
    | AgentReadied
    | AgentPaused
    | CallQueued
    | CallLeft
    | OfferAccepted
    | OfferFailed
    | OfferDelayed
    | AgentReleased
    | Halted
    | TimerDue
    | RulesChanged
)

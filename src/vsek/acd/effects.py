"""What the distribution asks of its owner, in order."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from vsek.acd.state import AgentState
from vsek.domain.ids import AgentId, CallId, OfferId


class Withdrawal(StrEnum):
    """Why an offer ends while its agent still rings."""

    ANSWERED = "answered"
    """Another agent answered. Not used as long as a call rings at one agent at a time."""
    CALLER_LEFT = "caller_left"
    NO_ANSWER = "no_answer"
    AGENT_PAUSED = "agent_paused"
    AGENT_GONE = "agent_gone"
    """No longer reachable, or removed."""


class Offer(msgspec.Struct, frozen=True, tag=True):
    """Ring this agent for this call."""

    offer_id: OfferId
    call_id: CallId
    agent_id: AgentId


class WithdrawOffer(msgspec.Struct, frozen=True, tag=True):
    """Stop ringing. What the offer's leg does after this is of no interest to the distribution."""

    offer_id: OfferId
    reason: Withdrawal


class SetTimer(msgspec.Struct, frozen=True, tag=True):
    """Send ``TimerDue(name, generation)`` at ``deadline`` (Unix seconds). Names begin with
    ``acd:``; a name that already runs is replaced."""

    name: str
    generation: int
    deadline: float


class CancelTimer(msgspec.Struct, frozen=True, tag=True):
    """The timer is no longer needed."""

    name: str


class AgentChanged(msgspec.Struct, frozen=True, tag=True):
    """For whoever watches: the state of an agent changed (or, with ``old`` equal to ``new``, its
    reason). A new agent is announced as LOGGED_OUT → LOGGED_OUT with reason ``added``, a removed
    one goes to LOGGED_OUT with reason ``removed``. ``call_id`` is the call it is about."""

    agent_id: AgentId
    old: AgentState
    new: AgentState
    reason: str
    call_id: CallId | None


class WrapUpEnded(msgspec.Struct, frozen=True, tag=True):
    """Follows on each ``AgentReleased`` exactly once, at once where there is no wrap-up."""

    call_id: CallId
    agent_id: AgentId
    at: float


Effect = Offer | WithdrawOffer | SetTimer | CancelTimer | AgentChanged | WrapUpEnded

"""What the distribution asks of its owner, in order."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from vsek.acd.rules import Action
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


class Decision(msgspec.Struct, frozen=True, gc=False):
    """Why this agent: enough to find the moment again and to see at a glance what it was like."""

    sequence: int
    """Counts the offers ever made."""
    rules_version: int
    waited_s: float
    """Since the arrival that gives the call its place."""
    circle: int
    """How many circles were open."""
    known: bool
    """The agent knows the matter."""
    ready: int
    """How many agents were ready, the chosen one among them."""
    entitled: int
    """How many of those might have taken the call."""
    offered: int
    talking: int
    wrap_up: int
    paused: int
    parked: int
    logged_out: int


DECISION_COUNTS = (
    "ready",
    "entitled",
    "offered",
    "talking",
    "wrap_up",
    "paused",
    "parked",
    "logged_out",
)
"""The fields of :class:`Decision` that count agents."""


class Offer(msgspec.Struct, frozen=True, tag=True):
    """Ring this agent for this call."""

    offer_id: OfferId
    call_id: CallId
    agent_id: AgentId
    decision: Decision


class Treat(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Nobody can take the call in time: do what the client wants then. The call stays in its queue
    until ``CallLeft``."""

    call_id: CallId
    action: Action
    detail: str


class Regrouped(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The call is served by another group from now on."""

    call_id: CallId
    group: str


class Answered(msgspec.Struct, frozen=True, tag=True, gc=False):
    """How long the call waited in its queue, and how long that was expected to take when it began
    to wait (``None``: not known then, 0: an agent was free). Seconds."""

    call_id: CallId
    waited_s: float
    expected_s: float | None


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


Effect = (
    Offer
    | WithdrawOffer
    | SetTimer
    | CancelTimer
    | AgentChanged
    | WrapUpEnded
    | Treat
    | Regrouped
    | Answered
)

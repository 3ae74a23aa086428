"""The transition tables of agents and of queued calls, and the exceptions to them.

Every state answers every input:

``Go(target, reason)``   the state changes (``target`` ``None``: gone for good)
``Keep(why)``            the state stays; what was said is remembered and looked at later
``Ignore(why)``          nothing to do
``Never(why)``           cannot happen; the distribution refuses it loudly

A target is where an agent *would* go. :data:`DETOURS` says where somebody who has no business
there is sent on to, at once and before anything of the skipped state happens: somebody without
wrap-up passes through WRAP_UP, somebody who asked for a pause passes through READY. The first
condition that holds counts, then the detours of the new target are looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Generic, TypeVar

import msgspec

from vsek.acd.state import Agent, AgentState, CallState

State = TypeVar("State", AgentState, CallState)


class Go(msgspec.Struct, Generic[State], frozen=True):
    """Change to ``target``; ``reason`` is what observers are told."""

    target: State | None
    reason: str
    keeps_place: bool = False
    """The agent has done nothing to lose their place among the idle."""


class Keep(msgspec.Struct, frozen=True):
    """Stay, but remember."""

    why: str


class Ignore(msgspec.Struct, frozen=True):
    """Nothing to do."""

    why: str


class Never(msgspec.Struct, frozen=True):
    """A broken promise of whoever sends the events."""

    why: str


class AgentInput(StrEnum):
    """What an agent's state answers to."""

    REACHABLE = "reachable"
    UNREACHABLE = "unreachable"
    READIED = "readied"
    PAUSED = "paused"
    REMOVED = "removed"
    OFFER_MADE = "offer made"
    ACCEPTED = "accepted"
    OFFER_FAILED = "offer failed"
    CALLER_LEFT = "caller left"
    RELEASED = "released"
    RING_DUE = "ring timer"
    WRAP_UP_DUE = "wrap-up timer"
    PARK_DUE = "park timer"


class CallInput(StrEnum):
    """What a call's state answers to."""

    QUEUED = "queued"
    OFFER_MADE = "offer made"
    OFFER_ENDED = "offer ended"
    ACCEPTED = "accepted"
    LEFT = "left"
    RELEASED = "released"


AgentStep = Go[AgentState] | Keep | Ignore | Never
CallStep = Go[CallState] | Never

_S = AgentState
_I = AgentInput

# Inputs that the owner of the tables sends only in the one state that they belong to.
_ONLY_READY = {_I.OFFER_MADE: Never("only a ready agent is offered a call")}
_ONLY_OFFERED = dict.fromkeys(
    (_I.ACCEPTED, _I.OFFER_FAILED, _I.CALLER_LEFT, _I.RING_DUE),
    Never("an offer ends with the state OFFERED, late news of it are dropped before"),
)
_ONLY_TALKING = {_I.RELEASED: Never("the agent does not talk")}
_ONLY_WRAP_UP = {_I.WRAP_UP_DUE: Never("the timer ends with the state WRAP_UP")}
_ONLY_PARKED = {_I.PARK_DUE: Never("the timer ends with the state PARKED")}

AGENTS: Mapping[AgentState, Mapping[AgentInput, AgentStep]] = {
    _S.LOGGED_OUT: {
        _I.REACHABLE: Go(_S.READY, "registered"),
        _I.UNREACHABLE: Ignore("is logged out"),
        _I.READIED: Ignore("ready as soon as the softphone is registered"),
        _I.PAUSED: Go(_S.PAUSED, "paused"),
        _I.REMOVED: Go(None, "removed"),
        **_ONLY_READY,
        **_ONLY_OFFERED,
        **_ONLY_TALKING,
        **_ONLY_WRAP_UP,
        **_ONLY_PARKED,
    },
    _S.READY: {
        _I.REACHABLE: Ignore("is reachable"),
        _I.UNREACHABLE: Go(_S.LOGGED_OUT, "unreachable"),
        _I.READIED: Ignore("is ready"),
        _I.PAUSED: Go(_S.PAUSED, "paused"),
        _I.REMOVED: Go(None, "removed"),
        _I.OFFER_MADE: Go(_S.OFFERED, "offer"),
        **_ONLY_OFFERED,
        **_ONLY_TALKING,
        **_ONLY_WRAP_UP,
        **_ONLY_PARKED,
    },
    _S.OFFERED: {
        _I.REACHABLE: Ignore("is reachable"),
        _I.UNREACHABLE: Go(_S.LOGGED_OUT, "unreachable"),
        _I.READIED: Ignore("is ready"),
        _I.PAUSED: Go(_S.PAUSED, "paused"),
        _I.REMOVED: Go(None, "removed"),
        **_ONLY_READY,
        _I.ACCEPTED: Go(_S.TALKING, "answered"),
        _I.OFFER_FAILED: Go(_S.PARKED, "offer_failed"),
        _I.CALLER_LEFT: Go(_S.READY, "caller_left", keeps_place=True),
        _I.RING_DUE: Go(_S.PARKED, "no_answer"),
        **_ONLY_TALKING,
        **_ONLY_WRAP_UP,
        **_ONLY_PARKED,
    },
    _S.TALKING: {
        _I.REACHABLE: Keep("looked at after the wrap-up"),
        _I.UNREACHABLE: Keep("whether the talk goes on is for the channel to say"),
        _I.READIED: Keep("takes back a pause that was asked for"),
        _I.PAUSED: Keep("the pause begins after the wrap-up"),
        _I.REMOVED: Keep("finishes the call first"),
        **_ONLY_READY,
        **_ONLY_OFFERED,
        _I.RELEASED: Go(_S.WRAP_UP, "released"),
        **_ONLY_WRAP_UP,
        **_ONLY_PARKED,
    },
    _S.WRAP_UP: {
        _I.REACHABLE: Keep("looked at after the wrap-up"),
        _I.UNREACHABLE: Keep("the note can still be written; looked at after the wrap-up"),
        _I.READIED: Go(_S.READY, "readied"),
        _I.PAUSED: Keep("the pause begins after the wrap-up"),
        _I.REMOVED: Go(None, "removed"),
        **_ONLY_READY,
        **_ONLY_OFFERED,
        **_ONLY_TALKING,
        _I.WRAP_UP_DUE: Go(_S.READY, "wrap_up_over"),
        **_ONLY_PARKED,
    },
    _S.PAUSED: {
        _I.REACHABLE: Keep("looked at after the pause"),
        _I.UNREACHABLE: Keep("a pause survives a new login"),
        _I.READIED: Go(_S.READY, "readied"),
        _I.PAUSED: Go(_S.PAUSED, "paused"),
        _I.REMOVED: Go(None, "removed"),
        **_ONLY_READY,
        **_ONLY_OFFERED,
        **_ONLY_TALKING,
        **_ONLY_WRAP_UP,
        **_ONLY_PARKED,
    },
    _S.PARKED: {
        _I.REACHABLE: Ignore("is reachable"),
        _I.UNREACHABLE: Go(_S.LOGGED_OUT, "unreachable"),
        _I.READIED: Go(_S.READY, "readied"),
        _I.PAUSED: Go(_S.PAUSED, "paused"),
        _I.REMOVED: Go(None, "removed"),
        **_ONLY_READY,
        **_ONLY_OFFERED,
        **_ONLY_TALKING,
        **_ONLY_WRAP_UP,
        _I.PARK_DUE: Go(_S.READY, "parking_over"),
    },
}


class Condition(StrEnum):
    """When a state is passed over."""

    LEAVING = "removed meanwhile"
    NO_WRAP_UP = "no wrap-up time"
    PAUSE_WANTED = "pause wanted"
    OFFLINE = "not registered"


DETOURS: Mapping[AgentState, tuple[tuple[Condition, AgentState | None], ...]] = {
    _S.WRAP_UP: ((Condition.LEAVING, None), (Condition.NO_WRAP_UP, _S.READY)),
    _S.READY: ((Condition.PAUSE_WANTED, _S.PAUSED), (Condition.OFFLINE, _S.LOGGED_OUT)),
}


def destination(agent: Agent, target: AgentState | None) -> AgentState | None:
    """Where an agent ends up who is bound for ``target``."""
    if target not in DETOURS:
        return target
    holds = {
        Condition.LEAVING: agent.leaving,
        Condition.NO_WRAP_UP: agent.wrap_up_s == 0,
        Condition.PAUSE_WANTED: agent.pause_wanted is not None,
        Condition.OFFLINE: not agent.reachable,
    }
    detour = True
    while detour and target is not None:
        detour = False
        for condition, beyond in DETOURS.get(target, ()):
            if holds[condition]:
                target, detour = beyond, True
                break
    return target


_C = CallState
_K = CallInput
_TWICE = {_K.QUEUED: Never("the call is queued already")}
_NOT_OFFERED = dict.fromkeys(
    (_K.OFFER_ENDED, _K.ACCEPTED), Never("no agent is being rung for the call")
)

CALLS: Mapping[CallState, Mapping[CallInput, CallStep]] = {
    _C.WAITING: {
        **_TWICE,
        _K.OFFER_MADE: Go(_C.OFFERED, "offer"),
        **_NOT_OFFERED,
        _K.LEFT: Go(None, "left"),
        _K.RELEASED: Never("no agent talks with the caller"),
    },
    _C.OFFERED: {
        **_TWICE,
        _K.OFFER_MADE: Never("one agent is rung at a time"),
        _K.OFFER_ENDED: Go(_C.WAITING, "offer ended"),
        _K.ACCEPTED: Go(_C.TALKING, "answered"),
        _K.LEFT: Go(None, "left"),
        _K.RELEASED: Never("no agent talks with the caller"),
    },
    _C.TALKING: {
        **_TWICE,
        _K.OFFER_MADE: Never("an agent talks with the caller"),
        **_NOT_OFFERED,
        _K.LEFT: Never("a talk ends with AgentReleased"),
        _K.RELEASED: Go(None, "released"),
    },
}

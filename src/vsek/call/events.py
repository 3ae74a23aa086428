"""What can happen to calls: the inputs of :func:`vsek.call.decide.decide`.

The switchboard makes them from Asterisk's events, results of commands, timers and the control
API, writes them to its journal and then has them decided. The events of :mod:`vsek.acd.events`
that concern agents (``AgentReachable``, ``AgentReadied``, ``AgentPaused``) and ``TimerDue`` are
inputs too.
"""

from __future__ import annotations

import msgspec

from vsek.acd.events import AgentPaused, AgentReachable, AgentReadied, TimerDue
from vsek.acd.known import Why
from vsek.call.model import Directory
from vsek.domain.ids import AgentId, CallId, ChannelId
from vsek.domain.ledger import Served
from vsek.domain.outcomes import Finding


class CallArrived(msgspec.Struct, frozen=True, tag=True):
    """A caller's channel entered from the trunk. Numbers are normalised (E.164 where possible)."""

    call_id: CallId
    channel_id: ChannelId
    dids: tuple[str, ...]
    """Candidates for the number at which the call arrived, the best first."""
    caller_number: str = ""
    caller_name: str = ""
    caller_withheld: bool = False
    forwarded_by: tuple[str, ...] = ()
    """The forwarding chain, the most recent forwarder first."""
    forward_reason: str = ""
    loop: str = ""
    """Why the call goes round in circles, judged by its forwarding chain; empty: it does not."""
    our_call: str = ""
    """The call for which we placed this one, if it is one of ours that came back (X-vsek-Call)."""
    known: tuple[AgentId, ...] = ()
    """Agents who know the caller's matter, the best first."""
    sure: bool = False
    """The caller was recognised for certain, so the call may be kept for one of them."""
    recognised: Why = Why.STRANGER
    """By what, or why not."""


class LegReady(msgspec.Struct, frozen=True, tag=True):
    """A leg that we created is under our control and can be dialled."""

    channel_id: ChannelId


class ChannelRinging(msgspec.Struct, frozen=True, tag=True):
    """The far end rings."""

    channel_id: ChannelId


class ChannelUp(msgspec.Struct, frozen=True, tag=True):
    """The far end answered."""

    channel_id: ChannelId


class ChannelGone(msgspec.Struct, frozen=True, tag=True):
    """The channel hung up or left us. ``cause`` is a Q.850 number, 0 when unknown."""

    channel_id: ChannelId
    cause: int = 0


class SoundDone(msgspec.Struct, frozen=True, tag=True):
    """A playback ended, was stopped or could not be played."""

    sound_id: str
    call_id: CallId
    played: bool = True
    """``False``: nothing of it was heard."""


class RecordingDone(msgspec.Struct, frozen=True, tag=True):
    """A recording ended, was stopped or could not be made."""

    recording: str
    """Name of the stored recording."""
    call_id: CallId


class Examined(msgspec.Struct, frozen=True, tag=True):
    """What was heard in a recording."""

    recording: str
    call_id: CallId
    finding: Finding
    spoken_s: float = 0.0


class KeyPressed(msgspec.Struct, frozen=True, tag=True):
    """A key of the telephone: ``0`` to ``9``, ``*``, ``#``, ``A`` to ``D``."""

    channel_id: ChannelId
    key: str


class CallerDiverted(msgspec.Struct, frozen=True, tag=True):
    """The dialplan has taken a caller whom vsek left waiting (it was away, or hung)."""

    channel_id: ChannelId


class LedgerTold(msgspec.Struct, frozen=True, tag=True):
    """Asterisk's own ledger tells of a call that vsek did not serve to its end, or never saw.

    The caller has hung up. Times are Unix seconds.
    """

    arrival: CallArrived
    began_at: float
    ended_at: float
    served: Served
    heard: bool = False
    """Whether the fallback's announcement began."""
    message: str = ""
    """Name of the stored recording with the caller's message; empty: none."""


class Joined(msgspec.Struct, frozen=True, tag=True):
    """A channel entered a bridge of ours."""

    channel_id: ChannelId


class CommandFailed(msgspec.Struct, frozen=True, tag=True):
    """Asterisk refused a command, or did not answer it in time (``status`` 0).

    Told of are ``CreateLeg``, ``CreateForward``, ``Dial``, ``Join`` (``channel_id`` is the leg),
    ``Play``, ``Record``, ``Brief``, and of ``Hangup`` and ``HangupLeg`` that there is nothing to
    hang up (404).
    """

    command: str
    """Name of the effect, for example ``CreateLeg``."""
    call_id: CallId
    channel_id: ChannelId
    status: int
    message: str
    sound_id: str = ""
    """Of ``Play`` and ``Brief``."""


class DirectoryChanged(msgspec.Struct, frozen=True, tag=True):
    """Clients, agents or rules are now these."""

    directory: Directory


class AsteriskAway(msgspec.Struct, frozen=True, tag=True):
    """The connection to Asterisk is lost, until :class:`Reconciled`."""


class Reconciled(msgspec.Struct, frozen=True, tag=True):
    """What Asterisk holds at this moment, after a start or a reconnect.

    ``channels`` maps each channel to its state (``Down``, ``Ring``, ``Ringing``, ``Up`` …),
    ``bridges`` each bridge to its members; ``sounds`` are those of our playbacks that still run.
    """

    channels: dict[ChannelId, str]
    bridges: dict[str, tuple[ChannelId, ...]]
    sounds: tuple[str, ...]
    recordings: tuple[str, ...] = ()
    """Those of our recordings that still run."""
    diverted: tuple[ChannelId, ...] = ()
    """Callers whom the dialplan's fallback serves."""
    undialled: tuple[ChannelId, ...] = ()
    """Legs under our control that nobody has dialled."""


Event = (
    CallArrived
    | LegReady
    | ChannelRinging
    | ChannelUp
    | ChannelGone
    | SoundDone
    | RecordingDone
    | Examined
    | KeyPressed
    | CallerDiverted
    | LedgerTold
    | Joined
    | CommandFailed
    | DirectoryChanged
    | AsteriskAway
    | Reconciled
    | AgentReachable
    | AgentReadied
    | AgentPaused
    | TimerDue
)

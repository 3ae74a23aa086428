"""What the switchboard tells the database about calls.

Records come in order, each batch with the number of the last journal entry that it covers.
Applying a record twice changes nothing: a restarted switchboard replays its journal and sends
again what may not have arrived.
"""

from __future__ import annotations

import msgspec

from vsek.domain.ids import AgentId, CallId, ClientId
from vsek.domain.outcomes import Outcome, Stage


class CallOpened(msgspec.Struct, frozen=True, tag=True):
    """A call came in; also opens its note draft. Times are Unix seconds (UTC)."""

    call_id: CallId
    client_id: ClientId | None
    """``None``: the number that was called belongs to no client."""
    received_at: float
    caller_number: str
    """E.164 where it could be normalised, else as received; empty when withheld."""
    caller_name: str
    caller_withheld: bool
    did: str
    """The number at which the call arrived, as for ``caller_number``."""
    forwarded_by: tuple[str, ...]
    """Forwarding numbers, the most recent forwarder first."""
    forward_reason: str
    policy: str
    channel: str
    """Asterisk's channel id, to find the call in the PBX's own records."""


class CallStep(msgspec.Struct, frozen=True, tag=True):
    """One line of a call's timeline. ``(call_id, number)`` is unique."""

    call_id: CallId
    number: int
    at: float
    kind: str
    detail: dict[str, str]


class CallClosed(msgspec.Struct, frozen=True, tag=True):
    """The call has its outcome. Commits together with its ``note_due`` row."""

    call_id: CallId
    ended_at: float
    outcome: Outcome
    stage: Stage
    """The last stage before the end."""
    reason: str
    """Why it ended, in a word: ``caller_hangup``, ``agent_hangup``, ``closed``, …"""
    agent_id: AgentId | None
    """The agent who picked up."""
    answered_at: float | None
    note_due_at: float
    """When the note leaves at the latest, finished or not."""


class NoteDueMoved(msgspec.Struct, frozen=True, tag=True):
    """Wrap-up ended earlier (or later) than planned: the note leaves at another time.

    Concerns the call only if this agent is the one it was closed with.
    """

    call_id: CallId
    agent_id: AgentId
    due_at: float


NOTHING_SAID = "nothing was said"
"""Why a recording has no audio, where that is no loss."""


class RecordingMade(msgspec.Struct, frozen=True, tag=True):
    """The caller's voice was recorded; the audio follows, or is in the database already.

    Until it is there, a note that is to tell of it waits for a while.
    """

    call_id: CallId
    at: float
    kind: str
    """``screening`` or ``voicemail``."""
    name: str
    """Name of the stored recording in Asterisk."""
    consent: bool
    """The caller was told of the recording, and spoke."""


Record = CallOpened | CallStep | CallClosed | NoteDueMoved | RecordingMade

"""What becomes of a call: exactly one outcome, and for an abandoned one the stage."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """How a call ended, from the client's point of view."""

    ANSWERED = "answered"
    PUT_THROUGH = "put_through"
    CALLBACK = "callback"
    VOICEMAIL = "voicemail"
    ABANDONED = "abandoned"
    FORWARDED = "forwarded"
    BLOCKED = "blocked"
    UNKNOWN_NUMBER = "unknown_number"
    FAILED = "failed"


class Stage(StrEnum):
    """Where a call is; for an abandoned call: where the caller left it."""

    ARRIVING = "arriving"
    """Known to vsek, nothing heard yet."""
    ANNOUNCEMENT = "announcement"
    """Hears an announcement after which the call ends (closed, unknown number, fault)."""
    GREETING = "greeting"
    """Hears the client's greeting; an agent may already be ringing."""
    SCREENING = "screening"
    """Is asked for name and concern, and recorded."""
    WAITING = "waiting"
    """Hears ringback (policy ``ring``) or music (policy ``greet``)."""
    NOTICE = "notice"
    """Waits, and hears an announcement meanwhile."""
    CALLBACK = "callback"
    """Waits, and is asked about being called back instead."""
    VOICEMAIL = "voicemail"
    """Is asked for a message, or leaves one."""
    FORWARDING = "forwarding"
    """Waits, and the client's own number is rung meanwhile."""
    BRIEFING = "briefing"
    """An agent picked up and hears what the caller said; the caller hears music."""
    CONNECTING = "connecting"
    """An agent answered; the two are being joined."""
    TALKING = "talking"
    FORWARDED = "forwarded"
    """Talks with the client's own number, or is just being joined with it."""
    FALLBACK = "fallback"
    """vsek was away or hung: the dialplan took the caller and asks for a message."""
    ENDED = "ended"


class Finding(StrEnum):
    """What was heard of a caller who was asked to speak."""

    SPEECH = "speech"
    SILENCE = "silence"
    MUSIC = "music"
    FAX = "fax"
    MACHINE = "machine"
    """Tones of a network or a machine, no person."""
    UNKNOWN = "unknown"
    """Something, but nobody can say what; or nothing could be recorded."""


# Why a call ended, where more than one part must know the word.
CALLER_HANGUP = "caller_hangup"
FOUND_GONE = "found_gone"
"""Gone when the switchboard came back: whether the caller hung up, or Asterisk went down, and when,
nobody saw."""
AGENT_LOST = "agent_lost"
"""The agent's side of a talk broke, by a fault."""
RING_LIMIT = "ring_limit"
"""It rang for so long that no caller can be there any more."""
FALLBACK = "fallback"
"""Served by the dialplan, because vsek was away."""
MISSED = "missed"
"""Known from Asterisk's own ledger alone: the caller was gone before vsek came back."""
PROMISED = "promised"
"""The caller was promised to be called back."""
MESSAGE = "message"
"""The caller was asked for a message, and heard out."""
FAX = "fax"
"""A fax machine called."""
LOOP = "loop"
"""The call went round in circles, or was one of ours that came back."""

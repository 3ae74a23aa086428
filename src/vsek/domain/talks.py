"""Talks of the past, as far as they matter for who is asked when the caller phones again."""

from __future__ import annotations

import msgspec

from vsek.domain.ids import AgentId, CallId, ClientId

TALK_MIN_S = 3.0
"""Seconds. An agent who talked for less knows no matter."""


class PastTalk(msgspec.Struct, frozen=True, gc=False):
    """One talk of an agent with a caller, and whom its note names."""

    call_id: CallId
    client_id: ClientId
    ended_at: float
    """Unix seconds."""
    agent_id: AgentId
    number: str
    """The caller's, normalised; empty when withheld."""
    shown: str
    """The name that the network showed."""
    dictated: str = ""
    """The number that the caller dictated, normalised."""
    person: str = ""
    company: str = ""

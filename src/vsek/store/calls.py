"""Calls as the database knows them: the newest ones, and one with its timeline and notes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
from pydantic import BaseModel, ConfigDict

from vsek.domain.draft import DraftState, UnknownCallError
from vsek.domain.ids import AgentId, CallId, ClientId
from vsek.domain.outcomes import Outcome, Stage
from vsek.domain.text import clean_line
from vsek.errors import InputError
from vsek.store import recordings
from vsek.store.notes import show_draft
from vsek.store.recordings import Recording

if TYPE_CHECKING:
    from vsek.store.pool import Connection

LIST_LIMIT = 1000

_LIST_SQL = """
SELECT c.id, c.client_id, k.name AS client_name, c.received_at, c.caller_number, c.caller_name,
       c.caller_withheld, c.did, c.forwarded_by, c.forward_reason, c.policy, c.channel,
       c.outcome, c.stage, c.reason, c.agent_id, a.name AS agent_name, c.answered_at, c.ended_at
FROM vsek.calls c
LEFT JOIN vsek.clients k ON k.id = c.client_id
LEFT JOIN vsek.agents a ON a.id = c.agent_id
WHERE ($1::text IS NULL OR c.client_id = $1)
  AND ($2::text IS NULL OR c.outcome = $2)
  AND ($3::text IS NULL OR (c.received_at, c.id) < (
      SELECT b.received_at, b.id FROM vsek.calls b WHERE b.id = $3
  ))
ORDER BY c.received_at DESC, c.id DESC
LIMIT $4
"""
_SHOW_SQL = """
SELECT c.id, c.client_id, k.name AS client_name, c.received_at, c.caller_number, c.caller_name,
       c.caller_withheld, c.did, c.forwarded_by, c.forward_reason, c.policy, c.channel,
       c.outcome, c.stage, c.reason, c.agent_id, a.name AS agent_name, c.answered_at, c.ended_at
FROM vsek.calls c
LEFT JOIN vsek.clients k ON k.id = c.client_id
LEFT JOIN vsek.agents a ON a.id = c.agent_id
WHERE c.id = $1
"""
_OF_CHANNELS_SQL = """
SELECT DISTINCT ON (channel) channel, id, outcome
FROM vsek.calls WHERE channel = ANY ($1::text[])
ORDER BY channel, outcome IS NULL, received_at
"""
_TALKS_BEFORE_SQL = """
SELECT before.agent_id, max(before.answered_at) AS at
FROM vsek.calls c
JOIN vsek.calls before ON before.caller_number = c.caller_number
    AND before.client_id = c.client_id AND before.received_at < c.received_at
WHERE c.id = $1 AND c.caller_number <> '' AND before.answered_at IS NOT NULL
    AND before.agent_id IS NOT NULL
GROUP BY before.agent_id
"""
_STEPS_SQL = """
SELECT number, at, kind, detail::text AS detail FROM vsek.call_steps
WHERE call_id = $1 ORDER BY number
"""
_NOTES_SQL = """
SELECT key, corrects, due_at, left_at, revision, attempts, last_error, acked_at, note_id
FROM vsek.note_due WHERE call_id = $1 ORDER BY id
"""


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class CallSummary(_View):
    """A call, with names where the database has them. Times are in UTC."""

    id: CallId
    client_id: ClientId | None
    client_name: str | None
    received_at: datetime
    caller_number: str
    caller_name: str
    caller_withheld: bool
    did: str
    forwarded_by: list[str]
    forward_reason: str
    policy: str
    channel: str
    outcome: Outcome | None
    """``None``: the call has not ended yet."""
    stage: Stage | None
    reason: str | None
    agent_id: AgentId | None
    agent_name: str | None
    answered_at: datetime | None
    ended_at: datetime | None


class Step(_View):
    """One line of a call's timeline."""

    number: int
    at: datetime
    kind: str
    detail: dict[str, str]


class HandOver(_View):
    """A note of the call on its way to the note service."""

    key: str
    corrects: str | None
    due_at: datetime
    left_at: datetime | None
    revision: int | None
    """The revision of the draft that left."""
    attempts: int
    last_error: str
    acked_at: datetime | None
    note_id: str | None
    """The note service's id, once it has acknowledged the note."""


class CallView(CallSummary):
    """A call with all that is known about it."""

    steps: list[Step]
    note: DraftState
    notes: list[HandOver]
    recordings: list[Recording]
    """What the caller said, without the audio."""


async def list_calls(
    conn: Connection,
    *,
    client_id: str | None = None,
    outcome: Outcome | None = None,
    before: str | None = None,
    limit: int = 50,
) -> list[CallSummary]:
    """The newest calls first; ``before`` (a call's id) continues a list.

    Raises ``InputError`` when ``limit`` is not in 1 … 1000.
    """
    if not 1 <= limit <= LIST_LIMIT:
        raise InputError(
            f"A list has 1 to {LIST_LIMIT} calls, not {limit}",
            field="limit",
            value=limit,
            remedy="Ask for fewer, and continue with 'before'",
        )
    rows = await conn.fetch(
        _LIST_SQL,
        None if client_id is None else clean_line(client_id),
        None if outcome is None else Outcome(outcome).value,
        None if before is None else clean_line(before),
        limit,
    )
    return [CallSummary(**dict(row)) for row in rows]


async def show(conn: Connection, call_id: str) -> CallView:
    """One call; raises ``UnknownCallError`` when the database does not know it."""
    key = clean_line(call_id)
    # The draft first: it says in people's words that there is no such call.
    note = await show_draft(conn, key)
    row = await conn.fetchrow(_SHOW_SQL, key)
    if row is None:
        raise UnknownCallError(call_id)
    steps = [
        Step(
            number=step["number"],
            at=step["at"],
            kind=step["kind"],
            detail=msgspec.json.decode(step["detail"]),
        )
        for step in await conn.fetch(_STEPS_SQL, key)
    ]
    notes = [HandOver(**dict(due)) for due in await conn.fetch(_NOTES_SQL, key)]
    kept = await recordings.of_call(conn, key)
    return CallView(**dict(row), steps=steps, note=note, notes=notes, recordings=kept)


async def talks_before(conn: Connection, call_id: str) -> dict[AgentId, datetime]:
    """When each agent last answered a call from the same number to the same client before this
    one; nobody for a number that is not known."""
    rows = await conn.fetch(_TALKS_BEFORE_SQL, clean_line(call_id))
    return {AgentId(row["agent_id"]): row["at"] for row in rows}


async def of_channels(
    conn: Connection, channels: Sequence[str]
) -> dict[str, tuple[CallId, Outcome | None]]:
    """The calls whose callers came over these channels of Asterisk, by channel; those that the
    database does not know are left out. The outcome is ``None`` while the call is open."""
    rows = await conn.fetch(_OF_CHANNELS_SQL, [clean_line(channel) for channel in channels])
    return {
        row["channel"]: (
            CallId(row["id"]),
            None if row["outcome"] is None else Outcome(row["outcome"]),
        )
        for row in rows
    }

"""Which agents have talked with whom, for the switchboard's memory of callers.

Only talks that an agent had with a caller to their end count: a call that was put through or
forwarded, or answered for a second or two, makes nobody know a matter.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any

from vsek.domain.ids import AgentId, CallId, ClientId
from vsek.domain.outcomes import Outcome
from vsek.domain.talks import TALK_MIN_S, PastTalk
from vsek.store.pool import timestamp

if TYPE_CHECKING:
    from vsek.store.pool import Connection

CHUNK = 50
"""Talks that are handed over together: those who take them have calls to serve."""

_TALKS_SINCE_SQL = """
SELECT c.id, c.client_id, extract(epoch FROM c.ended_at)::float8, c.agent_id, c.caller_number,
       c.caller_name, d.dictated, coalesce(d.draft ->> 'caller_name', ''),
       coalesce(d.draft ->> 'caller_company', '')
FROM vsek.calls c JOIN vsek.note_drafts d ON d.call_id = c.id
WHERE c.received_at >= $3 AND c.outcome = $1 AND c.client_id IS NOT NULL AND c.agent_id IS NOT NULL
  AND c.ended_at >= c.answered_at + make_interval(secs => $2)
ORDER BY c.received_at DESC
"""
# In pages, each of which is one round trip: this is asked every few seconds, and there is little.
# Notes come first, by their index, and calls by `= ANY` of an array: with young statistics the plan
# walked all calls. The first comparison is for that index, which holds no calls.
_TALKS_NAMED_SQL = """
WITH changed AS MATERIALIZED (
    SELECT call_id, changed_at, dictated, draft FROM vsek.note_drafts
    WHERE changed_at >= $3 AND (changed_at, call_id) > ($3, $4)
)
SELECT c.id, c.client_id, extract(epoch FROM c.ended_at)::float8, c.agent_id, c.caller_number,
       c.caller_name, d.dictated, coalesce(d.draft ->> 'caller_name', ''),
       coalesce(d.draft ->> 'caller_company', ''), d.changed_at
FROM changed d JOIN vsek.calls c ON c.id = d.call_id
WHERE c.id = ANY (ARRAY(SELECT call_id FROM changed))
  AND c.outcome = $1 AND c.client_id IS NOT NULL AND c.agent_id IS NOT NULL
  AND c.ended_at >= c.answered_at + make_interval(secs => $2)
ORDER BY d.changed_at, d.call_id LIMIT $5
"""
_TALKS_OF_SQL = """
SELECT c.id, c.client_id, extract(epoch FROM c.ended_at)::float8, c.agent_id, c.caller_number,
       c.caller_name, d.dictated, coalesce(d.draft ->> 'caller_name', ''),
       coalesce(d.draft ->> 'caller_company', '')
FROM vsek.calls c JOIN vsek.note_drafts d ON d.call_id = c.id
WHERE c.id = ANY ($3::text[]) AND c.outcome = $1 AND c.client_id IS NOT NULL
  AND c.agent_id IS NOT NULL AND c.ended_at >= c.answered_at + make_interval(secs => $2)
"""
_CONTACTS_SQL = """
SELECT k.id, phone #>> '{}' AS phone
FROM vsek.clients k, jsonb_path_query(k.account, '$.contacts[*].phone') AS phone
WHERE jsonb_typeof(phone) = 'string'
"""


async def talks_since(conn: Connection, since: float) -> AsyncGenerator[Sequence[PastTalk], None]:
    """Talks of calls that came in after ``since`` (Unix seconds), the newest first, in chunks."""
    async with conn.transaction(readonly=True):
        cursor = await conn.cursor(_TALKS_SINCE_SQL, *_COUNTS, timestamp(since))
        while rows := await cursor.fetch(CHUNK):
            yield [_talk(row) for row in rows]


async def talks_named_since(
    conn: Connection, since: float
) -> AsyncGenerator[Sequence[PastTalk], None]:
    """Talks whose note was written or changed after ``since`` (Unix seconds), in chunks."""
    changed_at, after = timestamp(since), ""
    while rows := await conn.fetch(_TALKS_NAMED_SQL, *_COUNTS, changed_at, after, CHUNK):
        yield [_talk(row[:-1]) for row in rows]
        if len(rows) < CHUNK:
            return
        changed_at, after = rows[-1]["changed_at"], rows[-1]["id"]


async def talks_of(conn: Connection, calls: Sequence[CallId]) -> Sequence[PastTalk]:
    """The talks of these calls, as far as the database has them."""
    return [_talk(row) for row in await conn.fetch(_TALKS_OF_SQL, *_COUNTS, list(calls))]


async def contact_numbers(conn: Connection) -> Sequence[tuple[ClientId, str]]:
    """The telephone numbers of all clients' contacts."""
    return [(ClientId(row["id"]), row["phone"]) for row in await conn.fetch(_CONTACTS_SQL)]


_COUNTS = (Outcome.ANSWERED.value, TALK_MIN_S)


def _talk(row: Any) -> PastTalk:
    call_id, client_id, ended_at, agent_id, *rest = row
    return PastTalk(CallId(call_id), ClientId(client_id), ended_at, AgentId(agent_id), *rest)

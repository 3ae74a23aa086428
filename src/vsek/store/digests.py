"""Blocked calls of a day in one note.

Theory of operation. Every call has its due note, also a blocked one that nobody wrote anything
about. Instead of leaving at once it waits until the client's day is over; the first to leave then
takes along all others of that client and day (``folded_into``), and all are acknowledged together.
What comes too late for that makes another digest; none is lost.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from vsek.domain.note import MAX_DIGEST_CALLS, NoteDigest, NoteDigestCall, NoteDraft
from vsek.domain.outcomes import Outcome

if TYPE_CHECKING:
    from vsek.store.pool import Connection, Row

# Whoever is writing on one of them just now keeps it out of this note.
_MEMBERS_SQL = """
SELECT d.id, c.received_at, c.caller_number, c.caller_name, c.caller_withheld, c.reason
FROM vsek.calls c
JOIN vsek.note_due d ON d.call_id = c.id AND d.key = 'call:' || c.id || ':auto'
JOIN vsek.note_drafts n ON n.call_id = c.id
WHERE c.client_id = $2 AND c.outcome = 'blocked' AND c.ended_at >= $3 AND c.ended_at < $4
  AND d.acked_at IS NULL AND n.revision = 0
  AND (d.id = $1 OR d.folded_into = $1 OR (d.folded_into IS NULL AND d.left_at IS NULL))
ORDER BY c.received_at, c.id
FOR UPDATE OF d, n SKIP LOCKED
"""
_FOLD_SQL = """
UPDATE vsek.note_due SET folded_into = $1, left_at = coalesce(left_at, $3)
WHERE id = ANY ($2::bigint[]) AND id <> $1
"""


@dataclass(frozen=True, slots=True)
class Day:
    """A client's day, on the client's clock."""

    client_id: str
    date: date
    begins: datetime
    ends: datetime


def day_of(row: Row) -> Day | None:
    """The day in whose digest the note of the call belongs that ``row`` tells of (see
    ``store.requests``); ``None``: it has a note of its own."""
    if row["outcome"] != Outcome.BLOCKED or row["account"] is None:
        return None
    if not NoteDraft.model_validate_json(row["draft"]).is_empty:
        return None
    zone = ZoneInfo(json.loads(row["account"]).get("timezone") or "Europe/Berlin")
    day = row["ended_at"].astimezone(zone).date()
    begins = datetime.combine(day, time(), zone)
    return Day(
        row["client_id"], day, begins, datetime.combine(day + timedelta(days=1), time(), zone)
    )


async def gather(conn: Connection, due_id: int, day: Day, now: datetime) -> NoteDigest:
    """Take all calls of that day along with the note ``due_id``."""
    rows = await conn.fetch(_MEMBERS_SQL, due_id, day.client_id, day.begins, day.ends)
    await conn.execute(_FOLD_SQL, due_id, [row["id"] for row in rows], now)
    return NoteDigest(
        day=day.date,
        total=len(rows),
        calls=[
            NoteDigestCall(
                received_at=row["received_at"],
                number=row["caller_number"],
                name=row["caller_name"],
                withheld=row["caller_withheld"],
                reason=row["reason"] or "",
            )
            for row in rows[:MAX_DIGEST_CALLS]
        ],
    )

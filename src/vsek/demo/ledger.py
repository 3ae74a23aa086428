"""What the database says became of the calls: outcome, timeline, note and its delivery."""

from __future__ import annotations

import json
from typing import Any

import asyncpg

_CALLS_SQL = """
SELECT c.id, c.client_id, c.received_at, c.caller_number, c.caller_name, c.did, c.forwarded_by,
       c.policy, c.outcome, c.stage, c.reason, c.agent_id, c.answered_at, c.ended_at
FROM vsek.calls c ORDER BY c.received_at, c.id
"""
_STEPS_SQL = "SELECT call_id, at, kind, detail::text FROM vsek.call_steps ORDER BY call_id, number"
_NOTES_SQL = """
SELECT n.call_id, n.key, n.note_id, n.kind, n.subject, n.message_id,
       coalesce((n.request ->> 'incomplete')::boolean, false) AS incomplete,
       json_agg(json_build_object('email', d.email, 'status', d.status, 'reply', d.reply)
                ORDER BY d.delivery_id)::text AS deliveries
FROM notify.notes n JOIN notify.deliveries d USING (note_id)
WHERE n.call_id IS NOT NULL
GROUP BY n.note_id ORDER BY n.received_at
"""


async def read(dsn: str) -> list[dict[str, Any]]:
    """All calls in the order of their arrival, each with ``steps`` and ``notes``.

    A note has ``key``, ``kind``, ``subject``, ``incomplete`` and ``deliveries`` (email, status,
    reply of the mail server).
    """
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            calls = [dict(row) for row in await connection.fetch(_CALLS_SQL)]
            steps = await connection.fetch(_STEPS_SQL)
            notes = await connection.fetch(_NOTES_SQL)
    finally:
        await connection.close()
    by_id = {call["id"]: call for call in calls}
    for call in calls:
        call["steps"], call["notes"] = [], []
        call["forwarded_by"] = list(call["forwarded_by"])
    for row in steps:
        by_id[row["call_id"]]["steps"].append(
            {"at": row["at"], "kind": row["kind"], "detail": json.loads(row["detail"])}
        )
    for row in notes:
        if row["call_id"] in by_id:
            note = dict(row)
            del note["call_id"]
            note["deliveries"] = json.loads(note["deliveries"])
            by_id[row["call_id"]]["notes"].append(note)
    return calls


def delivered(call: dict[str, Any]) -> bool:
    """Whether the call has its outcome and a note that the mail server accepted for everybody."""
    return call["outcome"] is not None and any(
        note["deliveries"] and all(d["status"] == "accepted" for d in note["deliveries"])
        for note in call["notes"]
    )

"""Notes of calls: the agent's draft, and what is due to be handed to the note service.

Theory of operation. A call opens with an empty draft. Its automatic note (key ``call:{id}:auto``)
becomes due when the call is closed: at once if the draft is finished by then, else after wrap-up
and a grace time; finishing the draft later makes it due at once. When the note leaves for the
first time, its request is built from call, draft and client and frozen: every repetition sends the
same, so the service may recognise it by its key. From then on each change of the draft makes a
correction due (``call:{id}:auto:{revision}``), which names the note that it corrects. Changes made
before a correction has left go into it. Notes of one call leave one after the other.

The row in ``note_drafts`` is the lock for all of that (see ``store.records``); only claiming,
which gives a note to one forwarder for a while, takes rows of ``note_due`` alone.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vsek.domain.draft import DraftStage, DraftState, UnknownCallError
from vsek.domain.ids import CallId
from vsek.domain.note import NoteDraft, auto_key
from vsek.domain.numbers import normalise
from vsek.domain.text import clean_line
from vsek.store.pool import timestamp

if TYPE_CHECKING:
    from vsek.store.pool import Connection, Row

_WRITE_SQL = "SELECT * FROM vsek.write_draft($1, $2::text::jsonb, $3, $4, $5, $6)"
_SHOW_SQL = """
SELECT d.draft::text AS draft, d.revision, d.finished, d.author, d.changed_at,
       n.key AS due_key, n.due_at, n.left_at
FROM vsek.note_drafts d
LEFT JOIN LATERAL (
    SELECT key, due_at, left_at FROM vsek.note_due WHERE call_id = d.call_id
    ORDER BY id DESC LIMIT 1
) AS n ON true
WHERE d.call_id = $1
"""


async def write_draft(
    conn: Connection,
    call_id: str,
    draft: NoteDraft,
    *,
    finish: bool,
    author: str = "",
    now: float | None = None,
    country: str = "DE",
) -> DraftState:
    """Replace the call's draft, committed when this returns; ``finish`` lets the note leave.

    A finished note stays finished. Without an ``author`` it is by the agent who has the call; after
    the call by who wrote it before, else by the agent who had the call. ``now`` is Unix seconds
    (default: the clock); ``country`` is for the dictated number. Raises ``UnknownCallError``.
    """
    moment = timestamp(time.time() if now is None else now)
    key = clean_line(call_id)
    row = await conn.fetchrow(
        _WRITE_SQL,
        key,
        draft.model_dump_json(exclude_defaults=True),
        normalise(draft.caller_phone, country),
        finish,
        clean_line(author),
        moment,
    )
    if row is None:
        raise UnknownCallError(call_id)
    return _state(CallId(key), row)


async def show_draft(conn: Connection, call_id: str) -> DraftState:
    """The call's note as it stands; raises ``UnknownCallError``."""
    key = clean_line(call_id)
    row = await conn.fetchrow(_SHOW_SQL, key)
    if row is None:
        raise UnknownCallError(call_id)
    return _state(CallId(key), row)


def _state(call_id: CallId, row: Row) -> DraftState:
    due_key, left = row["due_key"], row["left_at"] is not None
    if left or (due_key is not None and due_key != auto_key(call_id)):
        state = DraftStage.SENT
    else:
        state = DraftStage.FINISHED if row["finished"] else DraftStage.OPEN
    return DraftState(
        call_id=call_id,
        revision=row["revision"],
        state=state,
        finished=row["finished"],
        due_at=None if left else row["due_at"],
        author=row["author"],
        changed_at=row["changed_at"],
        draft=NoteDraft.model_validate_json(row["draft"]),
    )

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
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from vsek.domain.ids import CallId
from vsek.domain.note import NoteDraft, auto_key
from vsek.domain.numbers import normalise
from vsek.domain.text import clean_line
from vsek.errors import InputError
from vsek.store.pool import timestamp

if TYPE_CHECKING:
    from vsek.store.pool import Connection

_LOCK_DRAFT_SQL = """
SELECT draft::text AS draft, revision, finished, author, changed_at
FROM vsek.note_drafts WHERE call_id = $1 FOR UPDATE
"""
_SHOW_DRAFT_SQL = """
SELECT draft::text AS draft, revision, finished, author, changed_at
FROM vsek.note_drafts WHERE call_id = $1
"""
_PUT_DRAFT_SQL = """
UPDATE vsek.note_drafts
SET draft = $2::text::jsonb, dictated = $3, revision = $4, finished = $5, author = $6,
    changed_at = $7
WHERE call_id = $1
"""
_NEWEST_DUE_SQL = """
SELECT key, due_at, left_at, acked_at FROM vsek.note_due
WHERE call_id = $1 ORDER BY id DESC LIMIT 1
"""
_DUE_NOW_SQL = "UPDATE vsek.note_due SET due_at = least(due_at, $2) WHERE key = $1"
_CORRECT_SQL = """
INSERT INTO vsek.note_due (key, call_id, corrects, due_at) VALUES ($1, $2, $3, $4)
"""
_NOTIFY_SQL = "NOTIFY vsek_note_due"


class NoteState(StrEnum):
    """How far a call's note is."""

    OPEN = "open"
    """Nobody said that it is finished; it leaves by itself some time after the call."""
    FINISHED = "finished"
    """Leaves now, or as soon as the call ends."""
    SENT = "sent"
    """Has left; changes are sent as corrections."""


class DraftState(BaseModel):
    """A call's note as it stands."""

    model_config = ConfigDict(frozen=True)

    call_id: CallId
    revision: int
    """Counts changes of the draft; 0 = nobody has written yet."""
    state: NoteState
    finished: bool
    due_at: datetime | None
    """When it (or its correction) leaves; ``None``: not before the call ends, or it has left."""
    author: str
    changed_at: datetime | None
    draft: NoteDraft


def _unknown(call_id: str) -> InputError:
    return InputError(
        f"There is no call {call_id!r}",
        field="call",
        value=call_id,
        remedy="'vsek call list' shows the calls",
        error_id="unknown_call",
    )


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

    A finished note stays finished. ``now`` is Unix seconds (default: the clock); ``country`` is
    for the dictated number. Raises ``InputError`` for a call that the database does not know.
    """
    moment = timestamp(time.time() if now is None else now)
    key = clean_line(call_id)
    async with conn.transaction():
        row = await conn.fetchrow(_LOCK_DRAFT_SQL, key)
        if row is None:
            raise _unknown(call_id)
        changed = NoteDraft.model_validate_json(row["draft"]) != draft
        revision = row["revision"] + changed
        finished = row["finished"] or finish
        await conn.execute(
            _PUT_DRAFT_SQL,
            key,
            draft.model_dump_json(exclude_defaults=True),
            normalise(draft.caller_phone, country),
            revision,
            finished,
            clean_line(author) or row["author"],
            moment,
        )
        newest = await conn.fetchrow(_NEWEST_DUE_SQL, key)
        if newest is None:
            pass  # The call still goes on: closing it makes the note due.
        elif newest["left_at"] is None:
            if finished:
                await conn.execute(_DUE_NOW_SQL, newest["key"], moment)
                await conn.execute(_NOTIFY_SQL)
        elif changed:
            await conn.execute(_CORRECT_SQL, auto_key(key, revision), key, newest["key"], moment)
            await conn.execute(_NOTIFY_SQL)
        return await _state(conn, key)


async def show_draft(conn: Connection, call_id: str) -> DraftState:
    """The call's note as it stands; raises ``InputError`` for an unknown call."""
    try:
        return await _state(conn, clean_line(call_id))
    except LookupError:
        raise _unknown(call_id) from None


async def _state(conn: Connection, call_id: str) -> DraftState:
    row = await conn.fetchrow(_SHOW_DRAFT_SQL, call_id)
    if row is None:
        raise LookupError(call_id)
    due = await conn.fetchrow(_NEWEST_DUE_SQL, call_id)
    first_left = due is not None and (due["left_at"] is not None or due["key"] != auto_key(call_id))
    if first_left:
        state = NoteState.SENT
    else:
        state = NoteState.FINISHED if row["finished"] else NoteState.OPEN
    return DraftState(
        call_id=CallId(call_id),
        revision=row["revision"],
        state=state,
        finished=row["finished"],
        due_at=due["due_at"] if due is not None and due["left_at"] is None else None,
        author=row["author"],
        changed_at=row["changed_at"],
        draft=NoteDraft.model_validate_json(row["draft"]),
    )

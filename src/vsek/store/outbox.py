"""Notes on their way to the note service: claiming, building and freezing the request, fate.

Implements the port of ``vsek.switchboard.forwarder``. The life of a note is told in
``store.notes``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg
import structlog
from pydantic import ValidationError

from vsek.domain.client import Client
from vsek.domain.note import (
    DueNote,
    Language,
    NoteCall,
    NoteCaller,
    NoteClient,
    NoteDraft,
    NoteKind,
    NoteRecipient,
    NoteRequest,
    thread_of,
)
from vsek.domain.numbers import normalise
from vsek.domain.outcomes import Outcome
from vsek.store.pool import (
    CONNECT_TIMEOUT_S,
    NOTE_DUE_CHANNEL,
    UNREACHABLE,
    acquire,
    as_service_error,
    timestamp,
)

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    from vsek.store.pool import Connection, Pool, Row

_log = structlog.get_logger(__name__)

# A claim sets retry_at: if the forwarder dies, the note comes back by itself. A note waits for
# the earlier ones of its call, so that a correction never overtakes what it corrects.
_CLAIM_SQL = """
UPDATE vsek.note_due SET attempts = attempts + 1, retry_at = $2
WHERE id IN (
    SELECT d.id FROM vsek.note_due d
    WHERE d.acked_at IS NULL
      AND greatest(d.due_at, coalesce(d.retry_at, d.due_at)) <= $1
      AND NOT EXISTS (
          SELECT FROM vsek.note_due e
          WHERE e.call_id = d.call_id AND e.id < d.id AND e.acked_at IS NULL
      )
    ORDER BY greatest(d.due_at, coalesce(d.retry_at, d.due_at))
    LIMIT $3
    FOR UPDATE SKIP LOCKED
)
RETURNING id, key, call_id, attempts
"""
_NEXT_SQL = """
SELECT min(greatest(d.due_at, coalesce(d.retry_at, d.due_at))) AS at FROM vsek.note_due d
WHERE d.acked_at IS NULL
  AND NOT EXISTS (
      SELECT FROM vsek.note_due e
      WHERE e.call_id = d.call_id AND e.id < d.id AND e.acked_at IS NULL
  )
"""
_LOCK_DRAFT_SQL = """
SELECT draft::text AS draft, dictated, revision, finished FROM vsek.note_drafts
WHERE call_id = $1 FOR UPDATE
"""
_REQUEST_SQL = "SELECT request::text AS request, corrects FROM vsek.note_due WHERE id = $1"
_FREEZE_SQL = """
UPDATE vsek.note_due
SET request = $2::text::jsonb, left_at = coalesce(left_at, $3), revision = $4
WHERE id = $1
"""
_CALL_SQL = """
SELECT c.id, c.client_id, c.received_at, c.caller_number, c.caller_name, c.caller_withheld, c.did,
       c.forwarded_by, c.outcome, c.stage, c.reason, c.answered_at, c.ended_at,
       coalesce(a.name, '') AS agent_name, k.name AS client_name, k.account::text AS account
FROM vsek.calls c
LEFT JOIN vsek.agents a ON a.id = c.agent_id
LEFT JOIN vsek.clients k ON k.id = c.client_id
WHERE c.id = $1
"""
_PREVIOUS_SQL = """
SELECT count(*) FROM (
    SELECT id FROM vsek.calls
    WHERE caller_number = $1 AND caller_number <> '' AND client_id = $2 AND received_at < $3
    UNION
    SELECT c.id FROM vsek.note_drafts d JOIN vsek.calls c ON c.id = d.call_id
    WHERE d.dictated = $1 AND d.dictated <> '' AND c.client_id = $2 AND c.received_at < $3
) AS calls
"""
_ACKED_SQL = """
UPDATE vsek.note_due SET acked_at = $3, note_id = $2, last_error = '' WHERE id = $1
AND acked_at IS NULL
"""
_FAILED_SQL = """
UPDATE vsek.note_due
SET last_error = $2, retry_at = $3, request = CASE WHEN $4 THEN NULL ELSE request END
WHERE id = $1 AND acked_at IS NULL
"""

_Callback = Callable[..., None]

# Outcomes that an agent brought about; everything else was missed, unless an agent wrote a note.
_TALKED = frozenset({Outcome.ANSWERED, Outcome.PUT_THROUGH, Outcome.CALLBACK})
_ERROR_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Operations:
    """Who gets the notes that no client gets."""

    email: str
    language: Language = "en"
    timezone: str = "Europe/Berlin"


class NoteOutbox:
    """The notes that are due, in PostgreSQL."""

    def __init__(self, pool: Pool, operations: Operations, *, country: str = "DE") -> None:
        self._pool = pool
        self._operations = operations
        self._country = country
        self._listener: tuple[PoolConnectionProxy[Row], _Callback, _Callback] | None = None
        self._hears = False

    async def claim(self, now: float, *, limit: int, lease_s: float) -> list[DueNote]:
        """Up to ``limit`` notes that are due; nobody else gets them for ``lease_s`` seconds.

        Raises ``ServiceError`` when the database does not serve.
        """
        async with acquire(self._pool) as conn:
            rows = await conn.fetch(_CLAIM_SQL, timestamp(now), timestamp(now + lease_s), limit)
            return [await self._freeze(conn, row, now) for row in rows]

    async def next_due(self) -> float | None:
        """When the next note is due (Unix seconds), claimed ones at the end of their lease."""
        async with acquire(self._pool) as conn:
            at = await conn.fetchval(_NEXT_SQL)
        return None if at is None else float(at.timestamp())

    async def acknowledged(self, note: DueNote, note_id: str, now: float) -> None:
        """The service has the note and calls it ``note_id``."""
        async with acquire(self._pool) as conn:
            await conn.execute(_ACKED_SQL, note.id, note_id, timestamp(now))

    async def failed(self, note: DueNote, error: str, retry_at: float, *, rebuild: bool) -> None:
        """Try again at ``retry_at``; ``rebuild``: the service refused this request for good, so it
        is built anew from what call, draft and client are by then."""
        async with acquire(self._pool) as conn:
            await conn.execute(
                _FAILED_SQL, note.id, error[:_ERROR_LIMIT], timestamp(retry_at), rebuild
            )

    async def listen(self, wake: Callable[[], None]) -> None:
        """Have ``wake`` called when something may have become due. Cheap when it already is so;
        to be repeated, since a lost connection ends it. Raises ``ServiceError``."""
        if self._listener is not None and self._hears:
            return
        await self.close()

        def notified(*_: object) -> None:
            wake()

        def lost(*_: object) -> None:
            self._hears = False
            wake()

        try:
            connection = await self._pool.acquire(timeout=CONNECT_TIMEOUT_S)
            self._listener = (connection, notified, lost)
            await connection.add_listener(NOTE_DUE_CHANNEL, notified)
            connection.add_termination_listener(lost)
            self._hears = not connection.is_closed()
        except UNREACHABLE as error:
            await self.close()
            raise as_service_error(error) from error

    async def close(self) -> None:
        """Stop listening."""
        if self._listener is None:
            return
        (connection, notified, lost), self._listener = self._listener, None
        heard, self._hears = self._hears, False
        try:
            # A connection that was cut has left the pool by itself and answers nothing.
            if heard:
                connection.remove_termination_listener(lost)
                await connection.remove_listener(NOTE_DUE_CHANNEL, notified)
            await self._pool.release(connection)
        except UNREACHABLE as error:
            _log.debug("listener_gone", error=str(error))

    async def _freeze(self, conn: Connection, row: Row, now: float) -> DueNote:
        """The claimed note with its request, which is built when it leaves for the first time."""
        try:
            async with conn.transaction():
                request = await self._frozen(conn, row["id"], row["call_id"], now)
        except (ValueError, LookupError, asyncpg.DataError) as error:
            text = " ".join(str(error).split())
            _log.error("note_unbuildable", call_id=row["call_id"], key=row["key"], error=text)
            return DueNote(row["id"], row["key"], row["call_id"], row["attempts"], None, text)
        return DueNote(row["id"], row["key"], row["call_id"], row["attempts"], request)

    async def _frozen(self, conn: Connection, due_id: int, call_id: str, now: float) -> NoteRequest:
        # The draft first: its row is the lock.
        draft = await conn.fetchrow(_LOCK_DRAFT_SQL, call_id)
        due = await conn.fetchrow(_REQUEST_SQL, due_id)
        if draft is None or due is None:
            raise LookupError(f"call {call_id} has no draft")
        if due["request"] is not None:
            return NoteRequest.model_validate_json(due["request"])
        request = await self._build(conn, call_id, draft, due["corrects"])
        await conn.execute(
            _FREEZE_SQL, due_id, request.model_dump_json(), timestamp(now), draft["revision"]
        )
        return request

    async def _build(
        self, conn: Connection, call_id: str, draft_row: Row, corrects: str | None
    ) -> NoteRequest:
        row = await conn.fetchrow(_CALL_SQL, call_id)
        if row is None:
            raise LookupError(f"call {call_id} is gone")
        draft = NoteDraft.model_validate_json(draft_row["draft"])
        caller = row["caller_number"] or draft_row["dictated"]
        previous, thread = 0, ""
        if caller and row["client_id"] is not None:
            previous = await conn.fetchval(
                _PREVIOUS_SQL, caller, row["client_id"], row["received_at"]
            )
            thread = thread_of(row["client_id"], caller)
        return build_request(
            row,
            draft,
            finished=draft_row["finished"],
            corrects=corrects,
            previous_calls=previous,
            thread=thread,
            operations=self._operations,
            country=self._country,
        )


def _readable(row: Row) -> Client | None:
    """The call's client; ``None`` when there is none, or none that this version can read."""
    if row["account"] is None:
        return None
    try:
        return Client.model_validate_json(row["account"])
    except ValidationError as error:
        _log.error("client_unreadable", client_id=row["client_id"], reason=str(error))
        return None


def build_request(
    row: Row,
    draft: NoteDraft,
    *,
    finished: bool,
    corrects: str | None,
    previous_calls: int,
    thread: str,
    operations: Operations,
    country: str,
) -> NoteRequest:
    """The request for a call's note. Nobody's note is lost: what has no client whose contacts
    can be read goes to operations."""
    client = _readable(row)
    outcome = None if row["outcome"] is None else Outcome(row["outcome"])
    if row["client_id"] is None:
        kind = NoteKind.OPERATIONS
    elif outcome in _TALKED or not draft.is_empty:
        kind = NoteKind.MESSAGE
    else:
        kind = NoteKind.MISSED_CALL
    if client is not None:
        recipients = [
            NoteRecipient(name=contact.name, email=contact.email or "")
            for contact in client.recipients(draft.for_contact)
        ]
    else:
        recipients = [NoteRecipient(email=operations.email)]
    note_client = None
    if row["client_id"] is not None:
        note_client = NoteClient(id=row["client_id"], name=row["client_name"] or row["client_id"])
    return NoteRequest(
        kind=kind,
        language=client.language if client else operations.language,
        timezone=client.timezone if client else operations.timezone,
        client=note_client,
        recipients=recipients,
        call=NoteCall(
            id=row["id"],
            received_at=row["received_at"],
            answered_at=row["answered_at"],
            ended_at=row["ended_at"],
            outcome=outcome,
            stage=row["stage"],
            reason=row["reason"] or "",
            did=row["did"],
            forwarded_by=row["forwarded_by"],
        ),
        taken_by=row["agent_name"],
        caller=NoteCaller(
            name=draft.caller_name or row["caller_name"],
            company=draft.caller_company,
            number_shown=row["caller_number"],
            number_dictated=normalise(draft.caller_phone, country),
            email=draft.caller_email,
            withheld=row["caller_withheld"],
        ),
        for_contact=draft.for_contact,
        concern=draft.concern,
        text=draft.text,
        fields=draft.fields,
        action=draft.action,
        urgency=draft.urgency,
        incomplete=kind is NoteKind.MESSAGE and not finished,
        previous_calls=previous_calls,
        thread=thread,
        corrects=corrects,
    )

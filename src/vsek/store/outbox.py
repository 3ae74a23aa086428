"""Notes on their way to the note service: claiming, building and freezing the request, fate.

Implements the port of ``vsek.notify.forwarder``. The life of a note is told in
``store.notes``.

Theory of operation. Notes that are claimed together are built together, from one look at their
calls and drafts without a lock, and leave together, in three round trips however many they are.
Whatever is not plain (a recording, a digest, a draft that was changed in between, something that
cannot be built) is done one by one, under the lock of its draft.

What only saves work may be lost with the database's machine: a claim, and that a note was taken,
since the note service knows it by its key. So those commits do not wait for the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import asyncpg
import structlog

from vsek.domain.note import DueNote, NoteDigest, NoteRequest
from vsek.domain.outcomes import Outcome
from vsek.store import digests, recordings, requests
from vsek.store.pool import (
    CONNECT_TIMEOUT_S,
    NOTE_DUE_CHANNEL,
    UNREACHABLE,
    acquire,
    as_service_error,
    timestamp,
)
from vsek.store.requests import Operations

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    from vsek.store.pool import Connection, Pool, Row

__all__ = ["NoteOutbox", "Operations"]

_log = structlog.get_logger(__name__)

# A claim sets retry_at: if the forwarder dies, the note comes back by itself. A note waits for
# the earlier ones of its call, so that a correction never overtakes what it corrects.
_CLAIM_SQL = """
UPDATE vsek.note_due SET attempts = attempts + 1, retry_at = $2
WHERE id IN (
    SELECT d.id FROM vsek.note_due d
    WHERE d.acked_at IS NULL AND d.folded_into IS NULL
      AND greatest(d.due_at, coalesce(d.retry_at, d.due_at)) <= $1
      AND NOT EXISTS (
          SELECT FROM vsek.note_due e
          WHERE e.call_id = d.call_id AND e.id < d.id AND e.acked_at IS NULL
      )
    ORDER BY greatest(d.due_at, coalesce(d.retry_at, d.due_at))
    LIMIT $3
    FOR UPDATE SKIP LOCKED
)
RETURNING id, key, call_id, attempts, corrects,
          request IS NULL AND folded_into IS NULL AS is_new,
          set_config('synchronous_commit', 'off', true)
"""
_NEXT_SQL = """
SELECT min(greatest(d.due_at, coalesce(d.retry_at, d.due_at))) AS at FROM vsek.note_due d
WHERE d.acked_at IS NULL AND d.folded_into IS NULL
  AND NOT EXISTS (
      SELECT FROM vsek.note_due e
      WHERE e.call_id = d.call_id AND e.id < d.id AND e.acked_at IS NULL
  )
"""
_LEAVE_SQL = "SELECT * FROM vsek.let_notes_leave($1, $2, $3, $4, $5, $6)"
_LOCK_DRAFT_SQL = "SELECT FROM vsek.note_drafts WHERE call_id = $1 FOR UPDATE"
_REQUEST_SQL = """
SELECT request::text AS request, corrects, folded_into FROM vsek.note_due WHERE id = $1 FOR UPDATE
"""
_FREEZE_SQL = """
UPDATE vsek.note_due
SET request = $2::text::jsonb, left_at = coalesce(left_at, $3), revision = $4
WHERE id = $1
"""
# Waiting for a recording is no attempt.
_WAIT_SQL = "UPDATE vsek.note_due SET attempts = attempts - 1, retry_at = $2 WHERE id = $1"
_LATER_SQL = """
UPDATE vsek.note_due SET attempts = attempts - 1, due_at = $2, retry_at = NULL WHERE id = $1
"""
_ACKED_SQL = """
UPDATE vsek.note_due SET acked_at = $3, note_id = $2, last_error = ''
WHERE (id = $1 OR folded_into = $1) AND acked_at IS NULL
RETURNING set_config('synchronous_commit', 'off', true)
"""
_FAILED_SQL = """
UPDATE vsek.note_due
SET last_error = $2, retry_at = $3, request = CASE WHEN $4 THEN NULL ELSE request END
WHERE id = $1 AND acked_at IS NULL
"""

_Callback = Callable[..., None]

_ERROR_LIMIT = 500


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
            left = await self._leave_together(conn, rows, now) if rows else {}
            notes = [left.get(row["id"]) or await self._freeze(conn, row, now) for row in rows]
        return [note for note in notes if note is not None]

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

    async def _leave_together(
        self, conn: Connection, rows: Sequence[Row], now: float
    ) -> dict[int, DueNote]:
        """Those of the claimed notes that are plain, with their requests, by their numbers."""
        told = await requests.told(conn, [row["call_id"] for row in rows if row["is_new"]])
        built: list[tuple[DueNote, Row, str]] = []
        for row in rows:
            about = told.get(row["call_id"])
            if about is None or about["recorded"] or about["outcome"] == Outcome.BLOCKED:
                continue
            try:
                request = await self._build(conn, about, row["corrects"])
            except ValueError:
                continue  # told when it is built by itself
            note = DueNote(row["id"], row["key"], row["call_id"], row["attempts"], request)
            built.append((note, about, request.model_dump_json()))
        if not built:
            return {}
        try:
            left = await conn.fetch(
                _LEAVE_SQL,
                [note.id for note, _, _ in built],
                [note.call_id for note, _, _ in built],
                [about["revision"] for _, about, _ in built],
                [about["finished"] for _, about, _ in built],
                [text for _, _, text in built],
                timestamp(now),
            )
        except asyncpg.DataError as error:
            _log.warning("notes_leave_one_by_one", error=str(error))
            return {}
        gone = {row[0] for row in left}
        return {note.id: note for note, _, _ in built if note.id in gone}

    async def _build(
        self, conn: Connection, about: Row, corrects: str | None, digest: NoteDigest | None = None
    ) -> NoteRequest:
        return await requests.build(
            conn,
            about,
            corrects,
            operations=self._operations,
            country=self._country,
            digest=digest,
        )

    async def _freeze(self, conn: Connection, row: Row, now: float) -> DueNote | None:
        """The claimed note with its request, which is built when it leaves for the first time;
        ``None``: it waits for a recording or for the end of the day, or goes with another."""
        try:
            async with conn.transaction():
                request = await self._frozen(conn, row["id"], row["call_id"], now)
        except (ValueError, LookupError, asyncpg.DataError) as error:
            text = " ".join(str(error).split())
            _log.error("note_unbuildable", call_id=row["call_id"], key=row["key"], error=text)
            return DueNote(row["id"], row["key"], row["call_id"], row["attempts"], None, text)
        if request is None:
            return None
        return DueNote(row["id"], row["key"], row["call_id"], row["attempts"], request)

    async def _frozen(
        self, conn: Connection, due_id: int, call_id: str, now: float
    ) -> NoteRequest | None:
        # The draft first: its row is the lock.
        await conn.execute(_LOCK_DRAFT_SQL, call_id)
        due = await conn.fetchrow(_REQUEST_SQL, due_id)
        about = (await requests.told(conn, [call_id])).get(call_id)
        if about is None or due is None:
            raise LookupError(f"call {call_id} has no draft")
        if due["folded_into"] is not None:
            return None
        if due["request"] is not None:
            request = NoteRequest.model_validate_json(due["request"])
            return await requests.with_content(conn, call_id, request)
        until = await recordings.awaited_until(conn, call_id)
        if until is not None and timestamp(now) < until:
            await conn.execute(_WAIT_SQL, due_id, until)
            return None
        digest = None
        day = None if due["corrects"] else digests.day_of(about)
        if day is not None:
            if timestamp(now) < day.ends:
                await conn.execute(_LATER_SQL, due_id, day.ends)
                return None
            digest = await digests.gather(conn, due_id, day, timestamp(now))
        request = await self._build(conn, about, due["corrects"], digest)
        await conn.execute(
            _FREEZE_SQL, due_id, request.model_dump_json(), timestamp(now), about["revision"]
        )
        return await requests.with_content(conn, call_id, request)

"""Notes and their outbox in PostgreSQL (schema ``notify``, ``migrations/0002_notify.sql``).

A delivery that is being sent is a row lock held by an open transaction: other workers and other
processes skip it, and when its holder dies, however, the lock is gone at once and the mail is
free for the next one. There are no leases to wait for and nothing to clean up.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import asyncpg

from vsek.domain.note import NoteRequest
from vsek.errors import VsekError
from vsek.notify.mail import REFERENCES_LIMIT
from vsek.notify.model import Delivery, DeliveryStatus, NoteInfo, state_of
from vsek.notify.retry import Next
from vsek.notify.view import caller_label

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    type_pool = asyncpg.Pool[asyncpg.Record]
    Connection = PoolConnectionProxy[asyncpg.Record]

DATABASE_ERRORS = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""What a database that is away, starting or not migrated makes of a query."""
_ACQUIRE_S = 5.0

# A transaction that is one statement costs one round trip. The note answers what it corrects, else
# the latest note of its thread.
_ACCEPT_SQL = """
WITH parent AS (
    (SELECT message_id, refers_to, 1 AS choice FROM notify.notes
     WHERE key = $9 AND client_id IS NOT DISTINCT FROM $6)
    UNION ALL
    (SELECT message_id, refers_to, 2 FROM notify.notes
     WHERE thread = $8 AND thread <> '' AND client_id IS NOT DISTINCT FROM $6
     ORDER BY received_at DESC, note_id DESC LIMIT 1)
    ORDER BY choice LIMIT 1
), chain AS (
    SELECT refers_to || message_id AS names FROM parent
), taken AS (
    INSERT INTO notify.notes (note_id, key, digest, request, kind, client_id, call_id, thread,
                              corrects, subject, message_id, received_at, refers_to)
    VALUES ($1, $2, $3, $4::jsonb, $5, $6, $7, $8, $9, $10, $11, $12, coalesce(
        (SELECT CASE WHEN cardinality(names) <= $18 THEN names
                     ELSE names[1:1] || names[cardinality(names) - $18 + 2 :] END FROM chain), '{}'
    ))
    ON CONFLICT (key) DO NOTHING
    RETURNING note_id
), delivered AS (
    INSERT INTO notify.deliveries (note_id, purpose, name, email, status, queued_at, next_at)
    SELECT taken.note_id, 'note', to_name, to_email, 'queued', $12, $12
    FROM taken, unnest($13::text[], $14::text[])
         WITH ORDINALITY AS recipient (to_name, to_email, place)
    ORDER BY place
), attached AS (
    INSERT INTO notify.attachments (note_id, name, content, removed_at)
    SELECT taken.note_id, file.name, file.content, file.removed_at
    FROM taken, unnest($15::text[], $16::bytea[], $17::timestamptz[])
         AS file (name, content, removed_at)
)
SELECT note_id FROM taken
"""
_ATTACHMENTS_SQL = """
SELECT name, content FROM notify.attachments WHERE note_id = $1 AND content IS NOT NULL
"""
_ATTACHED_NAMES_SQL = """
SELECT name FROM notify.attachments WHERE note_id = $1 AND content IS NOT NULL
"""
_ERASE_ATTACHMENTS_SQL = """
UPDATE notify.attachments SET content = NULL, removed_at = $2
WHERE note_id = $1 AND content IS NOT NULL
"""
# What is still to be sent, to whomever, keeps what goes along with it.
_EXPIRE_ATTACHMENTS_SQL = """
UPDATE notify.attachments AS a SET content = NULL, removed_at = $2
WHERE a.content IS NOT NULL AND NOT EXISTS (
    SELECT FROM notify.deliveries AS d
    WHERE d.note_id = a.note_id AND (d.settled_at IS NULL OR d.settled_at > $1))
"""
_BY_KEY_SQL = "SELECT note_id, digest FROM notify.notes WHERE key = $1"

_NOTE_SQL = """
SELECT note_id, key, request, client_id, call_id, subject, corrects, received_at, message_id
FROM notify.notes WHERE note_id = $1
"""
_LIST_SQL = """
SELECT note_id, key, request, client_id, call_id, subject, corrects, received_at, message_id
FROM notify.notes AS n
WHERE ($1::text IS NULL OR client_id = $1)
  AND ($2::text IS NULL OR call_id = $2)
  AND ($3::text IS NULL OR key = $3)
  AND ($4::text IS NULL OR EXISTS (
        SELECT FROM notify.deliveries AS d
        WHERE d.note_id = n.note_id AND d.purpose = 'note' AND d.status = $4))
  AND ($5::text IS NULL OR (received_at, note_id) < (
        SELECT last.received_at, last.note_id FROM notify.notes AS last WHERE last.note_id = $5))
ORDER BY received_at DESC, note_id DESC
LIMIT $6
"""
_DELIVERIES_SQL = """
SELECT note_id, name, email, purpose, status, attempts, next_at, settled_at, reply_code, reply
FROM notify.deliveries WHERE note_id = ANY ($1::text[]) ORDER BY delivery_id
"""

# A transaction that waits for a mail server is idle, but not forgotten.
_CLAIM_SQL = """
SELECT d.delivery_id, d.purpose, d.name, d.email, d.attempts, d.queued_at,
       n.note_id, n.call_id, n.request, n.message_id, n.refers_to, n.received_at,
       EXISTS (SELECT FROM notify.attachments AS a
               WHERE a.note_id = d.note_id AND a.content IS NOT NULL) AS attached,
       (SELECT min(o.next_at) FROM notify.deliveries AS o
        WHERE o.status = 'queued' AND o.delivery_id <> d.delivery_id
          AND o.delivery_id <> ALL ($2::bigint[])) AS following,
       set_config('idle_in_transaction_session_timeout', '0', true)
FROM notify.deliveries AS d JOIN notify.notes AS n USING (note_id)
WHERE d.status = 'queued' AND d.next_at <= $1
ORDER BY d.next_at, d.delivery_id
LIMIT 1
FOR UPDATE OF d SKIP LOCKED
"""
_FAILURES_SQL = """
SELECT email, reply_code, reply FROM notify.deliveries
WHERE note_id = $1 AND purpose = 'note' AND status IN ('bounced', 'given_up')
ORDER BY delivery_id
"""
_SETTLE_SQL = """
UPDATE notify.deliveries
SET status = $2, attempts = attempts + 1, next_at = $3,
    settled_at = CASE WHEN $2 = 'queued' THEN NULL ELSE $4::timestamptz END,
    reply_code = $5, reply = $6
WHERE delivery_id = $1
"""
# Two workers that fail the last two recipients must not each count on the other.
_LOCK_NOTE_SQL = "SELECT FROM notify.notes WHERE note_id = $1 FOR NO KEY UPDATE"
_COPY_SQL = """
INSERT INTO notify.deliveries (note_id, purpose, name, email, status, queued_at, next_at)
SELECT $1, 'undelivered', '', $2, 'queued', $3, $3
WHERE NOT EXISTS (
    SELECT FROM notify.deliveries
    WHERE note_id = $1 AND purpose = 'note'
      AND (status IN ('queued', 'accepted') OR lower(email) = lower($2)))
ON CONFLICT (note_id, purpose, email) DO NOTHING
"""
_NEXT_DUE_SQL = """
SELECT min(next_at) FROM notify.deliveries WHERE status = 'queued' AND next_at > $1
"""
_RETRY_SQL = """
UPDATE notify.deliveries
SET status = 'queued', attempts = CASE WHEN status = 'queued' THEN attempts ELSE 0 END,
    queued_at = $2, next_at = $2, settled_at = NULL
WHERE delivery_id IN (
    SELECT delivery_id FROM notify.deliveries
    WHERE note_id = $1 AND purpose = 'note' AND status <> 'accepted'
    FOR UPDATE SKIP LOCKED)
"""
_BACKLOG_SQL = """
SELECT count(*) AS queued, min(queued_at) AS oldest
FROM notify.deliveries WHERE status = 'queued'
"""


class KeyReusedError(VsekError):
    """The idempotency key was used before, for another note."""

    error_id = "key_reused"


@dataclass(frozen=True, slots=True)
class NewNote:
    """A note to be written into the outbox."""

    note_id: str
    key: str
    request: NoteRequest
    subject: str
    message_id: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that the holder of its transaction, and nobody else, is to send now."""

    delivery_id: int
    is_copy: bool
    """For operations, because nobody else got the note."""
    name: str
    email: str
    attempts: int
    """Before this one."""
    queued_at: datetime
    note_id: str
    call_id: str | None
    request_json: str
    message_id: str
    references: Sequence[str]
    received_at: datetime


def digest(request: NoteRequest) -> bytes:
    """What two requests under one key must have in common.

    Fields at their default do not count: a later version's new field must not make the repetition
    of an old request look like another one.
    """
    content = request.without_content().model_dump(mode="json", exclude_defaults=True)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()


def _delivery(row: asyncpg.Record) -> Delivery:
    status = DeliveryStatus(row["status"])
    return Delivery(
        name=row["name"],
        email=row["email"],
        purpose=row["purpose"],
        status=status,
        attempts=row["attempts"],
        next_at=row["next_at"] if status is DeliveryStatus.QUEUED else None,
        settled_at=row["settled_at"],
        reply_code=row["reply_code"],
        reply=row["reply"],
    )


class Database:
    """The tables of the note service. ``country`` (ISO 3166) is for numbers in national form.

    Every method may raise one of ``DATABASE_ERRORS``.
    """

    def __init__(self, pool: type_pool, *, country: str, operations_email: str) -> None:
        self._pool = pool
        self._country = country
        self._operations_email = operations_email

    async def accept(self, new: NewNote) -> tuple[str, bool]:
        """Write a note and its deliveries; the note id under this key, and whether it is new.

        Raises ``KeyReusedError`` if the key belongs to a note with another content.
        """
        request = new.request
        client_id = request.client.id if request.client is not None else None
        content = digest(request)
        files = request.attachments
        async with self._pool.acquire(timeout=_ACQUIRE_S) as connection:
            created = await connection.fetchval(
                _ACCEPT_SQL,
                new.note_id,
                new.key,
                content,
                request.without_content().model_dump_json(),
                request.kind.value,
                client_id,
                request.call.id if request.call is not None else None,
                request.thread,
                request.corrects,
                new.subject,
                new.message_id,
                new.received_at,
                [recipient.name for recipient in request.recipients],
                [recipient.email for recipient in request.recipients],
                [file.name for file in files],
                # Content that was erased before it came here stays erased.
                [file.data if file.content else None for file in files],
                [None if file.content else new.received_at for file in files],
                REFERENCES_LIMIT,
            )
            if created is not None:
                return new.note_id, True
            known = await connection.fetchrow(_BY_KEY_SQL, new.key)
        assert known is not None
        if known["digest"] != content:
            raise KeyReusedError(
                f"The key {new.key} belongs to note {known['note_id']}, which says something else",
                remedy="Send a correction under a key of its own, with corrects",
            )
        return known["note_id"], False

    async def show(self, note_id: str) -> tuple[NoteInfo, NoteRequest] | None:
        """A note and its content; ``None`` if there is none of that id."""
        async with self._pool.acquire(timeout=_ACQUIRE_S) as connection:
            row = await connection.fetchrow(_NOTE_SQL, note_id)
            if row is None:
                return None
            [info] = await self._with_deliveries(connection, [row])
            return info, NoteRequest.model_validate_json(row["request"])

    async def listing(
        self,
        *,
        client_id: str | None,
        call_id: str | None,
        key: str | None,
        status: DeliveryStatus | None,
        before: str | None,
        limit: int,
    ) -> list[NoteInfo]:
        """At most ``limit`` notes, the newest first, older than the note ``before``."""
        async with self._pool.acquire(timeout=_ACQUIRE_S) as connection:
            rows = await connection.fetch(
                _LIST_SQL,
                client_id,
                call_id,
                key,
                status.value if status is not None else None,
                before,
                limit,
            )
            return await self._with_deliveries(connection, rows)

    async def _with_deliveries(
        self, connection: Connection, rows: list[asyncpg.Record]
    ) -> list[NoteInfo]:
        found: dict[str, list[Delivery]] = {row["note_id"]: [] for row in rows}
        for row in await connection.fetch(_DELIVERIES_SQL, list(found)):
            found[row["note_id"]].append(_delivery(row))
        infos = []
        for row in rows:
            request = NoteRequest.model_validate_json(row["request"])
            deliveries = found[row["note_id"]]
            infos.append(
                NoteInfo(
                    id=row["note_id"],
                    key=row["key"],
                    kind=request.kind,
                    client_id=row["client_id"],
                    client_name=request.client.name if request.client is not None else "",
                    call_id=row["call_id"],
                    caller=caller_label(request, self._country),
                    subject=row["subject"],
                    state=state_of(deliveries),
                    incomplete=request.incomplete,
                    corrects=row["corrects"],
                    received_at=row["received_at"],
                    message_id=row["message_id"],
                    deliveries=deliveries,
                )
            )
        return infos

    async def attached(self, note_id: str) -> set[str]:
        """Names of the note's attachments that are still here."""
        async with self._pool.acquire(timeout=_ACQUIRE_S) as connection:
            return {row["name"] for row in await connection.fetch(_ATTACHED_NAMES_SQL, note_id)}

    async def erase_attachments(self, note_id: str, now: datetime) -> int:
        """Remove the content of the note's attachments; how many had any."""
        async with self._pool.acquire(timeout=_ACQUIRE_S) as connection:
            done = await connection.execute(_ERASE_ATTACHMENTS_SQL, note_id, now)
            return int(done.split()[-1])

    async def expire_attachments(self, before: datetime, now: datetime) -> int:
        """Remove the content of attachments of notes that were settled ``before``; how many."""
        async with self._pool.acquire(timeout=_ACQUIRE_S) as connection:
            done = await connection.execute(_EXPIRE_ATTACHMENTS_SQL, before, now)
            return int(done.split()[-1])

    async def retry(self, note_id: str, now: datetime) -> int:
        """Queue whatever of the note is not accepted for ``now``; how many deliveries that are.

        One that is being sent at this moment is left alone.
        """
        async with self._pool.acquire(timeout=_ACQUIRE_S) as connection:
            done = await connection.execute(_RETRY_SQL, note_id, now)
            return int(done.split()[-1])

    async def backlog(self) -> tuple[int, datetime | None]:
        """How many mails are queued, and since when the oldest is."""
        async with self._pool.acquire(timeout=_ACQUIRE_S) as connection:
            row = await connection.fetchrow(_BACKLOG_SQL)
            assert row is not None
            return row["queued"], row["oldest"]

    async def next_due(self, now: datetime) -> datetime | None:
        """When the next mail after ``now`` is due. Those due before are in somebody's hands."""
        async with self._pool.acquire(timeout=_ACQUIRE_S) as connection:
            at: datetime | None = await connection.fetchval(_NEXT_DUE_SQL, now)
            return at

    @asynccontextmanager
    async def claim(
        self, now: datetime, in_hand: Collection[int] = ()
    ) -> AsyncIterator[Claim | None]:
        """The delivery that is due longest, if any, for the time of the context.

        ``in_hand`` are those that the caller sends meanwhile: they do not count for ``next_at``.
        """
        async with self._pool.acquire(timeout=_ACQUIRE_S) as connection, connection.transaction():
            row = await connection.fetchrow(_CLAIM_SQL, now, list(in_hand))
            if row is None:
                yield None
                return
            contents: dict[str, bytes] = {}
            if row["attached"]:
                rows = await connection.fetch(_ATTACHMENTS_SQL, row["note_id"])
                contents = {found["name"]: found["content"] for found in rows}
            yield Claim(
                connection, _claimed(row), contents, row["following"], self._operations_email
            )


def _claimed(row: asyncpg.Record) -> Claimed:
    fields: dict[str, Any] = dict(row)
    return Claimed(
        delivery_id=fields["delivery_id"],
        is_copy=fields["purpose"] == "undelivered",
        name=fields["name"],
        email=fields["email"],
        attempts=fields["attempts"],
        queued_at=fields["queued_at"],
        note_id=fields["note_id"],
        call_id=fields["call_id"],
        request_json=fields["request"],
        message_id=fields["message_id"],
        references=fields["refers_to"],
        received_at=fields["received_at"],
    )


class Claim:
    """A claimed delivery and the transaction that holds it."""

    def __init__(
        self,
        connection: Connection,
        delivery: Claimed,
        contents: dict[str, bytes],
        next_at: datetime | None,
        operations_email: str,
    ) -> None:
        self._connection = connection
        self.contents = contents
        """The note's attachments that are still here, by name."""
        self.next_at = next_at
        """When the next mail is due; ``None``: none is waiting."""
        self._operations_email = operations_email
        self.delivery = delivery

    async def failures(self) -> list[str]:
        """For operations: which recipients did not get the note, and why."""
        rows = await self._connection.fetch(_FAILURES_SQL, self.delivery.note_id)
        said = ((row["email"], row["reply_code"], row["reply"]) for row in rows)
        return [f"{email}: {code or ''} {reply}".replace("  ", " ") for email, code, reply in said]

    async def settle(self, following: Next, *, now: datetime, code: int | None, reply: str) -> bool:
        """Write down what became of the attempt; whether operations get a copy because of it."""
        delivery = self.delivery
        await self._connection.execute(
            _SETTLE_SQL,
            delivery.delivery_id,
            following.status.value,
            following.next_at,
            now,
            code,
            reply,
        )
        failed = following.status in (DeliveryStatus.BOUNCED, DeliveryStatus.GIVEN_UP)
        if not failed or delivery.is_copy:
            return False
        await self._connection.execute(_LOCK_NOTE_SQL, delivery.note_id)
        done = await self._connection.execute(
            _COPY_SQL, delivery.note_id, self._operations_email, now
        )
        return not done.endswith(" 0")

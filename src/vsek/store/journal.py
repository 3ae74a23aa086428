"""The switchboard's journal in PostgreSQL, and the lease of the one that leads.

The *lease* is an advisory lock on a connection of its own. PostgreSQL lets go of it as soon as that
connection ends: at once when the process dies; when its machine is cut off or the process hangs,
after :data:`LEASE_IDLE_S`, because the server ends a session that says nothing for so long. Nobody
leads without it while PostgreSQL is there.

The *epoch* (see ``store.records``) grows with every leader. Whatever a leader writes names its
epoch, so one that was superseded without noticing can change nothing any more.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg

from vsek.store import journal_past
from vsek.store.pool import UNREACHABLE, as_service_error
from vsek.store.records import StaleEpochError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vsek.store.pool import Connection, Row

LEASE_IDLE_S = 10
"""After how many seconds of silence the server takes the lease away."""
LEASE_DEADLINE_S = 3.0
"""How long a request about the lease may take."""
GOODBYE_S = 0.5
KEEP_SNAPSHOTS = 2
# Any number, so long as nobody else uses it: it names the lock in the database.
_LOCK = 0x76_73_6C_64

_LOCK_EPOCH_SQL = "SELECT epoch FROM vsek.journal FOR UPDATE"
_PEEK_EPOCH_SQL = "SELECT epoch FROM vsek.journal"
_BEGIN_SQL = "UPDATE vsek.journal SET epoch = greatest(epoch, $1) + 1 RETURNING epoch"
_LAST_SQL = """
SELECT greatest((SELECT max(last) FROM vsek.journal_batches),
                (SELECT max(number) FROM vsek.journal_snapshots))
"""
_NEWEST_SNAPSHOT_SQL = "SELECT max(number) FROM vsek.journal_snapshots"
# One statement is one round trip. The position's row is locked first: only the newest epoch finds
# it. A batch comes again if the answer to the first attempt got lost; there may be more by then.
_PUT_BATCH_SQL = """
WITH head AS MATERIALIZED (
    SELECT epoch FROM vsek.journal WHERE epoch = $1 FOR UPDATE
), put AS (
    INSERT INTO vsek.journal_batches (first, last, body)
    SELECT $2::bigint, $3::bigint, $4::bytea FROM head
    ON CONFLICT (first) DO UPDATE SET last = excluded.last, body = excluded.body
    RETURNING 1
)
SELECT EXISTS (SELECT FROM put)
"""
_PUT_SNAPSHOT_SQL = """
INSERT INTO vsek.journal_snapshots (number, body) VALUES ($1, $2) ON CONFLICT (number) DO NOTHING
"""
# The oldest that is kept: as the journal's folder does it, counted from the newest snapshot with
# which the records have caught up.
_OLDEST_KEPT_SQL = """
SELECT min(number) FROM (
    SELECT s.number FROM vsek.journal_snapshots s, vsek.journal j
    WHERE s.number <= j.seq ORDER BY s.number DESC LIMIT $1
) AS kept HAVING count(*) > 0
"""
_DROP_SNAPSHOTS_SQL = "DELETE FROM vsek.journal_snapshots WHERE number < $1"
_DROP_BATCHES_SQL = "DELETE FROM vsek.journal_batches WHERE last <= $1"
_CLEAR_SQL = """
WITH batches AS (DELETE FROM vsek.journal_batches)
DELETE FROM vsek.journal_snapshots
"""
_BASE_SQL = """
SELECT s.number, s.body FROM vsek.journal_snapshots s, vsek.journal j
WHERE s.number <= j.seq ORDER BY s.number DESC LIMIT 1
"""
_BATCHES_SQL = "SELECT first, body FROM vsek.journal_batches WHERE last > $1 ORDER BY first"
_TRY_SQL = "SELECT pg_try_advisory_lock($1)"
_RENEW_SQL = "SELECT 1"
# The lock's number is kept in two halves.
_HOLDER_SQL = """
SELECT pid FROM pg_locks
WHERE locktype = 'advisory' AND classid = 0 AND objid = $1 AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_END_SESSION_SQL = "SELECT pg_terminate_backend($1)"


@dataclass(frozen=True, slots=True)
class ShippedJournal:
    """What PostgreSQL has of the journal."""

    snapshot: tuple[int, bytes] | None
    """Number and file content of the newest snapshot that a start can use."""
    batches: tuple[tuple[int, bytes], ...]
    """First number and content of the segments after it, in order."""


async def shipped_to(conn: Connection) -> int | None:
    """The number of the last entry that is here; ``None``: there is nothing."""
    number: int | None = await conn.fetchval(_LAST_SQL)
    return number


async def newest_snapshot(conn: Connection) -> int | None:
    """The number of the newest snapshot that is here; ``None``: there is none."""
    number: int | None = await conn.fetchval(_NEWEST_SNAPSHOT_SQL)
    return number


async def epoch(conn: Connection) -> int:
    """The epoch of the newest leader; 0: there was none."""
    return int(await conn.fetchval(_PEEK_EPOCH_SQL) or 0)


async def begin_epoch(
    conn: Connection, known: int, remember: Callable[[int], None], *, clear: bool
) -> int:
    """Begin a new epoch, beyond ``known``; ``clear``: the journal that is here is superseded.

    ``remember`` gets the number before it counts: a leader must never know less of its own epoch
    than the database does.
    """
    async with conn.transaction():
        number = int(await conn.fetchval(_BEGIN_SQL, known))
        if clear:
            await journal_past.put_away(conn, None)
            await conn.execute(_CLEAR_SQL)
        remember(number)
    return number


async def _stale(conn: Connection, mine: int) -> StaleEpochError:
    return StaleEpochError(
        f"Another switchboard leads since epoch {await epoch(conn)}; this one has {mine}",
        remedy="Let the newer one run, or restart this one to stand by",
    )


async def ship(conn: Connection, mine: int, first: int, last: int, body: bytes) -> None:
    """Add entries ``first`` … ``last``. Raises ``StaleEpochError`` when ``mine`` is not the newest
    epoch."""
    if not await conn.fetchval(_PUT_BATCH_SQL, mine, first, last, body):
        raise await _stale(conn, mine)


async def ship_snapshot(conn: Connection, mine: int, number: int, body: bytes) -> None:
    """Add the snapshot after the entry ``number``; what no start needs any more is put away.

    Raises ``StaleEpochError`` when ``mine`` is not the newest epoch.
    """
    async with conn.transaction():
        if await conn.fetchval(_LOCK_EPOCH_SQL) != mine:
            raise await _stale(conn, mine)
        await conn.execute(_PUT_SNAPSHOT_SQL, number, body)
        oldest = await conn.fetchval(_OLDEST_KEPT_SQL, KEEP_SNAPSHOTS)
        if oldest is not None:
            await journal_past.put_away(conn, oldest)
            await conn.execute(_DROP_SNAPSHOTS_SQL, oldest)
            await conn.execute(_DROP_BATCHES_SQL, oldest)


async def load(conn: Connection) -> ShippedJournal:
    """Everything that a start elsewhere needs, as of one moment."""
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        row = await conn.fetchrow(_BASE_SQL)
        snapshot = None if row is None else (row["number"], row["body"])
        rows = await conn.fetch(_BATCHES_SQL, 0 if snapshot is None else snapshot[0])
    return ShippedJournal(snapshot, tuple((row["first"], row["body"]) for row in rows))


class Lease:
    """The right to lead: one connection of its own, and the lock on it."""

    def __init__(self, dsn: str, *, idle_s: int = LEASE_IDLE_S) -> None:
        self._dsn = dsn
        self._idle_s = idle_s
        self._connection: asyncpg.Connection[Row] | None = None
        self._last_session = 0

    @property
    def connected(self) -> bool:
        """Whether the connection is there, as far as anybody knows."""
        return self._connection is not None and not self._connection.is_closed()

    @property
    def connection(self) -> Connection:
        """The connection, for what belongs to the lease."""
        assert self._connection is not None
        return self._connection

    async def connect(self) -> None:
        """Connect anew. Raises ``ServiceError`` when the server does not serve."""
        self.drop()
        try:
            self._connection = await asyncpg.connect(
                self._dsn,
                timeout=LEASE_DEADLINE_S,
                command_timeout=LEASE_DEADLINE_S,
                server_settings={
                    "application_name": "vsek-lease",
                    "idle_session_timeout": f"{self._idle_s}s",
                    "tcp_keepalives_idle": "2",
                    "tcp_keepalives_interval": "1",
                    "tcp_keepalives_count": "3",
                },
            )
        except (*UNREACHABLE, asyncpg.PostgresError) as error:
            raise as_service_error(error) from error

    async def take(self) -> bool:
        """Take the lease if it is free. Raises ``ServiceError`` when the connection is lost."""
        taken = bool(await self._ask(_TRY_SQL, _LOCK))
        if taken:
            self._last_session = self.connection.get_server_pid()
        return taken

    async def renew(self) -> None:
        """Say that we live. Raises ``ServiceError`` when the connection, and the lease with it, is
        lost."""
        await self._ask(_RENEW_SQL)

    async def end_own_last_session(self) -> bool:
        """Whether it was our own connection of before that still held the lease; it is ended."""
        holder = await self._ask(_HOLDER_SQL, _LOCK)
        if holder is None or holder != self._last_session:
            return False
        await self._ask(_END_SESSION_SQL, holder)
        return True

    async def epoch(self) -> int:
        """The epoch of the newest leader. Raises ``ServiceError``."""
        return int(await self._ask(_PEEK_EPOCH_SQL) or 0)

    async def _ask(self, sql: str, *values: object) -> Any:
        try:
            # The connection's own limit does not hold while it gives up a request before.
            async with asyncio.timeout(LEASE_DEADLINE_S + 0.5):
                return await self.connection.fetchval(sql, *values)
        except (*UNREACHABLE, asyncpg.PostgresError) as error:
            raise as_service_error(error) from error

    def drop(self) -> None:
        """Forget a connection that is lost, without a goodbye."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def close(self) -> None:
        """Let go of the lease."""
        if self._connection is None:
            return
        connection, self._connection = self._connection, None
        try:
            async with asyncio.timeout(GOODBYE_S):
                await connection.close()
        except (TimeoutError, *UNREACHABLE):
            connection.terminate()

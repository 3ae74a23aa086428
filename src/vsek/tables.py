"""What the switchboard wants of the database, in the shapes in which its parts ask for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

import structlog

from vsek.domain.ids import CallId, ClientId
from vsek.domain.records import Record
from vsek.domain.talks import PastTalk
from vsek.errors import ServiceError
from vsek.leadership import Leadership
from vsek.store import acquaintance, calls, pool, recordings, records
from vsek.switchboard.ledger import KnownCall
from vsek.switchboard.recordings import Owed
from vsek.switchboard.shipper import Shipper

log = structlog.get_logger(__name__)

SHIPPED_WAIT_S = 2.0


class RecordTable:
    """Writes records to the database under this process's epoch."""

    def __init__(self, connections: pool.Pool, leadership: Leadership, shipper: Shipper) -> None:
        self._pool = connections
        self._leadership = leadership
        self._shipper = shipper

    async def position(self) -> int | None:
        """How far the journal has arrived, or ``None`` while the database is away."""
        try:
            async with asyncio.timeout(SHIPPED_WAIT_S), pool.acquire(self._pool) as connection:
                return await records.journal_seq(connection)
        except (ServiceError, TimeoutError) as error:
            log.error("database_away", error=str(error))
            return None

    async def apply(self, batch: Sequence[Record], number: int) -> None:
        """See :func:`vsek.store.records.apply`; what caused the records is shipped before."""
        epoch = self._leadership.my_epoch
        await self._shipper.flush()
        async with pool.acquire(self._pool) as connection:
            await records.apply(connection, batch, number, epoch=epoch)


class CallTable:
    """What the database knows of calls."""

    def __init__(self, connections: pool.Pool) -> None:
        self._pool = connections

    async def of_channels(self, channels: Sequence[str]) -> dict[str, KnownCall]:
        """The calls whose callers came over these channels of Asterisk."""
        async with pool.acquire(self._pool) as connection:
            found = await calls.of_channels(connection, channels)
        return {channel: KnownCall(*call) for channel, call in found.items()}


class TalkTable:
    """The talks of the past."""

    def __init__(self, connections: pool.Pool) -> None:
        self._pool = connections

    async def talks_since(self, since: float) -> AsyncGenerator[Sequence[PastTalk], None]:
        """Talks of calls that came in since then, the newest first."""
        async with (
            pool.acquire(self._pool) as connection,
            aclosing(acquaintance.talks_since(connection, since)) as chunks,
        ):
            async for talks in chunks:
                yield talks

    async def talks_named_since(self, since: float) -> AsyncGenerator[Sequence[PastTalk], None]:
        """Talks whose note was written or changed since then."""
        async with (
            pool.acquire(self._pool) as connection,
            aclosing(acquaintance.talks_named_since(connection, since)) as chunks,
        ):
            async for talks in chunks:
                yield talks

    async def talks_of(self, calls: Sequence[CallId]) -> Sequence[PastTalk]:
        """Those of these calls that have arrived."""
        async with pool.acquire(self._pool) as connection:
            return await acquaintance.talks_of(connection, calls)

    async def contact_numbers(self) -> Sequence[tuple[ClientId, str]]:
        """The telephone numbers of clients' contacts."""
        async with pool.acquire(self._pool) as connection:
            return await acquaintance.contact_numbers(connection)


class RecordingTable:
    """The shelf on which recordings are kept."""

    def __init__(self, connections: pool.Pool, leadership: Leadership) -> None:
        self._pool = connections
        self._leadership = leadership

    async def owed(self) -> Sequence[Owed]:
        """Recordings that were announced and have no audio yet."""
        async with pool.acquire(self._pool) as connection:
            return await recordings.owed(connection)

    async def keep(self, owed: Owed, wav: bytes, seconds: float) -> None:
        """Keep the audio; it is committed when this returns."""
        async with pool.acquire(self._pool) as connection:
            await recordings.keep(connection, owed.call_id, owed.name, wav, seconds)

    async def lost(self, owed: Owed, why: str) -> None:
        """There will be none."""
        async with pool.acquire(self._pool) as connection:
            await recordings.lost(connection, owed.call_id, owed.name, why)

    async def unwanted(self, owners: Mapping[str, str], before: float) -> Sequence[str]:
        """Those whose call ended before that moment and of which nothing is owed; none if another
        switchboard leads."""
        epoch = self._leadership.my_epoch
        async with pool.acquire(self._pool) as connection:
            return await recordings.unwanted(connection, owners, before, epoch=epoch)

    async def expire(self, keep_days: float) -> None:
        """Erase what was kept for long enough after its note was handed over."""
        try:
            async with pool.acquire(self._pool) as connection:
                erased = await recordings.expire(connection, keep_days)
        except ServiceError as error:
            log.warning("recordings_not_erased", error=str(error))
            return
        if erased:
            log.info("recordings_erased", recordings=erased)

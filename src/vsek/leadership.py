"""Who leads: at most one switchboard, whichever machine it runs on.

Theory of operation. A start takes the lease (``store.journal``) before it touches calls. If
somebody else has it, the start *stands by*: it asks again a few times a second and takes over as
soon as the lease is free. Then it compares its own journal with the one in the database: the newer
epoch wins, within one epoch the higher number. The one that leads renews the lease once a second.

PostgreSQL may be away. A leader that loses its connection goes on routing; when it is connected
again it takes the lease back, unless another one has led since: then it is *superseded* and ends,
for the other's state is the newer one. A start that finds no PostgreSQL serves calls from its own
journal: at once if that was written a moment ago, else unless Asterisk shows another switchboard's
sign of life (``switchboard.heartbeat``), which would lose its calls to us. One that stood by when
PostgreSQL went away goes on standing by: somebody leads. After an outage it leaves the first
seconds to that one (:data:`AFTER_OUTAGE_S`).

What keeps two leaders apart while PostgreSQL cannot is Asterisk: one connection owns the ARI
application, the one that loses it ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import structlog

from vsek.errors import ServiceError
from vsek.health import sdnotify
from vsek.settings import AriSettings
from vsek.store import journal as table
from vsek.store import pool, records
from vsek.store.journal import Lease
from vsek.switchboard.heartbeat import HEALTHY_S, VARIABLE
from vsek.switchboard.journal import Journal
from vsek.switchboard.shipper import Shipper

log = structlog.get_logger(__name__)

LOOK_S = 0.25
"""How often a start that stands by asks for the lease."""
RENEW_S = 1.0
AFTER_OUTAGE_S = 5.0
"""How much later than the leader one that stands by asks after an outage of PostgreSQL."""
PATIENCE = 3
"""How many answers about the lease may be missing before its connection is given up."""
STALE_S = 15.0
"""Longer than a dead session can hold the lease."""
JUST_NOW_S = 30.0
"""A journal that was written less long ago is that of the last leader."""
ASTERISK_S = 2.0
"""How long Asterisk may take to tell of a sign of life."""

Pulse = Callable[[], Awaitable[str | None]]


class Leadership:
    """This process's place among the switchboards of one database."""

    def __init__(self, connections: pool.Pool, dsn: str) -> None:
        self._pool = connections
        self._lease = Lease(dsn)
        self._held = False
        self._refused_at: float | None = None
        self.epoch: int | None = None
        """``None``: not known yet, because PostgreSQL was away at the start."""
        self.adopted: Path | None = None
        """Where our own journal lies, if another one took its place."""

    # --- at the start ----------------------------------------------------------------------

    async def connect(self) -> None:
        """Have the connection ready, if PostgreSQL is there, before the turn comes."""
        try:
            await self._lease.connect()
        except ServiceError as error:
            log.error("database_away", error=str(error))

    async def await_turn(self, journal: Journal, shipper: Shipper, pulse: Pulse) -> bool:
        """Wait until it is our turn; then the newest journal is in ``journal``.

        Returns ``False`` when PostgreSQL is away: then only our own journal counts. ``pulse`` asks
        for the last sign of life that Asterisk has seen of a switchboard.
        """
        if not self._lease.connected and not await self._silence(journal, pulse):
            return False
        try:
            taken = await self._lease.take()
        except ServiceError as error:
            log.error("database_away", error=str(error))
            self._lease.drop()
            return False
        if not taken:
            log.warning("standing_by", remedy="Another switchboard leads; this one waits for it")
            sdnotify.tell(sdnotify.STANDING_BY)
            await self._stand_by()
        await self._take_over(journal, shipper)
        return True

    async def _silence(self, journal: Journal, pulse: Pulse) -> bool:
        """Without PostgreSQL: wait while another switchboard lives; whether it came back."""
        if time.time() - journal.written_at() < JUST_NOW_S:
            return False
        told = False
        seen = await pulse()
        while seen is not None:
            await asyncio.sleep(HEALTHY_S)
            await self.connect()
            if self._lease.connected:
                return True
            before, seen = seen, await pulse()
            if seen == before:
                break
            if not told:
                log.warning("standing_by", remedy="Another switchboard serves calls")
                sdnotify.tell(sdnotify.STANDING_BY)
                told = True
        return False

    async def _stand_by(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                if not self._lease.connected:
                    await self._lease.connect()
                    await asyncio.sleep(AFTER_OUTAGE_S)
                if await self._lease.take():
                    return
            except ServiceError as error:
                if self._lease.connected:
                    log.error("database_away", error=str(error))
                self._lease.drop()

    async def _take_over(self, journal: Journal, shipper: Shipper) -> None:
        """With the lease in our hands: the newest journal, and an epoch of our own."""
        self._held = True
        try:
            async with pool.acquire(self._pool) as connection:
                epoch = await table.epoch(connection)
                last = await table.shipped_to(connection)
                if last is not None and (epoch, last) > (journal.epoch, journal.last_number):
                    shipped = await table.load(connection)
                    self.adopted = journal.adopt(shipped.snapshot, shipped.batches)
                    log.warning("journal_adopted", number=last, own=str(self.adopted))
            await self._begin(journal, shipper)
        except (ServiceError, OSError) as error:
            # Calls come first: with what we have.
            log.error("leading_without_database", error=str(error))

    async def _begin(self, journal: Journal, shipper: Shipper) -> None:
        async with pool.acquire(self._pool) as connection:
            known = journal.epoch
            # Of a history that ours does not continue nothing may be left.
            clear = self.adopted is None and await table.epoch(connection) != known
            self.epoch = await table.begin_epoch(
                connection, known, journal.remember_epoch, clear=clear
            )
            after = await table.shipped_to(connection)
            snapshot = await table.newest_snapshot(connection) or 0
            if after is None:
                base = journal.newest_snapshot(await records.journal_seq(connection))
                if base is not None:
                    after, body = base
                    await table.ship_snapshot(connection, self.epoch, after, body)
                    snapshot = after
        shipper.begin(after or 0, snapshot)
        log.info("leading", epoch=self.epoch, shipped=after)

    # --- while leading ---------------------------------------------------------------------

    async def run(self, journal: Journal, shipper: Shipper) -> None:
        """Keep the lease. Raises ``ServiceError`` when another switchboard leads."""
        missed = 0
        while True:
            await asyncio.sleep(RENEW_S if self._held and not missed else LOOK_S)
            try:
                if self._held and self.epoch is not None:
                    await self._lease.renew()
                else:
                    await self._regain(journal, shipper)
                missed = 0
            except ServiceError as error:
                if error.error_id == "superseded":
                    raise
                missed += 1
                if missed == 1:
                    log.error("lease_not_renewed", error=str(error))
                # A server that is slow still counts us as the leader: to drop the connection would
                # be to give the lease away.
                if not self._lease.connected or missed >= PATIENCE:
                    self._lease.drop()
                    self._held = False

    async def _regain(self, journal: Journal, shipper: Shipper) -> None:
        if not self._lease.connected:
            await self._lease.connect()
        if not self._held:
            self._held = await self._lease.take()
        newest = await self._lease.epoch()
        mine = journal.epoch if self.epoch is None else self.epoch
        if not self._held:
            await self._refused(newest > mine and self.epoch is not None)
            return
        self._refused_at = None
        if newest > mine and not (self.epoch is None and await self._nothing_shipped()):
            raise _superseded()
        if self.epoch is None or newest < mine:
            # PostgreSQL was away at the start, or knows less than it did: a backup, perhaps.
            await self._begin(journal, shipper)
        log.warning("lease_regained", epoch=self.epoch)

    async def _refused(self, led_since: bool) -> None:
        """Somebody holds the lease: ourselves of before, a dead process, or another leader."""
        if await self._lease.end_own_last_session():
            return
        now = asyncio.get_running_loop().time()
        if self._refused_at is None:
            self._refused_at = now
        if led_since or now - self._refused_at > STALE_S:
            raise _superseded()

    async def _nothing_shipped(self) -> bool:
        async with pool.acquire(self._pool) as connection:
            return await table.shipped_to(connection) is None

    async def release(self) -> None:
        """Let another one lead."""
        self._held = False
        await self._lease.close()

    # --- writing ---------------------------------------------------------------------------

    @property
    def my_epoch(self) -> int:
        """The epoch to write under. Raises ``ServiceError`` while it is not known."""
        if self.epoch is None:
            raise ServiceError(
                "This switchboard leads without PostgreSQL so far",
                remedy="Nothing is lost: records wait in the journal",
                error_id="database",
            )
        return self.epoch

    async def ship_entries(self, first: int, last: int, body: bytes) -> None:
        """Write entries of the journal. Raises ``ServiceError``, ``StaleEpochError``."""
        async with pool.acquire(self._pool) as connection:
            await table.ship(connection, self.my_epoch, first, last, body)

    async def ship_snapshot(self, number: int, body: bytes) -> None:
        """Write a snapshot. Raises ``ServiceError``, ``StaleEpochError``."""
        async with pool.acquire(self._pool) as connection:
            await table.ship_snapshot(connection, self.my_epoch, number, body)


def _superseded() -> ServiceError:
    return ServiceError(
        "Another switchboard has led since the connection to PostgreSQL was lost",
        remedy="Start this one again: it stands by for that one",
        error_id="superseded",
    )


async def last_pulse(asterisk: AriSettings) -> str | None:
    """The last sign of life that Asterisk has seen of any switchboard; ``None``: none, or Asterisk
    does not answer."""
    secret = aiohttp.BasicAuth(asterisk.username, asterisk.password.get_secret_value())
    try:
        async with (
            aiohttp.ClientSession(
                auth=secret, timeout=aiohttp.ClientTimeout(total=ASTERISK_S)
            ) as session,
            session.get(
                f"{asterisk.url.rstrip('/')}/ari/asterisk/variable", params={"variable": VARIABLE}
            ) as reply,
        ):
            if reply.status != 200:
                return None
            body = await reply.json()
            return str(body.get("value", "")) or None
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, AttributeError):
        return None

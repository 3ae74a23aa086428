"""Records on their way to the database: in order, in batches, until they are there.

Three kinds of failure: *transient* ones (the database is away) are repeated for ever; *fatal* ones
(another switchboard has taken over) end the process; whatever else the database says is about one
record, which is logged in full and left out, since it must not hold up all that come after it.

What comes within ``COLLECT_S`` seconds goes to the database together: a commit costs the same for
one record as for fifty.

The queue is in memory and has no limit, because the journal holds what is needed to fill it again.
``shipped`` is the number of the last journal entry whose records the database has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain

import structlog

from vsek.domain.records import Record

log = structlog.get_logger(__name__)

BATCH = 500
COLLECT_S = 0.25
BACK_OFF_S = (0.1, 0.5, 1.0, 2.0, 5.0)

Apply = Callable[[Sequence[Record], int], Awaitable[None]]


class RecordWriter:
    """Feeds ``apply(records, number)``, which must be idempotent, one batch at a time."""

    def __init__(
        self,
        apply: Apply,
        *,
        shipped: int,
        transient: tuple[type[Exception], ...],
        fatal: tuple[type[Exception], ...] = (),
    ) -> None:
        self._apply = apply
        self._transient = transient
        self._fatal = fatal
        self._waiting: list[tuple[Sequence[Record], int]] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.shipped = shipped
        self.failing = False

    @property
    def waiting(self) -> int:
        """How many journal entries wait for the database."""
        return len(self._waiting)

    def put(self, records: Sequence[Record], number: int) -> None:
        """Take records; see ``RecordSink``."""
        self._waiting.append((records, number))
        self._idle.clear()
        self._wake.set()

    def unwritten(self, first: int) -> list[tuple[Sequence[Record], int]]:
        """See ``RecordSink``."""
        return [(records, number) for records, number in self._waiting if number >= first]

    async def run(self) -> None:
        """Write for ever. Ends by cancellation; what is left comes again from the journal."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                if len(self._waiting) < BATCH:
                    await asyncio.sleep(COLLECT_S)
                batch = self._waiting[:BATCH]
                await self._write(batch)
                del self._waiting[: len(batch)]
            self._idle.set()

    async def drained(self, timeout_s: float) -> bool:
        """Wait until nothing waits; ``False`` if that took too long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def _write(self, batch: Sequence[tuple[Sequence[Record], int]]) -> None:
        records = list(chain.from_iterable(records for records, _ in batch))
        number = batch[-1][1]
        try:
            await self._until_written(records, number)
        except self._fatal:
            raise
        except Exception:
            log.exception("batch_refused", entries=len(batch))
            for alone, its_number in batch:
                for record in alone:
                    await self._write_alone(record, its_number)
        if self.failing:
            log.warning("database_back", entries=len(batch))
        self.failing = False
        self.shipped = number

    async def _write_alone(self, record: Record, number: int) -> None:
        # Up to the entry before: the rest of this entry's records may be yet to come.
        try:
            await self._until_written([record], number - 1)
        except self._fatal:
            raise
        except Exception:
            log.exception("record_refused", call_id=record.call_id, record=repr(record))

    async def _until_written(self, records: Sequence[Record], number: int) -> None:
        attempt = 0
        while True:
            try:
                return await self._apply(records, number)
            except self._fatal:
                raise
            except self._transient as error:
                self.failing = True
                delay = BACK_OFF_S[min(attempt, len(BACK_OFF_S) - 1)]
                log.error(
                    "database_away",
                    error=repr(error),
                    waiting=len(self._waiting),
                    retry_in_s=delay,
                )
                attempt += 1
                await asyncio.sleep(delay)

"""The journal on its way to PostgreSQL: in the background, from the files.

Theory of operation. A *tail* follows the journal's segments on disk and knows up to which entry
they are in the database. A few times a second whatever is new goes there as one row; the owner of
the live state neither waits for that nor hands anything over. Before records of calls are written,
the entries that caused them are shipped (:meth:`Shipper.flush`): so the database never knows more
of a call than a switchboard that takes over from it. Snapshots follow when everything before them
is there.

While the database is away nothing is kept in memory: the files hold it. They are read in the loop,
in small pieces: what was just written is in the page cache, and a thread for that took longer than
the reading.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from vsek.switchboard.journal import bodies, number_of

log = structlog.get_logger(__name__)

INTERVAL_S = 0.25
"""Seconds between two looks, whoever looks: who flushes, before records, has looked for us."""
SNAPSHOT_LOOK_S = 2.0
BACK_OFF_S = 1.0
CHUNK = 256 * 1024
"""Bytes that are read, and shipped, at once; one longer record goes alone."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Entries ``first`` … ``last`` as they stand in a segment."""

    first: int
    last: int
    body: bytes
    path: Path
    end: int
    """Where in ``path`` the next one begins."""


class Tail:
    """Follows a journal's segments, beginning after the entry ``after``."""

    def __init__(self, folder: Path, after: int) -> None:
        self._folder = folder
        self.after = after
        self._path: Path | None = None
        self._offset = 0

    def read(self) -> Chunk | None:
        """The next entries, if there are any; the same again until :meth:`advance`."""
        if self._path is None:
            self._path = self._first_segment()
        while self._path is not None:
            chunk = self._read(self._path)
            if chunk is not None:
                return chunk
            following = self._following(self._path)
            if following is None:
                return None
            # What was written to this one before the next was begun.
            chunk = self._read(self._path)
            if chunk is not None:
                return chunk
            self._path, self._offset = following, 0
        return None

    def advance(self, chunk: Chunk) -> None:
        """``chunk`` has arrived."""
        self._path, self._offset, self.after = chunk.path, chunk.end, chunk.last

    def _segments(self) -> list[Path]:
        return sorted(self._folder.glob("journal-*.log"))

    def _first_segment(self) -> Path | None:
        """The first segment that can hold what is wanted."""
        segments = self._segments()
        older = [path for path in segments if _first_of(path) <= self.after + 1]
        return next(iter(older[-1:] or segments[:1]), None)

    def _following(self, this: Path) -> Path | None:
        return next((path for path in self._segments() if path > this), None)

    def _read(self, path: Path) -> Chunk | None:
        size = CHUNK
        while True:
            try:
                file = os.open(path, os.O_RDONLY)
                try:
                    there = os.fstat(file).st_size - self._offset
                    data = os.pread(file, max(0, min(size, there)), self._offset)
                finally:
                    os.close(file)
            except FileNotFoundError:
                return None  # tidied away: its entries were shipped long ago
            chunk = self._whole(path, data)
            if chunk is not None or len(data) < size:
                return chunk
            size *= 2

    def _whole(self, path: Path, data: bytes) -> Chunk | None:
        first, start, end, last = 0, 0, 0, self.after
        for behind, body in bodies(data):
            number = number_of(body)
            if number > self.after:
                if not first:
                    first, start = number, end
                last = number
            end = behind
        if not first:
            self._offset += end  # known already
            return None
        return Chunk(first, last, data[start:end], path, self._offset + end)


def _first_of(path: Path) -> int:
    return int(path.stem.partition("-")[2])


ShipEntries = Callable[[int, int, bytes], Awaitable[None]]
ShipSnapshot = Callable[[int, bytes], Awaitable[None]]


class Shipper:
    """Brings the journal in ``folder`` to the database.

    ``entries(first, last, body)`` and ``snapshot(number, body)`` write there; both must be
    idempotent. Until :meth:`begin` nothing is shipped. ``written`` is the number of the last entry
    in the folder, or more; it saves looking for more where there is none.
    """

    def __init__(
        self,
        folder: Path,
        entries: ShipEntries,
        snapshot: ShipSnapshot,
        *,
        transient: tuple[type[Exception], ...],
        fatal: tuple[type[Exception], ...] = (),
        written: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self._folder = folder
        self._written = written
        self._ship_entries = entries
        self._ship_snapshot = snapshot
        self._transient = transient
        self._fatal = fatal
        self._tail: Tail | None = None
        self._snapshot = 0
        self._lock = asyncio.Lock()
        self._looked_at = -math.inf
        self.failing = False
        self.bytes_shipped = 0

    @property
    def shipped(self) -> int | None:
        """The last entry that the database has; ``None``: shipping has not begun."""
        return None if self._tail is None else self._tail.after

    def begin(self, after: int, snapshot: int) -> None:
        """Ship what comes after the entry ``after``, and snapshots after that of ``snapshot``."""
        self._tail = Tail(self._folder, after)
        self._snapshot = snapshot

    async def run(self) -> None:
        """Ship for ever. Raises what is fatal; everything else is tried again."""
        loop = asyncio.get_running_loop()
        look_at = 0.0
        while True:
            due_s = self._looked_at + INTERVAL_S - loop.time()
            await asyncio.sleep(BACK_OFF_S if self.failing else due_s if due_s > 0 else INTERVAL_S)
            try:
                # A timer may be due a little before its time.
                if self.failing or loop.time() - self._looked_at > 0.95 * INTERVAL_S:
                    await self._ship()
                if loop.time() >= look_at:
                    await self._ship_newest_snapshot()
                    look_at = loop.time() + SNAPSHOT_LOOK_S
            except self._fatal:
                raise
            except self._transient as error:
                if not self.failing:
                    log.error("journal_not_shipped", error=repr(error))
                self.failing = True
            except Exception:
                log.exception("journal_not_shipped")
                self.failing = True

    async def flush(self) -> None:
        """Ship what is on disk now. Raises what is fatal or passing; a fault of ours is logged, for
        it must not hold up what is to come after."""
        try:
            await self._ship()
        except (*self._fatal, *self._transient):
            raise
        except Exception:
            log.exception("journal_not_shipped")
            self.failing = True

    async def _ship(self) -> None:
        tail = self._tail
        if tail is None:
            return
        async with self._lock:
            self._looked_at = asyncio.get_running_loop().time()
            wanted = self._written()
            while tail.after < wanted and (chunk := tail.read()) is not None:
                await self._ship_entries(chunk.first, chunk.last, chunk.body)
                tail.advance(chunk)
                self.bytes_shipped += len(chunk.body)
        if self.failing:
            log.warning("journal_shipped_again", number=tail.after)
        self.failing = False

    async def _ship_newest_snapshot(self) -> None:
        if self._tail is None:
            return
        newest = max(self._folder.glob("snapshot-*.bin"), default=None)
        if newest is None or _first_of(newest) <= self._snapshot:
            return
        number = _first_of(newest)
        # Written after the entries before it, so those are on disk, or lost on a full one.
        await self._ship()
        await self._ship_snapshot(number, await asyncio.to_thread(newest.read_bytes))
        self._snapshot = number

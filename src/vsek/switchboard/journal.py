"""The journal: every input of the switchboard in order, on disk before its effects run.

Theory of operation. The folder holds *segments* (``journal-<first number>.log``) and *snapshots*
(``snapshot-<number>.bin``: the whole state after the entry of that number). A record is its length
and CRC-32 (two little-endian 32-bit numbers) and a MessagePack body. Records go to the operating
system without ``fsync``, those that came together with one ``write``: they survive the death of the
process, which is what happens; the death of the host is covered by what was shipped to PostgreSQL.
A torn record
at the end of the last segment is what a death in mid-write leaves; it is cut off, its effects
never ran.

``shipped`` is the number up to which PostgreSQL has everything. A start begins with the newest
snapshot that is not newer than that, so that no record for the database is lost between a
snapshot and the database.

The file ``epoch`` says under which epoch this journal was written last. When another machine has
led since, its journal takes the place of this one (:meth:`Journal.adopt`), which moves to a folder
``superseded-…`` beside it.

When the disk refuses (full, broken), the journal turns *broken*, calls go on, and as soon as
writing works again a fresh snapshot takes the place of the missing entries. It has the records of
those entries too, as far as the database did not: nothing else on disk knows of a call that ended
meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from shutil import rmtree
from struct import Struct as Packed
from threading import Thread

import msgspec
import structlog

from vsek.call.events import Event
from vsek.call.model import State
from vsek.domain.records import Record
from vsek.errors import ServiceError

log = structlog.get_logger(__name__)

_HEAD = Packed("<II")
_LONGEST = 64 * 1024 * 1024
SEGMENT_ENTRIES = 50_000
KEEP_SNAPSHOTS = 2
HISTORY_ENTRIES = 50_000
"""Of the snapshots that no start needs any more those are kept for which about so many entries came
since the last one: whoever asks for the past has no more than that to play back."""
KEEP_SUPERSEDED = 3
RETRY_BROKEN_S = 1.0


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One input: its number, the time of its decision (Unix seconds), the event."""

    number: int
    at: float
    event: Event


class Unwritten(msgspec.Struct, frozen=True, array_like=True):
    """What the database was yet to get of an entry that the disk refused."""

    number: int
    records: Sequence[Record]


class Snapshot(msgspec.Struct, frozen=True):
    """The whole state after the entry of that number.

    ``unwritten``: where it takes the place of entries that the disk refused.
    """

    number: int
    state: State
    unwritten: Sequence[Unwritten] = ()


def _frame(body: bytes) -> bytes:
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def bodies(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The whole records in ``data``, each with the offset behind it; ends at a torn one."""
    offset = 0
    while offset + _HEAD.size <= len(data):
        length, crc = _HEAD.unpack_from(data, offset)
        start = offset + _HEAD.size
        body = data[start : start + length]
        if length > _LONGEST or len(body) < length or zlib.crc32(body) != crc:
            return
        offset = start + length
        yield offset, body


# Every version's entries begin with their number, whatever else it writes.
_fields_of = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


def number_of(body: bytes) -> int:
    """The number of the entry in the record ``body``."""
    return msgspec.msgpack.decode(_fields_of(body)[0], type=int)


def _keep(path: Path, body: bytes) -> None:
    """Have a snapshot on disk, in one step. Raises ``OSError``."""
    draft = path.with_suffix(".new")
    try:
        with draft.open("wb") as file:
            file.write(_frame(body))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise


def _keep_or_log(path: Path, body: bytes) -> None:
    try:
        _keep(path, body)
    except OSError as error:
        log.error("snapshot_failed", error=str(error))


class Journal:
    """Appends entries; gives back what was there at the start.

    ``first_number`` is the number of the first entry where the folder holds none (one more than
    what the database has seen, so that numbers never repeat).
    """

    def __init__(self, folder: Path, *, first_number: int = 1) -> None:
        self.folder = folder
        self.broken = False
        self.missing_from = 0
        """While broken: the first entry that is not on disk."""
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Entry)
        self._snapshot_decoder = msgspec.msgpack.Decoder(Snapshot)
        self._fd = -1
        self._size = 0
        self._in_segment = 0
        self._retry_at = 0.0
        self._aside: Thread | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ServiceError(
                f"The journal folder {folder} cannot be made: {error.strerror}",
                remedy="Give the process write access, or choose another --dir",
            ) from error
        self._lock = self._take_lock()
        self.last_number = max(first_number - 1, self._last_on_disk())

    def _take_lock(self) -> int:
        """Two writers would destroy the journal, and fight over the same calls."""
        path = self.folder / "lock"
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise ServiceError(
                f"Another switchboard runs with the journal {self.folder}",
                remedy="Use its run folder only once; end the other one first",
                error_id="journal_locked",
            ) from error
        return lock

    def skip_to(self, number: int) -> None:
        """Number the next entry ``number`` + 1 at least: what the database has seen is taken."""
        self.last_number = max(self.last_number, number)

    def written_at(self) -> float:
        """When something was written here last (Unix seconds); 0 when nothing ever was."""
        return max((path.stat().st_mtime for path in self._segments()), default=0.0)

    # --- epochs ----------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The epoch under which this journal was written last; 0 when unknown."""
        try:
            return int((self.folder / "epoch").read_text())
        except (OSError, ValueError):
            return 0

    def remember_epoch(self, epoch: int) -> None:
        """Write down the epoch that begins; a disk that refuses is logged."""
        path = self.folder / "epoch"
        draft = path.with_suffix(".new")
        try:
            draft.write_text(str(epoch))
            draft.replace(path)
        except OSError as error:
            log.error("epoch_not_kept", epoch=epoch, error=str(error))

    def adopt(
        self, snapshot: tuple[int, bytes] | None, batches: Sequence[tuple[int, bytes]]
    ) -> Path:
        """Put another leader's journal in the place of this one; the folder of the old one.

        ``snapshot``: its number and file content; ``batches``: first number and segments. Only
        before the first entry is written. Raises ``OSError`` when the disk refuses.
        """
        mine = [*self._segments(), *self.folder.glob("snapshot-*.bin"), self.folder / "shipped"]
        aside = self.folder / f"superseded-{self.epoch:08d}-{self.last_number:016d}"
        aside.mkdir(exist_ok=True, mode=0o700)
        for path in mine:
            with suppress(FileNotFoundError):
                path.rename(aside / path.name)
        for old in sorted(self.folder.glob("superseded-*"))[:-KEEP_SUPERSEDED]:
            rmtree(old, ignore_errors=True)
        for first, body in batches:
            (self.folder / f"journal-{first:016d}.log").write_bytes(body)
        if snapshot is not None:
            number, body = snapshot
            (self.folder / f"snapshot-{number:016d}.bin").write_bytes(body)
        self.last_number = self._last_on_disk()
        return aside

    # --- reading ---------------------------------------------------------------------------

    def restore(self, shipped: int) -> tuple[State | None, int, list[Entry]]:
        """The state to begin with, the number it stands for, and the entries after it."""
        state: State | None = None
        number = 0
        for path in sorted(self.folder.glob("snapshot-*.bin"), reverse=True):
            snapshot = self._read_snapshot(path)
            if snapshot is not None and snapshot.number <= shipped:
                state, number = snapshot.state, snapshot.number
                break
        return state, number, [e for e in self._entries() if e.number > number]

    def between(self, last: int, following: int) -> list[Snapshot]:
        """The snapshots after entry ``last`` and before ``following``, the newest last: where
        entries are missing because the disk refused them, they took their place."""
        found = []
        for path in sorted(self.folder.glob("snapshot-*.bin")):
            if last < int(path.stem.partition("-")[2]) < following:
                snapshot = self._read_snapshot(path)
                if snapshot is not None:
                    found.append(snapshot)
        return found

    def newest_snapshot(self, shipped: int) -> tuple[int, bytes] | None:
        """The snapshot that :meth:`restore` would begin with, as its file stands on disk."""
        for path in sorted(self.folder.glob("snapshot-*.bin"), reverse=True):
            snapshot = self._read_snapshot(path)
            if snapshot is not None and snapshot.number <= shipped:
                return snapshot.number, path.read_bytes()
        return None

    def _read_snapshot(self, path: Path) -> Snapshot | None:
        for _, body in bodies(path.read_bytes()):
            try:
                return self._snapshot_decoder.decode(body)
            except msgspec.DecodeError as error:
                log.warning("snapshot_unreadable", path=str(path), error=str(error))
        return None

    def _segments(self) -> list[Path]:
        return sorted(self.folder.glob("journal-*.log"))

    def _entries(self) -> Iterator[Entry]:
        for path in self._segments():
            data = path.read_bytes()
            end = 0
            for behind, body in bodies(data):
                end = behind
                try:
                    yield self._decoder.decode(body)
                except msgspec.DecodeError as error:
                    # Another version's: one event is missed, which recovery is made for.
                    log.error("journal_entry_unreadable", path=str(path), error=str(error))
            if end < len(data):
                log.warning("journal_torn", path=str(path), kept=end, cut=len(data) - end)
                with path.open("r+b") as file:
                    file.truncate(end)

    def _last_on_disk(self) -> int:
        last = 0
        for path in self._segments():
            for _, body in bodies(path.read_bytes()):
                last = number_of(body)
        for path in self.folder.glob("snapshot-*.bin"):
            last = max(last, int(path.stem.partition("-")[2]))
        return last

    # --- writing ---------------------------------------------------------------------------

    def append(self, event: Event, at: float) -> int:
        """Write one entry and return its number. Never fails: see ``broken``."""
        return self.append_all((event,), at)

    def append_all(self, events: Collection[Event], at: float) -> int:
        """Write entries with one ``write`` and return the number of the first."""
        first = self.last_number + 1
        self.last_number += len(events)
        if self.broken:
            return first
        encode = self._encoder.encode
        frames = (
            _frame(encode(Entry(number, at, event))) for number, event in enumerate(events, first)
        )
        try:
            self._write(b"".join(frames), first, len(events))
        except OSError as error:
            self.missing_from = first
            self._break(at, error)
        return first

    def _write(self, frames: bytes, first: int, count: int) -> None:
        if self._fd < 0 or self._in_segment >= SEGMENT_ENTRIES:
            self._new_segment(first)
        written = os.write(self._fd, frames)
        if written != len(frames):
            raise OSError(f"only {written} of {len(frames)} bytes were written")
        self._size += written
        self._in_segment += count

    def _new_segment(self, first: int) -> None:
        self.close()
        path = self.folder / f"journal-{first:016d}.log"
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = os.fstat(self._fd).st_size
        self._in_segment = 0

    def _break(self, at: float, error: OSError) -> None:
        log.critical("journal_broken", error=str(error), remedy="free space on the journal's disk")
        self.broken = True
        self._retry_at = at + RETRY_BROKEN_S
        if self._fd >= 0:
            with suppress(OSError):
                os.ftruncate(self._fd, self._size)
        self.close()

    def mend(self, state: State, unwritten: Callable[[], Sequence[Unwritten]], at: float) -> None:
        """While broken: try, once a second at most, to go on from a fresh snapshot.

        ``state`` must be the state after the entry ``last_number``, ``unwritten`` tells what the
        database lacks of the entries from ``missing_from`` on.
        """
        # A clock that was set back is no reason to wait until it has caught up.
        if self.broken and not self._retry_at - RETRY_BROKEN_S <= at < self._retry_at:
            self._retry_at = at + RETRY_BROKEN_S
            try:
                self.snapshot(state, unwritten())
            except OSError:
                return
            self.broken = False
            log.warning("journal_mended", number=self.last_number)

    def snapshot(self, state: State, unwritten: Sequence[Unwritten] = ()) -> None:
        """Write the state after the last entry, and begin a new segment.

        Raises ``OSError`` when the disk refuses; nothing is half done then.
        """
        self._wait_aside()
        body = self._encoder.encode(Snapshot(self.last_number, state, unwritten))
        _keep(self.folder / f"snapshot-{self.last_number:016d}.bin", body)
        self.close()

    def snapshot_aside(self, state: State) -> None:
        """As :meth:`snapshot`, but only the picture is taken at once: a thread writes it, since a
        disk may take a while. One that refuses is logged. Entries go on in a new segment."""
        self._wait_aside()
        path = self.folder / f"snapshot-{self.last_number:016d}.bin"
        body = self._encoder.encode(Snapshot(self.last_number, state))
        self._aside = Thread(target=_keep_or_log, args=(path, body), name="snapshot")
        self._aside.start()
        self.close()

    def _wait_aside(self) -> None:
        if self._aside is not None:
            self._aside.join()
            self._aside = None

    def tidy(self, shipped: int, keep_from: float) -> None:
        """Remove segments last written before ``keep_from`` (Unix seconds), and snapshots that
        neither a start needs nor a look into the past.

        What is not covered by a snapshot that the database has caught up with stays.
        """
        covered = [
            (int(path.stem.partition("-")[2]), path)
            for path in sorted(self.folder.glob("snapshot-*.bin"))
        ]
        usable = [number for number, _ in covered if number <= shipped]
        if not usable:
            return
        oldest_needed = usable[-KEEP_SNAPSHOTS:][0]
        for path, following in pairwise(self._segments()):
            last = int(following.stem.partition("-")[2]) - 1
            if last <= oldest_needed and path.stat().st_mtime < keep_from:
                path.unlink()
        begin = next((int(path.stem.partition("-")[2]) for path in self._segments()), 0)
        kept = -HISTORY_ENTRIES
        for number, path in covered:
            if number >= oldest_needed:
                break
            if number >= begin - 1 and number - kept >= HISTORY_ENTRIES:
                kept = number
            else:
                path.unlink()

    def release(self) -> None:
        """Close everything and let another process have the journal."""
        self._wait_aside()
        self.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def close(self) -> None:
        """Close the current segment; the next append begins a new one."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

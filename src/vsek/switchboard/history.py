"""Reading the journal afterwards, without disturbing the switchboard that writes it.

Theory of operation. A *chronicle* is what one place holds of the journal: snapshots (the whole
state after the entry of that number) and segments (records as they stand in the files). Places are
the run folder, the folders of journals that another leader's has superseded, and PostgreSQL. A
*passage* of it begins with a snapshot and goes on with the entries after it; played back through
``vsek.call.decide`` they give every state that the switchboard has had since.

A call is found by its id, which stands in the records as text: whole segments are passed over
without being decoded. Nothing is locked and nothing is written: a record that is being written at
this moment is the end.

What is missing is told, not guessed: numbers that are not there, and entries that this version of
vsek cannot read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from vsek.call.decide import decide
from vsek.call.effects import Effect
from vsek.call.model import State, new_state
from vsek.switchboard.journal import Entry, Snapshot, bodies, number_of

Read = Callable[[], bytes]


@dataclass(frozen=True)
class Chronicle:
    """What ``place`` (in people's words) holds of the journal."""

    place: str
    snapshots: Mapping[int, Read]
    """Number of the last entry that it stands for → the record."""
    segments: Mapping[int, Read]
    """Number of the first entry → the records; none reaches beyond the next one's first."""

    def first_with(self, text: str) -> int | None:
        """The number of the first entry in which ``text`` stands; ``None``: there is none."""
        wanted = text.encode()
        for first in sorted(self.segments):
            data = self.segments[first]()
            if wanted in data:
                for _, body in bodies(data):
                    if wanted in body:
                        return number_of(body)
        return None

    def first_from(self, at: float) -> int | None:
        """The number of the first entry at or after ``at`` (Unix seconds); ``None``: none is."""
        starts = sorted(self.segments)
        for first, following in zip(starts, [*starts[1:], 0], strict=False):
            # A look at the next one's first entry saves going through this one.
            if following and (began := self._began(following)) is not None and began < at:
                continue
            for _, body in bodies(self.segments[first]()):
                if time_of(body) >= at:
                    return number_of(body)
        return None

    def _began(self, first: int) -> float | None:
        return next((time_of(body) for _, body in bodies(self.segments[first]())), None)


@dataclass
class Gaps:
    """What a passage lacks."""

    missing: list[tuple[int, int]] = field(default_factory=list)
    """First and last number of entries that are not there, and that no snapshot stands for."""
    unreadable: int = 0
    """Entries that another version of vsek wrote, and this one cannot read."""
    failed: int = 0
    """Entries whose decision failed, as it did when it was taken."""

    @property
    def any(self) -> bool:
        """Whether anything is amiss."""
        return bool(self.missing or self.unreadable or self.failed)


_Fields = msgspec.msgpack.Decoder(tuple[int, float, msgspec.Raw])
_entry = msgspec.msgpack.Decoder(Entry)
_snapshot = msgspec.msgpack.Decoder(Snapshot)


def time_of(body: bytes) -> float:
    """The time (Unix seconds) of the entry in the record ``body``."""
    return _Fields.decode(body)[1]


def of_folder(folder: Path) -> Chronicle:
    """The journal in ``folder``, which may be written to meanwhile."""

    def read(path: Path) -> Read:
        def contents() -> bytes:
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return b""  # tidied away since

        return contents

    return Chronicle(
        str(folder),
        {_number(path): read(path) for path in folder.glob("snapshot-*.bin")},
        {_number(path): read(path) for path in folder.glob("journal-*.log")},
    )


def of_rows(
    place: str, snapshots: Iterable[tuple[int, bytes]], segments: Iterable[tuple[int, bytes]]
) -> Chronicle:
    """A journal that lies in memory: numbers and contents of snapshots and segments."""

    def held(contents: bytes) -> Read:
        return lambda: contents

    return Chronicle(
        place,
        {number: held(contents) for number, contents in snapshots},
        {first: held(contents) for first, contents in segments},
    )


def of_folders(folder: Path) -> list[Chronicle]:
    """The journal in ``folder``, then those that it superseded, the latest first."""
    old = sorted(folder.glob("superseded-*"), reverse=True)
    return [of_folder(path) for path in (folder, *old) if path.is_dir()]


def _number(path: Path) -> int:
    return int(path.stem.partition("-")[2])


class Playback:
    """Plays a chronicle back, from the newest snapshot that stands for what came before the entry
    ``number``. ``state`` is the state after the entries that :meth:`steps` has given so far."""

    def __init__(
        self, chronicle: Chronicle, number: int, *, changed: Callable[[State], None] | None = None
    ) -> None:
        self.chronicle = chronicle
        self.gaps = Gaps()
        self.played = 0
        self._changed = changed
        self.began_at, self.state = self._base(number)
        self._tell()

    @property
    def whole(self) -> bool:
        """Whether the beginning is known: a snapshot, or the first entry that ever was."""
        return self.began_at > 0 or 1 in self.chronicle.segments

    def _base(self, number: int) -> tuple[int, State]:
        for at in sorted(self.chronicle.snapshots, reverse=True):
            if at < number and (state := self._read(at)) is not None:
                return at, state
        return 0, new_state()

    def _read(self, number: int) -> State | None:
        for _, body in bodies(self.chronicle.snapshots[number]()):
            try:
                snapshot = _snapshot.decode(body)
            except msgspec.DecodeError:
                return None  # another version's
            return snapshot.state
        return None

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed(self.state)

    def entries(self) -> Iterator[Entry]:
        """The entries after the beginning, in order, each before it is decided."""
        last = self.began_at
        starts = sorted(self.chronicle.segments)
        for first, following in zip(starts, [*starts[1:], None], strict=False):
            if following is not None and following <= last + 1:
                continue
            for _, body in bodies(self.chronicle.segments[first]()):
                number = number_of(body)
                if number <= last:
                    continue
                self._bridge(last, number)
                last = number
                try:
                    yield _entry.decode(body)
                except msgspec.DecodeError:
                    self.gaps.unreadable += 1

    def _bridge(self, last: int, following: int) -> None:
        """Entries that the disk refused: the snapshot that took their place."""
        if following == last + 1:
            return
        between = [n for n in self.chronicle.snapshots if last < n < following]
        for number in sorted(between, reverse=True):
            state = self._read(number)
            if state is not None:
                self.state, last = state, number
                self._tell()
                break
        if following > last + 1:
            self.gaps.missing.append((last + 1, following - 1))

    def decide(self, entry: Entry) -> list[Effect]:
        """What followed from ``entry``; nothing where the decision failed, now as then."""
        self.played += 1
        try:
            return decide(self.state, entry.event, entry.at)
        except Exception:  # noqa: BLE001 - a fault that the switchboard met, too, and survived
            self.gaps.failed += 1
            return []

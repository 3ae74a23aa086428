"""Reading Asterisk's ledger as it grows, and remembering how far it was read.

Nothing here knows of calls. All of it may block on a disk and belongs into a thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import structlog

from vsek.domain.ledger import FILE_NAME, LedgerLine, parse

log = structlog.get_logger(__name__)

KEEP_DAYS = 30
"""Days after which a ledger is removed: it holds callers' numbers."""
CHUNK = 4 << 20
"""Bytes that are read at once."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the ledger, and where it begins."""

    line: LedgerLine
    file: str
    offset: int


class LedgerFiles:
    """The ledger in ``folder``; ``bookmark`` is the file that keeps the place.

    Without a bookmark reading begins with yesterday's file (UTC).
    """

    def __init__(self, folder: Path, bookmark: Path) -> None:
        self._folder = folder
        self._bookmark = bookmark
        self._offsets = self._load()
        self._saved = dict(self._offsets)

    def read(self, now: float) -> list[Entry]:
        """Whole lines that were added since the last time. ``now`` is in Unix seconds.

        Raises ``OSError`` when the folder or a file cannot be read; what was read before that is
        given by the next call.
        """
        first = min([_day(now, 1), *self._offsets])
        found: list[Entry] = []
        for name in self._names():
            if name >= first:
                found += self._read_file(name)
        return found

    def _names(self) -> list[str]:
        return sorted(path.name for path in self._folder.iterdir() if FILE_NAME.match(path.name))

    def _read_file(self, name: str) -> list[Entry]:
        path = self._folder / name
        offset = self._offsets.get(name, 0)
        size = path.stat().st_size
        if size <= offset:
            if size < offset:
                log.warning("ledger_shrunk", file=str(path), size=size, was=offset)
                self._offsets[name] = size
            return []
        found: list[Entry] = []
        with path.open("rb") as file:
            file.seek(offset)
            while block := file.read(CHUNK):
                whole = block.rfind(b"\n") + 1
                if not whole:
                    if len(block) < CHUNK:
                        break
                    whole = len(block)  # no line is that long: rubbish
                at = offset
                for raw in block[:whole].splitlines(keepends=True):
                    line = parse(raw.decode("utf-8", "replace"))
                    if line is not None:
                        found.append(Entry(line, name, at))
                    elif raw.strip():
                        log.warning("ledger_line_unreadable", file=str(path), offset=at)
                    at += len(raw)
                offset += whole
                file.seek(offset)
        self._offsets[name] = offset
        return found

    def keep_place(self, unsettled: dict[str, int], now: float) -> None:
        """Remember that everything is done but what comes from ``unsettled`` on (per file)."""
        yesterday = _day(now, 1)
        # Days that are over and done need no place.
        self._offsets = {
            name: offset
            for name, offset in self._offsets.items()
            if name >= yesterday or name in unsettled
        }
        places = {name: unsettled.get(name, offset) for name, offset in self._offsets.items()}
        if places == self._saved:
            return
        fresh = self._bookmark.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(places))
        fresh.replace(self._bookmark)
        self._saved = places

    def tidy(self, now: float) -> None:
        """Remove ledgers that are older than :data:`KEEP_DAYS`."""
        oldest = _day(now, KEEP_DAYS)
        for name in self._names():
            if name < oldest:
                (self._folder / name).unlink(missing_ok=True)

    def _load(self) -> dict[str, int]:
        try:
            places = msgspec.json.decode(self._bookmark.read_bytes(), type=dict[str, int])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            log.warning("ledger_place_lost", error=str(error))
            return {}
        return {name: at for name, at in places.items() if FILE_NAME.match(name) and at >= 0}


def _day(now: float, days_before: int) -> str:
    day = datetime.fromtimestamp(now, UTC) - timedelta(days=days_before)
    return f"{day:%Y%m%d}.log"

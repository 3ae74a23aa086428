"""What the switchboard needs from others, in its own words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vsek.call.effects import Command, Examine
from vsek.domain.records import Record


class Commander(Protocol):
    """Carries commands to Asterisk without making the caller wait."""

    def send(self, command: Command) -> None:
        """Send it now, or drop it while there is no connection (recovery follows)."""


class Examiner(Protocol):
    """Finds out what callers said, without making anybody wait; the answer is an event."""

    def examine(self, wanted: Examine) -> None:
        """Examine a recording."""


class RecordSink(Protocol):
    """Takes what the database is to know, in order, without making the caller wait."""

    def put(self, records: Sequence[Record], number: int) -> None:
        """``number`` is the journal entry that the records come from."""

    def unwritten(self, first: int) -> Sequence[tuple[Sequence[Record], int]]:
        """What the database does not have yet of the entries from ``first`` on."""

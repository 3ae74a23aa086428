"""One journal, many lives: the process that had it dies when the next one opens it."""

from __future__ import annotations

from pathlib import Path

from vsek.switchboard.journal import Journal

_living: dict[Path, Journal] = {}


def journal_in(folder: Path, *, first_number: int = 1) -> Journal:
    """A journal as a new process opens it; whoever had it before is dead and holds no lock."""
    before = _living.pop(folder, None)
    if before is not None:
        before.release()
    _living[folder] = Journal(folder, first_number=first_number)
    return _living[folder]

"""What a superseded journal still has to tell the database.

A leader that was cut off from PostgreSQL, and then superseded, may have served calls that nobody
else knows of. Those that it saw to their end get their records from its journal; whoever led after
it has the others.
"""

from __future__ import annotations

from pathlib import Path

from vsek.domain.records import CallClosed, Record
from vsek.switchboard.journal import Journal
from vsek.switchboard.owner import played_back


def salvage(folder: Path, shipped: int) -> list[Record]:
    """Records of calls that ended in the journal in ``folder`` after its entry ``shipped``, up to
    which the database has everything."""
    found: list[Record] = []
    journal = Journal(folder)
    try:
        played_back(journal, shipped, lambda records, _: found.extend(records))
    finally:
        journal.release()
    ended = {record.call_id for record in found if isinstance(record, CallClosed)}
    return [record for record in found if record.call_id in ended]

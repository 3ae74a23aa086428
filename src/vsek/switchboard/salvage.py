"""What a superseded journal still has to tell the database.

A leader that was cut off from PostgreSQL, and then superseded, may have served calls that nobody
else knows of. Those that it saw to their end get their records from its journal; whoever led after
it has the others.
"""

from __future__ import annotations

from pathlib import Path

from vsek.call.model import new_state
from vsek.domain.records import CallClosed, Record
from vsek.switchboard.journal import Journal
from vsek.switchboard.owner import decide_or_log, records_among


def salvage(folder: Path, shipped: int) -> list[Record]:
    """Records of calls that ended in the journal in ``folder`` after its entry ``shipped``, up to
    which the database has everything."""
    journal = Journal(folder)
    try:
        state, _, entries = journal.restore(shipped)
    finally:
        journal.release()
    if state is None:
        state = new_state()
    else:
        state.acd.rebuild()
    found: list[Record] = []
    for entry in entries:
        records = records_among(decide_or_log(state, entry.event, entry.at))
        if entry.number > shipped:
            found += records
    ended = {record.call_id for record in found if isinstance(record, CallClosed)}
    return [record for record in found if record.call_id in ended]

"""Gathers the facts: what must be asked is asked in the background, the rest is read at once.

Theory of operation. Each thing that can hang (the database, the note service, a disk, Asterisk's
list of trunks) has a task of its own, which asks with a deadline and leaves its last answer here.
:meth:`Vitals.facts` puts these answers and the live state together without waiting for anything,
so that health, alarms and metrics answer at once whatever hangs.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from vsek.acd.state import CallState
from vsek.call.model import Directory
from vsek.health import disks
from vsek.health.database import DatabaseProbe
from vsek.health.disks import Disk
from vsek.switchboard.facts import Commands, Database, Facts, NoteService, Trunk
from vsek.switchboard.owner import Switchboard

log = structlog.get_logger(__name__)

NOTES_EVERY_S = 3.0
DISKS_EVERY_S = 5.0
TRUNKS_EVERY_S = 10.0
PULSE_LIMIT_S = 10.0

DATABASE_SQL = """
SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool AS read_only,
       count(*) AS due,
       coalesce(extract(epoch FROM now() - min(due_at)), 0)::float8 AS oldest_s
FROM vsek.note_due WHERE acked_at IS NULL AND due_at <= now()
"""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where facts come from that the switchboard's own state does not hold."""

    asterisk_up: Callable[[], bool]
    pulse_age_s: Callable[[], float | None]
    directory_loaded: Callable[[], bool]
    records: Callable[[], tuple[int, bool]]
    """Journal entries that wait for the database, and whether writing them fails."""
    commands: Callable[[], Commands]
    note_service: Callable[[], Awaitable[NoteService]]
    """Never raises, and answers within a few seconds."""
    trunks: Callable[[], Awaitable[Sequence[Trunk] | None]]
    differences: Callable[[], Sequence[str] | None]
    folders: Mapping[str, Path]
    """Folders whose disks matter, by a name for people."""


class Vitals:
    """Facts about ``switchboard`` and its surroundings."""

    def __init__(
        self,
        switchboard: Switchboard,
        database: DatabaseProbe,
        sources: Sources,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._switchboard = switchboard
        self._database = database
        self._sources = sources
        self._clock = clock
        self._note_service: NoteService | None = None
        self._disks: tuple[Disk, ...] = ()
        self._trunks: tuple[Trunk, ...] | None = None

    async def run(self) -> None:
        """Keep asking until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._database.run(), name="ask-database")
            group.create_task(self._ask_notes(), name="ask-notes")
            group.create_task(self._look_at_disks(), name="look-at-disks")
            group.create_task(self._ask_trunks(), name="ask-trunks")

    async def _ask_notes(self) -> None:
        while True:
            self._note_service = await self._sources.note_service()
            await asyncio.sleep(NOTES_EVERY_S)

    async def _look_at_disks(self) -> None:
        while True:
            self._disks = tuple(await asyncio.to_thread(disks.look, self._sources.folders))
            await asyncio.sleep(DISKS_EVERY_S)

    async def _ask_trunks(self) -> None:
        while True:
            found = await self._sources.trunks()
            self._trunks = None if found is None else tuple(found)
            await asyncio.sleep(TRUNKS_EVERY_S)

    def facts(self) -> Facts:
        """How everything is now, as far as it is known."""
        now = self._clock()
        state = self._switchboard.state
        waiting = [c.arrival for c in state.acd.calls.values() if c.state is not CallState.TALKING]
        records_waiting, records_failing = self._sources.records()
        journal = self._switchboard.journal
        differences = self._sources.differences()
        return Facts(
            at=now,
            asterisk_up=self._sources.asterisk_up(),
            pulse_age_s=self._sources.pulse_age_s(),
            pulse_limit_s=PULSE_LIMIT_S,
            directory_loaded=self._sources.directory_loaded(),
            directory_empty=state.directory == Directory(),
            calls=Counter(call.stage for call in state.calls.values()),
            callers_waiting=len(waiting),
            longest_wait_s=max((max(0.0, now - arrival) for arrival in waiting), default=0.0),
            agents=state.acd.counts.copy(),
            journal_entries=journal.last_number,
            journal_broken=journal.broken,
            records_waiting=records_waiting,
            records_failing=records_failing,
            database=self._database_now(),
            note_service=self._note_service,
            disks=self._disks,
            trunks=self._trunks,
            differences=None if differences is None else tuple(differences),
            commands=self._sources.commands(),
            tasks=len(asyncio.all_tasks()),
            timers=len(self._switchboard.timers),
        )

    def _database_now(self) -> Database | None:
        last = self._database.last
        if last is None:
            return None
        if last.error:
            return Database(error=last.error)
        return Database(
            read_only=last.row["read_only"],
            took_s=last.took_s,
            notes_due=last.row["due"],
            notes_oldest_s=last.row["oldest_s"],
        )

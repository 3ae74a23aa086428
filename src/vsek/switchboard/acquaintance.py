"""The memory of callers: who talked with whom, so that who phones again reaches the same agent.

Theory of operation. A caller is recognised while the arrival is translated, before it is journaled:
what was found becomes part of the input, so that a replay decides the same however the memory has
changed since. No database is asked then. The memory is one table of talks in an SQLite database
that lives in this process alone: its indexes answer in microseconds, its rows are no Python objects
that the collector would have to look at, and it cannot grow beyond ``MAX_PAGES`` (the oldest talks
give way).

It is filled from PostgreSQL after the start, the newest talks first, while calls are served
already; until then fewer callers are recognised. From then on each closed call adds its talk by
itself, and every ``POLL_S`` seconds it is asked whom the notes name that were written meanwhile.
PostgreSQL has it all, so nothing is lost with this process, and without PostgreSQL only names are
missing.

Callers who show one of the client's own numbers (its lines, its contacts, a telephone system that
forwards under its own number) are not recognised by it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from itertools import islice
from typing import Protocol

import msgspec
import structlog

from vsek.acd.known import KNOWN_DAYS, TALKS_LOOKED_AT, Recognition, Talk, Why, name_key, recognise
from vsek.call.decide import belongs_to, find_client
from vsek.call.events import CallArrived
from vsek.call.model import Directory, State
from vsek.domain.ids import AgentId, CallId, ClientId
from vsek.domain.outcomes import Outcome, Stage
from vsek.domain.records import CallClosed, CallOpened, Record
from vsek.domain.talks import TALK_MIN_S, PastTalk
from vsek.errors import ServiceError
from vsek.switchboard.ports import RecordSink

log = structlog.get_logger(__name__)

POLL_S = 5.0
"""How old news of notes may be."""
OVERLAP_S = 30.0
"""A note's time is taken before it is committed: so much later it may be, and is found yet."""
SOON_S = 5.0
"""Most are there after less: only so far back is looked each time, and every ``FAR_EVERY_S`` as far
as it takes."""
FAR_EVERY_S = 60.0
FAR_BACK_S = OVERLAP_S + FAR_EVERY_S + 2 * POLL_S
PAGE_BYTES = 4096
MAX_PAGES = 11_000
"""45 MB: about 160,000 talks."""
PRUNE_S = 3600.0
AT_ONCE = 50
"""Talks that are taken in or dropped in one go, about 3 ms."""
DROPPED = 500
"""The oldest talks that make room together, about 8 ms; pages come free only if many go."""
DROPPED_AT_MOST = 5_000
BREATH_S = 0.015
"""How long calls are served between two goes."""
ASKED_FOR = 100
"""Calls asked for in one go."""
TRIES = 100
"""How often the database is asked for a call that it does not have."""
_DAY_S = 86_400.0

_SCHEMA = """
CREATE TABLE talks (
    call INTEGER PRIMARY KEY, at REAL NOT NULL, client INTEGER NOT NULL, agent INTEGER NOT NULL,
    number TEXT NOT NULL, dictated TEXT NOT NULL, shown TEXT NOT NULL, person TEXT NOT NULL,
    company TEXT NOT NULL
);
CREATE INDEX talks_number ON talks (client, number, at) WHERE number <> '';
CREATE INDEX talks_dictated ON talks (client, dictated, at) WHERE dictated <> '';
CREATE INDEX talks_person ON talks (client, person, at) WHERE person <> '';
CREATE INDEX talks_at ON talks (at);
CREATE TABLE contacts (client INTEGER, number TEXT, PRIMARY KEY (client, number)) WITHOUT ROWID;
"""
_ADD_SQL = "INSERT OR REPLACE INTO talks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_BY_NUMBER_SQL = """
SELECT at, agent, shown, person, company FROM talks
WHERE client = ? AND number = ? AND number <> '' AND at > ? ORDER BY at DESC LIMIT ?
"""
_BY_DICTATED_SQL = """
SELECT at, agent, shown, person, company FROM talks
WHERE client = ? AND dictated = ? AND dictated <> '' AND dictated <> number AND at > ?
ORDER BY at DESC LIMIT ?
"""
_BY_PERSON_SQL = """
SELECT at, agent, shown, person, company FROM talks
WHERE client = ? AND person = ? AND person <> '' AND at > ? ORDER BY at DESC LIMIT ?
"""
_IS_CONTACT_SQL = "SELECT 1 FROM contacts WHERE client = ? AND number = ?"
_DROP_OLDEST_SQL = "DELETE FROM talks WHERE call IN (SELECT call FROM talks ORDER BY at LIMIT ?)"
_DROP_SQL = "DELETE FROM talks WHERE call IN (SELECT call FROM talks WHERE at <= ? LIMIT ?)"
_FORGET_SQL = "DELETE FROM talks WHERE number = ? OR dictated = ?"


_UNFIT = (sqlite3.Error, ValueError)
"""What the table raises; ``ValueError`` for text that is no Unicode."""


class Source(Protocol):
    """Where talks are kept for good. What it raises when it is away is a ``ServiceError``."""

    def talks_since(self, since: float) -> AsyncGenerator[Sequence[PastTalk], None]:
        """The newest first."""

    def talks_named_since(self, since: float) -> AsyncGenerator[Sequence[PastTalk], None]:
        """Those whose note was written or changed since."""

    async def talks_of(self, calls: Sequence[CallId]) -> Sequence[PastTalk]:
        """Those of these calls that are there already."""

    async def contact_numbers(self) -> Sequence[tuple[ClientId, str]]:
        """The telephone numbers of clients' contacts."""


class _Ids:
    """Short numbers for ids, so that rows are small."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._ids: list[str] = []

    def number(self, text: str) -> int:
        found = self._numbers.setdefault(text, len(self._ids))
        if found == len(self._ids):
            self._ids.append(text)
        return found

    def known(self, text: str) -> int:
        """-1 for one that was never seen."""
        return self._numbers.get(text, -1)

    def __getitem__(self, number: int) -> str:
        return self._ids[number]


class Acquaintance:
    """Remembers talks and recognises callers. ``directory`` gives clients and their numbers as they
    are now."""

    def __init__(
        self,
        source: Source,
        directory: Callable[[], Directory],
        *,
        clock: Callable[[], float] = time.time,
        max_pages: int = MAX_PAGES,
    ) -> None:
        self._source = source
        self._directory = directory
        self._clock = clock
        self._clients = _Ids()
        self._agents = _Ids()
        self._open: dict[CallId, tuple[ClientId, str, str]] = {}
        self._unread: dict[CallId, int] = {}
        """Calls whose note has not been read yet, and how often it was looked for."""
        self._strange: set[CallId] = set()
        """Those of them whose caller is not known here: they began before the start."""
        self._known_to: float = 0.0
        """Notes changed before this were read."""
        self._read: dict[CallId, PastTalk] = {}
        """What was read of them lately."""
        self._far_at = 0.0
        """When it was looked as far back as it takes."""
        self._days = 0.0
        """So far back talks were loaded; 0: not at all."""
        self._seen: Directory | None = None
        """The directory of which the contacts were read."""
        self._prune_at = 0.0
        self._table = sqlite3.connect(":memory:", isolation_level=None)
        self._table.execute(f"PRAGMA page_size = {int(PAGE_BYTES)}")
        self._table.execute(f"PRAGMA max_page_count = {int(max_pages)}")
        self._table.executescript(_SCHEMA)

    # --- recognising --------------------------------------------------------------------------

    def recognise(self, arrival: CallArrived) -> CallArrived:
        """``arrival`` with the agents who know the caller. Never fails."""
        try:
            found = self._recognise(arrival)
        except _UNFIT:
            log.exception("caller_not_looked_up", call_id=arrival.call_id)
            return arrival
        if found.why is Why.STRANGER:
            return arrival
        return msgspec.structs.replace(
            arrival, known=found.agents, sure=found.sure, recognised=found.why
        )

    def _recognise(self, arrival: CallArrived) -> Recognition:
        directory = self._directory()
        script, _ = find_client(directory, arrival.dids, arrival.forwarded_by)
        if script is None or script.known_days <= 0:
            return Recognition()
        number, now = arrival.caller_number, self._clock()
        client, since = self._clients.known(script.client_id), now - script.known_days * _DAY_S
        own = bool(number) and (
            number in arrival.forwarded_by
            or belongs_to(directory, script.client_id, number)
            or self._table.execute(_IS_CONTACT_SQL, (client, number)).fetchone() is not None
        )
        by_number: list[Talk] = []
        by_name: list[Talk] = []
        if number and not own:
            by_number += self._talks(_BY_NUMBER_SQL, client, number, since)
            by_number += self._talks(_BY_DICTATED_SQL, client, number, since)
        shown = name_key(arrival.caller_name)
        if shown and not by_number:
            by_name += self._talks(_BY_PERSON_SQL, client, shown, since)
        found = recognise(by_number, by_name, shown, now, script.known_days)
        return Recognition(why=Why.OWN) if own and found.why is Why.STRANGER else found

    def _talks(self, sql: str, client: int, key: str, since: float) -> Iterable[Talk]:
        rows = self._table.execute(sql, (client, key, since, TALKS_LOOKED_AT))
        for at, agent, shown, person, company in rows:
            yield Talk(at, AgentId(self._agents[agent]), shown, person, company)

    # --- remembering --------------------------------------------------------------------------

    def begin(self, state: State) -> None:
        """Calls that go on since before the start."""
        for call in state.calls.values():
            if call.script is not None and call.stage is not Stage.ENDED:
                caller = call.script.client_id, call.caller_number, call.caller_name
                self._open.setdefault(call.call_id, caller)

    def put(self, records: Sequence[Record]) -> None:
        """What is told to the database."""
        for record in records:
            if isinstance(record, CallOpened):
                if record.client_id is not None:
                    caller = record.client_id, record.caller_number, record.caller_name
                    self._open[record.call_id] = caller
            elif isinstance(record, CallClosed):
                caller_of = self._open.pop(record.call_id, None)
                if record.agent_id is not None and _was_talk(record):
                    self._unread[record.call_id] = 0
                    if caller_of is None:
                        self._strange.add(record.call_id)
                    else:
                        client_id, number, shown = caller_of
                        at, agent_id = record.ended_at, record.agent_id
                        self._add(
                            [PastTalk(record.call_id, client_id, at, agent_id, number, shown)]
                        )

    def _add(self, talks: Sequence[PastTalk], *, make_room: bool = True) -> bool:
        """Whether there was room for them."""
        rows = [self._row(talk) for talk in talks]
        dropped = 0
        while True:
            try:
                self._table.executemany(_ADD_SQL, rows)
            except sqlite3.OperationalError:  # full
                if not make_room or dropped >= DROPPED_AT_MOST:
                    return False
                dropped += self._table.execute(_DROP_OLDEST_SQL, (DROPPED,)).rowcount
            else:
                break
        if dropped:
            log.warning("callers_forgotten", reason="full", talks=dropped)
        return True

    def _row(self, talk: PastTalk) -> tuple[int | float | str, ...]:
        return (
            hash(talk.call_id),
            talk.ended_at,
            self._clients.number(talk.client_id),
            self._agents.number(talk.agent_id),
            talk.number,
            talk.dictated,
            name_key(talk.shown),
            name_key(talk.person),
            name_key(talk.company),
        )

    def close(self) -> None:
        """Forget everything."""
        self._table.close()

    def forget(self, number: str) -> int:
        """Erase whatever is remembered of a number (normalised); returns how many talks that were.

        For whoever erases it in the database, or it comes back with the next start.
        """
        for call_id, (client_id, open_number, shown) in self._open.items():
            if number and open_number == number:
                self._open[call_id] = client_id, "", shown
        return self._table.execute(_FORGET_SQL, (number, number)).rowcount if number else 0

    @property
    def talks(self) -> int:
        """How many talks are remembered; takes time proportional to it."""
        return int(self._table.execute("SELECT count(*) FROM talks").fetchone()[0])

    @property
    def size(self) -> int:
        """Bytes that the memory takes."""
        return int(self._table.execute("PRAGMA page_count").fetchone()[0]) * PAGE_BYTES

    # --- keeping up ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Fill the memory and keep it up, until cancelled."""
        failing = False
        while True:
            try:
                await self.catch_up()
            except (ServiceError, TimeoutError) as error:
                if not failing:
                    log.warning("callers_not_learnt", error=str(error), retry_in_s=POLL_S)
                failing = True
            else:
                failing = False
            await asyncio.sleep(POLL_S)

    async def catch_up(self) -> None:
        """Learn what is new in the database. Raises ``ServiceError`` while that is away."""
        directory = self._directory()
        if directory is not self._seen:
            await self._read_contacts()
            days = max([KNOWN_DAYS, *(float(c.known_days) for c in directory.clients.values())])
            if days > self._days:
                await self._load(days)
            self._seen = directory
        await self._read_notes()
        if self._clock() >= self._prune_at:
            await self._prune()

    async def _read_contacts(self) -> None:
        rows = [
            (self._clients.number(c), phone) for c, phone in await self._source.contact_numbers()
        ]
        self._table.execute("DELETE FROM contacts")
        self._table.executemany("INSERT OR IGNORE INTO contacts VALUES (?, ?)", rows)

    async def _load(self, days: float) -> None:
        began = self._clock()
        async with aclosing(self._source.talks_since(began - days * _DAY_S)) as chunks:
            async for talks in chunks:
                if not self._add(talks, make_room=False):
                    log.warning("callers_forgotten", reason="full", back_to=talks[0].ended_at)
                    break
                await asyncio.sleep(BREATH_S)
        self._days, self._known_to = days, self._known_to or began
        log.info(
            "callers_learnt",
            talks=self.talks,
            bytes=self.size,
            days=days,
            took_s=round(self._clock() - began, 3),
        )

    async def _read_notes(self) -> None:
        began = self._clock()
        far = abs(began - self._far_at) >= FAR_EVERY_S  # whichever way the clock was set
        back_s = FAR_BACK_S if far else SOON_S
        there: dict[CallId, PastTalk] = {}
        async with aclosing(self._source.talks_named_since(self._known_to - back_s)) as chunks:
            async for talks in chunks:
                new = [talk for talk in talks if self._read.get(talk.call_id) != talk]
                if not new or self._add(new):
                    there.update((talk.call_id, talk) for talk in talks)
        self._read = there if far else self._read | there
        self._known_to = began
        if far:
            self._far_at = began
        await self._read_unread()

    async def _read_unread(self) -> None:
        asked = list(islice(self._unread, ASKED_FOR))
        if not asked:
            return
        found = await self._source.talks_of(asked)
        there = {talk.call_id for talk in found}
        self._add([talk for talk in found if _says_who(talk) or talk.call_id in self._strange])
        for call_id in asked:
            tries = self._unread.pop(call_id) + 1
            if call_id not in there and tries < TRIES:
                self._unread[call_id] = tries  # at the end of the line
            else:
                self._strange.discard(call_id)

    async def _prune(self) -> None:
        oldest = self._clock() - self._days * _DAY_S
        dropped = AT_ONCE
        while dropped == AT_ONCE:
            dropped = self._table.execute(_DROP_SQL, (oldest, AT_ONCE)).rowcount
            await asyncio.sleep(BREATH_S)
        self._prune_at = self._clock() + PRUNE_S


def _says_who(talk: PastTalk) -> bool:
    return bool(talk.dictated or talk.person or talk.company)


def _was_talk(record: CallClosed) -> bool:
    return (
        record.outcome is Outcome.ANSWERED
        and record.answered_at is not None
        and record.ended_at - record.answered_at >= TALK_MIN_S
    )


class RememberedRecords:
    """Shows records to the memory of callers on their way to ``sink``."""

    def __init__(self, acquaintance: Acquaintance, sink: RecordSink) -> None:
        self._acquaintance = acquaintance
        self._sink = sink

    def put(self, records: Sequence[Record], number: int) -> None:
        """See ``RecordSink``. What the memory cannot take is no reason to lose a record."""
        self._sink.put(records, number)
        try:
            self._acquaintance.put(records)
        except _UNFIT:
            log.exception("talk_not_remembered", number=number)

    def unwritten(self, first: int) -> Sequence[tuple[Sequence[Record], int]]:
        """See ``RecordSink``."""
        return self._sink.unwritten(first)

"""The three books about calls, read side by side.

Theory of operation. The ledger's lines of the time in question are read first and kept as one small
object per call. Then calls come out of the database in pages, in the order in which they were
received, each page with the notes and deliveries that belong to it as of one moment; every call is
compared and forgotten. What is left of the ledger at the end is looked up by its channel, in case
the database dates the call differently. So memory grows with the number of calls by some hundred
bytes each, and with the number of differences.

The rules of the comparison are in ``vsek.domain.audit``. It takes seconds of computing for a day of
100,000 calls: run it in a process of its own, not inside one that serves calls.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from vsek.domain.audit import Episodes, compare_call, episode_without_call
from vsek.domain.books import (
    CallEntry,
    DeliveryEntry,
    Difference,
    DueEntry,
    Kind,
    NoteEntry,
    Report,
    Rules,
    Unread,
)
from vsek.domain.outcomes import Outcome
from vsek.errors import ServiceError
from vsek.store.pool import acquire, timestamp

if TYPE_CHECKING:
    from vsek.store.pool import Connection, Pool, Row

PAGE = 2000

_CALLS_SQL = """
SELECT id, channel, received_at, answered_at, ended_at, outcome, reason
FROM vsek.calls
WHERE (received_at, id) > ($1, $2) AND received_at < $3
ORDER BY received_at, id LIMIT $4
"""
_OF_CHANNELS_SQL = """
SELECT id, channel, received_at FROM vsek.calls WHERE channel = ANY ($1::text[])
"""
_SEVERAL_ENDS_SQL = """
SELECT call_id, count(*) AS ends FROM vsek.call_steps
WHERE call_id = ANY ($1::text[]) AND kind = 'ended' GROUP BY call_id HAVING count(*) > 1
"""
_DUE_SQL = """
SELECT call_id, key, due_at, acked_at IS NOT NULL AS acked,
       coalesce(note_id, '') AS note_id, last_error, folded_into IS NOT NULL AS folded,
       ARRAY(SELECT jsonb_path_query(request, '$.recipients[*].email') #>> '{}') AS recipients
FROM vsek.note_due WHERE call_id = ANY ($1::text[]) ORDER BY id
"""
_NOTES_SQL = """
SELECT note_id, key, call_id FROM notify.notes
WHERE call_id = ANY ($1::text[]) ORDER BY received_at, note_id
"""
_DELIVERIES_SQL = """
SELECT note_id, email, purpose <> 'note' AS is_copy, status, queued_at
FROM notify.deliveries WHERE note_id = ANY ($1::text[]) ORDER BY delivery_id
"""
_NOTES_OF_TIME_SQL = """
SELECT note_id, key, call_id, received_at FROM notify.notes
WHERE (received_at, note_id) > ($1, $2) AND received_at < $3 AND call_id IS NOT NULL
ORDER BY received_at, note_id LIMIT $4
"""
_KNOWN_CALLS_SQL = "SELECT id FROM vsek.calls WHERE id = ANY ($1::text[])"
_NOTES_EXIST_SQL = "SELECT to_regclass('notify.deliveries') IS NOT NULL"


async def audit(connections: Pool, ledger_folder: Path | None, rules: Rules) -> Report:
    """Compare the books. What cannot be read is told in the report; raises nothing for it."""
    report = Report(rules)
    episodes = Episodes(rules)
    missing_days = await asyncio.to_thread(_read_ledger, ledger_folder, episodes, report)
    comparison = _Comparison(report, episodes, missing_days)
    try:
        async with acquire(connections) as connection:
            await comparison.run(connection)
    except ServiceError as error:
        report.unread.append(Unread("database", error.message, error.remedy))
    return report


# --- the ledger's files --------------------------------------------------------------------------


def _read_ledger(folder: Path | None, episodes: Episodes, report: Report) -> set[str] | None:
    """Fill ``episodes``; the days without a file (``YYYYMMDD``), ``None``: nothing was read."""
    if folder is None:
        report.unread.append(
            Unread(
                "ledger",
                "No folder is set in which Asterisk writes its ledger",
                "Set asterisk.ledger_folder to the folder that the dialplan writes to",
            )
        )
        return None
    if not folder.is_dir():
        report.unread.append(
            Unread(
                "ledger",
                f"There is no folder {folder}",
                "Set asterisk.ledger_folder to the folder that the dialplan writes to",
            )
        )
        return None
    missing: set[str] = set()
    last = min(episodes.latest + episodes.rules.longest_call_s, episodes.rules.now)
    for day in _days(episodes.earliest, last):
        try:
            _read_file(folder / f"{day}.log", episodes)
        except FileNotFoundError:
            missing.add(day)
        except OSError as error:
            missing.add(day)
            report.unread.append(
                Unread(
                    "ledger",
                    f"{folder / f'{day}.log'} cannot be read: {error.strerror}",
                    "Let the user who runs this read Asterisk's ledger",
                )
            )
    episodes.find_restarts()
    report.counts.count_ledger(episodes, episodes.rules)
    report.add(episodes.differences)
    return missing


def _days(first: float, last: float) -> Iterator[str]:
    day = datetime.fromtimestamp(first, UTC).date()
    while day <= datetime.fromtimestamp(last, UTC).date():
        yield f"{day:%Y%m%d}"
        day += timedelta(days=1)


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y%m%d}"


def _read_file(path: Path, episodes: Episodes) -> None:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n") and _day(episodes.rules.now) == path.stem:
                return  # it is being written at this moment
            if line.strip():
                text = line.decode("utf-8", "replace").rstrip("\n")
                episodes.add(text, f"{path.name} line {number}")


# --- the database's books ------------------------------------------------------------------------


class _Comparison:
    """One run over the database."""

    def __init__(self, report: Report, episodes: Episodes, missing_days: set[str] | None) -> None:
        self._report = report
        self._rules = report.rules
        self._episodes = episodes
        self._missing_days = missing_days
        self._told_days: set[str] = set()

    async def run(self, connection: Connection) -> None:
        notes = bool(await connection.fetchval(_NOTES_EXIST_SQL))
        if not notes:
            self._report.unread.append(
                Unread(
                    "note service",
                    "Its tables (schema notify) are not in this database",
                    "Run 'vsek migrate', or name the note service's database in database.dsn",
                )
            )
        await self._calls(connection, notes=notes)
        if self._missing_days is not None:
            await self._strangers(connection)
        if notes:
            await self._notes_without_call(connection)

    async def _calls(self, connection: Connection, *, notes: bool) -> None:
        after, after_id = timestamp(self._rules.since), ""
        while True:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                rows = await connection.fetch(
                    _CALLS_SQL, after, after_id, timestamp(self._rules.until), PAGE
                )
                calls = await _with_notes(connection, rows, notes=notes)
            for call in calls:
                self._compare(call, notes=notes)
            if len(rows) < PAGE:
                return
            after, after_id = rows[-1]["received_at"], rows[-1]["id"]

    def _compare(self, call: CallEntry, *, notes: bool) -> None:
        self._report.counts.count_call(call)
        ledger_read = self._ledger_of(call)
        episode = None
        if ledger_read:
            episode = self._episodes.of_call(call.channel, call.received_at)
            if episode is not None and not episode.call_id:
                episode.call_id = call.call_id
        found = compare_call(call, episode, self._rules, ledger_read=ledger_read, notes_read=notes)
        self._report.add(found)

    def _ledger_of(self, call: CallEntry) -> bool:
        """Whether the ledger of the call's day was read; if not, the report says so once."""
        if self._missing_days is None:
            return False
        day = _day(call.received_at)
        if day not in self._missing_days:
            return True
        if day not in self._told_days:
            self._told_days.add(day)
            self._report.unread.append(
                Unread(
                    "ledger",
                    f"There were calls on that day, but there is no {day}.log",
                    "See that Asterisk can write its ledger, and that its files are kept",
                )
            )
        return False

    async def _strangers(self, connection: Connection) -> None:
        """Episodes that met no call of this time may have met one of another."""
        strangers = self._episodes.strangers()
        while some := list(islice(strangers, PAGE)):
            rows = await connection.fetch(_OF_CHANNELS_SQL, [e.channel for e in some])
            for row in rows:
                received_at = row["received_at"].timestamp()
                episode = self._episodes.of_call(row["channel"], received_at)
                if episode is not None and not episode.call_id:
                    episode.call_id = row["id"]
            for episode in some:
                if not episode.call_id:
                    self._report.add(episode_without_call(episode, self._rules))

    async def _notes_without_call(self, connection: Connection) -> None:
        after, after_id = timestamp(self._rules.since), ""
        until = timestamp(min(self._rules.until, self._rules.settled))
        while True:
            rows = await connection.fetch(_NOTES_OF_TIME_SQL, after, after_id, until, PAGE)
            known = {
                row["id"]
                for row in await connection.fetch(
                    _KNOWN_CALLS_SQL, list({row["call_id"] for row in rows})
                )
            }
            self._report.add(
                Difference(
                    Kind.NOTE_STRAY,
                    f"{row['key']} is about a call that the database does not have",
                    at=row["received_at"].timestamp(),
                    call_id=row["call_id"],
                    note_id=row["note_id"],
                )
                for row in rows
                if row["call_id"] not in known
            )
            if len(rows) < PAGE:
                return
            after, after_id = rows[-1]["received_at"], rows[-1]["note_id"]


async def _with_notes(
    connection: Connection, rows: Sequence[Row], *, notes: bool
) -> list[CallEntry]:
    ids = [row["id"] for row in rows]
    ends = {row["call_id"]: row["ends"] for row in await connection.fetch(_SEVERAL_ENDS_SQL, ids)}
    due: dict[str, list[DueEntry]] = defaultdict(list)
    for row in await connection.fetch(_DUE_SQL, ids):
        due[row["call_id"]].append(
            DueEntry(
                key=row["key"],
                due_at=row["due_at"].timestamp(),
                acked=row["acked"],
                note_id=row["note_id"],
                last_error=row["last_error"],
                recipients=tuple(row["recipients"]),
                folded=row["folded"],
            )
        )
    of_call = await _notes(connection, ids) if notes else {}
    return [
        CallEntry(
            call_id=row["id"],
            channel=row["channel"],
            received_at=row["received_at"].timestamp(),
            answered_at=row["answered_at"] and row["answered_at"].timestamp(),
            ended_at=row["ended_at"] and row["ended_at"].timestamp(),
            outcome=row["outcome"] and Outcome(row["outcome"]),
            reason=row["reason"] or "",
            ends=ends.get(row["id"], 1),
            due=tuple(due.get(row["id"], ())),
            notes=tuple(of_call.get(row["id"], ())),
        )
        for row in rows
    ]


async def _notes(connection: Connection, ids: list[str]) -> dict[str, list[NoteEntry]]:
    notes = {
        row["note_id"]: (row["call_id"], NoteEntry(row["note_id"], row["key"], ()))
        for row in await connection.fetch(_NOTES_SQL, ids)
    }
    mails: dict[str, list[DeliveryEntry]] = defaultdict(list)
    for row in await connection.fetch(_DELIVERIES_SQL, list(notes)):
        mails[row["note_id"]].append(
            DeliveryEntry(row["email"], row["is_copy"], row["status"], row["queued_at"].timestamp())
        )
    found: dict[str, list[NoteEntry]] = defaultdict(list)
    for note_id, (call_id, note) in notes.items():
        found[call_id].append(replace(note, deliveries=tuple(mails.get(note_id, ()))))
    return found

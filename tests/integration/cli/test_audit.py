"""``vsek audit`` over a real PostgreSQL and real ledger files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from vsek.cli.audit import as_document
from vsek.domain.books import Kind, Rules
from vsek.store.audit import audit
from vsek.store.pool import open_pool, timestamp

DAY = 86400.0
NOW = time.time()
MIDNIGHT = NOW - NOW % DAY - DAY
RULES = Rules(since=MIDNIGHT, until=MIDNIGHT + DAY, now=MIDNIGHT + DAY + 3600.0)

_FILL_SQL = """
CREATE TEMP TABLE n AS
SELECT i, 'c' || lpad(i::text, 7, '0') AS id, {first}::timestamptz + i * {apart_s} * interval '1 s'
    AS at
FROM generate_series(0, {calls} - 1) AS i;
INSERT INTO vsek.calls (id, client_id, received_at, caller_number, caller_name, caller_withheld,
    did, forwarded_by, forward_reason, policy, channel, outcome, stage, reason, agent_id,
    answered_at, ended_at)
SELECT id, 'alder', at, '+4930' || i, '', false, '+49301', '{{}}', '', 'greet',
    floor(extract(epoch FROM at))::bigint || '.' || i, 'answered', 'talking', 'caller_hangup',
    'anna', at + interval '5 s', at + interval '60 s'
FROM n;
INSERT INTO vsek.call_steps (call_id, number, at, kind, detail)
SELECT id, s, at, CASE s WHEN 8 THEN 'ended' ELSE 'offer' END, '{{}}'
FROM n, generate_series(1, 8) AS s;
INSERT INTO vsek.note_drafts (call_id) SELECT id FROM n;
INSERT INTO vsek.note_due (key, call_id, due_at, request, left_at, revision, attempts, acked_at,
    note_id)
SELECT 'call:' || id || ':auto', id, at + interval '90 s',
    '{{"recipients": [{{"name": "A", "email": "a@alder.example"}}]}}', at + interval '90 s', 0, 1,
    at + interval '91 s', 'n' || i
FROM n;
INSERT INTO notify.notes (note_id, key, digest, request, kind, client_id, call_id, thread, subject,
    message_id, refers_to, received_at)
SELECT 'n' || i, 'call:' || id || ':auto', '', '{{}}', 'message', 'alder', id, '', 'x',
    '<' || i || '@vsek>', '{{}}', at + interval '91 s'
FROM n;
INSERT INTO notify.deliveries (note_id, purpose, name, email, status, queued_at, next_at,
    settled_at)
SELECT note_id, 'note', 'A', 'a@alder.example', 'accepted', received_at, received_at, received_at
FROM notify.notes;
DROP TABLE n
"""
_EMPTY_SQL = """
TRUNCATE vsek.calls, vsek.call_steps, vsek.note_drafts, vsek.note_due, notify.notes,
    notify.deliveries CASCADE
"""


@pytest.fixture
async def conn(postgres_dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute(_EMPTY_SQL)
    yield connection
    await connection.close()


async def fill(
    conn: asyncpg.Connection[asyncpg.Record], folder: Path, calls: int, *, apart_s: float = 0.8
) -> None:
    """``calls`` answered calls of yesterday in all three books."""
    first = f"'{timestamp(MIDNIGHT + 3600).isoformat()}'"
    await conn.execute(_FILL_SQL.format(first=first, calls=calls, apart_s=apart_s))
    if calls > 1000:
        await conn.execute("ANALYZE")
    write_ledger(folder, calls, apart_s)


def write_ledger(folder: Path, calls: int, apart_s: float) -> None:
    folder.mkdir(exist_ok=True)
    with ledger_file(folder, MIDNIGHT).open("w") as file:
        for number in range(calls):
            began = int(MIDNIGHT + 3600 + number * apart_s)
            write_call(file.write, f"{began}.{number}", began, began + 60)


def ledger_file(folder: Path, at: float) -> Path:
    return folder / f"{datetime.fromtimestamp(at, UTC):%Y%m%d}.log"


def write_call(write: Any, channel: str, began: int, ended: int | None) -> None:
    read = "did=%2B49301,to=%2B49301,pcpid=,from=%2B4930,name=Ann,pai=,privacy=,div=,hist=,reason="
    write(f"v=1,kind=in,channel={channel},at={began},{read}\n")
    if ended is not None:
        write(
            f"v=1,kind=out,channel={channel},at={ended},began={began},cause=16,served=vsek,"
            f"heard=0,message=,message_s=0,{read}\n"
        )


async def found(dsn: str, folder: Path | None, rules: Rules = RULES) -> Any:
    pool = await open_pool(dsn, size=1)
    try:
        return await audit(pool, folder, rules)
    finally:
        await pool.close()


async def test_each_book_by_itself_is_held_against_the_others(
    conn: asyncpg.Connection[asyncpg.Record], postgres_dsn: str, tmp_path: Path
) -> None:
    await fill(conn, tmp_path, 20)
    report = await found(postgres_dsn, tmp_path)
    assert report.differences == []
    assert report.unread == []
    counts = report.counts
    assert (counts.ledger_calls, counts.calls, counts.due, counts.notes) == (20, 20, 20, 20)
    assert dict(counts.deliveries) == {"accepted": 20}

    await conn.execute("DELETE FROM notify.notes WHERE note_id = 'n1'")
    await conn.execute("UPDATE notify.deliveries SET status = 'bounced' WHERE note_id = 'n2'")
    await conn.execute("DELETE FROM notify.deliveries WHERE note_id = 'n3'")
    await conn.execute("DELETE FROM vsek.note_due WHERE call_id = 'c0000004'")
    await conn.execute(
        "UPDATE vsek.calls SET outcome = NULL, ended_at = NULL WHERE id = 'c0000005'"
    )
    await conn.execute("UPDATE vsek.calls SET channel = 'elsewhere' WHERE id = 'c0000006'")
    await conn.execute(
        "UPDATE vsek.call_steps SET kind = 'ended' WHERE call_id = 'c0000007' AND number = 7"
    )
    await conn.execute(
        "UPDATE vsek.note_due SET acked_at = NULL, note_id = NULL, last_error = 'refused'"
        " WHERE call_id = 'c0000008'"
    )
    with ledger_file(tmp_path, MIDNIGHT).open("a") as file:
        write_call(file.write, "stranger.1", int(MIDNIGHT + 7000), int(MIDNIGHT + 7010))
        file.write("v=1,kind=in,chan")
    report = await found(postgres_dsn, tmp_path)
    told = {(d.kind, d.call_id or d.channel) for d in report.differences}
    sixth = f"{int(MIDNIGHT + 3600 + 6 * 0.8)}.6"
    assert told == {
        (Kind.NOTE_UNKNOWN, "c0000001"),
        (Kind.NO_COPY, "c0000002"),
        (Kind.RECIPIENT_MISSING, "c0000003"),
        (Kind.NO_COPY, "c0000003"),
        (Kind.NO_NOTE, "c0000004"),
        (Kind.NOTE_STRAY, "c0000004"),
        (Kind.NO_OUTCOME, "c0000005"),
        (Kind.NOT_IN_LEDGER, "c0000006"),
        (Kind.NOT_IN_DATABASE, sixth),
        (Kind.TWO_OUTCOMES, "c0000007"),
        (Kind.NOTE_LATE, "c0000008"),
        (Kind.NOT_IN_DATABASE, "stranger.1"),
        (Kind.UNREADABLE_LINE, ""),
    }
    document = as_document(report)
    assert document["equal"] is False
    assert len(document["differences"]) == 13


async def test_a_call_that_the_database_has_lost_with_its_notes(
    conn: asyncpg.Connection[asyncpg.Record], postgres_dsn: str, tmp_path: Path
) -> None:
    await fill(conn, tmp_path, 3)
    for table, column in (
        ("note_due", "call_id"),
        ("note_drafts", "call_id"),
        ("call_steps", "call_id"),
        ("calls", "id"),
    ):
        await conn.execute(f"DELETE FROM vsek.{table} WHERE {column} = 'c0000001'")
    report = await found(postgres_dsn, tmp_path)
    assert {d.kind for d in report.differences} == {Kind.NOT_IN_DATABASE, Kind.NOTE_STRAY}


async def test_a_call_that_the_database_dates_outside_the_time_is_found_by_its_channel(
    conn: asyncpg.Connection[asyncpg.Record], postgres_dsn: str, tmp_path: Path
) -> None:
    await fill(conn, tmp_path, 3, apart_s=30.0)
    # The switchboard was away for some minutes when the third call came.
    await conn.execute(
        "UPDATE vsek.calls SET received_at = received_at + interval '10 min',"
        " answered_at = received_at + interval '11 min', ended_at = received_at"
        " + interval '12 min' WHERE id = 'c0000002'"
    )
    until = MIDNIGHT + 3600 + 120.0
    report = await found(postgres_dsn, tmp_path, Rules(since=MIDNIGHT, until=until, now=NOW))
    assert report.differences == []
    assert (report.counts.ledger_calls, report.counts.calls) == (3, 2)


async def test_books_that_are_not_there(
    conn: asyncpg.Connection[asyncpg.Record], postgres_dsn: str, empty_dsn: str, tmp_path: Path
) -> None:
    await fill(conn, tmp_path, 3)
    for folder in (None, tmp_path / "nowhere"):
        report = await found(postgres_dsn, folder)
        assert [book.book for book in report.unread] == ["ledger"]
        assert report.differences == []
    ledger_file(tmp_path, MIDNIGHT).unlink()
    report = await found(postgres_dsn, tmp_path)
    assert [book.why for book in report.unread] == [
        f"There were calls on that day, but there is no {ledger_file(tmp_path, MIDNIGHT).name}"
    ]
    assert report.differences == []
    report = await found(empty_dsn, tmp_path)
    assert {book.book for book in report.unread} == {"note service", "database"}
    report = await found("postgresql://nobody@127.0.0.1:9/nothing", tmp_path)
    assert [book.book for book in report.unread] == ["database"]


async def test_a_line_that_is_being_written_is_left_alone(
    conn: asyncpg.Connection[asyncpg.Record], postgres_dsn: str, tmp_path: Path
) -> None:
    ledger_file(tmp_path, NOW).write_text("v=1,kind=in,chan")
    rules = Rules(since=MIDNIGHT, until=NOW, now=NOW)
    report = await found(postgres_dsn, tmp_path, rules)
    assert report.equal


async def test_a_day_of_twenty_thousand_calls(
    conn: asyncpg.Connection[asyncpg.Record], postgres_dsn: str, tmp_path: Path
) -> None:
    """The time is that of reading each book once: linear, no page waits for a sequential scan."""
    calls = 20_000
    await fill(conn, tmp_path, calls)
    began = time.perf_counter()
    report = await found(postgres_dsn, tmp_path)
    took_s = time.perf_counter() - began
    assert report.differences == []
    assert (report.counts.calls, report.counts.ledger_calls) == (calls, calls)
    print(f"\n{calls} calls compared in {took_s:.1f} s")
    assert took_s < 30.0


async def test_memory_does_not_grow_with_what_belongs_to_a_call(
    conn: asyncpg.Connection[asyncpg.Record], postgres_dsn: str, tmp_path: Path
) -> None:
    calls = 6_000
    await fill(conn, tmp_path, calls)
    tracemalloc.start()
    try:
        report = await found(postgres_dsn, tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.equal
    # A page of calls at a time, and one small object per call of the ledger.
    assert peak < 12 * 1024 * 1024 + calls * 600


def run(dsn: str, folder: Path, ledger: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: text for name, text in os.environ.items() if not name.startswith("VSEK_")}
    environment |= {"VSEK_DATABASE__DSN": dsn, "VSEK_ASTERISK__LEDGER_FOLDER": str(ledger)}
    return subprocess.run(
        [sys.executable, "-m", "vsek.cli.main", "audit", *arguments, "--dir", str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


async def test_the_command_tells_with_its_exit_code(
    conn: asyncpg.Connection[asyncpg.Record], postgres_dsn: str, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    await fill(conn, ledger, 5)
    ran = run(postgres_dsn, tmp_path, ledger)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Ledger:       5 calls, 0 without an end" in ran.stdout
    assert "Differences:  0" in ran.stdout

    await conn.execute("UPDATE notify.deliveries SET status = 'bounced' WHERE note_id = 'n2'")
    ran = run(postgres_dsn, tmp_path, ledger, "--day", f"{timestamp(MIDNIGHT):%Y-%m-%d}")
    assert ran.returncode == 1
    [line] = [text for text in ran.stdout.splitlines() if text.startswith("no_copy")]
    assert "call c0000002 channel " in line
    assert "a@alder.example bounced -> pass the note on by hand" in line

    ran = run(postgres_dsn, tmp_path, ledger, "--json")
    assert ran.returncode == 1
    document = json.loads(ran.stdout)
    assert document["ledger"] == {"calls": 5, "without_end": 0}
    assert document["database"]["outcomes"] == {"answered": 5}
    assert document["note_service"]["deliveries"] == {"accepted": 4, "bounced": 1}
    assert [d["kind"] for d in document["differences"]] == ["no_copy"]

    # Another day has no calls in any book.
    ran = run(postgres_dsn, tmp_path, ledger, "--from", "2020-01-01", "--to", "2020-01-02")
    assert ran.returncode == 0
    ran = run(postgres_dsn, tmp_path, tmp_path / "nowhere")
    assert ran.returncode == 2
    assert "not compared: ledger: There is no folder" in ran.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--day", "yesterday"),
        ("--day", "2026-01-01T10:00"),
        ("--day", "2026-01-01", "--from", "2026-01-01"),
        ("--from", "2026-01-02", "--to", "2026-01-01"),
        ("--from", "9999-12-31"),
        ("--to", "10:00"),
        ("--timezone", "Mars/Base"),
        ("--timezone", "../../etc/passwd"),
    ],
)
def test_wrong_times(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ran = run("postgresql:///nothing", tmp_path, tmp_path, *arguments)
    assert ran.returncode == 2
    assert "remedy:" in ran.stderr
    assert "Traceback" not in ran.stderr

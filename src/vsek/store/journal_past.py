"""The switchboard's journal of the last days in PostgreSQL, for who asks for the past.

Theory of operation. ``store.journal`` keeps what a start needs, a few snapshots and what follows
on them. What it has no use for any more is *put away* here before it is deleted there: everything
from one snapshot to the next in one row, packed. A snapshot is kept only where many entries came
since the last one (:data:`SNAPSHOT_ENTRIES`). Rows whose numbers follow on each other are one
history; a break means that another journal took its place, or that a part was never shipped.

A *passage* is what has to be played back to see a moment again: from the last snapshot that was
kept before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vsek.store.pool import Connection, Row

KEEP_DAYS = 14
SNAPSHOT_ENTRIES = 50_000
PART_BYTES = 32 * 1024 * 1024
"""About how large a row may become; more goes into several."""
LONGEST_CALL_S = 12 * 3600.0
"""So much of the journal after a call's first entry is looked through for its end."""

# Up to $1, or everything: a snapshot and what follows on it, up to the next one that goes as well.
_PUT_AWAY_SQL = """
WITH ends AS (
    SELECT number AS base, body AS snapshot,
           lead(number) OVER (ORDER BY number) AS following
    FROM (
        SELECT number, body FROM vsek.journal_snapshots
        UNION ALL SELECT 0, NULL
    ) AS known
    WHERE $1::bigint IS NULL OR number < $1
), pieces AS (
    SELECT e.base, b.first, b.last, b.body, b.at,
           div(sum(octet_length(b.body)) OVER (PARTITION BY e.base ORDER BY b.first)
               - octet_length(b.body), $3::bigint) AS part
    FROM ends e JOIN vsek.journal_batches b
      ON b.first > e.base AND (e.following IS NULL OR b.last <= e.following)
     AND ($1::bigint IS NULL OR b.last <= $1)
)
INSERT INTO vsek.journal_past (base, snapshot, first, last, body, since, until)
SELECT CASE p.part WHEN 0 THEN p.base ELSE min(p.first) - 1 END,
       CASE WHEN p.part = 0 AND (
                p.base IS DISTINCT FROM
                    (SELECT o.last FROM vsek.journal_past o ORDER BY o.id DESC LIMIT 1)
                OR NOT EXISTS (SELECT FROM vsek.journal_past o
                               WHERE o.snapshot IS NOT NULL
                                 AND o.base > p.base - $2 AND o.base <= p.base))
            THEN (SELECT e.snapshot FROM ends e WHERE e.base = p.base) END,
       min(p.first), max(p.last), string_agg(p.body, ''::bytea ORDER BY p.first),
       min(p.at), max(p.at)
FROM pieces p
GROUP BY p.base, p.part
ORDER BY p.base, p.part
"""
_FORGET_SQL = "DELETE FROM vsek.journal_past WHERE until < now() - make_interval(days => $1)"
_HOLDING_PAST_SQL = """
SELECT min(id) FROM vsek.journal_past
WHERE until >= to_timestamp($2) AND position($1::bytea IN body) > 0
"""
_PAST_FROM_SQL = "SELECT min(id) FROM vsek.journal_past WHERE until >= to_timestamp($1)"
_SHAPE_SQL = """
SELECT id, base, first, last, snapshot IS NOT NULL AS has_snapshot,
       extract(epoch FROM since)::float8 AS since
FROM vsek.journal_past ORDER BY id
"""
_ROWS_SQL = """
SELECT base, snapshot, first, body FROM vsek.journal_past WHERE id BETWEEN $1 AND $2 ORDER BY id
"""
# What stands in a record stands in it as text.
_HOLDING_SQL = "SELECT min(first) FROM vsek.journal_batches WHERE position($1::bytea IN body) > 0"
_FIRST_SQL = """
SELECT min(first) FROM vsek.journal_batches WHERE at >= to_timestamp($1)
"""
_NEWEST_BY_SQL = "SELECT max(number) FROM vsek.journal_snapshots WHERE number < $1"
_SNAPSHOTS_SQL = """
SELECT number, body FROM vsek.journal_snapshots WHERE number >= $1 ORDER BY number
"""
_BATCHES_SQL = "SELECT first, body FROM vsek.journal_batches WHERE last > $1 ORDER BY first"


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of the journal that can be played back."""

    snapshots: tuple[tuple[int, bytes], ...]
    """Number and file content of each."""
    segments: tuple[tuple[int, bytes], ...]
    """First number and content, in order."""


async def put_away(conn: Connection, before: int | None) -> None:
    """Keep what is about to be deleted: everything up to the snapshot ``before``, or all of it."""
    await conn.execute(_PUT_AWAY_SQL, before, SNAPSHOT_ENTRIES, PART_BYTES)
    await conn.execute(_FORGET_SQL, KEEP_DAYS)


async def of_call(conn: Connection, call_id: str, since: float) -> Passage | None:
    """The passage in which a call's id stands first, looked for from ``since`` (Unix seconds) on;
    ``None``: it does not stand here."""
    wanted = call_id.encode()
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        past = await conn.fetchval(_HOLDING_PAST_SQL, wanted, since)
        if past is not None:
            return await _past(conn, past, LONGEST_CALL_S, whole=True)
        first = await conn.fetchval(_HOLDING_SQL, wanted)
        return None if first is None else await _present(conn, first)


async def from_time(conn: Connection, since: float, until: float) -> Passage | None:
    """The passage from ``since`` to ``until`` (Unix seconds); ``None``: nothing is that late."""
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        past = await conn.fetchval(_PAST_FROM_SQL, since)
        if past is not None:
            return await _past(conn, past, until - since + LONGEST_CALL_S, whole=False)
        first = await conn.fetchval(_FIRST_SQL, since)
        return None if first is None else await _present(conn, first)


async def _past(conn: Connection, row_id: int, length_s: float, *, whole: bool) -> Passage | None:
    """From the row ``row_id`` on so many seconds, with what has to be played back before. Where
    that is missing: ``None`` if it has to be ``whole``, else from the next snapshot on."""
    shape = await conn.fetch(_SHAPE_SQL)
    here = next(n for n, row in enumerate(shape) if row["id"] == row_id)
    start = here
    while start > 0 and not _begins(shape[start]) and _follows(shape[start - 1], shape[start]):
        start -= 1
    end = here
    while (
        end + 1 < len(shape)
        and _follows(shape[end], shape[end + 1])
        and shape[end + 1]["since"] < shape[here]["since"] + length_s
    ):
        end += 1
    while start < end and not _begins(shape[start]):
        start += 1
    if start > here and whole:
        return None
    rows = await conn.fetch(_ROWS_SQL, shape[start]["id"], shape[end]["id"])
    snapshots = [(row["base"], row["snapshot"]) for row in rows if row["snapshot"] is not None]
    segments = [(row["first"], row["body"]) for row in rows]
    last = shape[end]["last"]
    if end + 1 == len(shape):
        present = await _present(conn, last + 1)
        if present.segments and present.segments[0][0] == last + 1:
            snapshots += [one for one in present.snapshots if one[0] >= last]
            segments += present.segments
    return Passage(tuple(snapshots), tuple(segments))


def _begins(row: Row) -> bool:
    """Whether a playback can begin with this row."""
    return bool(row["has_snapshot"]) or row["first"] == 1


def _follows(one: Row, other: Row) -> bool:
    """Whether ``other`` goes on where ``one`` ends, or its snapshot bridges a gap."""
    if one["last"] < other["base"]:
        return bool(other["has_snapshot"])
    return bool(one["last"] == other["base"])


async def _present(conn: Connection, first: int) -> Passage:
    base = await conn.fetchval(_NEWEST_BY_SQL, first) or 0
    snapshots = await conn.fetch(_SNAPSHOTS_SQL, base)
    batches: Sequence[Row] = await conn.fetch(_BATCHES_SQL, base)
    return Passage(
        tuple((row["number"], row["body"]) for row in snapshots),
        tuple((row["first"], row["body"]) for row in batches),
    )

"""What the switchboard tells the database about calls.

Applying is idempotent: a restarted switchboard sends again what may not have arrived. A call has
one outcome, the first that is written. A record about a call that was never opened here is left
out and reported, since refusing it would hold up all that come after it.

A call's row in ``note_drafts`` is the lock for everything about its note: whoever changes the
draft, or when and whether the note leaves, takes that row first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_never

import msgspec
import structlog

from vsek.domain.ids import CallId
from vsek.domain.outcomes import Outcome, Stage
from vsek.domain.records import (
    CallClosed,
    CallOpened,
    CallStep,
    NoteDueMoved,
    Record,
    RecordingMade,
)
from vsek.domain.text import LINE_LIMIT, clean_line
from vsek.errors import VsekError
from vsek.store import recordings
from vsek.store.pool import timestamp

if TYPE_CHECKING:
    from vsek.store.pool import Connection

_log = structlog.get_logger(__name__)

# A transaction that is one statement costs one round trip, whatever it holds. Calls come first, in
# a statement of their own, because no part of a statement sees what another part inserts. Tables
# are looked up by `= ANY` of an array, so that no plan walks them however young the statistics are.
#
# The position's row is locked before all else, so that writers take turns, and only the newest
# epoch's writer finds it. Drafts are locked next, in the order of their calls.
_OPEN_SQL = """
WITH head AS MATERIALIZED (
    SELECT epoch FROM vsek.journal WHERE $1::bigint IS NULL OR epoch = $1 FOR UPDATE
), opened AS (
    INSERT INTO vsek.calls (
        id, client_id, received_at, caller_number, caller_name, caller_withheld, did, forwarded_by,
        forward_reason, policy, channel
    )
    SELECT o.id, o.client_id, o.received_at, o.caller_number, o.caller_name, o.caller_withheld,
           o.did, ARRAY(SELECT jsonb_array_elements_text(o.forwarded_by::jsonb)), o.forward_reason,
           o.policy, o.channel
    FROM head, unnest($2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[],
                      $7::boolean[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[])
         AS o (id, client_id, received_at, caller_number, caller_name, caller_withheld, did,
               forwarded_by, forward_reason, policy, channel)
    ON CONFLICT (id) DO NOTHING
), drafts AS (
    INSERT INTO vsek.note_drafts (call_id) SELECT unnest($2::text[]) FROM head
    ON CONFLICT (call_id) DO NOTHING
)
SELECT EXISTS (SELECT FROM head)
"""
_REST_SQL = """
WITH head AS MATERIALIZED (
    SELECT epoch FROM vsek.journal WHERE $1::bigint IS NULL OR epoch = $1 FOR UPDATE
), step AS (
    SELECT s.* FROM head,
        unnest($3::text[], $4::integer[], $5::timestamptz[], $6::text[], $7::text[])
        AS s (call_id, number, at, kind, detail)
), known AS MATERIALIZED (
    SELECT id, outcome, agent_id FROM vsek.calls WHERE id = ANY ($3 || $8::text[] || $16::text[])
), closing AS (
    SELECT c.* FROM head, unnest($8::text[], $9::text[], $10::text[], $11::text[], $12::text[],
                                 $13::timestamptz[], $14::timestamptz[], $15::timestamptz[])
        AS c (call_id, outcome, stage, reason, agent_id, answered_at, ended_at, due_at)
), moving AS (
    SELECT m.* FROM head, unnest($16::text[], $17::text[], $18::timestamptz[])
        AS m (call_id, agent_id, due_at)
), locked AS MATERIALIZED (
    SELECT d.call_id, d.finished FROM vsek.note_drafts d
    WHERE d.call_id = ANY ($8 || $16) AND EXISTS (SELECT FROM head)
    ORDER BY d.call_id FOR UPDATE
), stepped AS (
    INSERT INTO vsek.call_steps (call_id, number, at, kind, detail)
    SELECT s.call_id, s.number, s.at, s.kind, s.detail::jsonb
    FROM step s JOIN known ON known.id = s.call_id
    ON CONFLICT (call_id, number) DO NOTHING
), closed AS (
    UPDATE vsek.calls AS call
    SET outcome = c.outcome, stage = c.stage, reason = c.reason, agent_id = c.agent_id,
        answered_at = c.answered_at, ended_at = c.ended_at
    FROM closing c JOIN locked USING (call_id)
    WHERE call.id = ANY ($8) AND call.id = c.call_id AND call.outcome IS NULL
    RETURNING call.id, call.agent_id, locked.finished, c.ended_at, c.due_at
), due AS (
    INSERT INTO vsek.note_due (key, call_id, due_at)
    SELECT 'call:' || c.id || ':auto', c.id,
           CASE WHEN c.finished THEN c.ended_at
                ELSE coalesce((SELECT m.due_at FROM moving m
                               WHERE m.call_id = c.id AND m.agent_id = c.agent_id), c.due_at)
           END
    FROM closed c
    ON CONFLICT (key) DO NOTHING
    RETURNING key
), moved AS (
    UPDATE vsek.note_due AS due SET due_at = m.due_at
    FROM moving m JOIN locked USING (call_id) JOIN known ON known.id = m.call_id
    WHERE due.call_id = ANY ($16) AND due.key = 'call:' || m.call_id || ':auto'
      AND due.left_at IS NULL AND NOT locked.finished AND known.agent_id = m.agent_id
    RETURNING due.key
), advanced AS (
    UPDATE vsek.journal SET seq = greatest(seq, $2) FROM head RETURNING 1
)
SELECT
    EXISTS (SELECT FROM advanced) AS current,
    ARRAY(
        SELECT s.call_id FROM step s WHERE NOT EXISTS (SELECT FROM known WHERE id = s.call_id)
        UNION
        SELECT t.call_id
        FROM (SELECT call_id FROM closing UNION SELECT call_id FROM moving) AS t
        WHERE NOT EXISTS (SELECT FROM locked WHERE locked.call_id = t.call_id)
    ) AS orphans,
    ARRAY(
        SELECT ARRAY[c.call_id, known.outcome, c.outcome]
        FROM closing c JOIN known ON known.id = c.call_id WHERE known.outcome <> c.outcome
    ) AS second_outcomes,
    CASE WHEN EXISTS (SELECT FROM due) OR EXISTS (SELECT FROM moved)
         THEN pg_notify('vsek_note_due', '')::text END AS notified
"""
_POSITION_SQL = "SELECT epoch, seq FROM vsek.journal"
_NEW_EPOCH_SQL = "UPDATE vsek.journal SET epoch = epoch + 1, seq = $1 RETURNING epoch"


@dataclass(frozen=True, slots=True)
class JournalPosition:
    """Whose journal arrived here (``epoch``) and up to which entry (``seq``)."""

    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Applied:
    """What :func:`apply` did."""

    orphans: tuple[CallId, ...]
    """Calls that records told about although they were never opened here."""


class StaleEpochError(VsekError):
    """Another switchboard has taken over; this one may not write any more.

    No ``ServiceError``, since trying again is of no use.
    """

    error_id = "stale_epoch"


def _clean_detail(detail: dict[str, str]) -> str:
    cleaned = {
        clean_line(str(name)): clean_line(str(value), LINE_LIMIT) for name, value in detail.items()
    }
    return msgspec.json.encode(cleaned).decode()


def _optional(text: str | None) -> str | None:
    return None if text is None else clean_line(text)


def _columns(rows: list[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """The rows as columns, for ``unnest``."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[]] * width


def _open_row(record: CallOpened) -> tuple[Any, ...]:
    forwarded_by = [clean_line(number) for number in record.forwarded_by]
    return (
        clean_line(record.call_id),
        _optional(record.client_id),
        timestamp(record.received_at),
        clean_line(record.caller_number),
        clean_line(record.caller_name),
        bool(record.caller_withheld),
        clean_line(record.did),
        msgspec.json.encode(forwarded_by).decode(),
        clean_line(record.forward_reason),
        clean_line(record.policy),
        clean_line(record.channel),
    )


def _step_row(record: CallStep) -> tuple[Any, ...]:
    return (
        clean_line(record.call_id),
        record.number,
        timestamp(record.at),
        clean_line(record.kind),
        _clean_detail(record.detail),
    )


def _close_row(record: CallClosed) -> tuple[Any, ...]:
    return (
        clean_line(record.call_id),
        Outcome(record.outcome).value,
        Stage(record.stage).value,
        clean_line(record.reason),
        _optional(record.agent_id),
        None if record.answered_at is None else timestamp(record.answered_at),
        timestamp(record.ended_at),
        timestamp(record.note_due_at),
    )


class _Batch:
    """Records sorted by what is done with them, ready to be sent."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.opens: list[tuple[Any, ...]] = []
        self.recordings: list[RecordingMade] = []
        self.steps: list[tuple[Any, ...]] = []
        # The first outcome of a call counts, and the last moving of its note by an agent.
        self.closes: dict[str, tuple[Any, ...]] = {}
        self.moves: dict[tuple[str, str], tuple[Any, ...]] = {}
        for record in records:
            match record:
                case CallOpened():
                    self.opens.append(_open_row(record))
                case CallStep():
                    self.steps.append(_step_row(record))
                case CallClosed():
                    self._close(_close_row(record))
                case NoteDueMoved():
                    call_id, agent_id = clean_line(record.call_id), clean_line(record.agent_id)
                    due_at = timestamp(record.due_at)
                    self.moves[call_id, agent_id] = (call_id, agent_id, due_at)
                case RecordingMade():
                    self.recordings.append(record)
                case _:
                    assert_never(record)

    def _close(self, row: tuple[Any, ...]) -> None:
        first = self.closes.setdefault(row[0], row)
        if first[1] != row[1]:
            _second_outcome(row[0], first[1], row[1])


def _second_outcome(call_id: str, kept: str, refused: str) -> None:
    _log.error("second_outcome", call_id=call_id, kept=kept, refused=refused)


async def apply(
    conn: Connection, records: Sequence[Record], journal_seq: int, *, epoch: int | None = None
) -> Applied:
    """Write ``records`` in order; they cover the journal up to ``journal_seq``.

    Calls are opened in a transaction of their own, before the one that writes all that happened to
    them and moves the position; should the second fail, both are repeated. Raises
    ``StaleEpochError`` (nothing is written) when ``epoch`` is not the newest one.
    """
    batch = _Batch(records)
    orphans: list[CallId] = []
    if batch.opens or batch.recordings:
        if not await conn.fetchval(_OPEN_SQL, epoch, *_columns(batch.opens, 11)):
            raise await _stale(conn, epoch)
        orphans += [
            record.call_id
            for record in batch.recordings
            if not await recordings.announce(conn, record)
        ]
    written = await conn.fetchrow(
        _REST_SQL,
        epoch,
        journal_seq,
        *_columns(batch.steps, 5),
        *_columns(list(batch.closes.values()), 8),
        *_columns(list(batch.moves.values()), 3),
    )
    if written is None or not written["current"]:
        raise await _stale(conn, epoch)
    for call_id, kept, refused in written["second_outcomes"]:
        _second_outcome(call_id, kept, refused)
    orphans.extend(CallId(call_id) for call_id in written["orphans"])
    for call_id in orphans:
        kinds = {type(one).__name__ for one in records if clean_line(one.call_id) == call_id}
        _log.error("record_without_call", call_id=call_id, records=sorted(kinds))
    return Applied(tuple(orphans))


async def _stale(conn: Connection, epoch: int | None) -> StaleEpochError:
    newest = (await position(conn)).epoch
    return StaleEpochError(
        f"Another switchboard writes since epoch {newest}; this one has {epoch}",
        remedy="Let the newer one run, or restart this one to take over",
    )


async def position(conn: Connection) -> JournalPosition:
    """Whose journal has arrived here, and how far."""
    row = await conn.fetchrow(_POSITION_SQL)
    return JournalPosition(0, 0) if row is None else JournalPosition(row["epoch"], row["seq"])


async def journal_seq(conn: Connection) -> int:
    """The last journal entry that has arrived here; 0 = none."""
    return (await position(conn)).seq


async def start_epoch(conn: Connection, seq: int = 0) -> int:
    """Begin a new epoch, whose journal is complete here up to ``seq``; returns its number.

    From then on :func:`apply` refuses whoever writes under an earlier one.
    """
    return int(await conn.fetchval(_NEW_EPOCH_SQL, seq))

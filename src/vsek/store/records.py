"""What the switchboard tells the database about calls.

Applying is idempotent: a restarted switchboard sends again what may not have arrived. A call has
one outcome, the first that is written. A record about a call that was never opened here is left
out and reported, since refusing it would hold up all that come after it.

A call's row in ``note_drafts`` is the lock for everything about its note: whoever changes the
draft, or when and whether the note leaves, takes that row first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

import msgspec
import structlog

from vsek.domain.ids import CallId
from vsek.domain.note import auto_key
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

_OPEN_SQL = """
INSERT INTO vsek.calls (
    id, client_id, received_at, caller_number, caller_name, caller_withheld, did, forwarded_by,
    forward_reason, policy, channel
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (id) DO NOTHING
"""
_OPEN_DRAFT_SQL = """
INSERT INTO vsek.note_drafts (call_id) VALUES ($1) ON CONFLICT (call_id) DO NOTHING
"""
_STEP_SQL = """
INSERT INTO vsek.call_steps (call_id, number, at, kind, detail)
SELECT id, $2, $3, $4, $5::text::jsonb FROM vsek.calls WHERE id = $1
ON CONFLICT (call_id, number) DO NOTHING
"""
_HAS_STEP_SQL = "SELECT EXISTS (SELECT FROM vsek.call_steps WHERE call_id = $1 AND number = $2)"
_LOCK_DRAFT_SQL = "SELECT finished FROM vsek.note_drafts WHERE call_id = $1 FOR UPDATE"
_CLOSE_SQL = """
UPDATE vsek.calls
SET outcome = $2, stage = $3, reason = $4, agent_id = $5, answered_at = $6, ended_at = $7
WHERE id = $1 AND outcome IS NULL
"""
_OUTCOME_SQL = "SELECT outcome FROM vsek.calls WHERE id = $1"
_DUE_SQL = """
INSERT INTO vsek.note_due (key, call_id, due_at) VALUES ($1, $2, $3) ON CONFLICT (key) DO NOTHING
"""
_MOVE_DUE_SQL = """
UPDATE vsek.note_due AS due SET due_at = $2
FROM vsek.calls AS call
WHERE due.key = $1 AND due.left_at IS NULL AND call.id = due.call_id AND call.agent_id = $3
"""
_NOTIFY_SQL = "NOTIFY vsek_note_due"
_POSITION_SQL = "SELECT epoch, seq FROM vsek.journal"
_LOCK_POSITION_SQL = "SELECT epoch, seq FROM vsek.journal FOR UPDATE"
_ADVANCE_SQL = "UPDATE vsek.journal SET seq = greatest(seq, $1)"
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


async def _open(conn: Connection, record: CallOpened) -> bool:
    await conn.execute(
        _OPEN_SQL,
        clean_line(record.call_id),
        _optional(record.client_id),
        timestamp(record.received_at),
        clean_line(record.caller_number),
        clean_line(record.caller_name),
        bool(record.caller_withheld),
        clean_line(record.did),
        [clean_line(number) for number in record.forwarded_by],
        clean_line(record.forward_reason),
        clean_line(record.policy),
        clean_line(record.channel),
    )
    await conn.execute(_OPEN_DRAFT_SQL, clean_line(record.call_id))
    return True


async def _step(conn: Connection, record: CallStep) -> bool:
    done = await conn.execute(
        _STEP_SQL,
        clean_line(record.call_id),
        record.number,
        timestamp(record.at),
        clean_line(record.kind),
        _clean_detail(record.detail),
    )
    if done.endswith(" 1"):
        return True
    return bool(await conn.fetchval(_HAS_STEP_SQL, clean_line(record.call_id), record.number))


async def _close(conn: Connection, record: CallClosed) -> bool:
    call_id = clean_line(record.call_id)
    draft = await conn.fetchrow(_LOCK_DRAFT_SQL, call_id)
    if draft is None:
        return False
    outcome = Outcome(record.outcome).value
    done = await conn.execute(
        _CLOSE_SQL,
        call_id,
        outcome,
        Stage(record.stage).value,
        clean_line(record.reason),
        _optional(record.agent_id),
        None if record.answered_at is None else timestamp(record.answered_at),
        timestamp(record.ended_at),
    )
    if not done.endswith(" 1"):
        earlier = await conn.fetchval(_OUTCOME_SQL, call_id)
        if earlier != outcome:
            _log.error("second_outcome", call_id=call_id, kept=earlier, refused=outcome)
        return True
    due_at = record.ended_at if draft["finished"] else record.note_due_at
    await conn.execute(_DUE_SQL, auto_key(call_id), call_id, timestamp(due_at))
    await conn.execute(_NOTIFY_SQL)
    return True


async def _move_due(conn: Connection, record: NoteDueMoved) -> bool:
    call_id = clean_line(record.call_id)
    draft = await conn.fetchrow(_LOCK_DRAFT_SQL, call_id)
    if draft is None:
        return False
    if not draft["finished"]:
        await conn.execute(
            _MOVE_DUE_SQL,
            auto_key(call_id),
            timestamp(record.due_at),
            clean_line(record.agent_id),
        )
        await conn.execute(_NOTIFY_SQL)
    return True


async def _apply_one(conn: Connection, record: Record) -> bool:
    """Whether the call that the record is about is known."""
    match record:
        case CallOpened():
            return await _open(conn, record)
        case CallStep():
            return await _step(conn, record)
        case CallClosed():
            return await _close(conn, record)
        case NoteDueMoved():
            return await _move_due(conn, record)
        case RecordingMade():
            return await recordings.announce(conn, record)
        case _:
            assert_never(record)


async def apply(
    conn: Connection, records: Sequence[Record], journal_seq: int, *, epoch: int | None = None
) -> Applied:
    """Write ``records`` in order, in one transaction; they cover the journal up to ``journal_seq``.

    Raises ``StaleEpochError`` (nothing is written) when ``epoch`` is not the newest one.
    """
    orphans: list[CallId] = []
    async with conn.transaction():
        position = await conn.fetchrow(_LOCK_POSITION_SQL)
        newest = None if position is None else position["epoch"]
        if epoch is not None and newest != epoch:
            raise StaleEpochError(
                f"Another switchboard writes since epoch {newest}; this one has {epoch}",
                remedy="Let the newer one run, or restart this one to take over",
            )
        for record in records:
            if not await _apply_one(conn, record):
                orphans.append(record.call_id)
                _log.error(
                    "record_without_call", call_id=record.call_id, record=type(record).__name__
                )
        await conn.execute(_ADVANCE_SQL, journal_seq)
    return Applied(tuple(orphans))


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

"""What callers said: announced with the call's records, the audio kept when it has been fetched.

Theory of operation. A row comes with the call's records and is a debt until it has its audio, or it
is known that there will be none (``lost``). A note waits for the audio for a while (see
``store.outbox``); what comes after the note has left becomes a correction. The audio is erased on
demand, or when its time after the note's delivery to the note service is over; the row stays and
says when. The call's row in ``note_drafts`` is the lock, as for everything about its note.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from vsek.domain.note import auto_key
from vsek.domain.text import clean_line
from vsek.errors import InputError
from vsek.store.pool import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vsek.domain.records import RecordingMade
    from vsek.store.pool import Connection

_ANNOUNCE_SQL = """
INSERT INTO vsek.recordings (call_id, kind, name, at, consent)
SELECT id, $2, $3, $4, $5 FROM vsek.calls WHERE id = $1
ON CONFLICT (call_id, name) DO NOTHING
"""
_IS_THERE_SQL = "SELECT EXISTS (SELECT FROM vsek.recordings WHERE call_id = $1 AND name = $2)"
_OWED_SQL = """
SELECT call_id, name FROM vsek.recordings
WHERE wav IS NULL AND lost = '' AND deleted_at IS NULL
ORDER BY announced_at LIMIT 100
"""
_KEEP_SQL = """
UPDATE vsek.recordings SET wav = $3, seconds = $4, lost = ''
WHERE call_id = $1 AND name = $2 AND wav IS NULL AND deleted_at IS NULL
"""
_LOST_SQL = """
UPDATE vsek.recordings SET lost = $3
WHERE call_id = $1 AND name = $2 AND wav IS NULL AND deleted_at IS NULL
"""
_AWAITED_SQL = """
SELECT max(announced_at) FROM vsek.recordings
WHERE call_id = $1 AND wav IS NULL AND lost = '' AND deleted_at IS NULL
"""
_OF_CALL_SQL = """
SELECT name, kind, at, consent, seconds, lost, deleted_at, coalesce(octet_length(wav), 0) AS size,
       coalesce(encode(sha256(wav), 'hex'), '') AS sha256
FROM vsek.recordings WHERE call_id = $1 ORDER BY at, name
"""
_WAV_SQL = "SELECT wav FROM vsek.recordings WHERE call_id = $1 AND name = $2"
_BY_HASH_SQL = """
SELECT wav FROM vsek.recordings WHERE call_id = $1 AND sha256(wav) = decode($2, 'hex') LIMIT 1
"""
_ERASE_SQL = """
UPDATE vsek.recordings SET wav = NULL, deleted_at = $2 WHERE call_id = $1 AND deleted_at IS NULL
"""
# A call whose note is still due keeps its audio, however old it is.
_EXPIRE_SQL = """
UPDATE vsek.recordings AS r SET wav = NULL, deleted_at = $2
WHERE r.wav IS NOT NULL
  AND NOT EXISTS (
      SELECT FROM vsek.note_due d
      WHERE d.call_id = r.call_id AND (d.acked_at IS NULL OR d.acked_at > $1)
  )
  AND EXISTS (SELECT FROM vsek.note_due d WHERE d.call_id = r.call_id)
"""

# A call's end and the news of its recordings are written together, so a call that has ended has all
# that there will be. Only the newest epoch is told anything.
_UNWANTED_SQL = """
SELECT w.name FROM unnest($1::text[], $2::text[]) AS w (name, call_id)
JOIN vsek.calls AS c ON c.id = w.call_id
WHERE c.id = ANY ($2) AND c.ended_at < $3
  AND EXISTS (SELECT FROM vsek.journal WHERE epoch = $4)
  AND NOT EXISTS (
      SELECT FROM vsek.recordings AS r
      WHERE r.call_id = w.call_id AND r.name = w.name
        AND r.wav IS NULL AND r.lost = '' AND r.deleted_at IS NULL
  )
"""

_LOCK_DRAFT_SQL = "SELECT revision FROM vsek.note_drafts WHERE call_id = $1 FOR UPDATE"
_NEWEST_DUE_SQL = """
SELECT key, left_at FROM vsek.note_due WHERE call_id = $1 ORDER BY id DESC LIMIT 1
"""
_WAIT_NO_MORE_SQL = "UPDATE vsek.note_due SET retry_at = NULL WHERE key = $1 AND left_at IS NULL"
_REVISE_SQL = "UPDATE vsek.note_drafts SET revision = $2 WHERE call_id = $1"
_CORRECT_SQL = """
INSERT INTO vsek.note_due (key, call_id, corrects, due_at) VALUES ($1, $2, $3, $4)
"""
_NOTIFY_SQL = "NOTIFY vsek_note_due"

WAIT_S = 30.0
"""How long a note waits for the audio that belongs to it, from when the audio was announced."""


@dataclass(frozen=True, slots=True)
class Owed:
    """A recording that was announced and whose audio is not here."""

    call_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording without its audio."""

    name: str
    kind: Literal["screening", "voicemail"]
    at: datetime
    consent: bool
    seconds: float | None
    lost: str
    """Why there is no audio and will be none."""
    deleted_at: datetime | None
    size: int
    """Bytes of the audio; 0: it is not here."""
    sha256: str
    """Of the audio; empty: it is not here."""


async def announce(conn: Connection, record: RecordingMade) -> bool:
    """There is a recording; ``False`` when its call is not known."""
    call_id, name = clean_line(record.call_id), clean_line(record.name)
    done = await conn.execute(
        _ANNOUNCE_SQL, call_id, record.kind, name, timestamp(record.at), record.consent
    )
    if done.endswith(" 1"):
        return True
    return bool(await conn.fetchval(_IS_THERE_SQL, call_id, name))


async def owed(conn: Connection) -> list[Owed]:
    """Recordings whose audio is still to be fetched, up to 100, the oldest first."""
    return [Owed(row["call_id"], row["name"]) for row in await conn.fetch(_OWED_SQL)]


async def keep(
    conn: Connection,
    call_id: str,
    name: str,
    wav: bytes,
    seconds: float,
    *,
    now: float | None = None,
) -> bool:
    """Keep the audio of an announced recording; ``False`` when none was announced.

    A note that waits for it leaves now; one that has left is corrected. ``now`` is Unix seconds
    (default: the clock).
    """
    moment = timestamp(time.time() if now is None else now)
    key, called = clean_line(call_id), clean_line(name)
    async with conn.transaction():
        draft = await conn.fetchrow(_LOCK_DRAFT_SQL, key)
        if draft is None:
            return False
        done = await conn.execute(_KEEP_SQL, key, called, wav, seconds)
        if not done.endswith(" 1"):
            return bool(await conn.fetchval(_IS_THERE_SQL, key, called))
        newest = await conn.fetchrow(_NEWEST_DUE_SQL, key)
        if newest is not None and newest["left_at"] is not None:
            revision = draft["revision"] + 1
            await conn.execute(_REVISE_SQL, key, revision)
            await conn.execute(_CORRECT_SQL, auto_key(key, revision), key, newest["key"], moment)
            await conn.execute(_NOTIFY_SQL)
        await _no_more_waiting(conn, key)
    return True


async def lost(conn: Connection, call_id: str, name: str, why: str) -> None:
    """There will be no audio; ``why`` in plain words."""
    key = clean_line(call_id)
    async with conn.transaction():
        await conn.fetchrow(_LOCK_DRAFT_SQL, key)
        await conn.execute(_LOST_SQL, key, clean_line(name), clean_line(why) or "unknown")
        await _no_more_waiting(conn, key)


async def _no_more_waiting(conn: Connection, call_id: str) -> None:
    """The call's note may leave, unless it waits for another recording."""
    newest = await conn.fetchrow(_NEWEST_DUE_SQL, call_id)
    if newest is None or newest["left_at"] is not None:
        return
    if await conn.fetchval(_AWAITED_SQL, call_id) is None:
        await conn.execute(_WAIT_NO_MORE_SQL, newest["key"])
        await conn.execute(_NOTIFY_SQL)


async def awaited_until(conn: Connection, call_id: str) -> datetime | None:
    """Until when a note should wait for audio that is on its way; ``None``: nothing is."""
    since: datetime | None = await conn.fetchval(_AWAITED_SQL, call_id)
    return None if since is None else since + timedelta(seconds=WAIT_S)


async def unwanted(
    conn: Connection, owners: Mapping[str, str], before: float, *, epoch: int
) -> list[str]:
    """Which of these recordings (name → call) nobody will fetch: their call ended before that
    moment (Unix seconds), and no audio is owed. None unless ``epoch`` is the newest."""
    found = await conn.fetch(
        _UNWANTED_SQL, list(owners), list(owners.values()), timestamp(before), epoch
    )
    return [row["name"] for row in found]


async def of_call(conn: Connection, call_id: str) -> list[Recording]:
    """A call's recordings in the order in which they were made."""
    return [Recording(**dict(row)) for row in await conn.fetch(_OF_CALL_SQL, clean_line(call_id))]


async def fetch(conn: Connection, call_id: str, name: str) -> bytes | None:
    """The audio of a recording, ``None`` if it is not here."""
    wav: bytes | None = await conn.fetchval(_WAV_SQL, clean_line(call_id), clean_line(name))
    return wav


async def by_hash(conn: Connection, call_id: str, sha256: str) -> bytes | None:
    """The audio of the call's recording with this hash, ``None`` if it is not here."""
    wav: bytes | None = await conn.fetchval(_BY_HASH_SQL, clean_line(call_id), sha256)
    return wav


async def newest_audio(conn: Connection, call_id: str, number: int | None = None) -> bytes:
    """The audio of a call's ``number``-th recording (from 1), or of the latest that has any.

    Raises ``InputError`` when there is none, which says why.
    """
    found = await of_call(conn, call_id)
    wanted = found if number is None else found[number - 1 : number]
    for recording in reversed(wanted):
        wav = await fetch(conn, call_id, recording.name)
        if wav is not None:
            return wav
    if not wanted:
        why, remedy = "has no such recording", "'vsek call show' lists a call's recordings"
    elif wanted[-1].deleted_at is not None:
        why, remedy = f"had a recording; it was erased on {wanted[-1].deleted_at:%d %B %Y}", ""
    elif wanted[-1].lost:
        why, remedy = f"has no audio: {wanted[-1].lost}", ""
    else:
        why, remedy = "has a recording that is still being fetched from Asterisk", "Try again"
    raise InputError(
        f"Call {call_id} {why}",
        field="call",
        value=call_id,
        remedy=remedy,
        error_id="no_recording",
    )


async def erase(conn: Connection, call_id: str, *, now: float | None = None) -> int:
    """Erase the audio of all of a call's recordings, also what is yet to come; how many."""
    moment = timestamp(time.time() if now is None else now)
    done = await conn.execute(_ERASE_SQL, clean_line(call_id), moment)
    return int(done.split()[-1])


async def expire(conn: Connection, keep_days: float, *, now: float | None = None) -> int:
    """Erase audio whose note the note service took over more than ``keep_days`` ago; how many."""
    at = time.time() if now is None else now
    done = await conn.execute(_EXPIRE_SQL, timestamp(at - keep_days * 86400), timestamp(at))
    return int(done.split()[-1])

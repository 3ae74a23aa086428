"""What callers said: announced with the call's records, the audio kept when it has been fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vsek.domain.text import clean_line
from vsek.store.pool import timestamp

if TYPE_CHECKING:
    from vsek.domain.records import RecordingMade
    from vsek.store.pool import Connection

_ANNOUNCE_SQL = """
INSERT INTO vsek.recordings (call_id, kind, name, at, consent)
SELECT id, $2, $3, $4, $5 FROM vsek.calls WHERE id = $1
ON CONFLICT (call_id, name) DO NOTHING
"""
_IS_THERE_SQL = "SELECT EXISTS (SELECT FROM vsek.recordings WHERE call_id = $1 AND name = $2)"
_KEEP_SQL = """
UPDATE vsek.recordings SET wav = $3, seconds = $4
WHERE call_id = $1 AND name = $2 AND deleted_at IS NULL
"""
_LOST_SQL = """
UPDATE vsek.recordings SET lost = $3 WHERE call_id = $1 AND name = $2 AND wav IS NULL
"""


async def announce(conn: Connection, record: RecordingMade) -> bool:
    """There is a recording; ``False`` when its call is not known."""
    call_id, name = clean_line(record.call_id), clean_line(record.name)
    done = await conn.execute(
        _ANNOUNCE_SQL, call_id, record.kind, name, timestamp(record.at), record.consent
    )
    if done.endswith(" 1"):
        return True
    return bool(await conn.fetchval(_IS_THERE_SQL, call_id, name))


async def keep(conn: Connection, call_id: str, name: str, wav: bytes, seconds: float) -> bool:
    """Keep the audio of an announced recording; ``False`` when none was announced."""
    done = await conn.execute(_KEEP_SQL, clean_line(call_id), clean_line(name), wav, seconds)
    return done.endswith(" 1")


async def lost(conn: Connection, call_id: str, name: str, why: str) -> None:
    """There will be no audio; ``why`` in plain words."""
    await conn.execute(_LOST_SQL, clean_line(call_id), clean_line(name), clean_line(why))

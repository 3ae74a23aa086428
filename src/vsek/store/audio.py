"""Sounds in the database, found by their content, and what they were made from.

Making a sound (speech, conversion) takes long and stays outside of transactions; what was made
from the same source before is not made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from vsek.domain.sounds import WantedSound
from vsek.errors import InputError

if TYPE_CHECKING:
    from vsek.store.pool import Connection

__all__ = ["MadeSound", "SoundMaker", "WantedSound", "digest", "ensure", "fetch", "make", "store"]

_FIND_SQL = "SELECT source, sha256 FROM vsek.audio_sources WHERE source = ANY($1::text[])"
_EXISTS_SQL = "SELECT EXISTS (SELECT FROM vsek.audio WHERE sha256 = $1)"
_ADD_SQL = "INSERT INTO vsek.audio (sha256, wav) VALUES ($1, $2) ON CONFLICT (sha256) DO NOTHING"
_ADD_SOURCE_SQL = """
INSERT INTO vsek.audio_sources (source, sha256) VALUES ($1, $2)
ON CONFLICT (source) DO UPDATE SET sha256 = excluded.sha256
"""
_FETCH_SQL = "SELECT sha256, wav FROM vsek.audio WHERE sha256 = ANY($1::text[])"


class SoundMaker(Protocol):
    """Makes sounds as callers hear them (``vsek.pbx.sounds`` has one)."""

    async def source(self, wanted: WantedSound) -> str:
        """What the sound is made from, in a line: equal lines give equal sounds.

        Raises ``InputError`` when the file cannot be read or nothing can speak the text.
        """

    async def make(self, wanted: WantedSound) -> bytes:
        """The sound as WAV, 8 kHz, mono, 16 bit. Raises ``InputError`` when it cannot be made."""


@dataclass(frozen=True, slots=True)
class MadeSound:
    """A sound that is to be stored together with who uses it."""

    sha256: str
    source: str
    wav: bytes | None
    """``None``: it is in the database already."""


def digest(wav: bytes) -> str:
    """The name of a sound."""
    return hashlib.sha256(wav).hexdigest()


async def make(conn: Connection, maker: SoundMaker, wanted: WantedSound) -> MadeSound:
    """``wanted`` as it is to be stored; nothing is written yet.

    Raises ``InputError`` when it cannot be made, or when a hash names no stored sound.
    """
    if wanted.sound.audio is not None:
        if not await conn.fetchval(_EXISTS_SQL, wanted.sound.audio):
            raise InputError(
                f"There is no sound {wanted.sound.audio[:12]}… in this database",
                field="audio",
                value=wanted.sound.audio,
                remedy="Name the file, or write the text",
                error_id="unknown_sound",
            )
        return MadeSound(wanted.sound.audio, "", None)
    source = await maker.source(wanted)
    known = await conn.fetchrow(_FIND_SQL, [source])
    if known is not None:
        return MadeSound(known["sha256"], source, None)
    wav = await maker.make(wanted)
    return MadeSound(digest(wav), source, wav)


async def store(conn: Connection, sounds: Sequence[MadeSound]) -> None:
    """Write what is not there yet. Belongs into the transaction of whoever uses the sounds."""
    for sound in sounds:
        if sound.wav is not None:
            await conn.execute(_ADD_SQL, sound.sha256, sound.wav)
            await conn.execute(_ADD_SOURCE_SQL, sound.source, sound.sha256)


async def ensure(conn: Connection, maker: SoundMaker, wanted: Sequence[WantedSound]) -> list[str]:
    """Make and store what is missing; the hashes in the order of ``wanted``.

    Raises ``InputError`` as :func:`make` does.
    """
    made = [await make(conn, maker, one) for one in wanted]
    async with conn.transaction():
        await store(conn, made)
    return [sound.sha256 for sound in made]


async def fetch(conn: Connection, hashes: Collection[str]) -> dict[str, bytes]:
    """The WAV data of those of ``hashes`` that exist."""
    rows = await conn.fetch(_FETCH_SQL, sorted(hashes))
    return {row["sha256"]: row["wav"] for row in rows}

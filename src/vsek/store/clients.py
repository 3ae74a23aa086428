"""Clients in the database: import (all or nothing), export, list, show."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from vsek.domain.client import Client
from vsek.domain.ids import ClientId
from vsek.domain.numbers import BLOCK, overlap, starts
from vsek.domain.text import clean_line
from vsek.domain.values import Sound
from vsek.domain.yamlfile import ClientFile, FileError, Problem, read_clients, write_clients
from vsek.errors import InputError, ServiceError
from vsek.store import audio

if TYPE_CHECKING:
    from vsek.store.audio import MadeSound, SoundMaker
    from vsek.store.pool import Connection, Row

# One import at a time, so that nobody claims a number between the check and the writing.
_LOCK_SQL = "LOCK TABLE vsek.clients IN SHARE ROW EXCLUSIVE MODE"
_STATE_SQL = """
SELECT id, account::text AS account, greeting_sound, music_sound, prompt_sound
FROM vsek.clients WHERE id = ANY($1::text[])
"""
_FOREIGN_NUMBERS_SQL = """
SELECT number, client_id FROM vsek.client_numbers
WHERE client_id <> ALL($2::text[])
  AND (number = ANY($1::text[]) OR EXISTS (
    SELECT FROM unnest($3::text[]) AS block WHERE starts_with(number, block)))
ORDER BY number, client_id
"""
_PUT_SQL = """
INSERT INTO vsek.clients AS c (id, name, account, greeting_sound, music_sound, prompt_sound)
VALUES ($1, $2, $3::text::jsonb, $4, $5, $6)
ON CONFLICT (id) DO UPDATE
SET name = excluded.name, account = excluded.account, greeting_sound = excluded.greeting_sound,
    music_sound = excluded.music_sound, prompt_sound = excluded.prompt_sound,
    version = c.version + 1, changed_at = now()
"""
_DROP_NUMBERS_SQL = "DELETE FROM vsek.client_numbers WHERE client_id = ANY($1::text[])"
_PUT_NUMBER_SQL = "INSERT INTO vsek.client_numbers (number, kind, client_id) VALUES ($1, $2, $3)"
_NOTIFY_SQL = "NOTIFY vsek_directory"
_ALL_SQL = """
SELECT id, account::text AS account, greeting_sound, music_sound, prompt_sound, version, added_at,
       changed_at
FROM vsek.clients ORDER BY id
"""
_ONE_SQL = """
SELECT id, account::text AS account, greeting_sound, music_sound, prompt_sound, version, added_at,
       changed_at
FROM vsek.clients WHERE id = $1
"""


@dataclass(frozen=True, slots=True)
class StoredClient:
    """A client as stored."""

    client: Client
    greeting_sound: str | None
    music_sound: str | None
    prompt_sound: str | None
    version: int
    """Counts changes, beginning with 1."""
    added_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import did, in the order of the file."""

    created: tuple[ClientId, ...]
    changed: tuple[ClientId, ...]
    unchanged: tuple[ClientId, ...]


@dataclass(frozen=True, slots=True)
class _Ready:
    """A client whose sounds are made."""

    client: Client
    account: str
    greeting: MadeSound | None
    music: MadeSound | None
    prompt: MadeSound | None

    @property
    def sounds(self) -> list[MadeSound]:
        return [sound for sound in (self.greeting, self.music, self.prompt) if sound]

    @property
    def state(self) -> tuple[str | None, ...]:
        return (
            self.account,
            self.greeting.sha256 if self.greeting else None,
            self.music.sha256 if self.music else None,
            self.prompt.sha256 if self.prompt else None,
        )


async def import_file(
    conn: Connection, path: Path, maker: SoundMaker, *, country: str = "DE", area: str = ""
) -> ImportResult:
    """Import the YAML file ``path``: all of it or, if anything is wrong, nothing.

    Clients in the file are created or replaced, others stay. Doing it twice changes nothing.
    Raises ``FileError`` with every problem and its line; ``InputError`` when the file cannot be
    read.
    """
    try:
        text = await asyncio.to_thread(path.read_bytes)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}",
            field="file",
            value=str(path),
            remedy="Name a YAML file of clients",
        ) from None
    file = read_clients(text, str(path), country, area)
    return await import_clients(conn, file, maker, base=path.parent)


async def import_clients(
    conn: Connection, file: ClientFile, maker: SoundMaker, *, base: Path
) -> ImportResult:
    """Import parsed clients; relative names of sound files are meant from ``base``."""
    ready = await _with_sounds(conn, file, maker, base)
    ids = [client.id for client in file.clients]
    async with conn.transaction():
        await conn.execute(_LOCK_SQL)
        await _check_numbers(conn, file, ids)
        before = {
            row["id"]: (
                _canonical(row["account"]),
                row["greeting_sound"],
                row["music_sound"],
                row["prompt_sound"],
            )
            for row in await conn.fetch(_STATE_SQL, ids)
        }
        created = tuple(one.client.id for one in ready if one.client.id not in before)
        to_write = [one for one in ready if before.get(one.client.id) != one.state]
        await _write(conn, to_write)
    changed = tuple(one.client.id for one in to_write if one.client.id in before)
    unchanged = tuple(i for i in ids if i not in created and i not in changed)
    return ImportResult(created, changed, unchanged)


def _canonical(account: str) -> str:
    """A stored account as this version writes it; as it is when it cannot be read."""
    try:
        return _account(Client.model_validate_json(account))
    except ValidationError:
        return account


def _account(client: Client) -> str:
    return client.model_dump_json(exclude_defaults=True)


async def _with_sounds(
    conn: Connection, file: ClientFile, maker: SoundMaker, base: Path
) -> list[_Ready]:
    problems: list[Problem] = []

    async def made(client: Client, sound: Sound | None, *name: str) -> MadeSound | None:
        if sound is None:
            return None
        try:
            wanted = audio.WantedSound(sound, client.language, base)
            return await audio.make(conn, maker, wanted)
        except InputError as error:
            location = (*file.location(client.id), *name)
            problems.append(file.document.problem(location, error.message, error.remedy))
            return None

    ready = [
        _Ready(
            client,
            _account(client),
            await made(client, client.greeting, "greeting"),
            await made(client, client.music, "music"),
            await made(client, _prompt(client), "screening", "prompt"),
        )
        for client in file.clients
    ]
    if problems:
        raise FileError(file.document.name, problems)
    return ready


def _prompt(client: Client) -> Sound | None:
    return client.screening.prompt if client.screening is not None else None


async def _check_numbers(conn: Connection, file: ClientFile, ids: Sequence[ClientId]) -> None:
    owner_here = {number: client.id for client in file.clients for _, number in client.numbers}
    problems = []
    wider = {block for number in owner_here for block in starts(number)}
    begins = [n.removesuffix(BLOCK) for n in owner_here if n.endswith(BLOCK)]
    taken = [*owner_here, *wider]
    for row in await conn.fetch(_FOREIGN_NUMBERS_SQL, taken, list(ids), begins):
        number = next(n for n in owner_here if overlap(n, row["number"]))
        location = file.number_location(owner_here[number], number)
        theirs = f"client {row['client_id']!r} in the database"
        if number == row["number"]:
            message = f"{number} already belongs to {theirs}"
        else:
            message = f"{number} and {row['number']} of {theirs} have numbers in common"
        remedy = "Take it from that client first: import both in one file"
        problems.append(file.document.problem(location, message, remedy))
    if problems:
        raise FileError(file.document.name, problems)


async def _write(conn: Connection, ready: Sequence[_Ready]) -> None:
    if not ready:
        return
    for one in ready:
        await audio.store(conn, one.sounds)
        await conn.execute(_PUT_SQL, one.client.id, one.client.name, *one.state)
    # All old numbers first: clients of one file may exchange numbers.
    await conn.execute(_DROP_NUMBERS_SQL, [one.client.id for one in ready])
    await conn.executemany(
        _PUT_NUMBER_SQL,
        [(number, kind, one.client.id) for one in ready for kind, number in one.client.numbers],
    )
    await conn.execute(_NOTIFY_SQL)


def _stored(row: Row) -> StoredClient:
    try:
        client = Client.model_validate_json(row["account"])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ServiceError(
            f"Client {row['id']!r} cannot be read: "
            f"{'.'.join(map(str, first['loc']))} {first['msg']}",
            remedy="Import the client again with this version",
            error_id="client_unreadable",
        ) from None
    return StoredClient(
        client,
        row["greeting_sound"],
        row["music_sound"],
        row["prompt_sound"],
        row["version"],
        row["added_at"],
        row["changed_at"],
    )


async def list_clients(conn: Connection) -> list[StoredClient]:
    """All clients by id. Raises ``ServiceError`` when one cannot be read."""
    return [_stored(row) for row in await conn.fetch(_ALL_SQL)]


async def show(conn: Connection, client_id: str) -> StoredClient:
    """One client; raises ``InputError`` when there is none."""
    row = await conn.fetchrow(_ONE_SQL, clean_line(client_id))
    if row is None:
        raise InputError(
            f"There is no client {client_id!r}",
            field="id",
            value=client_id,
            remedy="'vsek client list' shows all",
            error_id="unknown_client",
        )
    return _stored(row)


async def export(
    conn: Connection, ids: Sequence[str] = (), *, audio_folder: Path | None = None
) -> str:
    """The clients ``ids`` (none = all) as YAML that imports to the same clients.

    Sounds that came from files are named by their hash, which only this database knows; with
    ``audio_folder`` they are written there and named as files, relative to the folder's parent.
    Raises ``InputError`` for an unknown id, ``ServiceError`` when the folder cannot be written.
    """
    stored = [await show(conn, one) for one in ids] if ids else await list_clients(conn)
    clients = []
    needed: set[str] = set()
    for one in stored:
        changes: dict[str, Any] = {}
        for name, sound, made in (
            ("greeting", one.client.greeting, one.greeting_sound),
            ("music", one.client.music, one.music_sound),
            ("prompt", _prompt(one.client), one.prompt_sound),
        ):
            if sound is None or sound.text is not None or made is None:
                continue
            needed.add(made)
            if audio_folder is None:
                changes[name] = Sound(audio=made)
            else:
                changes[name] = Sound(file=f"{audio_folder.name}/{made}.wav")
        prompt = changes.pop("prompt", None)
        if prompt is not None and one.client.screening is not None:
            changes["screening"] = one.client.screening.model_copy(update={"prompt": prompt})
        clients.append(one.client.model_copy(update=changes))
    if audio_folder is not None and needed:
        found = await audio.fetch(conn, needed)
        await asyncio.to_thread(_write_sounds, audio_folder, found)
    return write_clients(clients)


def _write_sounds(folder: Path, sounds: dict[str, bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, wav in sounds.items():
            (folder / f"{name}.wav").write_bytes(wav)
    except OSError as error:
        raise ServiceError(
            f"Sounds cannot be written to {folder}: {error.strerror}",
            remedy="Name a folder that can be written",
            error_id="sounds_folder",
        ) from None

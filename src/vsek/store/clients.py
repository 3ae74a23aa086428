"""Clients in the database: import (all or nothing), export, list, show."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from vsek.domain.client import Client
from vsek.domain.distribution import RuleBook, named, unknown_groups, unserved
from vsek.domain.ids import ClientId
from vsek.domain.numbers import BLOCK, overlap, starts
from vsek.domain.text import clean_line
from vsek.domain.values import Sound
from vsek.domain.yamlfile import (
    ClientFile,
    FileError,
    Problem,
    content_of,
    read_clients,
    write_clients,
)
from vsek.errors import InputError, ServiceError
from vsek.store import audio, rules

if TYPE_CHECKING:
    from vsek.store.audio import MadeSound, SoundMaker
    from vsek.store.pool import Connection, Row

_STATE_SQL = """
SELECT id, account::text AS account, greeting_sound, music_sound, prompt_sound,
       announcement_sounds
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
INSERT INTO vsek.clients AS c
    (id, name, account, greeting_sound, music_sound, prompt_sound, announcement_sounds)
VALUES ($1, $2, $3::text::jsonb, $4, $5, $6, $7)
ON CONFLICT (id) DO UPDATE
SET name = excluded.name, account = excluded.account, greeting_sound = excluded.greeting_sound,
    music_sound = excluded.music_sound, prompt_sound = excluded.prompt_sound,
    announcement_sounds = excluded.announcement_sounds,
    version = c.version + 1, changed_at = now()
RETURNING version
"""
_REMEMBER_SQL = """
INSERT INTO vsek.client_history (client_id, version, account, changed_by)
VALUES ($1, $2, $3::text::jsonb, $4)
"""
_DROP_NUMBERS_SQL = "DELETE FROM vsek.client_numbers WHERE client_id = ANY($1::text[])"
_PUT_NUMBER_SQL = "INSERT INTO vsek.client_numbers (number, kind, client_id) VALUES ($1, $2, $3)"
_NOTIFY_SQL = "NOTIFY vsek_directory"
_ALL_SQL = """
SELECT id, account::text AS account, greeting_sound, music_sound, prompt_sound,
       announcement_sounds, version, added_at, changed_at
FROM vsek.clients ORDER BY id
"""
_ONE_SQL = """
SELECT id, account::text AS account, greeting_sound, music_sound, prompt_sound,
       announcement_sounds, version, added_at, changed_at
FROM vsek.clients WHERE id = $1
"""


@dataclass(frozen=True, slots=True)
class StoredClient:
    """A client as stored."""

    client: Client
    greeting_sound: str | None
    music_sound: str | None
    prompt_sound: str | None
    announcement_sounds: tuple[str | None, ...]
    """For each treatment its announcement."""
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
    warnings: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class _Ready:
    """A client whose sounds are made."""

    client: Client
    greeting: MadeSound | None
    music: MadeSound | None
    prompt: MadeSound | None
    announcements: tuple[MadeSound | None, ...]

    @property
    def sounds(self) -> list[MadeSound]:
        made = (self.greeting, self.music, self.prompt, *self.announcements)
        return [sound for sound in made if sound]

    @property
    def stored(self) -> _Stored:
        one, two, three = (
            sound.sha256 if sound else None for sound in (self.greeting, self.music, self.prompt)
        )
        said = tuple(sound.sha256 if sound else "" for sound in self.announcements)
        return _Stored(account(self.client), one, two, three, said)


class _Stored(NamedTuple):
    """The columns of a client that an import writes."""

    account: str
    greeting: str | None
    music: str | None
    prompt: str | None
    announcements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Before:
    """A client as it was; without ``client`` if this version cannot read it."""

    stored: _Stored
    client: Client | None

    @classmethod
    def of(cls, row: Row) -> _Before:
        text, client = row["account"], None
        with suppress(ValidationError):
            client = Client.model_validate_json(text)
            text = account(client)  # as this version writes it
        stored = _Stored(
            text,
            row["greeting_sound"],
            row["music_sound"],
            row["prompt_sound"],
            tuple(row["announcement_sounds"]),
        )
        return cls(stored, client)


async def import_file(
    conn: Connection,
    path: Path,
    maker: SoundMaker,
    *,
    country: str = "DE",
    area: str = "",
    by: str = "",
) -> ImportResult:
    """Import the YAML file ``path``: all of it or, if anything is wrong, nothing.

    Clients in the file are created or replaced, others stay. Doing it twice changes nothing. ``by``
    is who does it. Raises ``FileError`` with every problem and its line; ``InputError`` when the
    file cannot be read.
    """
    text = await asyncio.to_thread(content_of, path, field="file", holds="clients")
    file = read_clients(text, str(path), country, area)
    return await import_clients(conn, file, maker, base=path.parent, by=by)


async def import_clients(
    conn: Connection, file: ClientFile, maker: SoundMaker, *, base: Path, by: str = ""
) -> ImportResult:
    """Import parsed clients; relative names of sound files are meant from ``base``."""
    made, problems = await _with_sounds(conn, file, maker, base)
    ids = [client.id for client in file.clients]
    async with conn.transaction():
        # Nobody claims a number, or drops a group, between the checks and the writing.
        await rules.lock(conn)
        problems += await _numbers_of_others(conn, file, ids)
        book = (await rules.load(conn)).book
        problems += _unknown_groups(file, book)
        if problems:
            raise FileError(file.document.name, problems)
        warnings = await _doubts(conn, file, book) + over(file, time.time())
        before = {row["id"]: _Before.of(row) for row in await conn.fetch(_STATE_SQL, ids)}
        ready = [_with_instructions(one, before.get(one.client.id)) for one in made]
        created = tuple(one.client.id for one in ready if one.client.id not in before)
        to_write = [
            one
            for one in ready
            if one.client.id in created or before[one.client.id].stored != one.stored
        ]
        await _write(conn, to_write, by)
        moved = [
            one.client.id
            for one in to_write
            if _part(one.client, one.stored) != _part_before(before.get(one.client.id))
        ]
        if moved:
            source = clean_line(Path(file.document.name).name)
            await rules.clients_changed(conn, moved, source, by)
    changed = tuple(one.client.id for one in to_write if one.client.id in before)
    unchanged = tuple(i for i in ids if i not in created and i not in changed)
    return ImportResult(created, changed, unchanged, warnings)


def account(client: Client) -> str:
    """A client as it is stored."""
    return client.model_dump_json(exclude_defaults=True)


def _part(client: Client, stored: _Stored) -> object:
    """The client's part in the rules of the distribution."""
    return client.distribution(), stored.announcements


def _part_before(before: _Before | None) -> object:
    if before is None or before.client is None:
        return {}, ()
    return _part(before.client, before.stored)


def _with_instructions(one: _Ready, before: _Before | None) -> _Ready:
    """A file that says nothing of temporary instructions leaves them as they are: they are made
    from day to day, beside the file."""
    if before is None or before.client is None or "temporary" in one.client.model_fields_set:
        return one
    kept = {"temporary": before.client.temporary}
    return replace(one, client=one.client.model_copy(update=kept))


def over(file: ClientFile, now: float) -> tuple[Problem, ...]:
    """Warnings about temporary instructions that ended before ``now`` (Unix seconds): a wrong year
    would otherwise never be noticed."""
    return tuple(
        file.document.problem(
            ("clients", at, "temporary", number),
            "is over already, agents never see it",
            "Check until, or take it out",
        )
        for at, client in enumerate(file.clients)
        for number, one in enumerate(client.temporary)
        if one.span(client.timezone)[1] <= now
    )


def _unknown_groups(file: ClientFile, book: RuleBook) -> list[Problem]:
    known = (
        named(book.groups) if book.groups else "none; import the rules first (vsek rules import)"
    )
    problems = []
    for at, client in enumerate(file.clients):
        unknown = unknown_groups(client.wish(), book)
        places = [(("clients", at, "group"), client.group)] + [
            (("clients", at, "when_nobody_can", number, "group"), treatment.group)
            for number, treatment in enumerate(client.when_nobody_can)
        ]
        problems += [
            file.document.problem(place, f"there is no group {name!r}", f"Known: {known}")
            for place, name in places
            if name in unknown
        ]
    return problems


async def _doubts(conn: Connection, file: ClientFile, book: RuleBook) -> tuple[Problem, ...]:
    """Warnings about calls that nobody can take."""
    agents = await rules.known_agents(conn)
    wishes = [client.wish() for client in file.clients]
    return tuple(
        file.document.problem(
            (*file.location(ClientId(wish.client_id)), "requires" if wish.requires else "group"),
            reason,
            "Give agents the skills and the clearance (vsek rules import)",
        )
        for wish, reason in (unserved(wishes, book, agents) if agents else ())
    )


async def _with_sounds(
    conn: Connection, file: ClientFile, maker: SoundMaker, base: Path
) -> tuple[list[_Ready], list[Problem]]:
    """The clients with their sounds, and what is wrong with those sounds."""
    problems: list[Problem] = []

    async def made(client: Client, sound: Sound | None, *name: str | int) -> MadeSound | None:
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
            await made(client, client.greeting, "greeting"),
            await made(client, client.music, "music"),
            await made(client, _prompt(client), "screening", "prompt"),
            tuple(
                [
                    await made(client, one.announcement, "when_nobody_can", at, "announcement")
                    for at, one in enumerate(client.when_nobody_can)
                ]
            ),
        )
        for client in file.clients
    ]
    return ready, problems


def _prompt(client: Client) -> Sound | None:
    return client.screening.prompt if client.screening is not None else None


async def _numbers_of_others(
    conn: Connection, file: ClientFile, ids: Sequence[ClientId]
) -> list[Problem]:
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
    return problems


async def remember(
    conn: Connection, client_id: ClientId, version: int, account: str, by: str
) -> None:
    """Keep a new version of an account for later; ``by`` is who made it."""
    await conn.execute(_REMEMBER_SQL, client_id, version, account, clean_line(by))


async def _write(conn: Connection, ready: Sequence[_Ready], by: str) -> None:
    if not ready:
        return
    for one in ready:
        await audio.store(conn, one.sounds)
        stored = one.stored
        version = await conn.fetchval(_PUT_SQL, one.client.id, one.client.name, *stored)
        await remember(conn, one.client.id, version, stored.account, by)
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
        tuple(sound or None for sound in row["announcement_sounds"]),
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

        def named(sound: Sound | None, made: str | None) -> Sound | None:
            """A sound that came from a file is named so that it can be found again."""
            if sound is None or sound.text is not None or made is None:
                return sound
            needed.add(made)
            if audio_folder is None:
                return Sound(audio=made)
            return Sound(file=f"{audio_folder.name}/{made}.wav")

        clients.append(_renamed(one, named))
    if audio_folder is not None and needed:
        found = await audio.fetch(conn, needed)
        await asyncio.to_thread(_write_sounds, audio_folder, found)
    return write_clients(clients)


def _renamed(
    one: StoredClient, named: Callable[[Sound | None, str | None], Sound | None]
) -> Client:
    client = one.client
    sounds = (*one.announcement_sounds, *(None for _ in client.when_nobody_can))
    changes: dict[str, Any] = {
        "greeting": named(client.greeting, one.greeting_sound),
        "music": named(client.music, one.music_sound),
        "when_nobody_can": tuple(
            treatment.model_copy(update={"announcement": named(treatment.announcement, sound)})
            for treatment, sound in zip(client.when_nobody_can, sounds, strict=False)
        ),
    }
    if client.screening is not None:
        prompt = {"prompt": named(client.screening.prompt, one.prompt_sound)}
        changes["screening"] = client.screening.model_copy(update=prompt)
    return client.model_copy(update=changes)


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

"""The rules of the distribution in the database: import (all or nothing), export, history.

Every change is a row of ``vsek.rules`` and has a version. Clients have their own part in the rules:
when an import of clients changes that, it raises the version as well (:func:`clients_changed`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from pydantic import ValidationError

from vsek.domain.client import Client
from vsek.domain.distribution import (
    RuleBook,
    Wish,
    doubts,
    mistakes,
    unknown_groups,
    unserved,
)
from vsek.domain.rulesfile import RulesFile, read_rules, write_rules
from vsek.domain.strict import Remark
from vsek.domain.text import clean_line
from vsek.domain.yamlfile import Problem, content_of
from vsek.errors import InputError, ServiceError

if TYPE_CHECKING:
    from vsek.store.pool import Connection, Row

_log = structlog.get_logger(__name__)

# Clients and rules refer to each other: one import at a time, and always in this order.
_LOCK_SQL = """
LOCK TABLE vsek.clients IN SHARE ROW EXCLUSIVE MODE;
LOCK TABLE vsek.rules IN SHARE ROW EXCLUSIVE MODE;
"""
_CURRENT_SQL = """
SELECT version, book::text AS book,
       (SELECT coalesce(max(version), 0) FROM vsek.rules) AS newest
FROM vsek.rules WHERE book IS NOT NULL ORDER BY version DESC LIMIT 1
"""
_NEWEST_SQL = "SELECT coalesce(max(version), 0) FROM vsek.rules"
_AT_SQL = """
SELECT version, book::text AS book, version AS newest
FROM vsek.rules WHERE book IS NOT NULL AND version <= $1 ORDER BY version DESC LIMIT 1
"""
_ADD_SQL = """
INSERT INTO vsek.rules (version, book, clients, source, changed_by)
SELECT coalesce(max(version), 0) + 1, $1::json, $2, $3, $4 FROM vsek.rules
RETURNING version
"""
_HISTORY_SQL = """
SELECT version, book IS NOT NULL AS has_book, clients, source, changed_by, changed_at
FROM vsek.rules ORDER BY version DESC LIMIT $1
"""
_AGENTS_SQL = "SELECT id FROM vsek.agents WHERE removed_at IS NULL ORDER BY id"
_ACCOUNTS_SQL = "SELECT account::text AS account FROM vsek.clients ORDER BY id"
_NOTIFY_SQL = "NOTIFY vsek_directory"

_NAMED = 5
"""So many clients are named in one warning."""


@dataclass(frozen=True, slots=True)
class StoredRules:
    """The rules as stored; version 0 is the time before the first import."""

    book: RuleBook
    version: int
    """Counts the changes, those of clients included."""


@dataclass(frozen=True, slots=True)
class RulesImport:
    """What an import did."""

    version: int
    changed: bool
    warnings: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the rules."""

    version: int
    rules: bool
    """Whether rules were imported; else the part of ``clients`` changed."""
    clients: tuple[str, ...]
    source: str
    """The file."""
    changed_by: str
    changed_at: datetime


async def import_file(conn: Connection, path: Path, *, by: str = "") -> RulesImport:
    """Import the YAML file ``path`` in place of the rules so far, or change nothing.

    Doing it twice changes nothing. ``by`` is who does it. Raises ``FileError`` with every problem
    and its line; ``InputError`` when the file cannot be read.
    """
    text = await asyncio.to_thread(content_of, path, field="file", holds="rules")
    return await import_rules(conn, read_rules(text, str(path)), by=by)


async def import_rules(conn: Connection, file: RulesFile, *, by: str = "") -> RulesImport:
    """Import parsed rules."""
    book = file.book
    async with conn.transaction():
        await lock(conn)
        agents = await known_agents(conn)
        wishes = await _wishes(conn)
        file.refuse([*mistakes(book, agents), *_missing_groups(book, wishes)])
        remarks = [*doubts(book, agents, wishes), *_unserved(book, agents, wishes)]
        warnings = tuple(file.problems(remarks))
        before = await current(conn)
        if before.version and before.book == book and _same_order(before.book, book):
            return RulesImport(before.version, False, warnings)
        text = book.model_dump_json(exclude_defaults=True)
        source = clean_line(Path(file.document.name).name)
        version = await conn.fetchval(_ADD_SQL, text, [], source, clean_line(by))
        await conn.execute(_NOTIFY_SQL)
    return RulesImport(version, True, warnings)


def _same_order(one: RuleBook, other: RuleBook) -> bool:
    """Equal mappings may differ in the order of their keys, and circles have one."""
    return all(
        list(group.circles) == list(other.groups[name].circles)
        for name, group in one.groups.items()
    )


def _missing_groups(book: RuleBook, wishes: Iterable[Wish]) -> list[Remark]:
    users: dict[str, list[str]] = {}
    for wish in wishes:
        for name in unknown_groups(wish, book):
            users.setdefault(name, []).append(wish.client_id)
    return [
        Remark(
            ("groups",),
            f"the group {name!r} is missing, which {_named(clients)}",
            "Add it, or import those clients with another group first",
        )
        for name, clients in users.items()
    ]


def _named(clients: Sequence[str]) -> str:
    named = ", ".join(repr(client_id) for client_id in clients[:_NAMED])
    if len(clients) == 1:
        return f"client {named} names"
    more = f" and {len(clients) - _NAMED} more" if len(clients) > _NAMED else ""
    return f"clients {named}{more} name"


def _unserved(book: RuleBook, agents: Sequence[str], wishes: Iterable[Wish]) -> list[Remark]:
    same: dict[tuple[str, str], list[str]] = {}
    for wish, reason in unserved(wishes, book, agents) if agents else ():
        same.setdefault((wish.group, reason), []).append(wish.client_id)
    found = []
    for (group, reason), clients in same.items():
        named = ", ".join(repr(client_id) for client_id in clients[:_NAMED])
        more = f" and {len(clients) - _NAMED} more" if len(clients) > _NAMED else ""
        location = ("groups", group) if group else ("agents",)
        message = f"nobody can serve {named}{more}: {reason}"
        found.append(Remark(location, message, "Give agents the skills and the clearance"))
    return found


async def clients_changed(conn: Connection, clients: Sequence[str], source: str, by: str) -> int:
    """The part of these clients changed: a new version. Belongs into the same transaction."""
    version: int = await conn.fetchval(_ADD_SQL, None, list(clients), source, clean_line(by))
    return version


async def lock(conn: Connection) -> None:
    """Keep other imports out until the end of the transaction."""
    await conn.execute(_LOCK_SQL)


async def known_agents(conn: Connection) -> list[str]:
    """The ids of all agents."""
    return [row["id"] for row in await conn.fetch(_AGENTS_SQL)]


async def _wishes(conn: Connection) -> list[Wish]:
    wishes = []
    for row in await conn.fetch(_ACCOUNTS_SQL):
        try:
            wishes.append(Client.model_validate_json(row["account"]).wish())
        except ValidationError:
            continue  # told by whoever reads the clients themselves
    return wishes


async def current(conn: Connection) -> StoredRules:
    """The rules that count. Raises ``ServiceError`` when this version cannot read them."""
    row = await conn.fetchrow(_CURRENT_SQL)
    if row is None:
        return StoredRules(RuleBook(), await conn.fetchval(_NEWEST_SQL))
    return StoredRules(_read(row), row["newest"])


async def at_version(conn: Connection, version: int) -> StoredRules:
    """The rules as they were at ``version``. Raises ``InputError`` when there was none."""
    newest = await conn.fetchval(_NEWEST_SQL)
    if not 0 <= version <= newest:
        raise InputError(
            f"There is no version {version} of the rules",
            field="--version",
            value=version,
            remedy="'vsek rules history' shows all",
            error_id="unknown_rules",
        )
    row = await conn.fetchrow(_AT_SQL, version)
    return StoredRules(RuleBook() if row is None else _read(row), version)


def _read(row: Row) -> RuleBook:
    try:
        return RuleBook.model_validate_json(row["book"])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ServiceError(
            f"The rules (version {row['version']}) cannot be read: "
            f"{'.'.join(map(str, first['loc']))} {first['msg']}",
            remedy="Import the rules again with this version of vsek",
            error_id="rules_unreadable",
        ) from None


async def load(conn: Connection) -> StoredRules:
    """The rules for the switchboard: calls must go on even if they cannot be read."""
    try:
        return await current(conn)
    except ServiceError as error:
        _log.error("rules_unreadable", error=error.message, remedy=error.remedy)
        return StoredRules(RuleBook(), await conn.fetchval(_NEWEST_SQL))


async def history(conn: Connection, limit: int = 50) -> list[Change]:
    """The newest changes, the newest first."""
    return [
        Change(
            row["version"],
            row["has_book"],
            tuple(row["clients"]),
            row["source"],
            row["changed_by"],
            row["changed_at"],
        )
        for row in await conn.fetch(_HISTORY_SQL, limit)
    ]


async def export(conn: Connection, version: int | None = None) -> str:
    """The rules as YAML that imports to the same rules; those of ``version``, or the current ones.

    Of the current ones agents who are no more are left out: they could not be imported.
    """
    if version is not None:
        return write_rules((await at_version(conn, version)).book)
    book = (await current(conn)).book
    known = set(await known_agents(conn))
    kept = {name: agent for name, agent in book.agents.items() if name in known}
    return write_rules(book.model_copy(update={"agents": kept}))

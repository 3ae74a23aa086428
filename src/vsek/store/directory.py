"""Everything that the switchboard must know about clients, agents and rules, in one read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog
from pydantic import ValidationError

from vsek.domain.agent import Agent
from vsek.domain.client import Client
from vsek.domain.directory import ClientEntry, Directory
from vsek.domain.ids import AgentId, ClientId
from vsek.store import rules

if TYPE_CHECKING:
    from vsek.store.pool import Connection, Row

__all__ = ["ClientEntry", "Directory", "load"]

_log = structlog.get_logger(__name__)

_CLIENTS_SQL = """
SELECT id, account::text AS account, greeting_sound, music_sound, prompt_sound,
       announcement_sounds
FROM vsek.clients ORDER BY id
"""
_AGENTS_SQL = """
SELECT id, name, language, ha1 FROM vsek.agents WHERE removed_at IS NULL ORDER BY id
"""


async def load(conn: Connection) -> Directory:
    """All clients, agents and rules as of one moment. ``conn`` must not be inside a transaction.

    Without rules that this version can read there are none: everybody takes everything.
    A client that this version cannot read is left out, named in ``unreadable`` and logged: one
    wrong row must not stop the calls of all others.
    """
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        client_rows = await conn.fetch(_CLIENTS_SQL)
        agent_rows = await conn.fetch(_AGENTS_SQL)
        stored = await rules.load(conn)
    # In a thread: thousands of accounts take longer than a caller may wait.
    clients, unreadable = await asyncio.to_thread(_clients, client_rows)
    agents = {
        AgentId(row["id"]): Agent(
            id=row["id"], name=row["name"], language=row["language"], ha1=row["ha1"]
        )
        for row in agent_rows
    }
    return Directory(clients, agents, unreadable, stored.book, stored.version)


def _clients(
    rows: Sequence[Row],
) -> tuple[dict[ClientId, ClientEntry], dict[ClientId, str]]:
    clients: dict[ClientId, ClientEntry] = {}
    unreadable: dict[ClientId, str] = {}
    for row in rows:
        try:
            client = Client.model_validate_json(row["account"])
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            unreadable[ClientId(row["id"])] = reason
            _log.error("client_unreadable", client_id=row["id"], reason=reason)
            continue
        clients[client.id] = ClientEntry(
            client,
            row["greeting_sound"],
            row["music_sound"],
            row["prompt_sound"],
            tuple(sound or None for sound in row["announcement_sounds"]),
        )
    return clients, unreadable

"""Agents in the database. The secret itself is never stored, only its digest hash."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, get_args

from vsek.domain.agent import Agent, check_agent_id, check_secret, ha1, make_secret
from vsek.domain.ids import AgentId
from vsek.domain.note import Language
from vsek.domain.text import NAME_LIMIT, clean_line
from vsek.errors import InputError

if TYPE_CHECKING:
    from vsek.store.pool import Connection

_LIST_SQL = """
SELECT id, name, language, ha1, added_at FROM vsek.agents WHERE removed_at IS NULL ORDER BY id
"""
_SHOW_SQL = """
SELECT id, name, language, ha1, added_at FROM vsek.agents WHERE removed_at IS NULL AND id = $1
"""
# Somebody who was removed may come back under the same id.
_ADD_SQL = """
INSERT INTO vsek.agents AS a (id, name, language, ha1) VALUES ($1, $2, $3, $4)
ON CONFLICT (id) DO UPDATE
SET name = excluded.name, language = excluded.language, ha1 = excluded.ha1, removed_at = NULL
WHERE a.removed_at IS NOT NULL
"""
_CHANGE_SQL = """
UPDATE vsek.agents
SET name = coalesce($2, name), language = coalesce($3, language), ha1 = coalesce($4, ha1)
WHERE id = $1 AND removed_at IS NULL
"""
_REMOVE_SQL = "UPDATE vsek.agents SET removed_at = now() WHERE id = $1 AND removed_at IS NULL"
_NOTIFY_SQL = "NOTIFY vsek_directory"


@dataclass(frozen=True, slots=True)
class StoredAgent:
    """An agent and since when."""

    agent: Agent
    added_at: datetime


@dataclass(frozen=True, slots=True)
class AddedAgent:
    """A new agent with the secret, which can be seen only now."""

    agent: Agent
    secret: str = field(repr=False)
    secret_was_made: bool


def _name(text: str) -> str:
    name = clean_line(text, 2 * NAME_LIMIT)
    if len(name) > NAME_LIMIT:
        raise InputError(
            f"The agent's name has more than {NAME_LIMIT} letters",
            field="name",
            value=text,
            remedy="Shorten it to what callers hear, for example --name 'Anna Schmidt'",
            error_id="agent_name",
        )
    if not name:
        raise InputError(
            "The agent has no name",
            field="name",
            value=text,
            remedy="Give the name that callers hear, for example --name 'Anna Schmidt'",
            error_id="agent_name",
        )
    return name


def _language(text: str) -> Language:
    for language in get_args(Language):
        if text == language:
            known: Language = language
            return known
    raise InputError(
        f"{text!r} is not a language that vsek speaks",
        field="language",
        value=text,
        remedy="Use de or en",
        error_id="agent_language",
    )


def _unknown(agent_id: str) -> InputError:
    return InputError(
        f"There is no agent {agent_id!r}",
        field="id",
        value=agent_id,
        remedy="'vsek agent list' shows all",
        error_id="unknown_agent",
    )


async def list_agents(conn: Connection) -> list[StoredAgent]:
    """All agents by id."""
    return [
        StoredAgent(
            Agent(id=row["id"], name=row["name"], language=row["language"], ha1=row["ha1"]),
            row["added_at"],
        )
        for row in await conn.fetch(_LIST_SQL)
    ]


async def show(conn: Connection, agent_id: str) -> StoredAgent:
    """One agent; raises ``InputError`` when there is none."""
    row = await conn.fetchrow(_SHOW_SQL, clean_line(agent_id))
    if row is None:
        raise _unknown(agent_id)
    agent = Agent(id=row["id"], name=row["name"], language=row["language"], ha1=row["ha1"])
    return StoredAgent(agent, row["added_at"])


async def add(
    conn: Connection, agent_id: str, name: str, secret: str | None = None, language: str = "de"
) -> AddedAgent:
    """Add an agent; without ``secret`` one is made.

    Raises ``InputError`` when a value cannot be used or the agent exists.
    """
    checked = check_agent_id(agent_id)
    used = make_secret() if secret is None else check_secret(secret)
    agent = Agent(
        id=checked, name=_name(name), language=_language(language), ha1=ha1(checked, used)
    )
    async with conn.transaction():
        done = await conn.execute(_ADD_SQL, agent.id, agent.name, agent.language, agent.ha1)
        if not done.endswith(" 1"):
            raise InputError(
                f"Agent {agent_id!r} exists",
                field="id",
                value=agent_id,
                remedy="Choose another id, or remove the agent first",
                error_id="agent_exists",
            )
        await conn.execute(_NOTIFY_SQL)
    return AddedAgent(agent, used, secret is None)


async def change(
    conn: Connection,
    agent_id: str,
    *,
    name: str | None = None,
    secret: str | None = None,
    language: str | None = None,
) -> None:
    """Change what is given; raises ``InputError`` for unusable values or an unknown agent."""
    async with conn.transaction():
        done = await conn.execute(
            _CHANGE_SQL,
            clean_line(agent_id),
            None if name is None else _name(name),
            None if language is None else _language(language),
            None if secret is None else ha1(agent_id, check_secret(secret)),
        )
        if not done.endswith(" 1"):
            raise _unknown(agent_id)
        await conn.execute(_NOTIFY_SQL)


async def remove(conn: Connection, agent_id: str) -> AgentId:
    """Remove an agent; calls and notes go on naming them. Raises ``InputError`` if unknown."""
    async with conn.transaction():
        done = await conn.execute(_REMOVE_SQL, clean_line(agent_id))
        if not done.endswith(" 1"):
            raise _unknown(agent_id)
        await conn.execute(_NOTIFY_SQL)
    return AgentId(agent_id)

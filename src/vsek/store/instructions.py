"""Temporary instructions of a client, one at a time: from day to day, beside the client's file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vsek.domain.client import MOST_TEMPORARY, Client
from vsek.domain.temporary import Temporary
from vsek.domain.text import clean_line
from vsek.errors import InputError
from vsek.store import clients

if TYPE_CHECKING:
    from vsek.store.pool import Connection

# Before the client is read: an import that runs is waited for.
_LOCK_SQL = "SELECT FROM vsek.clients WHERE id = $1 FOR UPDATE"
_CHANGE_SQL = """
UPDATE vsek.clients SET account = $2::text::jsonb, version = version + 1, changed_at = now()
WHERE id = $1 RETURNING version
"""
_NOTIFY_SQL = "NOTIFY vsek_directory"


async def add(
    conn: Connection, client_id: str, one: Temporary, now: float, *, by: str = ""
) -> Client:
    """Let an instruction hold; the client as it is then. Those that have ended are dropped.

    ``now`` is in Unix seconds, ``by`` is who does it. Raises ``InputError`` for an unknown client,
    an instruction that is over already or ends before it begins, and for too many.
    """
    async with conn.transaction():
        client = await _locked(conn, client_id)
        start, end = one.span(client.timezone)
        if end <= max(now, start):
            over = end <= now
            raise InputError(
                "The instruction would be over already" if over else "It ends before it begins",
                field="--until",
                value=one.model_dump()["until"],
                remedy=f"Name a later time, on the clock of {client.timezone}",
                error_id="instruction_over",
            )
        kept = [old for old in client.temporary if old.span(client.timezone)[1] > now]
        if len(kept) >= MOST_TEMPORARY:
            raise InputError(
                f"Client {client.id!r} has {len(kept)} temporary instructions already",
                field="id",
                value=client.id,
                remedy="Remove some first",
                error_id="too_many_instructions",
            )
        return await _keep(conn, client, (*kept, one), by)


async def remove(conn: Connection, client_id: str, number: int, *, by: str = "") -> Temporary:
    """End the instruction ``number`` (beginning with 1, in the order of the client's list) now.

    Raises ``InputError`` for an unknown client or number.
    """
    async with conn.transaction():
        client = await _locked(conn, client_id)
        if not 1 <= number <= len(client.temporary):
            raise InputError(
                f"Client {client.id!r} has no temporary instruction {number}",
                field="--remove",
                value=number,
                remedy=f"'vsek client instruct {client.id}' lists them",
                error_id="unknown_instruction",
            )
        removed = client.temporary[number - 1]
        kept = (*client.temporary[: number - 1], *client.temporary[number:])
        await _keep(conn, client, kept, by)
    return removed


async def _locked(conn: Connection, client_id: str) -> Client:
    await conn.execute(_LOCK_SQL, clean_line(client_id))
    return (await clients.show(conn, client_id)).client


async def _keep(
    conn: Connection, client: Client, temporary: tuple[Temporary, ...], by: str
) -> Client:
    changed = client.model_copy(update={"temporary": temporary})
    account = clients.account(changed)
    version = await conn.fetchval(_CHANGE_SQL, client.id, account)
    await clients.remember(conn, client.id, version, account, by)
    await conn.execute(_NOTIFY_SQL)
    return changed

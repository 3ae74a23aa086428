"""A pool on an empty (but migrated) database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from vsek.store.pool import acquire, open_pool

if TYPE_CHECKING:
    from vsek.store.pool import Connection, Pool

_EMPTY_SQL = """
TRUNCATE vsek.clients, vsek.client_numbers, vsek.audio, vsek.audio_sources, vsek.agents,
         vsek.calls, vsek.call_steps, vsek.note_drafts, vsek.note_due, vsek.recordings,
         vsek.rules, vsek.client_history
"""


@pytest.fixture
async def pool(postgres_dsn: str) -> AsyncIterator[Pool]:
    """A pool; the tables are empty."""
    opened = await open_pool(postgres_dsn)
    async with acquire(opened) as connection:
        await connection.execute(_EMPTY_SQL)
        await connection.execute("UPDATE vsek.journal SET epoch = 0, seq = 0")
    yield opened
    await opened.close()


@pytest.fixture
async def conn(pool: Pool) -> AsyncIterator[Connection]:
    """One connection of the pool."""
    async with acquire(pool) as connection:
        yield connection

"""A line to PostgreSQL that swallows everything holds nobody up longer than a command may take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from vsek.demo.proxy import Proxy
from vsek.demo.stack import address
from vsek.errors import ServiceError
from vsek.patience import SESSION
from vsek.store import pool as pools

LIMIT_S = 0.5
GENEROUS_S = 10.0


@pytest.fixture
async def line(postgres_dsn: str) -> AsyncIterator[Proxy]:
    line = Proxy(address(postgres_dsn.rpartition("/")[0]))
    await line.start()
    yield line
    await line.stop()


@pytest.fixture
async def pool(
    postgres_dsn: str, line: Proxy, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[pools.Pool]:
    """With one connection, over the line."""
    monkeypatch.setattr(pools, "COMMAND_TIMEOUT_S", LIMIT_S)
    monkeypatch.setattr(pools, "CONNECT_TIMEOUT_S", LIMIT_S)
    login, _, rest = postgres_dsn.partition("@")
    pool = await pools.open_pool(f"{login}@{line.address}/{rest.partition('/')[2]}", size=1)
    yield pool
    line.heal()
    await pool.close()


async def use(pool: pools.Pool, line: Proxy | None = None) -> object:
    """One query in a transaction; from its middle on ``line`` swallows everything."""
    async with pools.acquire(pool) as connection, connection.transaction():
        if line is not None:
            line.hold()
        return await connection.fetchval("SELECT 7")


async def test_a_command_without_an_answer_ends_with_its_transaction(
    pool: pools.Pool, line: Proxy
) -> None:
    assert await use(pool) == 7
    began = time.monotonic()
    async with asyncio.timeout(GENEROUS_S):
        with pytest.raises(ServiceError):
            await use(pool, line)
        took_s = time.monotonic() - began
        # Nobody gets in, and is told so soon.
        with pytest.raises(ServiceError):
            await use(pool)
        line.heal()
        # The only connection of the pool was dead; another takes its place.
        assert await use(pool) == 7
    print(f"\n  given up after {took_s:.2f} s, with {LIMIT_S} s for a command")
    assert took_s < GENEROUS_S / 2


async def test_a_session_ends_what_waits_and_what_nobody_waits_for(pool: pools.Pool) -> None:
    async with pools.acquire(pool) as connection:
        for name, value in SESSION.items():
            assert await connection.fetchval("SELECT current_setting($1)", name) == value
        await connection.execute("SET statement_timeout = '100ms'")
        with pytest.raises(asyncpg.QueryCanceledError):
            await connection.execute("SELECT pg_sleep(5)")
        assert await connection.fetchval("SELECT 1") == 1

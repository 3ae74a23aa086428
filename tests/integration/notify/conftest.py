from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.integration.notify.bench import Bench
from tests.integration.notify.mailserver import MailServer


@pytest.fixture
async def dsn(postgres_dsn: str) -> str:
    """A migrated database without any note."""
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("TRUNCATE notify.notes CASCADE")
    await connection.close()
    return postgres_dsn


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(dsn, min_size=0, max_size=12) as pool:
        yield pool


@pytest.fixture
async def mail_server() -> AsyncIterator[MailServer]:
    server = MailServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def bench(pool: asyncpg.Pool, mail_server: MailServer) -> AsyncIterator[Bench]:
    bench = Bench(pool, mail_server)
    yield bench
    bench.session.drop()

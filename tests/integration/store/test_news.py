"""Changes in the database are heard, also over a lost connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from structlog.testing import capture_logs

from vsek.demo.events import eventually
from vsek.errors import ServiceError
from vsek.store import agents
from vsek.store.news import News

if TYPE_CHECKING:
    from vsek.store.pool import Connection

T = TypeVar("T")

# What it asks once it listens, to see whether the connection lives, is an empty SELECT.
_SESSIONS_SQL = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'vsek-news' AND datname = current_database() AND state = 'idle'
    AND (query LIKE 'LISTEN%' OR query = 'SELECT')
"""
_END_SQL = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = 'vsek-news' AND datname = current_database()
"""


class Ear:
    """Counts; fails as often as ``failures`` says."""

    def __init__(self, failures: int = 0) -> None:
        self.heard = 0
        self.failures = failures
        self._more = asyncio.Event()

    async def __call__(self) -> None:
        self.heard += 1
        self._more.set()
        if self.failures:
            self.failures -= 1
            raise ServiceError("Asterisk is away", remedy="Wait")

    async def until(self, heard: int) -> None:
        async with asyncio.timeout(20):
            while self.heard < heard:
                self._more.clear()
                await self._more.wait()


@asynccontextmanager
async def listening(dsn: str, ear: Ear, retry_s: float) -> AsyncIterator[None]:
    task = asyncio.create_task(News(dsn, ear, retry_s=retry_s, probe_s=0.05).run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until_it_listens(conn: Connection) -> None:
    async def listens() -> bool | None:
        return await conn.fetchval(_SESSIONS_SQL) or None

    await eventually(listens, "the session that listens", timeout_s=20)


async def test_a_change_is_heard_at_once(conn: Connection, postgres_dsn: str) -> None:
    ear = Ear()
    async with listening(postgres_dsn, ear, retry_s=3600):
        await until_it_listens(conn)
        assert ear.heard == 0
        await agents.add(conn, "anna", "Anna")
        await ear.until(1)
        await agents.remove(conn, "anna")
        await ear.until(2)


async def test_what_may_have_been_missed_is_looked_for(conn: Connection, postgres_dsn: str) -> None:
    ear = Ear()
    async with listening(postgres_dsn, ear, retry_s=0.1):
        await ear.until(1)
        before = ear.heard
        await conn.fetch(_END_SQL)
        await ear.until(before + 1)


async def test_what_could_not_be_taken_over_is_tried_again(postgres_dsn: str) -> None:
    ear = Ear(failures=2)
    async with listening(postgres_dsn, ear, retry_s=0.05):
        await ear.until(3)


def _first(lines: Sequence[T]) -> Callable[[], Awaitable[T | None]]:
    async def probe() -> T | None:
        return lines[0] if lines else None

    return probe


async def test_without_a_database_it_waits() -> None:
    ear = Ear()
    with capture_logs() as told:
        async with listening("postgresql://vsek@127.0.0.1:1/vsek", ear, retry_s=0.01):
            await eventually(_first(told), "a line of the log")
    assert [line["event"] for line in told] == ["news_away"]
    assert ear.heard == 0

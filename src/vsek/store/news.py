"""Hears when clients, agents or rules changed in the database, whoever changed them, from wherever.

A notification is a hint and the tables are the truth: what may have been missed while the
connection was away is looked for a little after it is back, and what could not be taken over is
tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import structlog

from vsek.errors import ServiceError
from vsek.patience import COMMAND_TIMEOUT_S, SESSION
from vsek.store.pool import CONNECT_TIMEOUT_S, DIRECTORY_CHANNEL, UNREACHABLE, as_service_error

_log = structlog.get_logger(__name__)

RETRY_S = 5.0
PROBE_S = 30.0
"""How often it is made sure that the connection still lives."""


class News:
    """``tell`` is awaited after each change, once for several that come together; it may raise
    ``ServiceError`` and is then called again later."""

    def __init__(
        self,
        dsn: str,
        tell: Callable[[], Awaitable[object]],
        *,
        retry_s: float = RETRY_S,
        probe_s: float = PROBE_S,
    ) -> None:
        self._dsn = dsn
        self._tell = tell
        self._retry_s = retry_s
        self._probe_s = probe_s

    async def run(self) -> None:
        """Hear until cancelled."""
        told = ""
        while True:
            try:
                await self._hear()
                told = ""
            except ServiceError as error:
                if str(error) != told:
                    _log.warning("news_away", error=str(error), retry_in_s=self._retry_s)
                told = str(error)
            await asyncio.sleep(self._retry_s)

    async def _hear(self) -> None:
        """Hear until the connection ends. Raises ``ServiceError``."""
        try:
            connection = await asyncpg.connect(
                self._dsn,
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=COMMAND_TIMEOUT_S,
                server_settings={"application_name": "vsek-news", **SESSION},
            )
        except (*UNREACHABLE, asyncpg.PostgresError) as error:
            raise as_service_error(error) from error
        changed = asyncio.Event()
        late = asyncio.get_running_loop().call_later(self._retry_s, changed.set)
        try:
            connection.add_termination_listener(lambda _: changed.set())
            await connection.add_listener(DIRECTORY_CHANNEL, lambda *_: changed.set())
            while await self._something(connection, changed):
                await self._tell()
        except (*UNREACHABLE, asyncpg.PostgresError) as error:
            raise as_service_error(error) from error
        finally:
            late.cancel()
            connection.terminate()

    async def _something(
        self, connection: asyncpg.Connection[asyncpg.Record], changed: asyncio.Event
    ) -> bool:
        """Waits for a change; ``False`` when the connection has ended."""
        while not changed.is_set():
            try:
                async with asyncio.timeout(self._probe_s):
                    await changed.wait()
            except TimeoutError:
                await connection.execute("SELECT")
        changed.clear()
        return not connection.is_closed()

"""Whether PostgreSQL really answers: asked again and again, each time with a deadline.

Theory of operation. Every few seconds one query is run on a connection of the probe's own, which is
made anew every :data:`QUESTIONS` times: a login costs both sides more than all questions of a
minute. Nothing is shared with the pools that work for calls and notes, so a server that accepts
connections and then says nothing (frozen, a full disk, a dead network) costs nobody but this probe
its time, and a pool that still has old connections does not hide a server that takes no new ones
for long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import structlog

log = structlog.get_logger(__name__)

EVERY_S = 2.0
QUESTIONS = 15
"""On one connection."""
DEADLINE_S = 2.0
"""A server that needs longer for this query does not serve."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one question. ``error`` is empty when it was answered; then ``row`` holds the
    query's only row. ``since`` (monotonic seconds): from when on it has been so."""

    error: str
    row: Mapping[str, Any] = field(default_factory=dict)
    took_s: float = 0.0
    since: float = 0.0

    @property
    def well(self) -> bool:
        """Whether the database answered."""
        return not self.error


class DatabaseProbe:
    """Asks ``sql`` (one row) of the database at ``dsn``."""

    def __init__(
        self, dsn: str, sql: str, *, every_s: float = EVERY_S, deadline_s: float = DEADLINE_S
    ) -> None:
        self._dsn = dsn
        self._sql = sql
        self._every_s = every_s
        self._deadline_s = deadline_s
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._left = 0
        self.last: Answer | None = None
        """``None`` until the first answer or failure."""

    async def run(self) -> None:
        """Ask until cancelled."""
        try:
            while True:
                await self.ask()
                await asyncio.sleep(self._every_s)
        finally:
            self._drop()

    async def ask(self) -> Answer:
        """Ask once, and keep the answer."""
        began = time.monotonic()
        try:
            row = await self._question()
        except TimeoutError:
            answer = Answer(f"no answer within {self._deadline_s:g} s")
        # What a server can say or do wrong is its own tree of exceptions, and a driver's besides.
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
            answer = Answer((str(error).strip() or type(error).__name__).splitlines()[0])
        else:
            answer = Answer("", row)
        now = time.monotonic()
        before = self.last
        changed = before is None or before.well != answer.well
        if changed and (before is not None or not answer.well):
            level = log.warning if answer.well else log.error
            level("database_answers" if answer.well else "database_silent", error=answer.error)
        since = now if before is None or changed else before.since
        self.last = Answer(answer.error, answer.row, now - began, since)
        return self.last

    async def _question(self) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(self._deadline_s):
                if self._connection is None:
                    self._left = QUESTIONS
                    self._connection = await asyncpg.connect(
                        self._dsn,
                        timeout=self._deadline_s,
                        server_settings={"application_name": "vsek-probe"},
                    )
                self._left -= 1
                row = await self._connection.fetchrow(self._sql)
                if not self._left:
                    connection, self._connection = self._connection, None
                    await connection.close(timeout=self._deadline_s)
        except BaseException:
            self._drop()
            raise
        return dict(row) if row is not None else {}

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            connection.terminate()

"""What is queued, asked of the database with a deadline.

One question at a time: who asks while one is under way shares its answer, so that a database that
has frozen holds one connection of the pool and no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from vsek.notify.database import DATABASE_ERRORS, Database
from vsek.notify.metrics import NoteMetrics

DEADLINE_S = 2.0
LOOK_EVERY_S = 5.0


class Backlog:
    """Asks ``database``, and keeps ``metrics`` up to date with the answers."""

    def __init__(
        self, database: Database, metrics: NoteMetrics, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._metrics = metrics
        self._now = now
        self._question: asyncio.Task[tuple[int, datetime | None]] | None = None

    async def ask(self) -> tuple[int, datetime | None]:
        """How many mails are queued, and since when the oldest is.

        Raises ``TimeoutError`` when the database needs too long, or another of ``DATABASE_ERRORS``.
        """
        if self._question is None or self._question.done():
            self._question = asyncio.create_task(self._database.backlog(), name="ask-backlog")
        try:
            async with asyncio.timeout(DEADLINE_S):
                queued, oldest = await asyncio.shield(self._question)
        except DATABASE_ERRORS:
            self._metrics.database_away()
            raise
        self._metrics.backlog(queued, oldest, self._now())
        return queued, oldest

    async def run(self) -> None:
        """Keep the metrics up to date until cancelled."""
        try:
            while True:
                # The outbox, which needs the database for more, has its failures in the log.
                with suppress(*DATABASE_ERRORS):
                    await self.ask()
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            if self._question is not None:
                self._question.cancel()
                await asyncio.gather(self._question, return_exceptions=True)

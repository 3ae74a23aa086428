"""The note service's note book: drafts in the database that the switchboard writes its calls to."""

from __future__ import annotations

from vsek.domain.draft import DraftState, WriteNote
from vsek.domain.ids import CallId
from vsek.store import notes, pool


class DraftTable:
    """Implements the port of ``vsek.notify.drafts``; ``country`` is for dictated numbers."""

    def __init__(self, connections: pool.Pool, country: str) -> None:
        self._pool = connections
        self._country = country

    async def write(self, call_id: CallId, note: WriteNote) -> DraftState:
        """Committed when this returns."""
        async with pool.acquire(self._pool) as connection:
            return await notes.write_draft(
                connection,
                call_id,
                note.draft,
                finish=note.finish,
                author=note.author,
                country=self._country,
            )

    async def read(self, call_id: CallId) -> DraftState:
        """The draft as it stands."""
        async with pool.acquire(self._pool) as connection:
            return await notes.show_draft(connection, call_id)

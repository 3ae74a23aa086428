"""Drafts of notes, for those who write them while they talk.

Theory of operation. A draft is a row that opens together with its call's (:class:`NoteBook`). The
switchboard, which agents must not hold up, is not asked. It writes down its calls about four times
a second, so one in which an agent already talks may not be known here yet. A call's id tells when
it began: a young one is looked for again, for ``ARRIVAL_S`` at most, and any other that is unknown
is refused at once.

A database that does not answer within ``DEADLINE_S`` is given up, so that whoever writes hears of
it before giving up waiting. What it was asked by then may yet be done, as with any answer that is
lost: whoever writes sends the whole draft again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from vsek.domain.draft import DraftState, UnknownCallError, WriteNote
from vsek.domain.ids import CallId, is_call_id, time_of_call_id
from vsek.errors import ServiceError

ARRIVAL_S = 5.0
LOOK_EVERY_S = 0.1
DEADLINE_S = 4.0
"""Together with ``ARRIVAL_S`` less than callers wait for an answer (``notify.client``)."""
YOUNG_S = 180.0
CLOCKS_S = 60.0
"""How far the switchboard's clock may be ahead of ours."""


class NoteBook(Protocol):
    """Keeps drafts."""

    async def write(self, call_id: CallId, note: WriteNote) -> DraftState:
        """Replace a draft; safe when this returns. Raises ``UnknownCallError``, and
        ``ServiceError`` when the database does not serve."""

    async def read(self, call_id: CallId) -> DraftState:
        """A draft as it stands. Raises as ``write``."""


class Drafts:
    """Reads and writes ``book``; ``now`` gives Unix seconds."""

    def __init__(self, book: NoteBook, now: Callable[[], float] = time.time) -> None:
        self._book = book
        self._now = now

    async def write(self, call_id: str, note: WriteNote) -> DraftState:
        """As :class:`NoteBook`, for a call that may be about to arrive."""
        key = CallId(call_id)
        return await self._when_known(key, lambda: self._book.write(key, note))

    async def read(self, call_id: str) -> DraftState:
        """As ``write``."""
        key = CallId(call_id)
        return await self._when_known(key, lambda: self._book.read(key))

    async def _when_known(
        self, call_id: CallId, ask: Callable[[], Coroutine[Any, Any, DraftState]]
    ) -> DraftState:
        clock = asyncio.get_running_loop().time
        until = clock() + ARRIVAL_S
        while True:
            try:
                return await _in_time(ask())
            except UnknownCallError:
                if clock() >= until or not self._is_young(call_id):
                    raise
            await asyncio.sleep(LOOK_EVERY_S)

    def _is_young(self, call_id: CallId) -> bool:
        if not is_call_id(call_id):
            return False
        return -CLOCKS_S <= self._now() - time_of_call_id(call_id) <= YOUNG_S


async def _in_time(answer: Coroutine[Any, Any, DraftState]) -> DraftState:
    # A task of its own: a connection whose command was cancelled takes a while to be given back.
    task = asyncio.create_task(answer, name="draft")
    try:
        await asyncio.wait({task}, timeout=DEADLINE_S)
        if task.done():
            return task.result()
        raise ServiceError(
            f"The database did not answer within {DEADLINE_S:g} s",
            remedy="Try again; if it lasts, see vsek doctor",
            error_id="database",
        )
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(_forget)


def _forget(task: asyncio.Task[DraftState]) -> None:
    """Whatever it ended with, who asked was told already."""
    if not task.cancelled():
        task.exception()

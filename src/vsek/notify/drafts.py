"""Drafts of notes, for those who write them while they talk.

Theory of operation. A draft is a row that opens together with its call's (:class:`NoteBook`). The
switchboard, which agents must not hold up, is not asked. It writes down its calls about four times
a second, so one in which an agent already talks may not be known here yet. A call's id tells when
it began: a young one is looked for again, for ``ARRIVAL_S`` at most. After an outage of the
database one that has lasted for long may be missing as well; so whoever writes about a call of
today is told to try again, and any other that is unknown is refused for good.

Who writes about a call takes turns, in the order of arrival: of two that wait for the same call,
the older must not replace the newer.

A database that does not answer within ``DEADLINE_S`` is given up, so that whoever writes hears of
it before giving up waiting. What it was asked by then may yet be done, as with any answer that is
lost: whoever writes sends the whole draft again.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol
from weakref import WeakValueDictionary

from vsek.domain.draft import DraftState, UnknownCallError, WriteNote
from vsek.domain.ids import CallId, is_call_id, time_of_call_id
from vsek.errors import ServiceError

ARRIVAL_S = 5.0
MOST_WAITING = 64
"""So many wait for calls to arrive; more are told to come again."""
LOOK_EVERY_S = 0.1
DEADLINE_S = 4.0
"""Together with ``ARRIVAL_S`` less than callers wait for an answer (``notify.client``)."""
YOUNG_S = 180.0
OF_TODAY_S = 12 * 3600.0
"""Longer no call lasts, and no outage goes unnoticed."""
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
        self._waiting = 0
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def write(self, call_id: str, note: WriteNote) -> DraftState:
        """As :class:`NoteBook`, for a call that may be about to arrive."""
        key = CallId(call_id)
        turn = self._turns.setdefault(key, asyncio.Lock())
        until = asyncio.get_running_loop().time() + ARRIVAL_S
        try:
            async with asyncio.timeout_at(until + DEADLINE_S), turn:
                return await self._when_known(key, lambda: self._book.write(key, note), until)
        except TimeoutError:
            raise _no_answer() from None

    async def read(self, call_id: str) -> DraftState:
        """As ``write``."""
        key = CallId(call_id)
        until = asyncio.get_running_loop().time() + ARRIVAL_S
        return await self._when_known(key, lambda: self._book.read(key), until)

    async def _when_known(
        self, call_id: CallId, ask: Callable[[], Coroutine[Any, Any, DraftState]], until: float
    ) -> DraftState:
        try:
            return await _in_time(ask())
        except UnknownCallError:
            age_s = self._age_s(call_id)
            if not -CLOCKS_S <= age_s <= OF_TODAY_S:
                raise
        if age_s > YOUNG_S or self._waiting >= MOST_WAITING:
            raise _not_yet(call_id)
        self._waiting += 1
        try:
            return await _look_again(call_id, ask, until)
        finally:
            self._waiting -= 1

    def _age_s(self, call_id: CallId) -> float:
        return self._now() - time_of_call_id(call_id) if is_call_id(call_id) else math.inf


async def _look_again(
    call_id: CallId, ask: Callable[[], Coroutine[Any, Any, DraftState]], until: float
) -> DraftState:
    clock = asyncio.get_running_loop().time
    while clock() < until:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            return await _in_time(ask())
        except UnknownCallError:
            continue
    raise _not_yet(call_id)


async def _in_time(answer: Coroutine[Any, Any, DraftState]) -> DraftState:
    # A task of its own: a connection whose command was cancelled takes a while to be given back.
    task = asyncio.create_task(answer, name="draft")
    try:
        await asyncio.wait({task}, timeout=DEADLINE_S)
        if task.done():
            return task.result()
        raise _no_answer()
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(_forget)


def _no_answer() -> ServiceError:
    return ServiceError(
        f"The database did not answer within {DEADLINE_S:g} s",
        remedy="Try again; if it lasts, see vsek doctor",
        error_id="database",
    )


def _not_yet(call_id: CallId) -> ServiceError:
    return ServiceError(
        f"The database knows no call {call_id!r} yet",
        remedy="'vsek call list' shows the calls; if it is one of them, try again in a moment",
        error_id="call_not_yet",
    )


def _forget(task: asyncio.Task[DraftState]) -> None:
    """Whatever it ended with, who asked was told already."""
    if not task.cancelled():
        task.exception()

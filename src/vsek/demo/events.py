"""A growing list of events that somebody can wait on.

Drivers append what they see; a waiter asks for the first event that satisfies a condition, from
a given place in the list on, so that an event which came before the waiter is found as well and
nothing is ever polled.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Generic, TypeVar

from vsek.errors import ServiceError

E = TypeVar("E")
T = TypeVar("T")


class EventLog(Generic[E]):
    """Events in the order of their arrival."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._events: list[E] = []
        self._waiters: set[asyncio.Future[None]] = set()
        self._closed: str | None = None

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[E]:
        return iter(list(self._events))

    def __getitem__(self, index: int) -> E:
        return self._events[index]

    def append(self, event: E) -> None:
        """Adds an event and wakes everybody who waits."""
        self._events.append(event)
        self._wake()

    def close(self, why: str) -> None:
        """No more events will come: waiters fail at once instead of at their deadline."""
        if self._closed is None:
            self._closed = why
            self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(
        self,
        condition: Callable[[E], bool],
        what: str,
        *,
        timeout_s: float = 10.0,
        after: int = 0,
    ) -> E:
        """The first event from index ``after`` on for which ``condition`` holds.

        Raises ``ServiceError`` when none came within ``timeout_s`` seconds or none can come any
        more; its message names ``what`` was awaited and the last events.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        seen = after
        while True:
            while seen < len(self._events):
                event = self._events[seen]
                seen += 1
                if condition(event):
                    return event
            if self._closed is not None:
                raise ServiceError(
                    f"{self.name}: {what} did not come: {self._closed}; {self.tail()}"
                )
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                async with asyncio.timeout_at(deadline):
                    await waiter
            except TimeoutError:
                raise ServiceError(
                    f"{self.name}: {what} did not come within {timeout_s:g} s; {self.tail()}"
                ) from None
            finally:
                self._waiters.discard(waiter)

    def tail(self, count: int = 6) -> str:
        """The last events as text, for messages."""
        return "last events: " + ("; ".join(str(e) for e in self._events[-count:]) or "none")


async def eventually(
    probe: Callable[[], Awaitable[T | None]],
    what: str,
    *,
    timeout_s: float = 10.0,
    every_s: float = 0.05,
) -> T:
    """The first result of ``probe`` that is not ``None``: for things that announce nothing.

    This is the only place where drivers and tests ask again and again (a port that opens, a row
    that appears). Raises ``ServiceError`` after ``timeout_s`` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        result = await probe()
        if result is not None:
            return result
        if time.monotonic() > deadline:
            raise ServiceError(f"{what} did not come about within {timeout_s:g} s")
        await asyncio.sleep(every_s)

"""Timers as data: a name, a generation, a deadline. A stale one is dropped by its generation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from vsek.acd.events import TimerDue


class Timers:
    """Reports ``TimerDue`` to ``post`` when a deadline (Unix seconds) has come."""

    def __init__(
        self, post: Callable[[TimerDue], None], clock: Callable[[], float] = time.time
    ) -> None:
        self._post = post
        self._clock = clock
        self._handles: dict[str, asyncio.TimerHandle] = {}

    def set(self, name: str, generation: int, deadline: float) -> None:
        """Arm the timer; one of the same name is replaced. A past deadline is due at once."""
        self.cancel(name)
        delay = max(0.0, deadline - self._clock())
        loop = asyncio.get_running_loop()
        self._handles[name] = loop.call_later(delay, self._due, name, generation)

    def cancel(self, name: str) -> None:
        """Disarm; no error if it does not run."""
        handle = self._handles.pop(name, None)
        if handle is not None:
            handle.cancel()

    def close(self) -> None:
        """Disarm all."""
        for handle in self._handles.values():
            handle.cancel()
        self._handles.clear()

    def _due(self, name: str, generation: int) -> None:
        del self._handles[name]
        self._post(TimerDue(name, generation))

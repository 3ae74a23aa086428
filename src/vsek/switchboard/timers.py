"""Timers as data: a name, a generation, a deadline. A stale one is dropped by its generation.

Theory of operation. A timer that comes much too late tells that the whole process was held up
(stopped, swapped out, a machine that froze). What happened meanwhile, an agent who picked up in
time, still waits in the sockets and outranks the deadline; so such a timer steps back once, for as
long as it takes to read them.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from vsek.acd.events import TimerDue

HELD_UP_S = 0.25
"""A timer that is later than this was held up together with everything else."""
CATCH_UP_S = 0.1
"""For how long what happened meanwhile goes first."""


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
        self._arm(name, generation, delay, patient=True)

    def _arm(self, name: str, generation: int, delay: float, *, patient: bool) -> None:
        loop = asyncio.get_running_loop()
        latest = loop.time() + delay + HELD_UP_S if patient else math.inf
        self._handles[name] = loop.call_later(delay, self._due, name, generation, latest)

    def cancel(self, name: str) -> None:
        """Disarm; no error if it does not run."""
        handle = self._handles.pop(name, None)
        if handle is not None:
            handle.cancel()

    def __len__(self) -> int:
        return len(self._handles)

    def close(self) -> None:
        """Disarm all."""
        for handle in self._handles.values():
            handle.cancel()
        self._handles.clear()

    def _due(self, name: str, generation: int, latest: float) -> None:
        if asyncio.get_running_loop().time() > latest:
            self._arm(name, generation, CATCH_UP_S, patient=False)
            return
        del self._handles[name]
        self._post(TimerDue(name, generation))

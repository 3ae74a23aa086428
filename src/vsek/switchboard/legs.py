"""Agents' legs take turns at Asterisk, so that it is never asked for more than it can do.

An Asterisk that has more to do than it can makes everybody wait for everything: agents' telephones
ring too late, what was begun is taken back and begun anew, and in the end it is busy with nothing
else. So no more than ``AT_ONCE`` legs are in the making, from the request for one until it was
dialled; who comes next waits here, in the order in which agents were chosen. Callers hear it ring
meanwhile, or music.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from vsek.call.effects import CreateLeg
from vsek.domain.ids import ChannelId

log = structlog.get_logger(__name__)

AT_ONCE: Final = 16
"""An Asterisk that keeps up makes one in 2 ms: this many at once are never needed, and those who
wait for their turn wait shorter than they would in its threads."""
GIVEN_UP_S: Final = 5.0
"""A leg of which nothing was heard for so long is in the making no longer, whatever became of
it."""


class Turns:
    """Lets ``make`` have each leg that is wanted, a few at a time."""

    def __init__(self, make: Callable[[CreateLeg], None]) -> None:
        self._make = make
        self._making: dict[ChannelId, float] = {}
        """Since when, by the loop's clock; the oldest first."""
        self._waiting: dict[ChannelId, CreateLeg] = {}
        self._next_look: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many legs wait for their turn."""
        return len(self._waiting)

    def want(self, command: CreateLeg) -> None:
        """Have the leg made, now or when it is its turn."""
        if self._waiting or len(self._making) >= AT_ONCE:
            if not self._waiting:
                log.warning("legs_wait", in_the_making=len(self._making))
            self._waiting[command.channel_id] = command
            self._go_on()
        else:
            self._begin(command)

    def unwant(self, leg_id: ChannelId) -> bool:
        """The leg is not wanted any more; whether it was still waiting here, and so never made."""
        if self._waiting.pop(leg_id, None) is not None:
            return True
        self.made(leg_id)
        return False

    def made(self, leg_id: ChannelId) -> None:
        """The leg was dialled, or never will be; no error if it was not in the making."""
        if self._making.pop(leg_id, None) is not None and self._waiting:
            self._go_on()

    def forget(self) -> int:
        """Drop all; returns how many waited."""
        waited = len(self._waiting)
        self._waiting.clear()
        self._making.clear()
        self._look_again_at(None)
        return waited

    def _begin(self, command: CreateLeg) -> None:
        self._making[command.channel_id] = asyncio.get_running_loop().time()
        self._make(command)

    def _go_on(self) -> None:
        given_up = asyncio.get_running_loop().time() - GIVEN_UP_S
        for leg_id, since in list(self._making.items()):
            if since > given_up:
                break
            del self._making[leg_id]
        while self._waiting and len(self._making) < AT_ONCE:
            self._begin(self._waiting.pop(next(iter(self._waiting))))
        oldest = next(iter(self._making.values()), None)
        self._look_again_at(oldest + GIVEN_UP_S if self._waiting and oldest is not None else None)

    def _look_again_at(self, when: float | None) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        if when is not None:
            self._next_look = asyncio.get_running_loop().call_at(when, self._go_on)

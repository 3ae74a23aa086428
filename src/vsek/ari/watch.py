"""Drops a line that stands but carries nothing.

Pings of the WebSocket are not enough: where a new connection and the end of the old one cross,
Asterisk may have lost the application behind a socket and answers them still. So a request goes
over each command line, and an event is asked for that comes over the event line. A line on which
anything at all arrived meanwhile is alive, only slow.

The first command line brings the events of the side application. Replies come over it even if
Asterisk has lost that application, so its request is for an event, which has to come too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from vsek.ari._generated.events import ChannelUserevent
from vsek.ari.base import Event
from vsek.ari.connection import AriSocket
from vsek.ari.errors import AriError, AriTimeout
from vsek.ari.protocol import Query

SIGN_OF_LIFE: Final = "vsek-sign-of-life"
"""The user event that a watched client sends to itself."""
LATE_S: Final = 0.1


class Watch:
    """Asks every ``every_s`` seconds for signs of life of ``app`` and ``side_app``, which must come
    within twice that."""

    def __init__(self, app: str, side_app: str, every_s: float) -> None:
        self.every_s = every_s
        self._app = app
        self._side_app = side_app
        self._signs = {name: asyncio.Event() for name in (app, side_app)}
        """By application: whether the last one asked for has come."""

    def takes(self, event: Event) -> bool:
        """Whether the event is a sign of life, which is nobody else's business."""
        if not isinstance(event, ChannelUserevent) or event.eventname != SIGN_OF_LIFE:
            return False
        if (sign := self._signs.get(event.application)) is not None:
            sign.set()
        return True

    async def run(
        self, commands: Sequence[AriSocket], events: AriSocket, connected: asyncio.Event
    ) -> None:
        """Watch until cancelled; events are expected while ``connected``."""
        side = commands[0]
        while True:
            await asyncio.sleep(self.every_s)
            await asyncio.gather(
                *(self._watch_commands(s, side=s is side) for s in commands if s.up)
            )
            if connected.is_set():
                await self._watch_events(events, side)

    async def _watch_commands(self, socket: AriSocket, *, side: bool) -> None:
        connection, heard = socket.connection, socket.heard
        request: tuple[str, str, Query | None] = (
            self._want_sign(self._side_app) if side else ("GET", "asterisk/ping", None)
        )
        try:
            await socket.submit(*request, None, 2 * self.every_s)
        except AriTimeout:
            if socket.connection == connection and socket.heard == heard:
                socket.drop(f"no answer to a request within {2 * self.every_s:g} s")
            return
        except AriError:
            return  # the line is down already
        if side and not await self._has_sign(self._side_app) and socket.connection == connection:
            socket.drop(f"requests are answered, but no event came within {2 * self.every_s:g} s")

    async def _watch_events(self, events: AriSocket, over: AriSocket) -> None:
        connection, heard = events.connection, events.heard
        over.submit(*self._want_sign(self._app), None, 2 * self.every_s)
        came = await self._has_sign(self._app)
        if not came and events.connection == connection and events.heard == heard:
            events.drop(f"no event came within {2 * self.every_s:g} s")

    def _want_sign(self, app: str) -> tuple[str, str, Query]:
        """What to ask for, so that ``app`` gets a sign of life."""
        self._signs[app].clear()
        return "POST", f"events/user/{SIGN_OF_LIFE}", {"application": app}

    async def _has_sign(self, app: str) -> bool:
        sign = self._signs[app]
        try:
            async with asyncio.timeout(2 * self.every_s):
                await sign.wait()
        except TimeoutError:
            await asyncio.sleep(LATE_S)  # we may have been held up ourselves, with it lying there
        return sign.is_set()

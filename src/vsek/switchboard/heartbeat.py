"""The sign of life without which Asterisk's dialplan does not trust us with callers.

Theory of operation. Once a second, while calls can be served, a *pulse* is sent: an event of our
own that Asterisk is asked to raise (``POST events/user/…``). It comes back over the event socket
and is met by this loop like every other event. Only then is Asterisk's global variable
``VSEK_ALIVE`` set, to the second at which Asterisk made the event, by its own clock. So the
variable grows old when anything on the way is broken: a blocked loop, a dead event socket, an
application that was lost or taken over, sockets for commands that are stuck. Pulses take turns
on these sockets.

The dialplan compares the variable with its clock (``asterisk-conf/extensions.conf``): new callers
are handed over only while it is fresh, and callers who wait are taken back when it is not.

``beat`` counts: a pulse that was sent after something happened and has come back proves that all
events which Asterisk had sent by then were met.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from time import monotonic
from typing import Any, Protocol

import structlog

from vsek.ari._generated.events import ChannelUserevent
from vsek.ari.errors import AriError
from vsek.ari.protocol import Query, Reply

log = structlog.get_logger(__name__)

EVERY_S = 1.0
LOOK_EVERY_S = 0.1
"""While calls cannot be served: the first pulse is to follow at once when they can."""
VARIABLE = "VSEK_ALIVE"
EVENT = "vsek-pulse"
HEALTHY_S = 3.0
"""The dialplan's limit, too."""
DEADLINE_S = 2.5
"""For a request: an answer that comes later is no sign of life."""


class PulseAri(Protocol):
    """What this needs of :class:`vsek.ari.Client`."""

    def submit(
        self,
        method: str,
        uri: str,
        query: Query | None = None,
        body: Any = None,
        *,
        lane: str = "",
        deadline_s: float | None = None,
    ) -> asyncio.Future[Reply]:
        """Send without waiting."""

    def on_event(
        self, event: type[ChannelUserevent], callback: Callable[[ChannelUserevent], Any]
    ) -> Any:
        """Have events of one type told."""


class Heartbeat:
    """Sends pulses for application ``app`` while ``serving`` says that calls can be served."""

    def __init__(
        self,
        client: PulseAri,
        app: str,
        serving: Callable[[], bool],
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._client = client
        self._app = app
        self._serving = serving
        self._clock = clock
        self._began = clock()
        self._came_back_at: float | None = None
        self.sent = 0
        """Number of the last pulse that was sent."""
        self.beat = 0
        """Number of the last pulse that came back."""
        client.on_event(ChannelUserevent, self._see)

    def age_s(self) -> float:
        """Seconds since the last pulse came back, or since the start if none has."""
        since = self._began if self._came_back_at is None else self._came_back_at
        return max(self._clock() - since, 0.0)

    @property
    def healthy(self) -> bool:
        """Whether the dialplan hands callers to us."""
        return self._came_back_at is not None and self.age_s() <= HEALTHY_S

    async def run(self) -> None:
        """Send pulses until cancelled."""
        while True:
            serving = self._serving()
            if serving:
                self._send()
            await asyncio.sleep(EVERY_S if serving else LOOK_EVERY_S)

    def _send(self) -> None:
        self.sent += 1
        self._request(
            f"events/user/{EVENT}",
            {"application": self._app},
            {"variables": {"number": str(self.sent)}},
        )

    def _see(self, event: ChannelUserevent) -> None:
        if event.eventname != EVENT:
            return
        try:
            number = int(event.userevent["number"])
            second = int(datetime.fromisoformat(event.timestamp).timestamp())
        except (KeyError, TypeError, ValueError):
            log.warning("strange_pulse", userevent=event.userevent, timestamp=event.timestamp)
            return
        if not self.beat < number <= self.sent or not self._serving():
            # Of a process before us, or from before calls could be served.
            return
        if not self.healthy:
            log.info("heartbeat", after_s=round(self.age_s(), 1))
        self.beat = number
        self._came_back_at = self._clock()
        self._request("asterisk/variable", {"variable": VARIABLE, "value": str(second)}, None)

    def _request(self, uri: str, query: dict[str, str], body: Any) -> None:
        # Another socket each time; a single one that is stuck makes every second pulse fail.
        future = self._client.submit(
            "POST", uri, query, body, lane=f"pulse-{self.sent}", deadline_s=DEADLINE_S
        )
        future.add_done_callback(_answered)


def _answered(done: asyncio.Future[Reply]) -> None:
    if done.cancelled():
        return
    error = done.exception()
    if error is not None:
        if not isinstance(error, AriError):
            log.error("heartbeat_error", error=repr(error))
        return
    reply = done.result()
    if reply.status >= 400:
        log.error("heartbeat_refused", status=reply.status, body=reply.body)

"""One WebSocket to Asterisk: connects, reads, writes, connects again.

Theory of operation. The WebSocket hands each text, as it is read, to the sans-I/O protocol, and
the results go to each request's ``done`` and to ``on_event``, all synchronously: nothing ever
waits for a handler, because Asterisk drops a socket whose reader stalls. ``send`` writes at once,
without awaiting; only when the kernel does not take any more do frames wait in ``_backlog``, in
order, and those whose deadline passes there are never sent.

One timer stands at the earliest deadline. When the event loop was blocked, replies may lie unread
in the socket while the timer is already due; a late timer therefore lets the reader go first.

After ``ApplicationReplaced`` nothing is written any more and ``run`` ends with ``AriReplaced``;
unless it may have been an attempt of our own that we gave up because Asterisk stood still: when it
goes on it serves that attempt too, perhaps after the one that we are connected by. Then the line is
made anew.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode

from vsek.ari.backoff import Backoff
from vsek.ari.base import Event
from vsek.ari.errors import (
    AriClosed,
    AriDisconnected,
    AriError,
    AriLoginRefused,
    AriReplaced,
    AriTimeout,
)
from vsek.ari.protocol import AriProtocol, Malformed, Query, Reply, State
from vsek.ari.websocket import LATE_TIMER_S, HandshakeRefusedError, WebSocket, connect

log = logging.getLogger("vsek.ari")

Done = Callable[["Reply | AriError"], None]
"""Gets the fate of a request, once; possibly before ``send`` has returned."""

# A reply to ``GET channels`` may be large; events are small.
MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
# Asterisk is not done with a connection that ended: a new one that crosses its end may lose its
# application to it.
AFTER_LOSS_S: Final = 0.05
# An Asterisk that stood still carries out our old attempts to connect when it goes on.
GHOST_S: Final = 60.0
LOGIN_REFUSED: Final = frozenset({401, 403})


@dataclass(frozen=True)
class SocketOptions:
    """Where and how to connect. Times in seconds."""

    url: str
    headers: dict[str, str]
    app: str
    heartbeat_s: float
    connect_timeout_s: float
    backoff: Backoff


def promise() -> tuple[asyncio.Future[Reply], Done]:
    """A future, and what gives it its result or its exception."""
    future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    return future, partial(_resolve, future)


def _resolve(future: asyncio.Future[Reply], fate: Reply | AriError) -> None:
    if future.done():
        return
    if isinstance(fate, Reply):
        future.set_result(fate)
    else:
        future.set_exception(fate)
        future.exception()  # whoever drops the future must not hear of it from the collector


def tell(done: Done, fate: Reply | AriError) -> None:
    """Call ``done``, whatever it makes of it."""
    try:
        done(fate)
    except Exception:
        # A mistake of whoever asked is no reason to stop reading.
        log.exception("what was to be done with a reply failed")


class AriSocket:
    """One WebSocket under one application name.

    ``gate`` is awaited before each attempt to connect. ``on_up`` and ``on_down(reason)`` tell of
    the connection, ``on_event`` gets every event in order, ``on_replaced`` is called once.
    ``on_trouble`` is called when an attempt failed; ``last_error`` says why. ``around`` is
    called before and after the messages of one read of the socket.
    """

    def __init__(
        self,
        options: SocketOptions,
        protocol: AriProtocol,
        *,
        on_event: Callable[[Event], None],
        on_up: Callable[[], None],
        on_down: Callable[[str], None],
        on_replaced: Callable[[], None],
        on_trouble: Callable[[], None],
        gate: Callable[[], Awaitable[None]] | None = None,
        around: tuple[Callable[[], None], Callable[[], None]] | None = None,
    ) -> None:
        self.protocol = protocol
        self.last_error: AriError | None = None
        self.connection = 0
        """How many connections there have been."""
        self.heard = 0
        """How many messages have come over all of them."""
        self._options = options
        self._on_event = on_event
        self._on_up = on_up
        self._on_down = on_down
        self._on_replaced = on_replaced
        self._on_trouble = on_trouble
        self._gate = gate
        self._around = around
        self._loop = asyncio.get_running_loop()
        self._ws: WebSocket | None = None
        self._ghosts: list[float] = []
        self._waiting: dict[str, Done] = {}
        self._backlog: deque[tuple[str, bytes]] = deque()
        self._gathered: list[bytes] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0

    @property
    def up(self) -> bool:
        """Whether requests can be sent."""
        return self.protocol.state is State.OPEN

    # -- requests ---------------------------------------------------------------------------

    def submit(
        self, method: str, uri: str, query: Query | None, body: Any, deadline_s: float
    ) -> asyncio.Future[Reply]:
        """Writes a request; the future gets the reply or an ``AriError``."""
        future, done = promise()
        self.send(method, uri, query, body, deadline_s, done)
        return future

    def send(  # noqa: PLR0917 - as submit, and whom to tell
        self,
        method: str,
        uri: str,
        query: Query | None,
        body: Any,
        deadline_s: float,
        done: Done,
    ) -> None:
        """Writes a request; ``done`` gets the reply or an ``AriError``."""
        try:
            request_id, frame = self.protocol.request(
                method, uri, query, body, now=self._loop.time(), deadline_s=deadline_s
            )
        except AriError as error:
            tell(done, error)
            return
        self._waiting[request_id] = done
        self._arm_timer()
        assert self._ws is not None
        if self._ws.paused:
            self._backlog.append((request_id, frame))
        elif self._gathered is not None:
            self._gathered.append(frame)
        else:
            self._ws.send((frame,))

    def gather(self) -> None:
        """Keep what is submitted from now on, for :meth:`flush`. Only within one callback."""
        self._gathered = []

    def flush(self) -> None:
        """Write what was kept, at once."""
        frames, self._gathered = self._gathered, None
        if frames and self._ws is not None:
            self._ws.send(frames)

    def _write_backlog(self) -> None:
        while self._backlog and self._ws is not None and not self._ws.paused:
            request_id, frame = self._backlog.popleft()
            if self.protocol.is_pending(request_id):
                self._ws.send((frame,))

    def _arm_timer(self) -> None:
        due = self.protocol.next_deadline
        if due is None:
            return
        if self._timer is not None:
            if self._timer_due <= due:
                return
            self._timer.cancel()
        # Not asked of the handle: uvloop's has no time when it is due at once.
        self._timer_due = due
        self._timer = self._loop.call_at(due, self._on_timer, due)

    def _on_timer(self, planned: float) -> None:
        self._timer = None
        if self._loop.time() - planned > LATE_TIMER_S:
            self._timer_due = self._loop.time() + LATE_TIMER_S / 2
            self._timer = self._loop.call_later(LATE_TIMER_S / 2, self._expire)
        else:
            self._expire()

    def _expire(self) -> None:
        self._timer = None
        for expired in self.protocol.expire(self._loop.time()):
            error = AriTimeout(
                f"{expired.method} {expired.uri}: no reply within {expired.deadline_s:.3g} s",
            )
            self._fail(expired.request_id, error)
        self._arm_timer()

    def _fail(self, request_id: str, error: AriError) -> None:
        tell(self._waiting.pop(request_id), error)

    def _fail_all(self, ids: list[str], make: Callable[[], AriError]) -> None:
        self._backlog.clear()
        for request_id in ids:
            self._fail(request_id, make())

    # -- connection -------------------------------------------------------------------------

    async def run(self) -> None:
        """Keeps the connection. Ends only by cancellation or with ``AriReplaced``."""
        attempt, lasted_s = 0, 0.0
        options = self._options
        while True:
            delay_s = options.backoff.delay_s(attempt, random.random())  # noqa: S311
            if lasted_s:
                delay_s = max(delay_s, AFTER_LOSS_S)
            if delay_s:
                await asyncio.sleep(delay_s)
            if self._gate is not None:
                await self._gate()
            started = self._loop.time()
            lasted_s = 0.0
            try:
                ws = await self._connect()
            except (OSError, TimeoutError) as error:
                if isinstance(error, TimeoutError):
                    self._ghosts.append(self._loop.time() + GHOST_S)
                self._trouble(self._explain(error))
            else:
                await self._serve(ws)
                lasted_s = self._loop.time() - started
            attempt = options.backoff.next_attempt(attempt, lasted_s)

    async def _connect(self) -> WebSocket:
        options = self._options
        query = urlencode({"app": options.app, "subscribeAll": "false"})
        async with asyncio.timeout(options.connect_timeout_s):
            return await connect(
                f"{options.url}/ari/events?{query}",
                options.headers,
                heartbeat_s=options.heartbeat_s,
                longest=MAX_MESSAGE_BYTES,
            )

    def _is_ghost(self) -> bool:
        """Whether whoever replaced us may be an attempt that we gave up; each counts once."""
        now = self._loop.time()
        self._ghosts = [until for until in self._ghosts if until > now]
        return bool(self._ghosts and self._ghosts.pop(0))

    def _trouble(self, error: AriError) -> None:
        # Attempts go on every few seconds; one line for each new reason is enough.
        level = logging.DEBUG if str(error) == str(self.last_error) else logging.WARNING
        log.log(level, "%s", error)
        self.last_error = error
        self._on_trouble()

    def _explain(self, error: Exception) -> AriError:
        place = f"Asterisk at {self._options.url}"
        if isinstance(error, HandshakeRefusedError):
            if error.status in LOGIN_REFUSED:
                return AriLoginRefused(
                    f"{place} refuses the login ({error.status})",
                    remedy="Compare user and password with ari.conf; read_only must be no",
                )
            return AriDisconnected(
                f"{place} answers {error.status} instead of opening a WebSocket",
                remedy="Load res_ari, res_ari_events and res_http_websocket; see sessionlimit",
            )
        text = str(error) or "no answer within the time allowed"
        return AriDisconnected(f"{place} cannot be reached: {text}")

    async def _serve(self, ws: WebSocket) -> None:
        """Reads until the connection ends."""
        self._ws = ws
        self.connection += 1
        self.protocol.connected()
        self.last_error = None
        reason: str | None = None
        try:
            self._on_up()
            ws.begin(self._on_texts, self._write_backlog)
            reason = f"connection to Asterisk lost: {await ws.ended}"
            if self.protocol.state is State.FENCED and self._is_ghost():
                reason = "an earlier attempt of our own took the application over"
                ids, self.protocol = self.protocol.fence(), AriProtocol(self.protocol.prefix)
                self._fail_all(ids, lambda: AriDisconnected("the line was replaced", sent=True))
        except Exception:
            # A mistake of ours must not leave the calls without anybody for ever.
            log.exception("reading from Asterisk failed")
            reason = "our reader failed"
        finally:
            await self._ended(ws, reason)
        if self.protocol.state is State.FENCED:
            self._on_replaced()
            raise AriReplaced("another program owns our application now")
        self._on_down(reason)

    def _on_texts(self, texts: list[bytes]) -> None:
        if self._around is None:
            self._take(texts)
            return
        before, after = self._around
        before()
        try:
            self._take(texts)
        finally:
            after()

    def _take(self, texts: list[bytes]) -> None:
        now = self._loop.time()
        self.heard += len(texts)
        for text in texts:
            for item in self.protocol.feed(text, now):
                self._handle(item)
            if self.protocol.state is State.FENCED:
                if self._ws is not None:
                    self._ws.end("replaced")
                return

    def _handle(self, item: Event | Reply | Malformed) -> None:
        if isinstance(item, Reply):
            tell(self._waiting.pop(item.request_id), item)
        elif isinstance(item, Malformed):
            log.error("Asterisk sent what is no ARI message (%s): %s", item.problem, item.start)
        else:
            self._on_event(item)

    async def _ended(self, ws: WebSocket, reason: str | None) -> None:
        self._ws = None
        if self.protocol.state is State.FENCED:
            self.fence()
        elif reason is None:
            self._fail_all(
                self.protocol.disconnected(), lambda: AriClosed("the client was closed", sent=True)
            )
        else:
            self._fail_all(self.protocol.disconnected(), lambda: AriDisconnected(reason, sent=True))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await ws.close()

    def drop(self, reason: str) -> None:
        """Ends this connection because it carries nothing; another one follows."""
        if self._ws is not None:
            self._ws.end(reason)

    def fence(self) -> None:
        """Sends nothing any more; what is pending fails with ``AriReplaced``."""
        self._fail_all(
            self.protocol.fence(),
            lambda: AriReplaced("another program owns our application now"),
        )

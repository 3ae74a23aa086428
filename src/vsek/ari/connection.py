"""One WebSocket to Asterisk: connects, reads, writes, connects again.

Theory of operation. ``AriSocket.run`` is the only reader. It hands each frame to the sans-I/O
protocol and the results to futures and to ``on_event``, all synchronously: it never waits for a
handler, because Asterisk drops a socket whose reader stalls. ``submit`` writes at once, without
awaiting; only when the kernel does not take any more do frames wait in ``_backlog``, in order,
and those whose deadline passes there are never sent.

One timer stands at the earliest deadline. When the event loop was blocked, replies may lie unread
in the socket while the timer is already due; a late timer therefore lets the reader go first.

After ``ApplicationReplaced`` nothing is written any more and ``run`` ends with ``AriReplaced``;
unless it may have been an attempt of our own that we gave up because Asterisk stood still: when it
goes on it serves that attempt too, perhaps after the one that we are connected by. Then the line is
made anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

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

log = logging.getLogger("vsek.ari")

# A reply to ``GET channels`` may be large; events are small.
MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
# A deadline timer that fires later than this found a blocked loop; it waits once more.
LATE_TIMER_S: Final = 0.1
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


class _Resume(Awaitable[None]):
    """Goes on with a coroutine that was started by hand and now waits for ``first``."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], first: Any) -> None:
        self._coroutine = coroutine
        self._first = first

    def __await__(self) -> Generator[Any, Any, None]:
        waiting_for = self._first
        while True:
            yield waiting_for
            try:
                waiting_for = self._coroutine.send(None)
            except StopIteration:
                return


class AriSocket:
    """One WebSocket under one application name.

    ``gate`` is awaited before each attempt to connect. ``on_up`` and ``on_down(reason)`` tell of
    the connection, ``on_event`` gets every event in order, ``on_replaced`` is called once.
    ``on_trouble`` is called when an attempt failed; ``last_error`` says why.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        options: SocketOptions,
        protocol: AriProtocol,
        *,
        on_event: Callable[[Event], None],
        on_up: Callable[[], None],
        on_down: Callable[[str], None],
        on_replaced: Callable[[], None],
        on_trouble: Callable[[], None],
        gate: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.protocol = protocol
        self.last_error: AriError | None = None
        self.connection = 0
        """How many connections there have been."""
        self.heard = 0
        """How many messages have come over all of them."""
        self._session = session
        self._options = options
        self._on_event = on_event
        self._on_up = on_up
        self._on_down = on_down
        self._on_replaced = on_replaced
        self._on_trouble = on_trouble
        self._gate = gate
        self._loop = asyncio.get_running_loop()
        self._ws: aiohttp.ClientWebSocketResponse | None = None
        self._ghosts: list[float] = []
        self._dropping: asyncio.Task[bool] | None = None
        self._drop_reason = ""
        self._futures: dict[str, asyncio.Future[Reply]] = {}
        self._backlog: deque[tuple[str, bytes]] = deque()
        self._drain: asyncio.Task[None] | None = None
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
        future: asyncio.Future[Reply] = self._loop.create_future()
        now = self._loop.time()
        try:
            request_id, frame = self.protocol.request(
                method, uri, query, body, now=now, deadline_s=deadline_s
            )
        except AriError as error:
            future.set_exception(error)
            future.exception()  # whoever drops the future must not hear of it from the collector
            return future
        self._futures[request_id] = future
        self._arm_timer()
        if self._drain is None:
            self._write(frame)
        else:
            self._backlog.append((request_id, frame))
        return future

    def _write(self, frame: bytes) -> None:
        assert self._ws is not None
        sending = self._ws.send_frame(frame, aiohttp.WSMsgType.TEXT)
        try:
            # Runs up to the first real wait: normally the frame is in the kernel by then.
            waiting_for = sending.send(None)
        except StopIteration:
            return
        except ConnectionError:
            return  # the reader notices as well, and fails what is pending
        self._drain = self._loop.create_task(
            self._write_backlog(_Resume(sending, waiting_for)),
            name=f"ari-drain-{self._options.app}",
        )

    async def _write_backlog(self, unfinished: Awaitable[None]) -> None:
        try:
            await unfinished
            while self._backlog:
                request_id, frame = self._backlog.popleft()
                if self._ws is not None and self.protocol.is_pending(request_id):
                    await self._ws.send_frame(frame, aiohttp.WSMsgType.TEXT)
        except ConnectionError as error:
            log.debug("writing to Asterisk failed: %s", error)
        finally:
            self._drain = None

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
        future = self._futures.pop(request_id)
        if not future.done():
            future.set_exception(error)
            future.exception()  # as in submit

    def _fail_all(self, ids: list[str], make: Callable[[], AriError]) -> None:
        self._backlog.clear()
        for request_id in ids:
            self._fail(request_id, make())

    # -- connection -------------------------------------------------------------------------

    async def run(self) -> None:
        """Keeps the connection. Ends only by cancellation or with ``AriReplaced``."""
        attempt = 0
        options = self._options
        while True:
            delay_s = options.backoff.delay_s(attempt, random.random())  # noqa: S311
            if delay_s:
                await asyncio.sleep(delay_s)
            if self._gate is not None:
                await self._gate()
            started = self._loop.time()
            lasted_s = 0.0
            try:
                ws = await self._connect()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                if isinstance(error, TimeoutError):
                    self._ghosts.append(self._loop.time() + GHOST_S)
                self._trouble(self._explain(error))
            else:
                await self._serve(ws)
                lasted_s = self._loop.time() - started
            attempt = options.backoff.next_attempt(attempt, lasted_s)

    async def _connect(self) -> aiohttp.ClientWebSocketResponse:
        options = self._options
        async with asyncio.timeout(options.connect_timeout_s):
            return await self._session.ws_connect(
                f"{options.url}/ari/events",
                params={"app": options.app, "subscribeAll": "false"},
                headers=options.headers,
                heartbeat=options.heartbeat_s,
                max_msg_size=MAX_MESSAGE_BYTES,
                timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
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
        if isinstance(error, aiohttp.WSServerHandshakeError):
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

    async def _serve(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        """Reads until the connection ends."""
        self._ws = ws
        self.connection += 1
        self._drop_reason = ""
        self.protocol.connected()
        self.last_error = None
        self._on_up()
        reason: str | None = None
        try:
            reason = await self._read(ws)
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

    async def _read(self, ws: aiohttp.ClientWebSocketResponse) -> str:
        feed, now = self.protocol.feed, self._loop.time
        while True:
            message = await ws.receive()
            self.heard += 1
            if message.type is aiohttp.WSMsgType.TEXT:
                for item in feed(message.data, now()):
                    self._handle(item)
                if self.protocol.state is State.FENCED:
                    return "replaced"
            elif message.type is not aiohttp.WSMsgType.BINARY:  # ARI has no binary frames
                why = self._drop_reason or ws.exception() or f"close code {ws.close_code}"
                return f"connection to Asterisk lost: {why}"

    def _handle(self, item: Event | Reply | Malformed) -> None:
        if isinstance(item, Reply):
            future = self._futures.pop(item.request_id)
            if not future.done():
                future.set_result(item)
        elif isinstance(item, Malformed):
            log.error("Asterisk sent what is no ARI message (%s): %s", item.problem, item.start)
        else:
            self._on_event(item)

    async def _ended(self, ws: aiohttp.ClientWebSocketResponse, reason: str | None) -> None:
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
        if self._drain is not None:
            self._drain.cancel()
            await asyncio.wait([self._drain])
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            await ws.close()

    def drop(self, reason: str) -> None:
        """Ends this connection because it carries nothing; another one follows."""
        if self._ws is not None and (self._dropping is None or self._dropping.done()):
            self._drop_reason = reason
            self._dropping = self._loop.create_task(
                self._ws.close(), name=f"ari-drop-{self._options.app}"
            )

    def fence(self) -> None:
        """Sends nothing any more; what is pending fails with ``AriReplaced``."""
        self._fail_all(
            self.protocol.fence(),
            lambda: AriReplaced("another program owns our application now"),
        )

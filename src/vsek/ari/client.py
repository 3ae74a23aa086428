"""The client of one Asterisk.

Theory of operation. One socket carries the application and its events; it sends no requests, so
that nothing ever holds up the events. ``command_sockets`` more sockets, each under a name of its
own (``APP-cmd-1`` …) carry the requests: Asterisk serves one socket strictly in order, so requests
of one lane (a channel, a bridge, a call) share a socket and keep their order, and a slow one holds
up only the lanes of its socket. They bring no events, except what the first one's application
(:attr:`Client.side_app`) is subscribed to.

The event socket connects when all command sockets are up: an application that cannot command
should not get calls. ``on_connected`` tells that the events flow (again); what happened in the gap
is lost, so that is the moment to compare with ``GET channels`` and the like. If a command socket
alone is lost, commands are lost as well: that counts as a disconnection until it is back.

Once another program takes over the application (``ApplicationReplaced`` on any of the sockets)
the client is fenced: all sockets close, everything pending and everything new fails with
``AriReplaced``.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import re
import zlib
from collections.abc import Callable
from typing import Any, Final, Self

import aiohttp
import msgspec
import yarl

from vsek.ari._generated import objects
from vsek.ari._generated.events import ApplicationReplaced
from vsek.ari._generated.resources import Resources
from vsek.ari.backoff import Backoff
from vsek.ari.base import Event
from vsek.ari.callbacks import EventCallbacks
from vsek.ari.connection import AriSocket, Done, SocketOptions, promise, tell
from vsek.ari.errors import (
    AriClosed,
    AriDisconnected,
    AriError,
    AriLoginRefused,
    AriReplaced,
    AriTimeout,
)
from vsek.ari.protocol import AriProtocol, Query, Reply, parse_body, query_items
from vsek.ari.resource import AriObject
from vsek.ari.subscriptions import Subscriptions
from vsek.ari.watch import Watch
from vsek.errors import InputError

log = logging.getLogger("vsek.ari")

HTTP_DEADLINE_S: Final = 30.0
HTTP_CONNECTIONS: Final = 8


class Client(Resources, EventCallbacks):
    """Asterisk's REST interface: ``client.channels.originate(…)``, events and raw requests.

    ``url`` is the root of Asterisk's HTTP server, without ``/ari``. ``deadline_s`` is how long a
    request may take, in seconds; ``heartbeat_s`` how long a silent connection is trusted.
    ``watch_s``: how often each line is asked for a sign of life from end to end (0: never), which
    must come within twice that.
    """

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        *,
        app: str = "vsek",
        command_sockets: int = 2,
        deadline_s: float = 5.0,
        heartbeat_s: float = 10.0,
        watch_s: float = 0.0,
        connect_timeout_s: float = 5.0,
        backoff: Backoff | None = None,
    ) -> None:
        super().__init__(self)
        if command_sockets < 1:
            raise ValueError("command_sockets must be at least 1")
        self.url = url.rstrip("/").removesuffix("/ari")
        if not re.fullmatch(r"https?://[^/?#]+(/[^?#]*)?", self.url):
            raise InputError(
                "The address of Asterisk's HTTP server is not a URL",
                field="url",
                value=url,
                remedy="Give it as in http://127.0.0.1:8088",
            )
        self.app = app
        self.deadline_s = deadline_s
        login = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {login}"}
        self._heartbeat_s = heartbeat_s
        self._watch = Watch(app, self.side_app, watch_s)
        self._connect_timeout_s = connect_timeout_s
        self._backoff = backoff or Backoff()
        self._command_count = command_sockets
        self._http: aiohttp.ClientSession | None = None
        self._commands: list[AriSocket] = []
        self._events: AriSocket | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._commands_up = asyncio.Event()
        self._connected = asyncio.Event()
        self._changed = asyncio.Event()
        self._replaced = False
        self._closed = False
        self._subscriptions = Subscriptions(self.wrap)
        self._in_turn: list[AriSocket] | None = None
        """While events are read: whose commands were submitted, in order."""
        self._before_reads: list[Callable[[], None]] = []
        self._after_reads: list[Callable[[], None]] = []
        self._on_connected: list[Callable[[], None]] = []
        self._on_disconnected: list[Callable[[str], None]] = []
        self._on_replaced: list[Callable[[], None]] = []

    # -- life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begins to connect, and goes on until ``close``; see ``wait_connected``."""
        if self._http is not None:
            raise RuntimeError("the client was started before")
        # Asterisk closes an idle connection after 15 s (session_keep_alive); ours must be given up
        # earlier.
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=HTTP_CONNECTIONS, keepalive_timeout=5.0)
        )
        for number in range(1, self._command_count + 1):
            self._commands.append(self._socket(self._command_app(number), f"{number}-"))
        self._events = self._socket(self.app, "0-", events=True)
        for socket, name in [(s, "command") for s in self._commands] + [(self._events, "events")]:
            task = asyncio.create_task(socket.run(), name=f"ari-{name}")
            task.add_done_callback(self._socket_ended)
            self._tasks.append(task)
        if self._watch.every_s:
            watch = self._watch.run(self._commands, self._events, self._connected)
            self._tasks.append(asyncio.create_task(watch, name="ari-watch"))

    def _socket(self, app: str, prefix: str, *, events: bool = False) -> AriSocket:
        return AriSocket(
            SocketOptions(
                url=self.url,
                headers=self._headers,
                app=app,
                heartbeat_s=self._heartbeat_s,
                connect_timeout_s=self._connect_timeout_s,
                backoff=self._backoff,
            ),
            AriProtocol(prefix),
            on_event=self._dispatch if events else self._aside,
            on_up=self._events_up if events else self._command_changed,
            on_down=self._events_down if events else self._command_down,
            on_replaced=self._fence,
            on_trouble=self._changed.set,
            gate=self._wait_commands_up if events else None,
            around=(self._before_read, self._after_read) if events else None,
        )

    async def __aenter__(self) -> Self:
        await self.start()
        await self.wait_connected()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def connected(self) -> bool:
        """Whether events flow."""
        return self._connected.is_set()

    @property
    def replaced(self) -> bool:
        """Whether another program took over the application."""
        return self._replaced

    @property
    def side_app(self) -> str:
        """An application of ours without channels: for events that are wanted of something without
        what a subscription of ``app`` to it would bring besides. They are told like all others.
        Who filters what it gets leaves ``ChannelUserevent`` in, its sign of life."""
        return self._command_app(1)

    def _command_app(self, number: int) -> str:
        return f"{self.app}-cmd-{number}"

    @property
    def late_replies(self) -> int:
        """Replies so far that came after their request's deadline."""
        return sum(socket.protocol.late_replies for socket in self._commands)

    async def wait_connected(self, timeout_s: float | None = None) -> None:
        """Waits until events flow.

        Raises ``AriLoginRefused`` as soon as Asterisk refuses the login, ``AriReplaced`` when
        fenced, ``AriClosed`` when closed, and after ``timeout_s`` the last error (or
        ``AriTimeout``). The client goes on trying in any case.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not self._connected.is_set():
                    self._raise_if_over()
                    if isinstance(error := self._last_error(), AriLoginRefused):
                        raise error
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise (self._last_error() or AriTimeout("no connection to Asterisk yet")) from None

    def _last_error(self) -> AriError | None:
        sockets = [*self._commands, *([self._events] if self._events else [])]
        return next((s.last_error for s in sockets if s.last_error is not None), None)

    def _raise_if_over(self) -> None:
        if self._replaced:
            raise AriReplaced("another program owns our application now")
        if self._closed:
            raise AriClosed("the client was closed")

    async def close(self) -> None:
        """Ends the connections; what is pending fails with ``AriClosed``."""
        self._closed = True
        self._changed.set()
        self._connected.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._subscriptions.close()
        if self._http is not None:
            await self._http.close()

    # -- what the sockets tell --------------------------------------------------------------

    def _before_read(self) -> None:
        """Events that came together: the commands that they cause leave together as well, and those
        of the first command's socket first."""
        self._in_turn = []
        for socket in self._commands:
            socket.gather()
        for before in self._before_reads:
            before()

    def _after_read(self) -> None:
        try:
            for after in self._after_reads:
                after()
        finally:
            first, self._in_turn = self._in_turn or (), None
            for socket in dict.fromkeys((*first, *self._commands)):
                socket.flush()

    async def _wait_commands_up(self) -> None:
        await self._commands_up.wait()

    def _aside(self, event: Event) -> None:
        """What comes on a command socket: all but what concerns the socket itself."""
        if not isinstance(event, ApplicationReplaced):
            self._dispatch(event)

    def _dispatch(self, event: Event) -> None:
        if not self._watch.takes(event):
            self._subscriptions.dispatch(event)

    def _command_changed(self) -> None:
        if all(socket.up for socket in self._commands):
            self._commands_up.set()
            self._events_up()
        else:
            self._commands_up.clear()

    def _command_down(self, reason: str) -> None:
        log.warning("a command connection to Asterisk is down: %s", reason)
        self._command_changed()
        self._down(reason)

    def _events_up(self) -> None:
        """Connected again when every line stands."""
        if self._events is None or not self._events.up or not self._commands_up.is_set():
            return
        self._connected.set()
        self._changed.set()
        self._tell(self._on_connected)

    def _events_down(self, reason: str) -> None:
        log.warning("the event connection to Asterisk is down: %s", reason)
        self._down(reason)

    def _down(self, reason: str) -> None:
        if self._connected.is_set():
            self._connected.clear()
            self._tell(self._on_disconnected, reason)

    def _fence(self) -> None:
        if self._replaced or self._closed:
            return
        self._replaced = True
        self._connected.clear()
        self._changed.set()
        log.error("another program took over the ARI application %s; this one is fenced", self.app)
        for socket in [*self._commands, *([self._events] if self._events else [])]:
            socket.fence()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        self._tell(self._on_replaced)

    def _socket_ended(self, task: asyncio.Task[None]) -> None:
        self._changed.set()
        if task.cancelled() or (error := task.exception()) is None:
            return
        if not isinstance(error, AriReplaced):
            log.critical("a connection task failed", exc_info=error)

    @staticmethod
    def _tell(callbacks: list[Callable[..., None]], *arguments: Any) -> None:
        for callback in callbacks:
            try:
                callback(*arguments)
            except Exception:
                log.exception("a callback of the connection failed")

    # -- requests ---------------------------------------------------------------------------

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
        """Writes a request to the socket of ``lane`` at once and returns the future reply.

        ``uri`` without ``ari/``, segments percent-encoded. A status of 400 or more is a reply as
        well; the future fails with ``AriTimeout``, ``AriDisconnected`` or ``AriReplaced`` (or
        ``AriFrameTooLarge``). Never raises; whoever does not care may drop the future.
        """
        future, done = promise()
        self.send(method, uri, query, body, done, lane=lane, deadline_s=deadline_s)
        return future

    def send(
        self,
        method: str,
        uri: str,
        query: Query | None,
        body: Any,
        done: Done,
        *,
        lane: str = "",
        deadline_s: float | None = None,
        at_once: bool = False,
    ) -> None:
        """As :meth:`submit`, for who sends thousands: ``done`` is called with the reply, or with
        the error, as soon as it is read, without a future and a turn of the loop in between.

        Commands that events cause leave when all events of that read were told; ``at_once`` does
        not wait for that.
        """
        commands = self._commands
        if not commands or self._closed:
            closed = AriClosed("the client was closed")
            tell(done, closed if self._closed else AriDisconnected("the client was not started"))
            return
        socket = commands[zlib.crc32(lane.encode()) % len(commands)]
        if self._in_turn is not None:
            self._in_turn.append(socket)
        socket.send(method, uri, query, body, deadline_s or self.deadline_s, done)
        if at_once and self._in_turn is not None:
            socket.flush()
            socket.gather()

    async def http(
        self,
        method: str,
        uri: str,
        query: Query | None = None,
        body: Any = None,
        deadline_s: float | None = None,
    ) -> Reply:
        """Sends a request over HTTP: for big lists and binaries.

        The body of the reply is parsed JSON, or bytes if it is something else. Not ordered
        against ``submit``. Raises as the future of ``submit`` fails; default deadline 30 s.
        """
        self._raise_if_over()
        if self._http is None:
            raise AriDisconnected("the client was not started")
        deadline_s = deadline_s or HTTP_DEADLINE_S
        loop = asyncio.get_running_loop()
        started = loop.time()
        url = yarl.URL(f"{self.url}/ari/{uri}", encoded=True).with_query(query_items(query))
        headers = dict(self._headers)
        data = None
        if body is not None:
            data = msgspec.json.encode(body)
            headers["Content-Type"] = "application/json"
        try:
            async with (
                asyncio.timeout(deadline_s),
                self._http.request(method, url, data=data, headers=headers) as response,
            ):
                content = await response.read()
        except TimeoutError:
            text = f"{method} {uri}: no reply over HTTP within {deadline_s:.3g} s"
            raise AriTimeout(text) from None
        except (aiohttp.ClientError, OSError) as error:
            self._raise_if_over()
            raise AriDisconnected(f"{method} {uri}: {error}", sent=True) from error
        if response.content_type == "application/json":
            parsed = parse_body(content.decode(), "application/json")
        else:
            parsed = content or None
        return Reply(
            status=response.status,
            body=parsed,
            reason=response.reason or "",
            took_s=loop.time() - started,
        )

    # -- callbacks --------------------------------------------------------------------------

    def around_reads(self, before: Callable[[], None], after: Callable[[], None]) -> None:
        """``before`` is called before the events of one read of the event line are told, ``after``
        after the last of them, in any case. Commands of both and between are sent then."""
        self._before_reads.append(before)
        self._after_reads.append(after)

    def on_connected(self, callback: Callable[[], None]) -> None:
        """Calls ``callback()`` each time events begin to flow."""
        self._on_connected.append(callback)

    def on_disconnected(self, callback: Callable[[str], None]) -> None:
        """Calls ``callback(reason)`` each time the event connection is lost."""
        self._on_disconnected.append(callback)

    def on_replaced(self, callback: Callable[[], None]) -> None:
        """Calls ``callback()`` when another program took over the application."""
        self._on_replaced.append(callback)

    def wrap(self, kind: str, model: Any) -> AriObject[Any]:
        """The live object for a model out of an event, for example ``event.replace_channel``."""
        return objects.KINDS[kind](self, model)

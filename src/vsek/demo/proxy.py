"""A line that can be broken: a TCP (or unix socket) proxy with faults on order.

Theory of operation. The proxy stands between a program and the server that it leans on. Each
connection is a ``Link`` with two ways, ``up`` (to the server) and ``down`` (to the client). Each
way is a reader that puts what comes into a short queue, and a writer that lets it out: after the
delay, not faster than the rate, and not at all while the way is held. A held way is a black hole as
a network makes it: both ends see a connection that stands, nothing arrives, and what was sent
meanwhile arrives when the way is released. The queue is bounded, so a sender that goes on fills its
own buffers in the end, as it would in the field.

Faults apply to the links whose first bytes contain ``only`` (a WebSocket's request line names its
application, say); new links take over what applies to them. The server's address may be a function,
asked at each connection: the port of a server that is started later need not be known before.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Address = tuple[str, int] | Path
Way = Literal["up", "down"]

_CHUNK = 16 * 1024
_QUEUE_CHUNKS = 16
_RESET = struct.pack("ii", 1, 0)
_CONNECT_S = 5.0


@dataclass
class Faults:
    """What is wrong with one way: ``rate`` in bytes a second, 0 for unlimited."""

    hold: bool = False
    delay_s: float = 0.0
    rate: float = 0.0
    cut_within: bool = False
    """Let half of the next bytes pass, then cut."""


@dataclass
class _Rule:
    only: bytes
    ways: tuple[Way, ...]
    change: Callable[[Faults], None]


class Link:
    """One connection through the proxy; ``head`` is what the client said first."""

    def __init__(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None,
        rules: list[_Rule],
    ) -> None:
        self.head = b""
        self.passed: dict[Way, int] = {"up": 0, "down": 0}
        self.faults: dict[Way, Faults] = {"up": Faults(), "down": Faults()}
        self._client = client
        self._server = server
        self._rules = rules
        self._changed = asyncio.Event()
        self._open = True

    def apply(self, rule: _Rule) -> None:
        """Take over a fault, if it is meant for this link."""
        if rule.only in self.head:
            for way in rule.ways:
                rule.change(self.faults[way])
            self._wake()

    def heal(self) -> None:
        """All faults end; what was held goes on."""
        for way in self.faults:
            self.faults[way] = Faults()
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def cut(self, *, reset: bool) -> None:
        """End both connections at once: with a reset, or as if each end had closed."""
        if not self._open:
            return
        self._open = False
        self._wake()
        for side in (self._client, self._server):
            if side is None:
                continue
            transport = side[1].transport
            if reset:
                raw = transport.get_extra_info("socket")
                if raw is not None and raw.fileno() >= 0 and raw.family != socket.AF_UNIX:
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                transport.abort()
            else:
                side[1].close()

    async def run(self) -> None:
        """Carry bytes both ways until one end closes."""
        self._follow()
        try:
            if self._server is None:
                await self._client[0].read()  # until the client gives up
                return
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry("up", self._client[0], self._server[1]))
                group.create_task(self._carry("down", self._server[0], self._client[1]))
        except* OSError:
            pass  # one of the ends is gone: that is what a broken line is
        finally:
            self.cut(reset=False)

    def _follow(self) -> None:
        for rule in self._rules:
            self.apply(rule)

    async def _carry(
        self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUE_CHUNKS)
        reading = asyncio.create_task(self._read(way, reader, queue), name=f"proxy-read-{way}")
        try:
            await self._write(way, writer, queue)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(
        self, way: Way, reader: asyncio.StreamReader, queue: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        data = b"more"
        while data:
            try:
                data = await reader.read(_CHUNK)
            except OSError:
                data = b""
            if way == "up" and not self.head:
                self.head = data
                self._follow()
            await queue.put((asyncio.get_running_loop().time(), data))

    async def _write(
        self, way: Way, writer: asyncio.StreamWriter, queue: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        while True:
            came, data = await queue.get()
            await self._until_let_out(way, came, len(data))
            if not self._open:
                return
            if not data:
                writer.close()
                return
            half = self.faults[way].cut_within
            writer.write(data[: max(1, len(data) // 2)] if half else data)
            await writer.drain()
            self.passed[way] += len(data)
            if half:
                self.cut(reset=False)
                return

    async def _until_let_out(self, way: Way, came: float, size: int) -> None:
        loop = asyncio.get_running_loop()
        while self._open:
            changed, faults = self._changed, self.faults[way]
            if faults.hold:
                await changed.wait()
                continue
            wait_s = came + faults.delay_s - loop.time()
            if faults.rate:
                wait_s = max(wait_s, 0.0) + size / faults.rate
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            return


@dataclass
class Proxy:
    """Listens on 127.0.0.1 (or at ``path``) and passes on to ``target``."""

    target: Address | Callable[[], Address]
    port: int = 0
    path: Path | None = None
    accepted: int = 0
    """How many connections there have been."""
    links: set[Link] = field(default_factory=set)
    _rules: list[_Rule] = field(default_factory=list)
    _mute: bool = False
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def address(self) -> str:
        """``HOST:PORT`` where it listens."""
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen; later on again at the same place (see :meth:`refuse`)."""
        if self._server is not None:
            return
        if self.path is not None:
            self.path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._connected, self.path)
        else:
            self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Cut everything and stop listening."""
        self.refuse()
        self.cut()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    # -- faults ------------------------------------------------------------------------------

    def refuse(self) -> None:
        """New connections are refused until ``start``; those that stand go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def cut(self, only: bytes = b"", *, reset: bool = True) -> int:
        """End the links at once; how many that were."""
        meant = [link for link in self.links if only in link.head]
        for link in meant:
            link.cut(reset=reset)
        return len(meant)

    def hold(self, only: bytes = b"", ways: tuple[Way, ...] = ("up", "down")) -> None:
        """Black hole: nothing comes through, no end sees a reset; also for links to come."""

        def change(faults: Faults) -> None:
            faults.hold = True

        self._rule(_Rule(only, ways, change))

    def delay(self, delay_s: float, only: bytes = b"") -> None:
        """Everything arrives ``delay_s`` seconds later, each way."""

        def change(faults: Faults) -> None:
            faults.delay_s = delay_s

        self._rule(_Rule(only, ("up", "down"), change))

    def throttle(self, rate: float, only: bytes = b"") -> None:
        """At most ``rate`` bytes a second, each way."""

        def change(faults: Faults) -> None:
            faults.rate = rate

        self._rule(_Rule(only, ("up", "down"), change))

    def cut_within(self, only: bytes = b"", way: Way = "down") -> None:
        """Each link is cut in the middle of what comes next; links to come are not."""

        def change(faults: Faults) -> None:
            faults.cut_within = True

        for link in self.links:
            link.apply(_Rule(only, (way,), change))

    def mute(self) -> None:
        """New connections are taken and never answered; those that stand go on."""
        self._mute = True

    def heal(self) -> None:
        """No faults any more. What was held arrives now, what was muted stays mute."""
        self._rules.clear()
        self._mute = False
        for link in self.links:
            link.heal()

    def _rule(self, rule: _Rule) -> None:
        self._rules.append(rule)
        for link in self.links:
            link.apply(rule)

    # -- connections -------------------------------------------------------------------------

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        try:
            server = None if self._mute else await self._reach()
            link = Link((reader, writer), server, self._rules)
            self.links.add(link)
            try:
                await link.run()
            finally:
                self.links.discard(link)
        except (OSError, TimeoutError, asyncio.CancelledError):
            # The server refuses, so do we; or we stop, and nobody else waits for this task.
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        target = self.target() if callable(self.target) else self.target
        async with asyncio.timeout(_CONNECT_S):
            if isinstance(target, Path):
                return await asyncio.open_unix_connection(target)
            return await asyncio.open_connection(*target)

"""A WebSocket to Asterisk: the client's half of RFC 6455, as small as ARI needs it.

Theory of operation. Everything happens in the transport's callbacks: what one read of the socket
brought is cut into frames, and its texts go to ``on_texts`` at once and together, without a queue,
a future or a task in between. That is why this is not a library's WebSocket: those hand each
message through all three, and one call brings some thirty messages.

``send`` writes at once, all that it gets with one write. While ``paused``, the kernel does not take
any more; whoever sends then fills the memory, so wait for ``on_resume``.

``ended`` gets the reason for the end, once. A line that has said nothing for ``heartbeat_s`` is
asked for a pong and given up half as long after that.

What Asterisk does not use is left out: compression, subprotocols, binary messages (they are
ignored).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import random
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Final, cast
from urllib.parse import urlsplit

OnTexts = Callable[[list[bytes]], None]

LATE_TIMER_S: Final = 0.1
"""A timer that fires later than this found a blocked loop: what arrived meanwhile goes first."""
CLOSE_S: Final = 1.0
"""How long the other side may take to say goodbye."""
_LONGEST_HEAD: Final = 64 * 1024
_MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x8, 0x9, 0xA
_WHOLE_TEXT: Final = 0x80 | _TEXT
_GOODBYE: Final = (1000).to_bytes(2, "big")


class HandshakeRefusedError(ConnectionError):
    """The server answered with ``status`` instead of opening a WebSocket."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


def frame(opcode: int, payload: bytes, mask: int) -> bytes:
    """A whole message in one frame, masked with ``mask`` (32 bits) as a client has to."""
    length = len(payload)
    if length < 126:
        head = bytes((0x80 | opcode, 0x80 | length))
    elif length < 65_536:
        head = bytes((0x80 | opcode, 0xFE)) + length.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0xFF)) + length.to_bytes(8, "big")
    key = mask.to_bytes(4, "big")
    # As one number: the quickest that Python can do without help.
    keys = key * (length // 4) + key[: length % 4]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")
    return head + key + masked.to_bytes(length, "big")


def _mask() -> int:
    # Against caches between browsers and servers that read HTTP into it; it keeps no secret.
    return random.getrandbits(32)


class Frames:
    """Cuts what the server sends into messages. ``longest``: bytes that a message may have."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._buffer = b""
        self._kind = 0
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The messages (opcode, content) that ``data`` completes. Raises ``ValueError`` for what
        breaks the protocol."""
        buffer = self._buffer + data if self._buffer else data
        messages: list[tuple[int, bytes]] = []
        at, end = 0, len(buffer)
        while end - at >= 2:
            first, second = buffer[at], buffer[at + 1]
            length, start = second & 0x7F, at + 2
            if length >= 126:
                start += 2 if length == 126 else 8
                if start > end:
                    break
                length = int.from_bytes(buffer[at + 2 : start], "big")
            if second & 0x80 or first & 0x70:
                raise ValueError("a frame that is masked or extended")
            if length > self._longest:
                raise ValueError(f"a message of {length} bytes")
            if start + length > end:
                break
            at = start + length
            if first == _WHOLE_TEXT and not self._parts:
                messages.append((_TEXT, buffer[start:at]))
            else:
                self._take(first, buffer[start:at], messages)
        self._buffer = buffer[at:]
        return messages

    def _take(self, first: int, content: bytes, messages: list[tuple[int, bytes]]) -> None:
        opcode, final = first & 0x0F, first & 0x80
        if opcode >= _CLOSE or (final and opcode and not self._parts):
            messages.append((opcode, content))
        else:
            self._collect(opcode, content, messages, final=bool(final))

    def _collect(
        self, opcode: int, content: bytes, messages: list[tuple[int, bytes]], *, final: bool
    ) -> None:
        """A message that comes in several frames."""
        if bool(opcode) == bool(self._parts):
            raise ValueError("frames of messages that are mixed up")
        self._kind = opcode or self._kind
        self._parts.append(content)
        self._size += len(content)
        if self._size > self._longest:
            raise ValueError(f"a message of {self._size} bytes")
        if final:
            messages.append((self._kind, b"".join(self._parts)))
            self._parts, self._size = [], 0


class WebSocket(asyncio.Protocol):
    """One connection. Made by :func:`connect`; ``begin`` starts the flow of messages."""

    def __init__(self, *, heartbeat_s: float, longest: int) -> None:
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[str] = loop.create_future()
        self.paused = False
        """Whether the kernel takes no more for now."""
        self._loop = loop
        self._heartbeat_s = heartbeat_s
        self._frames = Frames(longest)
        self._transport: asyncio.Transport | None = None
        self._lost = asyncio.Event()
        self._answer: asyncio.Future[bytes] = loop.create_future()
        self._early = b""
        self._on_texts: OnTexts | None = None
        self._on_resume: Callable[[], None] | None = None
        self._heard_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # -- the handshake ----------------------------------------------------------------------

    async def shake_hands(self, request: bytes, accept: bytes) -> None:
        """Send the request and read the answer. Raises ``ConnectionError``."""
        assert self._transport is not None
        self._transport.write(request)
        head = await self._answer
        status, *lines = head.split(b"\r\n")
        words = status.split(b" ", 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise ConnectionError("what answers does not speak HTTP")
        if words[1] != b"101":
            raise HandshakeRefusedError(int(words[1]))
        said = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in lines)
        }
        if said.get(b"sec-websocket-accept") != accept:
            raise ConnectionError("what answers does not speak WebSocket")

    def begin(self, on_texts: OnTexts, on_resume: Callable[[], None]) -> None:
        """From now on texts go to ``on_texts``, those first that are here already. When that
        raises, or ``ended`` is set, no more come."""
        self._on_texts, self._on_resume = on_texts, on_resume
        self._heard_at = self._loop.time()
        self._watch_from(self._heard_at)
        early, self._early = self._early, b""
        if early:
            self._read(early)

    # -- what the transport tells -----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected; anything that has to wait in our memory counts as paused."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        """Bytes of the answer to the handshake, or of messages."""
        if self._on_texts is not None:
            self._read(data)
            return
        self._early += data
        if not self._answer.done():
            head, found, rest = self._early.partition(b"\r\n\r\n")
            if found:
                self._early = rest
                self._answer.set_result(head)
            elif len(self._early) > _LONGEST_HEAD:
                self._answer.set_exception(ConnectionError("what answers does not speak HTTP"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Over."""
        self._lost.set()
        reason = str(exc) if exc is not None else "closed by Asterisk"
        if not self._answer.done():
            self._answer.set_exception(ConnectionError(reason))
            self._answer.exception()  # nobody may be waiting any more
        self.end(reason)

    def pause_writing(self) -> None:
        """The kernel takes no more."""
        self.paused = True

    def resume_writing(self) -> None:
        """It does again."""
        self.paused = False
        if self._on_resume is not None and not self.ended.done():
            self._on_resume()

    # -- messages ---------------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        try:
            texts: list[bytes] = []
            for opcode, content in self._frames.feed(data):
                if opcode == _TEXT:
                    texts.append(content)
                elif opcode == _PING:
                    self._send(frame(_PONG, content, _mask()))
                elif opcode == _CLOSE:
                    self._deliver(texts)
                    self._send(frame(_CLOSE, content[:2], _mask()))
                    code = int.from_bytes(content[:2], "big") if len(content) > 1 else 1005
                    self.end(f"close code {code}")
                    return
            self._deliver(texts)
        except ValueError as error:
            self.end(f"Asterisk sent {error}")
        except Exception as error:  # noqa: BLE001 - whoever waits for the end deals with it
            self._end_by(error)

    def _deliver(self, texts: list[bytes]) -> None:
        if texts and self._on_texts is not None and not self.ended.done():
            self._on_texts(texts)

    def send(self, texts: Iterable[bytes]) -> None:
        """Send texts. On a connection that has ended they go nowhere."""
        self._send(b"".join(frame(_TEXT, text, _mask()) for text in texts))

    def _send(self, frames: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frames)

    # -- the end ----------------------------------------------------------------------------

    def end(self, reason: str) -> None:
        """No more messages. The first reason counts."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.ended.done():
            self.ended.set_result(reason)

    def _end_by(self, error: Exception) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)
            self.ended.exception()  # heard, even if nobody asks
        self.end("")

    async def close(self) -> None:
        """Say goodbye, wait a moment for the same, and close."""
        self.end("closed")
        if self._transport is None or self._lost.is_set():
            return
        if self._on_texts is not None:
            self._send(frame(_CLOSE, _GOODBYE, _mask()))
        self._transport.close()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._lost.wait()
        except TimeoutError:
            self._abort()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # -- signs of life ----------------------------------------------------------------------

    def _watch_from(self, at: float) -> None:
        self._timer = self._loop.call_at(at + self._heartbeat_s, self._look)

    def _look(self) -> None:
        """Asks a line that has been silent for long enough; looks again when it may have been."""
        self._timer = None
        now = self._loop.time()
        if now - self._heard_at < self._heartbeat_s:
            self._watch_from(self._heard_at)
            return
        self._send(frame(_PING, b"", _mask()))
        due = now + self._heartbeat_s / 2
        self._timer = self._loop.call_at(due, self._judge, now, due)

    def _judge(self, asked_at: float, due: float) -> None:
        self._timer = None
        now = self._loop.time()
        if self._heard_at >= asked_at:
            self._watch_from(self._heard_at)
        elif now - due > LATE_TIMER_S:
            due = now + LATE_TIMER_S / 2
            self._timer = self._loop.call_at(due, self._judge, asked_at, due)
        else:
            self.end(f"no sign of life for {now - self._heard_at:.1f} s")
            self._abort()


async def connect(
    url: str, headers: Mapping[str, str], *, heartbeat_s: float, longest: int
) -> WebSocket:
    """A WebSocket at ``url`` (http or https), whose server has agreed.

    Raises ``OSError``; ``HandshakeRefusedError`` when the server answers something else.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    _, ws = await asyncio.get_running_loop().create_connection(
        lambda: WebSocket(heartbeat_s=heartbeat_s, longest=longest),
        host,
        port,
        ssl=ssl.create_default_context() if secure else None,
    )
    key = base64.b64encode(os.urandom(16))
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: {parts.netloc.rpartition('@')[2]}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key.decode()}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    # RFC 6455 wants SHA-1 here; it keeps nothing secret.
    accept = base64.b64encode(hashlib.sha1(key + _MAGIC, usedforsecurity=False).digest())
    try:
        await ws.shake_hands("\r\n".join([*lines, "", ""]).encode(), accept)
    except BaseException:
        await ws.close()
        raise
    return ws

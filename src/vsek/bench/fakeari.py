"""A peer that plays Asterisk, so that the switchboard can be measured beyond what Asterisk carries.

Runs as a process of its own (``python -m vsek.bench.fakeari``): it prints the port on which it
serves HTTP and ARI's WebSockets, reads its orders as lines of JSON from stdin (first the accounts
that are there already, then one :class:`Order` after the other) and answers each order with a line
(``Told``) when it has been carried out. What it plays is in :mod:`vsek.bench.fakeworld`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sys
from typing import Any, Final, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
import uvloop

from vsek.bench.fakeworld import Order, Request, World

_MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_encode = msgspec.json.encode


class _QueryString(msgspec.Struct):
    name: str
    value: str


class _Frame(msgspec.Struct):
    """A RESTRequest."""

    request_id: str
    method: str
    uri: str
    query_strings: list[_QueryString] = []
    message_body: str = ""


_decode_frame = msgspec.json.Decoder(_Frame).decode


def frame(opcode: int, payload: bytes) -> bytes:
    """A whole message of a server, in one frame."""
    length = len(payload)
    if length < 126:
        return bytes((0x80 | opcode, length)) + payload
    if length < 65_536:
        return bytes((0x80 | opcode, 126)) + length.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + length.to_bytes(8, "big") + payload


def frames(buffer: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The client's whole messages (opcode, content) in ``buffer``, and the rest of it. Messages in
    several frames are not looked for: our client sends none."""
    found, at = [], 0
    while len(buffer) - at >= 2:
        length, start = buffer[at + 1] & 0x7F, at + 2
        if length >= 126:
            size = 2 if length == 126 else 8
            length = int.from_bytes(buffer[start : start + size], "big")
            start += size
        end = start + 4 + length
        if end > len(buffer):
            break
        key = buffer[start : start + 4] * (length // 4 + 1)
        masked = int.from_bytes(buffer[start + 4 : end], "big")
        plain = (masked ^ int.from_bytes(key[:length], "big")).to_bytes(length, "big")
        found.append((buffer[at] & 0x0F, plain))
        at = end
    return found, buffer[at:]


class Peer(asyncio.Protocol):
    """One connection: HTTP, and a WebSocket from the handshake on."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._buffer = b""
        self._app = ""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody is there."""
        self._transport = cast("asyncio.Transport", transport)
        self._server.came(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone."""
        self._server.leave(self._app, self)
        self._server.went(self)

    def data_received(self, data: bytes) -> None:
        """Requests or frames."""
        self._buffer += data
        if self._app:
            self._read_frames()
            return
        while b"\r\n\r\n" in self._buffer and not self._app:
            head, _, rest = self._buffer.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines)
            }
            length = int(headers.get("content-length", 0))
            if len(rest) < length:
                return
            body, self._buffer = rest[:length], rest[length:]
            self._request(first, headers, body)

    def _request(self, first: str, headers: dict[str, str], body: bytes) -> None:
        method, target, _ = first.split(" ", 2)
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if headers.get("upgrade", "").lower() == "websocket":
            self._upgrade(headers["sec-websocket-key"], query["app"])
            return
        uri = unquote(parts.path.removeprefix("/ari/"))
        content = msgspec.json.decode(body) if body else None
        status, answer = self._server.world.answer(Request(method, uri, query, content))
        text = b"" if answer is None else _encode(answer)
        head = f"HTTP/1.1 {status} OK\r\nContent-Length: {len(text)}\r\n"
        if text:
            head += "Content-Type: application/json\r\n"
        self._write(f"{head}\r\n".encode() + text)

    def _upgrade(self, key: str, app: str) -> None:
        digest = hashlib.sha1(key.encode() + _MAGIC, usedforsecurity=False).digest()
        accept = base64.b64encode(digest).decode()
        self._write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        self._app = app
        self._server.enter(app, self)

    def _read_frames(self) -> None:
        messages, self._buffer = frames(self._buffer)
        for opcode, content in messages:
            if opcode == _TEXT:
                self._command(content)
            elif opcode == _PING:
                self._write(frame(_PONG, content))
            elif opcode == _CLOSE and self._transport is not None:
                self._write(frame(_CLOSE, content[:2]))
                self._transport.close()

    def _command(self, text: bytes) -> None:
        asked = _decode_frame(text)
        request = Request(
            asked.method,
            unquote(asked.uri),
            {pair.name: pair.value for pair in asked.query_strings},
            msgspec.json.decode(asked.message_body) if asked.message_body else None,
        )
        status, body = self._server.world.answer(request)
        reply = {
            "type": "RESTResponse",
            "transaction_id": "",
            "request_id": asked.request_id,
            "status_code": status,
            "reason_phrase": "OK",
            "uri": asked.uri,
            "application": self._app,
        }
        if body is not None:
            reply["content_type"] = "application/json"
            reply["message_body"] = _encode(body).decode()
        self.send(reply)

    def send(self, message: dict[str, Any]) -> None:
        """Sends a message."""
        self._write(frame(_TEXT, _encode(message)))

    def cut(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


class Server:
    """All connections, by application."""

    def __init__(self) -> None:
        self.world = World(self._tell)
        self._peers: dict[str, Peer] = {}
        self._all: set[Peer] = set()
        self._listener: asyncio.Server | None = None
        self._alone = asyncio.Event()
        self._alone.set()

    def came(self, peer: Peer) -> None:
        """A connection."""
        self._all.add(peer)
        self._alone.clear()

    def went(self, peer: Peer) -> None:
        """It has ended."""
        self._all.discard(peer)
        if not self._all:
            self._alone.set()

    def enter(self, app: str, peer: Peer) -> None:
        """A WebSocket under this name."""
        self._peers[app] = peer

    def leave(self, app: str, peer: Peer) -> None:
        """It has gone."""
        if self._peers.get(app) is peer:
            del self._peers[app]

    def _tell(self, event: dict[str, Any]) -> None:
        if (peer := self._peers.get(event["application"])) is not None:
            peer.send(event)

    async def listen(self, port: int = 0) -> int:
        """Serve on loopback; the port."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: Peer(self), "127.0.0.1", port)
        return int(self._listener.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """End all connections."""
        if self._listener is not None:
            self._listener.close()
        for peer in list(self._all):
            peer.cut()
        await self._alone.wait()


async def main() -> None:
    """Until stdin ends. The first line is the accounts that are there already."""
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader(limit=256 * 1024 * 1024)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    fake = Server()
    port = await fake.listen()
    print(port, flush=True)
    fake.world.hire(msgspec.json.decode(await orders.readline()))
    while line := await orders.readline():
        told = await fake.world.carry_out(msgspec.json.decode(line, type=Order))
        print(_encode(told).decode(), flush=True)
    await fake.close()


if __name__ == "__main__":
    uvloop.run(main())

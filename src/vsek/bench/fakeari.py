"""A peer that plays Asterisk, so that the switchboard can be measured beyond what Asterisk carries.

Runs as a process of its own (``python -m vsek.bench.fakeari``): it prints the port on which it
serves HTTP and ARI's WebSockets, reads its orders as lines of JSON from stdin (:class:`Order`) and
answers each with a line when it has been carried out.

Theory of operation. Callers come at the rate that was ordered. What the switchboard commands
happens after the times in which Asterisk and people do it: a leg is there at once, its telephone
rings, is answered after ``ring_s``, the two talk for ``talk_s``, then the caller hangs up. Events
are those of Asterisk 22 for such a call, minus those that the switchboard filters out. Accounts of
agents are stored as they were pushed; every agent's telephone is online.

Commands that nothing depends on (ringing, variables) are answered and forgotten. One that is not
known at all is counted in ``strange``, as it would fail in Asterisk.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import random
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
import uvloop

_MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_ACCOUNTS: Final = "asterisk/config/dynamic/res_pjsip/"
_NORMAL: Final = 16
_encode = msgspec.json.encode


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Calls to be made: ``rate`` a second for ``seconds``, to the numbers ``dids`` in turn."""

    rate: float
    seconds: float
    dids: list[str]
    ring_s: float = 0.5
    talk_s: float = 3.0


class Told(msgspec.Struct, kw_only=True):
    """What became of an order, when its last caller has gone."""

    calls: int = 0
    served: int = 0
    """Those whose caller talked to an agent."""
    strange: list[str] = []
    """Requests that are not known, the first few."""
    channels: int = 0
    """Channels that are still there."""
    bridges: int = 0


class Request(msgspec.Struct, frozen=True):
    """A request, however it came."""

    method: str
    uri: str
    query: dict[str, str]
    body: Any = None


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
Answer = tuple[int, Any]
"""Status and body."""


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


class Call:
    """One caller and the leg that was made for it."""

    def __init__(self, channel: str, order: Order, left: Callable[[Call], None]) -> None:
        self.channel = channel
        self.order = order
        self.left = left
        self.served = False


class World:
    """Channels, bridges and accounts; ``tell`` sends an event to the application."""

    def __init__(self, tell: Callable[[dict[str, Any]], None]) -> None:
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._accounts: dict[str, Any] = {}
        self._endpoints: list[str] = []
        self._channels: dict[str, dict[str, Any]] = {}
        self._bridges: dict[str, dict[str, Any]] = {}
        self._calls: dict[str, Call] = {}
        self._callers: dict[str, str] = {}
        """Of legs: for which caller they were made."""
        self._numbers = itertools.count(1)
        self._variables: dict[str, str] = {}
        self.strange: list[str] = []

    # -- callers ----------------------------------------------------------------------------

    async def carry_out(self, order: Order) -> Told:
        """Has the callers of an order come, and waits until the last one has gone."""
        told = Told()
        gone = asyncio.Event()
        total = round(order.rate * order.seconds)

        def left(call: Call) -> None:
            told.calls += 1
            told.served += call.served
            if told.calls == total:
                gone.set()

        began = self._loop.time()
        for number in range(total):
            wait_s = began + number / order.rate - self._loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            self._arrive(order, order.dids[number % len(order.dids)], left)
        await gone.wait()
        told.strange = self.strange[:5]
        told.channels, told.bridges = len(self._channels), len(self._bridges)
        return told

    def _arrive(self, order: Order, did: str, left: Callable[[Call], None]) -> None:
        number = next(self._numbers)
        channel = f"1700000000.{number}"
        self._calls[channel] = Call(channel, order, left)
        self._make(channel, f"PJSIP/trunk-{number:08x}", "Ring")
        caller = f"%2B4940{10_000_000 + number}"
        args = ["in", f"did={did}", f"from={caller}", f"uri=sip%3A{did}%40127.0.0.1"]
        self._event("StasisStart", args=args, channel=self._channels[channel])

    def _hang_up(self, channel: str) -> None:
        if channel not in self._channels:
            return
        about = self._channels.pop(channel)
        self._callers.pop(channel, None)
        self._event("ChannelHangupRequest", channel=about, cause=_NORMAL)
        self._event("StasisEnd", channel=about)
        self._event("ChannelDestroyed", channel=about, cause=_NORMAL, cause_txt="Normal Clearing")
        if (call := self._calls.pop(channel, None)) is not None:
            call.left(call)

    def _make(self, channel: str, name: str, state: str) -> None:
        self._channels[channel] = {
            "id": channel,
            "name": name,
            "state": state,
            "protocol_id": "9f8c1c1e-6d2a-4d3f-9f83-1d2c3b4a5968",
            "caller": {"name": "", "number": ""},
            "connected": {"name": "", "number": ""},
            "accountcode": "",
            "dialplan": {
                "context": "vsek-in",
                "exten": "s",
                "priority": 20,
                "app_name": "Stasis",
                "app_data": "vsek,in",
            },
            "creationtime": _now(),
            "language": "en",
        }

    def _event(self, kind: str, **fields: Any) -> None:
        self._tell({"type": kind, "application": "vsek", "timestamp": _now(), **fields})

    # -- requests ---------------------------------------------------------------------------

    def answer(self, request: Request) -> Answer:
        """What Asterisk would answer; events follow."""
        thing, _, rest = request.uri.partition("/")
        match thing:
            case "channels":
                return self._of_channels(request, rest)
            case "bridges":
                return self._of_bridges(request, rest)
            case "events":
                return self._user_event(request, rest.rpartition("/")[2])
            case "asterisk" if request.uri.startswith(_ACCOUNTS):
                return self._of_accounts(request, request.uri.removeprefix(_ACCOUNTS))
            case "endpoints":
                # All online from the beginning: their names are those of the accounts.
                return 200, [self._endpoint(name) for name in self._endpoints]
            case "applications":
                return 200, {"name": "vsek", "channel_ids": list(self._calls)}
            case "asterisk":
                return self._of_asterisk(request, rest)
            case "recordings" if request.method == "GET":
                return 200, []
            case _:
                return self._unknown(request)

    def _unknown(self, request: Request) -> Answer:
        self.strange.append(f"{request.method} {request.uri}")
        return 404, {"message": "not known"}

    @staticmethod
    def _endpoint(name: str) -> dict[str, Any]:
        return {"technology": "PJSIP", "resource": name, "state": "online", "channel_ids": []}

    def hire(self, accounts: dict[str, Any]) -> None:
        """These accounts (``endpoint/anna`` → attributes) are there already."""
        self._accounts.update(accounts)
        kind = "endpoint/"
        self._endpoints += [key.removeprefix(kind) for key in accounts if key.startswith(kind)]

    def _of_accounts(self, request: Request, key: str) -> Answer:
        if request.method == "GET":
            found = self._accounts.get(key)
            return (404, {"message": "none"}) if found is None else (200, found)
        if request.method == "PUT":
            if key.startswith("endpoint/") and key not in self._accounts:
                self._endpoints.append(key.partition("/")[2])
            self._accounts[key] = request.body["fields"]
            return 200, self._accounts[key]
        self._accounts.pop(key, None)
        return 204, None

    def _of_asterisk(self, request: Request, rest: str) -> Answer:
        if rest == "ping":
            return 200, {"asterisk_id": "00:00:00:00:00:00", "ping": "pong", "timestamp": _now()}
        if rest == "variable" and request.method == "GET":
            return 200, {"value": self._variables.get(request.query["variable"], "")}
        if rest == "variable":
            self._variables[request.query["variable"]] = request.query["value"]
            return 204, None
        return (204, None) if rest.startswith("modules/") else self._unknown(request)

    def _user_event(self, request: Request, name: str) -> Answer:
        variables = (request.body or {}).get("variables", {})
        self._event("ChannelUserevent", eventname=name, userevent={"eventname": name, **variables})
        return 204, None

    def _of_channels(self, request: Request, rest: str) -> Answer:
        if not rest:
            return 200, list(self._channels.values())
        if rest == "create":
            return self._create(request)
        channel, _, what = rest.partition("/")
        if channel not in self._channels:
            return 404, {"message": "Channel not found"}
        if request.method == "DELETE" and not what:
            self._loop.call_soon(self._hang_up, channel)
        elif what in ("answer", "dial"):
            getattr(self, f"_{what}")(channel)
        elif what == "variable" and request.method == "GET":
            return 200, {"value": ""}
        elif what not in ("ring", "variable", "moh"):
            return self._unknown(request)
        return 204, None

    def _create(self, request: Request) -> Answer:
        channel = request.query["channelId"]
        self._make(channel, f"{request.query['endpoint']}-00000001", "Down")
        self._callers[channel] = request.query.get("originator", "")
        about = self._channels[channel]
        self._event("StasisStart", args=["leg"], channel=about)
        return 200, about

    def _answer(self, channel: str) -> None:
        self._turn(channel, "Up")

    def _dial(self, channel: str) -> None:
        self._turn(channel, "Ringing")
        call = self._calls.get(self._callers[channel])
        ring_s = call.order.ring_s if call is not None else 0.5
        # People are not equally quick.
        self._loop.call_later(ring_s * random.uniform(0.5, 1.5), self._turn, channel, "Up")  # noqa: S311

    def _turn(self, channel: str, state: str) -> None:
        if channel in self._channels:
            self._channels[channel]["state"] = state
            self._event("ChannelStateChange", channel=self._channels[channel])

    def _of_bridges(self, request: Request, rest: str) -> Answer:
        if not rest:
            return 200, list(self._bridges.values())
        bridge, _, what = rest.partition("/")
        if request.method == "DELETE":
            return (204, None) if self._bridges.pop(bridge, None) else (404, {"message": "none"})
        if not what:
            self._bridges[bridge] = {
                "id": bridge,
                "technology": "simple_bridge",
                "bridge_type": "mixing",
                "bridge_class": "stasis",
                "creator": "Stasis",
                "name": bridge,
                "channels": [],
                "creationtime": _now(),
            }
            return 200, self._bridges[bridge]
        if what == "addChannel":
            return self._join(bridge, request.query["channel"].split(","))
        return self._unknown(request)

    def _join(self, bridge: str, channels: list[str]) -> Answer:
        if bridge not in self._bridges or any(c not in self._channels for c in channels):
            return 400, {"message": "Channel not found"}
        for channel in channels:
            self._bridges[bridge]["channels"].append(channel)
            self._event(
                "ChannelEnteredBridge",
                bridge=self._bridges[bridge],
                channel=self._channels[channel],
            )
            if (call := self._calls.get(channel)) is not None:
                call.served = True
                talk_s = call.order.talk_s * random.uniform(0.5, 1.5)  # noqa: S311
                self._loop.call_later(talk_s, self._hang_up, channel)
        return 204, None


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


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

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone."""
        self._server.leave(self._app, self)

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

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


class Server:
    """All connections, and the one of the application."""

    def __init__(self, app: str = "vsek") -> None:
        self.world = World(self._tell)
        self._app = app
        self._peers: dict[str, Peer] = {}

    def enter(self, app: str, peer: Peer) -> None:
        """A WebSocket under this name."""
        self._peers[app] = peer

    def leave(self, app: str, peer: Peer) -> None:
        """It has gone."""
        if self._peers.get(app) is peer:
            del self._peers[app]

    def _tell(self, event: dict[str, Any]) -> None:
        if (peer := self._peers.get(self._app)) is not None:
            peer.send(event)

    async def listen(self, port: int = 0) -> tuple[asyncio.Server, int]:
        """Serve on loopback; the port."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Peer(self), "127.0.0.1", port)
        return server, int(server.sockets[0].getsockname()[1])


async def main() -> None:
    """Until stdin ends. The first line is the accounts that are there already."""
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader(limit=256 * 1024 * 1024)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    fake = Server()
    server, port = await fake.listen()
    print(port, flush=True)
    fake.world.hire(msgspec.json.decode(await orders.readline()))
    while line := await orders.readline():
        told = await fake.world.carry_out(msgspec.json.decode(line, type=Order))
        print(_encode(told).decode(), flush=True)
    server.close()


if __name__ == "__main__":
    uvloop.run(main())

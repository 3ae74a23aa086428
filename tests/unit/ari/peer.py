"""A peer that speaks ARI over a real WebSocket server, and misbehaves on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web

Request = dict[str, Any]


class Connection:
    """One WebSocket that a client opened."""

    def __init__(self, app: str, query: dict[str, str], request: web.Request) -> None:
        self.app = app
        self.query = query
        self.headers = dict(request.headers)
        self.ws = web.WebSocketResponse(autoping=False, compress=False)
        self.received: list[Request] = []
        self.closed = asyncio.Event()
        self._request = request

    @property
    def transport(self) -> asyncio.Transport:
        transport = self._request.transport
        assert isinstance(transport, asyncio.Transport)
        return transport

    async def send(self, message: dict[str, Any] | str) -> None:
        await self.ws.send_str(message if isinstance(message, str) else json.dumps(message))

    async def event(self, kind: str, **fields: Any) -> None:
        await self.send({"type": kind, "application": self.app, "timestamp": "now", **fields})

    async def reply(self, request: Request, status: int = 204, body: Any = None) -> None:
        message = {
            "type": "RESTResponse",
            "transaction_id": "",
            "request_id": request["request_id"],
            "status_code": status,
            "reason_phrase": "No Content" if body is None else "OK",
            "uri": request["uri"],
            "application": self.app,
        }
        if body is not None:
            message |= {"content_type": "application/json", "message_body": json.dumps(body)}
        await self.send(message)

    def cut(self) -> None:
        """The line goes dead without a closing handshake."""
        self.transport.abort()


class Peer:
    """An HTTP server with ``/ari/events``; ``answer`` says what happens to a request."""

    def __init__(self) -> None:
        self.url = ""
        self.connections: list[Connection] = []
        self.refuse: Callable[[str], int | None] = lambda _app: None
        self.mute: set[str] = set()  # apps whose pings get no answer
        self.silent = False  # requests get no reply
        self.deaf: set[str] = set()  # apps that get no user events
        self._news = asyncio.Condition()
        self.http_handler: Callable[[web.Request], Any] | None = None

    def of(self, app: str) -> list[Connection]:
        return [c for c in self.connections if c.app == app]

    def live(self, app: str) -> Connection:
        return self.of(app)[-1]

    @property
    def requests(self) -> list[Request]:
        return [r for c in self.connections for r in c.received]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10), self._news:
            await self._news.wait_for(condition)

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        app = request.query["app"]
        if (status := self.refuse(app)) is not None:
            return web.Response(status=status)
        connection = Connection(app, dict(request.query), request)
        await connection.ws.prepare(request)
        self.connections.append(connection)
        await self._tell()
        try:
            async for message in connection.ws:
                if message.type is WSMsgType.PING and app not in self.mute:
                    await connection.ws.pong(message.data)
                if message.type is not WSMsgType.TEXT:
                    continue
                received = json.loads(message.data)
                connection.received.append(received)
                if not self.silent:
                    await connection.reply(received, 200, {"n": len(connection.received)})
                    await self._user_event(received)
                await self._tell()
        finally:
            connection.closed.set()
            await self._tell()
        return connection.ws

    async def _user_event(self, request: Request) -> None:
        """One that a program asks for, as Asterisk sends it to the application it names."""
        given = {item["name"]: item["value"] for item in request.get("query_strings", [])}
        path, _, name = str(request["uri"]).rpartition("/")
        if path == "events/user" and (app := given["application"]) not in self.deaf:
            await self.live(app).event("ChannelUserevent", eventname=name, userevent={})

    async def http(self, request: web.Request) -> web.StreamResponse:
        assert self.http_handler is not None
        response: web.StreamResponse = await self.http_handler(request)
        return response


@asynccontextmanager
async def fake_asterisk(port: int = 0) -> AsyncIterator[Peer]:
    peer = Peer()
    application = web.Application()
    application.router.add_get("/ari/events", peer.websocket)
    application.router.add_route("*", "/ari/{tail:.*}", peer.http)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    peer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield peer
    finally:
        for connection in peer.connections:
            if not connection.closed.is_set():
                connection.cut()
        await runner.cleanup()

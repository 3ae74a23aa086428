"""The WebSocket's frames, its handshake, and a peer that breaks the rules."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from vsek.ari.websocket import Frames, HandshakeRefusedError, WebSocket, connect, frame

_TEXT, _CLOSE, _PING = 1, 8, 9
_LIMIT = 100_000


def _unmasked(data: bytes) -> bytes:
    """What a server makes of a client's frame: the same without its mask."""
    size = {126: 2, 127: 8}.get(data[1] & 0x7F, 0)
    start = 2 + size
    key, content = data[start : start + 4], data[start + 4 :]
    plain = bytes(byte ^ key[place % 4] for place, byte in enumerate(content))
    return data[:1] + bytes([data[1] & 0x7F]) + data[2:start] + plain


def _from_server(opcode: int, content: bytes, *, final: bool = True) -> bytes:
    whole = _unmasked(frame(opcode, content, 0))
    return whole if final else bytes([whole[0] & 0x7F]) + whole[1:]


@given(
    st.lists(st.sampled_from([0, 1, 3, 125, 126, 65_535, 65_536]), max_size=4),
    st.integers(0, 2**32 - 1),
    st.integers(1, 200_000),
)
def test_messages_of_every_length_in_pieces_of_every_size(
    lengths: list[int], mask: int, piece: int
) -> None:
    contents = [bytes(number % 251 for number in range(length)) for length in lengths]
    stream = b"".join(_unmasked(frame(_TEXT, content, mask)) for content in contents)
    frames = Frames(_LIMIT)
    got: list[tuple[int, bytes]] = []
    for start in range(0, len(stream), max(piece, len(stream) // 50 + 1)):
        got += frames.feed(stream[start : start + max(piece, len(stream) // 50 + 1)])
    assert got == [(_TEXT, content) for content in contents]


def test_a_message_in_several_frames_with_a_ping_between() -> None:
    frames = Frames(_LIMIT)
    data = (
        _from_server(_TEXT, b"a", final=False)
        + _from_server(_PING, b"?")
        + _from_server(0, b"b", final=False)
        + _from_server(0, b"c")
        + _from_server(_TEXT, b"d")
    )
    assert frames.feed(data) == [(_PING, b"?"), (_TEXT, b"abc"), (_TEXT, b"d")]


@pytest.mark.parametrize(
    "data",
    [
        frame(_TEXT, b"masked by a server", 7),
        bytes([0xC1, 0]),  # an extension that nobody agreed on
        _from_server(0, b"goes on with nothing"),
        _from_server(_TEXT, b"a", final=False) + _from_server(_TEXT, b"another"),
        _from_server(_TEXT, b"x" * (_LIMIT + 1)),
        _from_server(_TEXT, b"x" * _LIMIT, final=False) + _from_server(0, b"x"),
    ],
)
def test_what_breaks_the_protocol(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"frame|message"):
        Frames(_LIMIT).feed(data)


Script = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def _server(script: Script) -> AsyncIterator[str]:
    """A server that reads the request's head and then does as ``script`` says."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        try:
            await script(head, reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/prefix?a=b"
    finally:
        server.close()
        await server.wait_closed()


def _agreement(head: bytes) -> bytes:
    key = head.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    accept = base64.b64encode(digest)
    return (
        b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nSEC-WebSocket-Accept:%b\r\n\r\n" % accept
    )


async def _connected(url: str) -> WebSocket:
    return await connect(url, {"X-One": "1"}, heartbeat_s=5.0, longest=_LIMIT)


async def test_what_comes_right_behind_the_handshake_is_not_lost() -> None:
    async def script(head: bytes, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert head.startswith(b"GET /prefix?a=b HTTP/1.1\r\nHost: 127.0.0.1:")
        assert b"\r\nX-One: 1\r\n" in head
        writer.write(_agreement(head) + _from_server(_TEXT, b"early") + _from_server(_CLOSE, b""))
        await writer.drain()

    got: list[bytes] = []
    async with _server(script) as url:
        ws = await _connected(url)
        ws.begin(got.extend, lambda: None)
        assert await ws.ended == "close code 1005"
        await ws.close()
    assert got == [b"early"]


async def test_pings_are_answered_and_a_close_is_returned() -> None:
    heard: list[bytes] = []

    async def script(
        head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(_agreement(head) + _from_server(_PING, b"there?"))
        heard.append(_unmasked(await reader.readexactly(2 + 4 + 6)))
        writer.write(_from_server(_CLOSE, (1001).to_bytes(2, "big") + b"going"))
        heard.append(_unmasked(await reader.readexactly(2 + 4 + 2)))

    async with _server(script) as url:
        ws = await _connected(url)
        ws.begin(lambda _texts: None, lambda: None)
        assert await ws.ended == "close code 1001"
        await ws.close()
    assert heard == [_from_server(0xA, b"there?"), _from_server(_CLOSE, b"\x03\xe9")]


@pytest.mark.parametrize(
    "answer",
    [
        b"SIP/2.0 100 Trying\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
        b"x" * 70_000,
        b"HTTP/1.1 1",
    ],
)
async def test_what_is_no_websocket(answer: bytes) -> None:
    async def script(_: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with _server(script) as url:
        with pytest.raises(ConnectionError):
            await _connected(url)


async def test_a_refusal_has_its_status() -> None:
    async def script(_: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with _server(script) as url:
        with pytest.raises(HandshakeRefusedError) as refused:
            await _connected(url)
    assert refused.value.status == 403


async def test_a_handler_that_fails_ends_the_connection_with_its_error() -> None:
    async def script(
        head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(_agreement(head) + 2 * _from_server(_TEXT, b"hello"))
        await reader.read()

    calls: list[bytes] = []

    def fail(texts: list[bytes]) -> None:
        calls.extend(texts)
        raise RuntimeError("a bug")

    async with _server(script) as url:
        ws = await _connected(url)
        ws.begin(fail, lambda: None)
        with pytest.raises(RuntimeError, match="a bug"):
            await ws.ended
        await ws.close()
    assert set(calls) == {b"hello"}


async def test_against_another_implementation() -> None:
    """aiohttp's server echoes texts of every length, and closes when asked."""

    async def echo(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(max_msg_size=0)
        await ws.prepare(request)
        async for message in ws:
            await ws.send_str(message.data)
        return ws

    app = web.Application()
    app.router.add_get("/ari", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    ws = await connect(f"http://127.0.0.1:{port}/ari", {}, heartbeat_s=5.0, longest=_LIMIT)
    wanted = [("ü" * size).encode() for size in (0, 1, 62, 63, 100, 32_000, 40_000)]
    got: list[bytes] = []
    all_here = asyncio.Event()

    def take(texts: list[bytes]) -> None:
        got.extend(texts)
        if len(got) == len(wanted):
            all_here.set()

    ws.begin(take, lambda: None)
    for text in wanted:
        ws.send((text,))
    async with asyncio.timeout(10):
        await all_here.wait()
    assert got == wanted
    await ws.close()
    await runner.cleanup()

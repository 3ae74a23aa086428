"""The line that can be broken does what it says, on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from vsek.demo.events import eventually
from vsek.demo.proxy import Address, Proxy

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
CALLERS: list[asyncio.StreamWriter] = []


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that speaks first, as SMTP's do, and repeats what it hears in capitals."""
    writer.write(b"hello\n")
    try:
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@pytest.fixture(params=["tcp", "unix"])
async def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Proxy]:
    target: Address
    if request.param == "tcp":
        server = await asyncio.start_server(shout, "127.0.0.1", 0)
        target = server.sockets[0].getsockname()
        proxy = Proxy(lambda: target)
    else:
        server = await asyncio.start_unix_server(shout, tmp_path / "server")
        proxy = Proxy(tmp_path / "server", path=tmp_path / "proxy")
    await proxy.start()
    yield proxy
    await proxy.stop()
    server.close()
    for writer in CALLERS:
        writer.transport.abort()
    CALLERS.clear()
    for writer in CALLERS:
        writer.transport.abort()
    CALLERS.clear()


async def dial(proxy: Proxy) -> Ends:
    if proxy.path is not None:
        ends = await asyncio.open_unix_connection(proxy.path)
    else:
        ends = await asyncio.open_connection("127.0.0.1", proxy.port)
    CALLERS.append(ends[1])
    return ends


async def greeted(proxy: Proxy, word: bytes = b"me\n") -> Ends:
    ends = await dial(proxy)
    assert await ends[0].readline() == b"hello\n"
    ends[1].write(word)
    assert await ends[0].readline() == word.upper()
    return ends


async def silent(reader: asyncio.StreamReader, for_s: float = 0.1) -> bool:
    try:
        async with asyncio.timeout(for_s):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


async def over(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(5):
            return await reader.read() == b""
    except ConnectionError:
        return True


async def test_bytes_pass_and_ends_pass(proxy: Proxy) -> None:
    _, writer = await greeted(proxy)
    assert len(proxy.links) == 1
    writer.close()

    async def none() -> bool | None:
        return True if not proxy.links else None

    await eventually(none, "the end of the link")
    assert proxy.accepted == 1


@pytest.mark.parametrize("reset", [True, False])
async def test_a_cut_ends_only_the_links_that_are_meant(proxy: Proxy, reset: bool) -> None:
    mine, other = await greeted(proxy, b"mine\n"), await greeted(proxy, b"other\n")
    assert proxy.cut(b"mine", reset=reset) == 1
    assert await over(mine[0])
    other[1].write(b"still\n")
    assert await other[0].readline() == b"STILL\n"
    other[1].close()


async def test_a_black_hole_gives_back_what_it_swallowed(proxy: Proxy) -> None:
    mine, other = await greeted(proxy, b"mine\n"), await greeted(proxy, b"other\n")
    proxy.hold(b"mine", ("up",))
    for _, writer in (mine, other):
        writer.write(b"now\n")
    assert await other[0].readline() == b"NOW\n"
    assert await silent(mine[0])
    proxy.heal()
    assert await mine[0].readline() == b"NOW\n"
    proxy.hold()
    late = await dial(proxy)
    assert await silent(late[0])
    proxy.cut()
    for reader, _ in (mine, other, late):
        assert await over(reader)


async def test_delay_and_throttle_only_slow_down(proxy: Proxy) -> None:
    loop = asyncio.get_running_loop()
    reader, writer = await greeted(proxy)
    proxy.delay(0.1)
    began = loop.time()
    writer.write(b"slow\n")
    assert await reader.readline() == b"SLOW\n"
    assert loop.time() - began >= 0.2
    proxy.heal()
    proxy.throttle(100)
    began = loop.time()
    writer.write(b"twenty characters..\n")
    assert await reader.readline() == b"TWENTY CHARACTERS..\n"
    assert loop.time() - began >= 0.4


async def test_a_cut_within_leaves_half(proxy: Proxy) -> None:
    reader, writer = await greeted(proxy)
    proxy.cut_within()
    writer.write(b"whole\n")
    assert await reader.read() == b"WHO"
    await greeted(proxy)


async def test_refusing_and_muteness_are_for_new_links(proxy: Proxy) -> None:
    reader, writer = await greeted(proxy)
    proxy.mute()
    mute, _ = await dial(proxy)
    assert await silent(mute)
    proxy.refuse()
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the kind of socket
        await dial(proxy)
    writer.write(b"still\n")
    assert await reader.readline() == b"STILL\n"
    proxy.heal()
    await proxy.start()
    await greeted(proxy)

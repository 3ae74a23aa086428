"""Metrics on a TCP address of their own."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from vsek.demo.events import eventually
from vsek.errors import InputError
from vsek.health.exposition import serve_metrics, tcp_address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:9464", ("0.0.0.0", 9464)),
        ("[::1]:9464", ("::1", 9464)),
        ("localhost:1", ("localhost", 1)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert tcp_address(text, "metrics.listen") == expected


@pytest.mark.parametrize("text", ["", "localhost", "localhost:", ":0", "x:65536", "a:b"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InputError) as caught:
        tcp_address(text, "metrics.listen")
    assert caught.value.field == "metrics.listen"


async def test_an_address_that_is_taken_is_waited_for() -> None:
    registry = CollectorRegistry()
    Counter("vsek_things", "Things", registry=registry).inc()
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    task = asyncio.create_task(serve_metrics(registry, ("127.0.0.1", port)))
    await asyncio.sleep(0)  # its first step is to try
    taken.close()
    timeout = aiohttp.ClientTimeout(total=2)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=timeout) as session:

        async def scraped() -> str | None:
            try:
                async with session.get("/metrics") as reply:
                    assert reply.headers["Content-Type"].startswith("text/plain")
                    return await reply.text()
            except aiohttp.ClientError:
                return None

        assert "vsek_things_total 1.0" in await eventually(scraped, "metrics")
        async with session.get("/v1/calls") as reply:
            assert reply.status == 404
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

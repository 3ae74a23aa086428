from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from tests.unit.ari.peer import Peer, fake_asterisk

from vsek.ari import Backoff, Client

MakeClient = Callable[..., Coroutine[Any, Any, Client]]


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with fake_asterisk() as running:
        yield running


@pytest.fixture
async def make_client(peer: Peer) -> AsyncIterator[MakeClient]:
    clients: list[Client] = []

    async def make(*, connect: bool = True, **options: Any) -> Client:
        options = {"backoff": Backoff(first_s=0.01, limit_s=0.05), **options}
        client = Client(options.pop("url", peer.url), "user", "secret", **options)
        clients.append(client)
        await client.start()
        if connect:
            await client.wait_connected(10)
        return client

    yield make
    for client in clients:
        await client.close()

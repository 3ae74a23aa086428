from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.ari.bare import PASSWORD, USER, BareAsterisk

from vsek.ari import Backoff, Client

MakeClient = Callable[..., Coroutine[Any, Any, Client]]


@pytest.fixture(scope="session")
def asterisk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareAsterisk]:
    server = BareAsterisk(tmp_path_factory.mktemp("ari"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def own_asterisk(tmp_path: Path) -> Iterator[BareAsterisk]:
    """One that a test may stop and start."""
    server = BareAsterisk(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def connect() -> AsyncIterator[MakeClient]:
    clients: list[Client] = []

    async def make(server: BareAsterisk, app: str, *, start: bool = True, **options: Any) -> Client:
        options = {"backoff": Backoff(first_s=0.05, limit_s=0.2), **options}
        client = Client(server.url, USER, PASSWORD, app=app, **options)
        clients.append(client)
        if start:
            await client.start()
            await client.wait_connected(20)
        return client

    yield make
    for client in clients:
        await client.close()

"""A private Asterisk with the shipped configuration, and a client that sees its events."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from vsek.ari import Client, Event
from vsek.demo.events import eventually
from vsek.embedded.asterisk import PrivateAsterisk
from vsek.switchboard.heartbeat import VARIABLE, Heartbeat

_E = TypeVar("_E", bound=Event)


class Watcher:
    """Events in the order in which they came."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    def take(self, event: Event) -> None:
        self._events.put_nowait(event)

    async def next(self, kind: type[_E], test: Callable[[_E], bool] = lambda _: True) -> _E:
        """The next event of a kind that passes ``test``; earlier ones are dropped."""
        async with asyncio.timeout(10):
            while True:
                event = await self._events.get()
                if isinstance(event, kind) and test(event):
                    return event


async def push_account(
    client: Client,
    name: str,
    secret: str,
    *,
    kinds: tuple[str, ...] = ("auth", "aor", "endpoint"),
    **aor: str,
) -> None:
    """An agent's account as vsek pushes it."""
    ha1 = hashlib.md5(f"{name}:vsek:{secret}".encode()).hexdigest()
    objects: list[tuple[str, dict[str, str]]] = [
        ("auth", {"auth_type": "md5", "username": name, "realm": "vsek", "md5_cred": ha1}),
        ("aor", {"max_contacts": "1", "remove_existing": "yes", **aor}),
        (
            "endpoint",
            {
                "transport": "agents",
                "context": "from-agents",
                "auth": name,
                "aors": name,
                "disallow": "all",
                "allow": "alaw",
                "direct_media": "no",
            },
        ),
    ]
    for kind, values in objects:
        if kind not in kinds:
            continue
        fields = [{"attribute": key, "value": value} for key, value in values.items()]
        reply = await client.http(
            "PUT", f"asterisk/config/dynamic/res_pjsip/{kind}/{name}", body={"fields": fields}
        )
        assert reply.status == 200, reply


async def remove_account(client: Client, name: str) -> None:
    for kind in ("endpoint", "aor", "auth"):
        path = f"asterisk/config/dynamic/res_pjsip/{kind}/{name}"
        assert (await client.http("DELETE", path)).status == 204


@pytest.fixture
async def asterisk(tmp_path: Path) -> AsyncIterator[PrivateAsterisk]:
    async with PrivateAsterisk(tmp_path / "asterisk") as server:
        yield server


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture
async def client(asterisk: PrivateAsterisk, watcher: Watcher) -> AsyncIterator[Client]:
    async with Client(asterisk.ari_url, "vsek", asterisk.ari_password, app="vsek") as connected:
        connected.on_any_event(watcher.take)
        await connected.wait_connected(10)
        async with alive(connected):
            yield connected


@contextlib.asynccontextmanager
async def alive(client: Client) -> AsyncIterator[Callable[[bool], None]]:
    """Signs of life meanwhile, without which the dialplan hands nobody over; what it gives takes
    whether they go on."""
    going_on = True

    def go_on(wanted: bool) -> None:
        nonlocal going_on
        going_on = wanted

    heartbeat = Heartbeat(client, "vsek", lambda: going_on)
    task = asyncio.create_task(heartbeat.run())

    async def set_once() -> bool | None:
        reply = await client.http("GET", "asterisk/variable", {"variable": VARIABLE})
        return True if reply.body["value"] else None

    try:
        await eventually(set_once, "a first sign of life")
        yield go_on
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def get(client: Client, path: str, **query: Any) -> Any:
    """Body of a GET that must succeed."""
    reply = await client.http("GET", path, query=query)
    assert reply.status == 200, reply
    return reply.body

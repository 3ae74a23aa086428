"""A race of ARI clients: the same commands, one at a time and many at once.

Runs on its own in the interpreter of the client that is measured, so it imports nothing of vsek
and only what that interpreter has. What is to be done comes as JSON on stdin (:class:`Plan`), what
was found leaves as JSON on stdout: per event ``{"per_s": …, "p50": …, "p99": …}``.

Theory of operation. Every client gets the best that it can do: the same event loop (uvloop), the
number of commands at once with which it is quickest (several are tried), keep-alive as it comes. A
task is a small sequence of commands; with all of these clients the second command of a task waits
for the answer to the first. Ours need not: commands of a lane keep their order, so it sends both
(``Client.task`` is where the clients differ).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any, Protocol
from urllib.parse import urlsplit

COMMANDS = {"ping": 1, "variable": 2, "bridge": 2}
"""What tasks there are, and of how many commands each consists."""
WINDOWS = (4, 16, 64, 256)
"""So many tasks at once are tried."""


@dataclass(frozen=True)
class Plan:
    """What is asked for. ``seconds``: for each event."""

    client: str
    url: str
    """Root of Asterisk's HTTP server."""
    user: str
    password: str
    app: str
    channel: str
    """A channel that is there all the while."""
    seconds: float
    try_s: float
    """For each number of tasks that is tried."""
    sockets: int = 0
    """Ours only: sockets for commands; 0: over HTTP."""


def variable_of(number: str) -> str:
    """The variable of a task. They are few: Asterisk looks through all of a channel's."""
    return f"RACE{number[-1]}"


class Client(Protocol):
    """A client that is connected."""

    async def task(self, kind: str, number: str) -> None:
        """Do it; raises when Asterisk refuses. ``number`` is unique in this process."""

    async def close(self) -> None:
        """Hang up."""


class _Described:
    """What ``asyncari`` and ``aioari`` have from their common ancestor: objects made of Asterisk's
    own description."""

    def __init__(self, ari: Any, channel: str) -> None:
        self._ari, self._channel = ari, channel

    async def task(self, kind: str, number: str) -> None:
        """Through those objects."""
        ari = self._ari
        if kind == "ping":
            await ari.asterisk.ping()
        elif kind == "variable":
            name = variable_of(number)
            await ari.channels.setChannelVar(channelId=self._channel, variable=name, value=number)
            await ari.channels.getChannelVar(channelId=self._channel, variable=name)
        else:
            await ari.bridges.createWithId(bridgeId=number, type="mixing")
            await ari.bridges.destroy(bridgeId=number)


class Asyncari(_Described):
    """``asyncari``: anyio and httpx, at most three connections, of which it keeps one."""

    def __init__(self, ari: Any, context: Any, channel: str) -> None:
        super().__init__(ari, channel)
        self._context = context

    @classmethod
    async def connect(cls, plan: Plan) -> Client:
        """Connected, with its application."""
        module = import_module("asyncari")
        context = module.connect(plan.url + "/", plan.app, plan.user, plan.password)
        return cls(await context.__aenter__(), context, plan.channel)

    async def close(self) -> None:
        """Ends its task group."""
        await self._context.__aexit__(None, None, None)


class AriClient:
    """``ari-client``: httpx and pydantic."""

    def __init__(self, client: Any, channel: str) -> None:
        self._client, self._channel = client, channel

    @classmethod
    async def connect(cls, plan: Plan) -> Client:
        """Connected, with its application."""
        module = import_module("ari_client")
        # It sets up logging of each request by the way.
        import_module("logging").disable()
        at = urlsplit(plan.url)
        client = module.AriClient(at.hostname, at.port, plan.user, plan.password)
        await client.connect(plan.app)
        return cls(client, plan.channel)

    async def task(self, kind: str, number: str) -> None:
        """Through its controller."""
        ari = self._client.ari
        if kind == "ping":
            await ari.ping()
        elif kind == "variable":
            name = variable_of(number)
            await ari.set_channel_variable(self._channel, name, number)
            await ari.get_channel_variable(self._channel, name)
        else:
            bridge = await ari.create_bridge(bridge_id=number, type="mixing")
            await ari.stop_bridge(bridge.id)

    async def close(self) -> None:
        """Ends its connections."""
        self._client.event_listener.cancel()
        await self._client.ws.close()
        await self._client.ari.client.aclose()


class Aioari(_Described):
    """``aioari``: aiohttp, up to a hundred connections."""

    @classmethod
    async def connect(cls, plan: Plan) -> Client:
        """Connected; its application is not needed for commands."""
        module = import_module("aioari")
        ari = await module.connect(plan.url + "/", plan.user, plan.password)
        return cls(ari, plan.channel)

    async def close(self) -> None:
        """Ends its connections."""
        await self._ari.close()


CLIENTS: dict[str, Callable[[Plan], Awaitable[Client]]] = {
    "asyncari": Asyncari.connect,
    "ari-client": AriClient.connect,
    "aioari": Aioari.connect,
}


class Race:
    """One client's run over all events."""

    def __init__(self, client: Client, plan: Plan) -> None:
        self._client = client
        self._try_s = plan.try_s
        self._numbers = (f"{plan.app}{n}" for n in itertools.count())

    async def one_at_a_time(self, kind: str, seconds: float) -> dict[str, float]:
        """The next task when the last one is done; times are of a task's commands, in ms."""
        took: list[float] = []
        began = now = time.perf_counter()
        while now - began < seconds:
            await self._client.task(kind, next(self._numbers))
            before, now = now, time.perf_counter()
            took.append(now - before)
        return self._found(kind, took, now - began)

    async def at_once(self, kind: str, seconds: float, window: int) -> dict[str, float]:
        """``window`` tasks at once, each followed by another one."""
        took: list[float] = []
        began = time.perf_counter()

        async def work() -> None:
            now = time.perf_counter()
            while True:
                await self._client.task(kind, next(self._numbers))
                before, now = now, time.perf_counter()
                took.append(now - before)
                if now - began >= seconds:
                    return

        await asyncio.gather(*(work() for _ in range(window)))
        found = self._found(kind, took, time.perf_counter() - began)
        return found | {"window": float(window)}

    async def best_window(self, kind: str) -> int:
        """With how many tasks at once this client does most."""
        rates = {}
        for window in WINDOWS:
            rates[window] = (await self.at_once(kind, self._try_s, window))["per_s"]
        return max(rates, key=lambda window: rates[window])

    @staticmethod
    def _found(kind: str, took: list[float], seconds: float) -> dict[str, float]:
        took.sort()
        commands = COMMANDS[kind]

        def at(part: float) -> float:
            return 1000 * took[min(len(took) - 1, int(part * len(took)))] / commands

        return {
            "per_s": round(commands * len(took) / seconds, 1),
            "p50": round(at(0.5), 3),
            "p99": round(at(0.99), 3),
        }


async def run(client: Client, plan: Plan) -> dict[str, dict[str, float]]:
    """All events."""
    race = Race(client, plan)
    found = {}
    for kind in COMMANDS:
        await race.one_at_a_time(kind, plan.try_s)  # connections, caches
        found[f"{kind}, singly"] = await race.one_at_a_time(kind, plan.seconds)
        window = await race.best_window(kind)
        found[f"{kind}, at once"] = await race.at_once(kind, plan.seconds, window)
    return found


async def measure(
    plan: Plan, connect: Callable[[Plan], Awaitable[Client]]
) -> dict[str, dict[str, float]]:
    """Connect, run, hang up."""
    client = await connect(plan)
    try:
        return await run(client, plan)
    finally:
        await client.close()


def main(clients: dict[str, Callable[[Plan], Awaitable[Client]]]) -> None:
    """Reads the plan, prints what was found."""
    plan = Plan(**json.loads(sys.stdin.read()))
    uvloop = import_module("uvloop")
    print(json.dumps(uvloop.run(measure(plan, clients[plan.client]))))


def as_json(plan: Plan) -> bytes:
    """What :func:`main` reads."""
    return json.dumps(asdict(plan)).encode()


if __name__ == "__main__":
    main(CLIENTS)

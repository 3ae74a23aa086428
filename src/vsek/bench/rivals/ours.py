"""vsek's own ARI client in the race (see :mod:`vsek.bench.rivals.race`)."""

from __future__ import annotations

from vsek.ari import Client as AriClient
from vsek.ari.protocol import Query, Reply
from vsek.bench.rivals import race

_OK = range(200, 300)


def _checked(reply: Reply) -> None:
    if reply.status not in _OK:
        raise RuntimeError(f"Asterisk answers {reply.status} {reply.body}")


class Ours:
    """``vsek.ari`` as the switchboard uses it: commands of a task go out together."""

    def __init__(self, ari: AriClient, channel: str) -> None:
        self._ari, self._channel = ari, channel

    @classmethod
    async def connect(cls, plan: race.Plan) -> race.Client:
        """Connected, over WebSockets or, with none of them for commands, over HTTP."""
        ari = AriClient(
            plan.url,
            plan.user,
            plan.password,
            app=plan.app,
            command_sockets=plan.sockets or 1,
            deadline_s=60.0,
        )
        await ari.start()
        await ari.wait_connected(20.0)
        return (cls if plan.sockets else OverHttp)(ari, plan.channel)

    def commands(self, kind: str, number: str) -> list[tuple[str, str, Query | None]]:
        """What a task consists of."""
        variable = f"channels/{self._channel}/variable"
        name = race.variable_of(number)
        if kind == "ping":
            return [("GET", "asterisk/ping", None)]
        if kind == "variable":
            return [
                ("POST", variable, {"variable": name, "value": number}),
                ("GET", variable, {"variable": name}),
            ]
        bridge = f"bridges/{number}"
        return [("POST", bridge, {"type": "mixing"}), ("DELETE", bridge, None)]

    async def task(self, kind: str, number: str) -> None:
        """All commands at once, on the lane of the task."""
        submit = self._ari.submit
        sent = [submit(*command, lane=number) for command in self.commands(kind, number)]
        for reply in sent:
            _checked(await reply)

    async def close(self) -> None:
        """Ends its connections."""
        await self._ari.close()


class OverHttp(Ours):
    """The same client where it takes HTTP."""

    async def task(self, kind: str, number: str) -> None:
        """One command after the other: HTTP has no lanes."""
        for command in self.commands(kind, number):
            _checked(await self._ari.http(*command))

    async def close(self) -> None:
        """Ends its connections."""
        await self._ari.close()


if __name__ == "__main__":
    race.main({"vsek": Ours.connect})

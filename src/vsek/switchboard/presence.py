"""Which agents' softphones are registered: from Asterisk's endpoint events, not by asking.

Theory of operation. A subscription to an endpoint brings the events of its channels too, so the
application that has the calls would get each event of an agent's leg twice. Another application of
ours (:attr:`vsek.ari.Client.side_app`) is therefore subscribed to each agent's endpoint, and gets
of them ``PeerStatusChange`` alone, which comes when the state has changed and at no other time. A
subscription to all of PJSIP would be simpler, but Asterisk makes every event of every caller's
channel for it, each step of the dialplan among them, before it leaves them out.

An endpoint that was made anew (its account changed) has left its subscriptions behind, so each
``refresh`` subscribes again, and compares with what Asterisk says afterwards. What an event tells
while Asterisk is asked outweighs the answer, which may be older: every later change brings an event
as well. Events may fail to come all the same, so what is known is compared now and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator

from vsek.acd.events import AgentReachable
from vsek.ari._generated.events import PeerStatusChange
from vsek.ari.base import Event as AriEvent
from vsek.domain.ids import AgentId
from vsek.errors import ServiceError
from vsek.switchboard.recovery import AriHttp, fetch, keep_to

TECHNOLOGY = "PJSIP"
REACHABLE = "Reachable"
READ = (PeerStatusChange.__name__, "ApplicationReplaced", "ChannelUserevent", "RESTResponse")
"""What Asterisk sends to the side application. Replies to requests on its socket are events too; so
is the client's sign of life."""
SOURCES_LENGTH = 2000
"""Characters of one request's list of endpoints: Asterisk reads request lines up to 4,096."""


class Presence:
    """Reports changes of registration to ``post``; knows which were reported last."""

    def __init__(self, post: Callable[[AgentReachable], None], app: str) -> None:
        self._post = post
        self._app = app
        self._known: dict[str, bool] = {}
        self._events = 0
        self._told: dict[str, int] = {}
        """Number of the last event by which an endpoint was told."""

    def see(self, event: AriEvent) -> None:
        """Take note of an event of Asterisk, whatever it is."""
        if isinstance(event, PeerStatusChange) and event.endpoint.technology == TECHNOLOGY:
            self._events += 1
            self._told[event.endpoint.resource] = self._events
            self._report(event.endpoint.resource, event.peer.peer_status == REACHABLE)

    async def refresh(self, client: AriHttp, agents: Iterable[str]) -> None:
        """Follow the endpoints of ``agents``, and compare with what they are now."""
        agents = list(agents)
        _, endpoints = await asyncio.gather(
            keep_to(client, self._app, "allowed", READ), self._endpoints(client)
        )
        for sources in _chunks(name for name in agents if name in endpoints):
            await self._subscribe(client, sources)
        before = self._events
        endpoints = await self._endpoints(client)
        for name in agents:
            reachable = endpoints.get(name) == "online"
            if self._told.get(name, 0) > before:
                reachable = self._known[name]
            self._known.pop(name, None)
            self._report(name, reachable)

    async def compare(self, client: AriHttp, agents: Iterable[str]) -> list[str]:
        """Compare what was reported of ``agents`` with what Asterisk says now, and report what
        differs. Returns those whose change no event told of."""
        before = self._events
        endpoints = await self._endpoints(client)
        wrong = [
            name
            for name in agents
            if self._told.get(name, 0) <= before
            and self._known.get(name) not in (None, endpoints.get(name) == "online")
        ]
        for name in wrong:
            self._report(name, not self._known[name])
        return wrong

    @staticmethod
    async def _endpoints(client: AriHttp) -> dict[str, str]:
        listed = await fetch(client, f"endpoints/{TECHNOLOGY}")
        return {endpoint["resource"]: endpoint.get("state", "") for endpoint in listed}

    async def _subscribe(self, client: AriHttp, sources: str) -> None:
        uri, query = f"applications/{self._app}/subscription", {"eventSource": sources}
        # Where one is there already another one does nothing, even if it is that of an endpoint
        # which is no more.
        await client.http("DELETE", uri, query)
        reply = await client.http("POST", uri, query)
        if reply.status != 200:
            raise ServiceError(
                f"Asterisk does not tell of {sources}: {reply.status} {reply.body}",
                remedy="`vsek doctor` tells what Asterisk lacks",
            )

    def _report(self, name: str, reachable: bool) -> None:
        if self._known.get(name) != reachable:
            self._known[name] = reachable
            self._post(AgentReachable(AgentId(name), reachable))


def _chunks(names: Iterable[str]) -> Iterator[str]:
    """Event sources, so many in one text as a request takes."""
    chunk = ""
    for name in names:
        source = f"endpoint:{TECHNOLOGY}/{name}"
        if chunk and len(chunk) + len(source) >= SOURCES_LENGTH:
            yield chunk
            chunk = ""
        chunk += f",{source}" if chunk else source
    if chunk:
        yield chunk

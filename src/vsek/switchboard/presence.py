"""Which agents' softphones are registered: from Asterisk's endpoint events, not by asking.

``EndpointStateChange`` alone is believed: the other two events of a registration carry the
endpoint's state too, but may come before it has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vsek.acd.events import AgentReachable
from vsek.ari._generated.events import EndpointStateChange
from vsek.ari.base import Event as AriEvent
from vsek.domain.ids import AgentId
from vsek.switchboard.recovery import AriHttp, fetch

TECHNOLOGY = "PJSIP"


class Presence:
    """Reports changes of registration to ``post``; knows which were reported last."""

    def __init__(self, post: Callable[[AgentReachable], None]) -> None:
        self._post = post
        self._known: dict[str, bool] = {}

    def see(self, event: AriEvent) -> None:
        """Take note of an event of Asterisk, whatever it is."""
        if isinstance(event, EndpointStateChange) and event.endpoint.technology == TECHNOLOGY:
            self._report(event.endpoint.resource, event.endpoint.state == "online")

    async def refresh(self, client: AriHttp, agents: Iterable[str]) -> None:
        """Compare ``agents`` with the endpoints that Asterisk has now."""
        online = {
            endpoint["resource"]
            for endpoint in await fetch(client, f"endpoints/{TECHNOLOGY}")
            if endpoint.get("state") == "online"
        }
        for name in agents:
            self._known.pop(name, None)
            self._report(name, name in online)

    def _report(self, name: str, reachable: bool) -> None:
        if self._known.get(name) != reachable:
            self._known[name] = reachable
            self._post(AgentReachable(AgentId(name), reachable))

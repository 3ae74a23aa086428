"""Lines to providers, as Asterisk sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import structlog

from vsek.ari import AriError, Client
from vsek.errors import ServiceError
from vsek.pbx.ami import Watchman
from vsek.switchboard.facts import Trunk
from vsek.switchboard.presence import TECHNOLOGY

log = structlog.get_logger(__name__)

TRUNKS_DEADLINE_S = 5.0


class Trunks:
    """Endpoints that are no agents and once were reachable must stay reachable, and those that are
    ``wanted`` must be from the start; every outbound registration must hold. Asterisk tells the
    first over ARI, the second over AMI alone.

    ``seen``: endpoints of which an earlier process knew that they had been reachable.
    """

    def __init__(
        self,
        client: Client,
        watchman: Watchman | None,
        *,
        up: Callable[[], bool],
        agents: Callable[[], Collection[str]],
        wanted: Iterable[str],
        seen: Iterable[str],
    ) -> None:
        self._client = client
        self._watchman = watchman
        self._up = up
        self._agents = agents
        self._wanted = frozenset(wanted)
        self._seen = set(seen)
        self._last: list[Trunk] | None = None

    async def look(self) -> Sequence[Trunk] | None:
        """All trunks; the last answer (``None``: none yet) while Asterisk gives none."""
        if not self._up():
            return self._last
        try:
            async with asyncio.timeout(TRUNKS_DEADLINE_S):
                self._last = [*await self._endpoints(), *await self._registrations()]
        except (AriError, ServiceError, OSError, TimeoutError) as error:
            log.warning("trunks_not_seen", error=str(error) or type(error).__name__)
        return self._last

    async def _endpoints(self) -> list[Trunk]:
        reply = await self._client.http("GET", f"endpoints/{TECHNOLOGY}")
        if reply.status >= 400 or not isinstance(reply.body, list):
            raise ServiceError(f"Asterisk lists no endpoints: {reply.status}")
        agents = self._agents()
        states: Mapping[str, str] = {
            str(endpoint["resource"]): str(endpoint.get("state", "unknown"))
            for endpoint in reply.body
            if endpoint["resource"] not in agents
        }
        self._seen |= {name for name, state in states.items() if state == "online"}
        self._seen &= states.keys()
        return [
            Trunk(name, states.get(name) == "online", states.get(name, "missing"))
            for name in sorted(self._seen | self._wanted)
        ]

    async def _registrations(self) -> list[Trunk]:
        if self._watchman is None:
            return []
        return [
            Trunk(name, status == "Registered", status)
            for name, status in await self._watchman.registrations()
        ]

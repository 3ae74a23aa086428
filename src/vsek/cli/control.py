"""Client of the switchboard's control API, the only way to change live state.

HTTP on a unix socket in the run folder. Errors of the API come back as ``InputError`` (4xx, what
was asked is wrong) or ``ServiceError`` (5xx, the switchboard cannot do it now).
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp

from vsek.cli.run import not_running
from vsek.errors import InputError, ServiceError, VsekError
from vsek.settings import Settings

# A live switchboard answers within milliseconds; one that hangs must not hang its operator.
_DEADLINE_S = 10.0


class SwitchboardAwayError(ServiceError):
    """No switchboard listens in this run folder."""

    error_id = "switchboard_away"


class Control:
    """Speaks with the switchboard; use as ``async with Control(settings) as control``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            "http://switchboard",
            connector=aiohttp.UnixConnector(str(self._settings.control_socket)),
            timeout=aiohttp.ClientTimeout(total=_DEADLINE_S),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def health(self) -> dict[str, Any]:
        """Whether the switchboard serves calls (``ok``), and what it lacks."""
        return await self._ask("GET", "/v1/health", well=(200, 503))

    async def agents(self) -> list[dict[str, Any]]:
        """All agents with their live state."""
        return list((await self._ask("GET", "/v1/agents"))["agents"])

    async def ready(self, agent_id: str) -> dict[str, Any]:
        """Ends an agent's pause, wrap-up or parking."""
        return await self._ask("POST", f"/v1/agents/{quote(agent_id, safe='')}/ready")

    async def pause(self, agent_id: str, reason: str = "") -> dict[str, Any]:
        """No more calls for an agent; a talk that goes on is not touched."""
        path = f"/v1/agents/{quote(agent_id, safe='')}/pause"
        return await self._ask("POST", path, {"reason": reason} if reason else {})

    async def sync(self) -> dict[str, Any]:
        """Makes the switchboard read clients and agents from the database now."""
        return await self._ask("POST", "/v1/sync")

    async def calls(self) -> list[dict[str, Any]]:
        """Live calls."""
        return list((await self._ask("GET", "/v1/calls"))["calls"])

    async def _ask(
        self, method: str, path: str, body: object = None, *, well: tuple[int, ...] = (200,)
    ) -> dict[str, Any]:
        assert self._session is not None
        try:
            async with self._session.request(method, path, json=body) as response:
                answer = await response.json()
        except TimeoutError as error:
            raise ServiceError(
                f"The switchboard did not answer within {_DEADLINE_S:.0f} s",
                remedy="See its log; 'vsek doctor' looks at what it needs",
                error_id="switchboard_slow",
            ) from error
        except (aiohttp.ClientConnectionError, OSError) as error:
            raise SwitchboardAwayError(
                f"No switchboard answers at {self._settings.control_socket}",
                remedy=not_running(self._settings),
            ) from error
        except (aiohttp.ClientError, ValueError) as error:
            raise ServiceError(
                f"{self._settings.control_socket} is not a switchboard: {error}",
                remedy="Correct control.socket, or leave it out",
            ) from error
        if response.status not in well:
            raise error_of(response.status, answer)
        return dict(answer)


def error_of(status: int, body: dict[str, Any]) -> VsekError:
    """The exception that the body of an error answer stands for."""
    message = str(body.get("message") or f"Refused with HTTP {status}")
    remedy, error_id = str(body.get("remedy") or ""), body.get("error_id")
    if status >= 500:
        return ServiceError(message, remedy=remedy, error_id=error_id)
    return InputError(
        message,
        field=str(body.get("field") or ""),
        value=body.get("value"),
        remedy=remedy,
        error_id=error_id,
    )

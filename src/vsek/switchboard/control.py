"""The control API: the only way in which anybody changes live state.

HTTP on a unix socket (mode 0600). Errors have one shape: ``error_id``, ``message``, ``field``,
``value``, ``remedy``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec
import structlog
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vsek.acd.events import AgentPaused, AgentReadied
from vsek.call.model import Call, State
from vsek.domain.ids import AgentId
from vsek.domain.text import CleanName
from vsek.errors import InputError, ServiceError, VsekError
from vsek.health.exposition import metrics_route
from vsek.switchboard.owner import Switchboard

log = structlog.get_logger(__name__)


class Synced(BaseModel):
    """How many clients and agents are in force."""

    clients: int
    agents: int


class Pause(BaseModel):
    """Body of a pause."""

    model_config = ConfigDict(extra="forbid")
    reason: CleanName = Field(default="break", max_length=80)


class Watch(Protocol):
    """Knows how the switchboard is."""

    @property
    def registry(self) -> CollectorRegistry:
        """The metrics."""

    def health(self) -> dict[str, Any]:
        """Each part and what to do about it; ``ok``: whether callers are answered."""

    def ready(self) -> bool:
        """Whether callers are answered."""


def make_app(
    switchboard: Switchboard,
    sync: Callable[[], Awaitable[Synced]],
    watch: Watch,
) -> Starlette:
    """The control API of ``switchboard``.

    Plain Starlette: this is served by the loop that decides about calls.
    """

    async def list_calls(_: Request) -> Response:
        state = switchboard.state
        return _reply({"calls": [_call(state, call) for call in state.calls.values()]})

    async def take_over_directory(_: Request) -> Response:
        return _reply((await sync()).model_dump())

    return Starlette(
        routes=[
            *_watch_routes(watch),
            *_agent_routes(switchboard),
            Route("/v1/calls", list_calls),
            Route("/v1/sync", take_over_directory, methods=["POST"]),
        ],
        exception_handlers={
            VsekError: _on_error,
            ValidationError: _on_invalid,
            HTTPException: _on_http_error,
        },
    )


def _reply(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def _watch_routes(watch: Watch) -> list[Route]:
    async def live(_: Request) -> Response:
        # That this is answered at all is the answer: the loop that decides about calls turns.
        return _reply({"ok": True})

    async def ready(_: Request) -> Response:
        well = watch.ready()
        return _reply({"ok": well}, 200 if well else 503)

    async def health(_: Request) -> Response:
        report = watch.health()
        return _reply(report, 200 if report["ok"] else 503)

    return [
        metrics_route(watch.registry),
        Route("/v1/live", live),
        Route("/v1/ready", ready),
        Route("/v1/health", health),
    ]


def _agent_routes(switchboard: Switchboard) -> list[Route]:
    def known(request: Request) -> AgentId:
        agent_id = request.path_params["agent_id"]
        if agent_id not in switchboard.state.acd.agents:
            raise InputError(
                f"There is no agent {agent_id!r}",
                field="agent",
                value=agent_id,
                remedy="`vsek agent list` shows the agents",
                error_id="unknown_agent",
            )
        return AgentId(agent_id)

    async def list_agents(_: Request) -> Response:
        state = switchboard.state
        return _reply({"agents": [_agent(state, agent_id) for agent_id in state.acd.agents]})

    async def make_ready(request: Request) -> Response:
        agent_id = known(request)
        switchboard.post(AgentReadied(agent_id))
        return _reply(_agent(switchboard.state, agent_id))

    async def pause(request: Request) -> Response:
        agent_id = known(request)
        body = await request.body()
        reason = Pause.model_validate_json(body).reason if body else Pause().reason
        switchboard.post(AgentPaused(agent_id, reason))
        return _reply(_agent(switchboard.state, agent_id))

    return [
        Route("/v1/agents", list_agents),
        Route("/v1/agents/{agent_id}/ready", make_ready, methods=["POST"]),
        Route("/v1/agents/{agent_id}/pause", pause, methods=["POST"]),
    ]


def _agent(state: State, agent_id: AgentId) -> dict[str, Any]:
    agent = state.acd.agents[agent_id]
    entry = state.directory.agents.get(agent_id)
    return {
        "id": agent_id,
        "name": entry.name if entry is not None else agent_id,
        "state": agent.state.value,
        "since": agent.since,
        "reason": agent.reason,
        "pause_wanted": agent.pause_wanted,
        "call_id": agent.call_id,
        "reachable": agent.reachable,
    }


def _call(state: State, call: Call) -> dict[str, Any]:
    leg = call.leg
    return {
        "id": call.call_id,
        "client_id": call.script.client_id if call.script is not None else None,
        "stage": call.stage.value,
        "received_at": call.received_at,
        "caller_number": call.caller_number,
        "caller_name": call.caller_name,
        "offered_to": leg.agent_id if leg is not None and call.agent_id is None else None,
        "agent_id": call.agent_id,
        "answered_at": call.answered_at,
        "place": state.acd.place(call.call_id),
    }


async def _on_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, VsekError)
    status = 503 if isinstance(error, ServiceError) else 422
    if error.error_id.startswith("unknown_"):
        status = 404
    if status == 503:
        log.error("control_error", error=str(error), error_id=error.error_id)
    body = {
        "error_id": error.error_id,
        "message": error.message,
        "field": getattr(error, "field", ""),
        "value": _shown(getattr(error, "value", None)),
        "remedy": error.remedy,
    }
    return _reply(body, status)


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, ValidationError)
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    body = {
        "error_id": "input",
        "message": f"{field or 'body'}: {first['msg']}",
        "field": field,
        "value": _shown(first.get("input")),
        "remedy": first.get("ctx", {}).get("remedy", "Correct the field"),
    }
    return _reply(body, 422)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    body = {
        "error_id": "http",
        "message": f"{request.method} {request.url.path}: {error.detail}",
        "field": "",
        "value": None,
        "remedy": "Use the vsek command, which knows the paths",
    }
    return _reply(body, error.status_code)


def _shown(value: object) -> str | None:
    return None if value is None else repr(value)[:200]

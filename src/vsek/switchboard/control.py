"""The control API: the only way in which anybody changes live state.

HTTP on a unix socket (mode 0600). Errors have one shape: ``error_id``, ``message``, ``field``,
``value``, ``remedy``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, ConfigDict, Field

from vsek.acd.events import AgentPaused, AgentReadied
from vsek.call.model import Call, State
from vsek.domain.ids import AgentId, CallId
from vsek.domain.note import NoteDraft
from vsek.domain.text import CleanName
from vsek.errors import InputError, ServiceError, VsekError
from vsek.ops.exposition import add_metrics
from vsek.switchboard.owner import Switchboard

log = structlog.get_logger(__name__)


class NoteBook(Protocol):
    """Keeps note drafts; answers only when they are safe."""

    async def write(
        self, call_id: CallId, draft: NoteDraft, *, finish: bool, author: str
    ) -> BaseModel:
        """Write a draft. Raises ``InputError`` with ``error_id`` ``unknown_call``."""

    async def read(self, call_id: CallId) -> BaseModel:
        """The draft of a call. Raises as ``write``."""


class Synced(BaseModel):
    """How many clients and agents are in force."""

    clients: int
    agents: int


class Pause(BaseModel):
    """Body of a pause."""

    model_config = ConfigDict(extra="forbid")
    reason: CleanName = Field(default="break", max_length=80)


class WriteNote(NoteDraft):
    """Body of a note: the fields of a draft, and what to do with it."""

    finish: bool = False
    """Send it now; otherwise it waits for more, and leaves as incomplete when its time comes."""
    author: CleanName = ""


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
    notes: NoteBook,
    sync: Callable[[], Awaitable[Synced]],
    watch: Watch,
) -> FastAPI:
    """The control API of ``switchboard``."""
    app = FastAPI(title="vsek control API", docs_url=None, redoc_url=None)
    _add_errors(app)
    _add_agents(app, switchboard)
    _add_calls(app, switchboard, notes)

    _add_watch(app, watch)

    @app.post("/v1/sync")
    async def take_over_directory() -> Synced:
        return await sync()

    return app


def _add_watch(app: FastAPI, watch: Watch) -> None:
    add_metrics(app, watch.registry)

    @app.get("/v1/live")
    async def live() -> dict[str, bool]:
        """That this is answered at all is the answer: the loop that decides about calls turns."""
        return {"ok": True}

    @app.get("/v1/ready")
    async def ready() -> JSONResponse:
        well = watch.ready()
        return JSONResponse({"ok": well}, status_code=200 if well else 503)

    @app.get("/v1/health")
    async def health() -> JSONResponse:
        report = watch.health()
        return JSONResponse(report, status_code=200 if report["ok"] else 503)


def _add_agents(app: FastAPI, switchboard: Switchboard) -> None:
    def known(agent_id: str) -> AgentId:
        if agent_id not in switchboard.state.acd.agents:
            raise InputError(
                f"There is no agent {agent_id!r}",
                field="agent",
                value=agent_id,
                remedy="`vsek agent list` shows the agents",
                error_id="unknown_agent",
            )
        return AgentId(agent_id)

    @app.get("/v1/agents")
    async def list_agents() -> dict[str, list[dict[str, Any]]]:
        return {"agents": [_agent(switchboard.state, a) for a in switchboard.state.acd.agents]}

    @app.post("/v1/agents/{agent_id}/ready")
    async def make_ready(agent_id: str) -> dict[str, Any]:
        switchboard.post(AgentReadied(known(agent_id)))
        return _agent(switchboard.state, AgentId(agent_id))

    @app.post("/v1/agents/{agent_id}/pause")
    async def pause(agent_id: str, body: Pause | None = None) -> dict[str, Any]:
        switchboard.post(AgentPaused(known(agent_id), (body or Pause()).reason))
        return _agent(switchboard.state, AgentId(agent_id))


def _add_calls(app: FastAPI, switchboard: Switchboard, notes: NoteBook) -> None:
    @app.get("/v1/calls")
    async def list_calls() -> dict[str, list[dict[str, Any]]]:
        state = switchboard.state
        return {"calls": [_call(state, call) for call in state.calls.values()]}

    @app.put("/v1/calls/{call_id}/note")
    async def write_note(call_id: str, body: WriteNote) -> dict[str, Any]:
        draft = NoteDraft(**body.model_dump(exclude={"finish", "author"}))
        author = body.author or _author(switchboard.state, CallId(call_id))
        written = await notes.write(CallId(call_id), draft, finish=body.finish, author=author)
        return written.model_dump(mode="json")

    @app.get("/v1/calls/{call_id}/note")
    async def read_note(call_id: str) -> dict[str, Any]:
        return (await notes.read(CallId(call_id))).model_dump(mode="json")


def _author(state: State, call_id: CallId) -> str:
    call = state.calls.get(call_id)
    entry = state.directory.agents.get(call.agent_id) if call and call.agent_id else None
    return entry.name if entry is not None else ""


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


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(VsekError)
    async def on_error(_: Request, error: VsekError) -> JSONResponse:
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
        return JSONResponse(body, status_code=status)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"] if part != "body")
        body = {
            "error_id": "input",
            "message": f"{field or 'body'}: {first['msg']}",
            "field": field,
            "value": _shown(first.get("input")),
            "remedy": (first.get("ctx") or {}).get("remedy", "Correct the field"),
        }
        return JSONResponse(body, status_code=422)


def _shown(value: object) -> str | None:
    return None if value is None else repr(value)[:200]

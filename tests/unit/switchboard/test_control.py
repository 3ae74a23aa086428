"""The control API's answers, asked the way a server asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter
from tests.unit.switchboard.test_owner import ANNA, Bench, arrival, start

from vsek.errors import ServiceError
from vsek.switchboard.control import Synced, make_app


class Watch:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        Counter("tries", "…", registry=self.registry).inc(3)
        self.well = True

    def health(self) -> dict[str, Any]:
        return {"ok": self.well, "problems": [] if self.well else ["asterisk"]}

    def ready(self) -> bool:
        return self.well


class Api:
    def __init__(self, bench: Bench) -> None:
        self.bench, self.watch = bench, Watch()
        self.trouble: Exception | None = None
        self._app = make_app(bench.switchboard, self._sync, self.watch)

    async def _sync(self) -> Synced:
        if self.trouble is not None:
            raise self.trouble
        return Synced(clients=2, agents=1)

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        content = body if isinstance(body, bytes) else b"" if body is None else _json(body)
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [],
            "root_path": "",
            "server": ("vsek", 80),
            "scheme": "http",
        }
        await self._app(scope, receive, send)
        text = b"".join(part.get("body", b"") for part in sent[1:])
        kind = dict(sent[0]["headers"])[b"content-type"]
        return sent[0]["status"], json.loads(text) if b"json" in kind else text.decode()


def _json(body: object) -> bytes:
    return json.dumps(body).encode()


@pytest.fixture
async def api(tmp_path: Path) -> Api:
    return Api(await start(tmp_path))


async def test_agents_and_calls(api: Api) -> None:
    status, body = await api.ask("GET", "/v1/agents")
    assert status == 200
    assert [(a["id"], a["state"]) for a in body["agents"]] == [(ANNA, "ready")]
    status, body = await api.ask("POST", f"/v1/agents/{ANNA}/pause", {"reason": "lunch\r\n"})
    assert (status, body["state"], body["reason"]) == (200, "paused", "lunch")
    assert (await api.ask("POST", f"/v1/agents/{ANNA}/ready"))[1]["state"] == "ready"
    assert (await api.ask("POST", f"/v1/agents/{ANNA}/pause"))[1]["reason"] == "break"
    api.bench.switchboard.post(arrival())
    (call,) = (await api.ask("GET", "/v1/calls"))[1]["calls"]
    assert (call["id"], call["stage"], call["place"]) == ("call-1", "waiting", 0)
    assert await api.ask("POST", "/v1/sync") == (200, {"clients": 2, "agents": 1})


async def test_a_fault_is_told_with_its_remedy(api: Api) -> None:
    api.trouble = ServiceError("The database does not serve", remedy="Start it")
    status, body = await api.ask("POST", "/v1/sync")
    assert (status, body["message"], body["remedy"]) == (
        503,
        "The database does not serve",
        "Start it",
    )


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "told"),
    [
        ("POST", "/v1/agents/nobody/ready", None, 404, "no agent 'nobody'"),
        ("POST", f"/v1/agents/{ANNA}/pause", {"why": "x"}, 422, "why"),
        ("POST", f"/v1/agents/{ANNA}/pause", b"\xff{", 422, "JSON"),
        ("POST", f"/v1/agents/{ANNA}/pause", [1], 422, "body"),
        ("PUT", "/v1/calls/call-1/note", {}, 404, "Not Found"),
        ("DELETE", "/v1/calls", None, 405, "Not Allowed"),
        ("GET", "/v1/nothing", None, 404, "Not Found"),
    ],
)
async def test_what_is_wrong_is_told_in_one_shape(
    api: Api, method: str, path: str, body: object, status: int, told: str
) -> None:
    code, answer = await api.ask(method, path, body)
    assert code == status
    assert told in answer["message"]
    assert set(answer) == {"error_id", "message", "field", "value", "remedy"}
    assert answer["remedy"]


async def test_signs_of_life(api: Api) -> None:
    assert await api.ask("GET", "/v1/live") == (200, {"ok": True})
    assert await api.ask("GET", "/v1/ready") == (200, {"ok": True})
    assert "tries_total 3.0" in (await api.ask("GET", "/metrics"))[1]
    api.watch.well = False
    assert await api.ask("GET", "/v1/ready") == (503, {"ok": False})
    assert (await api.ask("GET", "/v1/health"))[0] == 503

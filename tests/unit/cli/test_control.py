"""The control client against a real server on a unix socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from vsek.cli import live
from vsek.cli.control import Control, SwitchboardAwayError
from vsek.errors import InputError, ServiceError
from vsek.settings import Settings


class Switchboard:
    """Answers what it was told to and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.answer: tuple[int, object] = (200, {})

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        self.asked.append((request.method, request.raw_path, body))
        status, answer = self.answer
        return web.json_response(answer, status=status)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(dir=tmp_path)


@pytest.fixture
async def switchboard(settings: Settings) -> AsyncIterator[Switchboard]:
    peer = Switchboard()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", peer.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    settings.control_socket.parent.mkdir()
    await web.UnixSite(runner, str(settings.control_socket)).start()
    yield peer
    await runner.cleanup()


async def test_requests_as_the_api_wants_them(settings: Settings, switchboard: Switchboard) -> None:
    async with Control(settings) as control:
        await control.ready("anna")
        await control.pause("anna")
        await control.pause("anna", "lunch")
        await control.ready("a/1")
        switchboard.answer = (200, {"agents": [{"id": "anna"}]})
        assert await control.agents() == [{"id": "anna"}]
    assert switchboard.asked == [
        ("POST", "/v1/agents/anna/ready", None),
        ("POST", "/v1/agents/anna/pause", {}),
        ("POST", "/v1/agents/anna/pause", {"reason": "lunch"}),
        ("POST", "/v1/agents/a%2F1/ready", None),
        ("GET", "/v1/agents", None),
    ]


async def test_a_sick_switchboard_still_reports_its_health(
    settings: Settings, switchboard: Switchboard
) -> None:
    switchboard.answer = (503, {"ok": False, "problems": ["asterisk"]})
    async with Control(settings) as control:
        assert (await control.health())["problems"] == ["asterisk"]


async def test_wrong_questions_and_faults_are_told_apart(
    settings: Settings, switchboard: Switchboard
) -> None:
    body = {
        "error_id": "unknown_agent",
        "message": "There is no agent 'x'",
        "field": "agent",
        "value": "x",
        "remedy": "See the list",
    }
    async with Control(settings) as control:
        switchboard.answer = (404, body)
        with pytest.raises(InputError) as wrong:
            await control.ready("x")
        assert (wrong.value.error_id, wrong.value.field) == ("unknown_agent", "agent")
        switchboard.answer = (503, {**body, "error_id": "database"})
        with pytest.raises(ServiceError) as fault:
            await control.calls()
        assert fault.value.error_id == "database"


async def test_nobody_there(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    async with Control(settings) as control:
        with pytest.raises(SwitchboardAwayError) as away:
            await control.agents()
    assert f"vsek up --dir {settings.dir}" in str(away.value)
    await live.announce(settings)
    out, err = capsys.readouterr()
    assert out == ""
    assert "takes effect when it starts" in err

"""When Asterisk is asked: each question takes its time where the line is slow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from vsek.call.model import new_state
from vsek.domain.agent import Agent
from vsek.domain.directory import Directory
from vsek.domain.ids import AgentId
from vsek.errors import ServiceError
from vsek.settings import Settings
from vsek.switchboard.keeper import Keeper
from vsek.switchboard.owner import Switchboard

ANNA = Agent(id=AgentId("anna"), name="Anna", language="de", ha1="0" * 32)


class World:
    """Sounds, accounts and a database; notes what was asked of Asterisk."""

    def __init__(self, folder: Path) -> None:
        self.directory = Directory({}, {})
        self.asked: list[str] = []
        self.up = True
        self.away = False
        switchboard = SimpleNamespace(state=new_state(), post=lambda _: None)
        self.keeper = Keeper(
            cast(Switchboard, switchboard),
            Settings.model_validate({"dir": folder}),
            load=self._load,
            sounds=self,
            accounts=self,
            see_agents=self._see,
            asterisk_is_up=lambda: self.up,
        )

    async def _load(self) -> Directory:
        return self.directory

    async def bring(self, hashes: frozenset[str]) -> None:
        """All there."""

    async def announcements(self) -> dict[str, str]:
        return {}

    def media(self, sound: str) -> str:
        return sound

    async def set_music(self, classes: Mapping[str, str]) -> None:
        self.asked.append("music")

    async def sync(self, agents: Mapping[AgentId, Agent]) -> set[str]:
        self.asked.append("accounts")
        return set()

    async def _see(self) -> None:
        if self.away:
            raise ServiceError("away")
        self.asked.append("see")

    async def asks(self, **how: Any) -> bool:
        self.asked.clear()
        await self.keeper.sync(**how)
        assert self.asked in ([], ["music", "accounts", "see"])
        return bool(self.asked)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_asterisk_is_asked_once_for_each_change(world: World) -> None:
    assert await world.asks()
    assert not await world.asks(), "told a second time"
    world.directory = Directory({}, {ANNA.id: ANNA})
    assert await world.asks()
    assert not await world.asks()
    assert await world.asks(anew=True), "Asterisk may be another one"
    assert not await world.asks()


async def test_what_failed_is_done_again(world: World) -> None:
    world.away = True
    with pytest.raises(ServiceError):
        await world.keeper.sync()
    world.away = False
    assert await world.asks()


async def test_what_was_not_possible_is_done_when_it_is(world: World) -> None:
    world.up = False
    assert not await world.asks()
    world.up = True
    assert await world.asks()

"""Which recordings are swept out of Asterisk, and when nobody dares to."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import unquote

import pytest
import structlog
from structlog.testing import LogCapture

from vsek.ari.protocol import Reply
from vsek.call.model import Call, State, new_state
from vsek.demo.events import eventually
from vsek.domain.ids import CallId, ChannelId
from vsek.errors import ServiceError
from vsek.switchboard import sweep as sweeping
from vsek.switchboard.sweep import AT_ONCE, SETTLED_S, Sweep, owner_of

NOW = 1_800_000_000.0


class House:
    """Asterisk and the database in one; ``unwanted`` is what the database says."""

    def __init__(self, *stored: str) -> None:
        self.stored = list(stored)
        self.unwanted_names: set[str] = set(stored)
        self.up = True
        self.away = False
        self.refused = 0
        self.lists = 0
        self.asked: list[dict[str, str]] = []
        self.before = 0.0
        self.comes_meanwhile: Call | None = None
        self.goes_down_meanwhile = False
        self.state: State = new_state()

    async def http(
        self, method: str, uri: str, query: dict[str, str] | None = None, body: Any = None
    ) -> Reply:
        if method == "GET":
            assert uri == "recordings/stored"
            self.lists += 1
            listed = [{"name": name, "format": "wav"} for name in self.stored]
            return Reply(status=200, body=listed, reason="", took_s=0.0)
        name = unquote(uri.removeprefix("recordings/stored/"))
        assert method == "DELETE"
        assert "/" not in uri.removeprefix("recordings/stored/")
        if self.refused:
            return Reply(status=self.refused, body=None, reason="", took_s=0.0)
        self.stored.remove(name)
        return Reply(status=204, body=None, reason="", took_s=0.0)

    async def unwanted(self, owners: Mapping[str, str], before: float) -> Collection[str]:
        if self.away:
            raise ServiceError("The database does not serve")
        self.asked.append(dict(owners))
        self.before = before
        if self.comes_meanwhile is not None:
            self.state.calls[self.comes_meanwhile.call_id] = self.comes_meanwhile
        self.up = self.up and not self.goes_down_meanwhile
        return self.unwanted_names & set(owners)

    def sweep(self) -> Sweep:
        return Sweep(self, self, lambda: self.state, lambda: self.up, clock=lambda: NOW)


def call(call_id: str) -> Call:
    return Call(CallId(call_id), ChannelId("1.1"), None, NOW, "", "")


@pytest.fixture
def told() -> LogCapture:
    captured = LogCapture()
    structlog.configure(processors=[captured])
    return captured


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("vsek/261122-091757-abcdef-1", "261122-091757-abcdef"),
        ("vsek/261122-091757-abcdef-12", "261122-091757-abcdef"),
        ("vsek/fallback-vsek-1795339602.1-2", None),
        ("vsek/fallback-1795339602.1", None),
        ("vsek/261122-091757-abcdef-x", None),
        ("vsek/261122-091757-abcdef-1\n", None),
        ("vsek/ -1", None),
        ("vsek/-1", None),
        ("other/261122-091757-abcdef-1", None),
        ("vsekx-1", None),
    ],
)
def test_only_what_we_recorded_in_a_call_is_ever_looked_at(name: str, owner: str | None) -> None:
    assert owner_of(name) == owner


async def test_what_nobody_wants_is_deleted_and_told_of(told: LogCapture) -> None:
    house = House("vsek/a-1", "vsek/b-1", "vsek/fallback-1.2", "theirs")
    house.unwanted_names.discard("vsek/b-1")
    assert await house.sweep().sweep()
    assert house.stored == ["vsek/b-1", "vsek/fallback-1.2", "theirs"]
    assert house.asked == [{"vsek/a-1": "a", "vsek/b-1": "b"}]
    assert house.before == NOW - SETTLED_S
    (line,) = told.entries
    assert (line["event"], line["call_id"], line["name"]) == ("recording_swept", "a", "vsek/a-1")


async def test_a_live_call_keeps_its_recordings() -> None:
    house = House("vsek/a-1", "vsek/b-1")
    house.state.calls[CallId("a")] = call("a")
    house.comes_meanwhile = call("b")
    assert await house.sweep().sweep()
    assert house.asked == [{"vsek/b-1": "b"}]
    assert house.stored == ["vsek/a-1", "vsek/b-1"]


async def test_who_does_not_serve_calls_touches_nothing() -> None:
    house = House("vsek/a-1")
    house.up = False
    assert not await house.sweep().sweep()
    assert not house.lists
    house.up, house.goes_down_meanwhile = True, True
    assert not await house.sweep().sweep()
    assert house.stored == ["vsek/a-1"]


async def test_without_a_database_nothing_is_deleted() -> None:
    house = House("vsek/a-1")
    house.away = True
    with pytest.raises(ServiceError):
        await house.sweep().sweep()
    assert house.stored == ["vsek/a-1"]


async def test_a_round_is_bounded_and_the_next_goes_on() -> None:
    names = [f"vsek/c{number:04}-1" for number in range(2 * AT_ONCE + 1)]
    house = House(*reversed(names))
    house.unwanted_names = {names[-1]}
    sweep = house.sweep()
    assert [await sweep.sweep() for _ in range(4)] == [False, False, True, False]
    assert [len(asked) for asked in house.asked] == [AT_ONCE, AT_ONCE, 1, AT_ONCE]
    assert names[-1] not in house.stored


@pytest.mark.parametrize(("status", "says"), [(404, []), (500, ["recording_not_swept"])])
async def test_a_deletion_that_fails_is_left_to_the_next_time(
    told: LogCapture, status: int, says: list[str]
) -> None:
    house = House("vsek/a-1", "vsek/b-1")
    house.refused = status
    assert await house.sweep().sweep()
    assert [line["event"] for line in told.entries] == says * 2


async def test_nothing_stored_is_nothing_asked() -> None:
    house = House()
    assert await house.sweep().sweep()
    assert house.asked == []


async def test_it_goes_on_whatever_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "EVERY_S", 0.001)
    monkeypatch.setattr(sweeping, "AGAIN_S", 0.001)
    house = House("vsek/a-1")
    house.away = True
    task = asyncio.create_task(house.sweep().run())
    try:
        await eventually(lambda: _true(house.lists > 3), "rounds without a database")
        assert house.stored
        house.away = False
        await eventually(lambda: _true(not house.stored), "a round with one")
        lists = house.lists
        await eventually(lambda: _true(house.lists > lists), "another round")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _true(whether: bool) -> bool | None:
    return whether or None

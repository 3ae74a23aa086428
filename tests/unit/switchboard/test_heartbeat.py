"""The sign of life: set only when a pulse went the whole way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from vsek.ari import events
from vsek.ari.errors import AriTimeout
from vsek.ari.protocol import Query, Reply
from vsek.switchboard.heartbeat import Heartbeat


class Asterisk:
    """Takes requests; pulses come back when told to."""

    def __init__(self) -> None:
        self.tell: Callable[[events.ChannelUserevent], Any] = lambda _: None
        self.pulses: list[str] = []
        self.lanes: list[str] = []
        self.alive: list[str] = []
        self.answer: Reply | Exception = Reply(status=204, body=None, reason="", took_s=0.0)
        self.changed = asyncio.Event()

    def on_event(
        self,
        event: type[events.ChannelUserevent],
        callback: Callable[[events.ChannelUserevent], Any],
    ) -> None:
        self.tell = callback

    def submit(
        self,
        method: str,
        uri: str,
        query: Query | None = None,
        body: Any = None,
        *,
        lane: str = "",
        deadline_s: float | None = None,
    ) -> asyncio.Future[Reply]:
        assert method == "POST"
        assert isinstance(query, dict)
        if uri == "events/user/vsek-pulse":
            assert query == {"application": "app"}
            self.pulses.append(body["variables"]["number"])
            self.lanes.append(lane)
        else:
            assert (uri, query["variable"]) == ("asterisk/variable", "VSEK_ALIVE")
            self.alive.append(str(query["value"]))
        self.changed.set()
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        if isinstance(self.answer, Exception):
            future.set_exception(self.answer)
        else:
            future.set_result(self.answer)
        return future

    def come_back(self, number: str, at: str = "2027-01-15T09:00:07.900+0100") -> None:
        self.tell(
            events.ChannelUserevent(
                application="app",
                timestamp=at,
                eventname="vsek-pulse",
                userevent={"number": number, "eventname": "vsek-pulse"},
            )
        )


class Setting:
    def __init__(self) -> None:
        self.asterisk = Asterisk()
        self.serving = True
        self.now = 100.0
        self.heartbeat = Heartbeat(
            self.asterisk, "app", lambda: self.serving, clock=lambda: self.now
        )

    async def pulses(self, count: int) -> None:
        """Lets it run until so many pulses have been sent."""
        task = asyncio.create_task(self.heartbeat.run())
        async with asyncio.timeout(5):
            while len(self.asterisk.pulses) < count:
                self.asterisk.changed.clear()
                await self.asterisk.changed.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def setting() -> Setting:
    return Setting()


async def test_asterisk_is_told_its_own_time_once_a_pulse_has_come_back(setting: Setting) -> None:
    heartbeat, asterisk = setting.heartbeat, setting.asterisk
    await setting.pulses(2)
    assert asterisk.alive == []
    assert heartbeat.healthy is False
    assert (heartbeat.sent, heartbeat.beat) == (2, 0)
    # Over another socket each time.
    assert len(set(asterisk.lanes)) == 2
    setting.now += 0.5
    asterisk.come_back("2")
    assert asterisk.alive == ["1800000007"]
    assert (heartbeat.beat, heartbeat.age_s()) == (2, 0.0)
    setting.now += 3.0
    assert (heartbeat.age_s(), heartbeat.healthy) == (3.0, True)
    setting.now += 0.5
    assert (heartbeat.age_s(), heartbeat.healthy) == (3.5, False)


async def test_what_proves_nothing_is_left(setting: Setting) -> None:
    asterisk = setting.asterisk
    await setting.pulses(1)
    asterisk.come_back("7")  # of a process before us
    asterisk.come_back("x")
    asterisk.come_back("1", at="yesterday")
    asterisk.tell(events.ChannelUserevent(application="app", eventname="other", userevent={}))
    setting.serving = False
    asterisk.come_back("1")
    assert asterisk.alive == []
    setting.serving = True
    asterisk.come_back("1")
    asterisk.come_back("1")
    assert asterisk.alive == ["1800000007"]


async def test_no_pulse_while_calls_cannot_be_served(setting: Setting) -> None:
    setting.serving = False
    task = asyncio.create_task(setting.heartbeat.run())
    await asyncio.sleep(0)
    assert setting.asterisk.pulses == []
    setting.serving = True
    async with asyncio.timeout(5):
        await setting.asterisk.changed.wait()
    assert setting.asterisk.pulses == ["1"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    "answer", [Reply(status=403, body=None, reason="", took_s=0.0), AriTimeout("no reply")]
)
async def test_a_refusal_or_no_answer_is_survived(
    setting: Setting, answer: Reply | Exception
) -> None:
    setting.asterisk.answer = answer
    await setting.pulses(1)
    assert not setting.heartbeat.healthy

"""Timers on a real loop whose clock can jump."""

from __future__ import annotations

import asyncio
import socket

import pytest

from vsek.acd.events import TimerDue
from vsek.switchboard.timers import Timers


class Seen:
    """What happened, in order; ``over`` once a timer was due."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.over = asyncio.Event()

    def due(self, event: TimerDue) -> None:
        self.order.append(f"{event.name} {event.generation}")
        self.over.set()

    async def news(self, reader: asyncio.StreamReader) -> None:
        self.order.append((await reader.readexactly(9)).decode())


async def test_news_that_came_while_the_process_was_held_up_go_before_a_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    seen = Seen()
    timers = Timers(seen.due, lambda: 0.0)
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    reading = asyncio.create_task(seen.news(reader))
    timers.set("ring", 1, 5.0)
    await asyncio.sleep(0)
    theirs.send(b"picked up")
    now = loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + 60.0)
    await seen.over.wait()
    assert seen.order == ["picked up", "ring 1"]
    await reading
    writer.close()
    theirs.close()


async def test_a_held_up_timer_can_still_be_disarmed(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    seen = Seen()
    timers = Timers(seen.due, lambda: 0.0)
    timers.set("ring", 1, 5.0)
    now = loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + 60.0)
    loop.call_soon(loop.call_soon, timers.cancel, "ring")
    timers.set("other", 2, 0.5)
    await seen.over.wait()
    assert seen.order == ["other 2"]


async def test_a_deadline_that_has_passed_already_is_due_at_once() -> None:
    seen = Seen()
    timers = Timers(seen.due, lambda: 100.0)
    timers.set("ring", 1, 5.0)
    await seen.over.wait()
    assert seen.order == ["ring 1"]
    timers.set("ring", 2, 5.0)
    timers.close()

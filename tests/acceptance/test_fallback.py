"""vsek is away, restarting or hung: no caller meets silence, and no call goes without a record."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from array import array
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.acceptance.house import ALDER, BIRCH, CEDAR, SOUNDS, Crew, House
from tests.acceptance.test_nothing_is_lost import wait_restarted
from tests.acceptance.test_what_is_heard import heard_for

from vsek.demo import audio, g711
from vsek.demo.caller import Caller
from vsek.demo.events import eventually
from vsek.embedded import resources

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SOUNDS = resources.folder("asterisk-conf") / "vsek-sounds"
BEGINS_WITHIN_S = 6.0
"""From the INVITE to the announcement."""


@contextlib.asynccontextmanager
async def vsek_away(house: House, how: signal.Signals = signal.SIGKILL) -> AsyncIterator[None]:
    """No switchboard meanwhile: the supervisor is held, so that it does not start another."""
    up, serve = house.stack.ready["pids"]["up"], await house.serve_pid()
    os.kill(up, signal.SIGSTOP)
    try:
        os.kill(serve, how)
        yield
    finally:
        os.kill(up, signal.SIGCONT)
        await wait_restarted(house, serve)


@contextlib.asynccontextmanager
async def vsek_hung(house: House) -> AsyncIterator[None]:
    """The switchboard keeps its connections and does nothing. Whether its supervisor, once it runs
    again, lets it go on or starts another is its own affair."""
    up, serve = house.stack.ready["pids"]["up"], await house.serve_pid()
    os.kill(up, signal.SIGSTOP)
    os.kill(serve, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(serve, signal.SIGCONT)
        os.kill(up, signal.SIGCONT)
        await wait_healthy(house)


async def wait_healthy(house: House) -> None:
    async def probe() -> bool | None:
        with contextlib.suppress(Exception):
            return True if (await house.stack.control("GET", "/v1/health"))["ok"] else None
        return None

    await eventually(probe, "a switchboard that serves", timeout_s=30.0)


def shipped(name: str, seconds: float) -> audio.Signal:
    """The beginning of an announcement of the dialplan."""
    return audio.signal(_SOUNDS / f"{name}.wav")[: int(seconds * g711.RATE)]


async def wait_announced(caller: Caller, language: str, *, since: float | None = None) -> float:
    """Waits until the caller hears the announcement in ``language``; returns when it began.

    It begins within six seconds of ``since`` (monotonic), which is when the caller dialled.
    """
    since = caller.media.opened_at if since is None else since
    first = await caller.media.packets.wait(
        lambda packet: packet.at >= since and packet.loud, "an announcement", timeout_s=8.0
    )
    await caller.media.packets.wait(
        lambda packet: packet.at >= first.at + 2.0, "2 s of it", timeout_s=5.0
    )
    heard = audio.signal(caller.media.recording())
    match = audio.find(heard, shipped(f"leave-message-{language}", 1.5))
    assert match.score > 0.9, (match, caller.statuses)
    began = caller.media.opened_at + match.at_s
    assert began - since < BEGINS_WITHIN_S, (began - since, caller.statuses)
    return began


async def leave_message(caller: Caller, began: float, language: str, samples: array[int]) -> None:
    """Says ``samples`` once the announcement that began at ``began``, and the tone, are over."""
    over = began + (len(shipped(f"leave-message-{language}", 60)) + 3600) / g711.RATE
    await caller.media.packets.wait(
        lambda packet: packet.at >= over, "the tone's end", timeout_s=20.0
    )
    heard = audio.signal(caller.media.recording())[-2 * g711.RATE :]
    assert audio.find(heard, shipped("tone", 0.4)).score > 0.9
    await caller.media.play(samples)


async def wait_told(house: House, *callers: Caller) -> list[dict[str, Any]]:
    """The calls of ``callers``: one each, closed, and every one has its note."""
    calls = await house.wait_closed(*callers, timeout_s=20.0)
    numbers = [call["caller_number"] for call in await house.calls()]
    assert [numbers.count(caller.dialled.caller) for caller in callers] == [1] * len(callers)
    for caller in callers:
        await house.wait_mail(caller, timeout_s=40.0)
    return calls


async def test_a_restart_is_heard_by_nobody(house: House, crew: Crew) -> None:
    """kill -9, and a call every 100 ms until vsek serves again, and ten more.

    Whoever dials less than 4.5 s before it serves; a restart takes one, on a machine that is busy
    with other things more.
    """
    loop = asyncio.get_running_loop()
    callers: list[Caller] = []
    old = await house.serve_pid()
    restarted = asyncio.create_task(wait_restarted(house, old))
    served: list[float] = []
    restarted.add_done_callback(lambda _: served.append(loop.time()))
    more = 10
    while more:
        callers.append(await crew.dial(BIRCH if len(callers) % 2 else ALDER))
        if len(callers) == 5:
            os.kill(old, signal.SIGKILL)
        if restarted.done():
            more -= 1
        await callers[-1].wait_status(100)
        await asyncio.wait([restarted], timeout=0.1)
    restarted.result()
    # Each hears the client's greeting.
    for caller in callers:
        await caller.wait_answered()
        await caller.media.wait_sound()
    await asyncio.gather(*(caller.hang_up() for caller in callers))
    calls = await house.wait_closed(*callers, timeout_s=20.0)
    short = [caller for caller in callers if served[0] - caller.media.opened_at < 4.5]
    assert len(short) >= 20
    by_number = {call["caller_number"]: call for call in calls}
    for index, caller in enumerate(short):
        heard = audio.signal(caller.media.recording())
        for name in ("leave-message-de", "leave-message-en"):
            assert audio.find(heard, shipped(name, 0.3)).score < 0.7, (index, caller.statuses)
        assert by_number[caller.dialled.caller]["outcome"] == "abandoned"
    numbers = [call["caller_number"] for call in await house.calls()]
    assert [numbers.count(caller.dialled.caller) for caller in callers] == [1] * len(callers)


async def test_who_calls_while_vsek_is_away_is_asked_for_a_message(
    house: House, crew: Crew
) -> None:
    async with vsek_away(house):
        german, english, stranger, quick = await asyncio.gather(
            crew.dial(ALDER), crew.dial(CEDAR), crew.dial("+49305559999"), crew.dial(BIRCH)
        )
        await quick.wait_status(100)
        await quick.hang_up()
        began, _, _ = await asyncio.gather(
            wait_announced(german, "de"),
            wait_announced(english, "en"),
            wait_announced(stranger, "de"),
        )
        await asyncio.gather(english.hang_up(), stranger.hang_up())
        await leave_message(german, began, "de", SOUNDS["caller"][: int(2.5 * g711.RATE)])
        await german.hang_up()
    calls = await wait_told(house, german, english, stranger, quick)
    assert [(c["outcome"], c["reason"]) for c in calls] == [
        ("voicemail", "fallback"),
        ("failed", "fallback"),
        ("unknown_number", "unknown_number"),
        ("abandoned", "missed"),
    ]
    assert [c["client_id"] for c in calls] == ["alder", "cedar", None, "birch"]


async def talks_on(*callers: Caller) -> None:
    """Each of them hears somebody speak, now."""
    for caller in callers:
        await caller.media.wait_sound(after=len(caller.media.packets))
        assert caller.talking


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_who_waits_when_vsek_dies_is_not_left_for_ever(
    house: House, crew: Crew, how: signal.Signals
) -> None:
    anna = await crew.agent()
    talking = await crew.dial(ALDER)
    await (await anna.phone.ring()).answer()
    await house.wait_live(talking, "talking")
    ben = await crew.agent()
    ringing = await crew.dial(CEDAR)
    ring = await ben.phone.ring()
    waiting = await crew.dial(BIRCH)
    await house.wait_live(waiting, "waiting")
    async with vsek_away(house, how):
        since = asyncio.get_running_loop().time()
        await ring.wait_closed(timeout_s=30.0)
        began = await wait_told_to_speak(waiting, since)
        await ringing.wait_answered()
        await talks_on(talking)
        await leave_message(waiting, began, "de", SOUNDS["caller"][: int(2.5 * g711.RATE)])
        await asyncio.gather(waiting.hang_up(), ringing.hang_up())
    await talks_on(talking)
    await house.wait_live(talking, "talking")
    await talking.hang_up()
    calls = await wait_told(house, talking, ringing, waiting)
    assert [c["outcome"] for c in calls] == ["answered", "failed", "voicemail"]


async def wait_told_to_speak(caller: Caller, since: float) -> float:
    """Waits until the German announcement has begun (in place of music); returns when."""

    async def probe() -> float | None:
        heard = audio.signal(caller.media.recording())
        match = audio.find(heard, shipped("leave-message-de", 1.5))
        return caller.media.opened_at + match.at_s if match.score > 0.9 else None

    began = await eventually(probe, "the announcement", timeout_s=40.0, every_s=0.5)
    assert 18.0 < began - since < 27.0
    return began


@pytest.mark.long
async def test_vsek_hangs_for_half_a_minute(house: House, crew: Crew) -> None:
    anna = await crew.agent()
    talking = await crew.dial(ALDER)
    await (await anna.phone.ring()).answer()
    await house.wait_live(talking, "talking")
    waiting = await crew.dial(BIRCH)
    await house.wait_live(waiting, "waiting")
    async with vsek_hung(house):
        since = asyncio.get_running_loop().time()
        callers: list[Caller] = []
        # One every second: the first of them are handed over before anybody can know.
        for number in (ALDER, CEDAR) * 5:
            callers.append(await crew.dial(number))
            await heard_for(talking, 1.0)
        languages = ["de", "en"] * 5
        began = await asyncio.gather(
            *(wait_announced(*pair) for pair in zip(callers, languages, strict=True))
        )
        await leave_message(callers[-2], began[-2], "de", SOUNDS["caller"][: int(2.5 * g711.RATE)])
        await wait_told_to_speak(waiting, since)
        await talks_on(talking)
        await asyncio.gather(*(caller.hang_up() for caller in callers), waiting.hang_up())
    await talks_on(talking)
    await house.wait_live(talking, "talking")
    await talking.hang_up()
    calls = await wait_told(house, talking, waiting, *callers)
    outcomes = [c["outcome"] for c in calls]
    assert outcomes == ["answered", "failed", *["failed"] * 8, "voicemail", "failed"]


@pytest.mark.long
async def test_who_waits_keeps_the_place_when_vsek_returns_in_time(
    house: House, crew: Crew
) -> None:
    waiting = await crew.dial(BIRCH)
    live = await house.wait_live(waiting, "waiting")
    async with vsek_hung(house):
        await heard_for(waiting, 10.0)
    anna = await crew.agent(wait="offered")
    await (await crew.ring(anna, waiting)).answer()
    assert (await house.wait_live(waiting, "talking"))["id"] == live["id"]
    await waiting.hang_up()
    (call,) = await wait_told(house, waiting)
    assert call["outcome"] == "answered"

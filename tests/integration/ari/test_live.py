"""Against a real Asterisk: calls, audio, restart, take-over, a frozen server."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import sys
import wave
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from tests.integration.ari.bare import PASSWORD, USER, BareAsterisk
from tests.integration.ari.conftest import MakeClient

from vsek.ari import (
    AriConflict,
    AriLoginRefused,
    AriNotFound,
    AriReplaced,
    AriServerError,
    Client,
    Reply,
    events,
)

DOCS = Path(__file__).parents[3] / "docs/ari.md"


class Seen:
    """The events of a client, and waiting for one."""

    def __init__(self, client: Client) -> None:
        self.events: list[Any] = []
        self._news = asyncio.Event()
        client.on_any_event(self._note)
        client.on_connected(lambda: self._note("up"))
        client.on_disconnected(lambda _reason: self._note("down"))
        client.on_replaced(lambda: self._note("replaced"))

    def _note(self, event: Any) -> None:
        self.events.append(event)
        self._news.set()

    async def until(self, kind: Any, channel: str | None = None, times: int = 1) -> Any:
        def fits(event: Any) -> bool:
            if isinstance(kind, str):
                return bool(event == kind)
            return isinstance(event, kind) and (channel is None or event.channel.id == channel)

        async with asyncio.timeout(30):
            while True:
                found = [event for event in self.events if fits(event)]
                if len(found) >= times:
                    return found[times - 1]
                self._news.clear()
                await self._news.wait()


def samples(wav: bytes) -> np.ndarray[Any, np.dtype[np.float64]]:
    with wave.open(io.BytesIO(wav)) as file:
        assert file.getframerate() == 8000
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(float)


def similarity(heard: Any, wanted: Any) -> float:
    """The best normalised correlation of ``wanted`` with any part of ``heard``."""
    heard = np.pad(heard, len(wanted) // 2)  # its beginning or end may be missing
    size = len(heard) + len(wanted)
    product = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(wanted, size)), size)
    energy = np.cumsum(np.concatenate([[0.0], heard**2]))
    lags = range(max(1, len(heard) - len(wanted)))
    return max(
        float(
            product[lag]
            / (
                np.sqrt((energy[min(lag + len(wanted), len(heard))] - energy[lag]) + 1e-9)
                * np.linalg.norm(wanted)
            )
        )
        for lag in lags
    )


async def test_the_example_of_the_docs_answers_a_call_and_plays_a_sound(
    asterisk: BareAsterisk, connect: MakeClient, tmp_path: Path
) -> None:
    match = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert match is not None
    lines = [line for line in match[1].splitlines() if line.strip()]
    assert len(lines) <= 20
    script = tmp_path / "hello.py"
    script.write_text(match[1])
    watcher = await connect(asterisk, "watcher")
    seen = Seen(watcher)
    example = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        env={**os.environ, "ARI_URL": asterisk.url, "ARI_PASSWORD": PASSWORD},
    )
    try:
        await application(watcher, "hello")
        caller = await watcher.channels.originateWithId(
            "the-caller", endpoint="Local/stasis-hello@test/n", app="watcher"
        )
        await seen.until(events.StasisStart, caller.id)  # it was answered
        await caller.record(name="heard", format="wav")
        await seen.until(events.ChannelDestroyed, caller.id)
        recording = await watcher.recordings.getStored("heard")
        heard = samples(await recording.getStoredFile())
        wanted = samples((asterisk.sounds / "hello-world.wav").read_bytes())
        # Nothing but the first moments before the recording began may be missing.
        assert similarity(heard, wanted) > 0.95
        await recording.deleteStored()
    finally:
        example.terminate()
        await example.wait()


async def application(client: Client, name: str) -> None:
    """Waits until a program has registered the application ``name``."""
    async with asyncio.timeout(20):
        while True:
            try:
                await client.applications.get(name)
            except AriNotFound:
                await asyncio.sleep(0.05)  # Asterisk tells nobody of it
            else:
                return


async def test_ids_of_local_channels_and_variables_survive_encoding(
    asterisk: BareAsterisk, connect: MakeClient
) -> None:
    client = await connect(asterisk, "encoding")
    seen = Seen(client)
    leg = await client.channels.create(
        endpoint="Local/wait@test",
        app="encoding",
        channelId="leg/1 &ü;",
        variables={"GREETING": "Grüß Gott, a%20b & c; +49"},
    )
    await seen.until(events.StasisStart, "leg/1 &ü;")
    assert (await leg.getChannelVar(variable="GREETING")).value == "Grüß Gott, a%20b & c; +49"
    assert (await leg.get()).model.id == "leg/1 &ü;"
    uri = f"channels/{quote(leg.id, safe='')}/variable"
    text = "Ärger & Söhne, 100%25 +49 = ?"
    reply = await client.http("POST", uri, {"variable": "OVER_HTTP", "value": text})
    assert reply.status == 204
    reply = await client.submit("GET", uri, {"variable": "OVER_HTTP"})
    assert reply.body == {"value": text}
    listed = {channel.id: channel for channel in await client.channels.list()}
    other = listed["leg/1 &ü;;2"]
    assert (await other.get()).model.name.startswith("Local/wait@test")
    await leg.hangup()
    await seen.until(events.ChannelDestroyed, leg.id)
    with pytest.raises(AriNotFound, match="Channel not found"):
        await leg.answer()


async def test_a_refusal_says_what_and_why(asterisk: BareAsterisk, connect: MakeClient) -> None:
    client = await connect(asterisk, "refusals")
    with pytest.raises(AriServerError, match="Allocation failed"):
        await client.channels.create(endpoint="Nothing/at-all", app="refusals")
    first = await client.channels.create(endpoint="Local/wait@test", app="refusals", channelId="x")
    with pytest.raises(AriConflict):
        await client.channels.create(endpoint="Local/wait@test", app="refusals", channelId="x")
    await first.hangup()


async def test_an_id_must_not_be_the_beginning_of_another(
    asterisk: BareAsterisk, connect: MakeClient
) -> None:
    """What docs/ari.md warns of: Asterisk compares as many letters as the new id has."""
    client = await connect(asterisk, "prefix")

    def create(channel_id: str) -> asyncio.Future[Reply]:
        query = {"endpoint": "Local/wait@test", "app": "prefix", "channelId": channel_id}
        return client.submit("POST", "channels/create", query)

    assert (await create("call-10")).status == 200
    assert (await create("call-1")).status == 409
    assert (await create("CALL-10")).status == 409
    assert (await create("call-100")).status == 200


async def test_many_calls_each_in_order(asterisk: BareAsterisk, connect: MakeClient) -> None:
    client = await connect(asterisk, "many", command_sockets=3)
    seen = Seen(client)
    count = 60
    ids = [f"many-{n:03}" for n in range(count)]
    futures = [
        client.submit(
            "POST",
            "channels/create",
            {"endpoint": "Local/echo@test", "app": "many", "channelId": channel_id},
            lane=channel_id,
        )
        for channel_id in ids
    ]
    assert {reply.status for reply in await asyncio.gather(*futures)} == {200}
    await seen.until(events.StasisStart, times=count)
    dialled = [client.submit("POST", f"channels/{i}/dial", lane=i) for i in ids]
    assert {reply.status for reply in await asyncio.gather(*dialled)} == {204}
    # Larger than one frame may be: over HTTP.
    # A set: a channel that changes at this moment is listed twice.
    listed = {c.id for c in await client.channels.list() if c.id.startswith("many-")}
    assert len(listed) == 2 * count
    gone = [client.submit("DELETE", f"channels/{i}", lane=i) for i in ids]
    await asyncio.gather(*gone)
    await seen.until(events.ChannelDestroyed, times=count)
    for channel_id in ids:
        own = [
            event.type
            for event in seen.events
            if isinstance(event, events.StasisStart | events.StasisEnd | events.ChannelDestroyed)
            and event.channel.id == channel_id
        ]
        assert own == ["StasisStart", "StasisEnd", "ChannelDestroyed"]


async def test_a_second_program_takes_over(asterisk: BareAsterisk, connect: MakeClient) -> None:
    first = await connect(asterisk, "taken")
    seen_by_first = Seen(first)
    leg = await first.channels.create(endpoint="Local/wait@test", app="taken", channelId="t1")
    await seen_by_first.until(events.StasisStart, leg.id)
    second = await connect(asterisk, "taken")
    seen_by_second = Seen(second)
    await seen_by_first.until("replaced")
    with pytest.raises(AriReplaced):
        await leg.hangup()
    with pytest.raises(AriReplaced):
        await first.channels.list()
    # The call lives on, and belongs to the second one.
    await second.channels.hangup("t1")
    await seen_by_second.until(events.ChannelDestroyed, "t1")
    assert not seen_by_second.events.count("replaced")


async def test_asterisk_dies_and_comes_back(
    own_asterisk: BareAsterisk, connect: MakeClient
) -> None:
    client = await connect(own_asterisk, "phoenix")
    seen = Seen(client)
    own_asterisk.kill()
    await seen.until("down")
    await asyncio.to_thread(own_asterisk.start)
    await seen.until("up")
    leg = await client.channels.create(endpoint="Local/wait@test", app="phoenix")
    await seen.until(events.StasisStart, leg.id)


async def test_a_frozen_asterisk_is_noticed(
    own_asterisk: BareAsterisk, connect: MakeClient
) -> None:
    """Its kernel still takes our data, but nobody answers."""
    client = await connect(own_asterisk, "frozen", heartbeat_s=0.4)
    seen = Seen(client)
    own_asterisk.signal(signal.SIGSTOP)
    try:
        await seen.until("down")
    finally:
        own_asterisk.signal(signal.SIGCONT)
    await seen.until("up")
    assert (await client.asterisk.ping()).ping == "pong"


async def test_a_wrong_password(asterisk: BareAsterisk) -> None:
    client = Client(asterisk.url, USER, "wrong", app="stranger")
    await client.start()
    with pytest.raises(AriLoginRefused, match=r"ari\.conf"):
        await client.wait_connected(10)
    await client.close()

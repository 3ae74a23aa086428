"""What the model in tests/unit/call/asterisk.py takes for granted, asked of a real Asterisk."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.embedded.conftest import Watcher, push_account

from vsek.ari import Client, events
from vsek.ari.protocol import Reply
from vsek.call.effects import CreateLeg
from vsek.demo import g711
from vsek.demo.caller import Caller
from vsek.demo.events import eventually
from vsek.demo.sipmessage import Dial
from vsek.demo.softphone import Softphone
from vsek.domain.ids import AgentId, CallId, ChannelId
from vsek.embedded import resources
from vsek.embedded.asterisk import PrivateAsterisk
from vsek.switchboard.commands import AriCommander
from vsek.switchboard.recovery import world

LEG, BRIDGE, SOUND, RECORDING = "vsekcall-a.1", "vsekcall-a", "vsekcall-a-s1", "vsek/a-1"
MEDIA = f"sound:{resources.folder('asterisk-conf')}/vsek-sounds/technical-fault-de"


class Line:
    """A caller, answered and in our hands, and requests about the call, in order."""

    def __init__(self, client: Client, watcher: Watcher, caller: Caller, channel_id: str) -> None:
        self.client = client
        self.watcher = watcher
        self.caller = caller
        self.id = channel_id

    async def ask(self, method: str, uri: str, **query: str) -> int:
        """Status of the reply."""
        return (await self.send(method, uri, **query)).status

    async def gone(self, method: str, uri: str, **query: str) -> None:
        """Waits for the 404: Asterisk reports an end a moment before it has forgotten."""

        async def probe() -> bool | None:
            return True if await self.ask(method, uri, **query) == 404 else None

        await eventually(probe, f"404 for {method} {uri}", timeout_s=2.0)

    def send(self, method: str, uri: str, **query: str) -> asyncio.Future[Reply]:
        return self.client.submit(method, uri.replace("CALLER", self.id), query, lane="a")

    async def bridge(self) -> int:
        return await self.ask("POST", f"bridges/{BRIDGE}", type="mixing", name=BRIDGE)

    def join(self) -> asyncio.Future[Reply]:
        return self.send("POST", f"bridges/{BRIDGE}/addChannel", channel=f"{self.id},{LEG}")

    async def leg(self) -> None:
        query = {"endpoint": "PJSIP/anna", "app": "vsek", "appArgs": "leg", "channelId": LEG}
        assert await self.ask("POST", "channels/create", **query) == 200
        await self.watcher.next(events.StasisStart)

    async def leg_up(self, phone: Softphone) -> None:
        await self.leg()
        assert await self.ask("POST", f"channels/{LEG}/dial", timeout="20") == 204
        await (await phone.ring()).answer()

    async def in_bridge(self) -> list[str]:
        reply = await self.client.http("GET", f"bridges/{BRIDGE}")
        return sorted(reply.body["channels"])


@pytest.fixture
async def line(asterisk: PrivateAsterisk, client: Client, watcher: Watcher) -> AsyncIterator[Line]:
    async with await Caller.dial(("127.0.0.1", asterisk.sip_port), Dial("+4930999")) as caller:
        start = await watcher.next(events.StasisStart)
        made = Line(client, watcher, caller, start.channel.id)
        assert await made.ask("POST", "channels/CALLER/answer") == 204
        await caller.wait_answered()
        yield made


@pytest.fixture
async def phone(
    asterisk: PrivateAsterisk, client: Client, tmp_path: Path
) -> AsyncIterator[Softphone]:
    await push_account(client, "anna", "secret-of-anna")
    made = Softphone("anna", "secret-of-anna", ("127.0.0.1", asterisk.sip_port), tmp_path / "anna")
    g711.write_wav(tmp_path / "voice.wav", g711.melody(1200, 20.0))
    await made.start(voice=tmp_path / "voice.wav")
    yield made
    await made.stop()


@pytest.fixture
async def silent_phone(client: Client) -> AsyncIterator[None]:
    """Anna's phone, which answers nothing at all."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        contact = f"sip:anna@127.0.0.1:{silent.getsockname()[1]}"
        await push_account(client, "anna", "secret-of-anna", contact=contact)
        yield


@pytest.mark.usefixtures("silent_phone")
async def test_a_leg_that_is_dialled_twice(line: Line) -> None:
    await line.leg()
    twice = [line.send("POST", f"channels/{LEG}/dial", timeout="20") for _ in range(2)]
    assert [(await reply).status for reply in twice] == [204, 204]
    gone = await line.watcher.next(events.ChannelDestroyed)
    assert (gone.channel.id, gone.cause) == (LEG, 16)


async def test_a_leg_that_rings_is_not_dialled_again(line: Line, phone: Softphone) -> None:
    await line.leg()
    assert await line.ask("POST", "channels/create", endpoint="PJSIP/anna", app="vsek",
                          channelId=LEG) == 409  # fmt: skip
    assert await line.ask("POST", f"channels/{LEG}/dial", timeout="20") == 204
    await line.watcher.next(events.ChannelStateChange, lambda e: e.channel.state == "Ringing")
    assert await line.ask("POST", f"channels/{LEG}/dial", timeout="20") == 409
    assert await line.ask("DELETE", f"channels/{LEG}", reason="normal") == 204
    await line.watcher.next(events.ChannelDestroyed)
    await line.gone("DELETE", f"channels/{LEG}", reason="normal")


@pytest.mark.usefixtures("silent_phone")
@pytest.mark.parametrize(("number", "name"), [("+493012345", "Weber"), ("anonymous", "<sip:")])
async def test_a_leg_that_was_dialled_is_known_before_it_rings(
    line: Line, number: str, name: str
) -> None:
    first, second = ChannelId(LEG), ChannelId(f"{LEG}1")
    for leg_id in (first, second):
        leg = CreateLeg(CallId("a"), leg_id, AgentId("anna"), ChannelId(line.id), number, name)
        method, uri, query, body = AriCommander(line.client, "vsek", print).request(leg)
        reply = await line.client.submit(method, uri, query, body, lane=leg_id)
        assert reply.status == 200
        await line.watcher.next(events.StasisStart)
    assert set((await world(line.client, ())).undialled) == {first, second}
    assert await line.ask("POST", f"channels/{first}/dial", timeout="20") == 204

    async def one_left() -> bool | None:  # the reply comes a moment before the INVITE goes
        seen = await world(line.client, ())
        assert seen.channels[first] == seen.channels[second] == "Down"
        return True if seen.undialled == (second,) else None

    await eventually(one_left, "a leg that is known to be dialled", timeout_s=2.0)


async def test_two_are_joined_again_and_music_follows_the_bridge(
    line: Line, phone: Softphone
) -> None:
    await line.leg_up(phone)
    assert await line.bridge() == 200
    assert await line.bridge() == 409
    for _ in range(2):
        assert (await line.join()).status == 204
        for _ in range(2):
            await line.watcher.next(events.ChannelEnteredBridge)
        assert await line.in_bridge() == sorted([line.id, LEG])
    # In one go, as the call script does it: nothing waits for the bridge to be gone.
    gone = [
        line.send("DELETE", f"channels/{LEG}", reason="normal"),
        line.send("DELETE", f"bridges/{BRIDGE}"),
        line.send("POST", "channels/CALLER/moh", mohClass="default"),
    ]
    assert [(await reply).status for reply in gone] == [204, 204, 204]
    await line.watcher.next(events.ChannelDestroyed)
    await line.caller.media.wait_sound(after=len(line.caller.media.packets))
    assert line.caller.talking
    assert await line.ask("DELETE", f"bridges/{BRIDGE}") == 404
    assert await line.bridge() == 200
    assert (await line.join()).status == 400  # one of the two is gone: nobody is joined
    assert await line.in_bridge() == []


async def test_a_sound_of_the_same_name_is_heard_twice(line: Line) -> None:
    assert await line.ask("POST", "channels/CALLER/moh", mohClass="default") == 204
    for _ in range(2):
        assert await line.ask("POST", f"channels/CALLER/play/{SOUND}", media=MEDIA) == 201
    for _ in range(2):
        await line.watcher.next(events.PlaybackStarted)
        assert (await line.client.http("GET", f"playbacks/{SOUND}")).status == 200
        assert await line.ask("DELETE", f"playbacks/{SOUND}") == 204
        await line.watcher.next(events.PlaybackFinished)
    await line.gone("DELETE", f"playbacks/{SOUND}")
    assert (await line.client.http("GET", f"playbacks/{SOUND}")).status == 404
    # A sound that is cut off by the end is reported as finished, after that end.
    assert await line.ask("POST", f"channels/CALLER/play/{SOUND}", media=MEDIA) == 201
    await line.watcher.next(events.PlaybackStarted)
    await line.caller.hang_up()
    await line.watcher.next(events.ChannelHangupRequest)
    await line.watcher.next(events.PlaybackFinished)


async def test_a_sound_that_cannot_be_played_says_so(line: Line) -> None:
    ends = {
        "sound:/nowhere/at-all": "failed",
        MEDIA: "done",
    }
    for media, state in ends.items():
        assert await line.ask("POST", f"channels/CALLER/play/{SOUND}", media=media) == 201
        if media == MEDIA:  # stopped, as it is when an agent picks up
            await line.watcher.next(events.PlaybackStarted)
            assert await line.ask("DELETE", f"playbacks/{SOUND}") == 204
        finished = await line.watcher.next(events.PlaybackFinished)
        assert finished.playback.state == state, media


async def test_who_hears_a_sound_is_joined_after_it(line: Line, phone: Softphone) -> None:
    await line.leg_up(phone)
    assert await line.bridge() == 200
    assert await line.ask("POST", f"channels/CALLER/play/{SOUND}", media=MEDIA) == 201
    await line.watcher.next(events.PlaybackStarted)
    joining = line.join()
    await line.caller.media.wait_sound(after=len(line.caller.media.packets) + 20)
    assert not joining.done()
    # Not over the same line: that one waits with it.
    assert (await line.client.http("DELETE", f"playbacks/{SOUND}")).status == 204
    assert (await joining).status == 204
    assert await line.in_bridge() == sorted([line.id, LEG])


async def test_who_is_recorded_is_joined_to_nobody(line: Line) -> None:
    live, stored = (f"recordings/{kind}/vsek%2Fa-1" for kind in ("live", "stored"))

    def record() -> asyncio.Future[Reply]:
        query = {"name": RECORDING, "format": "wav", "ifExists": "overwrite"}
        return line.send("POST", "channels/CALLER/record", **query)

    assert (await record()).status == 201
    await line.watcher.next(events.RecordingStarted)
    assert (await record()).status == 409
    assert (await line.client.http("GET", live)).status == 200
    assert await line.bridge() == 200
    assert await line.ask("POST", f"bridges/{BRIDGE}/addChannel", channel=line.id) == 409
    # A sound waits for the recording's end.
    assert await line.ask("POST", f"channels/CALLER/play/{SOUND}", media=MEDIA) == 201
    assert await line.ask("POST", f"{live}/stop") == 204
    await line.watcher.next(events.RecordingFinished)
    await line.watcher.next(events.PlaybackStarted)
    await line.gone("POST", f"{live}/stop")
    assert await line.ask("DELETE", stored) == 204
    assert await line.ask("DELETE", stored) == 404
    # What was said before a hang-up is kept.
    assert await line.ask("DELETE", f"playbacks/{SOUND}") == 204
    assert (await record()).status == 201
    await line.watcher.next(events.RecordingStarted)
    await line.caller.hang_up()
    await line.watcher.next(events.RecordingFinished)
    assert (await line.client.http("GET", stored)).status == 200

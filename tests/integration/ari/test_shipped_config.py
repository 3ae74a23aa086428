"""With the configuration that vsek ships: SIP endpoints, and calls from the trunk's context."""

from __future__ import annotations

import asyncio
import re
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from tests.integration.ari.test_live import Seen
from tests.integration.embedded.conftest import alive

from vsek.ari import Client, UnknownEvent, events
from vsek.embedded.asterisk import PrivateAsterisk


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[PrivateAsterisk]:
    async with PrivateAsterisk(tmp_path / "asterisk") as started:
        yield started


@pytest.fixture
async def client(server: PrivateAsterisk) -> AsyncIterator[Client]:
    made = Client(server.ari_url, server.ari_username, server.ari_password, app="vsek")
    async with made:
        yield made


class Phone(asyncio.DatagramProtocol):
    """Answers OPTIONS, so that Asterisk finds its contact reachable."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)
        self.port: int = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str | int, int]) -> None:
        request = data.decode()
        headers = re.findall(r"(?mi)^(?:Via|From|To|Call-ID|CSeq):.*$", request)
        lines = ["SIP/2.0 200 OK", *(line.strip() for line in headers), "Content-Length: 0"]
        self.transport.sendto(("\r\n".join(lines) + "\r\n\r\n").encode(), addr)


@pytest.fixture
async def phone() -> AsyncIterator[Phone]:
    transport, made = await asyncio.get_running_loop().create_datagram_endpoint(
        Phone, local_addr=("127.0.0.1", 0)
    )
    yield made
    transport.close()


async def test_an_endpoint_that_is_pushed_and_becomes_reachable(
    client: Client, phone: Phone
) -> None:
    seen = Seen(client)
    config = client.asterisk
    contact = f"sip:anna@127.0.0.1:{phone.port}"
    aor = {"contact": contact, "qualify_frequency": "1", "qualify_timeout": "0.5"}
    await config.updateObject("res_pjsip", "aor", "anna", fields=aor)
    endpoint = {"aors": "anna", "context": "agents", "disallow": "all", "allow": "alaw"}
    await config.updateObject("res_pjsip", "endpoint", "anna", fields=endpoint)
    fields = {
        row.attribute: row.value for row in await config.getObject("res_pjsip", "aor", "anna")
    }
    assert fields["qualify_frequency"] == "1"
    await client.applications.subscribe("vsek", eventSource="endpoint:PJSIP/anna")
    status = await seen.until(events.ContactStatusChange)
    assert status.endpoint.resource == "anna"
    assert status.contact_info.uri == contact
    assert [e for e in seen.events if isinstance(e, UnknownEvent)] == []
    anna = await client.endpoints.get("PJSIP", "anna")
    assert anna.id == "PJSIP/anna"
    assert "PJSIP/anna" in {one.id for one in await client.endpoints.listByTech("PJSIP")}
    await config.deleteObject("res_pjsip", "endpoint", "anna")
    await config.deleteObject("res_pjsip", "aor", "anna")


async def test_a_call_from_the_trunk_is_answered_and_hears_a_sound(
    client: Client, server: PrivateAsterisk
) -> None:
    with wave.open(str(server.sounds / "silence.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(1600))
    async with alive(client):
        seen = Seen(client)
        await client.channels.create(
            endpoint="Local/+4930123@from-trunk/n", app="vsek", channelId="the-caller"
        )
        await seen.until(events.StasisStart, "the-caller")
        await client.channels.dial("the-caller")
        entered = await seen.until(events.StasisStart, "the-caller;2")
        assert "did=+4930123" in [arg.replace("%2B", "+") for arg in entered.args]
        channel = client.wrap("channel", entered.channel)
        await channel.answer()  # type: ignore[attr-defined]
        await channel.play(media=f"sound:{server.sounds}/silence")  # type: ignore[attr-defined]
        played = await seen.until(events.PlaybackFinished)
        assert played.playback.state == "done"
        assert [e for e in seen.events if isinstance(e, UnknownEvent)] == []
        await client.channels.hangup("the-caller")
        # It came through the dialplan: this is the last that the application hears of it.
        await seen.until(events.StasisEnd, "the-caller;2")

"""The fake Asterisk of the bench, met by our own ARI client as the switchboard uses it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsek.ari import Client
from vsek.ari._generated import events as ari
from vsek.ari.base import Event, UnknownEvent
from vsek.ari.websocket import frame as of_client
from vsek.bench.fakeari import Server, frame, frames
from vsek.bench.fakeworld import Order, Told
from vsek.call import effects as do
from vsek.demo.events import EventLog, eventually
from vsek.domain.ids import AgentId, CallId, ChannelId
from vsek.switchboard.commands import AriCommander
from vsek.switchboard.presence import Presence
from vsek.switchboard.recovery import unseen_callers, world

AGENT = AgentId("anna")


class House:
    """A fake and a client, and somebody who serves each caller as the switchboard would."""

    def __init__(self, server: Server, client: Client) -> None:
        self.server = server
        self.client = client
        self.seen: EventLog[Event] = EventLog("events")
        self.commander = AriCommander(client, "vsek", lambda failed: None)
        self.commander.connected = True
        client.on_any_event(self._see)

    def _see(self, event: Event) -> None:
        self.seen.append(event)
        match event:
            case ari.StasisStart(args=["in", *_], channel=channel):
                call_id, caller = CallId(channel.id), ChannelId(channel.id)
                self.send(do.Ring(call_id, caller))
                leg = self._leg(channel.id)
                self.send(do.CreateLeg(call_id, leg, AGENT, caller, "+491", "Client"))
                self.send(do.CreateBridge(call_id, caller, f"b-{caller}"))
            case ari.StasisStart(args=["leg"], channel=channel):
                self.send(do.Dial(self._call(channel.id), ChannelId(channel.id), 20.0))
            case ari.ChannelStateChange(channel=channel) if channel.state == "Up":
                if not channel.id.startswith("leg-"):
                    return
                call_id = self._call(channel.id)
                caller = ChannelId(call_id)
                self.send(do.Answer(call_id, caller))
                self.send(do.Join(call_id, caller, f"b-{caller}", ChannelId(channel.id)))
            case ari.ChannelDestroyed(channel=channel) if not channel.id.startswith("leg-"):
                call_id, caller = CallId(channel.id), ChannelId(channel.id)
                self.send(do.HangupLeg(call_id, self._leg(channel.id), "normal"))
                self.send(do.DestroyBridge(call_id, caller, f"b-{caller}"))
            case _:
                pass

    def send(self, command: do.Command) -> None:
        self.commander.send(command)

    @staticmethod
    def _leg(caller: str) -> ChannelId:
        return ChannelId(f"leg-{caller}")

    @staticmethod
    def _call(leg: str) -> CallId:
        return CallId(leg.removeprefix("leg-"))

    async def call(self) -> Told:
        order = Order(rate=200.0, seconds=0.1, dids=["+4930"], ring_s=0.01, talk_s=0.01)
        return await self.server.world.carry_out(order)

    async def empty(self) -> None:
        """No channel and no bridge."""

        async def probe() -> bool | None:
            things = [(await self.client.http("GET", uri)).body for uri in ("channels", "bridges")]
            return None if any(things) else True

        await eventually(probe, "an empty Asterisk")


@asynccontextmanager
async def house() -> AsyncIterator[House]:
    server = Server()
    port = await server.listen()
    try:
        async with Client(f"http://127.0.0.1:{port}", "vsek", "any", command_sockets=2) as client:
            yield House(server, client)
    finally:
        await server.close()


async def test_callers_are_served_and_leave_nothing() -> None:
    async with house() as made:
        told = await made.call()
        assert (told.calls, told.served, told.strange) == (20, 20, [])
        # The last leg is hung up when its caller has gone.
        await made.empty()
        assert not any(isinstance(event, UnknownEvent) for event in made.seen)
        assert made.commander.failed == 0
        leg_events = [type(e).__name__ for e in made.seen if "leg-1700000000.1'" in repr(e)]
        assert leg_events == [
            "StasisStart",
            "ChannelStateChange",
            "ChannelStateChange",
            "ChannelEnteredBridge",
            "ChannelHangupRequest",
            "StasisEnd",
            "ChannelDestroyed",
        ]


async def test_the_picture_of_it_can_be_taken() -> None:
    async with house() as made:
        found = await world(made.client, ())
        assert found.channels == {}
        assert await unseen_callers(made.client, "vsek", ()) == []


async def test_agents_are_online() -> None:
    async with house() as made:
        made.server.world.hire({"auth/anna": [], "aor/anna": [], "endpoint/anna": []})
        told: list[Any] = []
        await Presence(told.append, "vsek").refresh(made.client, ["anna", "nobody"])
        assert [(each.agent_id, each.reachable) for each in told] == [
            ("anna", True),
            ("nobody", False),
        ]


async def test_accounts_are_kept_as_they_were_pushed() -> None:
    async with house() as made:
        path = "asterisk/config/dynamic/res_pjsip/endpoint/berta"
        assert (await made.client.http("GET", path)).status == 404
        fields = [{"attribute": "context", "value": "from-agents"}]
        await made.client.http("PUT", path, body={"fields": fields})
        assert (await made.client.http("GET", path)).body == fields
        assert (await made.client.http("DELETE", path)).status == 204
        assert (await made.client.http("GET", path)).status == 404


async def test_what_is_not_known_is_told() -> None:
    async with house() as made:
        assert (await made.client.submit("POST", "mailboxes/anna")).status == 404
        assert made.server.world.strange == ["POST mailboxes/anna"]


@pytest.mark.parametrize("app", ["vsek", "vsek-cmd-1"])
async def test_events_of_ones_own_come_back(app: str) -> None:
    async with house() as made:
        body = {"variables": {"number": "7"}}
        query = {"application": app}
        await made.client.submit("POST", "events/user/vsek-pulse", query, body)
        event = await made.seen.wait(lambda _: True, "an event")
        assert isinstance(event, ari.ChannelUserevent)
        assert (event.eventname, event.userevent["number"]) == ("vsek-pulse", "7")


@given(st.lists(st.binary(max_size=300), max_size=3), st.integers(0, 2**32 - 1), st.data())
def test_frames_of_our_client_are_read(texts: list[bytes], mask: int, data: st.DataObject) -> None:
    sent = b"".join(of_client(1, text, mask) for text in texts)
    cut = data.draw(st.integers(0, len(sent)))
    first, rest = frames(sent[:cut])
    second, rest = frames(rest + sent[cut:])
    assert [content for _, content in first + second] == texts
    assert rest == b""


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536])
def test_frames_of_the_fake_are_read_by_our_client(length: int) -> None:
    from vsek.ari.websocket import Frames

    text = b"x" * length
    assert Frames(10**6).feed(frame(1, text)) == [(1, text)]

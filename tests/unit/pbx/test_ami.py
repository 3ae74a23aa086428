"""The AMI wrapper against a peer that misbehaves on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from vsek.errors import InputError, ServiceError
from vsek.pbx.ami import Ami, AmiRefusedError, Watchman
from vsek.settings import AmiSettings

Fields = dict[str, str]


class Peer:
    """An AMI server that answers logins and pings, keeps what it got, and says what it is told."""

    def __init__(self) -> None:
        self.got: asyncio.Queue[Fields] = asyncio.Queue()
        self.accepts = True
        self.answers = True
        self.refuses: set[str] = set()
        self.writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self.writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        writer.write(b"Asterisk Call Manager/11.0.0\r\n")
        try:
            while True:
                block = (await reader.readuntil(b"\r\n\r\n")).decode()
                fields = dict(line.split(": ", 1) for line in block.strip().split("\r\n"))
                if fields["Action"] == "Login":
                    answer = "Success" if self.accepts else "Error"
                    self.say(Response=answer, ActionID=fields["ActionID"], Message="login")
                    self.say(Event="FullyBooted")
                else:
                    self.got.put_nowait(fields)
                    if self.answers:
                        bad = fields.get("Endpoint") in self.refuses
                        answer = "Error" if bad else "Success"
                        self.say(Response=answer, ActionID=fields["ActionID"], Ping="Pong")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def say(self, **fields: str) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.writers[-1].write(f"{lines}\r\n".encode())

    def cut(self) -> None:
        self.writers[-1].transport.abort()


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    server = Peer()
    await server.start()
    yield server
    await server.stop()


def _ami(peer: Peer, **options: Any) -> Ami:
    return Ami(AmiSettings(port=peer.port, secret="s"), reconnect_s=0, **options)


async def test_questions_are_answered(peer: Peer) -> None:
    async with _ami(peer) as ami:
        await ami.wait_connected()
        answer = await ami.action("ShowDialPlan", Context="from-trunk")
        assert answer[0]["Response"] == "Success"
        assert (await peer.got.get())["Context"] == "from-trunk"


@pytest.mark.parametrize("value", ["a\r\nAction: Originate", "a\nb", "a\r"])
async def test_a_line_break_never_leaves(peer: Peer, value: str) -> None:
    async with _ami(peer) as ami:
        await ami.wait_connected()
        with pytest.raises(InputError) as caught:
            await ami.action("ShowDialPlan", Context=value)
        assert caught.value.field == "Context"
        await ami.action("Ping")
        assert (await peer.got.get())["Action"] == "Ping"
        assert peer.got.empty()


async def test_a_line_break_in_the_secret(peer: Peer) -> None:
    with pytest.raises(InputError):
        await Ami(AmiSettings(port=peer.port, secret="a\r\nb")).start()


@pytest.mark.parametrize("name", ["Originate", "Redirect", "Command", "Ping\r\nAction: Originate"])
async def test_only_reading_actions(peer: Peer, name: str) -> None:
    async with _ami(peer) as ami:
        await ami.wait_connected()
        with pytest.raises(InputError, match="only reads"):
            await ami.action(name)


async def test_an_action_has_a_deadline(peer: Peer) -> None:
    peer.answers = False
    async with _ami(peer, deadline_s=0.05) as ami:
        await ami.wait_connected(5)
        with pytest.raises(ServiceError, match=r"not answered within 0\.05 s"):
            await ami.action("Ping")


async def test_a_broken_line_fails_what_waits_and_sends_nothing_twice(peer: Peer) -> None:
    peer.answers = False
    connected: asyncio.Queue[None] = asyncio.Queue()
    async with _ami(peer, on_connected=lambda: connected.put_nowait(None)) as ami:
        await connected.get()
        asking = asyncio.create_task(ami.action("CoreStatus"))
        await peer.got.get()
        peer.cut()
        with pytest.raises(ServiceError, match="broke during CoreStatus"):
            await asking
        async with asyncio.timeout(10):
            await connected.get()  # the hook to fetch what was missed
        peer.answers = True
        await ami.action("Ping")
        assert (await peer.got.get())["Action"] == "Ping"
        assert peer.got.empty()


async def test_without_a_connection_nothing_is_asked(peer: Peer) -> None:
    await peer.stop()
    async with _ami(peer) as ami:
        with pytest.raises(ServiceError, match="no AMI connection"):
            await ami.action("Ping")
        with pytest.raises(ServiceError, match=f"No AMI at 127.0.0.1:{peer.port}"):
            await ami.wait_connected(0.05)
        await peer.start()
        await ami.wait_connected(10)


async def test_a_refused_login_is_told(peer: Peer) -> None:
    peer.accepts = False
    async with _ami(peer, quiet=True) as ami:
        with pytest.raises(AmiRefusedError, match=r"manager\.conf"):
            await ami.wait_connected()
        assert not ami.connected


async def test_a_cancelled_caller_is_cancelled(peer: Peer) -> None:
    peer.answers = False
    async with _ami(peer) as ami:
        await ami.wait_connected()
        asking = asyncio.create_task(ami.action("Ping"))
        await peer.got.get()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_events_arrive_as_plain_dicts(peer: Peer) -> None:
    events: asyncio.Queue[Fields] = asyncio.Queue()
    async with _ami(peer, on_event=events.put_nowait) as ami:
        await ami.wait_connected()
        peer.say(Event="InvalidPassword", AccountID="anna")
        async with asyncio.timeout(5):
            while (event := await events.get())["Event"] != "InvalidPassword":
                pass
        assert event["AccountID"] == "anna"


async def test_after_each_login_the_agents_phones_are_asked_for(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vsek.pbx.ami.ASK_PHONES_AGAIN_S", (0.0,))
    agents = ["anna"]
    async with Watchman(AmiSettings(port=peer.port, secret="s"), lambda: agents, reconnect_s=0):
        asked = await peer.got.get()
        assert (asked["Action"], asked["Endpoint"]) == ("PJSIPQualify", "anna")
        agents.append("ben")
        peer.refuses = {"ben"}
        peer.cut()
        names = [(await peer.got.get())["Endpoint"] for _ in range(3)]
        assert names == ["anna", "ben", "ben"], "a phone that could not be asked is asked again"


def test_failed_logins_are_logged_and_everyday_business_is_not() -> None:
    with capture_logs() as lines:
        Watchman.take({"Event": "SuccessfulAuth", "AccountID": "anna"})
        Watchman.take({"Event": "InvalidPassword", "AccountID": "anna", "Service": "PJSIP"})
    assert [(line["event"], line["kind"], line["account"]) for line in lines] == [
        ("sip_security", "InvalidPassword", "anna")
    ]

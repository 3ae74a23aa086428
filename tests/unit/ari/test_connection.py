"""Sockets against a peer that misbehaves."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterable
from typing import Any

import pytest
import uvloop
from aiohttp import web
from tests.unit.ari.conftest import MakeClient
from tests.unit.ari.peer import Peer, fake_asterisk

from vsek.ari import (
    AriClosed,
    AriDisconnected,
    AriFrameTooLarge,
    AriLoginRefused,
    AriReplaced,
    AriTimeout,
    Client,
    Event,
    UnknownEvent,
)
from vsek.ari.backoff import Backoff
from vsek.ari.connection import promise
from vsek.ari.watch import SIGN_OF_LIFE
from vsek.ari.websocket import WebSocket
from vsek.demo.events import eventually
from vsek.demo.proxy import Proxy
from vsek.demo.stack import address
from vsek.errors import InputError


class Happened:
    """What the callbacks of a connection told, and waiting for it."""

    def __init__(self, client: Client) -> None:
        self.told: list[str] = []
        self._news = asyncio.Event()
        client.on_connected(lambda: self._note("up"))
        client.on_disconnected(lambda _reason: self._note("down"))
        client.on_replaced(lambda: self._note("replaced"))
        client.on_any_event(lambda event: self._note(event.type))

    def _note(self, what: str) -> None:
        self.told.append(what)
        self._news.set()

    async def until(self, what: str, times: int = 1) -> None:
        async with asyncio.timeout(10):
            while self.told.count(what) < times:
                self._news.clear()
                await self._news.wait()


async def test_sockets_names_and_login(peer: Peer, make_client: MakeClient) -> None:
    await make_client(app="office", command_sockets=2)
    assert [c.app for c in peer.connections][2:] == ["office"]
    assert {c.app for c in peer.connections[:2]} == {"office-cmd-1", "office-cmd-2"}
    login = base64.b64encode(b"user:secret").decode()
    assert {c.headers["Authorization"] for c in peer.connections} == {f"Basic {login}"}
    assert {c.query["subscribeAll"] for c in peer.connections} == {"false"}


def writes(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The URIs of each write, from now on."""
    written: list[list[str]] = []
    send = WebSocket.send

    def note(socket: WebSocket, texts: Iterable[bytes]) -> None:
        texts = list(texts)
        written.append([json.loads(text)["uri"] for text in texts])
        send(socket, texts)

    monkeypatch.setattr(WebSocket, "send", note)
    return written


@pytest.mark.parametrize("lanes", [("a", "d", "a"), ("d", "a", "d")])
async def test_of_what_an_event_causes_the_first_leaves_first(
    peer: Peer, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, lanes: tuple[str, ...]
) -> None:
    """Whichever socket it is for; all that goes over one socket leaves with one write."""
    client = await make_client(command_sockets=2)
    written = writes(monkeypatch)
    done: list[asyncio.Future[Any]] = []

    def answer(_: Event) -> None:
        done.extend(client.submit("POST", lane, lane=lane) for lane in lanes)

    client.on_any_event(answer)
    happened = Happened(client)
    await peer.live("vsek").event("Anything")
    await happened.until("Anything")
    await asyncio.gather(*done)
    first, second, _ = lanes
    assert written == [[first, first], [second]]


async def test_what_is_in_a_hurry_does_not_wait_for_the_rest_of_its_read(
    peer: Peer, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it overtake what was submitted before on the same socket."""
    client = await make_client(command_sockets=2)
    written = writes(monkeypatch)
    futures = [promise() for _ in range(4)]
    seen: list[list[str]] = []

    def answer(_: Event) -> None:
        for lane, hurry, promised in zip("adaa", (0, 1, 1, 0), futures, strict=True):
            client.send("POST", lane, None, None, promised[1], lane=lane, at_once=bool(hurry))
        seen.extend(written)

    client.on_any_event(answer)
    await peer.live("vsek").event("Anything")
    await asyncio.gather(*(future for future, _ in futures))
    assert seen == [["d"], ["a", "a"]]
    assert written == [*seen, ["a"]]


async def test_one_lane_keeps_its_order_on_one_socket(peer: Peer, make_client: MakeClient) -> None:
    client = await make_client(command_sockets=3)
    lanes = [f"call-{n}" for n in range(12)]
    futures = [client.submit("POST", f"x/{n}", lane=lane) for n in range(20) for lane in lanes]
    replies = await asyncio.gather(*futures)
    assert {reply.status for reply in replies} == {200}
    used = [c for c in peer.connections if c.received]
    assert len(used) == 3
    assert not peer.live("vsek").received
    for connection in used:
        numbers = [int(r["uri"][2:]) for r in connection.received]
        assert numbers == sorted(numbers)


async def test_submit_writes_before_it_returns(peer: Peer, make_client: MakeClient) -> None:
    client = await make_client(command_sockets=1)
    future = client.submit("GET", "asterisk/ping")
    # Nothing of ours runs from here on: the loop is not entered before the frame is in the kernel.
    transport = client._commands[0]._ws._transport  # type: ignore[union-attr]
    assert transport.get_write_buffer_size() == 0  # type: ignore[union-attr]
    assert (await future).body == {"n": 1}


async def test_events_come_in_order_and_unknown_ones_too(
    peer: Peer, make_client: MakeClient
) -> None:
    client = await make_client()
    got: list[Event] = []
    happened = Happened(client)
    client.on_any_event(got.append)
    socket = peer.live("vsek")
    for number in range(50):
        await socket.event("ChannelDestroyed", cause=number, channel={"id": "c"})
    await socket.event("FlyingPig", height=3)
    await happened.until("FlyingPig")
    assert [e.cause for e in got[:50]] == list(range(50))  # type: ignore[attr-defined]
    assert isinstance(got[50], UnknownEvent)


async def test_what_the_side_application_is_subscribed_to_is_told(
    peer: Peer, make_client: MakeClient
) -> None:
    client = await make_client()
    happened = Happened(client)
    await peer.live(client.side_app).event("FlyingPig")
    await happened.until("FlyingPig")


async def test_garbage_does_not_end_the_connection(
    peer: Peer, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = await make_client()
    happened = Happened(client)
    await peer.live("vsek").send("{nonsense")
    await peer.live("vsek").ws.send_bytes(b"what is this")
    await peer.live("vsek").event("FlyingPig")
    await happened.until("FlyingPig")
    assert "no ARI message" in caplog.text
    assert happened.told == ["FlyingPig"]


async def test_a_late_reply_is_counted_and_does_not_answer_another(
    peer: Peer, make_client: MakeClient
) -> None:
    client = await make_client(command_sockets=1)
    peer.silent = True
    future = client.submit("GET", "slow", deadline_s=0.05)
    with pytest.raises(AriTimeout, match="slow"):
        await future
    await peer.until(lambda: len(peer.requests) == 1)
    peer.silent = False
    connection = peer.live("vsek-cmd-1")
    await connection.reply(peer.requests[0], 200, "late")
    assert (await client.submit("GET", "next")).body == {"n": 2}
    assert client._commands[0].protocol.late_replies == 1


async def test_a_short_deadline_behind_a_long_one(peer: Peer, make_client: MakeClient) -> None:
    client = await make_client(command_sockets=1)
    peer.silent = True
    patient = client.submit("GET", "patient", deadline_s=60)
    with pytest.raises(AriTimeout):
        await client.submit("GET", "hasty", deadline_s=0.02)
    assert not patient.done()


async def test_after_a_blocked_loop_replies_are_read_before_deadlines_are_judged(
    peer: Peer, make_client: MakeClient
) -> None:
    """The reply lies in the socket when the deadline passes: it is a reply all the same."""
    client = await make_client(command_sockets=1)
    peer.silent = True
    future = client.submit("GET", "asterisk/ping", deadline_s=0.2)
    await peer.until(lambda: len(peer.requests) == 1)
    await peer.live("vsek-cmd-1").reply(peer.requests[0], 200, "in time")
    time.sleep(0.5)  # noqa: ASYNC251 - blocking the loop is what this is about
    assert (await future).body == "in time"


async def test_a_lost_connection_fails_what_is_pending_and_comes_back(
    peer: Peer, make_client: MakeClient
) -> None:
    client = await make_client(command_sockets=1)
    happened = Happened(client)
    peer.silent = True
    future = client.submit("POST", "channels/create")
    await peer.until(lambda: len(peer.requests) == 1)
    for connection in list(peer.connections):
        connection.cut()
    with pytest.raises(AriDisconnected) as lost:
        await future
    assert lost.value.sent is True
    peer.silent = False
    await happened.until("up")
    assert happened.told == ["down", "up"]
    assert client.connected
    assert (await client.submit("GET", "asterisk/ping")).status == 200
    # The command socket stood before the application came back.
    assert [c.app for c in peer.connections[-2:]] == ["vsek-cmd-1", "vsek"]


async def test_without_a_connection_requests_fail_at_once(peer: Peer) -> None:
    client = Client(peer.url, "u", "p")
    with pytest.raises(AriDisconnected) as error:
        await client.submit("GET", "asterisk/ping")
    assert error.value.sent is False
    with pytest.raises(AriDisconnected):
        await client.http("GET", "channels")


async def test_a_command_socket_alone_is_lost(peer: Peer, make_client: MakeClient) -> None:
    client = await make_client(command_sockets=1)
    happened = Happened(client)
    peer.live("vsek-cmd-1").cut()
    await peer.until(lambda: len(peer.of("vsek-cmd-1")) == 2)
    await client._commands_up.wait()
    assert (await client.submit("GET", "asterisk/ping")).status == 200
    # Commands were lost, perhaps; events go on over the line that stands.
    await happened.until("up")
    assert happened.told == ["down", "up"]
    assert len(peer.of("vsek")) == 1


async def test_a_command_line_that_carries_nothing_is_given_up(
    peer: Peer, make_client: MakeClient
) -> None:
    """Pings are answered, requests are not: Asterisk has lost what stands behind the socket."""
    client = await make_client(command_sockets=1, watch_s=0.1)
    happened = Happened(client)
    peer.silent = True
    await happened.until("down")
    peer.silent = False
    await happened.until("up")
    await peer.until(lambda: len(peer.of("vsek-cmd-1")) == 2)


@pytest.mark.parametrize(("lost", "kept"), [("vsek", "vsek-cmd-1"), ("vsek-cmd-1", "vsek")])
async def test_a_line_without_events_is_given_up(
    peer: Peer, make_client: MakeClient, lost: str, kept: str
) -> None:
    """Requests are answered, those for an event too; but Asterisk has lost the application."""
    peer.deaf.add(lost)
    client = await make_client(command_sockets=2, watch_s=0.1)
    happened = Happened(client)
    await peer.until(lambda: len(peer.of(lost)) == 2)
    peer.deaf.clear()
    await happened.until("up")
    assert happened.told[:2] == ["down", "up"]
    assert len(peer.of(kept)) == len(peer.of("vsek-cmd-2")) == 1


async def test_a_line_that_gives_its_sign_of_life_stays(
    peer: Peer, make_client: MakeClient
) -> None:
    client = await make_client(command_sockets=1, watch_s=0.1)
    happened = Happened(client)
    seen: list[Event] = []
    client.on_any_event(seen.append)

    def asked() -> int:
        uris = [str(request["uri"]).partition("?")[0] for request in peer.requests]
        return uris.count(f"events/user/{SIGN_OF_LIFE}")

    await peer.until(lambda: asked() >= 8)
    assert happened.told == []
    assert seen == []


async def test_a_black_hole_is_noticed_by_the_heartbeat(
    peer: Peer, make_client: MakeClient
) -> None:
    client = await make_client(heartbeat_s=0.1)
    happened = Happened(client)
    peer.mute.add("vsek")
    await happened.until("down")
    peer.mute.clear()
    await happened.until("up")
    assert len(peer.of("vsek")) >= 2


async def test_a_peer_that_never_answers_the_handshake(make_client: MakeClient) -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(never, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    client = await make_client(url=url, connect=False, connect_timeout_s=0.05)
    with pytest.raises(AriDisconnected, match="no answer within"):
        await client.wait_connected(0.5)
    await client.close()
    server.close()
    await server.wait_closed()


async def test_an_attempt_of_our_own_that_was_given_up_is_no_other_program(
    peer: Peer, make_client: MakeClient
) -> None:
    """An Asterisk that stood still serves the attempt when it goes on, and so replaces us."""
    line = Proxy(address(peer.url))
    await line.start()
    line.hold()
    url = f"http://{line.address}"
    client = await make_client(
        url=url, connect=False, connect_timeout_s=0.1, command_sockets=1, backoff=Backoff(1.0)
    )
    happened = Happened(client)

    async def tried() -> bool | None:
        return True if line.accepted == 1 and client._last_error() is not None else None

    async def again() -> bool | None:
        return True if happened.told == ["up", "down", "up"] else None

    await eventually(tried, "an attempt that was given up")
    line.heal()
    await happened.until("up")
    await peer.live("vsek-cmd-1").event("ApplicationReplaced")
    await eventually(again, "another connection")
    assert "replaced" not in happened.told
    # One attempt explains one replacement. This is another program.
    await peer.live("vsek-cmd-1").event("ApplicationReplaced")
    await happened.until("replaced")
    assert client.replaced
    await client.close()
    await line.stop()


async def test_asterisk_that_comes_up_late(peer: Peer, make_client: MakeClient) -> None:
    async with fake_asterisk() as other:
        url = other.url
    client = await make_client(url=url, connect=False)
    with pytest.raises(AriDisconnected, match="cannot be reached"):
        await client.wait_connected(0.05)
    async with fake_asterisk(int(url.rsplit(":", 1)[1])):
        await client.wait_connected(10)
        assert (await client.submit("GET", "asterisk/ping")).status == 200
        await client.close()


async def test_a_refused_login_is_told_at_once(peer: Peer, make_client: MakeClient) -> None:
    peer.refuse = lambda _app: 401
    client = await make_client(connect=False)
    with pytest.raises(AriLoginRefused, match=r"ari\.conf"):
        await client.wait_connected(10)
    peer.refuse = lambda _app: None
    await peer.until(lambda: bool(peer.of("vsek")))


async def test_asterisk_without_ari(
    peer: Peer, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    peer.refuse = lambda _app: 404
    client = await make_client(connect=False, command_sockets=1)
    with pytest.raises(AriDisconnected, match="404"):
        await client.wait_connected(0.3)
    # Many attempts, one line.
    assert caplog.text.count("answers 404") == 1


@pytest.mark.parametrize("app", ["vsek", "vsek-cmd-1"])
async def test_a_replaced_application_is_fenced(
    peer: Peer, make_client: MakeClient, app: str
) -> None:
    client = await make_client(command_sockets=2)
    happened = Happened(client)
    peer.silent = True
    pending = [client.submit("GET", "x", lane=str(n)) for n in range(8)]
    await peer.until(lambda: len(peer.requests) == 8)
    await peer.live(app).event("ApplicationReplaced")
    await happened.until("replaced")
    failures = await asyncio.gather(*pending, return_exceptions=True)
    assert {type(f) for f in failures} == {AriReplaced}
    with pytest.raises(AriReplaced):
        await client.submit("GET", "y")
    with pytest.raises(AriReplaced):
        await client.http("GET", "channels")
    with pytest.raises(AriReplaced):
        await client.wait_connected()
    await peer.until(lambda: all(c.closed.is_set() for c in peer.connections))
    assert client.replaced
    assert not client.connected
    assert happened.told.count("replaced") == 1
    assert "down" not in happened.told
    assert len(peer.requests) == 8
    assert len(peer.connections) == 3


async def test_close_fails_what_is_pending(peer: Peer, make_client: MakeClient) -> None:
    client = await make_client(command_sockets=1)
    happened = Happened(client)
    peer.silent = True
    future = client.submit("GET", "x")
    await client.close()
    with pytest.raises(AriClosed):
        await future
    with pytest.raises(AriClosed):
        await client.submit("GET", "y")
    with pytest.raises(AriClosed):
        await client.http("GET", "y")
    with pytest.raises(AriClosed):
        await client.wait_connected()
    assert happened.told == []


async def test_a_dropped_future_is_no_complaint(peer: Peer, make_client: MakeClient) -> None:
    client = await make_client(command_sockets=1)
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, c: complaints.append(c))
    peer.silent = True
    client.submit("GET", "x", deadline_s=0.01)
    client.submit("GET", "x").cancel()
    client.submit("GET", "x", body="x" * 70_000)
    with pytest.raises(AriTimeout):
        await client.submit("GET", "y", deadline_s=0.02)
    connection = peer.live("vsek-cmd-1")
    await peer.until(lambda: len(peer.requests) == 3)
    for request in connection.received:
        await connection.reply(request)
    peer.silent = False
    await client.submit("GET", "z")
    await client.close()
    assert complaints == []


async def test_a_frame_too_large(peer: Peer, make_client: MakeClient) -> None:
    client = await make_client()
    with pytest.raises(AriFrameTooLarge, match=r"Client\.http"):
        await client.submit("POST", "x", body="x" * 70_000)


async def test_requests_that_expire_before_the_kernel_takes_them_are_never_sent(
    peer: Peer, make_client: MakeClient
) -> None:
    client = await make_client(command_sockets=1)
    connection = peer.live("vsek-cmd-1")
    connection.transport.pause_reading()
    big = "x" * 60_000
    sent = []
    while not client._commands[0]._ws.paused:  # type: ignore[union-attr]
        sent.append(client.submit("POST", "big", body=big))
    # The kernel is full: from here on frames wait in the client.
    late = [client.submit("POST", f"late/{n}", deadline_s=0.05) for n in range(5)]
    patient = [client.submit("POST", f"patient/{n}", deadline_s=30) for n in range(5)]
    outcomes = await asyncio.gather(*late, return_exceptions=True)
    assert {type(o) for o in outcomes} == {AriTimeout}
    connection.transport.resume_reading()
    replies = await asyncio.gather(*patient)
    assert [r.status for r in replies] == [200] * 5
    uris = [r["uri"] for r in connection.received]
    assert [u for u in uris if u != "big"] == [f"patient/{n}" for n in range(5)]
    await asyncio.gather(*sent)
    assert (await client.submit("GET", "after")).status == 200


async def test_a_line_that_dies_while_frames_wait(peer: Peer, make_client: MakeClient) -> None:
    client = await make_client(command_sockets=1)
    connection = peer.live("vsek-cmd-1")
    connection.transport.pause_reading()
    futures = []
    while not client._commands[0]._ws.paused:  # type: ignore[union-attr]
        futures.append(client.submit("POST", "big", body="x" * 60_000))
    futures += [client.submit("POST", "waits") for _ in range(3)]
    connection.cut()
    failures = await asyncio.gather(*futures, return_exceptions=True)
    assert {type(f) for f in failures} == {AriDisconnected}
    await peer.until(lambda: len(peer.of("vsek-cmd-1")) == 2)
    await client._commands_up.wait()
    assert (await client.submit("GET", "after")).status == 200


async def test_http(peer: Peer, make_client: MakeClient) -> None:
    client = await make_client()
    seen: list[tuple[str, str, bytes]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append((request.method, str(request.rel_url), await request.read()))
        match request.match_info["tail"]:
            case "channels":
                return web.json_response([{"id": "c1"}])
            case "recordings/stored/a%2Fb/file" | "recordings/stored/a/b/file":
                return web.Response(body=b"RIFF\x00", content_type="audio/x-wav")
            case "slow":
                await asyncio.Event().wait()
            case "cut":
                assert request.transport is not None
                request.transport.abort()
        return web.Response(status=204)

    peer.http_handler = handler
    reply = await client.http("GET", "channels", {"only": ["a", "b"], "x": None, "y": "ö&="})
    assert (reply.status, reply.body) == (200, [{"id": "c1"}])
    assert seen[-1][1] == "/ari/channels?only=a,b&y=%C3%B6%26%3D"
    assert await client.recordings.getStoredFile("a/b") == b"RIFF\x00"
    assert "a%2Fb" in seen[-1][1]
    reply = await client.http("PUT", "x", body={"a": 1})
    assert (reply.status, reply.body, seen[-1][2]) == (204, None, b'{"a":1}')
    with pytest.raises(AriTimeout):
        await client.http("GET", "slow", deadline_s=0.05)
    with pytest.raises(AriDisconnected) as error:
        await client.http("POST", "cut")
    assert error.value.sent


async def test_a_mistake_of_ours_costs_the_connection_but_not_the_client(
    peer: Peer,
    make_client: MakeClient,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = await make_client()
    happened = Happened(client)
    socket = client._events
    assert socket is not None
    with monkeypatch.context() as patch:

        def fail(item: object) -> None:
            raise RuntimeError("a bug")

        patch.setattr(socket, "_handle", fail)
        await peer.live("vsek").event("FlyingPig")
        await happened.until("down")
    await happened.until("up")
    assert "a bug" in caplog.text


async def test_failing_callbacks_of_the_connection(
    peer: Peer, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = await make_client()

    def fail(reason: str) -> None:
        raise RuntimeError("of the callback")

    client.on_disconnected(fail)
    happened = Happened(client)
    peer.live("vsek").cut()
    await happened.until("up")
    assert happened.told == ["down", "up"]
    assert "of the callback" in caplog.text


async def test_as_a_context(peer: Peer) -> None:
    async with Client(f"{peer.url}/ari/", "u", "p") as client:
        assert client.url == peer.url
        assert client.connected
    assert not client.connected


async def test_wrong_use_is_told(peer: Peer, make_client: MakeClient) -> None:
    client = await make_client()
    with pytest.raises(RuntimeError):
        await client.start()
    with pytest.raises(ValueError, match="command_sockets"):
        Client(peer.url, "u", "p", command_sockets=0)
    with pytest.raises(InputError) as error:
        Client("127.0.0.1:8088", "u", "p")
    assert (error.value.field, error.value.value) == ("url", "127.0.0.1:8088")


def test_a_deadline_that_is_over_at_once_on_uvloop() -> None:
    """uvloop gives another kind of handle for a timer that is due already."""

    async def work() -> list[object]:
        async with fake_asterisk() as peer:
            client = Client(peer.url, "user", "secret", command_sockets=1)
            await client.start()
            await client.wait_connected(10)
            try:
                loop = asyncio.get_running_loop()
                loop.call_soon(time.sleep, 0.01)  # whoever looks at the clock now is late
                futures = [client.submit("GET", "x", deadline_s=1e-9) for _ in range(3)]
                late: list[object] = list(await asyncio.gather(*futures, return_exceptions=True))
                return [*late, (await client.submit("GET", "y")).status]
            finally:
                await client.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        *late, well = runner.run(work())
    assert all(isinstance(one, AriTimeout) or getattr(one, "status", 0) == 200 for one in late)
    assert well == 200

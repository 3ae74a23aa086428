"""Each command is one ARI request; failures that a call must know of come back as events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vsek.ari.errors import AriDisconnected, AriError, AriTimeout
from vsek.ari.protocol import Query, Reply
from vsek.call import effects as do
from vsek.call.events import CommandFailed
from vsek.demo.events import eventually
from vsek.domain.ids import AgentId, CallId, ChannelId
from vsek.switchboard.commands import AriCommander

CALL = CallId("call")
CALLER = ChannelId("pbx-1700000000.1")
LEG = ChannelId("vsekcall-call.1")


def reply(status: int, body: Any) -> Reply:
    return Reply(request_id="1", status=status, body=body)


class Asterisk:
    def __init__(self) -> None:
        self.requests: list[tuple[str, str, Any, Any, str]] = []
        self.hurried: list[bool] = []
        self.done: Callable[[Reply | AriError], None]

    def send(
        self,
        method: str,
        uri: str,
        query: Query | None,
        body: Any,
        done: Callable[[Reply | AriError], None],
        *,
        lane: str = "",
        at_once: bool = False,
    ) -> None:
        self.requests.append((method, uri, query, body, lane))
        self.hurried.append(at_once)
        self.done = done


class Bench:
    def __init__(self) -> None:
        self.asterisk = Asterisk()
        self.failed: list[CommandFailed] = []
        self.commander = AriCommander(self.asterisk, "vsek", self.failed.append)
        self.commander.connected = True

    def reply(self, command: do.Command, answer: Reply | AriError) -> list[CommandFailed]:
        self.commander.send(command)
        self.asterisk.done(answer)
        return self.failed


CREATE = do.CreateLeg(CALL, LEG, AgentId("anna"), CALLER, "+49301", "Meyer & Co")


@pytest.mark.parametrize(
    ("command", "request_line", "lane"),
    [
        (do.Answer(CALL, CALLER), ("POST", f"channels/{CALLER}/answer", {}), CALL),
        (do.Ring(CALL, CALLER), ("POST", f"channels/{CALLER}/ring", {}), CALL),
        (
            do.Play(CALL, CALLER, "vsekcall-call-s1", "sound:/a"),
            ("POST", f"channels/{CALLER}/play/vsekcall-call-s1", {"media": "sound:/a"}),
            CALL,
        ),
        (
            do.StopSound(CALL, CALLER, "vsekcall-call-s1"),
            ("DELETE", "playbacks/vsekcall-call-s1", {}),
            CALL,
        ),
        (
            do.StartMusic(CALL, CALLER, "client-meyer"),
            ("POST", f"channels/{CALLER}/moh", {"mohClass": "client-meyer"}),
            CALL,
        ),
        (do.StopMusic(CALL, CALLER), ("DELETE", f"channels/{CALLER}/moh", {}), CALL),
        (do.Dial(CALL, LEG, 35.4), ("POST", f"channels/{LEG}/dial", {"timeout": "35"}), LEG),
        (
            do.CreateBridge(CALL, CALLER, "vsekcall-call"),
            ("POST", "bridges/vsekcall-call", {"type": "mixing", "name": "vsekcall-call"}),
            CALL,
        ),
        (
            do.Join(CALL, CALLER, "vsekcall-call", LEG),
            ("POST", "bridges/vsekcall-call/addChannel", {"channel": f"{CALLER},{LEG}"}),
            CALL,
        ),
        (
            do.DestroyBridge(CALL, CALLER, "vsekcall-call"),
            ("DELETE", "bridges/vsekcall-call", {}),
            CALL,
        ),
        (
            do.Hangup(CALL, CALLER, "normal"),
            ("DELETE", f"channels/{CALLER}", {"reason": "normal"}),
            CALL,
        ),
        (
            do.HangupLeg(CALL, LEG, "no_answer"),
            ("DELETE", f"channels/{LEG}", {"reason": "no_answer"}),
            LEG,
        ),
        (do.HangupStray(CALL, LEG), ("DELETE", f"channels/{LEG}", {}), CALL),
        (
            do.Hangup(CALL, CALLER, "loop"),
            ("DELETE", f"channels/{CALLER}", {"reason_code": "25"}),
            CALL,
        ),
        (
            do.Hangup(CALL, ChannelId("a/../b?c"), "normal"),
            ("DELETE", "channels/a%2F..%2Fb%3Fc", {"reason": "normal"}),
            CALL,
        ),
    ],
)
async def test_requests(
    command: do.Command, request_line: tuple[str, str, dict[str, str]], lane: str
) -> None:
    bench = Bench()
    bench.commander.send(command)
    assert bench.asterisk.requests == [(*request_line, None, lane)]


async def test_a_leg_shows_the_client_and_takes_the_callers_codecs() -> None:
    bench = Bench()
    bench.commander.send(CREATE)
    ((method, uri, query, body, lane),) = bench.asterisk.requests
    assert (method, uri, lane) == ("POST", "channels/create", LEG)
    assert query == {
        "endpoint": "PJSIP/anna",
        "app": "vsek",
        "appArgs": "leg",
        "channelId": LEG,
        "originator": CALLER,
    }
    assert "Meyer & Co" in body["variables"].values()
    assert "+49301" in body["variables"].values()


RING = do.Ring(CALL, CALLER)
BRIDGE = do.CreateBridge(CALL, CALLER, "vsekcall-call")
DIAL = do.Dial(CALL, LEG, 30)


def uris(bench: Bench) -> list[str]:
    return [uri for _, uri, *_ in bench.asterisk.requests]


async def test_what_else_a_call_wants_stands_back_until_the_telephone_was_dialled() -> None:
    bench = Bench()
    for command in (CREATE, RING, BRIDGE):
        bench.commander.send(command)
    assert uris(bench) == ["channels/create"]
    other = do.Ring(CallId("other"), ChannelId("pbx-1700000000.2"))
    bench.commander.send(other)
    bench.commander.send(DIAL)
    ring, bridge = f"channels/{CALLER}/ring", "bridges/vsekcall-call"
    made, dialled = "channels/create", f"channels/{LEG}/dial"
    assert uris(bench) == [made, f"channels/{other.channel_id}/ring", dialled, ring, bridge]
    assert bench.asterisk.hurried == [True, False, True, False, False]
    assert bench.commander.sent == 5
    bench.commander.send(do.Answer(CALL, CALLER))
    assert uris(bench)[-1] == f"channels/{CALLER}/answer"


async def test_a_leg_that_comes_to_nothing_holds_nobody_up() -> None:
    bench = Bench()
    bench.commander.send(CREATE)
    bench.commander.send(RING)

    async def rung() -> bool | None:
        return len(uris(bench)) == 2 or None

    await eventually(rung, "the caller hears it ring")
    bench.commander.send(BRIDGE)
    assert uris(bench)[1:] == [f"channels/{CALLER}/ring", "bridges/vsekcall-call"]


async def test_with_the_next_leg_what_waited_for_the_one_before_goes_out() -> None:
    bench = Bench()
    bench.commander.send(CREATE)
    bench.commander.send(RING)
    bench.commander.send(CREATE)
    bench.commander.send(BRIDGE)
    assert uris(bench) == ["channels/create", "channels/create", f"channels/{CALLER}/ring"]
    bench.commander.send(DIAL)
    assert uris(bench)[3:] == [f"channels/{LEG}/dial", "bridges/vsekcall-call"]


async def test_what_waits_when_the_connection_is_lost_is_dropped() -> None:
    bench = Bench()
    bench.commander.send(CREATE)
    bench.commander.send(RING)
    bench.commander.connected = False
    bench.commander.connected = True
    assert bench.commander.dropped == 1
    bench.commander.send(BRIDGE)
    bench.commander.send(DIAL)
    assert uris(bench)[1:] == ["bridges/vsekcall-call", f"channels/{LEG}/dial"]


FORWARD = ChannelId("vsekcall-call-f1")
OUT = do.CreateForward(CALL, FORWARD, "+493098765", CALLER, "+4930555")


@pytest.mark.parametrize(
    ("trunk", "endpoint"),
    [
        ("PJSIP/{number}@carrier", "PJSIP/+493098765@carrier"),
        ("PJSIP/carrier/sip:00{digits}@192.0.2.1", "PJSIP/carrier/sip:00493098765@192.0.2.1"),
    ],
)
async def test_a_call_leaves_over_the_trunk_with_a_number_of_ours(
    trunk: str, endpoint: str
) -> None:
    asterisk = Asterisk()
    commander = AriCommander(asterisk, "vsek", print, trunk)
    commander.connected = True
    commander.send(OUT)
    ((method, uri, query, body, lane),) = asterisk.requests
    assert (method, uri, lane) == ("POST", "channels/create", FORWARD)
    assert (query["endpoint"], query["channelId"]) == (endpoint, FORWARD)
    assert body["variables"]["CONNECTEDLINE(num,i)"] == "+4930555"
    assert body["variables"]["PJSIP_HEADER(add,X-vsek-Call)"] == CALL


async def test_without_a_connection_nothing_is_sent() -> None:
    bench = Bench()
    bench.commander.connected = False
    bench.commander.send(CREATE)
    assert bench.asterisk.requests == []


@pytest.mark.parametrize(
    ("command", "answer", "expected"),
    [
        (CREATE, reply(200, {}), None),
        (
            CREATE,
            reply(500, {"error": "Allocation failed"}),
            CommandFailed("CreateLeg", CALL, LEG, 500, "Allocation failed"),
        ),
        (CREATE, AriTimeout("late"), CommandFailed("CreateLeg", CALL, LEG, 0, "late")),
        (CREATE, AriDisconnected("cut"), None),
        (OUT, reply(500, None), CommandFailed("CreateForward", CALL, FORWARD, 500, "None")),
        (
            do.Play(CALL, CALLER, "vsekcall-call-s1", "sound:/a"),
            reply(500, None),
            CommandFailed("Play", CALL, CALLER, 500, "None", "vsekcall-call-s1"),
        ),
        (do.Dial(CALL, LEG, 30), reply(409, {"message": "dialled"}), None),
        (
            do.Dial(CALL, LEG, 30),
            reply(404, {"message": "gone"}),
            CommandFailed("Dial", CALL, LEG, 404, "gone"),
        ),
        (
            do.Join(CALL, CALLER, "b", LEG),
            reply(422, {"message": "not in Stasis"}),
            CommandFailed("Join", CALL, LEG, 422, "not in Stasis"),
        ),
        (
            do.Hangup(CALL, CALLER, "normal"),
            reply(404, {"message": "gone"}),
            CommandFailed("Hangup", CALL, CALLER, 404, "gone"),
        ),
        (do.Hangup(CALL, CALLER, "normal"), reply(500, None), None),
        (do.StopMusic(CALL, CALLER), reply(404, {"message": "gone"}), None),
        (do.Answer(CALL, CALLER), AriTimeout("late"), None),
    ],
)
async def test_failures(
    command: do.Command, answer: Reply | AriError, expected: CommandFailed | None
) -> None:
    assert Bench().reply(command, answer) == ([expected] if expected else [])

"""What the shipped dialplan tells of a call, seen from the trunk's side and from vsek's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import unquote

import pytest
from tests.integration.embedded.conftest import Watcher, get

from vsek.ari import Client, events
from vsek.demo.caller import Caller
from vsek.demo.sipmessage import Dial, Message
from vsek.embedded.asterisk import PrivateAsterisk

_MANY = tuple(("Diversion", f"<sip:+4930{i}@h>;reason=deflection") for i in range(20))

CASES: list[tuple[Dial, dict[str, str]]] = [
    (
        Dial("+4930999", name='Müller, "x" <sip:evil@x> ${SHELL(id)}'),
        {
            "did": "+4930999",
            "to": "+4930999",
            "from": "+4930555000",
            "name": 'Müller, \\"x\\" <sip:evil@x> ${SHELL(id)}',
            "privacy": "",
            "div": "",
            "hist": "",
            "reason": "",
        },
    ),
    (
        Dial(
            "+4930123;npdi",
            diversion=("+49301", "+49302"),
            history=("+49302", "+49301"),
            asserted="+4940777",
            privacy="id",
        ),
        {
            "did": "+4930123",
            "from": "+4940777",
            "pai": "+4940777",
            "privacy": "1",
            "div": "+49301;+49302",
            "hist": "+49302;+49301",
            "reason": "cfu",
        },
    ),
    (Dial("1", caller="anonymous"), {"did": "1", "privacy": "1"}),
    (Dial("2", privacy="none"), {"did": "2", "privacy": ""}),
    (
        Dial(
            "3",
            headers=(
                (
                    "Diversion",
                    '"A, B <x>" <sip:0301;phone-context=x@h>;reason=user-busy, <tel:+49302;ext=1>',
                ),
                ("Diversion", "sip:0303@h;reason=no-answer"),
                ("Diversion", "<sip:host.only>"),
                ("Diversion", '"$[1+1] ${EXTEN}" <sip:%2B49304%24%7Bx%7D%3B@h>'),
            ),
        ),
        {"div": "0301;+49302;0303;+49304x"},
    ),
    (
        Dial("12-34_a.b", to="+49401", called_party="+49402", headers=_MANY),
        {
            "did": "12-34_a.b",
            "to": "+49401",
            "pcpid": "+49402",
            "div": ";".join(f"+4930{i}" for i in range(12)),
            "reason": "deflection",
        },
    ),
    # Half a pair of parentheses must not swallow what comes after it.
    (
        Dial("12(3", caller="+49(4", asserted="+4940777", privacy="id", diversion=("+49301",)),
        {"did": "12(3", "to": "123", "pai": "+4940777", "privacy": "1", "div": "+49301"},
    ),
    (
        Dial("3", name="Smith (mobile", privacy="id", diversion=("+49301",)),
        {"name": "Smith (mobile", "privacy": "1", "div": "+49301"},
    ),
    (Dial("4", name="a) (b) [c {d"), {"did": "4", "name": "a) (b) [c {d", "privacy": ""}),
    # Nobody in the request URI, as registered trunks send it.
    (Dial("s", to="+49401"), {"did": "+49401"}),
    (Dial("s", to="+49401", called_party="+49402"), {"did": "+49402"}),
]


@pytest.fixture
def trunk(asterisk: PrivateAsterisk) -> tuple[str, int]:
    return "127.0.0.1", asterisk.sip_port


async def test_what_is_known_of_a_call_reaches_vsek(
    trunk: tuple[str, int], client: Client, watcher: Watcher
) -> None:
    for dial, expected in CASES:
        async with await Caller.dial(trunk, dial) as caller:
            start = await watcher.next(events.StasisStart)
            assert start.args[0] == "in"
            told = dict(unquote(arg).split("=", 1) for arg in start.args[1:])
            assert {name: told[name] for name in expected} == expected, dial
            for name in ("did", "from", "div"):
                # For a call that came in while vsek was not listening.
                path = f"channels/{start.channel.id}/variable"
                value = await get(client, path, variable=f"VSEK_{name.upper()}")
                assert value == {"value": told[name]}
            await client.http("DELETE", f"channels/{start.channel.id}")
            await caller.wait_ended()


async def test_without_vsek_the_caller_hears_so_and_is_not_charged(
    trunk: tuple[str, int],
) -> None:
    async with await Caller.dial(trunk, Dial("+4930999")) as caller:
        await caller.wait_status(183)
        await caller.media.wait_sound()
        await caller.wait_ended(timeout_s=30)
        assert caller.statuses == [100, 183, 503]
        assert 12 < len(caller.media.recording()) / 8000 < 25


class _Texter(asyncio.DatagramProtocol):
    """Sends one SIP MESSAGE and keeps the first answer."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def send(cls, server: tuple[str, int], number: str) -> int:
        loop = asyncio.get_running_loop()
        transport, texter = await loop.create_datagram_endpoint(cls, local_addr=("127.0.0.1", 0))
        port = transport.get_extra_info("sockname")[1]
        headers = [
            ("Via", f"SIP/2.0/UDP 127.0.0.1:{port};rport;branch=z9hG4bKtext"),
            ("Max-Forwards", "70"),
            ("From", "<sip:+4940999@caller.invalid>;tag=t"),
            ("To", f"<sip:{number}@{server[0]}>"),
            ("Call-ID", "text@caller.invalid"),
            ("CSeq", "1 MESSAGE"),
            ("Content-Type", "text/plain"),
        ]
        uri = f"sip:{number}@{server[0]}:{server[1]}"
        text = Message(method="MESSAGE", uri=uri, headers=headers, body="hello")
        transport.sendto(text.encode(), server)
        try:
            async with asyncio.timeout(10):
                answer = await texter.answer
        finally:
            transport.close()
        assert answer is not None
        return answer.status

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        if not self.answer.done():
            self.answer.set_result(Message.parse(data))


async def test_a_text_message_is_no_call(
    trunk: tuple[str, int], client: Client, watcher: Watcher
) -> None:
    assert await _Texter.send(trunk, "+4930999") == 404
    async with await Caller.dial(trunk, Dial("+4930998")):
        first = await watcher.next(events.StasisStart)
        assert unquote(first.args[1]) == "did=+4930998"


async def test_a_text_message_is_no_call_from_a_trunk_that_lets_it_in_either(
    tmp_path: Path,
) -> None:
    extra = {"pjsip": "[loopback](+)\nmessage_context = from-trunk\n"}
    watcher = Watcher()
    async with (
        PrivateAsterisk(tmp_path / "asterisk", extra=extra) as server,
        Client(server.ari_url, "vsek", server.ari_password, app="vsek") as client,
    ):
        client.on_any_event(watcher.take)
        await client.wait_connected(10)
        trunk = "127.0.0.1", server.sip_port
        assert await _Texter.send(trunk, "+4930999") == 202
        # The first text's channel is done when the second's answer, and a call after it, came.
        async with await Caller.dial(trunk, Dial("+4930998")):
            first = await watcher.next(events.StasisStart)
            assert unquote(first.args[1]) == "did=+4930998"

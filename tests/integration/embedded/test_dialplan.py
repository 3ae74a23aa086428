"""The shipped dialplan, seen from the trunk's side and from vsek's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.integration.embedded.conftest import Watcher, alive, get

from vsek.ari import Client, events
from vsek.demo import g711
from vsek.demo.caller import Caller
from vsek.demo.events import eventually
from vsek.demo.sipmessage import Dial, Message
from vsek.demo.sippphone import SippPhone
from vsek.domain.agent import Agent, ha1
from vsek.domain.ids import AgentId
from vsek.domain.ledger import LedgerLine, Served, parse
from vsek.embedded.asterisk import PrivateAsterisk
from vsek.pbx.accounts import Accounts
from vsek.switchboard.arrival import VARIABLE, values_of

_VOICE = g711.melody(1010, 20.0)
_SECRET = "a-long-secret"

CASES: list[tuple[Dial, dict[str, str]]] = [
    (
        Dial("+4930999", name='Müller, "x" <sip:evil@x> ${SHELL(id)}'),
        {
            "reg": "",
            "did": "+4930999",
            "to": "<sip:+4930999@127.0.0.1>",
            "from": "+4930555000",
            "name": 'Müller, \\"x\\" <sip:evil@x> ${SHELL(id)}',
            "privacy": "",
            "div": "",
            "hist": "",
        },
    ),
    (
        Dial("+4930123;npdi", asserted="+4940777", privacy="id"),
        {"from": "+4940777", "privacy": "id"},
    ),
    # Half a pair of parentheses must not swallow what comes after it.
    (
        Dial("3", name="Smith (mobile", privacy="id"),
        {"name": "Smith (mobile", "privacy": "id"},
    ),
    (Dial("4", name="a) (b) [c {d"), {"did": "4", "name": "a) (b) [c {d", "privacy": ""}),
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
            told = values_of(start.args[1:])
            assert {name: told.get(name, "") for name in expected} == expected, dial
            # For a call that came in while vsek was not listening.
            path = f"channels/{start.channel.id}/variable"
            left = (await get(client, path, variable=VARIABLE))["value"]
            assert values_of(left.split(",")) == told
            await client.http("DELETE", f"channels/{start.channel.id}")
            await caller.wait_ended()


# ── the ledger ───────────────────────────────────────────────────────────────────────────────


def lines(asterisk: PrivateAsterisk) -> list[LedgerLine]:
    """All lines of the ledger; each can be read."""
    found = []
    for file in sorted(asterisk.ledger.glob("*.log")):
        for text in file.read_text().splitlines():
            line = parse(text)
            assert line is not None, text
            found.append(line)
    return found


async def ended(asterisk: PrivateAsterisk, count: int = 1) -> list[LedgerLine]:
    """The ends of calls in the ledger, once there are ``count`` of them."""

    async def probe() -> list[LedgerLine] | None:
        outs = [line for line in lines(asterisk) if line.kind == "out"]
        return outs if len(outs) >= count else None

    outs = await eventually(probe, f"{count} ends in the ledger")
    assert len(outs) == count
    return outs


async def test_every_call_has_its_two_lines_whatever_the_caller_sends(
    trunk: tuple[str, int], asterisk: PrivateAsterisk, client: Client, watcher: Watcher
) -> None:
    names = (
        "x,kind=out,served=vsek,message=y",
        "a=b%0d%0av=1,kind=out,channel=z",
        'q" \\ ${SHELL(id)} ) ,, $[1+1]',
        "ü" * 200,
    )
    for name in names:
        async with await Caller.dial(trunk, Dial("+4930999", name=name)) as caller:
            start = await watcher.next(events.StasisStart)
            await client.http("POST", f"channels/{start.channel.id}/answer")
            await caller.wait_answered()
            await caller.hang_up()
        out = (await ended(asterisk, names.index(name) + 1))[-1]
        (entered,) = [ln for ln in lines(asterisk) if (ln.kind, ln.channel) == ("in", out.channel)]
        assert out.channel == start.channel.id
        assert (out.served, out.heard, out.message) == (Served.VSEK, False, "")
        assert entered.at <= out.began_at + 1 <= out.at + 2
        assert out.cause == 16
        told = values_of(start.args[1:])
        assert {**out.values, "name": told["name"]} == told
        assert told["name"].startswith(out.values["name"].rstrip("\ufffd"))


async def test_the_end_stands_in_the_ledger_before_the_channel_is_gone(
    trunk: tuple[str, int], asterisk: PrivateAsterisk, client: Client, watcher: Watcher
) -> None:
    """Recovery looks at channels first, then at the ledger, and misses nobody."""
    for number in range(10):
        async with await Caller.dial(trunk, Dial(str(number))) as caller:
            start = await watcher.next(events.StasisStart)
            await client.http("POST", f"channels/{start.channel.id}/answer")
            await caller.wait_answered()
            hanging_up = asyncio.create_task(caller.hang_up())
            while start.channel.id in {c["id"] for c in await get(client, "channels")}:
                pass
            outs = {line.channel for line in lines(asterisk) if line.kind == "out"}
            assert start.channel.id in outs
            await hanging_up


# ── without vsek ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[PrivateAsterisk]:
    """Announcements of half a second, and less patience with a vsek that is gone."""
    extra = {"extensions": "[globals](+)\nVSEK_PATIENCE = 5\n\n"}
    async with PrivateAsterisk(tmp_path / "asterisk", extra=extra) as server:
        for number, name in enumerate(("leave-message", "thank-you", "technical-fault")):
            for language in ("de", "en"):
                pitch = 300 + 100 * number + (50 if language == "en" else 0)
                g711.write_wav(server.sounds / f"{name}-{language}.wav", g711.melody(pitch, 0.5))
        g711.write_wav(server.sounds / "tone.wav", g711.melody(950, 0.2))
        async with Client(server.ari_url, "vsek", server.ari_password, app="set-up") as client:
            query = {"variable": "VSEK_SOUNDS", "value": str(server.sounds)}
            assert (await client.http("POST", "asterisk/variable", query)).status == 204
        yield server


async def test_without_vsek_the_caller_leaves_a_message(house: PrivateAsterisk) -> None:
    trunk = "127.0.0.1", house.sip_port
    (house.sounds / "languages.conf").write_text(
        "[house]\ncountry = 49\n[did]\n+4930999 = en\n[forwarding]\n+493011 = en\n"
    )
    began = time.monotonic()
    async with AsyncExitStack() as stack:

        async def dial(number: str, **more: object) -> Caller:
            caller = await Caller.dial(trunk, Dial(number, **more))  # type: ignore[arg-type]
            return await stack.enter_async_context(caller)

        speaks = await dial("030999", caller="+49401")
        silent = await dial("1", caller="+49402", diversion=("+493011",))
        leaves = await dial("1", caller="+49403")
        gone = await dial("1", caller="+49404")
        await gone.wait_status(180)
        await gone.hang_up()
        # Some of them are gone before the dialplan has read who they are.
        for number in range(10):
            await (await dial("1", caller=f"+49405{number}")).hang_up()
        await speaks.wait_answered()
        assert time.monotonic() - began < 5.5
        assert speaks.statuses == [100, 180, 200]
        await speaks.media.wait_sound()
        assert time.monotonic() - began < 6.0
        await heard_for(speaks, 1.0)
        await asyncio.gather(speaks.media.play(_VOICE[: 3 * g711.RATE]), heard_for(leaves, 3.0))
        await asyncio.gather(speaks.hang_up(), leaves.hang_up())
        await silent.wait_ended(timeout_s=15.0)
        assert silent.ended_by == "them"
    outs = {line.values["from"]: line for line in await ended(house, 14)}
    told = {caller: (o.served.value, o.heard, bool(o.message)) for caller, o in outs.items()}
    assert [told.pop(f"+49405{number}") for number in range(10)] == [("none", False, False)] * 10
    assert told == {
        "+49401": ("fallback", True, True),
        "+49402": ("fallback", True, False),
        "+49403": ("fallback", True, False),
        "+49404": ("none", False, False),
    }
    message = outs["+49401"].message
    assert 2.0 <= outs["+49401"].message_s <= 4.0
    # Where ARI finds it, and nothing else is left.
    async with Client(house.ari_url, "vsek", house.ari_password, app="look") as client:
        stored = [recording["name"] for recording in await get(client, "recordings/stored")]
        assert stored == [message]
        assert message.startswith("vsek/")


async def heard_for(caller: Caller, seconds: float) -> None:
    """Waits until the caller has received audio for that long from now on."""
    until = time.monotonic() + seconds
    await caller.media.packets.wait(
        lambda packet: packet.at >= until,
        f"{seconds:g} s of audio",
        timeout_s=seconds + 5,
        after=len(caller.media.packets),
    )


async def where(client: Client) -> dict[str, str]:
    """The dialplan's context in which each channel is."""
    return {c["id"]: c["dialplan"]["context"] for c in await get(client, "channels")}


async def test_who_waits_is_taken_back_and_who_talks_is_not(
    house: PrivateAsterisk, watcher: Watcher, tmp_path: Path
) -> None:
    trunk = "127.0.0.1", house.sip_port
    anna = Agent(id=AgentId("anna"), name="Anna", language="de", ha1=ha1("anna", _SECRET))
    phone = SippPhone("anna", _SECRET, trunk, tmp_path / "phone")
    async with AsyncExitStack() as stack:
        client = Client(house.ari_url, "vsek", house.ari_password, app="vsek")
        await stack.enter_async_context(client)
        client.on_any_event(watcher.take)
        await client.wait_connected(10)
        go_on = await stack.enter_async_context(alive(client))

        async def enter() -> tuple[Caller, str]:
            caller = await stack.enter_async_context(await Caller.dial(trunk, Dial("1")))
            return caller, (await watcher.next(events.StasisStart)).channel.id

        async def do(method: str, path: str, **query: str) -> None:
            assert (await client.http(method, path, query=query)).status < 300, path

        await Accounts(client, "agents").sync({anna.id: anna})
        stack.push_async_callback(phone.stop)
        await phone.start("180")
        talks = [await enter(), await enter()]
        for _, channel in talks:
            await do("POST", f"channels/{channel}/answer")
        await do("POST", "bridges/vsekcall-talk")
        members = ",".join(channel for _, channel in talks)
        await do("POST", "bridges/vsekcall-talk/addChannel", channel=members)
        waits, waiting = await enter()
        await do("POST", f"channels/{waiting}/answer")
        await do("POST", f"channels/{waiting}/moh")
        rings, ringing = await enter()
        await do("POST", f"channels/{ringing}/ring")
        leg = {"endpoint": "PJSIP/anna", "app": "vsek", "channelId": "vsekcall-leg"}
        await do("POST", "channels/create", **leg)
        await watcher.next(events.StasisStart)
        await do("POST", "channels/vsekcall-leg/dial")
        await wait_beats(client, 3)

        go_on(False)
        stopped = time.monotonic()
        # Handed over after the last sign of life: met by nobody.
        late, _ = await enter()
        await late.wait_answered()
        assert time.monotonic() - stopped < 6.0
        assert late.statuses == [100, 200]
        contexts = await where(client)
        assert [contexts[c] for c in (waiting, ringing)] == ["vsek-in"] * 2
        await rings.wait_answered()
        assert time.monotonic() - stopped > 4.5

        async def taken_back() -> bool | None:
            found = await where(client)
            there = [found.get(c) for c in (waiting, ringing)] == ["vsek-fallback"] * 2
            return True if there and "vsekcall-leg" not in found else None

        await eventually(taken_back, "who waits is taken back, the leg is gone")
        left = await watcher.next(events.StasisEnd)
        assert left.channel.id not in {channel for _, channel in talks}
        for caller, channel in talks:
            assert caller.talking
            assert (await where(client))[channel] == "vsek-in"
        go_on(True)
        for caller in (waits, rings, late, *(caller for caller, _ in talks)):
            await caller.hang_up()

        async def nobody() -> bool | None:
            return True if not await get(client, "channels") else None

        # The watch ends with the last call.
        await eventually(nobody, "no channel left")
    served = sorted(line.served.value for line in await ended(house, 5))
    assert served == ["fallback"] * 3 + ["vsek"] * 2


async def wait_beats(client: Client, seconds: int) -> None:
    """Waits until signs of life went on for that long."""

    async def now() -> int:
        return int((await get(client, "asterisk/variable", variable="VSEK_ALIVE"))["value"])

    began = await now()

    async def later() -> bool | None:
        return True if await now() >= began + seconds else None

    await eventually(later, f"{seconds} s of life")


async def test_who_waits_keeps_the_place_if_vsek_comes_back(
    house: PrivateAsterisk, watcher: Watcher
) -> None:
    trunk = "127.0.0.1", house.sip_port
    async with Client(house.ari_url, "vsek", house.ari_password, app="vsek") as client:
        client.on_any_event(watcher.take)
        await client.wait_connected(10)
        async with alive(client) as go_on, await Caller.dial(trunk, Dial("1")) as waits:
            channel = (await watcher.next(events.StasisStart)).channel.id
            await client.http("POST", f"channels/{channel}/answer")
            await client.http("POST", f"channels/{channel}/moh")
            await waits.wait_answered()
            await wait_beats(client, 2)
            go_on(False)
            await heard_for(waits, 4.2)
            # New callers hear it ring meanwhile, and are handed over then.
            async with await Caller.dial(trunk, Dial("2")) as comes:
                await comes.wait_status(180)
                go_on(True)
                assert (await watcher.next(events.StasisStart)).args[0] == "in"
            await wait_beats(client, 5)
            assert (await where(client))[channel] == "vsek-in"


# ── text messages ────────────────────────────────────────────────────────────────────────────


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
        assert values_of(first.args)["did"] == "+4930998"


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
        async with alive(client), await Caller.dial(trunk, Dial("+4930998")):
            first = await watcher.next(events.StasisStart)
            assert values_of(first.args)["did"] == "+4930998"

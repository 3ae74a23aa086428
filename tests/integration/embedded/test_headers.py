"""Headers on their way through the dialplan: whole, in order, and never syntax."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

from tests import console
from tests.integration.embedded.conftest import Watcher, alive, get

from vsek.ari import Client, events
from vsek.demo.caller import Caller
from vsek.demo.events import eventually
from vsek.demo.sipmessage import Dial
from vsek.domain.ids import CallId, ChannelId
from vsek.embedded.asterisk import PrivateAsterisk
from vsek.switchboard.arrival import Reader, values_of

_DIVERSION = "<sip:{}@forwarder.invalid>;reason=unconditional;counter=1"
_MANY = tuple(("Diversion", f"<sip:+4930{i}@h>;reason=deflection") for i in range(30))
_CODE = '"x):System(touch {0})?y:System(touch {0})" <sip:1@h>'

# What is passed on; where it is long, how it begins.
CASES: list[tuple[Dial, dict[str, str]]] = [
    (
        Dial(
            "+4930123;npdi",
            name='Müller, "x" <sip:evil@x> ${SHELL(id)}',
            diversion=("+49301", "+49302"),
            history=("+49302", "+49301"),
            asserted="+4940777",
            headers=(("X-vsek-Call", "261122-062201-abcdef"),),
        ),
        {
            "reg": "",
            "did": "+4930123",
            "uri": "sip:+4930123;npdi@127.0.0.1",
            "to": "<sip:+4930123;npdi@127.0.0.1",
            "pcpid": "",
            "from": "+4940777",
            "sender": '"Müller, \\"x\\" <sip:evil@x> ${SHELL(id)}" <sip:+4930555000@',
            "pai": ",<sip:+4940777@carrier.invalid>",
            "trust": "true",
            "pres": "allowed",
            "privacy": "",
            "ours": "261122-062201-abcdef",
            "hops": "2",
            "div": f",{_DIVERSION.format('+49301')},{_DIVERSION.format('+49302')}",
            "hist": ",<sip:+49302@forwarder.invalid>;index=1,<sip:+49301@forwarder.invalid>",
            "reason": "cfu",
            "country": "",
            "area": "",
        },
    ),
    (
        Dial("3", headers=(("Diversion", '"$[1+1] ${EXTEN}, <x>" <sip:%2B49%24%7Bx%7D%3B@h>'),)),
        {"div": ',"$[1+1] ${EXTEN}, <x>" <sip:%2B49%24%7Bx%7D%3B@h>'},
    ),
    # A flood is counted and read in part.
    (
        Dial("12-34_a.b", to="+49401", called_party="+49402", headers=_MANY),
        {
            "did": "12-34_a.b",
            "to": "<sip:+49401@",
            "pcpid": "<sip:+49402@carrier.invalid>",
            "hops": "20",
            "div": ",<sip:+49300@h>;reason=deflection,<sip:+49301@h>;reason=deflection,",
        },
    ),
    (
        Dial("12(3", caller="+49(4", asserted="+4940777", privacy="id", diversion=("+49301",)),
        {"did": "12(3", "pai": ",<sip:+4940777@", "privacy": "id", "div": ",<sip:+49301@"},
    ),
    (
        Dial("4", name="a) (b) [c {d ):2:5"),
        {"did": "4", "name": "a) (b) [c {d ):2:5", "from": "+4930555000"},
    ),
    # Where one of them is very long, the others are there all the same, and it is cut as always.
    (
        Dial(
            "6",
            headers=(
                ("Diversion", f"<sip:+49301@h>;reason={'a' * 4100}"),
                ("X-vsek-Call", "ours"),
            ),
        ),
        # Asterisk reads no header of more than 4 KB, except for the reason.
        {"reason": "a" * 40, "hops": "0", "div": "", "ours": "ours"},
    ),
    (
        Dial("7", name="(", headers=(("Privacy", "p" * 4082), ("X-vsek-Call", "ours"))),
        {"privacy": "p" * 100, "ours": "ours", "name": "("},
    ),
    (
        Dial("8", name="(" + "n" * 4085, headers=(("X-vsek-Call", "ours"),)),
        {"name": "(" + "n" * 70, "ours": "ours"},
    ),
    # Names of headers that fill what Asterisk has for them.
    *(
        (
            Dial("9", headers=((f"X{'a' * length}", "1"), *_MANY[:12], ("X-vsek-Call", "ours"))),
            {"ours": "ours", "hops": "12"},
        )
        for length in (3500, 3700, 3800, 3900, 3950, 4000, 4200)
    ),
    # Nobody in the request URI, as registered trunks send it; names that mean something to
    # Asterisk; text.
    (Dial("s", to="+49401"), {"reg": "1", "did": "s", "to": "<sip:+49401@"}),
    (Dial("h", to="+49401"), {"reg": "", "did": "h", "to": "<sip:+49401@"}),
    (Dial("*8"), {"did": "*8"}),
    (Dial("a%20b%C3%BC"), {"did": "a bü"}),
]


async def _told(
    asterisk: PrivateAsterisk, client: Client, watcher: Watcher, dial: Dial
) -> dict[str, str]:
    async with await Caller.dial(("127.0.0.1", asterisk.sip_port), dial) as caller:
        start = await watcher.next(events.StasisStart)
        await client.http("DELETE", f"channels/{start.channel.id}")
        await caller.wait_ended()
    assert start.args[0] == "in"
    return values_of(start.args[1:])


async def test_headers_arrive_as_they_were_sent(
    asterisk: PrivateAsterisk, client: Client, watcher: Watcher
) -> None:
    for dial, expected in CASES:
        told = await _told(asterisk, client, watcher, dial)
        for name, value in expected.items():
            got = told.get(name, "")  # what is not there is not passed
            assert got.startswith(value), (dial, name, got)
            assert value or not got, (dial, name, got)
        assert len(told.get("reason", "")) <= 40
        assert len(told.get("privacy", "")) <= 100


# A number of + and digits says all itself.
_PLAIN = ("+4930123", "+493012345678901", "+4930123;npdi", "+4930123;phone-context=+43", "%2B4930")
_MORE = (
    *("4930123", "030123", "123456;phone-context=+4930", "*31#030", "a,b", "0800FLOWERS"),
    *("+4930-123", "+4930%20", "++4930", "+49+30", "+49301234567890123", "+a", "%22+4930"),
    *("+4930%29%3A", "%29%3A2%3A5", "+4930%29%3A0%3A0", "+(49)30"),
)


async def test_the_request_uri_is_told_where_it_says_more_than_the_number(
    asterisk: PrivateAsterisk, client: Client, watcher: Watcher
) -> None:
    for number in (*_PLAIN, *_MORE):
        told = await _told(asterisk, client, watcher, Dial(number))
        did = unquote(number.split(";")[0])
        assert told["did"] == did
        uri = told.get("uri", "")
        assert bool(uri) == (number in _MORE), (number, told)
        if uri:
            assert unquote(uri).startswith(f"sip:{did}"), (number, uri)
            assert ("phone-context" in uri) == ("phone-context" in number)


async def test_a_plain_call_takes_few_steps(
    asterisk: PrivateAsterisk, client: Client, watcher: Watcher
) -> None:
    """Each publishes a snapshot of the channel to all who listen."""
    await console.ask(asterisk.home / "etc", "logger add channel steps verbose(3)")
    log = asterisk.log_folder / "steps"

    async def steps(dial: Dial) -> int:
        async with await Caller.dial(("127.0.0.1", asterisk.sip_port), dial) as caller:
            channel = (await watcher.next(events.StasisStart)).channel
            await client.http("DELETE", f"channels/{channel.id}")
            await caller.wait_ended()

        async def logged() -> int | None:
            text = await asyncio.to_thread(log.read_text, errors="replace")
            taken = re.findall(rf'Executing .*?\] (\w+)\("{re.escape(channel.name)}"', text)
            return taken.index("Stasis") + 1 if "Stasis" in taken else None

        return await eventually(logged, "the steps of a call in the log")

    await steps(Dial("+4930123"))  # starts the watch

    async def watched() -> bool | None:
        found = (await get(client, "asterisk/variable", variable="VSEK_WATCH"))["value"]
        return True if int(found or 0) else None

    await eventually(watched, "the watch")
    assert await steps(Dial("+4930123", name="Anna")) <= 14
    assert await steps(Dial("030123", name="Anna")) <= 17


async def test_a_header_is_never_executed(
    asterisk: PrivateAsterisk, client: Client, watcher: Watcher
) -> None:
    made = asterisk.home / "log" / "made"  # where Asterisk may write
    code = _CODE.format(made)
    names = ("Diversion", "History-Info", "P-Asserted-Identity", "Privacy", "X-vsek-Call")
    dial = Dial("5", name=code, headers=tuple((name, code) for name in names))
    for called in ("", "+49402"):
        told = await _told(asterisk, client, watcher, replace(dial, called_party=called))
        assert told["div"] == told["hist"] == f",{code}"
        assert told["name"].startswith("x):System(")
    assert not made.exists()


async def test_a_trunk_says_how_its_numbers_are_meant(tmp_path: Path, watcher: Watcher) -> None:
    own = "[loopback](+)\nset_var = VSEK_COUNTRY=AT\nset_var = VSEK_AREA=1\n"
    async with (
        PrivateAsterisk(tmp_path / "asterisk", extra={"pjsip": own}) as server,
        Client(server.ari_url, "vsek", server.ari_password, app="vsek") as client,
    ):
        client.on_any_event(watcher.take)
        await client.wait_connected(10)
        async with alive(client):
            told = await _told(server, client, watcher, Dial("5350500"))
    assert (told["country"], told["area"]) == ("AT", "1")
    arrived = Reader("DE", "30").read(CallId("c"), ChannelId("1.1"), told)
    assert arrived.dids == ("+4315350500",)

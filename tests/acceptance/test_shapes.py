"""Who was called, for each way in which networks say it: real INVITEs, read from the database."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from tests.acceptance import shapes
from tests.acceptance.house import SETTINGS as HOUSE_SETTINGS
from tests.acceptance.shapes import CALLER, LOOP, OFFICE, OWN, SHAPES, UNKNOWN, Shape

from vsek.demo.caller import Caller
from vsek.demo.events import eventually
from vsek.demo.mailbox import Mail, Mailbox
from vsek.demo.processes import Program
from vsek.demo.sipmessage import Dial
from vsek.demo.stack import Stack
from vsek.demo.tools import sipp
from vsek.domain.ledger import parse
from vsek.embedded.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

AT_ONCE = 6
_TRUNK_TWO = """
; A trunk where vsek registers, told by who it says it is: the address is that of the other one.
[trunk-two](vsek-trunk-registered)
identify_by = username
"""
_ROWS_SQL = """
SELECT id, channel, client_id, caller_number, caller_withheld, did, forwarded_by, outcome, stage,
       reason
FROM vsek.calls WHERE outcome IS NOT NULL
"""


class Exchange:
    """A running vsek with the clients of the table, and a second trunk."""

    def __init__(self, stack: Stack, mailbox: Mailbox, connection: asyncpg.Connection[Any]) -> None:
        self.stack = stack
        self.mailbox = mailbox
        self.connection = connection

    async def rows(self) -> list[dict[str, Any]]:
        """Calls that have their outcome."""
        return [dict(row) for row in await self.connection.fetch(_ROWS_SQL)]

    async def told(self) -> dict[str, str]:
        """Channels by the tag of From, from the ledger that Asterisk keeps."""
        folder = self.stack.folder / "asterisk" / "ledger"
        found = {}
        for file in await asyncio.to_thread(lambda: sorted(folder.glob("*.log"))):
            text = await asyncio.to_thread(file.read_text)
            for line in map(parse, text.splitlines()):
                if line is not None:
                    tag = re.search(r";tag=([\w.-]+)", line.values.get("sender", ""))
                    assert tag is not None
                    found[tag[1]] = line.channel
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exchange(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("exchange")
    settings = {**HOUSE_SETTINGS, "VSEK_ASTERISK__AREA_CODE": shapes.AREA_CODE}
    async with AsyncExitStack() as exits:
        mailbox = Mailbox(folder / "mails")
        await mailbox.start()
        exits.push_async_callback(mailbox.stop)
        stack = await exits.enter_async_context(
            await Stack.start(folder / "vsek", smtp=mailbox.address, environment=settings)
        )
        (folder / "clients.yaml").write_text(shapes.CLIENTS)
        await stack.cli("client", "import", folder / "clients.yaml")
        await _second_trunk(stack)
        connection = await asyncpg.connect(stack.dsn)
        exits.push_async_callback(connection.close)
        yield Exchange(stack, mailbox, connection)


async def _second_trunk(stack: Stack) -> None:
    home = stack.folder / "asterisk"
    with (home / "etc/vsek-local/pjsip.conf").open("a") as file:
        file.write(_TRUNK_TWO)
    ari = json.loads((stack.folder / "run/stack.json").read_text())["settings"]["ari"]
    from vsek.ari import Client

    async with Client(ari["url"], ari["username"], ari["password"], app="shapes") as client:
        for module in ("res_pjsip.so",):
            reply = await client.http("PUT", f"asterisk/modules/{module}")
            assert reply.status == 204, reply

        async def known() -> bool | None:
            reply = await client.http("GET", "endpoints/PJSIP/trunk-two")
            return True if reply.status == 200 else None

        await eventually(known, "the second trunk")


def _scenario(shape: Shape) -> str:
    """SIPp's XML: the call as it stands in the table; hung up as soon as there is an answer."""
    headers = dict(
        header.split(": ", 1) for header in shape.headers if header[:3] in ("To:", "Fro")
    )
    others = [header for header in shape.headers if header[:3] not in ("To:", "Fro")]
    uri = shape.uri if re.match(r"(?i)(sips?|tel):", shape.uri) else f"sip:{shape.uri}@127.0.0.1"
    user = "trunk-two" if shape.registered else CALLER
    sender = f"From: {headers.get('From', f'<sip:{user}@c.invalid>')};tag={shape.id}"
    receiver = (
        f"To: {headers.get('To', f'<sip:{OWN}@c.invalid>' if shape.uri == OWN else _to(uri))}"
    )
    via = "Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]"
    scheme = "sips" if uri.startswith("sips:") else "sip"
    contact = f"Contact: <{scheme}:caller@[local_ip]:[local_port]>"
    common = ["Call-ID: [call_id]", "Max-Forwards: 70"]
    sdp = ["v=0", "o=x 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
    sdp += ["m=audio 9 RTP/AVP 8", "a=rtpmap:8 PCMA/8000"]
    texts = [_escaped(text) for text in (uri, sender, receiver, *others)]
    uri, sender, receiver, *others = texts

    def message(*lines: str, body: Sequence[str] = ()) -> str:
        text = "\n".join([*lines, "Content-Length: [len]", "", *body])
        return f"  <send><![CDATA[\n\n{text}\n\n]]></send>\n"

    invite = message(
        f"INVITE {uri} SIP/2.0",
        via,
        sender,
        receiver,
        *common,
        "CSeq: 1 INVITE",
        contact,
        *others,
        "Content-Type: application/sdp",
        body=sdp,
    )
    ack = message(
        "ACK [next_url] SIP/2.0", via, sender, f"{receiver}[peer_tag_param]", *common, "CSeq: 1 ACK"
    )
    bye = message(
        "BYE [next_url] SIP/2.0", via, sender, f"{receiver}[peer_tag_param]", *common, "CSeq: 2 BYE"
    )
    cancel = message(
        f"CANCEL {uri} SIP/2.0", "[last_Via:]", sender, receiver, *common, "CSeq: 1 CANCEL"
    )
    end = message(f"ACK {uri} SIP/2.0", "[last_Via:]", sender, "[last_To:]", *common, "CSeq: 1 ACK")
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="shape">\n'
        + invite
        + '  <recv response="100" optional="true"/>\n'
        + '  <recv response="183" optional="true"/>\n'
        + '  <recv response="180" optional="true" next="ringing"/>\n'
        + '  <recv response="603" optional="true" next="refused"/>\n'
        + '  <recv response="200" rrs="true"/>\n'
        + ack
        + bye
        + '  <recv response="200"/>\n  <nop next="end"/>\n'
        + '  <label id="ringing"/>\n'
        + cancel
        + '  <recv response="200"/>\n  <recv response="487"/>\n'
        + end
        + '  <nop next="end"/>\n'
        + '  <label id="refused"/>\n'
        + end
        + '  <label id="end"/>\n  <nop/>\n</scenario>\n'
    )


def _to(uri: str) -> str:
    return f"<{uri}>"


def _escaped(text: str) -> str:
    # Brackets are SIPp's keywords, a backslash is its escape.
    return text.replace("\\", "\\x5C").replace("[", "\\x5B").replace("]", "\\x5D")


async def _send(stack: Stack, shape: Shape, folder: Path) -> None:
    folder = folder / shape.id
    await asyncio.to_thread(folder.mkdir)
    (folder / "scenario.xml").write_text(_scenario(shape))
    host, port = stack.sip
    program = await Program.start(
        f"sipp {shape.id}",
        [
            *sipp(),
            *("-sf", "scenario.xml", "-i", "127.0.0.1", "-p", str(free_port())),
            *("-m", "1", "-r", "100", "-nostdin", "-timeout", "20s", "-timeout_error"),
            *("-trace_msg", "-message_file", "messages.log"),
            *("-trace_err", "-error_file", "errors.log"),
            f"{host}:{port}",
        ],
        folder=folder,
        log=folder / "sipp.log",
    )
    if await program.wait():
        log = folder / "messages.log"
        raise AssertionError(f"{shape.id}: {program.log_tail()}\n{log.read_text(errors='replace')}")


async def _sent(
    exchange: Exchange, wanted: Sequence[Shape], folder: Path
) -> dict[str, dict[str, Any]]:
    """Sends the shapes, a few at a time; the call of each in the database."""
    lanes = asyncio.Semaphore(AT_ONCE)

    async def send(shape: Shape) -> None:
        async with lanes:
            await _send(exchange.stack, shape, folder)

    await asyncio.gather(*map(send, wanted))
    ids = {shape.id for shape in wanted}

    async def recorded() -> dict[str, dict[str, Any]] | None:
        channels = {tag: channel for tag, channel in (await exchange.told()).items() if tag in ids}
        rows = {row["channel"]: row for row in await exchange.rows()}
        done = {tag: rows[channel] for tag, channel in channels.items() if channel in rows}
        return done if len(done) == len(ids) else None

    return await eventually(recorded, "an outcome for each call", every_s=0.2, timeout_s=20)


def _told(shape: Shape, row: dict[str, Any]) -> tuple[str, str, bool]:
    if (row["outcome"], row["reason"]) == ("failed", "loop"):
        client = LOOP
    else:
        client = row["client_id"] or UNKNOWN
        expected = "unknown_number" if client == UNKNOWN else "abandoned"
        assert row["outcome"] == expected, (shape.id, row)
    return client, row["caller_number"], row["caller_withheld"]


async def test_who_was_called_and_who_calls(exchange: Exchange, tmp_path: Path) -> None:
    rows = await _sent(exchange, SHAPES, tmp_path)
    found = {shape.id: _told(shape, rows[shape.id]) for shape in SHAPES}
    expected = {shape.id: (shape.client, shape.caller, not shape.caller) for shape in SHAPES}
    assert found == expected
    assert len({row["channel"] for row in rows.values()}) == len(SHAPES)


async def test_operations_learn_what_was_dialled_and_over_which_numbers(
    exchange: Exchange, tmp_path: Path
) -> None:
    wanted = [
        Shape(
            "note-unknown", "bla%22%3E%3Cb%3E", shapes.div("+4930111222", "+4930333444"), UNKNOWN
        ),
        Shape("note-loop", OWN, shapes.div(OFFICE, OWN), LOOP),
    ]
    rows = await _sent(exchange, wanted, tmp_path)

    async def mail(shape: Shape) -> Mail:
        text = f"Call no.:        {rows[shape.id]['id']}"
        return await exchange.mailbox.mails.wait(lambda m: text in m.text, shape.id, timeout_s=20)

    unknown, loop = [await mail(shape) for shape in wanted]
    assert unknown.recipients == loop.recipients == ("operations@localhost",)
    assert unknown.subject == 'Unknown number called: bla"><b>'
    assert "Forwarded by:    +49 30 111222" in unknown.text
    assert "Forwarded by:    +49 30 333444" in unknown.text
    assert "<b>" not in unknown.html
    assert loop.subject == "Call in a loop: +49 30 55502010"
    assert "Forwarded by:    +49 341 5550200" in loop.text


async def test_a_call_of_ours_that_comes_back_rings_nobody(exchange: Exchange) -> None:
    sip = exchange.stack.sip
    async with await Caller.dial(sip, Dial(OWN)) as first:
        await first.wait_status(180)
        (live,) = await exchange.stack.calls()
        ours = (("X-vsek-Call", live["id"]),)
        async with await Caller.dial(sip, Dial(OWN, caller="+4940555111", headers=ours)) as second:
            await second.wait_ended()
            assert second.statuses[-1] == 603
        assert [call["id"] for call in await exchange.stack.calls()] == [live["id"]]
        await first.hang_up()
    # Of a call that is over, or of another house, the header says nothing.
    async with await Caller.dial(sip, Dial(OWN, caller="+4940555112", headers=ours)) as third:
        await third.wait_status(180)

    async def closed() -> dict[str, str] | None:
        rows = {row["caller_number"]: row["reason"] for row in await exchange.rows()}
        return rows if "+4940555112" in rows else None

    reasons = await eventually(closed, "the last call's outcome")
    assert reasons["+4940555111"] == "loop"
    assert reasons["+4940555112"] == "caller_hangup"

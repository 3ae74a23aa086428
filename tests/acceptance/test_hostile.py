"""Text that means harm, in every place where a stranger can put one, and what becomes of it."""

from __future__ import annotations

import asyncio
import json
import re
import unicodedata
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import asyncpg
import pytest
import pytest_asyncio
from tests.acceptance.house import CEDAR, Crew, House
from tests.acceptance.rawcall import Raw, RawCaller

from vsek.demo.events import eventually
from vsek.domain.ledger import parse
from vsek.switchboard.journal import Journal

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXTS = {
    "script": b'"><script>alert(1)</script>',
    "attribute": b"' onmouseover='alert(1)",
    "line-break": b"x\r\nBcc: all@x.example",
    "bare-line-feed": b"x\nBcc: all@x.example",
    "escaped-line-break": b"x%0d%0aBcc: all@x.example",
    "long": b"long" * 1000,
    "bad-utf-8": b"M\xfcller \xff\xfe \xc0\xaf",
    "half-a-character": b"M\xc3",
    "right-to-left": "abc\u202egnp.exe\u200f\u2066x".encode(),
    "nul": b"a\x00b",
    "escaped-nul": b"a%00b",
    "terminal": b"\x1b[31mred\x1b[0m\x1b]0;title\x07\x9b2J",
    "dialplan": b"${SHELL(id)} ${EXTEN} $[1+1]",
    "dialplan-end": b"x):System(touch made)?y:1)",
    "sql": b"'; DROP TABLE vsek.calls; --",
    "path": b"../../etc/passwd",
    "backslash": b'\\\\ \\" \\',
    "quote": b'a"b',
    "separators": b"a,b|c;d&e=f(g)h{i}j",
    "arguments": b"x,did=+49301,kind=out,served=vsek",
    "log": b'{"event": "forged", "level": "error"}',
    "log-line": b'x"}\n{"event": "forged"}',
    "encoded-word": b"=?utf-8?q?=0d=0aBcc:_all@x.example?=",
    "formula": b"=HYPERLINK(1)+@SUM(1)",
    "template": b"{{ 7*7 }} {% raw %} %s %(x)s",
    "emoji": "👩\u200d👩\u200d👧 \uff46\uff55 ẅ̈̈̈̈̈̈".encode(),
}
"""What is put into names, numbers and headers."""

_TAG_NAMES = "html head meta title style body div span p a table tbody tr td th h1 h2 h3 br hr b"
_TAGS = frozenset([*_TAG_NAMES.split(" "), "strong", "ul", "li"])
_HEADERS = frozenset(
    {
        *("from", "to", "subject", "date", "message-id", "in-reply-to", "references"),
        *("mime-version", "content-type", "content-language", "auto-submitted"),
        "x-auto-response-suppress",
    }
)
_PLACES = re.compile(
    r"(up\.log|log/\w+\.log(\.\d+)?|journal/[\w.-]+|postgres/.*|run/[\w.-]+|sounds/[\w./-]+|"
    r"asterisk/(log|run|lib|ledger|spool|etc)/.*|asterisk/secrets\.json)\Z"
)


def quoted(text: bytes) -> bytes:
    """``text`` inside a quoted string, by the rules of SIP; what these forbid stays."""
    return text.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def escaped(text: bytes) -> bytes:
    """``text`` in the user part of a URI."""
    return quote_from_bytes(text, safe="").encode()


class Observer:
    """What the calls left behind."""

    def __init__(self, house: House, caller: RawCaller, connection: Any) -> None:
        self.house = house
        self.caller = caller
        self.connection = connection
        self.taken = 0
        """Calls that Asterisk took."""

    async def rows(self) -> list[dict[str, Any]]:
        """Calls that have their outcome, in their order."""
        sql = "SELECT * FROM vsek.calls WHERE outcome IS NOT NULL ORDER BY received_at, id"
        return [dict(row) for row in await self.connection.fetch(sql)]

    async def call(self, raw: Raw) -> dict[str, Any] | None:
        """Places a call; its row, ``None`` when Asterisk did not take it (malformed SIP)."""
        statuses = await self.caller.call(raw)
        if not statuses or statuses == [400] or statuses[-1] in (400, 414, 416, 420, 488, 513):
            return None
        self.taken += 1

        async def one_more() -> list[dict[str, Any]] | None:
            rows = await self.rows()
            return rows if len(rows) >= self.taken else None

        rows = await eventually(one_more, f"a record of {raw.display[:40]!r} {statuses}")
        assert len(rows) == self.taken, (raw, statuses)
        return rows[-1]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def observer(house: House) -> AsyncIterator[Observer]:
    caller = await RawCaller.open(house.stack.sip)
    connection = await asyncpg.connect(house.stack.dsn)
    try:
        yield Observer(house, caller, connection)
    finally:
        await connection.close()
        caller.close()


def clean(text: str) -> bool:
    """Whether ``text`` is one line of what is seen as what it is."""
    return not any(
        unicodedata.category(c) in ("Cc", "Cs", "Co", "Zl", "Zp") for c in text
    ) and not (
        set(text) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")
    )


def everything(row: dict[str, Any]) -> list[str]:
    """All texts of a row."""
    return [v for v in row.values() if isinstance(v, str)] + list(row["forwarded_by"])


@pytest.mark.parametrize("key", TEXTS)
async def test_a_call_with_it_has_one_clean_record(observer: Observer, key: str) -> None:
    text = TEXTS[key]
    number = CEDAR.encode()
    in_names = Raw(
        number,
        display=quoted(text),
        to=b'"' + quoted(text) + b'" <sip:' + number + b"@h>",
        headers=(
            b'Diversion: "' + quoted(text) + b'" <sip:' + escaped(text) + b"@h>;reason=x",
            b"Diversion: <sip:+4930111222@h>;reason=" + escaped(text),
            b'History-Info: "' + quoted(text) + b'" <sip:' + escaped(text) + b"@h>;index=1",
            b"X-vsek-Call: " + text.replace(b"\r", b" ").replace(b"\n", b" "),
        ),
    )
    row = await observer.call(in_names)
    if row is not None:
        assert (row["client_id"], row["did"]) == ("cedar", CEDAR)
        assert row["caller_number"] == "+4940555000"
        assert len(row["caller_name"]) <= 120
        assert all(map(clean, everything(row))), row
    in_users = Raw(escaped(text), user=escaped(text))
    row = await observer.call(in_users)
    if row is not None:
        assert (row["client_id"], row["outcome"]) == (None, "unknown_number")
        assert len(row["did"]) <= 64
        assert all(map(clean, everything(row))), row
    raw_users = Raw(text, user=text)
    row = await observer.call(raw_users)
    if row is not None:
        assert row["client_id"] is None
        assert all(map(clean, everything(row))), row


FLOODS = {
    "diversion-200": (b"Diversion: <sip:+4930111222@h>;reason=x",) * 200,
    "diversion-200-different": tuple(b"Diversion: <sip:+49301%05d@h>" % n for n in range(200)),
    "history-200": tuple(b"History-Info: <sip:+49301%05d@h>;index=%d" % (n, n) for n in range(200)),
    "one-header-60k": (b"Diversion: " + b", ".join([b"<sip:+4930111222@h>"] * 2800),),
    "one-header-8k": (b"Diversion: " + b", ".join([b"<sip:+4930111222@h>"] * 350),),
    "asserted-100": (b'P-Asserted-Identity: "x" <sip:+4930111222@h>',) * 100,
    "unknown-1000": (b"X-Unknown: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",) * 1000,
    "unbalanced": (
        b'Diversion: "((((<<<<" <sip:+4930111222@h',
        b"Privacy: ((((",
        b"History-Info: <<<",
    ),
    "empty": (b"Diversion:", b"History-Info: ", b"P-Asserted-Identity: ,,,", b"Privacy: ;;;"),
    "index": (b"History-Info: <sip:1@h>;index=" + b"1." * 500 + b"1",),
}


@pytest.mark.parametrize("key", FLOODS)
async def test_floods_of_headers(observer: Observer, key: str) -> None:
    row = await observer.call(Raw(CEDAR.encode(), display=b"flood", headers=FLOODS[key]))
    if row is not None:
        assert row["client_id"] == "cedar" or row["reason"] == "loop"
        assert len(row["forwarded_by"]) <= 16


MALFORMED = (
    b"\r\n\r\n",
    b"\x00" * 500,
    b"INVITE",
    b"INVITE sip:x SIP/2.0\r\n\r\n",
    b"INVITE sip:1@127.0.0.1 SIP/2.0\r\nVia: x\r\nFrom: x\r\nTo: x\r\nCall-ID: x\r\n\r\n",
    (
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx\r\n"
        b"From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: never\r\nCSeq: 1 INVITE\r\n\r\n"
    ),
    b"BYE sip:x@127.0.0.1 SIP/2.0\r\nContent-Length: 99999999\r\n\r\n",
    b"\xff\xfe" * 30000,
)


async def test_malformed_sip_leaves_nothing(observer: Observer) -> None:
    for data in MALFORMED:
        observer.caller.send(data)
    assert await observer.call(Raw(CEDAR.encode(), display=b"after")) is not None


async def test_an_agents_phone_shows_a_clean_name_and_the_call_is_served(
    house: House, crew: Crew, observer: Observer
) -> None:
    agent = await crew.agent()
    name = '"><script>\\ \u202eevil, (x) ${EXTEN}'
    caller = await crew.dial(CEDAR, name=name)
    ring = await crew.ring(agent, caller)
    assert ring.peer.startswith(f"sip:{caller.dialled.caller}@")
    assert ring.peer_name == "Cedar Ltd"
    (live,) = await house.stack.calls()
    assert live["caller_name"] == '"><script>\\ evil, (x) ${EXTEN}'
    await ring.answer()
    await caller.wait_answered()
    await caller.hang_up()
    (call,) = await house.wait_closed(caller)
    assert call["outcome"] == "answered"
    observer.taken += 1


# ── what is left behind; after all calls ─────────────────────────────────────────────────────


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


async def test_each_call_has_one_note_and_every_mail_is_well_formed(observer: Observer) -> None:
    mailbox = observer.house.mailbox
    rows = await observer.rows()
    assert len(rows) == observer.taken > 40

    async def all_there() -> bool | None:
        return True if len(mailbox.mails) >= len(rows) else None

    await eventually(all_there, f"{len(rows)} notes", timeout_s=60)
    seen = []
    for mail in mailbox.mails:
        data = await asyncio.to_thread(mail.file.read_bytes)
        message = message_from_bytes(data, policy=policy.default)
        assert isinstance(message, EmailMessage)
        assert {name.lower() for name in message} <= _HEADERS, message.keys()
        assert len(message.keys()) == len({name.lower() for name in message})
        assert all(not part.defects for part in message.walk())
        assert clean(str(message["subject"]))
        assert set(mail.recipients) <= {"notes@cedar.example", "operations@localhost"}
        page = _Page(mail.html)
        assert page.tags <= _TAGS, page.tags
        for name, value in page.attributes:
            assert not name.startswith("on"), (name, value)
            assert name != "href" or value.startswith(("tel:", "mailto:")), value
        assert all(map(clean, mail.text.splitlines()))
        found = re.search(r"^Not(?:e|iz) (\S+)", mail.text, re.MULTILINE)
        assert found is not None, mail.text
        seen.append(found[1])
    calls = await observer.house.calls()
    assert sorted(seen) == sorted(call["notes"][0]["note_id"] for call in calls)
    assert {len(call["notes"]) for call in calls} == {1}


async def test_log_ledger_journal_and_files(observer: Observer, tmp_path: Path) -> None:
    folder = observer.house.stack.folder

    def look() -> None:
        for name in ("serve", "notes"):
            for line in (folder / "log" / f"{name}.log").read_bytes().splitlines():
                told = json.loads(line)
                assert told["event"] != "forged"
                assert told["level"] in ("debug", "info", "warning"), line.decode()
        lines = [
            parse(text)
            for file in sorted((folder / "asterisk/ledger").iterdir())
            for text in file.read_text().splitlines()
        ]
        assert all(lines)
        for kind in ("in", "out"):
            channels = [line.channel for line in lines if line and line.kind == kind]
            assert len(channels) == len(set(channels)) == observer.taken
        for path in folder.rglob("*"):
            if not path.is_dir() and not path.is_socket():
                assert _PLACES.match(str(path.relative_to(folder))), path
        # What the switchboard would begin with if it were started now.
        copy = tmp_path / "journal"
        copy.mkdir()
        for file in (folder / "journal").iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
        state, number, entries = Journal(copy).restore(10**9)
        assert entries or state is not None
        assert number >= 0

    await asyncio.to_thread(look)


async def test_the_command_line_shows_it_harmlessly(observer: Observer) -> None:
    stack = observer.house.stack
    rows = await observer.rows()
    texts = [(await stack.cli(noun, "list")).out for noun in ("call", "note")]
    odd = [row for row in rows if row["did"] and not row["did"].startswith("+")]
    named = [row for row in rows if "script" in row["caller_name"] or "red" in row["caller_name"]]
    shown = [await stack.cli("call", "show", row["id"]) for row in [*odd[:1], *named[:1]]]
    texts += [ran.out for ran in shown]
    for text in texts:
        assert all(map(clean, text.splitlines())), text

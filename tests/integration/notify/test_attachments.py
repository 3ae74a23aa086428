"""Audio that goes along with notes: on its way, in the mailbox, and erased."""

from __future__ import annotations

import base64
import hashlib
import math
from datetime import timedelta
from email.message import EmailMessage
from typing import Any

import asyncpg
import pytest
from tests.integration.notify.bench import Bench
from tests.integration.notify.mailserver import MailServer, text_of
from tests.unit.notify.samples import call, missed, note

from vsek.domain.note import NoteRequest
from vsek.notify.database import KeyReusedError

CALL = "260722-120311-abc234"
# Not compressible and with every byte: coding faults show.
AUDIO = b"RIFF" + b"".join(hashlib.sha256(bytes([n % 256])).digest() for n in range(9000))


def voicemail(audio: bytes = AUDIO, **changes: Any) -> NoteRequest:
    """A note with the message that a caller left while vsek was away."""
    fields: dict[str, Any] = {
        "kind": "voicemail",
        "call": call(answered_at=None, outcome="voicemail", stage="fallback", reason="fallback"),
        "recordings": [
            {
                "kind": "voicemail",
                "seconds": 18.2,
                "consent": True,
                "fate": "attached",
                "attachment": f"{CALL}.wav",
            }
        ],
        "attachments": [
            {"name": f"{CALL}.wav", "content": base64.b64encode(audio).decode()},
        ],
    }
    return missed(**{**fields, **changes})


def file_of(mail: EmailMessage) -> EmailMessage:
    [part] = mail.iter_attachments()
    assert isinstance(part, EmailMessage)
    return part


async def test_the_audio_arrives_as_it_was_sent(bench: Bench, mail_server: MailServer) -> None:
    # The mailbox is full at first: the second attempt is the same message.
    mail_server.on_data = lambda _: "452 full"
    note_id = await bench.accept(voicemail())
    await bench.drain()
    mail_server.on_data = lambda _: ""
    bench.clock.forward(seconds=60)
    assert await bench.drain() == 1
    [(_, first), (_, second)] = mail_server.got
    assert first["Message-ID"] == second["Message-ID"] == f"<vsek.{note_id}@vsek.example>"
    assert first["Date"] == second["Date"]
    for mail in (first, second):
        part = file_of(mail)
        assert part.get_content_type() == "audio/wav"
        assert part.get_filename() == f"{CALL}.wav"
        assert part.get_content_disposition() == "attachment"
        assert part.get_content() == AUDIO
        assert mail["Content-Language"] == "de"
        assert "Unser System war gestört; es wurde eine Nachricht hinterlassen." in text_of(mail)
        assert "18 s, im Anhang; auf die Aufnahme wurde vorher hingewiesen" in text_of(mail)
        html = mail.get_body(("html",))
        assert html is not None
        assert "im Anhang" in html.get_content()
        assert mail["Subject"] == "Sprachnachricht: +49 30 12345678"


async def test_every_recipient_gets_it(bench: Bench, mail_server: MailServer) -> None:
    request = note(
        recordings=[{"kind": "screening", "seconds": 9, "fate": "attached", "attachment": "c.wav"}],
        attachments=[{"name": "c.wav", "content": base64.b64encode(AUDIO).decode()}],
    )
    await bench.accept(request)
    await bench.drain()
    assert [file_of(mail).get_content() for _, mail in mail_server.taken] == [AUDIO, AUDIO]


async def test_the_key_knows_the_audio_and_the_request_holds_none(
    bench: Bench, pool: asyncpg.Pool
) -> None:
    note_id = await bench.accept(voicemail(), "call:1:auto")
    assert await bench.accept(voicemail(), "call:1:auto") == note_id
    # The sender erased it meanwhile: the same note, and not another one under its key.
    bare = voicemail().without_content()
    assert await bench.accept(bare, "call:1:auto") == note_id
    with pytest.raises(KeyReusedError):
        await bench.accept(voicemail(AUDIO + b"x"), "call:1:auto")
    stored = await pool.fetchval("SELECT request::text FROM notify.notes")
    assert len(stored) < 3000
    assert hashlib.sha256(AUDIO).hexdigest() in stored
    found = await bench.database.show(note_id)
    assert found is not None
    assert found[1].attachments[0].content == ""


async def test_what_was_erased_before_it_came_is_told(
    bench: Bench, mail_server: MailServer
) -> None:
    await bench.accept(voicemail().without_content())
    await bench.drain()
    [(_, mail)] = mail_server.taken
    assert list(mail.iter_attachments()) == []
    assert "18 s, gelöscht" in text_of(mail)


async def test_erased_while_it_waits_the_mail_goes_without(
    bench: Bench, mail_server: MailServer
) -> None:
    mail_server.on_rcpt = lambda _: "450 later"
    note_id = await bench.accept(voicemail())
    await bench.drain()
    assert await bench.database.erase_attachments(note_id, bench.clock()) == 1
    assert await bench.database.erase_attachments(note_id, bench.clock()) == 0
    assert await bench.database.attached(note_id) == set()
    mail_server.on_rcpt = lambda _: ""
    bench.clock.forward(seconds=60)
    await bench.drain()
    [(_, mail)] = mail_server.taken
    assert list(mail.iter_attachments()) == []
    assert "gelöscht" in text_of(mail)


async def test_audio_goes_when_everybody_has_it_for_long_enough(
    bench: Bench, mail_server: MailServer, pool: asyncpg.Pool
) -> None:
    mail_server.on_rcpt = lambda to: "450 later" if to.startswith("oez") else ""
    audio = [{"name": "c.wav", "content": base64.b64encode(AUDIO).decode()}]
    waiting = await bench.accept(note(attachments=audio))
    done = await bench.accept(voicemail())
    await bench.drain()

    async def expire() -> int:
        now = bench.clock()
        return await bench.database.expire_attachments(now - timedelta(days=30), now)

    bench.clock.forward(days=29)
    assert await expire() == 0
    bench.clock.forward(days=2)
    assert await expire() == 1
    assert await bench.database.attached(done) == set()
    assert await bench.database.attached(waiting) == {"c.wav"}
    rows = await pool.fetch("SELECT removed_at FROM notify.attachments WHERE content IS NULL")
    assert [row["removed_at"] for row in rows] == [bench.clock()]


async def test_operations_get_the_audio_that_nobody_else_got(
    bench: Bench, mail_server: MailServer
) -> None:
    mail_server.on_rcpt = lambda to: "550 no" if to.endswith("nord.example") else ""
    await bench.accept(voicemail())
    await bench.drain()
    [(to, mail)] = mail_server.taken
    assert to == "ops@vsek.example"
    assert file_of(mail).get_content() == AUDIO
    assert "Our system was disturbed; the caller left a message." in text_of(mail)


async def test_three_megabytes_are_sent(bench: Bench, mail_server: MailServer) -> None:
    bench.smtp = bench.smtp.model_copy(update={"timeout_s": 10.0})
    bench.session = bench.new_session()
    audio = bytes(int(127 + 120 * math.sin(n / 7)) for n in range(1000)) * 3000
    await bench.accept(voicemail(audio))
    await bench.drain()
    [(_, mail)] = mail_server.taken
    assert file_of(mail).get_content() == audio

"""The whole service over HTTP, as its callers meet it."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from tests.integration.notify.mailserver import HANG, MailServer, text_of
from tests.unit.notify.samples import english, missed, note

from vsek.domain.note import auto_key
from vsek.embedded.ports import free_port
from vsek.errors import InputError, ServiceError
from vsek.notify.api import BODY_LIMIT
from vsek.notify.client import NotesClient, NotesRefusedError, NotesUnavailableError
from vsek.notify.model import DeliveryStatus, NoteInfo, NoteState
from vsek.notify.service import serve
from vsek.settings import Settings

TOKEN = "a-token-for-the-tests"


def _settings(dsn: str, mail_port: int, **changes: Any) -> dict[str, Any]:
    return {
        "database": {"dsn": dsn},
        "notes": {
            "url": f"http://127.0.0.1:{free_port()}",
            "token": TOKEN,
            "operations_email": "ops@vsek.example",
            **changes,
        },
        "smtp": {"port": mail_port, "sender": "notes@vsek.example", "timeout_s": 0.5},
    }


@pytest.fixture
async def client(dsn: str, mail_server: MailServer) -> AsyncIterator[NotesClient]:
    """A client of a running service."""
    settings = Settings(**_settings(dsn, mail_server.port))
    stop = asyncio.Event()
    task = asyncio.create_task(serve(settings, stop=stop))
    await asyncio.sleep(0)  # its first step is to listen
    async with NotesClient(settings.notes.url, TOKEN) as client:
        yield client
    stop.set()
    async with asyncio.timeout(10):
        await task


async def _settled(client: NotesClient, note_id: str) -> NoteInfo:
    async with asyncio.timeout(20):
        while True:
            found = await client.show(note_id)
            if found.state is not NoteState.QUEUED:
                return found


async def _raw(
    client: NotesClient, method: str, path: str, data: bytes | None = None, **headers: str
) -> tuple[int, Any]:
    sent = {
        "Authorization": f"Bearer {TOKEN}",
        "Idempotency-Key": "k",
        "Content-Type": "application/json",
        **headers,
    }
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method, client.url + path, data=data and io.BytesIO(data), headers=sent
        ) as response,
    ):
        return response.status, await response.json()


async def test_a_note_with_audio_travels_from_http_to_the_mailbox(
    client: NotesClient, mail_server: MailServer
) -> None:
    # Two minutes, the longest message: more than one piece of HTTP.
    audio = bytes(range(256)) * 7500
    attachment = {"name": "call.wav", "content": base64.b64encode(audio).decode()}
    taken = await client.post("k:1", missed(attachments=[attachment]))
    await _settled(client, taken.id)
    [(_, mail)] = mail_server.taken
    [part] = mail.iter_attachments()
    assert isinstance(part, EmailMessage)
    assert part.get_content() == audio
    shown = await client.show(taken.id)
    assert [(one.name, one.content) for one in shown.request.attachments] == [("call.wav", "")]
    assert (await client.erase(taken.id)).erased == 1
    assert (await client.erase(taken.id)).erased == 0
    with pytest.raises(NotesRefusedError, match="no such note"):
        await client.erase("n1")


@pytest.mark.parametrize(
    ("attachment", "complaint"),
    [
        ({"name": "../x.wav", "content": "AAAA"}, "name must have letters"),
        ({"name": "x.exe", "content": "AAAA"}, "end with .wav for audio/wav"),
        ({"name": "x.wav", "content": "?"}, "content is no base64"),
        ({"name": "x.wav"}, "content is missing"),
        ({"name": "x.wav", "content": "AAAA", "sha256": "0" * 64}, "not that of the content"),
        ({"name": "x.wav", "content": "AAAA" * 1_000_010}, "at most 3,000,000 are taken"),
        ({"name": "x.zip", "media_type": "application/zip", "content": "AAAA"}, "audio/wav"),
    ],
)
async def test_what_cannot_go_along_is_refused(
    client: NotesClient, attachment: dict[str, str], complaint: str
) -> None:
    content = missed().model_dump(mode="json") | {"attachments": [attachment]}
    status, answer = await _raw(client, "POST", "/v1/notes", json.dumps(content).encode())
    assert (status, answer["error_id"]) == (422, "input")
    assert complaint in answer["message"]


async def test_a_note_travels_from_http_to_the_mailbox(
    client: NotesClient, mail_server: MailServer
) -> None:
    taken = await client.post(auto_key("1"), note())
    assert taken.state is NoteState.QUEUED
    assert taken.call_id == "260722-120311-abc234"
    assert taken.caller == "Max Müller, Beispiel GmbH"
    await mail_server.wait_taken(2)
    settled = await _settled(client, taken.id)
    assert settled.state is NoteState.ACCEPTED
    shown = await client.show(taken.id)
    assert shown.request == note()
    assert shown.text.startswith("Heizung seit heute früh ausgefallen")
    _, mail = mail_server.taken[0]
    assert text_of(mail) == shown.text


async def test_the_same_note_twice_is_one_note(
    client: NotesClient, mail_server: MailServer
) -> None:
    answers = await asyncio.gather(*(client.post("call:1:auto", note()) for _ in range(8)))
    assert len({answer.id for answer in answers}) == 1
    await mail_server.wait_taken(2)
    await _settled(client, answers[0].id)
    again = await client.post("call:1:auto", note())
    assert again.state is NoteState.ACCEPTED
    assert len(mail_server.got) == 2
    body = note().model_dump_json().encode()
    status, _ = await _raw(client, "POST", "/v1/notes", body, **{"Idempotency-Key": "call:1:auto"})
    assert status == 200


async def test_another_note_under_the_same_key_is_refused(client: NotesClient) -> None:
    first = await client.post("call:1:auto", note())
    with pytest.raises(NotesRefusedError, match=first.id) as caught:
        await client.post("call:1:auto", note(concern="Etwas anderes"))
    assert caught.value.status == 409
    assert caught.value.error_id == "key_reused"
    assert isinstance(caught.value, InputError)


@pytest.mark.parametrize("token", ["", "wrong", "a-token-for-the-test", "ä"])
async def test_without_the_token_nothing_is_told_or_taken(client: NotesClient, token: str) -> None:
    for method, path in (
        ("POST", "/v1/notes"),
        ("GET", "/v1/notes"),
        ("GET", "/v1/notes/x"),
        ("POST", "/v1/notes/x/retry"),
    ):
        status, answer = await _raw(client, method, path, b"{}", Authorization=f"Bearer {token}")
        assert (status, answer["error_id"]) == (401, "unauthorised")
    async with NotesClient(client.url, "wrong") as other:
        # For operations to mend; the forwarder keeps the note.
        with pytest.raises(NotesUnavailableError, match="token"):
            await other.post("k", note())
    assert (await client.list()).notes == []


async def test_a_stranger_is_refused_before_anything_is_read(client: NotesClient) -> None:
    url = urlsplit(client.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    head = f"POST /v1/notes HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY_LIMIT}\r\n\r\n"
    writer.write(head.encode())
    async with asyncio.timeout(10.0):
        assert (await reader.readline()).split()[1] == b"401"
    writer.close()


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"nonsense", 400, ""),
        (b"[]", 422, ""),
        (b"{}", 422, "recipients"),
        (b'{"recipients": []}', 422, "recipients"),
        (b'{"recipients": [{"email": "a@b.c\\r\\nBcc: x@y.z"}]}', 422, "recipients.0.email"),
        (b'{"recipients": [{"email": "a@b.c"}], "extra": 1}', 422, "extra"),
        (b'{"recipients": [{"email": "\\ud800@b.c"}]}', 422, "recipients.0.email"),
        (b'{"recipients": [{"email": "a@b.c"}], "timezone": "\\ud800"}', 422, "timezone"),
        (b"\xff", 400, ""),
    ],
)
async def test_wrong_input_names_the_field(
    client: NotesClient, body: bytes, status: int, field: str
) -> None:
    found, answer = await _raw(
        client, "POST", "/v1/notes", body, **{"Content-Type": "application/json"}
    )
    assert (found, answer["field"]) == (status, field)
    assert set(answer) == {"error_id", "message", "field", "value", "remedy"}


async def test_hostile_text_is_cleaned_not_refused(
    client: NotesClient, mail_server: MailServer
) -> None:
    body = {
        "recipients": [{"name": "a\r\nBcc: x@y.z", "email": "a@b.example"}],
        "client": {"id": "n\0ord", "name": "\u202eevil\0"},
        "call": {"id": "1\0", "received_at": "2026-07-22T12:03:11Z"},
        "caller": {"name": "Evil\r\nBcc: x@y.z\0\ud800", "company": "<b>"},
        "thread": "a\0b",
    }
    status, answer = await _raw(
        client,
        "POST",
        "/v1/notes",
        json.dumps(body).encode(),
        **{"Content-Type": "application/json"},
    )
    assert status == 201, answer
    await mail_server.wait_taken(1)
    [(to, mail)] = mail_server.taken
    assert to == "a@b.example"
    assert mail["Bcc"] is None
    assert mail["Subject"] == "Anruf: Evil Bcc: x@y.z, <b>"


@pytest.mark.parametrize("key", ["", "a b", "ä", "x" * 201, "-x"])
async def test_a_key_must_be_one(client: NotesClient, key: str) -> None:
    body = note().model_dump_json().encode()
    status, answer = await _raw(client, "POST", "/v1/notes", body, **{"Idempotency-Key": key})
    assert (status, answer["field"]) == (422, "Idempotency-Key")


async def test_a_body_without_end_is_refused(client: NotesClient) -> None:
    status, answer = await _raw(client, "POST", "/v1/notes", b" " * (BODY_LIMIT + 1))
    assert (status, answer["error_id"]) == (413, "http_413")


async def test_unknown_notes_and_paths(client: NotesClient) -> None:
    for method, path in (
        ("GET", "/v1/notes/n1"),
        ("POST", "/v1/notes/n1/retry"),
        ("GET", "/v1/notes/%00"),
    ):
        status, answer = await _raw(client, method, path)
        assert (status, answer["error_id"]) == (404, "not_found")
    status, answer = await _raw(client, "GET", "/v1/nothing")
    assert (status, answer["error_id"]) == (404, "http_404")
    status, answer = await _raw(client, "GET", "/v1/notes?client=%00")
    assert (status, answer["field"]) == (422, "client")


async def test_lists_are_filtered_and_paged(client: NotesClient, mail_server: MailServer) -> None:
    mail_server.on_rcpt = lambda to: "550 no" if to == "tom@smith.example" else ""
    ids = [(await client.post(f"k:{i}", missed())).id for i in range(5)]
    bounced = (await client.post("k:en", english())).id
    await asyncio.gather(*(_settled(client, note_id) for note_id in [*ids, bounced]))

    first = await client.list(limit=4)
    rest = await client.list(before=first.next)
    assert [one.id for one in [*first.notes, *rest.notes]] == [bounced, *reversed(ids)]
    assert (await client.list(limit=6)).next is None
    assert [one.id for one in (await client.list(status="bounced")).notes] == [bounced]
    assert [one.id for one in (await client.list(client="smith")).notes] == [bounced]
    assert [one.id for one in (await client.list(key="k:2")).notes] == [ids[2]]
    assert len((await client.list(call="260722-120311-abc234")).notes) == 6
    assert (await client.list(call="other")).notes == []
    with pytest.raises(NotesRefusedError, match="status"):
        await client.list(status="lost")


async def test_a_bounced_note_is_sent_after_the_address_works(
    client: NotesClient, mail_server: MailServer
) -> None:
    mail_server.on_rcpt = lambda to: "550 5.1.1 unknown" if to.endswith("nord.example") else ""
    taken = await client.post("k", missed())
    assert (await _settled(client, taken.id)).state is NoteState.NOT_DELIVERED
    await mail_server.wait_taken(1)  # operations' copy
    mail_server.on_rcpt = lambda _: ""
    answer = await client.retry(taken.id)
    assert answer.requeued == 1
    assert (await _settled(client, taken.id)).state is NoteState.ACCEPTED
    assert [to for to, _ in mail_server.taken] == ["ops@vsek.example", "weber@nord.example"]


async def test_health_tells_of_a_mail_server_that_is_away(
    client: NotesClient, mail_server: MailServer
) -> None:
    assert (await client.health()).status == "ok"
    await mail_server.stop()
    taken = await client.post("k", missed())
    async with asyncio.timeout(10):
        health = await client.health()
        while health.status == "ok":
            health = await client.health()
    assert health.queued == 1
    assert "connecting" in health.smtp_reply
    await mail_server.start()
    assert (await _settled(client, taken.id)).state is NoteState.ACCEPTED
    assert (await client.health()).status == "ok"


async def test_the_api_describes_itself(client: NotesClient) -> None:
    status, described = await _raw(client, "GET", "/openapi.json", Authorization="")
    assert status == 200
    assert set(described["paths"]) == {
        "/v1/notes",
        "/v1/notes/{note_id}",
        "/v1/notes/{note_id}/retry",
        "/v1/notes/{note_id}/attachments",
        "/v1/health",
        "/v1/ready",
        "/v1/live",
    }
    post = described["paths"]["/v1/notes"]["post"]
    assert post["security"]
    assert {"200", "201", "400", "401", "409", "413", "422", "503"} <= set(post["responses"])
    [key] = [one for one in post["parameters"] if one["in"] == "header"]
    assert (key["name"], key["required"]) == ("Idempotency-Key", True)


async def test_without_its_database_the_service_says_so_and_starts(
    mail_server: MailServer,
) -> None:
    settings = Settings(**_settings(f"postgresql://x@127.0.0.1:{free_port()}/x", mail_server.port))
    stop = asyncio.Event()
    task = asyncio.create_task(serve(settings, stop=stop))
    await asyncio.sleep(0)  # its first step is to listen
    async with NotesClient(settings.notes.url, TOKEN) as client:
        with pytest.raises(NotesUnavailableError, match="database") as caught:
            await client.post("k", note())
    assert caught.value.error_id == "database"
    stop.set()
    async with asyncio.timeout(10):
        await task


async def test_a_database_without_tables_is_an_outage_too(
    empty_dsn: str, mail_server: MailServer
) -> None:
    settings = Settings(**_settings(empty_dsn, mail_server.port))
    stop = asyncio.Event()
    task = asyncio.create_task(serve(settings, stop=stop))
    await asyncio.sleep(0)  # its first step is to listen
    async with NotesClient(settings.notes.url, TOKEN) as client:
        with pytest.raises(NotesUnavailableError, match="database") as caught:
            await client.health()
    assert caught.value.error_id == "database"
    stop.set()
    async with asyncio.timeout(10):
        await task


async def test_it_does_not_start_without_a_token_or_on_a_taken_port(
    dsn: str, client: NotesClient
) -> None:
    with pytest.raises(InputError, match="token") as caught:
        await serve(Settings(**_settings(dsn, 25, token="")))
    assert caught.value.field == "notes.token"
    with pytest.raises(ServiceError, match="cannot listen"):
        await serve(Settings(**_settings(dsn, 25, url=client.url)))


async def test_a_client_tells_outage_from_refusal(mail_server: MailServer) -> None:
    async with NotesClient(f"http://127.0.0.1:{free_port()}", TOKEN) as nobody:
        with pytest.raises(NotesUnavailableError, match="does not answer"):
            await nobody.post("k", note())
    async with NotesClient(f"http://127.0.0.1:{mail_server.port}", TOKEN) as wrong:
        with pytest.raises(NotesUnavailableError):
            await wrong.health()


async def _start(folder: Path) -> asyncio.subprocess.Process:
    program = (
        "import asyncio, pathlib, sys; from vsek import settings; from vsek.notify import service;"
        "asyncio.run(service.serve(settings.load(pathlib.Path(sys.argv[1]))))"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-c", program, str(folder)),
        env={**os.environ, "VSEK_DIR": str(folder)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        while b"note_service_started" not in await process.stdout.readline():
            assert process.returncode is None
    return process


async def test_a_note_acknowledged_before_kill_9_is_delivered(
    dsn: str, mail_server: MailServer, tmp_path: Path
) -> None:
    mail_server.on_data = lambda _: HANG
    values = _settings(dsn, mail_server.port)
    values["smtp"]["timeout_s"] = 20
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "stack.json").write_text(json.dumps({"settings": values}))
    process = await _start(tmp_path)
    async with NotesClient(values["notes"]["url"], TOKEN) as client:
        taken = await client.post("k", missed())
        await asyncio.wait_for(mail_server.hanging.wait(), 10)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        mail_server.on_data = lambda _: ""

        process = await _start(tmp_path)
        await mail_server.wait_taken(1)
        assert (await _settled(client, taken.id)).deliveries[0].status is DeliveryStatus.ACCEPTED
    first, second = (mail for _, mail in mail_server.got)
    assert first["Message-ID"] == second["Message-ID"]
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10) == 0

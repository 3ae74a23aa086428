"""Drafts over HTTP, on real PostgreSQL: written, read, finished, corrected, by whom, refused."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from structlog.testing import capture_logs
from tests.integration.notify.mailserver import MailServer
from tests.integration.notify.test_service import TOKEN, _raw, _settings
from tests.integration.store.makers import T0, closed, opened, step

from vsek.domain.draft import DraftStage, DraftState, UnknownCallError, WriteNote
from vsek.domain.ids import AgentId, CallId, new_call_id
from vsek.drafts import DraftTable
from vsek.embedded.ports import free_port
from vsek.notify.api import BODY_LIMIT
from vsek.notify.client import NotesClient, NotesRefusedError, NotesUnavailableError
from vsek.notify.service import serve
from vsek.settings import Settings
from vsek.store import agents, records
from vsek.store.outbox import NoteOutbox, Operations
from vsek.store.pool import acquire, open_pool

if TYPE_CHECKING:
    from vsek.store.pool import Pool

_EMPTY_SQL = "TRUNCATE vsek.agents, vsek.calls CASCADE"


class Table(DraftTable):
    """The real one; ``missed`` is set when it was asked for a call that it does not know."""

    def __init__(self, connections: Pool) -> None:
        super().__init__(connections, "DE")
        self.missed = asyncio.Event()

    async def write(self, call_id: CallId, note: WriteNote) -> DraftState:
        try:
            return await super().write(call_id, note)
        except UnknownCallError:
            self.missed.set()
            raise


@asynccontextmanager
async def serving(dsn: str, mail_port: int, table: DraftTable) -> AsyncIterator[NotesClient]:
    """A client of a running service with drafts."""
    settings = Settings(**_settings(dsn, mail_port))
    stop = asyncio.Event()
    task = asyncio.create_task(serve(settings, book=table, stop=stop))
    await asyncio.sleep(0)  # its first step is to listen
    async with NotesClient(settings.notes.url, TOKEN) as client:
        yield client
    stop.set()
    async with asyncio.timeout(10):
        await task


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[Pool]:
    """Where the switchboard writes; there are two agents and no calls."""
    connections = await open_pool(dsn)
    async with acquire(connections) as connection:
        await connection.execute(_EMPTY_SQL)
        await agents.add(connection, AgentId("anna"), "Anna Schmidt")
        await agents.add(connection, AgentId("ben"), "Ben Weber")
    yield connections
    await connections.close()


@pytest.fixture
def table(store: Pool) -> Table:
    return Table(store)


@pytest.fixture
async def client(dsn: str, mail_server: MailServer, table: Table) -> AsyncIterator[NotesClient]:
    async with serving(dsn, mail_server.port, table) as client:
        yield client


async def tell(store: Pool, *told: Any) -> None:
    """What the switchboard writes about calls."""
    async with acquire(store) as connection:
        await records.apply(connection, told, 1)


async def put(client: NotesClient, call_id: str, **fields: Any) -> tuple[int, Any]:
    """Writes a draft as others do, without our client."""
    path = f"/v1/calls/{quote(call_id, safe='')}/note"
    return await _raw(client, "PUT", path, json.dumps(fields).encode())


async def test_a_draft_is_written_read_and_finished(client: NotesClient, store: Pool) -> None:
    await tell(store, opened("c1"))
    empty = await client.draft("c1")
    assert (empty.revision, empty.state, empty.draft.is_empty) == (0, DraftStage.OPEN, True)
    status, answer = await put(client, "c1", concern="Dach", fields={"Objekt": "12"})
    assert (status, answer["revision"], answer["state"]) == (200, 1, "open")
    assert answer["draft"]["fields"] == {"Objekt": "12"}
    read = await client.draft("c1")
    assert read.model_dump(mode="json") == answer
    # As a whole: what is not said again is gone.
    done = await client.write_draft("c1", {"text": "Es tropft"}, finish=True)
    assert (done.draft.concern, done.draft.text) == ("", "Es tropft")
    assert (done.finished, done.state, done.due_at) == (True, DraftStage.FINISHED, None)
    assert done.changed_at is not None
    assert abs(done.changed_at.timestamp() - time.time()) < 60
    await tell(store, closed("c1"))
    assert (await client.draft("c1")).due_at is not None


async def test_what_is_written_after_the_note_has_left_is_a_correction(
    client: NotesClient, store: Pool
) -> None:
    await tell(store, opened("c1", client_id=None), closed("c1"))
    outbox = NoteOutbox(store, Operations("ops@example.com"))
    (note,) = await outbox.claim(T0 + 200, limit=9, lease_s=60)
    assert (await client.draft("c1")).state is DraftStage.SENT
    same = await client.write_draft("c1", {}, finish=True)
    assert same.due_at is None, "nothing changed"
    state = await client.write_draft("c1", {"concern": "Dach"})
    assert (state.state, state.revision) == (DraftStage.SENT, 1)
    assert state.due_at is not None
    await outbox.acknowledged(note, "n1", T0 + 201)
    (correction,) = await outbox.claim(time.time() + 1, limit=9, lease_s=60)
    assert correction.request is not None
    assert (correction.key, correction.request.concern) == ("call:c1:auto:1", "Dach")


async def test_a_call_whose_row_is_on_its_way_is_waited_for(
    client: NotesClient, store: Pool, table: Table
) -> None:
    call_id = new_call_id(time.time())
    writing = asyncio.create_task(client.write_draft(call_id, {"concern": "Dach"}))
    await asyncio.wait_for(table.missed.wait(), 10)
    assert not writing.done()
    await tell(store, opened(call_id))
    assert (await writing).draft.concern == "Dach"


@pytest.mark.parametrize(
    "call_id",
    ["c9", "\0", "c1\0x", "'; DROP TABLE vsek.calls; --", "%2e%2e", "\u202e", "ü" * 300, "<b>"],
)
async def test_calls_that_nobody_knows(client: NotesClient, store: Pool, call_id: str) -> None:
    await tell(store, opened("c1"))
    with pytest.raises(NotesRefusedError, match="There is no call") as refused:
        await client.draft(call_id)
    assert (refused.value.status, refused.value.error_id) == (404, "unknown_call")
    assert refused.value.field == "call"
    assert "vsek call list" in refused.value.remedy
    status, answer = await put(client, call_id, concern="x")
    assert (status, answer["error_id"]) == (404, "unknown_call")
    assert set(answer) == {"error_id", "message", "field", "value", "remedy"}
    assert all(letter.isprintable() for letter in answer["value"] + answer["message"])


async def test_an_old_call_that_nobody_knows_is_not_waited_for(
    client: NotesClient, table: Table
) -> None:
    status, _ = await put(client, new_call_id(time.time() - 86_400), concern="x")
    assert status == 404
    assert table.missed.is_set()


async def test_hostile_text_is_cleaned(client: NotesClient, store: Pool) -> None:
    await tell(store, opened("c1"))
    status, answer = await put(
        client,
        "c1\0",  # cleaned as wherever an id comes in
        concern="a\r\nBcc: x@y.z\0\ud800",
        text="'); DROP TABLE vsek.calls; --\0\u202e",
        caller_phone="0\0171 1234567",
        fields={"O\0bjekt\u202e": "\ud800<b>"},
        author="Eva\r\n\0",
    )
    assert status == 200, answer
    assert answer["call_id"] == "c1"
    assert answer["draft"]["concern"] == "a Bcc: x@y.z"
    assert answer["draft"]["text"] == "'); DROP TABLE vsek.calls; --"
    assert answer["draft"]["fields"] == {"Objekt": "<b>"}
    assert answer["author"] == "Eva"
    assert (await client.draft("c1")).model_dump(mode="json") == answer


async def test_who_wrote_it(client: NotesClient, store: Pool) -> None:
    talks = step("live", 1, kind="agent_answered", detail={"agent": "ben", "waited_s": "1"})
    await tell(store, opened("live"), talks, opened("over"), closed("over"), opened("named"))
    assert (await client.write_draft("live", {"text": "x"})).author == "Ben Weber"
    assert (await client.write_draft("over", {"text": "x"})).author == "Anna Schmidt"
    assert (await client.write_draft("named", {"text": "x"}, author="Eva")).author == "Eva"
    await tell(store, step("named", 1, kind="connected", detail={"agent": "ben"}))
    # Who says nothing is who has the call; and who has written it when the call is over.
    assert (await client.write_draft("named", {"text": "y"})).author == "Ben Weber"
    assert (await client.write_draft("named", {"text": "y"}, author="Eva")).author == "Eva"
    await tell(store, closed("named"))
    assert (await client.write_draft("named", {"text": "z"})).author == "Eva"


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"nonsense", 400, ""),
        (b"\xff", 400, ""),
        (b"[1]", 422, ""),
        (b"", 422, ""),
        (b'{"urgency": "very"}', 422, "urgency"),
        (b'{"finish": "perhaps"}', 422, "finish"),
        (b'{"kind": "message"}', 422, "kind"),
        (b'{"fields": {"a": 1}}', 422, "fields.a"),
        (b'{"text": null}', 422, "text"),
    ],
)
async def test_wrong_input_names_the_field(
    client: NotesClient, store: Pool, body: bytes, status: int, field: str
) -> None:
    await tell(store, opened("c1"))
    found, answer = await _raw(client, "PUT", "/v1/calls/c1/note", body)
    assert (found, answer["field"]) == (status, field)
    assert set(answer) == {"error_id", "message", "field", "value", "remedy"}
    assert (await client.draft("c1")).revision == 0


@pytest.mark.parametrize("token", ["", "wrong", f"{TOKEN}x", "ä"])
async def test_without_the_token_nothing_is_told_or_written(
    client: NotesClient, store: Pool, token: str
) -> None:
    await tell(store, opened("c1"))
    for method in ("GET", "PUT"):
        status, answer = await _raw(
            client, method, "/v1/calls/c1/note", b"{}", Authorization=f"Bearer {token}"
        )
        assert (status, answer["error_id"]) == (401, "unauthorised")
    assert (await client.draft("c1")).revision == 0


async def test_a_body_without_end_is_refused(client: NotesClient) -> None:
    status, answer = await _raw(client, "PUT", "/v1/calls/c1/note", b" " * (BODY_LIMIT + 1))
    assert (status, answer["error_id"]) == (413, "http_413")


async def test_a_database_that_is_away_is_told_with_the_call(
    dsn: str, mail_server: MailServer
) -> None:
    away = await open_pool(f"postgresql://x@127.0.0.1:{free_port()}/x")
    async with serving(dsn, mail_server.port, DraftTable(away, "DE")) as client:
        with capture_logs() as logs:
            with pytest.raises(NotesUnavailableError) as fault:
                await client.write_draft("c1\n", {"text": "x"})
            with pytest.raises(NotesUnavailableError, match="does not serve"):
                await client.draft("c1")
        status, answer = await put(client, "c1", text="x")
    await away.close()
    assert (fault.value.error_id, status, answer["error_id"]) == ("database", 503, "database")
    assert "vsek doctor" in answer["remedy"]
    told = [line for line in logs if line["event"] == "not_served"]
    assert [line["call_id"] for line in told] == ["c1", "c1"]


async def test_the_api_describes_them(client: NotesClient) -> None:
    _, described = await _raw(client, "GET", "/openapi.json", Authorization="")
    path = described["paths"]["/v1/calls/{call_id}/note"]
    assert {"200", "401", "404", "422", "503"} <= set(path["get"]["responses"])
    assert {"200", "400", "401", "404", "413", "422", "503"} <= set(path["put"]["responses"])
    assert path["get"]["security"]
    assert path["put"]["security"]
    answer = path["put"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer == {"$ref": "#/components/schemas/DraftState"}
    fields = set(described["components"]["schemas"]["WriteNote"]["properties"])
    assert {"concern", "text", "fields", "finish", "author"} <= fields

"""Drafts and due notes: who leaves when, frozen requests, corrections, claims, the forwarder."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

import pytest
from tests.integration.store.makers import (
    T0,
    FakeSounds,
    client,
    closed,
    file_of,
    moved,
    opened,
    step,
)

from vsek.domain.draft import DraftStage
from vsek.domain.ids import CallId
from vsek.domain.note import Action, NoteDraft, NoteKind, NoteRequest
from vsek.domain.outcomes import Outcome, Stage
from vsek.domain.records import RecordingMade
from vsek.errors import InputError, ServiceError
from vsek.notify.forwarder import NoteForwarder
from vsek.store import agents, calls, clients, recordings, records, requests
from vsek.store import outbox as outbox_module
from vsek.store.notes import show_draft, write_draft
from vsek.store.outbox import NoteOutbox, Operations
from vsek.store.pool import acquire, timestamp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from vsek.domain.note import DueNote
    from vsek.store.pool import Connection, Pool, Row

DRAFT = NoteDraft(caller_name="Karl", concern="Angebot", action=Action.CALL_BACK)


@pytest.fixture
async def outbox(pool: Pool) -> AsyncIterator[NoteOutbox]:
    box = NoteOutbox(pool, Operations("ops@example.com"))
    yield box
    await box.close()


@pytest.fixture
async def known(conn: Connection, tmp_path: Path) -> None:
    """A client with three contacts, and an agent."""
    contacts = [
        {"name": "Eva Sommer", "email": "eva@example.com", "notes": True},
        {"name": "Büro", "email": "Eva@example.com", "notes": True},
        {"name": "Uwe Winter", "email": "uwe@example.com"},
    ]
    file = file_of(client(contacts=contacts))
    await clients.import_clients(conn, file, FakeSounds(), base=tmp_path)
    await agents.add(conn, "anna", "Anna Schmidt")


async def claim(outbox: NoteOutbox, now: float, lease_s: float = 60.0) -> list[DueNote]:
    return await outbox.claim(now, limit=10, lease_s=lease_s)


async def request_at(outbox: NoteOutbox, now: float) -> NoteRequest:
    (note,) = await claim(outbox, now)
    assert note.request is not None, note.error
    return note.request


# ── when a note leaves ───────────────────────────────────────────────────────────────────────


async def test_an_open_note_leaves_at_its_time_as_incomplete(
    conn: Connection, outbox: NoteOutbox, known: None
) -> None:
    await records.apply(conn, [opened(), closed()], 1)
    assert await outbox.next_due() == T0 + 200
    assert await claim(outbox, T0 + 199.9) == []
    request = await request_at(outbox, T0 + 200)
    assert request.incomplete
    assert request.kind is NoteKind.MESSAGE
    assert request.taken_by == "Anna Schmidt"
    assert [one.email for one in request.recipients] == ["eva@example.com"]
    assert request.call is not None
    assert request.call.talked_s == 50
    assert request.language == "de"
    assert (await show_draft(conn, "c1")).state is DraftStage.SENT


async def test_a_note_finished_while_the_call_goes_on_leaves_at_its_end(
    conn: Connection, outbox: NoteOutbox, known: None
) -> None:
    await records.apply(conn, [opened()], 1)
    state = await write_draft(conn, "c1", DRAFT, finish=True, author="anna", now=T0 + 30)
    assert (state.state, state.revision, state.due_at) == (DraftStage.FINISHED, 1, None)
    assert await claim(outbox, T0 + 1e6) == []
    await records.apply(conn, [closed(), moved("c1", T0 + 500)], 2)
    assert await outbox.next_due() == T0 + 60
    request = await request_at(outbox, T0 + 60)
    assert not request.incomplete
    assert request.caller.name == "Karl"


async def test_finishing_after_the_call_lets_it_leave_at_once(
    conn: Connection, outbox: NoteOutbox, known: None
) -> None:
    await records.apply(conn, [opened(), closed()], 1)
    await write_draft(conn, "c1", DRAFT, finish=False, now=T0 + 70)
    assert await outbox.next_due() == T0 + 200
    state = await write_draft(conn, "c1", DRAFT, finish=True, now=T0 + 80)
    assert state.revision == 1, "nothing was changed by finishing"
    assert state.due_at is not None
    assert state.due_at.timestamp() == T0 + 80
    later = await write_draft(conn, "c1", DRAFT, finish=False, now=T0 + 85)
    assert later.finished, "a finished note stays finished"
    assert not (await request_at(outbox, T0 + 90)).incomplete


async def test_a_late_edit_becomes_a_correction_after_the_original(
    conn: Connection, outbox: NoteOutbox, known: None
) -> None:
    await records.apply(conn, [opened(), closed()], 1)
    (first,) = await claim(outbox, T0 + 200, lease_s=10)
    same = await write_draft(conn, "c1", NoteDraft(), finish=True, now=T0 + 201)
    assert same.due_at is None, "nothing changed: nothing to correct"
    state = await write_draft(conn, "c1", DRAFT, finish=True, now=T0 + 202)
    assert state.state is DraftStage.SENT
    assert state.due_at is not None
    more = DRAFT.model_copy(update={"text": "Noch etwas"})
    await write_draft(conn, "c1", more, finish=True, now=T0 + 203)

    assert await claim(outbox, T0 + 205) == [], "the original is not acknowledged yet"
    (again,) = await claim(outbox, T0 + 211)
    assert (again.key, again.attempts) == ("call:c1:auto", 2)
    assert again.request == first.request, "frozen, whatever was edited since"
    await outbox.acknowledged(again, "n1", T0 + 212)

    (correction,) = await claim(outbox, T0 + 213)
    assert correction.key == "call:c1:auto:1"
    assert correction.request is not None
    assert correction.request.corrects == "call:c1:auto"
    assert correction.request.text == "Noch etwas", "edits before it left go into one correction"
    await outbox.acknowledged(correction, "n2", T0 + 214)
    await write_draft(conn, "c1", DRAFT, finish=True, now=T0 + 300)
    third = await request_at(outbox, T0 + 300)
    assert third.corrects == "call:c1:auto:1"
    view = await calls.show(conn, "c1")
    assert [(note.key, note.note_id, note.revision) for note in view.notes] == [
        ("call:c1:auto", "n1", 0),
        ("call:c1:auto:1", "n2", 2),
        ("call:c1:auto:3", None, 3),
    ]


async def test_unknown_call(conn: Connection) -> None:
    with pytest.raises(InputError) as caught:
        await write_draft(conn, "nope\x00", DRAFT, finish=True)
    assert caught.value.error_id == "unknown_call"
    with pytest.raises(InputError, match="no call 'nope'"):
        await show_draft(conn, "nope")


# ── who wrote it ─────────────────────────────────────────────────────────────────────────────


async def _author(conn: Connection, call_id: str, author: str = "") -> str:
    return (await write_draft(conn, call_id, DRAFT, finish=False, author=author)).author


async def test_a_draft_is_by_the_agent_who_talks(conn: Connection, known: None) -> None:
    await agents.add(conn, "ben", "Ben Weber")
    await records.apply(conn, [opened(), step(number=1, kind="arrived", detail={})], 1)
    assert await _author(conn, "c1") == "", "nobody has answered"
    answered = [
        step(number=2, kind="agent_answered", detail={"agent": "anna", "waited_s": "1.0"}),
        step(number=3, kind="connected", detail={"agent": "anna"}),
        step(number=4, kind="offered", detail={"agent": "ben"}),
        step(number=5, kind="agent_answered", detail={}),
    ]
    await records.apply(conn, answered, 2)
    assert await _author(conn, "c1") == "Anna Schmidt"
    by_ben = step(number=6, kind="agent_answered", detail={"agent": "ben"})
    await records.apply(conn, [by_ben], 3)
    assert await _author(conn, "c1") == "Ben Weber", "Anna was lost, and he has the call now"
    await records.apply(conn, [closed()], 4)
    assert await _author(conn, "c1") == "Ben Weber", "who wrote it is kept, whoever is told of last"
    await records.apply(conn, [opened("c2"), step("c2", 1, kind="connected")], 5)
    stranger = step("c2", 2, kind="connected", detail={"agent": "gone'; --"})
    await records.apply(conn, [stranger], 6)
    assert await _author(conn, "c2") == "", "an agent whom nobody knows has no name"


async def test_a_draft_of_a_call_that_is_over_is_by_its_agent(
    conn: Connection, known: None
) -> None:
    await agents.add(conn, "ben", "Ben Weber")
    by_ben = step(kind="connected", detail={"agent": "ben"})
    await records.apply(conn, [opened(), by_ben, closed()], 1)
    assert await _author(conn, "c1") == "Anna Schmidt"
    lost = closed("c2", outcome=Outcome.ABANDONED, agent_id=None, answered_at=None)
    await records.apply(conn, [opened("c2"), step("c2", kind="x"), lost], 2)
    assert await _author(conn, "c2") == ""


async def test_an_author_who_is_named_counts(conn: Connection, known: None) -> None:
    await records.apply(conn, [opened(), closed()], 1)
    assert await _author(conn, "c1", "Eva") == "Eva"
    assert await _author(conn, "c1") == "Eva"
    assert await _author(conn, "c1", "Uwe\r\n\0") == "Uwe"


# ── what a note says ─────────────────────────────────────────────────────────────────────────


async def test_missed_call(conn: Connection, outbox: NoteOutbox, known: None) -> None:
    end = closed(outcome=Outcome.ABANDONED, stage=Stage.GREETING, agent_id=None, answered_at=None)
    await records.apply(conn, [opened(), end], 1)
    request = await request_at(outbox, T0 + 200)
    assert request.kind is NoteKind.MISSED_CALL
    assert not request.incomplete
    assert request.taken_by == ""
    assert request.caller.name == "Karl Anrufer"


async def test_unknown_number_goes_to_operations(conn: Connection, outbox: NoteOutbox) -> None:
    end = closed(outcome=Outcome.UNKNOWN_NUMBER, agent_id=None, answered_at=None)
    await records.apply(conn, [opened(client_id=None), end], 1)
    request = await request_at(outbox, T0 + 200)
    assert request.kind is NoteKind.OPERATIONS
    assert request.client is None
    assert request.language == "en"
    assert [one.email for one in request.recipients] == ["ops@example.com"]


async def test_a_client_that_is_gone_or_unreadable_goes_to_operations(
    conn: Connection, outbox: NoteOutbox, known: None
) -> None:
    await conn.execute("UPDATE vsek.clients SET account = '{}'")
    await records.apply(conn, [opened(), closed()], 1)
    await records.apply(conn, [opened("c2", client_id="gone"), closed("c2")], 2)
    for note in await claim(outbox, T0 + 200):
        assert note.request is not None
        assert [one.email for one in note.request.recipients] == ["ops@example.com"]
        assert note.request.client is not None


async def test_the_contact_for_whom_it_is_gets_it_too(
    conn: Connection, outbox: NoteOutbox, known: None
) -> None:
    await records.apply(conn, [opened(), closed()], 1)
    draft = NoteDraft(for_contact="uwe winter")
    await write_draft(conn, "c1", draft, finish=True, now=T0 + 61)
    request = await request_at(outbox, T0 + 61)
    assert [one.email for one in request.recipients] == ["eva@example.com", "uwe@example.com"]


async def test_earlier_calls_of_the_same_person(
    conn: Connection, outbox: NoteOutbox, known: None
) -> None:
    hidden = {"caller_number": "", "caller_withheld": True}
    story = [
        opened("a", received_at=T0 - 30),
        opened("b", received_at=T0 - 20, **hidden),
        opened("c", received_at=T0 - 10, client_id="other"),
        opened("d", received_at=T0, **hidden),
    ]
    await records.apply(conn, story, 1)
    dictated = NoteDraft(caller_phone="0170 1234567")
    await write_draft(conn, "b", dictated, finish=False)
    await write_draft(conn, "d", dictated, finish=False)
    await records.apply(conn, [closed("d")], 2)
    request = await request_at(outbox, T0 + 200)
    assert request.previous_calls == 2
    assert request.thread == "sommer/+491701234567"
    assert request.caller.number_dictated == "+491701234567"
    assert request.caller.withheld

    await records.apply(conn, [opened("e", **hidden), closed("e")], 3)
    nobody = await request_at(outbox, T0 + 200)
    assert (nobody.previous_calls, nobody.thread) == (0, "")


# ── claims ───────────────────────────────────────────────────────────────────────────────────


async def test_what_was_written_while_the_note_is_built_goes_along(
    pool: Pool,
    conn: Connection,
    outbox: NoteOutbox,
    known: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await records.apply(conn, [opened(), closed(), opened("c2"), closed("c2")], 1)
    read = requests.told

    async def read_and_overtaken(reader: Connection, ids: list[str]) -> dict[str, Row]:
        monkeypatch.setattr(requests, "told", read)
        found = await read(reader, ids)
        await write_draft(conn, "c1", DRAFT, finish=True, now=T0 + 199)
        return found

    monkeypatch.setattr(requests, "told", read_and_overtaken)
    notes = {note.call_id: note.request for note in await claim(outbox, T0 + 200)}
    assert set(notes) == {"c1", "c2"}
    assert notes["c1"] is not None
    assert notes["c1"].concern == DRAFT.concern
    assert not notes["c1"].incomplete
    assert notes["c2"] is not None
    assert notes["c2"].incomplete
    assert await claim(outbox, T0 + 201) == [], "nothing is left to correct"


async def test_a_recording_announced_while_the_note_is_built_is_waited_for(
    conn: Connection, outbox: NoteOutbox, known: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    await records.apply(conn, [opened(), closed()], 1)
    read = requests.told

    async def read_and_overtaken(reader: Connection, ids: list[str]) -> dict[str, Row]:
        monkeypatch.setattr(requests, "told", read)
        found = await read(reader, ids)
        made = RecordingMade(CallId("c1"), T0 + 5, "voicemail", "vsek/c1", consent=True)
        await records.apply(conn, [made], 2)
        return found

    monkeypatch.setattr(requests, "told", read_and_overtaken)
    now = time.time()
    assert await claim(outbox, now) == []
    (note,) = await claim(outbox, now + recordings.WAIT_S + 1)
    assert note.request is not None
    assert len(note.request.recordings) == 1


async def test_two_forwarders_never_get_the_same_note(pool: Pool, known: None) -> None:
    story = [record for n in range(30) for record in (opened(f"c{n}"), closed(f"c{n}"))]
    async with acquire(pool) as conn:
        await records.apply(conn, story, 1)
    boxes = [NoteOutbox(pool, Operations("ops@example.com")) for _ in range(3)]
    taken = await asyncio.gather(
        *(box.claim(T0 + 300, limit=4, lease_s=60) for box in boxes for _ in range(4))
    )
    keys = [note.key for batch in taken for note in batch]
    assert len(keys) == len(set(keys))
    assert len(keys) >= 30 - 4


async def test_a_lease_ends_and_a_failure_sets_the_next_time(
    conn: Connection, outbox: NoteOutbox, known: None
) -> None:
    await records.apply(conn, [opened(), closed()], 1)
    (note,) = await claim(outbox, T0 + 200, lease_s=60)
    assert await outbox.next_due() == T0 + 260
    await outbox.failed(note, "away", T0 + 230, rebuild=False)
    assert await outbox.next_due() == T0 + 230
    assert (await calls.show(conn, "c1")).notes[0].last_error == "away"
    (again,) = await claim(outbox, T0 + 230)
    assert again.request == note.request
    await outbox.acknowledged(again, "n1", T0 + 231)
    assert await outbox.next_due() is None
    await outbox.failed(again, "too late", T0 + 500, rebuild=True)
    assert await outbox.next_due() is None, "what is acknowledged stays acknowledged"


async def test_a_refused_note_is_built_anew(
    conn: Connection, outbox: NoteOutbox, known: None, tmp_path: Path
) -> None:
    await records.apply(conn, [opened(), closed()], 1)
    (note,) = await claim(outbox, T0 + 200)
    await outbox.failed(note, "bad address", T0 + 210, rebuild=True)
    mended = client(contacts=[{"name": "Neu", "email": "neu@example.com", "notes": True}])
    await clients.import_clients(conn, file_of(mended), FakeSounds(), base=tmp_path)
    request = await request_at(outbox, T0 + 210)
    assert [one.email for one in request.recipients] == ["neu@example.com"]


async def test_hot_queries_use_their_index(conn: Connection) -> None:
    await conn.execute("""
        INSERT INTO vsek.calls SELECT 'x' || n, NULL, now(), '', '', false, '', '{}', '', '', ''
        FROM generate_series(1, 5000) n
    """)
    await conn.execute("""
        INSERT INTO vsek.note_due (key, call_id, due_at, acked_at, note_id)
        SELECT 'k' || n, 'x' || n, now(), now(), 'n' FROM generate_series(1, 5000) n
    """)
    await conn.execute("ANALYZE vsek.note_due")
    moment = timestamp(T0)
    for query, values in (
        (outbox_module._NEXT_SQL, ()),
        (outbox_module._CLAIM_SQL, (moment, moment, 8)),
    ):
        plan = str(await conn.fetch("EXPLAIN " + query, *values))
        assert "note_due_open" in plan
        assert "Seq Scan on note_due" not in plan


async def test_everything_at_once(pool: Pool, known: None) -> None:
    """Calls end while agents write, finish and correct, and two forwarders carry notes away: no
    deadlock, each note once, and the last word always arrives."""
    chance = random.Random(3)
    total, edits = 12, 4
    sent: dict[str, NoteRequest] = {}
    everybody_done = asyncio.Event()
    clock = T0 + 1000

    async def pause() -> None:
        for _ in range(chance.randint(0, 20)):
            await asyncio.sleep(0)

    async def agent(call_id: str) -> None:
        for edit in range(edits):
            await pause()
            async with acquire(pool) as conn:
                draft = NoteDraft(text=f"{edit}")
                await write_draft(conn, call_id, draft, finish=edit > 1, now=T0 + 100)

    async def switchboard(call_id: str) -> None:
        await pause()
        async with acquire(pool) as conn:
            await records.apply(conn, [closed(call_id), moved(call_id, T0 + 150)], 1)

    async def forwarder() -> None:
        box = NoteOutbox(pool, Operations("ops@example.com"))
        while True:
            last_round = everybody_done.is_set()
            notes = await box.claim(clock, limit=3, lease_s=60)
            for note in notes:
                assert note.request is not None
                assert note.key not in sent
                sent[note.key] = note.request
                await pause()
                await box.acknowledged(note, "id", clock)
            if last_round and not notes:
                return

    async def people() -> None:
        ids = [f"c{n}" for n in range(total)]
        async with acquire(pool) as conn:
            await records.apply(conn, [opened(call_id) for call_id in ids], 1)
        work = [one(call_id) for call_id in ids for one in (agent, switchboard)]
        await asyncio.gather(*work)
        everybody_done.set()

    async with asyncio.timeout(60):
        await asyncio.gather(people(), forwarder(), forwarder())
    for n in range(total):
        async with acquire(pool) as conn:
            view = await calls.show(conn, f"c{n}")
        assert all(note.acked_at for note in view.notes)
        assert sent[view.notes[-1].key].text == f"{edits - 1}"
        chain = [note.corrects for note in view.notes]
        assert chain == [None, *(note.key for note in view.notes[:-1])]


# ── the forwarder ────────────────────────────────────────────────────────────────────────────


class Taken:
    def __init__(self, key: str) -> None:
        self.id = f"id-of-{key}"


class FakeService:
    """Takes notes, or fails as told."""

    def __init__(self) -> None:
        self.taken: dict[str, NoteRequest] = {}
        self.trouble: list[Exception] = []
        self.arrived = asyncio.Event()
        self.closed = False

    async def post(self, key: str, request: NoteRequest) -> Taken:
        if self.trouble:
            raise self.trouble.pop(0)
        self.taken[key] = request
        self.arrived.set()
        return Taken(key)

    async def close(self) -> None:
        self.closed = True


async def test_the_forwarder_hears_of_a_finished_note_at_once(
    pool: Pool, conn: Connection, outbox: NoteOutbox, known: None
) -> None:
    service = FakeService()
    # The database's times are compared with this clock: long before the note leaves by itself.
    forwarder = NoteForwarder(outbox, service, clock=lambda: T0 + 100)
    task = asyncio.create_task(forwarder.run())
    await records.apply(conn, [opened(), closed()], 1)
    await write_draft(conn, "c1", DRAFT, finish=True, now=T0 + 99)
    async with asyncio.timeout(5):
        await service.arrived.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert list(service.taken) == ["call:c1:auto"]
    assert service.closed


async def test_the_forwarder_listens_again_after_its_connection_was_cut(
    pool: Pool, conn: Connection, outbox: NoteOutbox, known: None
) -> None:
    service = FakeService()
    forwarder = NoteForwarder(outbox, service, clock=lambda: T0 + 100)
    await records.apply(conn, [opened("c0"), closed("c0", note_due_at=T0)], 1)
    task = asyncio.create_task(forwarder.run())
    async with asyncio.timeout(5):
        await service.arrived.wait()
    service.arrived.clear()
    await conn.execute("""
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE pid <> pg_backend_pid() AND datname = current_database()
    """)
    await records.apply(conn, [opened("c1"), closed("c1", note_due_at=T0)], 2)
    async with asyncio.timeout(10):
        await service.arrived.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert "call:c1:auto" in service.taken


async def test_what_fails_comes_back(conn: Connection, outbox: NoteOutbox, known: None) -> None:
    service = FakeService()
    now = T0 + 200
    forwarder = NoteForwarder(outbox, service, clock=lambda: now)
    await records.apply(conn, [opened(), closed()], 1)
    service.trouble = [ServiceError("away"), OSError("cut"), InputError("wrong address")]
    assert not await forwarder.forward_due()
    now += 1
    assert not await forwarder.forward_due()
    now += 1
    assert await forwarder.forward_due(), "two seconds to wait: nothing is due"
    assert len(service.trouble) == 1
    now += 1
    assert await forwarder.forward_due(), "a refusal is no reason to hold up other notes"
    assert (await calls.show(conn, "c1")).notes[0].last_error == "wrong address"
    now += 300
    assert await forwarder.forward_due()
    assert list(service.taken) == ["call:c1:auto"]
    note = (await calls.show(conn, "c1")).notes[0]
    assert (note.note_id, note.attempts, note.last_error) == ("id-of-call:c1:auto", 4, "")

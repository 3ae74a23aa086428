"""Recordings: announced, fetched or lost, sent with the note, corrected, erased."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.store.makers import T0, FakeSounds, client, closed, file_of, opened, step

from vsek.domain.ids import CallId
from vsek.domain.note import (
    MAX_ATTACHED_BYTES,
    Action,
    NoteDraft,
    NoteKind,
    NoteRequest,
    RecordingFate,
)
from vsek.domain.outcomes import FALLBACK, PROMISED, Finding, Outcome, Stage
from vsek.domain.records import NOTHING_SAID, CallClosed, RecordingMade
from vsek.errors import InputError
from vsek.store import calls, clients, recordings, records
from vsek.store.notes import write_draft
from vsek.store.outbox import NoteOutbox, Operations
from vsek.store.pool import acquire, timestamp
from vsek.store.recordings import Owed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from vsek.store.pool import Connection, Pool

WAV = b"RIFF" + bytes(range(256)) * 100
NAME = "vsek/c1-1"
OVER = T0 + 60
"""When the call of these tests is over and its note is due."""


@pytest.fixture
async def outbox(pool: Pool) -> AsyncIterator[NoteOutbox]:
    box = NoteOutbox(pool, Operations("ops@example.com"))
    yield box
    await box.close()


@pytest.fixture
async def known(conn: Connection, tmp_path: Path) -> None:
    """A client whose recordings go out with the notes, and one whose do not."""
    asked = {"policy": "screen", "greeting": "Guten Tag."}
    sends = client("sommer", **asked, screening={"attach": True})
    keeps = client("winter", **asked, numbers={"did": ["+49 30 7654321"]})
    await clients.import_clients(conn, file_of(sends, keeps), FakeSounds(), base=tmp_path)


def made(kind: str = "screening", name: str = NAME, call_id: str = "c1") -> RecordingMade:
    return RecordingMade(CallId(call_id), OVER, kind, name, consent=True)


def lost_call(**changes: Any) -> CallClosed:
    """The end of a call that nobody talked with."""
    fields = {
        "outcome": Outcome.ABANDONED,
        "stage": Stage.WAITING,
        "agent_id": None,
        "answered_at": None,
        "note_due_at": OVER,
    }
    return closed(**{**fields, **changes})


def voicemail() -> CallClosed:
    return lost_call(outcome=Outcome.VOICEMAIL, stage=Stage.FALLBACK, reason=FALLBACK)


SCREENED = [
    step("c1", 1, kind="screening", detail={"attempt": "1"}),
    step("c1", 2, kind="recording", detail={"name": NAME}),
    step("c1", 3, kind="key", detail={"key": "2", "choice": "Reparatur"}),
    step("c1", 4, kind="consent", detail={"recording": NAME, "spoken_s": "6.2"}),
    step(
        "c1",
        5,
        kind="screened",
        detail={"finding": "speech", "spoken_s": "6.2", "key": "2", "choice": "Reparatur"},
    ),
]


async def announced_at(conn: Connection, seconds: float) -> None:
    """Let the recordings have been announced then, by the tests' clock."""
    await conn.execute("UPDATE vsek.recordings SET announced_at = $1", timestamp(seconds))


async def leaving(outbox: NoteOutbox, now: float) -> NoteRequest | None:
    notes = await outbox.claim(now, limit=10, lease_s=60)
    if not notes:
        return None
    (note,) = notes
    assert note.request is not None, note.error
    await outbox.acknowledged(note, f"n-{note.id}", now)
    return note.request


# ── the note and its recording ───────────────────────────────────────────────────────────────


async def test_a_note_waits_for_its_recording_and_carries_it(
    conn: Connection, outbox: NoteOutbox, known: None
) -> None:
    await records.apply(conn, [opened(), *SCREENED, made(), lost_call()], 1)
    await announced_at(conn, OVER)
    assert await recordings.owed(conn) == [Owed("c1", NAME)]
    assert await leaving(outbox, OVER) is None
    assert await outbox.next_due() == OVER + recordings.WAIT_S

    assert await recordings.keep(conn, "c1", NAME, WAV, 7.5, now=OVER + 3)
    assert await recordings.owed(conn) == []
    assert await outbox.next_due() == OVER
    request = await leaving(outbox, OVER + 3)
    assert request is not None
    [told] = request.recordings
    assert (told.kind, told.seconds, told.consent, told.fate) == (
        "screening",
        7.5,
        True,
        RecordingFate.ATTACHED,
    )
    [audio] = request.attachments
    assert (audio.name, audio.media_type, audio.data) == ("c1.wav", "audio/wav", WAV)
    assert told.attachment == audio.name
    assert request.screening is not None
    assert request.screening.finding is Finding.SPEECH
    assert (request.screening.key, request.screening.choice) == ("2", "Reparatur")
    assert request.screening.spoken_s == 6.2
    # Waiting was no attempt, and the audio is nowhere twice.
    row = await conn.fetchrow("SELECT attempts, request::text AS request FROM vsek.note_due")
    assert row is not None
    assert row["attempts"] == 1
    assert len(row["request"]) < 4000


async def test_a_repetition_is_the_same_with_the_audio(
    conn: Connection, outbox: NoteOutbox, known: None
) -> None:
    await records.apply(conn, [opened(), made(), lost_call()], 1)
    await recordings.keep(conn, "c1", NAME, WAV, 7.5, now=OVER)
    (first,) = await outbox.claim(OVER, limit=10, lease_s=1)
    (second,) = await outbox.claim(OVER + 2, limit=10, lease_s=1)
    assert first.request == second.request
    assert second.request is not None
    assert second.request.attachments[0].data == WAV
    # Erased before the note service answered: still the same note, without content.
    assert await recordings.erase(conn, "c1", now=OVER + 3) == 1
    (third,) = await outbox.claim(OVER + 4, limit=10, lease_s=1)
    assert third.request == second.request.without_content()


async def test_a_note_does_not_wait_for_ever_and_is_corrected_by_what_comes_late(
    conn: Connection, outbox: NoteOutbox, known: None
) -> None:
    await records.apply(conn, [opened(), made("voicemail"), voicemail()], 1)
    await announced_at(conn, OVER)
    assert await leaving(outbox, OVER + 29.9) is None
    request = await leaving(outbox, OVER + 30)
    assert request is not None
    assert request.kind is NoteKind.VOICEMAIL
    assert [one.fate for one in request.recordings] == [RecordingFate.LATE]
    assert request.attachments == []

    assert await recordings.keep(conn, "c1", NAME, WAV, 12.0, now=OVER + 100)
    correction = await leaving(outbox, OVER + 100)
    assert correction is not None
    assert correction.corrects == "call:c1:auto"
    assert correction.attachments[0].data == WAV
    # Told twice, kept once.
    assert await recordings.keep(conn, "c1", NAME, WAV, 12.0, now=OVER + 101)
    assert await leaving(outbox, OVER + 200) is None
    # A later edit has a key of its own.
    await write_draft(conn, "c1", NoteDraft(concern="Angebot"), finish=True, now=OVER + 201)
    edited = await leaving(outbox, OVER + 201)
    assert edited is not None
    assert edited.corrects == "call:c1:auto:1"


@pytest.mark.parametrize(
    ("why", "fate"), [(NOTHING_SAID, RecordingFate.EMPTY), ("not found", RecordingFate.LOST)]
)
async def test_a_recording_without_audio_lets_the_note_go(
    conn: Connection, outbox: NoteOutbox, known: None, why: str, fate: RecordingFate
) -> None:
    await records.apply(conn, [opened(), made("voicemail"), voicemail()], 1)
    await announced_at(conn, OVER)
    assert await leaving(outbox, OVER) is None
    await recordings.lost(conn, "c1", NAME, why)
    request = await leaving(outbox, OVER + 1)
    assert request is not None
    assert [one.fate for one in request.recordings] == [fate]
    assert await recordings.owed(conn) == []


async def test_the_note_waits_for_all_recordings(
    conn: Connection, outbox: NoteOutbox, known: None
) -> None:
    two = [made(), made("voicemail", "vsek/c1-2")]
    await records.apply(conn, [opened(), *two, voicemail()], 1)
    await announced_at(conn, OVER)
    await recordings.keep(conn, "c1", "vsek/c1-2", WAV + b"2", 3.0, now=OVER)
    assert await leaving(outbox, OVER) is None
    await recordings.keep(conn, "c1", NAME, WAV, 2.0, now=OVER + 1)
    request = await leaving(outbox, OVER + 1)
    assert request is not None
    assert [(one.name, one.data) for one in request.attachments] == [
        ("c1.wav", WAV),
        ("c1-2.wav", WAV + b"2"),
    ]


async def test_without_the_clients_wish_nothing_is_attached(
    conn: Connection, outbox: NoteOutbox, known: None
) -> None:
    await records.apply(conn, [opened(client_id="winter"), *SCREENED, lost_call()], 1)
    request = await leaving(outbox, OVER)
    assert request is not None
    [told] = request.recordings
    assert (told.fate, told.seconds) == (RecordingFate.NOT_KEPT, 6.2)
    # Even if it should have been kept by mistake.
    await records.apply(conn, [opened("c2", client_id="winter"), made(call_id="c2")], 2)
    await records.apply(conn, [lost_call(call_id="c2")], 3)
    await recordings.keep(conn, "c2", NAME, WAV, 2.0, now=OVER)
    request = await leaving(outbox, OVER)
    assert request is not None
    assert request.attachments == []
    assert [one.fate for one in request.recordings] == [RecordingFate.NOT_KEPT]


async def test_a_message_for_nobody_goes_to_operations(
    conn: Connection, outbox: NoteOutbox, known: None
) -> None:
    end = lost_call(outcome=Outcome.UNKNOWN_NUMBER, stage=Stage.FALLBACK, reason="unknown_number")
    await records.apply(conn, [opened(client_id=None), made("voicemail"), end], 1)
    await recordings.keep(conn, "c1", NAME, WAV, 2.0, now=OVER)
    request = await leaving(outbox, OVER)
    assert request is not None
    assert request.kind is NoteKind.OPERATIONS
    assert [one.email for one in request.recipients] == ["ops@example.com"]
    assert request.attachments[0].data == WAV


async def test_what_is_too_large_for_a_mail_stays_here(
    conn: Connection, outbox: NoteOutbox, known: None
) -> None:
    await records.apply(conn, [opened(), made("voicemail"), voicemail()], 1)
    await recordings.keep(conn, "c1", NAME, bytes(MAX_ATTACHED_BYTES + 1), 190.0, now=OVER)
    request = await leaving(outbox, OVER)
    assert request is not None
    assert request.attachments == []
    assert [one.fate for one in request.recordings] == [RecordingFate.TOO_LARGE]
    assert len(await recordings.newest_audio(conn, "c1")) > MAX_ATTACHED_BYTES


async def test_hung_up_while_being_asked(conn: Connection, outbox: NoteOutbox, known: None) -> None:
    await records.apply(conn, [opened(), SCREENED[0], lost_call(stage=Stage.SCREENING)], 1)
    request = await leaving(outbox, OVER)
    assert request is not None
    assert request.screening is not None
    assert (request.screening.finding, request.screening.choice) == (None, "")
    assert request.recordings == []


# ── keeping and erasing ──────────────────────────────────────────────────────────────────────


async def test_announced_twice_and_told_of_an_unknown_call(conn: Connection, known: None) -> None:
    applied = await records.apply(conn, [opened(), made(), made(), made(call_id="c9")], 1)
    assert list(applied.orphans) == ["c9"]
    assert await recordings.owed(conn) == [Owed("c1", NAME)]
    assert not await recordings.keep(conn, "c9", NAME, WAV, 1.0)
    assert not await recordings.keep(conn, "c1", "vsek/other", WAV, 1.0)


async def test_a_call_shows_its_recordings(conn: Connection, known: None) -> None:
    await records.apply(conn, [opened(), made()], 1)
    with pytest.raises(InputError, match="still being fetched"):
        await recordings.newest_audio(conn, "c1")
    await recordings.keep(conn, "c1", NAME, WAV, 7.5)
    [one] = (await calls.show(conn, "c1")).recordings
    assert (one.kind, one.seconds, one.size) == ("screening", 7.5, len(WAV))
    assert one.sha256 == hashlib.sha256(WAV).hexdigest()
    assert await recordings.newest_audio(conn, "c1") == WAV
    with pytest.raises(InputError, match="no such recording"):
        await recordings.newest_audio(conn, "c1", 2)


async def test_erased_is_erased_also_what_is_yet_to_come(conn: Connection, known: None) -> None:
    await records.apply(conn, [opened(), made(), made(name="vsek/c1-2")], 1)
    await recordings.keep(conn, "c1", NAME, WAV, 7.5)
    assert await recordings.erase(conn, "c1", now=OVER) == 2
    assert await recordings.erase(conn, "c1", now=OVER) == 0
    assert await recordings.owed(conn) == []
    assert await recordings.keep(conn, "c1", "vsek/c1-2", WAV, 7.5), "known, but not wanted"
    with pytest.raises(InputError, match="was erased on 14 November 2023"):
        await recordings.newest_audio(conn, "c1")
    assert await conn.fetchval("SELECT count(wav) FROM vsek.recordings") == 0


async def test_recordings_go_some_time_after_their_note_was_taken(
    pool: Pool, conn: Connection, outbox: NoteOutbox, known: None
) -> None:
    await records.apply(conn, [opened(), made(), lost_call()], 1)
    await records.apply(conn, [opened("c2"), made(call_id="c2"), lost_call(call_id="c2")], 2)
    for call_id in ("c1", "c2"):
        await recordings.keep(conn, call_id, NAME, WAV, 7.5, now=OVER)
    for note in await outbox.claim(OVER, limit=10, lease_s=60):
        if note.call_id == "c1":
            await outbox.acknowledged(note, "n1", OVER)
    day = 86400.0
    assert await recordings.expire(conn, 30, now=OVER + 30 * day - 1) == 0
    async with acquire(pool) as another:
        # The other call's note has not been taken: its recording stays as long as it takes.
        assert await recordings.expire(another, 30, now=OVER + 30 * day + 1) == 1
    assert await recordings.expire(conn, 30, now=OVER + 300 * day) == 0
    left = await conn.fetch("SELECT call_id FROM vsek.recordings WHERE wav IS NOT NULL")
    assert [row["call_id"] for row in left] == ["c2"]


@pytest.mark.parametrize(("shown", "keyed"), [("+49301234567", ""), ("", "030 7654321")])
async def test_a_promised_call_back_is_a_note_with_the_number_and_what_to_do(
    conn: Connection, outbox: NoteOutbox, known: None, shown: str, keyed: str
) -> None:
    promised = step("c1", 1, kind="callback_promised", detail={"number": keyed or shown})
    end = lost_call(outcome=Outcome.CALLBACK, stage=Stage.ANNOUNCEMENT, reason=PROMISED)
    await records.apply(conn, [opened(caller_number=shown), promised, end], 1)
    request = await leaving(outbox, OVER)
    assert request is not None
    assert (request.kind, request.action) == (NoteKind.CALLBACK, Action.CALL_BACK)
    assert request.caller.number_dictated == ("+49307654321" if keyed else shown)
    assert request.screening is None


async def test_a_forwarded_call_is_a_note_with_the_number_and_the_time_talked(
    conn: Connection, outbox: NoteOutbox, known: None
) -> None:
    told = step("c1", 1, kind="forwarded", detail={"number": "+493098765432"})
    end = lost_call(
        outcome=Outcome.FORWARDED,
        stage=Stage.FORWARDED,
        reason="forward_hangup",
        answered_at=OVER - 60.0,
        ended_at=OVER,
    )
    await records.apply(conn, [opened(), told, end], 1)
    request = await leaving(outbox, OVER)
    assert request is not None
    assert request.kind is NoteKind.FORWARDED
    assert request.call is not None
    assert (request.call.forwarded_to, request.call.talked_s) == ("+493098765432", 60.0)
    assert request.incomplete is False

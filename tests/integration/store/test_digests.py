"""Blocked calls: one note for each client and day."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.store.makers import T0, FakeSounds, client, closed, file_of, opened

from vsek.domain.note import NoteDraft, NoteKind
from vsek.domain.outcomes import FAX, Outcome, Stage
from vsek.domain.records import CallClosed
from vsek.store import clients, records
from vsek.store.notes import write_draft
from vsek.store.outbox import NoteOutbox, Operations

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from vsek.store.pool import Connection, Pool

# T0 is 14 November 2023, 23:13 in Berlin and 22:13 in London.
HOUR = 3600.0
MIDNIGHT = T0 + 46 * 60 + 40


@pytest.fixture
async def outbox(pool: Pool) -> AsyncIterator[NoteOutbox]:
    box = NoteOutbox(pool, Operations("ops@example.com"))
    yield box
    await box.close()


@pytest.fixture
async def known(conn: Connection, tmp_path: Path) -> None:
    berlin = client("sommer")
    london = client("winter", numbers={"did": ["+49 30 7654321"]}, timezone="Europe/London")
    await clients.import_clients(conn, file_of(berlin, london), FakeSounds(), base=tmp_path)


async def blocked(conn: Connection, call_id: str, at: float, **opening: Any) -> None:
    end = {"outcome": Outcome.BLOCKED, "stage": Stage.SCREENING, "reason": FAX}
    nobody = {"agent_id": None, "answered_at": None}
    over: CallClosed = closed(call_id, ended_at=at, note_due_at=at, **end, **nobody)
    await records.apply(conn, [opened(call_id, received_at=at - 10, **opening), over], 1)


async def test_the_blocked_calls_of_a_day_make_one_note_when_it_is_over(
    conn: Connection, outbox: NoteOutbox, known: None
) -> None:
    await blocked(conn, "c1", T0)
    assert await outbox.claim(T0 + 1, limit=10, lease_s=60) == []
    assert await outbox.next_due() == MIDNIGHT
    await blocked(conn, "c2", T0 + 600, caller_number="", caller_withheld=True)
    await blocked(conn, "w1", T0 + 600, client_id="winter")
    await blocked(conn, "c3", MIDNIGHT + 60)
    assert await outbox.claim(MIDNIGHT - 1, limit=10, lease_s=60) == []

    (note,) = await outbox.claim(MIDNIGHT + 61, limit=10, lease_s=60)
    assert note.key == "call:c1:auto"
    request = note.request
    assert request is not None
    assert (request.kind, request.language) == (NoteKind.DIGEST, "de")
    assert request.digest is not None
    assert (request.digest.day, request.digest.total) == (date(2023, 11, 14), 2)
    assert [(one.number, one.withheld, one.reason) for one in request.digest.calls] == [
        ("+491701234567", False, FAX),
        ("", True, FAX),
    ]
    assert [one.email for one in request.recipients] == ["eva@example.com"]
    # The answer got lost: the same again, and nobody else's note.
    (again,) = await outbox.claim(MIDNIGHT + 122, limit=10, lease_s=60)
    assert (again.key, again.request) == (note.key, request)
    await outbox.acknowledged(note, "n1", MIDNIGHT + 130)
    acknowledged = await conn.fetch("SELECT key FROM vsek.note_due WHERE note_id = 'n1' ORDER BY 1")
    assert [row["key"] for row in acknowledged] == ["call:c1:auto", "call:c2:auto"]

    # London's day ends an hour later, Berlin's next one a day later.
    (london,) = await outbox.claim(MIDNIGHT + HOUR, limit=10, lease_s=60)
    assert london.key == "call:w1:auto"
    await outbox.acknowledged(london, "n2", MIDNIGHT + HOUR)
    assert await outbox.next_due() == MIDNIGHT + 24 * HOUR


async def test_what_comes_after_the_digest_makes_another(
    conn: Connection, outbox: NoteOutbox, known: None
) -> None:
    await blocked(conn, "c1", T0)
    (first,) = await outbox.claim(MIDNIGHT, limit=10, lease_s=60)
    # The database was away: the switchboard tells of it late.
    await blocked(conn, "c2", T0 + 60)
    (second,) = await outbox.claim(MIDNIGHT + 1, limit=10, lease_s=60)
    for note in (first, second):
        assert note.request is not None
        assert note.request.digest is not None
        assert note.request.digest.total == 1
    assert second.key == "call:c2:auto"


async def test_a_digest_that_was_refused_is_built_anew_with_all_its_calls(
    conn: Connection, outbox: NoteOutbox, known: None
) -> None:
    await blocked(conn, "c1", T0)
    await blocked(conn, "c2", T0 + 60)
    (first,) = await outbox.claim(MIDNIGHT, limit=10, lease_s=60)
    await outbox.failed(first, "no such address", MIDNIGHT + 300, rebuild=True)
    (second,) = await outbox.claim(MIDNIGHT + 300, limit=10, lease_s=60)
    assert second.request == first.request


async def test_a_blocked_call_that_somebody_wrote_about_has_a_note_of_its_own(
    conn: Connection, outbox: NoteOutbox, known: None
) -> None:
    await blocked(conn, "c1", T0)
    await blocked(conn, "c2", T0 + 60)
    draft = NoteDraft(concern="Fax kam von der Bank")
    await write_draft(conn, "c1", draft, finish=True, now=T0 + 70)
    (own,) = await outbox.claim(T0 + 80, limit=10, lease_s=60)
    assert own.request is not None
    assert own.request.kind is NoteKind.MESSAGE
    await outbox.acknowledged(own, "n1", T0 + 80)
    (digest,) = await outbox.claim(MIDNIGHT, limit=10, lease_s=60)
    assert digest.request is not None
    assert digest.request.digest is not None
    assert digest.request.digest.total == 1

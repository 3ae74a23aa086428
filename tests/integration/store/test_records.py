"""Records of calls: idempotent, in order, one outcome, hostile text, stale writers."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from tests.integration.store.makers import T0, closed, moved, opened, step

from vsek.domain.draft import DraftStage
from vsek.domain.outcomes import Outcome, Stage
from vsek.domain.records import Record
from vsek.errors import InputError
from vsek.store import calls, records

if TYPE_CHECKING:
    from vsek.store.pool import Connection

_STORY: list[Record] = [
    opened(),
    step(number=1),
    step(number=2, kind="offer", detail={"agent": "anna"}),
    closed(),
    moved("c1", T0 + 150),
]


async def test_a_call_and_its_timeline(conn: Connection) -> None:
    assert (await records.apply(conn, _STORY, 7)).orphans == ()
    view = await calls.show(conn, "c1")
    assert view.outcome is Outcome.ANSWERED
    assert view.stage is Stage.TALKING
    assert view.received_at.timestamp() == T0
    assert view.answered_at is not None
    assert view.answered_at.timestamp() == T0 + 10
    assert view.forwarded_by == ["+4930999"]
    assert [(one.number, one.kind, one.detail) for one in view.steps] == [
        (1, "greeting", {"sound": "abc"}),
        (2, "offer", {"agent": "anna"}),
    ]
    assert view.note.state is DraftStage.OPEN
    assert [note.key for note in view.notes] == ["call:c1:auto"]
    assert view.notes[0].due_at.timestamp() == T0 + 150
    assert await records.journal_seq(conn) == 7


async def test_applying_twice_changes_nothing(conn: Connection) -> None:
    await records.apply(conn, _STORY, 7)
    before = await calls.show(conn, "c1")
    for start in range(len(_STORY)):
        await records.apply(conn, _STORY[start:], 3)
    assert await calls.show(conn, "c1") == before
    assert await records.journal_seq(conn) == 7


async def test_the_first_outcome_stays(conn: Connection) -> None:
    await records.apply(conn, _STORY, 1)
    other = closed(outcome=Outcome.ABANDONED, ended_at=T0 + 99, note_due_at=T0 + 1)
    await records.apply(conn, [other], 2)
    view = await calls.show(conn, "c1")
    assert view.outcome is Outcome.ANSWERED
    assert len(view.notes) == 1


async def test_the_first_outcome_stays_within_a_batch_too(conn: Connection) -> None:
    other = closed(outcome=Outcome.ABANDONED, note_due_at=T0 + 1)
    await records.apply(conn, [opened(), step(), closed(), other], 1)
    view = await calls.show(conn, "c1")
    assert view.outcome is Outcome.ANSWERED
    assert len(view.notes) == 1


async def test_only_the_agent_of_the_call_moves_its_note(conn: Connection) -> None:
    await records.apply(conn, [*_STORY, moved("c1", T0 + 9, agent_id="bert")], 1)
    assert (await calls.show(conn, "c1")).notes[0].due_at.timestamp() == T0 + 150


async def test_a_record_without_its_call_holds_nothing_up(conn: Connection) -> None:
    strays: list[Record] = [
        step("lost"),
        closed("lost"),
        moved("lost", T0),
        opened("c2"),
    ]
    applied = await records.apply(conn, strays, 1)
    assert set(applied.orphans) == {"lost"}
    assert [call.id for call in await calls.list_calls(conn)] == ["c2"]
    with pytest.raises(InputError, match="There is no call 'lost'"):
        await calls.show(conn, "lost")


async def test_hostile_text_is_stored_clean(conn: Connection) -> None:
    nasty = "Ev\x00il\u202e\ud800\n" + "x" * 5000
    await records.apply(
        conn,
        [
            opened(caller_name=nasty, caller_number=nasty, did=nasty, forwarded_by=(nasty, "")),
            step(kind=nasty, detail={nasty: nasty}),
            closed(reason=nasty),
        ],
        1,
    )
    view = await calls.show(conn, "c1")
    assert view.caller_name.startswith("Evil x")
    assert len(view.caller_name) == 120
    assert next(iter(view.steps[0].detail.values())).startswith("Evil x")


@pytest.mark.parametrize("moment", [float("nan"), float("inf"), 1e300])
async def test_what_is_no_time_is_refused(conn: Connection, moment: float) -> None:
    with pytest.raises(InputError, match="is not a time"):
        await records.apply(conn, [opened(received_at=moment)], 1)
    assert await calls.list_calls(conn) == []
    assert await records.journal_seq(conn) == 0


async def test_a_superseded_switchboard_writes_nothing(conn: Connection) -> None:
    first = await records.start_epoch(conn)
    await records.apply(conn, [opened()], 5, epoch=first)
    second = await records.start_epoch(conn, 5)
    with pytest.raises(records.StaleEpochError):
        await records.apply(conn, [opened("c2")], 6, epoch=first)
    await records.apply(conn, [opened("c3")], 6, epoch=second)
    assert {call.id for call in await calls.list_calls(conn)} == {"c1", "c3"}
    assert await records.position(conn) == records.JournalPosition(second, 6)


async def test_a_superseded_switchboard_moves_nothing(conn: Connection) -> None:
    first = await records.start_epoch(conn)
    await records.apply(conn, [opened()], 5, epoch=first)
    await records.start_epoch(conn, 5)
    for late in ([step()], [closed()], [moved("c1", T0)]):
        with pytest.raises(records.StaleEpochError):
            await records.apply(conn, late, 6, epoch=first)
    view = await calls.show(conn, "c1")
    assert (view.outcome, view.steps, await records.journal_seq(conn)) == (None, [], 5)


async def test_any_cut_into_batches_and_any_repetition_gives_the_same(conn: Connection) -> None:
    chance = random.Random(7)
    story: list[Record] = []
    for call_id in ("a", "b", "c"):
        story += [
            opened(call_id),
            *(step(call_id, number) for number in range(1, 4)),
            closed(call_id),
            moved(call_id, T0 + 100),
            moved(call_id, T0 + 120),
        ]
    at = 0
    while at < len(story):
        begin = chance.randint(0, at)
        at = min(len(story), at + chance.randint(1, 4))
        await records.apply(conn, story[begin:at], at)
    for call_id in ("a", "b", "c"):
        view = await calls.show(conn, call_id)
        assert [one.number for one in view.steps] == [1, 2, 3]
        assert view.notes[0].due_at.timestamp() == T0 + 120
    assert await records.journal_seq(conn) == len(story)


async def test_lists(conn: Connection) -> None:
    many = [opened(f"c{n}", received_at=T0 + n % 3) for n in range(7)]
    await records.apply(conn, [*many, opened("other", client_id=None), closed("c3")], 1)
    everything = [call.id for call in await calls.list_calls(conn)]
    assert everything == ["c5", "c2", "c4", "c1", "other", "c6", "c3", "c0"]
    pages: list[str] = []
    while page := await calls.list_calls(conn, limit=3, before=pages[-1] if pages else None):
        pages += [call.id for call in page]
    assert pages == everything
    assert len(await calls.list_calls(conn, client_id="sommer")) == 7
    answered = await calls.list_calls(conn, outcome=Outcome.ANSWERED)
    assert [call.id for call in answered] == ["c3"]
    with pytest.raises(InputError, match="1 to 1000"):
        await calls.list_calls(conn, limit=0)

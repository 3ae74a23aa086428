"""Records reach the database in order, whatever it does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from vsek.domain.ids import CallId
from vsek.domain.records import CallStep, Record
from vsek.switchboard import writer as writer_module
from vsek.switchboard.writer import RecordWriter


class AwayError(Exception):
    pass


class SupersededError(Exception):
    pass


class Table:
    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.position = 0
        self.batches: list[int] = []
        self.failures: list[Exception] = []
        self.poison = ""

    async def apply(self, records: Sequence[Record], number: int) -> None:
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        kinds = [record.kind for record in records if isinstance(record, CallStep)]
        if self.poison and self.poison in kinds:
            raise ValueError(self.poison)
        self.kinds += kinds
        self.batches.append(len(kinds))
        self.position = max(self.position, number)


def step(kind: str) -> CallStep:
    return CallStep(CallId("c"), 1, 1.0, kind, {})


async def write(table: Table, entries: Sequence[Sequence[str]]) -> RecordWriter:
    writer = RecordWriter(table.apply, shipped=0, transient=(AwayError,), fatal=(SupersededError,))
    for number, kinds in enumerate(entries, start=1):
        writer.put([step(kind) for kind in kinds], number)
    task = asyncio.create_task(writer.run())
    drained = asyncio.create_task(writer.drained(5))
    await asyncio.wait({task, drained}, return_when=asyncio.FIRST_COMPLETED)
    drained.cancel()
    if task.done():
        await task
    task.cancel()
    return writer


async def test_in_order_and_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "BATCH", 3)
    table = Table()
    writer = await write(table, [["a", "b"], ["c"], ["d"], ["e"]])
    assert table.kinds == ["a", "b", "c", "d", "e"]
    assert table.batches == [4, 1]
    assert (writer.shipped, writer.waiting, table.position) == (5 - 1, 0, 4)


async def test_a_database_that_is_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "BACK_OFF_S", (0.0,))
    table = Table()
    table.failures = [AwayError(), AwayError(), AwayError()]
    writer = await write(table, [["a"], ["b"]])
    assert table.kinds == ["a", "b"]
    assert not writer.failing


async def test_a_record_that_is_refused_holds_up_nothing_else() -> None:
    table = Table()
    table.poison = "b"
    writer = await write(table, [["a"], ["b", "c"], ["d"]])
    assert table.kinds == ["a", "c", "d"]
    assert writer.shipped == 3


async def test_who_was_superseded_ends() -> None:
    table = Table()
    table.failures = [SupersededError()]
    with pytest.raises(SupersededError):
        await write(table, [["a"]])


async def test_what_the_database_lacks_is_told() -> None:
    writer = RecordWriter(Table().apply, shipped=0, transient=())
    for number in (1, 2, 3):
        writer.put([step("a")], number)
    assert writer.unwritten(2) == [([step("a")], 2), ([step("a")], 3)]


async def test_draining_does_not_wait_for_ever() -> None:
    writer = RecordWriter(Table().apply, shipped=0, transient=())
    writer.put([step("a")], 1)
    assert not await writer.drained(0.01)

"""The journal leaves its files for the database, whole and in order, whatever happens between."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.unit.switchboard.lives import journal_in

from vsek.call.events import ChannelUp
from vsek.call.model import new_state
from vsek.demo.events import eventually
from vsek.domain.ids import ChannelId
from vsek.switchboard import journal as journal_module
from vsek.switchboard import shipper as shipper_module
from vsek.switchboard.journal import Journal, bodies, number_of
from vsek.switchboard.shipper import Shipper, Tail


def up(number: int) -> ChannelUp:
    return ChannelUp(ChannelId(f"channel-{number}"))


def write(journal: Journal, count: int) -> None:
    for _ in range(count):
        journal.append(up(journal.last_number + 1), 1.0)


def drain(tail: Tail) -> list[int]:
    """The numbers of all entries that the tail gives."""
    numbers = []
    while (chunk := tail.read()) is not None:
        inside = [number_of(body) for _, body in bodies(chunk.body)]
        assert (chunk.first, chunk.last) == (inside[0], inside[-1])
        numbers += inside
        tail.advance(chunk)
    return numbers


def test_a_tail_follows_what_is_written(tmp_path: Path) -> None:
    journal, tail = journal_in(tmp_path), Tail(tmp_path, 0)
    assert drain(tail) == []
    write(journal, 3)
    assert drain(tail) == [1, 2, 3]
    assert drain(tail) == []
    write(journal, 2)
    assert drain(tail) == [4, 5]


def test_the_same_again_until_it_has_arrived(tmp_path: Path) -> None:
    journal, tail = journal_in(tmp_path), Tail(tmp_path, 0)
    write(journal, 2)
    first, again = tail.read(), tail.read()
    assert first == again
    write(journal, 1)
    assert drain(tail) == [1, 2, 3]


@pytest.mark.parametrize("after", range(8))
def test_a_tail_begins_in_the_middle(tmp_path: Path, after: int) -> None:
    journal = journal_in(tmp_path)
    for _ in range(3):
        write(journal, 2)
        journal.close()  # each pair in a segment of its own
    assert drain(Tail(tmp_path, after)) == list(range(after + 1, 7))


def test_a_tail_goes_on_behind_a_torn_record_and_a_gap(tmp_path: Path) -> None:
    journal, tail = journal_in(tmp_path), Tail(tmp_path, 0)
    write(journal, 2)
    journal.close()
    (segment,) = tmp_path.glob("journal-*.log")
    segment.write_bytes(segment.read_bytes()[:-3])
    assert drain(tail) == [1]
    journal.skip_to(9)
    write(journal, 2)
    assert drain(tail) == [10, 11]


def test_what_is_written_before_the_next_segment_begins_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, tail = journal_in(tmp_path), Tail(tmp_path, 0)
    write(journal, 1)
    assert drain(tail) == [1]
    segments = Tail._segments

    def looking(self: Tail) -> list[Path]:
        if journal.last_number == 1:  # between the end of this one and the look for the next
            write(journal, 1)
            journal.close()
            write(journal, 1)
        return segments(self)

    monkeypatch.setattr(Tail, "_segments", looking)
    assert drain(tail) == [2, 3]


def test_a_record_that_is_longer_than_a_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipper_module, "CHUNK", 40)
    journal = journal_in(tmp_path)
    journal.append(ChannelUp(ChannelId("x" * 500)), 1.0)
    write(journal, 5)
    tail = Tail(tmp_path, 0)
    chunk = tail.read()
    assert chunk is not None
    assert drain(tail) == [1, 2, 3, 4, 5, 6]


def test_a_segment_that_was_tidied_away(tmp_path: Path) -> None:
    journal, tail = journal_in(tmp_path), Tail(tmp_path, 0)
    write(journal, 1)
    assert drain(tail) == [1]
    journal.close()
    (segment,) = tmp_path.glob("journal-*.log")
    write(journal, 1)
    segment.unlink()
    assert drain(tail) == [2]


class Table:
    """The database as a shipper meets it."""

    def __init__(self) -> None:
        self.batches: dict[int, bytes] = {}
        self.snapshots: dict[int, bytes] = {}
        self.errors: list[Exception] = []
        self.calls = 0

    async def entries(self, first: int, last: int, body: bytes) -> None:
        self.calls += 1
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop()
        self.batches[first] = body

    async def snapshot(self, number: int, body: bytes) -> None:
        self.snapshots[number] = body

    def numbers(self) -> list[int]:
        return [
            number_of(body)
            for first in sorted(self.batches)
            for _, body in bodies(self.batches[first])
        ]


class StaleError(Exception):
    pass


def shipper_for(folder: Path, table: Table) -> Shipper:
    return Shipper(folder, table.entries, table.snapshot, transient=(OSError,), fatal=(StaleError,))


async def test_nothing_is_shipped_before_somebody_leads(tmp_path: Path) -> None:
    journal, table = journal_in(tmp_path), Table()
    write(journal, 1)
    shipper = shipper_for(tmp_path, table)
    await shipper.flush()
    assert (shipper.shipped, table.numbers()) == (None, [])
    shipper.begin(0, 0)
    await shipper.flush()
    assert table.numbers() == [1]


async def test_shipping_in_the_background(tmp_path: Path) -> None:
    journal, table = journal_in(tmp_path), Table()
    shipper = shipper_for(tmp_path, table)
    shipper.begin(0, 0)
    task = asyncio.create_task(shipper.run())
    write(journal, 3)
    await eventually(lambda: _is(shipper.shipped == 3), "three entries")
    journal.snapshot(new_state())
    write(journal, 1)
    await eventually(lambda: _is(bool(table.snapshots)), "a snapshot")
    assert list(table.snapshots) == [3]
    assert table.numbers()[:3] == [1, 2, 3]
    task.cancel()


async def _is(fact: bool) -> bool | None:
    return True if fact else None


async def test_the_database_is_away_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipper_module, "BACK_OFF_S", 0.01)
    journal, table = journal_in(tmp_path), Table()
    table.errors = [OSError("away"), RuntimeError("a fault of ours"), OSError("away")]
    shipper = shipper_for(tmp_path, table)
    shipper.begin(0, 0)
    write(journal, 1)
    task = asyncio.create_task(shipper.run())
    await eventually(lambda: _is(shipper.failing), "trouble")
    await eventually(lambda: _is(shipper.shipped == 1), "the entry")
    assert not shipper.failing
    assert table.calls == 4
    task.cancel()


async def test_who_is_superseded_ends(tmp_path: Path) -> None:
    journal, table = journal_in(tmp_path), Table()
    table.errors = [StaleError()]
    shipper = shipper_for(tmp_path, table)
    shipper.begin(0, 0)
    write(journal, 1)
    with pytest.raises(StaleError):
        await shipper.run()


async def test_records_wait_for_the_entries_that_caused_them(tmp_path: Path) -> None:
    journal, table = journal_in(tmp_path), Table()
    shipper = shipper_for(tmp_path, table)
    shipper.begin(0, 0)
    write(journal, 1)
    table.errors = [OSError("away")]
    with pytest.raises(OSError, match="away"):
        await shipper.flush()
    table.errors = [StaleError()]
    with pytest.raises(StaleError):
        await shipper.flush()
    # A fault in shipping does not keep calls' records from the database.
    table.errors = [RuntimeError("a fault of ours")]
    await shipper.flush()
    assert shipper.failing
    await asyncio.gather(shipper.flush(), shipper.flush())
    assert table.numbers() == [1]


def test_another_machines_journal_takes_the_place_of_ours(tmp_path: Path) -> None:
    theirs, ours = journal_in(tmp_path / "theirs"), journal_in(tmp_path / "ours")
    write(theirs, 2)
    theirs.snapshot(new_state())
    write(theirs, 3)
    theirs.close()
    snapshot = theirs.newest_snapshot(2)
    assert snapshot is not None
    assert theirs.newest_snapshot(1) is None
    last = max((tmp_path / "theirs").glob("journal-*.log"))
    write(ours, 9)
    ours.close()
    ours.remember_epoch(7)
    (tmp_path / "ours" / "shipped").write_text("8")

    aside = ours.adopt(snapshot, [(3, last.read_bytes())])
    assert ours.last_number == 5
    state, number, entries = ours.restore(5)
    assert state == new_state()
    assert (number, [entry.number for entry in entries]) == (2, [3, 4, 5])
    ours.append(up(6), 1.0)
    assert ours.last_number == 6
    assert (aside / "shipped").read_text() == "8"
    assert drain(Tail(aside, 0)) == list(range(1, 10))
    assert drain(Tail(tmp_path / "ours", 2)) == [3, 4, 5, 6]


def test_only_some_superseded_journals_are_kept(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    for epoch in range(1, 6):
        journal.remember_epoch(epoch)
        write(journal, 1)
        journal.close()
        journal.adopt(None, [])
    assert len(list(tmp_path.glob("superseded-*"))) == journal_module.KEEP_SUPERSEDED
    assert journal.last_number == 0


def test_an_epoch_is_remembered(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    assert journal.epoch == 0
    journal.remember_epoch(4)
    assert journal.epoch == 4
    (tmp_path / "epoch").write_text("nonsense")
    assert journal.epoch == 0


def test_a_disk_that_keeps_no_epoch_is_told(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    (tmp_path / "epoch.new").mkdir()
    journal.remember_epoch(4)
    assert journal.epoch == 0

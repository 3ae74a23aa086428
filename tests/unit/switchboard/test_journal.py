"""The journal survives whatever a dying process or a full disk leaves behind."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import msgspec
import pytest
import structlog
from tests.unit.switchboard.lives import journal_in

from vsek.acd.events import AgentPaused
from vsek.call.events import ChannelUp
from vsek.call.model import Call, new_state
from vsek.domain.ids import AgentId, CallId, ChannelId
from vsek.errors import ServiceError
from vsek.switchboard import journal as journal_module
from vsek.switchboard.journal import Journal


def up(number: int) -> ChannelUp:
    return ChannelUp(ChannelId(f"channel-{number}"))


def test_entries_come_back_in_order_with_their_times(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    assert [journal.append(up(n), 100.0 + n) for n in range(3)] == [1, 2, 3]
    journal.append(AgentPaused(AgentId("anna"), "lunch"), 200.5)
    state, number, entries = journal_in(tmp_path).restore(0)
    assert state is None
    assert number == 0
    assert [(e.number, e.at) for e in entries] == [(1, 100.0), (2, 101.0), (3, 102.0), (4, 200.5)]
    assert entries[3].event == AgentPaused(AgentId("anna"), "lunch")


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_torn_last_record_is_cut_off_and_its_number_used_again(tmp_path: Path, cut: int) -> None:
    journal = journal_in(tmp_path)
    journal.append(up(1), 1.0)
    journal.append(up(2), 2.0)
    journal.close()
    (segment,) = tmp_path.glob("journal-*.log")
    os.truncate(segment, segment.stat().st_size - cut)
    again = journal_in(tmp_path)
    assert [e.number for e in again.restore(0)[2]] == [1]
    assert again.append(up(3), 3.0) == 2
    events = [e.event for e in journal_in(tmp_path).restore(0)[2]]
    assert events == [up(1), up(3)]


def test_a_damaged_record_ends_its_segment(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    for n in range(3):
        journal.append(up(n), 1.0)
    journal.close()
    (segment,) = tmp_path.glob("journal-*.log")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 0xFF
    segment.write_bytes(data)
    assert [e.number for e in journal_in(tmp_path).restore(0)[2]] == [1]


def test_a_start_uses_no_snapshot_that_the_database_has_not_caught_up_with(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    state = new_state()
    for n in range(1, 7):
        journal.append(up(n), float(n))
        if n % 2 == 0:
            call_id = CallId(f"c{n}")
            state.calls[call_id] = Call(call_id, ChannelId("x"), None, 1.0, "", "")
            journal.snapshot(state)
    journal.close()
    restored, number, entries = journal_in(tmp_path).restore(5)
    assert restored is not None
    assert sorted(restored.calls) == ["c2", "c4"]
    assert number == 4
    assert [e.number for e in entries] == [5, 6]


def test_an_entry_of_another_version_is_passed_over(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal.append(up(1), 1.0)
    strange = msgspec.msgpack.encode([2, 2.0, {"type": "SomethingNew", "what": 1}])
    (segment,) = tmp_path.glob("journal-*.log")
    with segment.open("ab") as file:
        file.write(struct.pack("<II", len(strange), zlib.crc32(strange)) + strange)
    again = journal_in(tmp_path)
    assert [e.number for e in again.restore(0)[2]] == [1]
    assert again.append(up(3), 3.0) == 3, "its number is not given twice"


def test_an_unreadable_snapshot_is_passed_over(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal.append(up(1), 1.0)
    journal.snapshot(new_state())
    journal.append(up(2), 2.0)
    journal.close()
    (snapshot,) = tmp_path.glob("snapshot-*.bin")
    snapshot.write_bytes(snapshot.read_bytes()[:-1])
    state, _, entries = journal_in(tmp_path).restore(9)
    assert state is None
    assert [e.number for e in entries] == [1, 2]


def test_numbers_go_on_where_the_database_is_when_the_folder_is_new(tmp_path: Path) -> None:
    assert journal_in(tmp_path, first_number=501).append(up(1), 1.0) == 501


def test_numbers_never_go_back_after_a_snapshot_without_entries(tmp_path: Path) -> None:
    journal = journal_in(tmp_path, first_number=7)
    journal.append(up(1), 1.0)
    journal.snapshot(new_state())
    journal.close()
    for segment in tmp_path.glob("journal-*.log"):
        segment.unlink()
    assert journal_in(tmp_path).append(up(2), 2.0) == 8


@pytest.mark.parametrize("at", [3.5, -3600.0], ids=["a second later", "the clock was set back"])
def test_a_full_disk_breaks_the_journal_and_a_snapshot_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: float
) -> None:
    journal = journal_in(tmp_path)
    journal.append(up(1), 1.0)
    real_write = os.write

    def broken() -> bool:
        return journal.broken

    def full(fd: int, data: bytes) -> int:
        real_write(fd, data[:3])  # a disk that runs full in mid-record
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vsek.switchboard.journal.os.write", full)
    assert journal.append(up(2), 2.0) == 2
    assert broken()
    assert journal.append(up(3), 3.0) == 3
    state = new_state()
    call_id = CallId("after")
    state.calls[call_id] = Call(call_id, ChannelId("x"), None, 1.0, "", "")
    monkeypatch.setattr("vsek.switchboard.journal.os.write", real_write)
    journal.mend(state, list, 2.5)
    assert broken(), "tries once a second at most"
    journal.mend(state, list, at)
    assert not broken()
    journal.append(up(4), 4.0)
    restored, number, entries = journal_in(tmp_path).restore(10)
    assert restored is not None
    assert list(restored.calls) == ["after"]
    assert number == 3
    assert [e.number for e in entries] == [4]
    assert [e.number for e in journal_in(tmp_path).restore(0)[2]] == [1, 4]


def test_tidy_keeps_what_a_start_may_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_ENTRIES", 2)
    journal = journal_in(tmp_path)
    for n in range(1, 11):
        journal.append(up(n), float(n))
        if n % 2 == 0:
            journal.snapshot(new_state())
    for segment in tmp_path.glob("journal-*.log"):
        os.utime(segment, (1.0, 1.0))
    journal.tidy(shipped=7, keep_from=100.0)
    assert sorted(int(p.stem[9:]) for p in tmp_path.glob("snapshot-*.bin")) == [4, 6, 8, 10]
    assert sorted(int(p.stem[8:]) for p in tmp_path.glob("journal-*.log")) == [5, 7, 9]
    _, number, entries = journal_in(tmp_path).restore(7)
    assert number == 6
    assert [e.number for e in entries] == [7, 8, 9, 10]


def test_tidy_keeps_a_snapshot_now_and_then_for_who_asks_for_the_past(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "HISTORY_ENTRIES", 5)
    journal = journal_in(tmp_path)
    for n in range(1, 21):
        journal.append(up(n), float(n))
        if n % 2 == 0:
            journal.snapshot(new_state())
    for segment in sorted(tmp_path.glob("journal-*.log"))[:2]:
        os.utime(segment, (1.0, 1.0))
    journal.tidy(shipped=20, keep_from=100.0)
    assert min(int(p.stem[8:]) for p in tmp_path.glob("journal-*.log")) == 5
    # What comes after the first that is kept, one for about five entries, and what a start needs.
    kept = [4, 10, 16, 18, 20]
    assert sorted(int(p.stem[9:]) for p in tmp_path.glob("snapshot-*.bin")) == kept


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="file/journal"):
        Journal(tmp_path / "file" / "journal")


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    journal_in(tmp_path)
    with pytest.raises(ServiceError, match="Another switchboard runs"):
        Journal(tmp_path)


def test_a_snapshot_beside_stands_for_the_moment_it_was_taken(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    state = new_state()
    journal.append(up(1), 1.0)
    journal.snapshot_aside(state)
    call_id = CallId("later")
    state.calls[call_id] = Call(call_id, ChannelId("x"), None, 1.0, "", "")
    journal.append(up(2), 2.0)
    journal.release()
    restored, number, entries = journal_in(tmp_path).restore(9)
    assert restored is not None
    assert restored.calls == {}
    assert number == 1
    assert [e.number for e in entries] == [2]
    assert len(list(tmp_path.glob("journal-*.log"))) == 2


def test_a_snapshot_beside_that_the_disk_refuses_is_logged(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal.append(up(1), 1.0)
    # A folder is in its way.
    (tmp_path / "snapshot-0000000000000001.bin").mkdir()
    with structlog.testing.capture_logs() as logged:
        journal.snapshot_aside(new_state())
        journal.append(up(2), 2.0)
        journal.release()
    assert [entry["event"] for entry in logged] == ["snapshot_failed"]
    assert not list(tmp_path.glob("*.new"))
    (tmp_path / "snapshot-0000000000000001.bin").rmdir()
    assert [e.number for e in journal_in(tmp_path).restore(0)[2]] == [1, 2]

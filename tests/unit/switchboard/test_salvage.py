"""What a superseded journal still tells: calls that it saw to their end, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.switchboard.lives import journal_in

from vsek.call.decide import decide
from vsek.call.events import CallArrived, ChannelGone, DirectoryChanged, Event
from vsek.call.model import ClientScript, Directory, new_state
from vsek.domain.ids import CallId, ChannelId, ClientId
from vsek.domain.records import CallClosed, CallOpened
from vsek.switchboard.journal import Journal, Unwritten
from vsek.switchboard.owner import records_among
from vsek.switchboard.salvage import salvage

ALDER = ClientId("alder")
KNOWN = DirectoryChanged(
    Directory(
        clients={ALDER: ClientScript(ALDER, "Alder", "de", "Europe/Berlin", "ring", "", "m")},
        dids={"+49301": ALDER},
    )
)


def arrived(name: str) -> CallArrived:
    return CallArrived(
        call_id=CallId(name),
        channel_id=ChannelId(f"channel-{name}"),
        dids=("+49301",),
        caller_number="+49302",
    )


def write(journal: Journal, *events: Event) -> None:
    for event in events:
        journal.append(event, 1_700_000_000.0 + journal.last_number)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return journal_in(tmp_path)


def test_calls_that_ended_after_the_last_thing_the_database_has(journal: Journal) -> None:
    write(journal, KNOWN, arrived("c1"), arrived("c2"), ChannelGone(ChannelId("channel-c1")))
    write(journal, arrived("c3"), ChannelGone(ChannelId("channel-c3")))
    journal.release()
    found = salvage(journal.folder, 3)
    assert {record.call_id for record in found} == {"c1", "c3"}
    assert [r.call_id for r in found if isinstance(r, CallClosed)] == ["c1", "c3"]
    # That the first was opened the database knows already; of the second nobody knows its end.
    assert [r.call_id for r in found if isinstance(r, CallOpened)] == ["c3"]


def test_what_the_disk_refused_meanwhile(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that came and ended while the disk was full is in the snapshot that came after it."""
    state = new_state()
    refused: list[Event] = [arrived("c1"), ChannelGone(ChannelId("channel-c1"))]
    decide(state, KNOWN, 1.0)
    unwritten = [
        Unwritten(number, records_among(decide(state, event, float(number))))
        for number, event in enumerate(refused, 2)
    ]

    def full(_fd: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    write(journal, KNOWN)
    with monkeypatch.context() as patched:
        patched.setattr("vsek.switchboard.journal.os.write", full)
        write(journal, *refused)
    journal.mend(state, lambda: unwritten, 1_800_000_000.0)
    write(journal, arrived("c2"), ChannelGone(ChannelId("channel-c2")))
    journal.release()
    ended = [r.call_id for r in salvage(journal.folder, 1) if isinstance(r, CallClosed)]
    assert ended == ["c1", "c2"]
    assert {record.call_id for record in salvage(journal.folder, 3)} == {"c2"}


def test_a_journal_that_has_nothing_new(journal: Journal) -> None:
    write(journal, arrived("c1"), ChannelGone(ChannelId("channel-c1")))
    journal.release()
    assert salvage(journal.folder, 2) == []
    assert salvage(journal.folder, 9) == []


def test_it_goes_on_from_a_snapshot(journal: Journal) -> None:
    state = new_state()
    event = arrived("c1")
    write(journal, KNOWN, event)
    decide(state, KNOWN, 1_700_000_000.0)
    decide(state, event, 1_700_000_001.0)
    journal.snapshot(state)
    write(journal, ChannelGone(ChannelId("channel-c1")))
    journal.release()
    assert [type(r) for r in salvage(journal.folder, 2)][-1] is CallClosed


def test_an_empty_folder(tmp_path: Path) -> None:
    assert salvage(tmp_path / "superseded", 0) == []

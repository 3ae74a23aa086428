"""One queue, one way through: order, replay, and what a crash leaves to be done."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.unit.switchboard.lives import journal_in

from vsek.acd.events import AgentReachable
from vsek.call import effects as do
from vsek.call import events as ev
from vsek.call.decide import decide
from vsek.call.model import AgentEntry, ClientScript, Directory
from vsek.domain.ids import AgentId, CallId, ChannelId, ClientId
from vsek.domain.records import CallClosed, CallOpened, Record
from vsek.switchboard.owner import Switchboard

ANNA = AgentId("anna")
CLIENT = ClientId("meyer")
DIRECTORY = Directory(
    clients={
        CLIENT: ClientScript(CLIENT, "Meyer", "de", "Europe/Berlin", "ring", "", "default"),
    },
    dids={"+49301": CLIENT},
    agents={ANNA: AgentEntry(ANNA, "Anna", "de")},
)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Commands:
    def __init__(self) -> None:
        self.sent: list[do.Command] = []

    def send(self, command: do.Command) -> None:
        self.sent.append(command)

    def kinds(self) -> list[str]:
        return [type(command).__name__ for command in self.sent]


class Records:
    def __init__(self) -> None:
        self.got: list[tuple[list[Record], int]] = []

    def put(self, records: Sequence[Record], number: int) -> None:
        self.got.append((list(records), number))

    def unwritten(self, first: int) -> list[tuple[Sequence[Record], int]]:
        return [(records, number) for records, number in self.got if number >= first]

    def of(self, kind: type[Record]) -> list[Record]:
        return [r for records, _ in self.got for r in records if isinstance(r, kind)]


class Bench:
    def __init__(self, folder: Path, shipped: int = 0) -> None:
        self.commands = Commands()
        self.records = Records()
        self.clock = Clock()
        self.journal = journal_in(folder)
        self.switchboard = Switchboard(
            self.journal, self.commands, self.records, self, clock=self.clock
        )
        self.examined: list[do.Examine] = []
        self.replayed = self.switchboard.restore(shipped)

    def examine(self, wanted: do.Examine) -> None:
        self.examined.append(wanted)


def arrival(number: int = 1) -> ev.CallArrived:
    return ev.CallArrived(CallId(f"call-{number}"), ChannelId(f"in-{number}"), ("+49301",))


async def start(folder: Path) -> Bench:
    bench = Bench(folder)
    bench.switchboard.open()
    bench.switchboard.post(ev.DirectoryChanged(DIRECTORY))
    bench.switchboard.post(AgentReachable(ANNA, reachable=True))
    return bench


async def test_commands_follow_on_an_event_before_anything_is_awaited(tmp_path: Path) -> None:
    bench = await start(tmp_path)
    bench.switchboard.post(arrival())
    # What makes a telephone ring goes first.
    assert bench.commands.kinds() == ["CreateLeg", "Ring", "CreateBridge"]


async def test_events_before_opening_wait_in_order(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.switchboard.post(ev.DirectoryChanged(DIRECTORY))
    bench.switchboard.post(arrival())
    assert bench.commands.sent == []
    assert bench.journal.last_number == 0
    bench.switchboard.open()
    assert bench.commands.kinds() == ["Ring"]


async def test_what_arrives_together_is_written_once_and_before_any_of_it_has_effects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await start(tmp_path)
    happened: list[str] = []
    write = os.write

    def writing(file: int, data: bytes) -> int:
        happened.append("write")
        return write(file, data)

    def send(command: do.Command) -> None:
        happened.append(type(command).__name__)

    monkeypatch.setattr(os, "write", writing)
    monkeypatch.setattr(bench.commands, "send", send)
    bench.switchboard.hold()
    bench.switchboard.post(arrival(1))
    bench.switchboard.post(arrival(2))
    assert happened == []
    bench.switchboard.release()
    assert happened == ["write", "CreateLeg", "Ring", "CreateBridge", "Ring"]
    bench.switchboard.close()
    assert Bench(tmp_path).journal.last_number == 4


async def test_what_is_in_the_journal_is_decided_about_whatever_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay will decide about it too."""
    bench = await start(tmp_path)

    def fail(command: do.Command) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(bench.commands, "send", fail)
        bench.switchboard.hold()
        bench.switchboard.post(arrival(1))
        bench.switchboard.post(arrival(2))
        with pytest.raises(RuntimeError, match="a bug"):
            bench.switchboard.release()
    bench.switchboard.snapshot()  # not now: the state is not that of the journal's end
    bench.switchboard.post(arrival(3))
    assert [c.call_id for c in bench.commands.sent] == ["call-2", "call-3"]
    before = bench.switchboard.state
    bench.switchboard.journal.release()
    assert Bench(tmp_path).switchboard.state == before


async def test_an_event_caused_while_deciding_waits_its_turn(tmp_path: Path) -> None:
    bench = await start(tmp_path)
    order: list[str] = []

    def send(command: do.Command) -> None:
        order.append(type(command).__name__)
        if isinstance(command, do.CreateLeg):
            bench.switchboard.post(
                ev.CommandFailed("CreateLeg", command.call_id, command.channel_id, 500, "")
            )
            order.append("posted")

    bench.commands.send = send  # type: ignore[method-assign]
    bench.switchboard.post(arrival())
    assert order == ["CreateLeg", "posted", "Ring", "CreateBridge"]
    assert bench.switchboard.state.acd.agents[ANNA].state == "parked"


async def test_a_restart_has_the_same_state_and_sends_no_command_again(tmp_path: Path) -> None:
    first = await start(tmp_path)
    first.switchboard.post(arrival())
    first.switchboard.post(ev.LegReady(ChannelId("vsekcall-call-1.1")))
    second = Bench(tmp_path)
    assert second.replayed == first.journal.last_number
    assert second.switchboard.state == first.switchboard.state
    assert second.commands.sent == []


@pytest.mark.parametrize("later", [0, 2], ids=["at once", "two events later"])
async def test_a_restart_after_a_full_disk_knows_what_the_disk_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: int
) -> None:
    """Also where the database lacks what came before: those records are sent, and then the snapshot
    that took the place of the missing entries tells how things stand."""
    first = await start(tmp_path)
    real_write = os.write

    def full(_fd: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vsek.switchboard.journal.os.write", full)
    first.switchboard.post(arrival(1))
    monkeypatch.setattr("vsek.switchboard.journal.os.write", real_write)
    first.clock.now += 5.0
    for number in range(2, 3 + later):
        first.switchboard.post(arrival(number))
    assert not first.journal.broken
    first.journal.release()
    second = Bench(tmp_path, shipped=0)
    assert second.switchboard.state == first.switchboard.state
    assert len(second.switchboard.state.calls) == 2 + later


async def test_the_database_gets_what_the_disk_refused_even_if_we_die_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that came and one that ended while the disk was full: once it is not any more, the
    snapshot has their records, each once."""
    first = await start(tmp_path)
    first.switchboard.post(arrival(1))
    real_write = os.write

    def full(_fd: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vsek.switchboard.journal.os.write", full)
    first.switchboard.post(arrival(2))
    first.switchboard.post(ev.ChannelGone(ChannelId("in-1")))
    monkeypatch.setattr("vsek.switchboard.journal.os.write", real_write)
    first.clock.now += 5.0
    first.switchboard.post(arrival(3))
    assert not first.journal.broken
    first.switchboard.post(ev.ChannelGone(ChannelId("in-2")))
    first.journal.release()
    assert len(first.records.of(CallOpened)) == 3
    assert len(first.records.of(CallClosed)) == 2
    second = Bench(tmp_path, shipped=0)
    assert second.records.got == first.records.got
    shipped = first.records.got[-2][1]
    assert Bench(tmp_path, shipped).records.got == first.records.got[-1:]


async def test_a_disk_that_refuses_again_at_once_loses_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two snapshots then follow on each other, with nothing between them."""
    first = await start(tmp_path)
    real_write = os.write

    def full(_fd: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    for number in (1, 3):
        monkeypatch.setattr("vsek.switchboard.journal.os.write", full)
        first.switchboard.post(arrival(number))
        assert first.journal.broken
        monkeypatch.setattr("vsek.switchboard.journal.os.write", real_write)
        first.clock.now += 5.0
        first.switchboard.post(arrival(number + 1))
        assert not first.journal.broken
    first.journal.release()
    second = Bench(tmp_path, shipped=0)
    assert second.records.got == first.records.got
    assert second.switchboard.state == first.switchboard.state


async def test_a_restart_gives_the_database_what_it_lacks_and_no_more(tmp_path: Path) -> None:
    first = await start(tmp_path)
    first.switchboard.post(arrival(1))
    shipped = first.journal.last_number
    first.switchboard.post(arrival(2))
    second = Bench(tmp_path, shipped)
    opened = second.records.of(CallOpened)
    assert [record.call_id for record in opened] == ["call-2"]
    assert second.records.got[-1] == first.records.got[-1]


async def test_timers_of_a_restored_state_run_out_after_the_picture_of_the_world(
    tmp_path: Path,
) -> None:
    first = await start(tmp_path)
    first.switchboard.post(arrival())
    second = Bench(tmp_path)
    second.clock.now = 5000.0  # the ring timeout passed long ago
    leg = ChannelId("vsekcall-call-1.1")
    second.switchboard.post(
        ev.Reconciled({ChannelId("in-1"): "Up", leg: "Up"}, {"vsekcall-call-1": ()}, ())
    )
    second.switchboard.open()
    # The agent picked up in the gap: joined, and no ring timer is left to take that back.
    assert "Join" in second.commands.kinds()
    assert not any(name.startswith("acd:ring") for name in second.switchboard.state.timers)


async def test_a_clock_that_was_set_back_makes_no_restored_deadline_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await start(tmp_path)
    first.switchboard.post(arrival())
    second = Bench(tmp_path)
    second.clock.now = first.clock.now - 3600.0
    left_s: dict[str, float] = {}

    def arm(name: str, generation: int, deadline: float) -> None:
        left_s[f"{name}/{generation}"] = deadline - second.clock.now

    monkeypatch.setattr(second.switchboard.timers, "set", arm)
    second.switchboard.open()
    assert max(left_s.values()) == 300.0, "the guard of the call, as long as it was"


async def test_a_broken_decision_stops_neither_the_next_event_nor_the_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await start(tmp_path)
    real = decide

    def faulty(state, event, now):  # type: ignore[no-untyped-def]
        if isinstance(event, ev.SoundDone):
            raise RuntimeError("fault")
        return real(state, event, now)

    monkeypatch.setattr("vsek.switchboard.owner.decide", faulty)
    bench.switchboard.post(ev.SoundDone("vsekcall-x-s1", CallId("x")))
    bench.switchboard.post(arrival())
    assert "Ring" in bench.commands.kinds()
    again = Bench(tmp_path)
    assert again.switchboard.state == bench.switchboard.state


async def test_a_graceful_end_leaves_a_snapshot_to_begin_with(tmp_path: Path) -> None:
    bench = await start(tmp_path)
    bench.switchboard.post(arrival())
    bench.switchboard.close()
    again = Bench(tmp_path, shipped=bench.journal.last_number)
    assert again.replayed == 0
    assert again.switchboard.state == bench.switchboard.state


async def test_a_call_that_ends_has_one_outcome_record(tmp_path: Path) -> None:
    bench = await start(tmp_path)
    bench.switchboard.post(arrival())
    for _ in range(3):
        bench.switchboard.post(ev.ChannelGone(ChannelId("in-1"), 16))
    assert len(bench.records.of(CallClosed)) == 1

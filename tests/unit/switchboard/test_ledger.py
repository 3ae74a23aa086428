"""Following Asterisk's ledger: who is told of, when, and that nobody is told of twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from vsek.call.events import LedgerTold
from vsek.call.model import Call, State, new_state
from vsek.domain.ids import CallId, ChannelId
from vsek.domain.ledger import Served
from vsek.domain.outcomes import Outcome, Stage
from vsek.errors import ServiceError
from vsek.switchboard.ledger import KnownCall, Ledger, Sources
from vsek.switchboard.translate import Translator

_NOW = 1_800_000_000.0
_TODAY, _YESTERDAY, _EARLIER = "20270115.log", "20270114.log", "20270113.log"


class Desk:
    """A ledger's surroundings: a folder, pulses, a database, a state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "ledger"
        self.folder.mkdir(exist_ok=True)
        self.bookmark = folder / "place.json"
        self.pulses = SimpleNamespace(sent=1, beat=1)
        self.state: State = new_state()
        self.told: list[LedgerTold] = []
        self.database: dict[str, KnownCall] = {}
        self.database_away = False
        self.queries: list[list[str]] = []
        self.recorded = True
        self.durable = True
        self.up = True
        self.channels: set[str] = set()
        self.clock = _NOW

    def ledger(self) -> Ledger:
        """As a new process makes it."""
        sources = Sources(
            state=lambda: self.state,
            post=self.told.append,
            arrival=Translator("DE").arrival,
            up=lambda: self.up,
            durable=lambda: self.durable,
            recorded=self._recorded,
            known=self._known,
            channels=self._channels,
        )
        return Ledger(self.folder, self.bookmark, sources, self.pulses, clock=lambda: self.clock)

    async def _recorded(self) -> bool:
        return self.recorded

    async def _known(self, channels: Sequence[str]) -> Mapping[str, KnownCall]:
        if self.database_away:
            raise ServiceError("away")
        self.queries.append(list(channels))
        return {c: self.database[c] for c in channels if c in self.database}

    async def _channels(self) -> Iterable[str]:
        return self.channels

    def write(self, *lines: str, file: str = _TODAY) -> None:
        with (self.folder / file).open("a") as book:
            book.write("".join(f"{line}\n" for line in lines))

    def pulse(self) -> None:
        """A pulse is sent and comes back."""
        self.pulses.sent += 1
        self.pulses.beat = self.pulses.sent

    def call(self, channel: str, stage: Stage) -> Call:
        """A live call."""
        call = Call(CallId(f"call-{channel}"), ChannelId(channel), None, _NOW, "+49301", "")
        call.stage = stage
        self.state.calls[call.call_id] = call
        self.state.channels[call.channel_id] = call.call_id
        return call

    async def follow(self, ledger: Ledger) -> list[str]:
        """Let it read, a pulse later compare; the channels that it told of."""
        self.told.clear()
        await ledger.look()
        self.pulse()
        await ledger.look()
        return [event.arrival.channel_id for event in self.told]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def entered(channel: str) -> str:
    return f"v=1,kind=in,channel={channel},at=1799999000,did=%2B49305550201,from=%2B4940777"


def gone(channel: str, served: str = "none", **more: str) -> str:
    extra = "".join(f",{key}={value}" for key, value in more.items())
    return (
        f"v=1,kind=out,channel={channel},at=1799999060,began=1799999000,cause=16"
        f",served={served}{extra},did=%2B49305550201,from=%2B4940777"
    )


async def test_a_call_that_nobody_knows_is_told_of(desk: Desk) -> None:
    ledger = desk.ledger()
    desk.write(entered("a"), gone("a", "fallback", heard="1", message="vsek%2Fm", message_s="4"))
    assert await desk.follow(ledger) == ["a"]
    (told,) = desk.told
    assert told.arrival.dids == ("+49305550201",)
    assert told.arrival.caller_number == "+4940777"
    assert (told.began_at, told.ended_at) == (1799999000, 1799999060)
    assert (told.served, told.heard, told.message) == (Served.FALLBACK, True, "vsek/m")
    assert told.arrival.call_id.startswith("270115-0743")
    assert await desk.follow(ledger) == []


async def test_a_call_that_was_served_to_its_end_is_not(desk: Desk) -> None:
    desk.write(*(line for n in range(1200) for line in (entered(f"c{n}"), gone(f"c{n}", "vsek"))))
    desk.database = {f"c{n}": KnownCall(CallId(f"id{n}"), Outcome.ANSWERED) for n in range(1200)}
    ledger = desk.ledger()
    assert await desk.follow(ledger) == []
    # One query for many.
    assert [len(channels) for channels in desk.queries] == [500, 500, 200]
    assert ledger.waiting == 0


async def test_nothing_is_told_before_all_events_of_that_time_were_met(desk: Desk) -> None:
    ledger = desk.ledger()
    desk.pulses.sent += 1  # is on its way
    desk.write(gone("a"))
    await ledger.look()
    desk.pulses.beat = desk.pulses.sent
    await ledger.look()
    assert desk.told == []
    assert ledger.waiting == 1
    # Its arrival had been waiting in the socket.
    desk.database["a"] = KnownCall(CallId("x"), Outcome.ABANDONED)
    assert await desk.follow(ledger) == []
    assert ledger.waiting == 0


async def test_it_waits_for_the_database_and_for_asterisk(desk: Desk) -> None:
    ledger = desk.ledger()
    desk.write(gone("a"))
    desk.recorded = False
    assert await desk.follow(ledger) == []
    desk.recorded, desk.database_away = True, True
    assert await desk.follow(ledger) == []
    desk.database_away, desk.up = False, False
    assert await desk.follow(ledger) == []
    desk.up = True
    assert await desk.follow(ledger) == ["a"]


async def test_a_call_that_was_left_open_gets_its_end_under_its_own_name(desk: Desk) -> None:
    ledger = desk.ledger()
    desk.write(gone("a", "vsek"))
    desk.database["a"] = KnownCall(CallId("theirs"), None)
    assert await desk.follow(ledger) == ["a"]
    assert desk.told[0].arrival.call_id == "theirs"


async def test_live_calls(desk: Desk) -> None:
    ledger = desk.ledger()
    call = desk.call("a", Stage.FALLBACK)
    desk.call("b", Stage.ENDED)
    desk.call("c", Stage.WAITING)
    desk.write(gone("a", "fallback"), gone("b", "vsek"), gone("c", "vsek"))
    assert await desk.follow(ledger) == ["a", "c"]
    assert desk.told[0].arrival.call_id == call.call_id
    assert desk.queries == []


async def test_an_end_that_would_die_with_us_waits(desk: Desk) -> None:
    """The journal cannot be written: after our death only the ledger knows that the call ended."""
    ledger = desk.ledger()
    desk.durable = False
    desk.call("a", Stage.ENDED)
    desk.write(gone("a", "vsek"))
    assert await desk.follow(ledger) == []
    await ledger.keep_place()
    assert ledger.waiting == 1
    desk.state = new_state()
    desk.database["a"] = KnownCall(CallId("theirs"), None)
    assert await desk.follow(desk.ledger()) == ["a"]
    desk.call("a", Stage.ENDED)
    desk.durable = True
    assert await desk.follow(ledger) == []
    assert ledger.waiting == 0


async def test_a_message_that_comes_after_the_call_was_closed_is_kept_once(desk: Desk) -> None:
    ledger = desk.ledger()
    desk.database = {
        "late": KnownCall(CallId("late"), Outcome.FAILED),
        "kept": KnownCall(CallId("kept"), Outcome.VOICEMAIL),
    }
    desk.state.told = {ChannelId(c): CallId(c) for c in desk.database}
    desk.write(*(gone(c, "fallback", message=f"vsek%2F{c}") for c in desk.database))
    assert await desk.follow(ledger) == ["late"]


async def test_after_a_reconnect_those_who_were_with_the_fallback_come_first(desk: Desk) -> None:
    ledger = desk.ledger()
    desk.up = False
    desk.call("a", Stage.WAITING)
    desk.call("b", Stage.TALKING)
    desk.write(gone("a", "fallback", message="vsek%2Fm"), gone("b", "vsek"), gone("c"))
    await ledger.before_reconcile()
    assert [event.arrival.channel_id for event in desk.told] == ["a"]
    del desk.state.calls[CallId("call-b")]  # found gone
    desk.database["b"] = KnownCall(CallId("call-b"), Outcome.ANSWERED)
    desk.up = True
    assert await desk.follow(ledger) == ["c"]


async def test_calls_that_died_with_asterisk(desk: Desk) -> None:
    ledger = desk.ledger()
    desk.write(entered("dead"), entered("alive"), entered("known"))
    desk.channels = {"alive"}
    desk.database["known"] = KnownCall(CallId("x"), Outcome.ABANDONED)
    assert await desk.follow(ledger) == ["dead"]
    assert (desk.told[0].served, desk.told[0].heard) == (Served.NOBODY, False)
    desk.write(gone("alive", "fallback"))
    assert await desk.follow(ledger) == ["alive"]


async def test_another_process_goes_on_where_the_last_one_was(desk: Desk) -> None:
    desk.write(entered("old"), gone("old"), file=_EARLIER)
    desk.write(entered("a"), gone("a"), file=_YESTERDAY)
    desk.write(entered("long"), entered("b"), gone("b"))
    desk.channels = {"long"}
    first = desk.ledger()
    assert await desk.follow(first) == ["a", "b"]
    desk.database = {c: KnownCall(CallId(c), Outcome.ABANDONED) for c in "ab"}
    # Killed before it could keep the place: all is read again, and nobody told of again.
    second = desk.ledger()
    assert await desk.follow(second) == []
    await second.keep_place()
    desk.write(gone("long", "fallback"))
    desk.clock += 2 * 86400
    desk.write(gone("next"), file="20270117.log")
    desk.queries.clear()
    third = desk.ledger()
    assert await desk.follow(third) == ["long", "next"]
    assert sorted(c for query in desk.queries for c in query) == ["b", "long", "next"]


async def test_half_a_line_rubbish_and_a_file_that_shrinks(desk: Desk) -> None:
    ledger = desk.ledger()
    with (desk.folder / _TODAY).open("wb") as book:
        book.write(b"\xff\xfe rubbish\n\n" + gone("a").encode() + b"\n" + gone("b").encode()[:40])
    assert await desk.follow(ledger) == ["a"]
    with (desk.folder / _TODAY).open("ab") as book:
        book.write(gone("b").encode()[40:] + b"\n")
    assert await desk.follow(ledger) == ["b"]
    (desk.folder / _TODAY).write_text("")
    assert await desk.follow(ledger) == []
    desk.write(gone("c"))
    assert await desk.follow(ledger) == ["c"]


async def test_a_folder_that_is_not_there_yet(desk: Desk) -> None:
    desk.folder.rmdir()
    ledger = desk.ledger()
    assert await desk.follow(ledger) == []
    desk.folder.mkdir()
    desk.write(gone("a"))
    desk.bookmark.write_text("nonsense")
    assert await desk.follow(desk.ledger()) == ["a"]
    assert await desk.follow(ledger) == ["a"]


async def test_old_ledgers_are_removed(desk: Desk) -> None:
    desk.write("x", file="20261101.log")
    desk.write("x", file=_YESTERDAY)
    (desk.folder / "other.txt").touch()
    await desk.ledger().tidy()
    assert {path.name for path in desk.folder.iterdir()} == {_YESTERDAY, "other.txt"}

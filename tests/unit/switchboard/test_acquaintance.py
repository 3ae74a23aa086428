"""The memory of callers, over a database that is made up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from vsek.acd.known import Why
from vsek.call.events import CallArrived
from vsek.call.model import Call, ClientScript, Directory, new_state
from vsek.demo.events import eventually
from vsek.domain.ids import AgentId, CallId, ChannelId, ClientId
from vsek.domain.outcomes import Outcome, Stage
from vsek.domain.records import CallClosed, CallOpened, Record
from vsek.domain.talks import TALK_MIN_S, PastTalk
from vsek.errors import ServiceError
from vsek.switchboard import acquaintance as module
from vsek.switchboard.acquaintance import (
    FAR_BACK_S,
    FAR_EVERY_S,
    OVERLAP_S,
    POLL_S,
    SOON_S,
    TRIES,
    Acquaintance,
    RememberedRecords,
)

NOW = 1_700_000_000.0
DAY = 86_400.0
KARL, EVA, HOUSE, CONTACT = "+491701234567", "+491707654321", "+49301234567", "+491709999999"


def script(name: str, **more: Any) -> ClientScript:
    return ClientScript(ClientId(name), name, "de", "Europe/Berlin", "ring", "", "default", **more)


BOOK = Directory(
    clients={
        ClientId("sommer"): script("sommer"),
        ClientId("winter"): script("winter"),
        ClientId("discreet"): script("discreet", known_days=0),
    },
    dids={HOUSE: ClientId("sommer"), "+4930222": ClientId("winter"), "+4930333": "discreet"},  # type: ignore[dict-item]
    forwarders={"+4930111*": ClientId("sommer")},
)


class Database:
    """Talks as the database would give them."""

    def __init__(self) -> None:
        self.kept: dict[CallId, PastTalk] = {}
        self.changed: list[PastTalk] = []
        self.changed_at: dict[CallId, float] = {}
        """When that was, where it matters."""
        self.away = False
        self.asked: list[list[CallId]] = []
        self.since: list[float] = []

    def keep(self, *talks: PastTalk) -> None:
        self.kept.update({talk.call_id: talk for talk in talks})

    def _check(self) -> None:
        if self.away:
            raise ServiceError("The database is away", remedy="Wait")

    async def talks_since(self, since: float) -> AsyncGenerator[Sequence[PastTalk], None]:
        self._check()
        self.since.append(since)
        rows = sorted(self.kept.values(), key=lambda talk: -talk.ended_at)
        for start in range(0, len(rows), 50):
            yield rows[start : start + 50]

    async def talks_named_since(self, since: float) -> AsyncGenerator[Sequence[PastTalk], None]:
        self._check()
        self.since.append(since)
        found = [t for t in self.changed if self.changed_at.get(t.call_id, since) >= since]
        if found:
            yield found

    async def talks_of(self, calls: Sequence[CallId]) -> Sequence[PastTalk]:
        self.asked.append(list(calls))
        return [self.kept[call_id] for call_id in calls if call_id in self.kept]

    async def contact_numbers(self) -> Sequence[tuple[ClientId, str]]:
        self._check()
        return [(ClientId("sommer"), CONTACT), (ClientId("sommer"), CONTACT)]


class Memory:
    """An acquaintance with its surroundings."""

    def __init__(self, max_pages: int = 1000) -> None:
        self.database = Database()
        self.now = NOW
        self.book = BOOK
        self.made = Acquaintance(
            self.database, lambda: self.book, clock=lambda: self.now, max_pages=max_pages
        )

    def arrival(self, number: str = KARL, name: str = "", **more: Any) -> CallArrived:
        dids = more.pop("dids", (HOUSE,))
        return self.made.recognise(
            CallArrived(CallId("k"), ChannelId("1"), dids, number, name, **more)
        )

    def known(self, number: str = KARL, name: str = "", **more: Any) -> tuple[str, ...]:
        return self.arrival(number, name, **more).known


@pytest.fixture
def memory() -> Iterator[Memory]:
    made = Memory()
    yield made
    made.made.close()


def past(call_id: str, agent: str, **more: Any) -> PastTalk:
    values: dict[str, Any] = {
        "number": KARL,
        "shown": "",
        "client_id": "sommer",
        "ended_at": NOW - DAY,
    }
    return PastTalk(call_id=CallId(call_id), agent_id=AgentId(agent), **(values | more))


def opened(call_id: str, client_id: str | None = "sommer", number: str = KARL) -> CallOpened:
    client = None if client_id is None else ClientId(client_id)
    return CallOpened(CallId(call_id), client, NOW, number, "", False, HOUSE, (), "", "ring", "1")


def closed(
    call_id: str, agent: str | None = "anna", talked_s: float = 60.0, ended_at: float = NOW
) -> CallClosed:
    return CallClosed(
        CallId(call_id),
        ended_at,
        Outcome.ANSWERED,
        Stage.TALKING,
        "caller_hangup",
        None if agent is None else AgentId(agent),
        ended_at - talked_s,
        ended_at,
    )


# Recognising


async def test_it_is_filled_from_the_database(memory: Memory) -> None:
    assert memory.known() == ()
    memory.database.keep(past("a", "anna"), past("b", "bert", ended_at=NOW - 9))
    await memory.made.catch_up()
    found = memory.arrival()
    assert (found.known, found.sure, found.recognised) == (("bert", "anna"), True, Why.NUMBER)
    assert memory.database.since == [NOW - 14 * DAY, NOW - FAR_BACK_S]
    assert memory.made.talks == 2
    assert 0 < memory.made.size < 100_000


async def test_who_is_known_at_one_client_is_a_stranger_at_another(memory: Memory) -> None:
    memory.database.keep(past("a", "anna"), past("b", "bert", client_id="discreet"))
    await memory.made.catch_up()
    assert memory.known(dids=("+4930222",)) == ()
    assert memory.known(dids=("+4930333",)) == ()  # remembers nobody
    assert memory.known(dids=("+4930999",)) == ()  # is no client
    assert memory.known(EVA) == ()


async def test_what_notes_say_counts(memory: Memory) -> None:
    memory.database.keep(
        past("a", "anna", person="Eva Sommer", dictated=EVA),
        past("b", "bert", person="Karl Winter", number="", ended_at=NOW - 2 * DAY),
    )
    await memory.made.catch_up()
    assert memory.known(EVA) == ("anna",)
    assert memory.arrival("", "Winter, Karl").recognised is Why.NAME
    assert memory.known("", "Winter, Karl") == ("bert",)
    assert not memory.arrival("", "Winter, Karl").sure
    assert memory.known("", "") == ()


async def test_a_shared_number(memory: Memory) -> None:
    memory.database.keep(
        past("a", "anna", person="Eva Sommer"), past("b", "bert", person="Karl Winter")
    )
    await memory.made.catch_up()
    assert memory.arrival().recognised is Why.SHARED
    assert memory.known(name="Winter") == ("bert",)


@pytest.mark.parametrize(
    ("number", "more"),
    [
        (HOUSE, {}),
        ("+493011155", {}),
        (CONTACT, {}),
        (KARL, {"forwarded_by": (KARL,)}),
    ],
)
async def test_the_client_s_own_numbers_tell_nobody(
    memory: Memory, number: str, more: dict[str, Any]
) -> None:
    memory.database.keep(past("a", "anna", number=number, person="Eva Sommer"))
    await memory.made.catch_up()
    found = memory.arrival(number, **more)
    assert (found.known, found.recognised) == ((), Why.OWN)
    # The name may: a telephone system that forwards under its own number may still show it.
    assert memory.known(number, "Eva Sommer", **more) == ("anna",)


@pytest.mark.parametrize("text", ["' OR 1=1 --", "\x00", "\ud800", "x" * 5000, "?" * 9, "\u202e"])
async def test_hostile_text_is_just_text(memory: Memory, text: str) -> None:
    RememberedRecords(memory.made, Sink()).put([opened("k", number=text), closed("k")], 1)
    memory.now += 1
    assert memory.known(text, text) == (() if text == "\ud800" else ("anna",))
    assert memory.known(EVA, text) == ()
    if text != "\ud800":  # which PostgreSQL cannot hold
        memory.database.keep(past("a", "bert", number="", person=text, shown=text))
        await memory.made.catch_up()
    assert memory.known(EVA, text) in ((), ("bert",))


def test_a_memory_that_fails_stops_no_call(memory: Memory) -> None:
    arrival = CallArrived(CallId("k"), ChannelId("1"), (HOUSE,), KARL)
    memory.made.close()
    assert memory.made.recognise(arrival) is arrival
    sink = Sink()
    RememberedRecords(memory.made, sink).put([opened("k"), closed("k")], 7)
    assert sink.numbers == [7]


# Remembering


class Sink:
    def __init__(self) -> None:
        self.numbers: list[int] = []

    def put(self, records: Sequence[Record], number: int) -> None:
        self.numbers.append(number)

    def unwritten(self, first: int) -> list[tuple[Sequence[Record], int]]:
        return [((), number) for number in self.numbers if number >= first]


def test_a_talk_is_remembered_when_it_ends(memory: Memory) -> None:
    sink = Sink()
    records = RememberedRecords(memory.made, sink)
    records.put([opened("k")], 1)
    memory.now = NOW + 1
    assert memory.known() == ()
    records.put([closed("k")], 2)
    assert memory.known() == ("anna",)
    assert sink.numbers == [1, 2]
    assert records.unwritten(2) == sink.unwritten(2)


@pytest.mark.parametrize(
    "end",
    [
        closed("k", talked_s=TALK_MIN_S - 0.1),
        closed("k", agent=None),
        msgspec.structs.replace(closed("k"), outcome=Outcome.PUT_THROUGH),
        msgspec.structs.replace(closed("k"), outcome=Outcome.ABANDONED, answered_at=None),
    ],
)
def test_not_everything_is_a_talk(memory: Memory, end: CallClosed) -> None:
    memory.made.put([opened("k"), end])
    memory.now = NOW + 1
    assert memory.known() == ()


async def test_calls_to_nobody_and_calls_never_opened_are_no_talks(memory: Memory) -> None:
    memory.made.put([opened("k", None), closed("k"), closed("l")])
    assert memory.made.talks == 0


async def test_a_note_tells_later_whose_talk_it_was(memory: Memory) -> None:
    await memory.made.catch_up()
    memory.made.put([opened("k"), closed("k")])
    memory.now += 1
    memory.database.keep(past("k", "anna", ended_at=NOW, person="Eva Sommer"))
    assert memory.known("", "Eva Sommer") == ()
    await memory.made.catch_up()
    assert memory.known("", "Eva Sommer") == ("anna",)
    memory.database.changed = [past("k", "anna", ended_at=NOW, person="Eva Winter")]
    await memory.made.catch_up()
    assert memory.known("", "Eva Sommer") == ()
    assert memory.known("", "Eva Winter") == ("anna",)
    assert memory.database.asked == [["k"]]


@pytest.mark.parametrize("late_s", [0.0, 4.0, 6.0, 20.0, OVERLAP_S])
async def test_a_note_that_is_committed_late_is_found_yet(memory: Memory, late_s: float) -> None:
    """Whenever it is looked as far back as it takes."""
    for began in range(0, int(FAR_EVERY_S), int(POLL_S)):
        call_id, name = f"k{began}", f"Eva Sommer{'abcdefghijkl'[began // int(POLL_S)]}"
        while memory.now < NOW + 100 * began:
            memory.now += POLL_S
            await memory.made.catch_up()
        written_at = memory.now + began
        note = past(call_id, "anna", ended_at=memory.now, person=name)
        memory.database.changed_at[note.call_id] = written_at
        while memory.now < written_at + late_s:
            await memory.made.catch_up()
            memory.now += POLL_S
        memory.database.changed.append(note)
        committed_at = memory.now
        while memory.known("", name) == ():
            assert memory.now <= committed_at + (POLL_S if late_s < SOON_S else FAR_EVERY_S)
            await memory.made.catch_up()
            memory.now += POLL_S


async def test_what_was_read_is_not_taken_in_again(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[PastTalk] = []
    add = memory.made._add

    def notice(talks: Sequence[PastTalk]) -> bool:
        taken.extend(talks)
        return add(talks)

    monkeypatch.setattr(memory.made, "_add", notice)
    first = past("k", "anna", ended_at=NOW, person="Eva Sommer")
    memory.database.changed = [first]
    for _ in range(30):
        await memory.made.catch_up()
        memory.now += POLL_S
    assert taken == [first]
    again = past("k", "anna", ended_at=NOW, person="Eva Winter")
    memory.database.changed = [again]
    await memory.made.catch_up()
    assert taken == [first, again]
    assert memory.known("", "Eva Winter") == ("anna",)


async def test_a_call_that_the_database_does_not_have_yet_is_asked_for_again(
    memory: Memory,
) -> None:
    memory.made.put([opened("k"), closed("k"), closed("l")])
    for _ in range(3):
        await memory.made.catch_up()
    assert memory.database.asked == [["k", "l"]] * 3
    # One that began before the start is learnt from there altogether.
    memory.database.keep(past("l", "carl", number=EVA, ended_at=NOW))
    memory.now += 1
    await memory.made.catch_up()
    assert memory.known(EVA) == ("carl",)
    for _ in range(TRIES):
        await memory.made.catch_up()
    assert memory.database.asked[-1] == ["k"]
    assert len(memory.database.asked) == TRIES


async def test_calls_that_go_on_since_before_the_start(memory: Memory) -> None:
    state = new_state()
    for name, stage, own in (
        ("k", Stage.TALKING, BOOK.clients[ClientId("sommer")]),
        ("l", Stage.ENDED, BOOK.clients[ClientId("sommer")]),
        ("m", Stage.ANNOUNCEMENT, None),
    ):
        call = Call(CallId(name), ChannelId(name), own, NOW, KARL, "", stage=stage)
        state.calls[call.call_id] = call
    memory.made.begin(state)
    memory.made.put([closed("k"), closed("l", "bert"), closed("m", "carl")])
    memory.now += 1
    assert memory.known() == ("anna",)


async def test_a_number_is_forgotten_on_demand(memory: Memory) -> None:
    memory.database.keep(past("a", "anna"), past("b", "bert", number=EVA, dictated=KARL))
    await memory.made.catch_up()
    memory.made.put([opened("k"), opened("l", number=EVA)])
    assert memory.made.forget("") == 0
    assert memory.made.forget(KARL) == 2
    memory.made.put([closed("k"), closed("l")])
    memory.now += 1
    assert memory.known() == ()
    assert memory.known(EVA) == ("anna",)


# Keeping up


async def test_what_is_too_old_is_dropped(memory: Memory) -> None:
    memory.database.keep(*(past(f"c{n}", "anna", ended_at=NOW - DAY) for n in range(120)))
    await memory.made.catch_up()
    assert memory.made.talks == 120
    memory.now += 13 * DAY - 1
    await memory.made.catch_up()
    assert memory.made.talks == 120
    memory.now += 3601
    await memory.made.catch_up()
    assert memory.made.talks == 0


async def test_it_reaches_as_far_back_as_any_client_wants(memory: Memory) -> None:
    await memory.made.catch_up()
    long = script("sommer", known_days=60)
    memory.book = msgspec.structs.replace(BOOK, clients=BOOK.clients | {long.client_id: long})
    memory.database.keep(past("a", "anna", ended_at=NOW - 50 * DAY))
    await memory.made.catch_up()
    assert memory.database.since[2] == NOW - 60 * DAY
    assert memory.known() == ("anna",)


async def test_a_full_memory_keeps_the_newest() -> None:
    memory = Memory(max_pages=40)
    memory.database.keep(
        *(
            past(f"c{n}", "anna", number=f"+49{n:09}", person="Eva " * 9, ended_at=NOW - n)
            for n in range(3000)
        )
    )
    await memory.made.catch_up()
    assert 100 < memory.made.talks < 3000
    assert memory.known("+49000000000") == ("anna",)
    assert memory.known("+49000002999") == ()
    for n in range(1000):
        end = closed(f"d{n}", "bert", ended_at=NOW + n / 1000)
        memory.made.put([opened(f"d{n}", number=f"+48{n:09}"), end])
    memory.now += 1
    assert memory.known("+48000000999") == ("bert",)
    forgotten = memory.known("+48000000000") == ()
    assert not forgotten or memory.known("+49000000000") == ()  # the oldest go first
    assert memory.made.size <= 40 * 4096
    memory.made.close()


async def test_the_newest_talk_has_room_even_where_there_is_little() -> None:
    memory = Memory(max_pages=8)
    for n in range(50):
        memory.made.put([opened(f"d{n}", number=f"{n}" * 2000), closed(f"d{n}", "bert")])
    assert memory.made.size <= 8 * 4096
    memory.made.close()


async def test_without_the_database_it_goes_on_by_itself(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.001)
    memory.database.away = True
    memory.database.keep(past("a", "anna"))
    task = asyncio.create_task(memory.made.run())
    memory.made.put([opened("k", number=EVA), closed("k", "bert")])
    memory.now += 1
    assert memory.known(EVA) == ("bert",)
    memory.database.away = False

    async def learnt() -> bool | None:
        return memory.known() == ("anna",) or None

    await eventually(learnt, "the talk from the database")
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

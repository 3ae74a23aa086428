"""Who is waited for, and for how long, when a draft is asked for. The time is virtual."""

from __future__ import annotations

import asyncio
import gc
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import pytest

from vsek.domain.draft import DraftStage, DraftState, UnknownCallError, WriteNote
from vsek.domain.ids import CallId, new_call_id
from vsek.domain.note import NoteDraft
from vsek.errors import ServiceError, VsekError
from vsek.notify.drafts import (
    ARRIVAL_S,
    CLOCKS_S,
    DEADLINE_S,
    LOOK_EVERY_S,
    MOST_WAITING,
    OF_TODAY_S,
    YOUNG_S,
    Drafts,
)

NOW = 1_700_000_000.0
YOUNG = CallId("231114-221319-abc234")  # a second before NOW
NOTE = WriteNote(concern="Roof", finish=True, author="Eva")
T = TypeVar("T")


class _NoWaiting(selectors.DefaultSelector):
    """Where nothing is ready, the time is later by as much as would have been waited."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        self.now += 0 if ready else timeout or 0
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._times = _NoWaiting()
        super().__init__(self._times)

    def time(self) -> float:
        return self._times.now


def run(work: Coroutine[Any, Any, T]) -> T:
    """Does ``work`` in virtual time."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(work)


class Book:
    """Knows calls from a moment on, and answers slowly if told to."""

    def __init__(self, *, known_from_s: float = 0.0, trouble: Exception | None = None) -> None:
        self.known_from_s = known_from_s
        self.trouble = trouble
        self.slowly: Callable[[], Awaitable[object]] | None = None
        self.asked = 0

    async def write(self, call_id: CallId, note: WriteNote) -> DraftState:
        return self._state(call_id, note.draft, await self._moment(call_id))

    async def read(self, call_id: CallId) -> DraftState:
        return self._state(call_id, NoteDraft(), await self._moment(call_id))

    async def _moment(self, call_id: CallId) -> int:
        self.asked += 1
        if self.slowly is not None:
            await self.slowly()
        if self.trouble is not None:
            raise self.trouble
        if asyncio.get_running_loop().time() < self.known_from_s:
            raise UnknownCallError(call_id)
        return self.asked

    @staticmethod
    def _state(call_id: CallId, draft: NoteDraft, revision: int) -> DraftState:
        return DraftState(
            call_id=call_id,
            revision=revision,
            state=DraftStage.OPEN,
            finished=False,
            due_at=None,
            author="",
            changed_at=None,
            draft=draft,
        )


async def _timed(work: Awaitable[object]) -> tuple[str, float]:
    """What is said of a refusal, and how long it took in seconds."""
    with pytest.raises(VsekError) as refusal:
        await work
    return refusal.value.error_id, asyncio.get_running_loop().time()


BOOK_OF_NOBODY = Book(known_from_s=1e9)


def drafts(book: Book) -> Drafts:
    return Drafts(book, lambda: NOW)


def test_a_call_that_is_known_is_asked_for_once() -> None:
    book = Book()
    state = run(drafts(book).write(YOUNG, NOTE))
    assert (state.draft, book.asked) == (NoteDraft(concern="Roof"), 1)
    assert run(drafts(book).read("260722-120311-abc234")).draft.is_empty


@pytest.mark.parametrize("known_from_s", [0.05, 0.3, ARRIVAL_S])
def test_a_young_call_is_waited_for(known_from_s: float) -> None:
    book = Book(known_from_s=known_from_s)
    assert run(drafts(book).write(YOUNG, NOTE)).draft.concern == "Roof"
    assert run(drafts(Book(known_from_s=known_from_s)).read(YOUNG)).call_id == YOUNG


def test_a_young_call_is_not_waited_for_for_ever() -> None:
    for work in (drafts(BOOK_OF_NOBODY).read(YOUNG), drafts(BOOK_OF_NOBODY).write(YOUNG, NOTE)):
        error_id, took_s = run(_timed(work))
        assert error_id == "call_not_yet"
        assert ARRIVAL_S <= took_s <= ARRIVAL_S + 2 * LOOK_EVERY_S


@pytest.mark.parametrize(
    ("age_s", "told", "waits"),
    [
        (YOUNG_S - 1, "call_not_yet", True),
        (YOUNG_S + 2, "call_not_yet", False),
        (OF_TODAY_S - 1, "call_not_yet", False),
        (OF_TODAY_S + 2, "unknown_call", False),
        (-CLOCKS_S + 1, "call_not_yet", True),
        (-CLOCKS_S - 2, "unknown_call", False),
    ],
)
def test_how_old_a_call_is_its_id_tells(age_s: float, told: str, waits: bool) -> None:
    """After an outage the call that an agent talks in for an hour may be missing."""
    book = Book(known_from_s=1e9)
    error_id, took_s = run(_timed(drafts(book).read(new_call_id(NOW - age_s))))
    assert (error_id, took_s > 0, book.asked > 1) == (told, waits, waits)


def test_the_newer_of_two_drafts_stays() -> None:
    """Although the older one waits for the call, and the newer one comes when it is there."""

    async def work() -> list[str]:
        book = Book(known_from_s=0.25)
        kept: list[str] = []
        write = book.write

        async def keep(call_id: CallId, note: WriteNote) -> DraftState:
            state = await write(call_id, note)
            kept.append(note.concern)
            return state

        book.write = keep  # type: ignore[method-assign]
        made = drafts(book)

        async def later() -> None:
            await asyncio.sleep(0.26)
            await made.write(YOUNG, NOTE)

        older = WriteNote(concern="older")
        await asyncio.gather(made.write(YOUNG, older), later())
        return kept

    assert run(work()) == ["older", "Roof"]


def test_who_waits_for_a_turn_is_told_in_time() -> None:
    async def work() -> list[tuple[str, float]]:
        book = Book()
        book.slowly = asyncio.Event().wait
        made = drafts(book)
        return await asyncio.gather(*(_timed(made.write(YOUNG, NOTE)) for _ in range(4)))

    for error_id, took_s in run(work()):
        assert error_id == "database"
        assert took_s <= ARRIVAL_S + DEADLINE_S + 0.01


def test_not_everybody_waits() -> None:
    async def work() -> list[tuple[str, float]]:
        made = drafts(BOOK_OF_NOBODY)
        calls = [new_call_id(NOW - 1) for _ in range(MOST_WAITING + 9)]
        return await asyncio.gather(*(_timed(made.read(call)) for call in calls))

    answers = run(work())
    assert {error_id for error_id, _ in answers} == {"call_not_yet"}
    assert sum(took_s == 0 for _, took_s in answers) == 9


@pytest.mark.parametrize(
    "call_id", ["", "c1", YOUNG + "x", YOUNG[:-1], "999999-999999-abc234", "\0", "é" * 500]
)
def test_what_is_no_id_is_refused_at_once(call_id: str) -> None:
    book = Book(known_from_s=1e9)
    assert run(_timed(drafts(book).write(call_id, NOTE))) == ("unknown_call", 0)
    assert book.asked == 1


def test_a_fault_is_not_waited_for() -> None:
    book = Book(trouble=ServiceError("The database does not serve", error_id="database"))
    with pytest.raises(ServiceError, match="does not serve"):
        run(drafts(book).write(YOUNG, NOTE))
    assert book.asked == 1


def test_a_database_that_stands_still_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """Also when even giving up takes its time, and fails in the end."""

    async def work() -> float:
        ended = asyncio.Event()

        async def stuck() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(5)
                ended.set()
                raise ServiceError("cut off") from None

        book = Book()
        book.slowly = stuck
        with pytest.raises(ServiceError, match="within 4 s") as fault:
            await drafts(book).write(YOUNG, NOTE)
        assert fault.value.error_id == "database"
        assert fault.value.remedy
        took_s = asyncio.get_running_loop().time()
        await ended.wait()
        return took_s

    assert run(work()) == pytest.approx(DEADLINE_S, abs=0.01)
    gc.collect()  # that is when asyncio complains
    assert not caplog.records, "an error that nobody asked for"


def test_who_does_not_wait_any_more_leaves_nothing_behind() -> None:
    async def work() -> None:
        book = Book()
        begun, ended = asyncio.Event(), asyncio.Event()

        async def long() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        book.slowly = long
        asking = asyncio.create_task(drafts(book).read(YOUNG))
        await begun.wait()
        asking.cancel()
        await ended.wait()

    run(work())

"""The forwarder against an outbox and a service of lists: pauses, fates, and what ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from vsek.domain.note import DueNote, NoteRecipient, NoteRequest
from vsek.errors import InputError, ServiceError
from vsek.notify import forwarder as module
from vsek.notify.forwarder import NoteForwarder, retry_delay_s

REQUEST = NoteRequest(recipients=[NoteRecipient(email="a@example.com")])


def note(number: int, request: NoteRequest | None = REQUEST, error: str = "") -> DueNote:
    return DueNote(number, f"k{number}", f"c{number}", 1, request, error)


class Outbox:
    """Notes in a list; ``trouble`` is raised by the next claims."""

    def __init__(self, *notes: DueNote) -> None:
        self.waiting = list(notes)
        self.fates: list[tuple[str, str]] = []
        self.trouble: list[ServiceError] = []
        self.write_trouble: list[ServiceError] = []
        self.emptied = asyncio.Event()
        self.wake: Callable[[], None] | None = None
        self.closed = False

    async def claim(self, now: float, *, limit: int, lease_s: float) -> Sequence[DueNote]:
        if self.trouble:
            raise self.trouble.pop(0)
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        if not self.waiting:
            self.emptied.set()
        return taken

    async def next_due(self) -> float | None:
        return None

    async def acknowledged(self, note: DueNote, note_id: str, now: float) -> None:
        if self.write_trouble:
            raise self.write_trouble.pop(0)
        self.fates.append((note.key, note_id))

    async def failed(self, note: DueNote, error: str, retry_at: float, *, rebuild: bool) -> None:
        self.fates.append((note.key, f"{error}{' rebuild' if rebuild else ''} {retry_at:g}"))

    async def listen(self, wake: Callable[[], None]) -> None:
        self.wake = wake

    async def close(self) -> None:
        self.closed = True


class Taken:
    id = "taken"


class Service:
    """Raises what ``answers`` says for a key, else takes the note."""

    def __init__(self, **answers: Exception) -> None:
        self.answers = answers
        self.closed = False

    async def post(self, key: str, request: NoteRequest) -> Taken:
        if key in self.answers:
            raise self.answers[key]
        return Taken()

    async def close(self) -> None:
        self.closed = True


@asynccontextmanager
async def running(forwarder: NoteForwarder) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(forwarder.run())
    async with asyncio.timeout(5):
        yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_retry_delays() -> None:
    assert [retry_delay_s(n, refused=False) for n in (1, 2, 3, 4, 5, 1000)] == [1, 2, 4, 8, 15, 15]
    assert retry_delay_s(1, refused=True) == 300


async def test_each_note_has_its_fate() -> None:
    outbox = Outbox(note(1), note(2), note(3, None, "cannot be built"))
    service = Service(k2=InputError("wrong"))
    forwarder = NoteForwarder(outbox, service, clock=lambda: 1000.0)
    assert await forwarder.forward_due()
    assert sorted(outbox.fates) == [
        ("k1", "taken"),
        ("k2", "wrong rebuild 1300"),
        ("k3", "cannot be built rebuild 1300"),
    ]


async def test_a_service_that_is_away_ends_the_round() -> None:
    outbox = Outbox(*(note(n) for n in range(100)))
    service = Service(k0=ServiceError("away"), k1=OSError())
    forwarder = NoteForwarder(outbox, service, clock=lambda: 1000.0)
    assert not await forwarder.forward_due()
    assert len(outbox.fates) == module.IN_FLIGHT
    assert ("k0", "away 1001") in outbox.fates
    assert ("k1", "OSError 1001") in outbox.fates


class SlowService(Service):
    """Takes notes only when ``go`` says so."""

    def __init__(self) -> None:
        super().__init__()
        self.under_way: list[str] = []
        self.full = asyncio.Event()
        self.go = asyncio.Event()

    async def post(self, key: str, request: NoteRequest) -> Taken:
        self.under_way.append(key)
        if len(self.under_way) == module.IN_FLIGHT:
            self.full.set()
        await self.go.wait()
        return Taken()


async def test_the_next_are_claimed_while_others_are_posted() -> None:
    outbox = Outbox(*(note(n) for n in range(100)))
    service = SlowService()
    task = asyncio.create_task(NoteForwarder(outbox, service).forward_due())
    async with asyncio.timeout(5):
        await service.full.wait()
        assert len(outbox.waiting) == 100 - module.IN_FLIGHT
        service.go.set()
        assert await task
    assert len(outbox.fates) == 100
    assert len(set(service.under_way)) == 100


async def test_a_database_that_goes_away_lets_what_is_under_way_end() -> None:
    outbox = Outbox(*(note(n) for n in range(module.BATCH)))
    forwarder = NoteForwarder(outbox, Service())
    claim = outbox.claim

    async def once(now: float, *, limit: int, lease_s: float) -> Sequence[DueNote]:
        outbox.trouble = [ServiceError("away")]
        outbox.claim = claim  # type: ignore[method-assign]
        return outbox.waiting

    outbox.claim = once  # type: ignore[method-assign]
    with pytest.raises(ServiceError, match="away"):
        await forwarder.forward_due()
    assert len(outbox.fates) == module.BATCH


async def test_a_fate_that_cannot_be_written_is_no_end() -> None:
    outbox = Outbox(note(1), note(2))
    outbox.write_trouble = [ServiceError("database away")]
    forwarder = NoteForwarder(outbox, Service())
    assert not await forwarder.forward_due()
    assert outbox.fates == [("k2", "taken")]


async def test_it_goes_on_when_the_database_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY_S", 0.001)
    outbox = Outbox(note(1))
    outbox.trouble = [ServiceError("away") for _ in range(3)]
    service = Service()
    async with running(NoteForwarder(outbox, service)):
        await outbox.emptied.wait()
    assert outbox.fates == [("k1", "taken")]
    assert outbox.closed
    assert service.closed


async def test_a_hint_wakes_it() -> None:
    outbox = Outbox()
    async with running(NoteForwarder(outbox, Service())):
        await outbox.emptied.wait()
        outbox.emptied.clear()
        outbox.waiting = [note(1)]
        assert outbox.wake is not None
        outbox.wake()
        await outbox.emptied.wait()
    assert outbox.fates == [("k1", "taken")]

"""Fetches notes that are due from the switchboard's tables, until each of them is taken.

It runs in the note service, not in the switchboard: what is due is in the database, and the process
that decides about calls has better things to do than to build requests and carry them.

Theory of operation. The table of due notes is the truth, a notification from the database only a
hint: the forwarder sleeps until the next note is due or somebody wakes it, claims what is due for
a while (a lease: what a dead forwarder had claimed comes back), and posts it. An acknowledgement
is written down; a failure sets the time of the next attempt. Posting twice is harmless, since the
service knows a note by its key. When the service is away, one failed round makes the forwarder
pause as a whole instead of trying every note at it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from vsek.domain.note import DueNote, NoteRequest
from vsek.errors import InputError, ServiceError, VsekError

_log = structlog.get_logger(__name__)

BATCH = 8
"""Notes that are claimed at once: each is built in the database's time."""
IN_FLIGHT = 32
"""Notes that are posted at the same time."""
LEASE_S = 20.0
"""Longer than it takes to post what was claimed at once; a note whose forwarder died waits this
long."""
LOOK_AGAIN_S = 30.0
"""The longest sleep: in case a hint was lost."""
_SHORTEST_SLEEP_S = 0.01
FIRST_RETRY_S = 1.0
LAST_RETRY_S = 15.0
REFUSED_RETRY_S = 300.0
"""A note that the service refuses for good is tried again this seldom: it needs somebody's help
(a wrong address in the client's data, say), and is logged as an error each time."""


class Outbox(Protocol):
    """Where due notes come from. All methods raise ``ServiceError`` while it is away."""

    async def claim(self, now: float, *, limit: int, lease_s: float) -> Sequence[DueNote]:
        """Take notes that are due, for ``lease_s`` seconds."""

    async def next_due(self) -> float | None:
        """When the next note is due, in Unix seconds."""

    async def acknowledged(self, note: DueNote, note_id: str, now: float) -> None:
        """The service has taken the note."""

    async def failed(self, note: DueNote, error: str, retry_at: float, *, rebuild: bool) -> None:
        """The note is to be tried again at ``retry_at``, built anew if ``rebuild``."""

    async def listen(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` from now on whenever something may have become due; repeatable."""

    async def close(self) -> None:
        """Stop listening."""


class Taken(Protocol):
    """The service's answer."""

    @property
    def id(self) -> str:
        """The service's id of the note."""


class Sender(Protocol):
    """The note service: the one in this process (``vsek.notify.intake``), or one that is asked over
    HTTP (``vsek.notify.client``)."""

    async def post(self, key: str, request: NoteRequest) -> Taken:
        """Hand a note over under its key. Raises ``InputError`` when the service refuses this
        request for good, ``ServiceError`` or ``OSError`` when it may take it later."""

    async def close(self) -> None:
        """End the connections."""


def retry_delay_s(attempts: int, *, refused: bool) -> float:
    """Seconds until the next attempt after ``attempts`` that failed."""
    if refused:
        return REFUSED_RETRY_S
    return min(FIRST_RETRY_S * 2.0 ** min(attempts - 1, 30), LAST_RETRY_S)


class NoteForwarder:
    """One per note service; several at once do no harm."""

    def __init__(
        self, outbox: Outbox, sender: Sender, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._outbox = outbox
        self._sender = sender
        self._clock = clock
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look now whether something is due."""
        self._wake.set()

    async def run(self) -> None:
        """Forward until cancelled."""
        rounds_failed = 0
        delay = 0.0
        try:
            while True:
                self._wake.clear()
                try:
                    await self._outbox.listen(self.wake)
                    served = await self.forward_due()
                    delay = await self._until_next()
                except ServiceError as error:
                    served = False
                    _log.warning("notes_database_away", error=str(error))
                if served:
                    rounds_failed = 0
                    await self._sleep(delay)
                else:
                    # The service or the database is away: new notes are no reason to ask sooner.
                    rounds_failed += 1
                    await asyncio.sleep(retry_delay_s(rounds_failed, refused=False))
        finally:
            await self._outbox.close()
            await self._sender.close()

    async def forward_due(self) -> bool:
        """Post all that is due; ``False`` as soon as the service cannot be reached.

        The next notes are claimed while those before them are still being posted.
        """
        posting: set[asyncio.Task[bool]] = set()
        served, away = True, None
        async with asyncio.TaskGroup() as group:
            more = True
            while served and more:
                limit = min(BATCH, IN_FLIGHT - len(posting))
                try:
                    notes = await self._outbox.claim(self._clock(), limit=limit, lease_s=LEASE_S)
                except ServiceError as error:
                    away = error
                    break
                posting |= {
                    group.create_task(self._forward(note), name=f"note {note.key}")
                    for note in notes
                }
                more = len(notes) == limit
                done = {task for task in posting if task.done()}
                if len(posting) == IN_FLIGHT:
                    done, _ = await asyncio.wait(posting, return_when=asyncio.FIRST_COMPLETED)
                posting -= done
                served = all(task.result() for task in done)
        if away is not None:
            raise away
        return served and all(task.result() for task in posting)

    async def _forward(self, note: DueNote) -> bool:
        """Post one note and write down its fate; ``False`` when a part that it needs is away."""
        try:
            return await self._post_one(note)
        except ServiceError as error:
            # The fate could not be written: the note comes back when the lease ends, and the
            # service recognises it.
            _log.warning("note_fate_unwritten", key=note.key, error=str(error))
            return False

    async def _post_one(self, note: DueNote) -> bool:
        log = _log.bind(call_id=note.call_id, key=note.key, attempts=note.attempts)
        if note.request is None:
            await self._postpone(note, note.error, refused=True)
            return True
        try:
            taken = await self._sender.post(note.key, note.request)
        except InputError as error:
            log.error("note_refused", error=str(error))
            await self._postpone(note, str(error), refused=True)
            return True
        except (VsekError, OSError) as error:
            log.warning("note_not_forwarded", error=str(error) or type(error).__name__)
            await self._postpone(note, str(error) or type(error).__name__, refused=False)
            return False
        await self._outbox.acknowledged(note, taken.id, self._clock())
        log.debug("note_forwarded", note_id=taken.id)
        return True

    async def _postpone(self, note: DueNote, error: str, *, refused: bool) -> None:
        retry_at = self._clock() + retry_delay_s(note.attempts, refused=refused)
        await self._outbox.failed(note, error, retry_at, rebuild=refused)

    async def _until_next(self) -> float:
        at = await self._outbox.next_due()
        if at is None:
            return LOOK_AGAIN_S
        return min(max(_SHORTEST_SLEEP_S, at - self._clock()), LOOK_AGAIN_S)

    async def _sleep(self, delay_s: float) -> None:
        try:
            async with asyncio.timeout(delay_s):
                await self._wake.wait()
        except TimeoutError:
            return

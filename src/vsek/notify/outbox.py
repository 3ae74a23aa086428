"""Sends what is in the outbox.

Theory of operation. A few workers do the same: claim the delivery that is due longest (a row lock,
see ``database``), render it, hand it to the mail server over the worker's own connection, write
down what became of it, and again, until nothing is due. Then they wait for the next due time or for
:meth:`Outbox.wake` (a note came in, a retry was asked for, the mail server is back), and after a
while close their connection. The table is the truth; a wake-up only says that looking is worth
while, so it wakes one worker, and a worker that finds more than it can send wakes the next. Along
with the claimed delivery it is told when the next one is due, so nobody looks where there is none.

When the mail server as a whole fails, all workers rest (``retry.rest_s``); then one of them probes
with the next mail while the others go on resting. One success ends the rest.

What the mail server accepted must not be sent again only because the database went away at that
moment: such results are kept and written instead of sending when the delivery is claimed again.
Only if this process dies as well does the client get the mail twice, with the same Message-ID.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from vsek.domain.note import NoteRequest, Urgency
from vsek.notify.database import DATABASE_ERRORS, Claim, Claimed, Database
from vsek.notify.mail import Envelope, File, compose, message_id
from vsek.notify.metrics import NoteMetrics
from vsek.notify.render import Rendered, Renderer
from vsek.notify.retry import Attempt, RetryPolicy, Verdict, decide, rest_s
from vsek.notify.view import Undelivered
from vsek.settings import NotesSettings, SmtpSettings

_log = structlog.get_logger(__name__)

# Another process of the service may have died with a mail in its hands: its lock is gone, but
# nobody told us.
_LOOK_AGAIN_S = 30.0
_DATABASE_REST_S = 2.0
_KEEP_CONNECTION_S = 5.0
"""How long a connection to the mail server waits for the next mail: making one costs as much as
sending a mail. Servers wait for minutes before they hang up."""
_REMEMBERED = 64
"""Notes whose text is kept from when they are taken until they are sent."""


class Session(Protocol):
    """A connection to a mail server (``smtp.SmtpSession``)."""

    async def send(self, recipient: str, message: bytes) -> Attempt:
        """Try once."""
        ...

    async def close(self) -> None:
        """End the connection in order."""
        ...

    def drop(self) -> None:
        """End the connection at once, whatever it is doing."""
        ...


@dataclass(frozen=True, slots=True)
class _Look:
    """What a worker found. ``next_at``: if it sent a mail, when the next one is due."""

    sent: bool = False
    next_at: datetime | None = None


def utc_now() -> datetime:
    """The time of day, aware, in UTC."""
    return datetime.now(UTC)


class Outbox:
    """The workers. ``now`` and ``jitter`` (0 to 1) are arguments for the tests' sake."""

    def __init__(
        self,
        database: Database,
        renderer: Renderer,
        smtp: SmtpSettings,
        notes: NotesSettings,
        new_session: Callable[[], Session],
        *,
        metrics: NoteMetrics | None = None,
        policy: RetryPolicy | None = None,
        workers: int = 4,
        now: Callable[[], datetime] = utc_now,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._renderer = renderer
        self._smtp = smtp
        self._notes = notes
        self._new_session = new_session
        self._metrics = metrics or NoteMetrics()
        self._policy = policy or RetryPolicy()
        self._workers = workers
        self._now = now
        self._jitter = jitter
        self._news = False
        self._waiting: list[asyncio.Future[None]] = []
        self._called = 0
        self._looking = 0
        self._in_hand: set[int] = set()
        self._laid_out: dict[str, Rendered] = {}
        self._server_failures = 0
        self._rest_from: datetime | None = None
        self._rest_until: datetime | None = None
        self._probing = False
        self._stopping = False
        self._unwritten: dict[int, Attempt] = {}
        self.server_reply = ""
        """Why the mail server takes no mail; empty when it does."""

    def remember(self, note_id: str, rendered: Rendered) -> None:
        """A note that will be sent soon was laid out like this, with all that goes along."""
        self._laid_out[note_id] = rendered
        while len(self._laid_out) > _REMEMBERED:
            del self._laid_out[next(iter(self._laid_out))]

    def wake(self) -> None:
        """Something may be due: a worker looks, or all are busy, and the first to be done does."""
        if self._called:
            return  # whoever was called has not looked yet
        # Who began to wait last still has a connection.
        while self._waiting:
            waiter = self._waiting.pop()
            if not waiter.done():
                self._called += 1
                waiter.set_result(None)
                return
        self._news = True

    async def run(self) -> None:
        """Work until cancelled. A mail that is being sent then is sent again at the next start."""
        self._stopping = False
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(self._work(), name=f"outbox-{number}")
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                # Python 3.11's wait_for, which the database driver uses, can swallow the
                # cancellation of a worker.
                self._stopping = True
                for waiter in self._waiting:
                    waiter.cancel()

    async def _work(self) -> None:
        session = self._new_session()
        try:
            while not self._stopping:
                self._news = False
                wait_s: float
                try:
                    look = await self._look(session)
                    wait_s = await self._wait_s(look)
                except DATABASE_ERRORS as error:
                    _log.warning("outbox_database_failed", error=repr(error))
                    wait_s = _DATABASE_REST_S
                    self._news = False
                await self._sleep(wait_s, session)
        finally:
            session.drop()

    async def _sleep(self, wait_s: float, session: Session) -> None:
        """Until ``wait_s`` seconds are over or there are news."""
        keep_s = min(wait_s, _KEEP_CONNECTION_S)
        if wait_s <= 0 or await self._woken(keep_s) or wait_s <= keep_s:
            return
        await session.close()
        await self._woken(wait_s - keep_s)

    async def _woken(self, wait_s: float) -> bool:
        if self._news or self._stopping:
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(wait_s):
                await waiter
        except TimeoutError:
            # Both at once: then the hint counts.
            return waiter.done() and not waiter.cancelled()
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif waiter.done() and not waiter.cancelled():
                self._called -= 1
        return True

    def _rests(self, now: datetime) -> bool:
        """Whether all mail rests; a clock that is set back ends the rest."""
        if self._rest_from is None or self._rest_until is None:
            return False
        return self._rest_from <= now < self._rest_until

    async def _wait_s(self, look: _Look) -> float:
        now = self._now()
        if self._rests(now) and self._rest_until is not None:
            return (self._rest_until - now).total_seconds()
        due = look.next_at if look.sent else await self._database.next_due(now)
        if due is None:
            return _LOOK_AGAIN_S
        return min(_LOOK_AGAIN_S, (due - now).total_seconds())

    async def send_next(self, session: Session) -> bool:
        """Send the mail that is due longest; ``False`` if none is, or the mail server rests.

        Raises one of ``DATABASE_ERRORS``.
        """
        return (await self._look(session)).sent

    async def _look(self, session: Session) -> _Look:
        now = self._now()
        if self._rest_until is None:
            return await self._send_next(session, now)
        if self._probing or self._rests(now):
            return _Look()
        self._probing = True
        try:
            return await self._send_next(session, now)
        finally:
            self._probing = False

    async def _send_next(self, session: Session, now: datetime) -> _Look:
        async with AsyncExitStack() as transaction:
            self._looking += 1
            try:
                claim = await transaction.enter_async_context(
                    self._database.claim(now, self._in_hand)
                )
            finally:
                self._looking -= 1
            if claim is None:
                return _Look()
            delivery = claim.delivery
            self._in_hand.add(delivery.delivery_id)
            try:
                more = claim.next_at is not None and claim.next_at <= now
                if more and not self._looking and not self._probing:
                    self.wake()
                attempt = await self._sent(claim, session)
                copied = await self._settle(claim, attempt)
            finally:
                self._in_hand.discard(delivery.delivery_id)
        # Only now is it committed.
        self._unwritten.pop(delivery.delivery_id, None)
        if copied or attempt.verdict is not Verdict.ACCEPTED:
            self.wake()
        return _Look(sent=True, next_at=claim.next_at)

    async def _sent(self, claim: Claim, session: Session) -> Attempt:
        """The attempt, or the one whose fate could not be written down."""
        number = claim.delivery.delivery_id
        attempt = self._unwritten.get(number)
        if attempt is None:
            attempt = await self._attempt(claim, session)
            self._metrics.attempted(attempt.verdict)
            self._note_server(attempt)
        if attempt.verdict is Verdict.ACCEPTED:
            self._unwritten[number] = attempt
        return attempt

    async def _settle(self, claim: Claim, attempt: Attempt) -> bool:
        delivery = claim.delivery
        now = self._now()
        following = decide(
            self._policy,
            attempt.verdict,
            attempts=delivery.attempts + 1,
            queued_at=delivery.queued_at,
            now=now,
            jitter=self._jitter(),
        )
        copied = await claim.settle(following, now=now, code=attempt.code, reply=attempt.reply)
        self._metrics.settled(following.status)
        _log.info(
            "mail_tried",
            note_id=delivery.note_id,
            call_id=delivery.call_id,
            delivery_id=delivery.delivery_id,
            status=following.status.value,
            attempts=delivery.attempts + 1,
            reply_code=attempt.code,
            reply=attempt.reply,
            next_at=following.next_at.isoformat(),
        )
        return copied

    async def _attempt(self, claim: Claim, session: Session) -> Attempt:
        delivery = claim.delivery
        failures = await claim.failures() if delivery.is_copy else []
        try:
            message = self._message(delivery, failures, claim.contents)
        except Exception as error:  # noqa: BLE001 - one odd note must not stop all others
            _log.exception("mail_not_rendered", note_id=delivery.note_id, call_id=delivery.call_id)
            return Attempt(Verdict.DEFERRED, None, f"Could not be laid out: {error!r}"[:400])
        return await session.send(delivery.email, message)

    def _message(self, delivery: Claimed, failures: list[str], contents: dict[str, bytes]) -> bytes:
        request = NoteRequest.model_validate_json(delivery.request_json)
        undelivered = None
        recipients = list(request.recipients)
        fixed_id = delivery.message_id
        if delivery.is_copy:
            undelivered = Undelivered(tuple(failures))
            fixed_id = message_id(delivery.note_id, self._smtp.sender, copy=True)
            copied_to = {"name": "", "email": delivery.email}
            recipients = [type(recipients[0]).model_validate(copied_to)]
            request = request.model_copy(update={"language": self._notes.operations_language})
        envelope = Envelope(
            sender=self._smtp.sender,
            sender_name=self._smtp.sender_name,
            recipients=recipients,
            message_id=fixed_id,
            references=() if delivery.is_copy else delivery.references,
            date=delivery.received_at,
            language=request.language,
            urgent=request.urgency is Urgency.URGENT,
        )
        rendered = self._laid_out.get(delivery.note_id)
        if rendered is None or delivery.is_copy or request.attachments:
            rendered = self._renderer.render(
                request, delivery.note_id, undelivered=undelivered, attached=contents
            )
        files = [
            File(attachment.name, attachment.media_type, contents[attachment.name])
            for attachment in request.attachments
            if attachment.name in contents
        ]
        return compose(envelope, rendered, files)

    def _note_server(self, attempt: Attempt) -> None:
        """Whether the mail server works, as far as this attempt shows."""
        self._metrics.server(well=attempt.verdict is not Verdict.SERVER)
        if attempt.verdict is not Verdict.SERVER:
            was_failing = self._rest_until is not None
            self._server_failures = 0
            self._rest_until = None
            self.server_reply = ""
            if was_failing:
                _log.info("mail_server_back")
                self.wake()
            return
        if self._rest_until is not None and not self._probing:
            # Several workers were on it when it failed: that is one failure, not several.
            return
        self._server_failures += 1
        delay_s = rest_s(self._policy, self._server_failures, self._jitter())
        self._rest_from = self._now()
        self._rest_until = self._rest_from + timedelta(seconds=delay_s)
        code = f"{attempt.code} " if attempt.code is not None else ""
        self.server_reply = f"{code}{attempt.reply}"
        _log.warning(
            "mail_server_failed",
            reply=self.server_reply,
            failures=self._server_failures,
            rest_s=round(delay_s, 1),
        )

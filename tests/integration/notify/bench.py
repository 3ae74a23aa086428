"""The outbox on real PostgreSQL and SMTP, under a clock that the test moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
from tests.integration.notify.mailserver import MailServer

from vsek.domain.note import NoteRequest
from vsek.notify.database import Database, NewNote
from vsek.notify.mail import message_id
from vsek.notify.outbox import Outbox
from vsek.notify.render import Renderer
from vsek.notify.smtp import SmtpSession
from vsek.settings import NotesSettings, SmtpSettings


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 7, 22, 12, 5, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **delta: float) -> None:
        self.now += timedelta(**delta)


SENDER = "notes@vsek.example"


class Bench:
    """The outbox on real PostgreSQL and SMTP, under the test's clock."""

    def __init__(self, pool: asyncpg.Pool, mail_server: MailServer) -> None:
        self.clock = Clock()
        self.renderer = Renderer("DE")
        self.database = Database(pool, country="DE", operations_email="ops@vsek.example")
        self.smtp = SmtpSettings(port=mail_server.port, sender=SENDER, timeout_s=0.3)
        self.outbox = self.another()
        self.session = self.new_session()
        self._count = 0

    def new_session(self) -> SmtpSession:
        return SmtpSession(self.smtp, "[127.0.0.1]")

    def another(self, workers: int = 4) -> Outbox:
        """One more outbox on the same tables, as another process would run it."""
        return Outbox(
            self.database,
            self.renderer,
            self.smtp,
            NotesSettings(operations_language="en"),
            self.new_session,
            now=self.clock,
            jitter=lambda: 0.5,
            workers=workers,
        )

    async def accept(self, request: NoteRequest, key: str | None = None) -> str:
        """Put a note into the outbox; its id."""
        self._count += 1
        note_id = f"n260722-1205{self._count:02}-abcdef"
        rendered = self.renderer.render(request, note_id)
        found, _ = await self.database.accept(
            NewNote(
                note_id=note_id,
                key=key or f"key:{self._count}",
                request=request,
                subject=rendered.subject,
                message_id=message_id(note_id, SENDER),
                received_at=self.clock(),
            )
        )
        return found

    async def drain(self) -> int:
        """Send all that is due now; how many attempts that took."""
        attempts = 0
        while await self.outbox.send_next(self.session):
            attempts += 1
        return attempts

    async def statuses(self, note_id: str) -> list[tuple[str, str, int]]:
        """Address, status and attempts of each delivery."""
        found = await self.database.show(note_id)
        assert found is not None
        return [(to.email, to.status.value, to.attempts) for to in found[0].deliveries]

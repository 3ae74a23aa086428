"""Metrics of the note service. Labels come from closed lists; nothing of a note becomes one."""

from __future__ import annotations

from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector

from vsek.notify.model import DeliveryStatus
from vsek.notify.retry import Verdict


class NoteMetrics:
    """All of them; ``registry`` is what is served."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._attempts = Counter(
            "vsek_smtp_attempts",
            "Attempts to send a mail, by what the mail server said",
            ["verdict"],
            registry=registry,
        )
        for verdict in Verdict:
            self._attempts.labels(verdict.name.lower())
        self._settled = Counter(
            "vsek_deliveries",
            "Recipients' mails whose fate is settled",
            ["status"],
            registry=registry,
        )
        for status in DeliveryStatus:
            if status is not DeliveryStatus.QUEUED:
                self._settled.labels(status.value)
        self._taken = Counter("vsek_notes_taken", "Notes taken, each once", registry=registry)
        self._queued = Gauge("vsek_mails_queued", "Mails to be sent", registry=registry)
        self._oldest = Gauge(
            "vsek_mails_oldest_queued_seconds", "How long the oldest is queued", registry=registry
        )
        self._database = Gauge("vsek_database_up", "1 while PostgreSQL answers", registry=registry)
        self._server = Gauge(
            "vsek_mail_server_up", "0 while the mail server refuses all mail", registry=registry
        )
        self._server.set(1)

    def taken(self) -> None:
        """A new note was taken."""
        self._taken.inc()

    def attempted(self, verdict: Verdict) -> None:
        """A mail was tried."""
        self._attempts.labels(verdict.name.lower()).inc()

    def settled(self, status: DeliveryStatus) -> None:
        """What became of a recipient's mail."""
        if status is not DeliveryStatus.QUEUED:
            self._settled.labels(status.value).inc()

    def server(self, *, well: bool) -> None:
        """Whether the mail server takes mail."""
        self._server.set(well)

    def backlog(self, queued: int, oldest: datetime | None, now: datetime) -> None:
        """The database told what is queued, and since when the oldest is."""
        self._database.set(1)
        self._queued.set(queued)
        self._oldest.set(0.0 if oldest is None else max(0.0, (now - oldest).total_seconds()))

    def database_away(self) -> None:
        """The database did not answer."""
        self._database.set(0)

"""Ties facts, health, metrics, alarms and the watchdog to the parts of a running switchboard."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from vsek.ari import Client
from vsek.errors import VsekError
from vsek.health import sdnotify
from vsek.health.database import DatabaseProbe
from vsek.health.exposition import serve_metrics, tcp_address
from vsek.notify.client import NotesClient
from vsek.operations.alarms import Alarms
from vsek.operations.auditor import Auditor
from vsek.operations.trunks import Trunks
from vsek.pbx.ami import Watchman
from vsek.settings import Settings
from vsek.switchboard import health
from vsek.switchboard.alarms import Alarm
from vsek.switchboard.commands import AriCommander
from vsek.switchboard.facts import Commands, Facts, NoteService
from vsek.switchboard.heartbeat import Heartbeat
from vsek.switchboard.keeper import Keeper
from vsek.switchboard.link import AsteriskLink
from vsek.switchboard.metrics import Metrics
from vsek.switchboard.owner import Switchboard
from vsek.switchboard.vitals import DATABASE_SQL, Sources, Vitals
from vsek.switchboard.writer import RecordWriter

log = structlog.get_logger(__name__)

NOTE_SERVICE_DEADLINE_S = 4.0
STALLED_S = 60.0
"""Connected, but no event for this long: a fresh connection may help, so the watchdog is let go."""


@dataclass(frozen=True)
class Parts:
    """What is watched."""

    switchboard: Switchboard
    writer: RecordWriter
    link: AsteriskLink
    commander: AriCommander
    ari: Client
    keeper: Keeper
    watchman: Watchman | None
    heartbeat: Heartbeat


class Operations:
    """Watches ``parts``. Also the control API's port for health and metrics."""

    def __init__(self, settings: Settings, parts: Parts, metrics: Metrics) -> None:
        self._settings = settings
        self._parts = parts
        self.metrics = metrics
        self._notes = NotesClient(
            settings.notes.url,
            settings.notes.token.get_secret_value(),
            timeout_s=NOTE_SERVICE_DEADLINE_S,
        )
        self._alarms = Alarms(settings, self.facts, metrics)
        self._auditor = Auditor(settings)
        trunks = Trunks(
            parts.ari,
            parts.watchman,
            up=lambda: parts.link.up,
            agents=self._agents,
            wanted=settings.alarms.trunks,
            seen=self._alarms.subjects(Alarm.TRUNK),
        )
        self._vitals = Vitals(
            parts.switchboard,
            DatabaseProbe(settings.database.dsn.get_secret_value(), DATABASE_SQL),
            Sources(
                asterisk_up=lambda: parts.link.up,
                pulse_age_s=parts.heartbeat.age_s,
                directory_loaded=lambda: parts.keeper.loaded,
                records=lambda: (parts.writer.waiting, parts.writer.failing),
                commands=self._commands,
                note_service=self._note_service,
                trunks=trunks.look,
                differences=lambda: self._auditor.differences,
                folders=_folders(settings),
            ),
        )
        metrics.watch(self.facts)

    # --- what the control API shows ----------------------------------------------------------

    @property
    def registry(self) -> CollectorRegistry:
        """The metrics."""
        return self.metrics.registry

    def facts(self) -> Facts:
        """How everything is now."""
        return self._vitals.facts()

    def health(self) -> dict[str, Any]:
        """The body of ``GET /v1/health``."""
        raised = {"alarms": sorted(self._alarms.raised)}
        return health.report(self.facts(), self._settings.alarms) | raised

    def ready(self) -> bool:
        """Whether callers are answered."""
        # Before the first sign of life has come back the dialplan keeps callers to itself.
        return health.ready(self.facts()) and self._parts.heartbeat.beat > 0

    # --- life ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._vitals.run(), name="vitals")
                group.create_task(self.metrics.measure_lag(), name="lag")
                group.create_task(self._pet(), name="watchdog")
                group.create_task(self._alarms.run(), name="alarms")
                group.create_task(self._auditor.run(), name="auditor")
                if self._settings.metrics.listen:
                    address = tcp_address(self._settings.metrics.listen, "metrics.listen")
                    group.create_task(serve_metrics(self.registry, address), name="metrics")
        finally:
            await self._notes.close()

    async def _pet(self) -> None:
        """Tells the supervisor that we live, as long as that is true.

        That this runs shows that the event loop turns, and with it the queue, which never waits.
        """
        every_s = sdnotify.watchdog_s()
        if every_s is None:
            return
        while True:
            facts = self.facts()
            age_s = facts.pulse_age_s
            if not facts.asterisk_up or age_s is None or age_s < STALLED_S:
                sdnotify.tell(sdnotify.WATCHDOG)
            else:
                log.critical("watchdog_let_go", pulse_age_s=round(age_s, 1))
            await asyncio.sleep(every_s / 3)

    # --- sources ---------------------------------------------------------------------------------

    def _agents(self) -> Collection[str]:
        return self._parts.switchboard.state.directory.agents.keys()

    def _commands(self) -> Commands:
        commander = self._parts.commander
        return Commands(
            commander.sent,
            commander.failed,
            commander.timeouts,
            self._parts.ari.late_replies,
            commander.dropped,
            commander.legs.waiting,
        )

    async def _note_service(self) -> NoteService:
        try:
            answer = await self._notes.health()
        except VsekError as error:
            return NoteService(error=error.message)
        oldest_s = 0.0
        if answer.oldest_queued_at is not None:
            oldest_s = (datetime.now(UTC) - answer.oldest_queued_at).total_seconds()
        return NoteService("", answer.queued, max(0.0, oldest_s), answer.smtp_reply)


def _folders(settings: Settings) -> dict[str, Path]:
    folders = {"the run folder": settings.dir, "the sounds": settings.sounds_folder}
    if settings.asterisk.ledger_folder is not None:
        folders["Asterisk's ledger"] = settings.asterisk.ledger_folder
    return folders

"""How the switchboard is watched: facts from everywhere, health, metrics, alarms, the watchdog.

Part of the composition: it ties :mod:`vsek.switchboard.vitals` and the alarms to the database, the
note service, Asterisk's reports and the disks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from vsek.ari import AriError, Client
from vsek.errors import ServiceError, VsekError
from vsek.notify.client import NotesClient
from vsek.ops import sdnotify
from vsek.ops.database import DatabaseProbe
from vsek.ops.exposition import serve_metrics, tcp_address
from vsek.pbx.ami import Watchman
from vsek.settings import Settings
from vsek.switchboard import health
from vsek.switchboard.commands import AriCommander
from vsek.switchboard.facts import Commands, Facts, NoteService, Trunk
from vsek.switchboard.keeper import Keeper
from vsek.switchboard.link import AsteriskLink
from vsek.switchboard.metrics import Metrics
from vsek.switchboard.owner import Switchboard
from vsek.switchboard.presence import TECHNOLOGY
from vsek.switchboard.vitals import DATABASE_SQL, Sources, Vitals
from vsek.switchboard.writer import RecordWriter

log = structlog.get_logger(__name__)

NOTE_SERVICE_DEADLINE_S = 4.0
TRUNKS_DEADLINE_S = 5.0
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
        self._trunks = Trunks(settings, parts)
        self._vitals = Vitals(
            parts.switchboard,
            DatabaseProbe(settings.database.dsn.get_secret_value(), DATABASE_SQL),
            Sources(
                asterisk_up=lambda: parts.link.up,
                pulse_age_s=self._pulse_age_s,
                directory_loaded=lambda: parts.keeper.loaded,
                records=lambda: (parts.writer.waiting, parts.writer.failing),
                commands=self._commands,
                note_service=self._note_service,
                trunks=self._trunks.look,
                differences=lambda: None,
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
        return health.report(self.facts(), self._settings.alarms)

    def ready(self) -> bool:
        """Whether callers are answered."""
        return health.ready(self.facts())

    # --- life ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._vitals.run(), name="vitals")
                group.create_task(self.metrics.measure_lag(), name="lag")
                group.create_task(self._pet(), name="watchdog")
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

    def _pulse_age_s(self) -> float | None:
        return None

    def _commands(self) -> Commands:
        commander = self._parts.commander
        return Commands(
            commander.sent,
            commander.failed,
            commander.timeouts,
            self._parts.ari.late_replies,
            commander.dropped,
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


class Trunks:
    """Lines to providers, as Asterisk sees them.

    Endpoints that are no agents and once were reachable (or are named in the settings) must stay
    reachable; every outbound registration must hold. Asterisk tells the first over ARI, the second
    over AMI alone.
    """

    def __init__(self, settings: Settings, parts: Parts) -> None:
        self._wanted = frozenset(settings.alarms.trunks)
        self._parts = parts
        self._seen: set[str] = set()
        self._last: list[Trunk] = []

    async def look(self) -> Sequence[Trunk]:
        """All trunks; the last answer while Asterisk gives none."""
        if not self._parts.link.up:
            return self._last
        try:
            async with asyncio.timeout(TRUNKS_DEADLINE_S):
                self._last = [*await self._endpoints(), *await self._registrations()]
        except (AriError, ServiceError, OSError, TimeoutError) as error:
            log.warning("trunks_not_seen", error=str(error) or type(error).__name__)
        return self._last

    async def _endpoints(self) -> list[Trunk]:
        reply = await self._parts.ari.http("GET", f"endpoints/{TECHNOLOGY}")
        if reply.status >= 400 or not isinstance(reply.body, list):
            raise ServiceError(f"Asterisk lists no endpoints: {reply.status}")
        agents = self._parts.switchboard.state.directory.agents
        states: Mapping[str, str] = {
            str(endpoint["resource"]): str(endpoint.get("state", "unknown"))
            for endpoint in reply.body
            if endpoint["resource"] not in agents
        }
        self._seen |= {name for name, state in states.items() if state == "online"}
        self._seen &= states.keys()
        return [
            Trunk(name, states.get(name) == "online", states.get(name, "missing"))
            for name in sorted(self._seen | self._wanted)
        ]

    async def _registrations(self) -> list[Trunk]:
        watchman = self._parts.watchman
        if watchman is None:
            return []
        return [
            Trunk(name, status == "Registered", status)
            for name, status in await watchman.registrations()
        ]


def _folders(settings: Settings) -> dict[str, Path]:
    folders = {"the run folder": settings.dir, "the sounds": settings.sounds_folder}
    if settings.asterisk.ledger_folder is not None:
        folders["Asterisk's ledger"] = settings.asterisk.ledger_folder
    return folders

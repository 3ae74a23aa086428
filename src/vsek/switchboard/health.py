"""Health of the switchboard: each part in plain words, from the facts of one moment."""

from __future__ import annotations

from typing import Any

from vsek.domain.text import counted
from vsek.health import parts
from vsek.health.disks import Disk
from vsek.health.parts import Part, Status
from vsek.settings import AlarmSettings
from vsek.switchboard.facts import Facts

ESSENTIAL = frozenset({"asterisk", "directory"})
"""Without these nobody is answered. Calls are served without the database, the note service and
even the journal."""
OLD_S = 60.0
"""Notes that have been due for longer do not just happen to be under way."""


def assess(facts: Facts, settings: AlarmSettings) -> list[Part]:
    """All parts, good and bad."""
    return [
        _asterisk(facts),
        _directory(facts),
        _database(facts),
        _journal(facts),
        _notes(facts),
        *_trunks(facts),
        *(_disk(disk, settings) for disk in facts.disks),
    ]


def ready(facts: Facts) -> bool:
    """Whether callers are answered."""
    return facts.events_flow and not facts.directory_empty


def report(facts: Facts, settings: AlarmSettings) -> dict[str, Any]:
    """The body of ``GET /v1/health``."""
    return parts.as_json(assess(facts, settings), ESSENTIAL) | {
        "calls": sum(facts.calls.values()),
        "journal": facts.journal_entries,
        "records_waiting": facts.records_waiting,
    }


def _asterisk(facts: Facts) -> Part:
    if not facts.asterisk_up:
        return Part(
            "asterisk",
            Status.DOWN,
            "There is no connection to Asterisk, or it is just being taken up",
            "Does Asterisk run? 'vsek doctor' examines ARI, its user and its password",
        )
    if not facts.events_flow:
        return Part(
            "asterisk",
            Status.DOWN,
            f"Asterisk is connected, but has sent no event for {facts.pulse_age_s:.0f} s",
            "Asterisk hangs or is overloaded: look at its log and load, then restart it",
        )
    return Part("asterisk", Status.OK, "Connected, events flow")


def _directory(facts: Facts) -> Part:
    if facts.directory_empty:
        return Part(
            "directory",
            Status.DOWN,
            "Clients and agents are not known yet: every call gets the fault announcement",
            "Bring PostgreSQL up; they are read as soon as it answers",
        )
    if not facts.directory_loaded:
        return Part(
            "directory",
            Status.DEGRADED,
            "Clients and agents are those of the last run: they could not be read since the start",
            "Bring PostgreSQL up; they are read as soon as it answers",
        )
    return Part("directory", Status.OK, "Clients and agents are read")


def _database(facts: Facts) -> Part:
    found = facts.database
    entries = counted(facts.records_waiting, "journal entry", "journal entries")
    waiting = f"{entries} {'waits' if facts.records_waiting == 1 else 'wait'} for it"
    if found is None and not facts.records_failing:
        return Part("database", Status.OK, "Not asked yet")
    if found is not None and found.error:
        return Part(
            "database",
            Status.DOWN,
            f"PostgreSQL does not answer ({found.error}); calls are served on, {waiting}",
            "Bring it back: nothing is lost meanwhile, but no note leaves",
        )
    if found is not None and found.read_only:
        return Part(
            "database",
            Status.DOWN,
            f"PostgreSQL takes no writes (a standby); calls are served on, {waiting}",
            "Promote it, or let database.dsn name the primary",
        )
    if facts.records_failing:
        return Part(
            "database",
            Status.DEGRADED,
            f"PostgreSQL answers, but records could not be written lately; {waiting}",
            "See the switchboard's log (database_away)",
        )
    took_ms = found.took_s * 1000 if found is not None else 0.0
    return Part("database", Status.OK, f"Answers within {took_ms:.0f} ms")


def _journal(facts: Facts) -> Part:
    if facts.journal_broken:
        return Part(
            "journal",
            Status.DEGRADED,
            "The journal cannot be written: a restart now would forget what happened since",
            "Free space on the disk of the run folder; do not restart the switchboard before",
        )
    return Part("journal", Status.OK, f"{facts.journal_entries} entries")


def _notes(facts: Facts) -> Part:
    service, database = facts.note_service, facts.database
    if service is not None and service.error:
        return Part(
            "notes",
            Status.DEGRADED,
            f"The note service does not serve: {service.error}",
            "Start it ('vsek notes'), see its log; notes wait in the database",
        )
    if service is not None and service.smtp_reply:
        return Part(
            "notes",
            Status.DEGRADED,
            f"The mail server refuses all mail: {service.smtp_reply}",
            "Correct the settings under smtp, or the mail server; mails wait",
        )
    if database is not None and database.notes_due and database.notes_oldest_s > OLD_S:
        return Part(
            "notes",
            Status.DEGRADED,
            f"{counted(database.notes_due, 'note')} due, the oldest for "
            f"{database.notes_oldest_s:.0f} s",
            "See the switchboard's log (note_not_forwarded, note_refused)",
        )
    if service is not None and service.mails_oldest_s > OLD_S:
        return Part(
            "notes",
            Status.DEGRADED,
            f"{counted(service.mails_queued, 'mail')} queued, the oldest for "
            f"{service.mails_oldest_s:.0f} s",
            "'vsek note list --status queued' shows them with the mail server's words",
        )
    return Part("notes", Status.OK, "Notes are taken and mailed" if service else "Not asked yet")


def _trunks(facts: Facts) -> list[Part]:
    if not facts.trunks:
        return []
    down = [trunk for trunk in facts.trunks if not trunk.up]
    if down:
        return [
            Part(
                "trunks",
                Status.DEGRADED,
                "Not reachable: " + ", ".join(f"{trunk.name} ({trunk.says})" for trunk in down),
                "Network, credentials, the provider's state; on Asterisk's console: "
                "pjsip show registrations, pjsip show contacts",
            )
        ]
    return [Part("trunks", Status.OK, f"{len(facts.trunks)} reachable")]


def nearly_full(disk: Disk, settings: AlarmSettings) -> bool:
    """Whether ``disk`` has less free space or files than the settings want."""
    share = settings.disk_free_percent / 100
    if not share:
        return False
    little = disk.free < share or disk.free_files < share
    return little or disk.free_bytes < settings.disk_free_mb * 1e6


def _disk(disk: Disk, settings: AlarmSettings) -> Part:
    free = f"{disk.free_bytes / 1e9:.1f} GB ({disk.free:.0%}) free at {disk.path}"
    if nearly_full(disk, settings):
        if disk.free_files < settings.disk_free_percent / 100:
            free += f", {disk.free_files:.0%} of its files"
        return Part(
            f"disk of {disk.name}", Status.DEGRADED, f"Nearly full: {free}", "Free some space"
        )
    return Part(f"disk of {disk.name}", Status.OK, free)

"""When operations are told that something is wrong, and that it is over: pure decisions.

Theory of operation. From the facts of one moment follow *troubles* (:func:`troubles`): what is
wrong now, each with the alarm it belongs to and a subject (a trunk, a disk) where there may be
several. A trouble that has lasted for as long as its alarm's setting says is *raised*: told once,
reminded of seldom, and *cleared* when it has been gone for a moment (:class:`Watch`). Nothing is
asked for and nothing is sent here; time is an argument.

What nobody can know at a moment (the database, before it was first asked) leaves an alarm as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum

import msgspec

from vsek.acd.state import AgentState
from vsek.settings import AlarmSettings
from vsek.switchboard.facts import Facts
from vsek.switchboard.health import nearly_full


class Alarm(StrEnum):
    """What operations are told about."""

    NOBODY_SIGNED_IN = "nobody_signed_in"
    NOBODY_READY = "nobody_ready"
    TRUNK = "trunk"
    NOTES_LATE = "notes_late"
    NOTE_SERVICE = "note_service"
    MAIL_SERVER = "mail_server"
    DISK = "disk"
    DATABASE = "database"
    ASTERISK = "asterisk"
    JOURNAL = "journal"
    AUDIT = "audit"


REMIND_SELDOM_S = {Alarm.AUDIT: 86_400.0}
"""What cannot be mended, a difference of yesterday, is not told every hour."""


class Change(StrEnum):
    """What operations are told."""

    RAISED = "raised"
    REMINDED = "reminded"
    CLEARED = "cleared"


class Trouble(msgspec.Struct, frozen=True):
    """Something is wrong now. ``detail`` fills in the words that tell it."""

    alarm: Alarm
    subject: str = ""
    detail: dict[str, str] = {}

    @property
    def key(self) -> str:
        """Names it among others."""
        return f"{self.alarm.value}/{self.subject}" if self.subject else self.alarm.value


class Raised(msgspec.Struct):
    """A trouble that was told and is not over. Times are Unix seconds."""

    trouble: Trouble
    since: float
    """When it began."""
    told_at: float
    told: int = 1
    """How often."""
    gone_since: float | None = None


class Notice(msgspec.Struct, frozen=True):
    """Operations are to be told."""

    change: Change
    trouble: Trouble
    since: float
    at: float
    told: int
    """Which telling of this trouble it is, counted from 1."""

    @property
    def note_key(self) -> str:
        """Idempotency key: telling the same twice sends one mail."""
        name = "".join(c if c.isalnum() else "-" for c in self.trouble.key)[:120]
        return f"alarm:{name}:{int(self.since)}:{self.change.value}:{self.told}"


def holds(settings: AlarmSettings) -> dict[Alarm, float | None]:
    """For how long a trouble must last before it is told; ``None``: the alarm is off.

    How long callers and notes have waited is part of their trouble already.
    """
    return {
        Alarm.NOBODY_SIGNED_IN: 0.0 if settings.nobody_signed_in_s else None,
        Alarm.NOBODY_READY: 0.0 if settings.nobody_ready_s else None,
        Alarm.TRUNK: settings.trunk_s or None,
        Alarm.NOTES_LATE: 0.0 if settings.note_age_s else None,
        Alarm.NOTE_SERVICE: settings.notes_s or None,
        Alarm.MAIL_SERVER: settings.notes_s or None,
        Alarm.DISK: 0.0 if settings.disk_free_percent else None,
        Alarm.DATABASE: settings.database_s or None,
        Alarm.ASTERISK: settings.asterisk_s or None,
        Alarm.JOURNAL: 0.0 if settings.journal else None,
        Alarm.AUDIT: 0.0 if settings.audit else None,
    }


def unknown(facts: Facts) -> set[Alarm]:
    """Alarms about which these facts say nothing."""
    found: set[Alarm] = set()
    if facts.database is None:
        found |= {Alarm.DATABASE, Alarm.NOTES_LATE}
    elif facts.database.error:
        found.add(Alarm.NOTES_LATE)
    if facts.note_service is None:
        found |= {Alarm.NOTE_SERVICE, Alarm.MAIL_SERVER, Alarm.NOTES_LATE}
    elif facts.note_service.error:
        found |= {Alarm.MAIL_SERVER, Alarm.NOTES_LATE}
    if not facts.asterisk_up or facts.trunks is None:
        found.add(Alarm.TRUNK)
    if not facts.disks:
        found.add(Alarm.DISK)
    if facts.differences is None:
        found.add(Alarm.AUDIT)
    return found


def troubles(facts: Facts, settings: AlarmSettings) -> Iterator[Trouble]:
    """What is wrong by these facts."""
    yield from _unattended(facts, settings)
    if not facts.events_flow:
        silent = f"{facts.pulse_age_s or 0:.0f}" if facts.asterisk_up else ""
        yield Trouble(Alarm.ASTERISK, detail={"silent_s": silent})
    for trunk in facts.trunks or ():
        if not trunk.up:
            yield Trouble(Alarm.TRUNK, trunk.name, {"says": trunk.says})
    database = facts.database
    if database is not None and (database.error or database.read_only):
        says = database.error or "read-only"
        yield Trouble(Alarm.DATABASE, detail={"says": says, "waiting": str(facts.records_waiting)})
    yield from _notes(facts, settings)
    for disk in facts.disks:
        if nearly_full(disk, settings):
            detail = {"path": disk.path, "free": f"{disk.free_bytes / 1e9:.1f} GB, {disk.free:.0%}"}
            yield Trouble(Alarm.DISK, disk.name, detail)
    if facts.journal_broken:
        yield Trouble(Alarm.JOURNAL)
    if facts.differences:
        first = "; ".join(facts.differences[:3])
        yield Trouble(Alarm.AUDIT, detail={"count": str(len(facts.differences)), "first": first})


def _unattended(facts: Facts, settings: AlarmSettings) -> Iterator[Trouble]:
    if not facts.callers_waiting:
        return
    detail = {
        "waiting": str(facts.callers_waiting),
        "longest_s": f"{facts.longest_wait_s:.0f}",
        "signed_in": str(facts.signed_in),
    }
    if not facts.signed_in:
        if facts.longest_wait_s >= settings.nobody_signed_in_s:
            yield Trouble(Alarm.NOBODY_SIGNED_IN, detail=detail)
        return
    free = facts.agents.get(AgentState.READY, 0) + facts.agents.get(AgentState.OFFERED, 0)
    if not free and facts.longest_wait_s >= settings.nobody_ready_s:
        talking = facts.agents.get(AgentState.TALKING, 0)
        paused = facts.agents.get(AgentState.PAUSED, 0)
        states = {"talking": str(talking), "paused": str(paused)}
        yield Trouble(Alarm.NOBODY_READY, detail=detail | states)


def _notes(facts: Facts, settings: AlarmSettings) -> Iterator[Trouble]:
    service = facts.note_service
    if service is not None and service.error:
        yield Trouble(Alarm.NOTE_SERVICE, detail={"says": service.error})
    elif service is not None and service.smtp_reply:
        yield Trouble(Alarm.MAIL_SERVER, detail={"says": service.smtp_reply})
    database = facts.database
    due, due_s = (database.notes_due, database.notes_oldest_s) if database else (0, 0.0)
    mails, mails_s = (service.mails_queued, service.mails_oldest_s) if service else (0, 0.0)
    if max(due_s, mails_s) > settings.note_age_s:
        yield Trouble(
            Alarm.NOTES_LATE,
            detail={
                "notes": str(due),
                "mails": str(mails),
                "oldest_min": f"{max(due_s, mails_s) / 60:.0f}",
            },
        )


class Watch:
    """Remembers what was told. ``raised`` can be stored and given to the next process."""

    def __init__(self, raised: Mapping[str, Raised] | None = None) -> None:
        self.raised: dict[str, Raised] = dict(raised or {})
        self._since: dict[str, float] = {}

    def look(self, facts: Facts, settings: AlarmSettings) -> list[Notice]:
        """What operations are to be told now."""
        now = facts.at
        hold = holds(settings)
        found = {t.key: t for t in troubles(facts, settings) if hold[t.alarm] is not None}
        silent = unknown(facts)
        self._since = {
            key: min(now, self._since.get(key, now))
            for key in found.keys() | self._since.keys()
            if key in found or Alarm(key.partition("/")[0]) in silent
        }
        notices = [
            notice
            for key, trouble in found.items()
            if (notice := self._wrong(key, trouble, hold[trouble.alarm] or 0.0, now, settings))
        ]
        for key, raised in list(self.raised.items()):
            off = hold[raised.trouble.alarm] is None
            if key not in found and (off or raised.trouble.alarm not in silent):
                notices.extend(self._gone(key, raised, now, settings.clear_s))
        return notices

    def _wrong(
        self, key: str, trouble: Trouble, hold_s: float, now: float, settings: AlarmSettings
    ) -> Notice | None:
        raised = self.raised.get(key)
        if raised is None:
            since = self._since[key]
            if now - since < hold_s:
                return None
            self.raised[key] = Raised(trouble, since, now)
            return Notice(Change.RAISED, trouble, since, now, 1)
        raised.trouble = trouble
        raised.gone_since = None
        raised.told_at = min(raised.told_at, now)  # the clock may have been set back
        seldom_s = max(settings.remind_s, REMIND_SELDOM_S.get(trouble.alarm, 0.0))
        if not settings.remind_s or now - raised.told_at < seldom_s:
            return None
        raised.told_at = now
        raised.told += 1
        return Notice(Change.REMINDED, trouble, raised.since, now, raised.told)

    def _gone(self, key: str, raised: Raised, now: float, clear_s: float) -> Iterator[Notice]:
        raised.gone_since = min(now, raised.gone_since if raised.gone_since is not None else now)
        if now - raised.gone_since >= clear_s:
            del self.raised[key]
            yield Notice(Change.CLEARED, raised.trouble, raised.since, now, raised.told + 1)

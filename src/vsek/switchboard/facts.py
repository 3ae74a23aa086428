"""How the switchboard and what it leans on are at one moment, as plain values.

Gathered by :mod:`vsek.switchboard.vitals`; health, alarms and metrics read nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vsek.acd.state import AgentState
from vsek.domain.outcomes import Stage
from vsek.health.disks import Disk


@dataclass(frozen=True, slots=True)
class Trunk:
    """A line to a provider. ``says``: what Asterisk calls its state."""

    name: str
    up: bool
    says: str


@dataclass(frozen=True, slots=True)
class Database:
    """PostgreSQL. ``error`` is empty while it answers; then the rest is as it said last."""

    error: str = ""
    read_only: bool = False
    took_s: float = 0.0
    notes_due: int = 0
    """Notes that were due and have not been taken by the note service."""
    notes_oldest_s: float = 0.0
    """How long the oldest of them has been due."""


@dataclass(frozen=True, slots=True)
class NoteService:
    """The note service. ``error`` is empty while it answers."""

    error: str = ""
    mails_queued: int = 0
    mails_oldest_s: float = 0.0
    smtp_reply: str = ""
    """Why the mail server refuses all mail; empty when it does not."""


@dataclass(frozen=True, slots=True)
class Commands:
    """What became of commands to Asterisk, since the start of the process."""

    sent: int = 0
    failed: int = 0
    timeouts: int = 0
    late_replies: int = 0
    dropped: int = 0
    """Not sent, because there was no connection."""
    legs_waiting: int = 0
    """Now: agents' legs that wait until Asterisk has made those before them."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything. ``None`` means: not known yet, or there is no way to know."""

    at: float
    """Unix seconds."""
    asterisk_up: bool = True
    """Connected and reconciled."""
    pulse_age_s: float | None = None
    """Seconds since Asterisk last showed that its events flow."""
    pulse_limit_s: float = 10.0
    """An older pulse means that they do not."""
    directory_loaded: bool = True
    """Clients and agents were read from the database by this process."""
    directory_empty: bool = False
    calls: Mapping[Stage, int] = field(default_factory=dict)
    callers_waiting: int = 0
    longest_wait_s: float = 0.0
    agents: Mapping[AgentState, int] = field(default_factory=dict)
    journal_entries: int = 0
    journal_broken: bool = False
    records_waiting: int = 0
    records_failing: bool = False
    database: Database | None = None
    note_service: NoteService | None = None
    disks: tuple[Disk, ...] = ()
    trunks: tuple[Trunk, ...] | None = None
    differences: tuple[str, ...] | None = None
    """What the audit found and could not explain."""
    commands: Commands = Commands()
    tasks: int = 0
    """Of the event loop: what waits there for something."""
    timers: int = 0
    """Deadlines of calls and agents that are armed."""

    @property
    def events_flow(self) -> bool:
        """Whether Asterisk is connected and its events come."""
        fresh = self.pulse_age_s is None or self.pulse_age_s <= self.pulse_limit_s
        return self.asterisk_up and fresh

    @property
    def signed_in(self) -> int:
        """Agents whose softphone is there, whatever they are doing."""
        return sum(count for state, count in self.agents.items() if state != AgentState.LOGGED_OUT)

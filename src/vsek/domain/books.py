"""The three books about calls as the comparison meets them, and what it finds (see ``audit``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from vsek.domain.ledger import Served
from vsek.domain.outcomes import Outcome

DAY_S = 86400.0


class Kind(StrEnum):
    """What differs."""

    UNREADABLE_LINE = "unreadable_line"
    """A line of the ledger that nobody can read."""
    TWICE_IN_LEDGER = "twice_in_ledger"
    """The ledger says twice that a call entered, or ended."""
    NOT_IN_DATABASE = "not_in_database"
    """Asterisk had a call that vsek knows nothing of."""
    NOT_IN_LEDGER = "not_in_ledger"
    """vsek had a call that Asterisk did not write down."""
    TWICE_IN_DATABASE = "twice_in_database"
    """One call of Asterisk's is two calls for vsek."""
    NO_OUTCOME = "no_outcome"
    """The call is over, but has no outcome."""
    TWO_OUTCOMES = "two_outcomes"
    """The timeline ends more than once."""
    TIMES = "times"
    """Times that cannot be, or that the books tell differently."""
    NO_END_IN_LEDGER = "no_end_in_ledger"
    """Closed for vsek, but the ledger does not say that the caller's channel ended."""
    SERVED = "served"
    """The books do not agree on who served the caller."""
    MESSAGE_LOST = "message_lost"
    """The caller left a message with the dialplan, but the call's outcome does not tell of it."""
    NO_NOTE = "no_note"
    """A closed call without a note that is due."""
    NOTE_LATE = "note_late"
    """Due, but the note service has not acknowledged it."""
    NOTE_UNKNOWN = "note_unknown"
    """Acknowledged, but the note service has no such note."""
    NOTE_STRAY = "note_stray"
    """The note service has a note on a call that was never due."""
    RECIPIENT_MISSING = "recipient_missing"
    """Somebody who was to get the note has no delivery."""
    DELIVERY_LATE = "delivery_late"
    """A mail waits longer than it may."""
    NO_COPY = "no_copy"
    """No recipient got the note, and operations got no copy."""


REMEDIES = {
    Kind.UNREADABLE_LINE: "look at the line; if a disk was full, expect a call to be missing",
    Kind.TWICE_IN_LEDGER: "look at the lines; the dialplan must write each of them once",
    Kind.NOT_IN_DATABASE: "call the caller back (the ledger has the number); start vsek if it is"
    " down, it reads the ledger at its start",
    Kind.NOT_IN_LEDGER: "see whether Asterisk could write its ledger (disk, rights)",
    Kind.TWICE_IN_DATABASE: "look at both calls; tell the client which note counts",
    Kind.NO_OUTCOME: "see the switchboard's log for this call; restart it if the call is not live",
    Kind.TWO_OUTCOMES: "look at the timeline: vsek call show",
    Kind.TIMES: "check the clocks of both machines, then the timeline: vsek call show",
    Kind.NO_END_IN_LEDGER: "see whether Asterisk still has the channel: core show channels",
    Kind.SERVED: "look at the timeline: vsek call show",
    Kind.MESSAGE_LOST: "listen to the recording in Asterisk's recording folder, pass it on by hand",
    Kind.NO_NOTE: "write the client by hand",
    Kind.NOTE_LATE: "see that the note service runs; vsek call show has its last error",
    Kind.NOTE_UNKNOWN: "write the client by hand; has the note service's database been restored?",
    Kind.NOTE_STRAY: "has vsek's database been restored from a backup?",
    Kind.RECIPIENT_MISSING: "write to this recipient by hand",
    Kind.DELIVERY_LATE: "see why the mail server does not take it; vsek note retry",
    Kind.NO_COPY: "pass the note on by hand: vsek note show",
}
"""What to do about each kind of difference."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that the books do not agree on. ``at``: when the call (or line) was, Unix s."""

    kind: Kind
    what: str
    at: float
    call_id: str = ""
    channel: str = ""
    note_id: str = ""

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return REMEDIES[self.kind]


@dataclass(frozen=True, slots=True)
class Rules:
    """What is compared, and what counts as a difference. Seconds; times are Unix seconds."""

    since: float
    until: float
    now: float
    settle_s: float = 120.0
    """What is younger is still under way."""
    skew_s: float = 60.0
    """How far the clocks of two machines may be apart, with the way from one to the other."""
    away_s: float = 900.0
    """Longest time for which a switchboard that was away may date an end too late."""
    longest_call_s: float = DAY_S
    fallback_s: float = 900.0
    """Longest time that a caller can be with the dialplan alone."""
    note_s: float = 900.0
    """How long after it was due a note may be without acknowledgement."""
    give_up_s: float = 3 * DAY_S
    """How long the note service tries a recipient."""
    delivery_s: float = 2 * 3600.0
    """How much longer a mail may wait: the pause between two attempts, and then some."""

    @property
    def settled(self) -> float:
        """What happened before this moment must be in all books."""
        return self.now - self.settle_s


@dataclass(slots=True)
class Episode:
    """A call as the ledger tells it."""

    channel: str
    began_at: float
    ended_at: float | None = None
    served: Served = Served.NOBODY
    message: str = ""
    entered: bool = False
    cut_off: bool = False
    """Asterisk was started anew before it could write the end."""
    call_id: str = ""
    """The call that it turned out to be."""


@dataclass(frozen=True, slots=True)
class DeliveryEntry:
    """One recipient's mail in the note service's book."""

    email: str
    is_copy: bool
    status: str
    queued_at: float


@dataclass(frozen=True, slots=True)
class NoteEntry:
    """A note in the note service's book."""

    note_id: str
    key: str
    deliveries: tuple[DeliveryEntry, ...]


@dataclass(frozen=True, slots=True)
class DueEntry:
    """A note that vsek owes to the note service."""

    key: str
    due_at: float
    acked: bool
    note_id: str
    last_error: str
    recipients: tuple[str, ...]
    folded: bool = False
    """The note of another call, whose id this is, tells of it as well."""


@dataclass(frozen=True, slots=True)
class CallEntry:
    """A call in vsek's book, with what is due and what the note service has for it."""

    call_id: str
    channel: str
    received_at: float
    answered_at: float | None
    ended_at: float | None
    outcome: Outcome | None
    reason: str
    ends: int = 1
    """How often the timeline ends."""
    due: tuple[DueEntry, ...] = ()
    notes: tuple[NoteEntry, ...] = ()


@dataclass(slots=True)
class Counts:
    """How much each book holds for the time that was compared."""

    ledger_calls: int = 0
    ledger_open: int = 0
    """Without an end in the ledger: live, or cut off by Asterisk's death."""
    calls: int = 0
    live: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    due: int = 0
    acknowledged: int = 0
    notes: int = 0
    deliveries: Counter[str] = field(default_factory=Counter)
    copies: int = 0

    def count_ledger(self, episodes: Iterable[Episode], rules: Rules) -> None:
        """Add the ledger's book."""
        for episode in episodes:
            if rules.since <= episode.began_at < rules.until:
                self.ledger_calls += 1
                self.ledger_open += episode.ended_at is None

    def count_call(self, call: CallEntry) -> None:
        """Add a call of the database and its notes."""
        self.calls += 1
        if call.outcome is None:
            self.live += 1
        else:
            self.outcomes[call.outcome.value] += 1
        self.due += len(call.due)
        self.acknowledged += sum(due.acked for due in call.due)
        self.notes += len(call.notes)
        for note in call.notes:
            for mail in note.deliveries:
                self.copies += mail.is_copy
                self.deliveries[mail.status] += not mail.is_copy


@dataclass(frozen=True, slots=True)
class Unread:
    """A book, or a part of one, that could not be compared."""

    book: str
    why: str
    remedy: str


@dataclass(slots=True)
class Report:
    """What the comparison came to."""

    rules: Rules
    counts: Counts = field(default_factory=Counts)
    differences: list[Difference] = field(default_factory=list)
    omitted: int = 0
    """Differences beyond those that are listed."""
    unread: list[Unread] = field(default_factory=list)

    LISTED: ClassVar[int] = 10_000

    def add(self, found: Iterable[Difference]) -> None:
        """Take up differences; the first ten thousand are listed, all are counted."""
        for difference in found:
            if len(self.differences) < self.LISTED:
                self.differences.append(difference)
            else:
                self.omitted += 1

    @property
    def equal(self) -> bool:
        """All books were read and tell the same."""
        return not self.differences and not self.unread

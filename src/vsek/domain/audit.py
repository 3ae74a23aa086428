"""The comparison of the three books about calls: pure functions, data in, differences out.

The books are kept by three programs that do not trust each other: Asterisk's dialplan writes the
*ledger*, the switchboard writes *calls* and what is due, the note service writes *deliveries*. A
call that all of them tell the same about was not lost on its way; where they differ, somebody has
to look. What is still under way is no difference: calls that go on, and everything younger than
``Rules.settle_s``.

A channel's id names a call only together with the time: after a restart Asterisk counts anew, and
a clock that was set back repeats ids. So the ledger's lines are brought together into *episodes*
(channel and second of entering), and an episode belongs to the call of its channel that was
received in its time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from vsek.domain import ledger
from vsek.domain.books import CallEntry, Difference, Episode, Kind, NoteEntry, Rules
from vsek.domain.ledger import Served
from vsek.domain.note import auto_key
from vsek.domain.outcomes import FOUND_GONE, Outcome

SAME_S = 2.0
"""Within this time a channel does not enter twice: both lines are about one call."""
_TALKED = frozenset({Outcome.ANSWERED, Outcome.PUT_THROUGH})
_COUNTER = re.compile(r"(?P<system>(?:.*-)?)(?P<epoch>[0-9]+)\.(?P<count>[0-9]+)\Z")


def when(at: float) -> str:
    """Unix seconds as people read them, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


# --- the ledger ----------------------------------------------------------------------------------


@dataclass(slots=True)
class Episodes:
    """Brings the ledger's lines together, and keeps what is not yet met by a call.

    ``since`` and ``until`` are those of the rules; a little more is kept to either side, for calls
    that the books date differently.
    """

    rules: Rules
    differences: list[Difference] = field(default_factory=list)
    _open: dict[str, list[Episode]] = field(default_factory=dict)

    @property
    def earliest(self) -> float:
        """Lines about calls that began before are of no use."""
        return self.rules.since - max(self.rules.away_s, self.rules.skew_s)

    @property
    def latest(self) -> float:
        """Lines about calls that began later are of no use."""
        return self.rules.until + self.rules.skew_s

    def add(self, text: str, place: str) -> None:
        """Take a line that was found at ``place`` (file and line number)."""
        line = ledger.parse(text)
        if line is None:
            self.differences.append(
                Difference(Kind.UNREADABLE_LINE, f"{place}: {_excerpt(text)}", at=self.rules.since)
            )
            return
        if not self.earliest <= line.began_at < self.latest:
            return
        episode = self._episode(line.channel, line.began_at)
        twice = episode.entered if line.kind == "in" else episode.ended_at is not None
        if twice:
            what = "entered" if line.kind == "in" else "ended"
            self.differences.append(
                Difference(
                    Kind.TWICE_IN_LEDGER,
                    f"{place}: the call of {when(line.began_at)} {what} a second time",
                    at=line.began_at,
                    channel=line.channel,
                )
            )
        elif line.kind == "in":
            episode.entered = True
        else:
            episode.ended_at = line.at
            episode.served = line.served
            episode.message = line.message

    def _episode(self, channel: str, began_at: float) -> Episode:
        of_channel = self._open.setdefault(channel, [])
        for episode in of_channel:
            if abs(episode.began_at - began_at) <= SAME_S:
                return episode
        of_channel.append(Episode(channel, began_at))
        return of_channel[-1]

    def find_restarts(self) -> None:
        """Mark what Asterisk could not end because it was started anew; after the last line.

        Within one run of Asterisk the number behind the dot of a channel's id only grows.
        """
        highest: dict[str, int] = {}
        started: dict[str, float] = {}
        for episode in sorted(self, key=lambda e: e.began_at, reverse=True):
            matched = _COUNTER.match(episode.channel)
            if matched is None:
                continue
            system, count = matched["system"], int(matched["count"])
            # Backwards in time: a number that is higher than a later one is of an earlier run.
            if count > highest.get(system, count):
                started[system] = episode.began_at
            highest[system] = count
            episode.cut_off = episode.ended_at is None and system in started

    def __iter__(self) -> Iterator[Episode]:
        for of_channel in self._open.values():
            yield from of_channel

    def of_call(self, channel: str, received_at: float) -> Episode | None:
        """The episode of a call, if there is one in its time."""
        skew = self.rules.skew_s
        for episode in self._open.get(channel, ()):
            end = episode.began_at + self.rules.away_s
            if episode.ended_at is not None:
                end = max(end, episode.ended_at)
            if episode.began_at - skew <= received_at <= end + skew:
                return episode
        return None

    def strangers(self) -> Iterator[Episode]:
        """Episodes of the time that is compared for which no call was found."""
        for episode in self:
            if not episode.call_id and self.rules.since <= episode.began_at < self.rules.until:
                yield episode


def _excerpt(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else " " for letter in text[:80])
    return f"{shown!r}{' …' if len(text) > 80 else ''}"


def episode_without_call(episode: Episode, rules: Rules) -> list[Difference]:
    """``episode`` of the ledger for which the database has no call."""
    if episode.began_at >= rules.settled:
        return []
    if episode.ended_at is None and not episode.cut_off:
        # With the dialplan alone at this moment; vsek learns of it when it ends.
        if episode.began_at + rules.fallback_s > rules.now:
            return []
    elif episode.ended_at is not None and episode.ended_at >= rules.settled:
        return []
    served = {
        Served.NOBODY: "nobody served it",
        Served.VSEK: "vsek served it",
        Served.FALLBACK: "the dialplan served it",
    }[episode.served]
    message = f", with a message ({episode.message})" if episode.message else ""
    return [
        Difference(
            Kind.NOT_IN_DATABASE,
            f"Asterisk had a call at {when(episode.began_at)} ({served}{message}); the database"
            " has none",
            at=episode.began_at,
            channel=episode.channel,
        )
    ]


# --- a call --------------------------------------------------------------------------------------


def compare_call(
    call: CallEntry,
    episode: Episode | None,
    rules: Rules,
    *,
    ledger_read: bool = True,
    notes_read: bool = True,
) -> list[Difference]:
    """What the three books tell differently about ``call``.

    ``ledger_read``: whether there was a ledger for its day to look into; ``notes_read``: whether
    the note service's book was there.
    """
    if call.received_at >= rules.settled:
        return []

    def differs(kind: Kind, what: str) -> Difference:
        return Difference(kind, what, call.received_at, call.call_id, call.channel)

    found: list[Difference] = []
    if ledger_read:
        found += [differs(kind, what) for kind, what in _against_ledger(call, episode, rules)]
    if call.ended_at is None:
        if call.received_at + rules.longest_call_s < rules.now and not found:
            age_h = (rules.now - call.received_at) / 3600
            found.append(differs(Kind.NO_OUTCOME, f"no outcome after {age_h:.0f} hours"))
        return found
    if call.ends > 1:
        found.append(differs(Kind.TWO_OUTCOMES, f"its timeline ends {call.ends} times"))
    found += [differs(Kind.TIMES, what) for what in _implausible(call, rules)]
    if call.ended_at < rules.settled:
        found += _notes(call, rules, notes_read=notes_read)
    return found


def _against_ledger(
    call: CallEntry, episode: Episode | None, rules: Rules
) -> Iterator[tuple[Kind, str]]:
    if episode is None or not episode.entered:
        yield Kind.NOT_IN_LEDGER, f"received at {when(call.received_at)}; the ledger has no such"
        return
    if episode.call_id != call.call_id:
        yield Kind.TWICE_IN_DATABASE, f"for Asterisk it is the same call as {episode.call_id}"
    if episode.ended_at is None:
        if call.ended_at is None or call.ended_at >= rules.settled:
            return
        if not (episode.cut_off or call.reason == FOUND_GONE):
            yield Kind.NO_END_IN_LEDGER, f"closed at {when(call.ended_at)}, not so in the ledger"
        return
    if episode.ended_at >= rules.settled:
        return
    if call.ended_at is None:
        yield Kind.NO_OUTCOME, f"the caller was gone at {when(episode.ended_at)}"
        return
    early_s, late_s = episode.ended_at - call.ended_at, call.ended_at - episode.ended_at
    if early_s > rules.skew_s:
        yield Kind.TIMES, f"closed {early_s:.0f} s before Asterisk lost the caller"
    if late_s > rules.away_s and call.reason != FOUND_GONE:
        yield Kind.TIMES, f"closed {late_s:.0f} s after Asterisk lost the caller"
    if episode.message and call.outcome not in (Outcome.VOICEMAIL, Outcome.CALLBACK):
        yield Kind.MESSAGE_LOST, f"outcome {call.outcome}, but there is {episode.message}"
    if episode.served is not Served.VSEK and call.outcome in _TALKED:
        yield Kind.SERVED, f"{call.outcome}, but by the ledger vsek did not serve it"


def _implausible(call: CallEntry, rules: Rules) -> Iterator[str]:
    assert call.ended_at is not None
    if call.ended_at < call.received_at:
        yield f"ended {call.received_at - call.ended_at:.0f} s before it was received"
    if call.ended_at > rules.now + rules.skew_s:
        yield f"ends in the future, at {when(call.ended_at)}"
    if call.ended_at - call.received_at > rules.longest_call_s:
        yield f"lasted {(call.ended_at - call.received_at) / 3600:.0f} hours"
    if call.answered_at is not None:
        if not call.received_at <= call.answered_at <= call.ended_at:
            yield f"answered at {when(call.answered_at)}, outside its time"
    elif call.outcome is Outcome.ANSWERED:
        yield "answered, but nobody knows when"


# --- its notes -----------------------------------------------------------------------------------


def _notes(call: CallEntry, rules: Rules, *, notes_read: bool) -> Iterator[Difference]:
    def differs(kind: Kind, what: str, note_id: str = "") -> Difference:
        return Difference(kind, what, call.received_at, call.call_id, call.channel, note_id)

    if not any(due.key == auto_key(call.call_id) for due in call.due):
        yield differs(Kind.NO_NOTE, f"{call.outcome}, but no note is due")
    by_key = {note.key: note for note in call.notes}
    for due in call.due:
        note = by_key.pop(due.key, None)
        if not due.acked:
            late_s = rules.now - due.due_at
            if late_s > rules.note_s:
                said = f": {due.last_error}" if due.last_error else ""
                yield differs(
                    Kind.NOTE_LATE,
                    f"{due.key} was due {late_s / 60:.0f} minutes ago, not acknowledged{said}",
                )
        elif not notes_read or due.folded:
            continue
        elif note is None:
            yield differs(Kind.NOTE_UNKNOWN, f"the note service has no note {due.key}", due.note_id)
        elif note.note_id != due.note_id:
            yield differs(
                Kind.NOTE_UNKNOWN,
                f"{due.key} was acknowledged as {due.note_id}, but is {note.note_id}",
                note.note_id,
            )
        if note is not None:
            for kind, what in _deliveries(note, due.recipients, rules):
                yield differs(kind, what, note.note_id)
    for note in by_key.values():
        yield differs(Kind.NOTE_STRAY, f"{note.key} was never due", note.note_id)


def _deliveries(
    note: NoteEntry, recipients: Sequence[str], rules: Rules
) -> Iterator[tuple[Kind, str]]:
    originals = [mail for mail in note.deliveries if not mail.is_copy]
    copies = [mail for mail in note.deliveries if mail.is_copy]
    has = {mail.email.casefold() for mail in originals}
    for email in recipients:
        if email.casefold() not in has:
            yield Kind.RECIPIENT_MISSING, f"{note.key} has no delivery to {email}"
    for mail in note.deliveries:
        waits_s = rules.now - mail.queued_at
        if mail.status == "queued" and waits_s > rules.give_up_s + rules.delivery_s:
            yield Kind.DELIVERY_LATE, f"{note.key} waits {waits_s / 3600:.0f} hours ({mail.email})"
    if any(mail.status in ("accepted", "queued") for mail in originals):
        return
    if any(mail.status in ("accepted", "queued") for mail in copies):
        return
    failed = ", ".join(f"{mail.email} {mail.status}" for mail in originals) or "no recipient"
    if copies:
        failed += f"; the copy for operations ({copies[0].email}) {copies[0].status}"
    yield Kind.NO_COPY, f"{note.key} reached nobody: {failed}"

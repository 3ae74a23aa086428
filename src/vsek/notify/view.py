"""What a client reads about a call: every text of a note final, in the note's language, times on
the client's wall clock. How it looks is said by :mod:`vsek.notify.render`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from vsek.domain.note import (
    NoteDigest,
    NoteKind,
    NoteRecording,
    NoteRequest,
    RecordingFate,
    Urgency,
)
from vsek.domain.outcomes import (
    FALLBACK,
    FAX,
    FOUND_GONE,
    LOOP,
    MISSED,
    RING_LIMIT,
    Outcome,
    Stage,
)
from vsek.domain.text import clean_line
from vsek.notify.formats import Phone, duration, moment, phone
from vsek.notify.words import WORDS, Words

_SUBJECT_PART_LIMIT = 45


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the details: ``href`` makes the value a link."""

    label: str
    value: str
    href: str = ""


@dataclass(frozen=True, slots=True)
class Undelivered:
    """Why operations get a copy: one line per recipient who did not get the note."""

    failures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoteView:
    """A note ready to be laid out."""

    language: str
    subject: str
    notices: tuple[str, ...]
    headline: str
    urgent: str
    action: str
    for_contact: str
    caller: str
    call_number: Phone | None
    """The number to call back, for the button."""
    call_number_label: str
    contact_rows: tuple[Row, ...]
    text: str
    fields: tuple[Row, ...]
    details: tuple[Row, ...]
    footer: tuple[str, ...]
    words: Words


def caller_label(request: NoteRequest, country: str) -> str:
    """Who called, in a few words: name and company, else the number, else that it is unknown."""
    if request.kind is NoteKind.OPERATIONS and request.call is None:
        return ""  # an alarm: nobody called
    words = WORDS[request.language]
    caller = request.caller
    parts = [clean_line(part, _SUBJECT_PART_LIMIT) for part in (caller.name, caller.company)]
    label = ", ".join(part for part in parts if part)
    if label:
        return label
    number = phone(caller.number_dictated or caller.number_shown, country)
    if number is not None:
        return clean_line(number.shown, _SUBJECT_PART_LIMIT)
    return words.withheld if caller.withheld else words.unknown_caller


def _what(request: NoteRequest, words: Words) -> str:
    """What the note is about, in a word or two."""
    if request.kind is NoteKind.VOICEMAIL and _is_empty(request):
        return words.subject_missed
    return {
        NoteKind.MESSAGE: words.subject_call,
        NoteKind.MISSED_CALL: words.subject_missed,
        NoteKind.VOICEMAIL: words.subject_voicemail,
        NoteKind.CALLBACK: words.subject_callback,
        NoteKind.FORWARDED: words.subject_forwarded,
        NoteKind.DIGEST: words.subject_missed,
        NoteKind.OPERATIONS: words.subject_operations,
    }[request.kind]


def subject(request: NoteRequest, country: str, *, undelivered: bool = False) -> str:
    """The subject: who and what to do, never the concern, which may be confidential."""
    words = WORDS[request.language]
    if request.digest is not None:
        line = f"{words.subject_digest}: {_date(request.digest, words)}"
        return f"{words.subject_undelivered} {line}" if undelivered else line
    what = _what(request, words)
    who = caller_label(request, country)
    if request.kind is NoteKind.OPERATIONS and request.call is None:
        what, who = "vsek", clean_line(request.concern, 150)
    elif request.kind is NoteKind.OPERATIONS and request.call is not None:
        what = words.subject_loop if request.call.reason == LOOP else what
        dialled = phone(request.call.did, country)
        who = dialled.shown if dialled is not None else who
    line = f"{what}: {who}"
    if request.corrects:
        line = f"{words.subject_correction}: {line}"
    if request.urgency is Urgency.URGENT:
        line = f"{words.subject_urgent} {line}"
    if request.action is not None:
        line = f"{line} \N{EN DASH} {words.subject_action[request.action]}"
    if request.incomplete:
        line = f"{line} {words.subject_incomplete}"
    if undelivered:
        line = f"{words.subject_undelivered} {line}"
    return line


# Reasons of the switchboard for which "hung up" would not be true.
_NOT_HUNG_UP = frozenset({FOUND_GONE, RING_LIMIT})


_WAITED = frozenset(
    {
        *(Stage.WAITING, Stage.BRIEFING, Stage.NOTICE, Stage.CALLBACK, Stage.VOICEMAIL),
        Stage.FORWARDING,
    }
)
"""Who hung up in one of these has waited, and the headline says for how long."""


def _waited_s(request: NoteRequest) -> float | None:
    call = request.call
    if call is None:
        return None
    until = call.answered_at or call.ended_at
    return None if until is None else max(0.0, (until - call.received_at).total_seconds())


def _abandoned(request: NoteRequest, words: Words) -> str:
    """The headline of a call whose caller hung up."""
    stage = request.call.stage if request.call is not None else None
    if stage is Stage.GREETING:
        return words.missed_greeting
    if stage is Stage.ANNOUNCEMENT:
        return words.missed_announcement
    if stage is Stage.SCREENING:
        return words.missed_screening
    waited_s = _waited_s(request)
    if waited_s is None or waited_s < 1:
        return words.missed_waiting_short
    text = words.missed_briefing if stage is Stage.BRIEFING else words.missed_waiting
    return text.format(duration=duration(waited_s, words))


def _is_empty(request: NoteRequest) -> bool:
    """Whether the caller was asked for a message and said nothing."""
    fates = [one.fate for one in request.recordings if one.kind == "voicemail"]
    return bool(fates) and all(fate is RecordingFate.EMPTY for fate in fates)


_SERVED = frozenset({Outcome.VOICEMAIL, Outcome.CALLBACK, Outcome.FORWARDED})
"""Outcomes of calls that nobody missed, whatever ended them."""


def _disturbed(request: NoteRequest, words: Words) -> str:
    """The headline of a call that the switchboard was not there for; empty for all others."""
    call = request.call
    if call is None or (call.reason not in (FALLBACK, MISSED) and call.stage is not Stage.FALLBACK):
        return ""
    match call.outcome:
        case Outcome.VOICEMAIL:
            return words.disturbed_empty if _is_empty(request) else words.disturbed_message
        case Outcome.FAILED:
            return words.disturbed_no_message
        case Outcome.ABANDONED if call.reason == MISSED:
            return words.disturbed_missed
        case Outcome.ABANDONED:
            return words.disturbed_hung_up
        case _:
            return ""


def _without_talk(request: NoteRequest, words: Words) -> str:
    """The headline of a call that nobody talked with."""
    call = request.call
    if call is None or call.outcome is None:
        return words.missed_other
    if call.reason in _NOT_HUNG_UP and call.outcome not in _SERVED:
        return words.missed_other
    disturbed = _disturbed(request, words)
    if disturbed:
        return disturbed
    if call.reason == "closed":
        return words.missed_closed
    if call.outcome is Outcome.VOICEMAIL and _is_empty(request):
        return words.no_message
    if call.reason == FAX:
        return words.fax
    if call.outcome is Outcome.ABANDONED:
        return _abandoned(request, words)
    return words.outcome.get(call.outcome, words.missed_other)


def _is_loop(request: NoteRequest) -> bool:
    return request.call is not None and request.call.reason == LOOP


_WITHOUT_AGENT = frozenset(
    {NoteKind.MISSED_CALL, NoteKind.VOICEMAIL, NoteKind.CALLBACK, NoteKind.FORWARDED}
)


def _headline(request: NoteRequest, words: Words) -> str:
    if request.concern:
        return request.concern
    if request.digest is not None:
        day = _date(request.digest, words)
        return words.digest.format(date=day, count=request.digest.total)
    if request.kind is NoteKind.OPERATIONS:
        return words.loop if _is_loop(request) else words.unknown_number
    if request.kind in _WITHOUT_AGENT:
        return _without_talk(request, words)
    if request.text:
        return words.more
    return words.no_concern


def _details(request: NoteRequest, zone: ZoneInfo, words: Words, country: str) -> list[Row]:
    rows: list[Row] = []
    call = request.call if request.digest is None else None
    if call is not None:
        rows.append(Row(words.received, moment(call.received_at, zone, words)))
    talked_s = call.talked_s if call is not None else None
    if talked_s is not None and request.taken_by:
        value = words.talked_value.format(
            duration=duration(talked_s, words), agent=request.taken_by
        )
        rows.append(Row(words.talked, value))
    elif talked_s is not None:
        rows.append(Row(words.talked, duration(talked_s, words)))
    elif request.taken_by:
        rows.append(Row(words.taken_by, request.taken_by))
    waited_s = _waited_s(request)
    # For a call lost while it waited the headline says it.
    said = call is None or (call.stage in _WAITED and call.reason not in _NOT_HUNG_UP)
    if call is not None and call.reason == FOUND_GONE:
        said = True  # how long the caller waited, nobody knows
    if request.kind is NoteKind.MISSED_CALL and waited_s is not None and not said:
        rows.append(Row(words.waited, duration(waited_s, words)))
    forwarded_to = phone(call.forwarded_to, country) if call is not None else None
    if forwarded_to is not None:
        rows.append(Row(words.forwarded_to, forwarded_to.shown))
    if request.previous_calls:
        rows.append(Row(words.previous_calls, str(request.previous_calls)))
    if call is not None and request.kind is NoteKind.OPERATIONS:
        for label, text in (
            (words.dialled, call.did),
            *((words.forwarded_by, by) for by in call.forwarded_by),
        ):
            number = phone(text, country)
            if number is not None:
                rows.append(Row(label, number.shown))
        rows.append(Row(words.call, call.id))
    return rows


def _voice(request: NoteRequest, words: Words, attached: Collection[str]) -> list[Row]:
    """What the caller chose and said before anybody talked with them."""
    rows: list[Row] = []
    screening = request.screening
    if screening is not None and screening.choice:
        value = screening.choice
        if screening.key:
            value = words.chosen_value.format(choice=screening.choice, key=screening.key)
        rows.append(Row(words.chosen, value))
    fax = request.call is not None and request.call.reason == FAX  # the headline says it
    if screening is not None and screening.finding in words.finding and not fax:
        rows.append(Row(words.finding_label, words.finding[screening.finding]))
    rows += [
        Row(words.recording[recording.kind], _recording(recording, words, attached))
        for recording in request.recordings
        # After a talk there is nothing to do about it.
        if recording.fate is not RecordingFate.NOT_KEPT or request.kind is not NoteKind.MESSAGE
    ]
    return rows


def _digest(digest: NoteDigest, zone: ZoneInfo, words: Words, country: str) -> list[Row]:
    """One row for each call, by its time."""
    rows: list[Row] = []
    for call in digest.calls:
        number = phone(call.number, country)
        shown = number.shown if number is not None else words.withheld if call.withheld else ""
        who = " ".join(part for part in (call.name, shown) if part) or words.unknown_caller
        value = f"{who}: {words.fax}" if call.reason == FAX else who
        href = number.href if number is not None else ""
        rows.append(Row(f"{call.received_at.astimezone(zone):%H:%M}", value, href))
    if digest.total > len(digest.calls):
        count = digest.total - len(digest.calls)
        rows.append(Row("…", words.digest_more.format(count=count)))
    return rows


def _date(digest: NoteDigest, words: Words) -> str:
    day = digest.day
    return words.date.format(day=day.day, month=words.months[day.month - 1], year=day.year)


def _recording(recording: NoteRecording, words: Words, attached: Collection[str]) -> str:
    fate = recording.fate
    if fate is RecordingFate.ATTACHED and recording.attachment not in attached:
        fate = RecordingFate.ERASED
    parts = [words.recording_fate[fate]]
    if recording.seconds is not None and fate is not RecordingFate.EMPTY:
        parts.insert(0, duration(recording.seconds, words))
    if recording.consent and fate in (RecordingFate.ATTACHED, RecordingFate.NOT_KEPT):
        parts.append(words.recording_consent)
    return "; ".join([", ".join(parts[:2]), *parts[2:]])


def _phones(request: NoteRequest, words: Words, country: str) -> tuple[Row, ...]:
    """The caller's numbers, the one to call back first; one line if both are the same."""
    caller = request.caller
    dictated = phone(caller.number_dictated, country)
    shown = phone(caller.number_shown, country)
    if dictated is None and shown is None:
        return (Row(words.phone, words.withheld),) if caller.withheld else ()
    if dictated is None or shown is None or (dictated.href and dictated.href == shown.href):
        only = dictated or shown
        assert only is not None
        return (Row(words.phone, only.shown, only.href),)
    return (
        Row(words.phone_dictated, dictated.shown, dictated.href),
        Row(words.phone_shown, shown.shown, shown.href),
    )


def view(
    request: NoteRequest,
    note_id: str,
    *,
    country: str,
    undelivered: Undelivered | None = None,
    attached: Collection[str] | None = None,
) -> NoteView:
    """Everything that the templates show, in the note's language."""
    if attached is None:
        attached = {attachment.name for attachment in request.attachments}
    words = WORDS[request.language]
    zone = ZoneInfo(request.timezone)
    notices: list[str] = []
    if undelivered is not None:
        notices.append("\n".join([words.undelivered, *undelivered.failures]))
    if request.corrects:
        notices.append(words.correction)
    if request.incomplete:
        notices.append(words.incomplete)
    caller = request.caller
    phones = _phones(request, words, country)
    # To operations the number that was dialled matters; there is nobody to call back.
    is_operations = request.kind is NoteKind.OPERATIONS
    if is_operations:
        phones = tuple(replace(row, label=words.caller) for row in phones)
    button = None if is_operations else next((row for row in phones if row.href), None)
    contact_rows = [row for row in phones if row is not button]
    if caller.email:
        href = f"mailto:{caller.email}" if "@" in caller.email and " " not in caller.email else ""
        contact_rows.append(Row(words.email, caller.email, href))
    text = request.text
    if is_operations and not text:
        text = words.loop_remedy if _is_loop(request) else words.unknown_number_remedy
    footer = [words.footer.format(note=note_id)]
    if request.client is not None:
        footer.insert(0, words.footer_client.format(client=request.client.name))
    if len(request.recipients) > 1:
        names = ", ".join(recipient.name or recipient.email for recipient in request.recipients)
        footer.insert(1, f"{words.sent_to}: {names}")
    return NoteView(
        language=request.language,
        subject=subject(request, country, undelivered=undelivered is not None),
        notices=tuple(notices),
        headline=_headline(request, words),
        urgent=words.urgent if request.urgency is Urgency.URGENT else "",
        action=words.action[request.action] if request.action is not None else "",
        for_contact=request.for_contact,
        caller=", ".join(part for part in (caller.name, caller.company) if part),
        call_number=Phone(button.value, button.href) if button is not None else None,
        call_number_label=button.label if button is not None else "",
        contact_rows=tuple(contact_rows),
        text=text,
        fields=(
            *_voice(request, words, attached),
            *(_digest(request.digest, zone, words, country) if request.digest is not None else ()),
            *(Row(name, value) for name, value in request.fields.items() if value),
        ),
        details=tuple(_details(request, zone, words, country)),
        footer=tuple(footer),
        words=words,
    )

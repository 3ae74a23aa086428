"""What notes say, in each language.

A language is one :class:`Words`; mypy finds a missing text. Sentences avoid naming the caller's
sex, which nobody knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vsek.domain.note import Action, Language, RecordingFate
from vsek.domain.outcomes import Finding, Outcome


@dataclass(frozen=True, slots=True)
class Words:
    """One language. Texts with ``{…}`` are for ``str.format``."""

    weekdays: tuple[str, ...]
    months: tuple[str, ...]
    moment: str
    seconds: str
    minutes: str

    subject_call: str
    subject_missed: str
    subject_voicemail: str
    subject_callback: str
    subject_forwarded: str
    subject_digest: str
    subject_operations: str
    subject_loop: str
    subject_urgent: str
    subject_correction: str
    subject_incomplete: str
    subject_undelivered: str
    subject_action: dict[Action, str]

    action: dict[Action, str]
    urgent: str
    incomplete: str
    correction: str
    undelivered: str
    no_concern: str
    withheld: str
    unknown_caller: str

    caller: str
    phone: str
    phone_dictated: str
    phone_shown: str
    email: str
    for_contact: str
    more: str
    received: str
    talked: str
    talked_value: str
    taken_by: str
    waited: str
    dialled: str
    forwarded_by: str
    forwarded_to: str
    previous_calls: str
    call: str
    sent_to: str

    missed_closed: str
    missed_greeting: str
    missed_waiting: str
    missed_waiting_short: str
    missed_announcement: str
    missed_screening: str
    missed_briefing: str
    missed_other: str
    # The next five: vsek was away.
    disturbed_message: str
    disturbed_no_message: str
    disturbed_hung_up: str
    disturbed_missed: str
    disturbed_empty: str
    no_message: str
    fax: str
    outcome: dict[Outcome, str]
    unknown_number: str
    unknown_number_remedy: str
    loop: str
    loop_remedy: str

    chosen: str
    chosen_value: str
    finding_label: str
    finding: dict[Finding, str]
    recording: dict[str, str]
    """Labels, by kind."""
    recording_fate: dict[RecordingFate, str]
    recording_consent: str
    digest: str
    digest_more: str
    date: str

    footer: str
    footer_client: str


_GERMAN: Final = Words(
    weekdays=("Mo.", "Di.", "Mi.", "Do.", "Fr.", "Sa.", "So."),
    months=(
        "Januar",
        "Februar",
        "März",
        "April",
        "Mai",
        "Juni",
        "Juli",
        "August",
        "September",
        "Oktober",
        "November",
        "Dezember",
    ),
    moment="{weekday} {day}. {month} {year}, {hour:02}:{minute:02} Uhr",
    seconds="{s} s",
    minutes="{m} min {s} s",
    subject_call="Anruf",
    subject_missed="Verpasster Anruf",
    subject_voicemail="Sprachnachricht",
    subject_callback="Rückrufwunsch",
    subject_forwarded="Weitergeleiteter Anruf",
    subject_digest="Abgewiesene Anrufe",
    subject_operations="Unbekannte Nummer angerufen",
    subject_loop="Anruf im Kreis",
    subject_urgent="[Dringend]",
    subject_correction="Korrektur",
    subject_incomplete="(unvollständig)",
    subject_undelivered="[Unzustellbar]",
    subject_action={
        Action.CALL_BACK: "RR",
        Action.WILL_CALL_AGAIN: "RWA",
        Action.INFORMATION: "KN",
        Action.DONE: "OK",
    },
    action={
        Action.CALL_BACK: "Bitte zurückrufen",
        Action.WILL_CALL_AGAIN: "Ruft wieder an",
        Action.INFORMATION: "Zur Kenntnis",
        Action.DONE: "Erledigt",
    },
    urgent="Dringend",
    incomplete="Diese Notiz ist noch unvollständig. Wird sie ergänzt, erhalten Sie eine Korrektur.",
    correction="Korrektur: Diese Notiz ersetzt die frühere zu diesem Anruf.",
    undelivered="Niemand hat diese Notiz bekommen. Bitte geben Sie sie weiter:",
    no_concern="Noch kein Anliegen notiert.",
    withheld="Nummer unterdrückt",
    unknown_caller="unbekannt",
    caller="Anruf von",
    phone="Telefon",
    phone_dictated="Rückrufnummer",
    phone_shown="Angezeigte Nummer",
    email="E-Mail",
    for_contact="Für",
    more="Gesprächsnotiz",
    received="Anruf am",
    talked="Gespräch",
    talked_value="{duration} mit {agent}",
    taken_by="Angenommen von",
    waited="Wartezeit",
    dialled="Gewählte Nummer",
    forwarded_by="Weitergeleitet von",
    forwarded_to="Weitergeleitet an",
    previous_calls="Frühere Anrufe",
    call="Anruf-Nr.",
    sent_to="Notiz an",
    missed_closed="Verpasster Anruf außerhalb der Servicezeiten; die Ansage lief.",
    missed_greeting="Verpasster Anruf: während der Begrüßung aufgelegt.",
    missed_waiting="Verpasster Anruf: nach {duration} Wartezeit aufgelegt.",
    missed_waiting_short="Verpasster Anruf: aufgelegt, bevor jemand abheben konnte.",
    missed_announcement="Verpasster Anruf: die Ansage lief, dann wurde aufgelegt.",
    missed_screening="Verpasster Anruf: bei der Frage nach Name und Anliegen aufgelegt.",
    missed_briefing="Verpasster Anruf: nach {duration} aufgelegt, kurz vor dem Gespräch.",
    missed_other="Verpasster Anruf: es kam kein Gespräch zustande.",
    disturbed_message="Unser System war gestört; es wurde eine Nachricht hinterlassen.",
    disturbed_no_message="Unser System war gestört: Ansage gehört, keine Nachricht hinterlassen.",
    disturbed_hung_up="Unser System war gestört; vor der Ansage wurde aufgelegt.",
    disturbed_missed="Unser System war gestört; aufgelegt, bevor jemand abheben konnte.",
    disturbed_empty="Unser System war gestört: Ansage gehört, danach nichts gesagt.",
    no_message="Verpasster Anruf: Bitte um eine Nachricht gehört, keine hinterlassen.",
    fax="Ein Faxgerät hat angerufen.",
    outcome={
        Outcome.FAILED: "Verpasster Anruf: eine technische Störung hat ihn abgebrochen.",
        Outcome.VOICEMAIL: "Eine Sprachnachricht wurde hinterlassen.",
        Outcome.CALLBACK: "Niemand war frei; ein Rückruf wurde zugesagt.",
        Outcome.FORWARDED: "Der Anruf wurde weitergeleitet.",
        Outcome.BLOCKED: "Der Anruf wurde wie vereinbart abgewiesen.",
        Outcome.PUT_THROUGH: "Der Anruf wurde durchgestellt.",
    },
    unknown_number="Ein Anruf kam unter einer Nummer an, die keinem Auftraggeber zugeordnet ist.",
    unknown_number_remedy="Ist es die Nummer eines Auftraggebers, tragen Sie sie bei ihm ein.",
    loop="Ein Anruf ist im Kreis weitergeleitet worden und wurde nicht angenommen.",
    loop_remedy="Prüfen Sie die Rufumleitungen der Nummern, über die er kam.",
    chosen="Auswahl",
    chosen_value="{choice} (Taste {key})",
    finding_label="Zu hören",
    finding={
        Finding.SILENCE: "Auf die Frage nach Name und Anliegen wurde nichts gesagt.",
        Finding.MUSIC: "Auf die Frage nach Name und Anliegen war nur Musik zu hören.",
        Finding.FAX: "Töne eines Faxgeräts oder Modems.",
        Finding.MACHINE: "Nur Signaltöne, keine Stimme.",
    },
    recording={"screening": "Aufnahme", "voicemail": "Sprachnachricht"},
    recording_fate={
        RecordingFate.ATTACHED: "im Anhang",
        RecordingFate.NOT_KEPT: "diente nur der Annahme des Gesprächs und wurde gelöscht",
        RecordingFate.LATE: "noch nicht eingetroffen; sobald sie da ist, erhalten Sie sie",
        RecordingFate.LOST: "verloren gegangen",
        RecordingFate.EMPTY: "ohne Inhalt: es wurde nichts gesagt",
        RecordingFate.TOO_LARGE: "zu groß für eine E-Mail; bitte fragen Sie bei uns danach",
        RecordingFate.ERASED: "gelöscht",
    },
    recording_consent="auf die Aufnahme wurde vorher hingewiesen",
    digest="Abgewiesene Anrufe am {date}: {count}.",
    digest_more="und {count} weitere",
    date="{day}. {month} {year}",
    footer="Notiz {note}",
    footer_client="Ihr Telefonsekretariat für {client}",
)

_ENGLISH: Final = Words(
    weekdays=("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    months=(
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ),
    moment="{weekday} {day} {month} {year}, {hour:02}:{minute:02}",
    seconds="{s} s",
    minutes="{m} min {s} s",
    subject_call="Call",
    subject_missed="Missed call",
    subject_voicemail="Voice message",
    subject_callback="Call back requested",
    subject_forwarded="Forwarded call",
    subject_digest="Calls turned away",
    subject_operations="Unknown number called",
    subject_loop="Call in a loop",
    subject_urgent="[Urgent]",
    subject_correction="Correction",
    subject_incomplete="(incomplete)",
    subject_undelivered="[Undelivered]",
    subject_action={
        Action.CALL_BACK: "please call back",
        Action.WILL_CALL_AGAIN: "will call again",
        Action.INFORMATION: "for information",
        Action.DONE: "done",
    },
    action={
        Action.CALL_BACK: "Please call back",
        Action.WILL_CALL_AGAIN: "Will call again",
        Action.INFORMATION: "For your information",
        Action.DONE: "Done",
    },
    urgent="Urgent",
    incomplete="This note is not complete yet. If it is completed, you will get a correction.",
    correction="Correction: this note replaces the earlier one on this call.",
    undelivered="Nobody got this note. Please pass it on:",
    no_concern="No concern noted yet.",
    withheld="Number withheld",
    unknown_caller="unknown",
    caller="Call from",
    phone="Phone",
    phone_dictated="Call back on",
    phone_shown="Number shown",
    email="E-mail",
    for_contact="For",
    more="Note",
    received="Called on",
    talked="Talked",
    talked_value="{duration} with {agent}",
    taken_by="Taken by",
    waited="Waited",
    dialled="Number dialled",
    forwarded_by="Forwarded by",
    forwarded_to="Forwarded to",
    previous_calls="Earlier calls",
    call="Call no.",
    sent_to="Note sent to",
    missed_closed="Missed call outside service hours; the announcement was played.",
    missed_greeting="Missed call: hung up during the greeting.",
    missed_waiting="Missed call: hung up after waiting {duration}.",
    missed_waiting_short="Missed call: hung up before anybody could answer.",
    missed_announcement="Missed call: hung up after the announcement.",
    missed_screening="Missed call: hung up when asked for name and concern.",
    missed_briefing="Missed call: hung up after {duration}, just before the talk.",
    missed_other="Missed call: nobody could talk with the caller.",
    disturbed_message="Our system was disturbed; the caller left a message.",
    disturbed_no_message="Our system was disturbed; announcement heard, no message left.",
    disturbed_hung_up="Our system was disturbed; hung up before the announcement.",
    disturbed_missed="Our system was disturbed; hung up before anybody could answer.",
    disturbed_empty="Our system was disturbed; announcement heard, nothing said.",
    no_message="Missed call: asked for a message, left no message.",
    fax="A fax machine called.",
    outcome={
        Outcome.FAILED: "Missed call: it broke off because of a technical fault.",
        Outcome.VOICEMAIL: "A voice message was left.",
        Outcome.CALLBACK: "Nobody was free; a call back was promised.",
        Outcome.FORWARDED: "The call was forwarded.",
        Outcome.BLOCKED: "The call was turned away, as agreed.",
        Outcome.PUT_THROUGH: "The call was put through.",
    },
    unknown_number="A call arrived at a number that belongs to no client.",
    unknown_number_remedy="If the number dialled belongs to a client, enter it in the account.",
    loop="A call was forwarded in a circle and was not taken.",
    loop_remedy="Look at the call forwarding of the numbers over which it came.",
    chosen="Choice",
    chosen_value="{choice} (key {key})",
    finding_label="Heard",
    finding={
        Finding.SILENCE: "Nothing was said when asked for name and concern.",
        Finding.MUSIC: "Nothing but music when asked for name and concern.",
        Finding.FAX: "The tones of a fax machine or a modem.",
        Finding.MACHINE: "Signal tones only, no voice.",
    },
    recording={"screening": "Recording", "voicemail": "Voice message"},
    recording_fate={
        RecordingFate.ATTACHED: "attached",
        RecordingFate.NOT_KEPT: "served to take the call and was deleted",
        RecordingFate.LATE: "not here yet; you will get it as soon as it is",
        RecordingFate.LOST: "lost",
        RecordingFate.EMPTY: "without content: nothing was said",
        RecordingFate.TOO_LARGE: "too large for a mail; please ask us for it",
        RecordingFate.ERASED: "erased",
    },
    recording_consent="the caller had been told of the recording",
    digest="Calls turned away on {date}: {count}.",
    digest_more="and {count} more",
    date="{day} {month} {year}",
    footer="Note {note}",
    footer_client="Your telephone secretariat for {client}",
)

WORDS: Final[dict[Language, Words]] = {"de": _GERMAN, "en": _ENGLISH}

"""What operations read about an alarm, in German and English."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from vsek.switchboard.alarms import Alarm, Change, Notice


@dataclass(frozen=True, slots=True)
class _Words:
    title: str
    """In a subject; ``{subject}`` and details are filled in."""
    text: str
    todo: str
    text_without: str = ""
    """Instead of ``text``, where one of its details is not known."""


_EN = {
    Alarm.NOBODY_SIGNED_IN: _Words(
        "Callers wait and nobody is signed in",
        "Callers who wait: {waiting}; the first for {longest_s} s. No agent's softphone is "
        "registered.",
        "Sign somebody in. If agents say that they are: 'vsek agent list', 'vsek doctor'.",
    ),
    Alarm.NOBODY_READY: _Words(
        "Callers wait and nobody is free",
        "Callers who wait: {waiting}; the first for {longest_s} s. Agents signed in: {signed_in}, "
        "talking: {talking}, pausing: {paused}, ready: none.",
        "Call somebody back from a pause or in for help: 'vsek agent list', 'vsek agent ready ID'.",
    ),
    Alarm.TRUNK: _Words(
        "Trunk {subject} is down",
        "Asterisk says: {says}. No calls come in (or go out) there.",
        "Network, credentials, the provider's state. On Asterisk's console: "
        "pjsip show registrations, pjsip show contacts.",
    ),
    Alarm.NOTES_LATE: _Words(
        "Notes are late",
        "Notes that wait for the note service: {notes}, mails that wait for the mail server: "
        "{mails}; the oldest for {oldest_min} min.",
        "'vsek note list --status queued' and 'vsek note show NOTE' have the reasons; "
        "then 'vsek note retry NOTE'.",
    ),
    Alarm.NOTE_SERVICE: _Words(
        "The note service does not serve",
        "{says}",
        "Start it ('vsek notes'), see its log. Notes wait in the database meanwhile.",
    ),
    Alarm.MAIL_SERVER: _Words(
        "The mail server takes no mail",
        "It says: {says}",
        "Correct the settings under [smtp], or the mail server. Mails wait meanwhile.",
    ),
    Alarm.DISK: _Words(
        "The disk of {subject} is nearly full",
        "Free at {path}: {free}.",
        "Free some space. When it is full the journal breaks and recordings are lost.",
    ),
    Alarm.DATABASE: _Words(
        "PostgreSQL does not answer",
        "It says: {says}. Calls are served on, and no note leaves. Entries of the journal that "
        "wait for it: {waiting}.",
        "Bring it back. Nothing is lost meanwhile.",
    ),
    Alarm.ASTERISK: _Words(
        "Asterisk is away",
        "The switchboard is connected to Asterisk, but has got no event from it for {silent_s} s. "
        "Callers get the fallback or nothing at all.",
        "See that Asterisk runs; then 'vsek doctor'.",
        "The switchboard is not connected to Asterisk. Callers get the fallback or nothing at all.",
    ),
    Alarm.JOURNAL: _Words(
        "The journal cannot be written",
        "Calls are served on, but a restart now would forget what happened since.",
        "Free space on the disk of the run folder. Do not restart the switchboard before.",
    ),
    Alarm.AUDIT: _Words(
        "Audit: the books differ",
        "Differences between Asterisk's ledger, calls and notes: {count}. The first: {first}",
        "'vsek audit' shows all of them and what to do about each.",
    ),
}

_DE = {
    Alarm.NOBODY_SIGNED_IN: _Words(
        "Anrufer warten, und niemand ist angemeldet",
        "Wartende Anrufer: {waiting}; der erste seit {longest_s} s. Kein Softphone ist "
        "registriert.",
        "Jemand muss sich anmelden. Wenn alle angemeldet sein wollen: 'vsek agent list', "
        "'vsek doctor'.",
    ),
    Alarm.NOBODY_READY: _Words(
        "Anrufer warten, und niemand ist frei",
        "Wartende Anrufer: {waiting}; der erste seit {longest_s} s. Agenten angemeldet: "
        "{signed_in}, im Gespräch: {talking}, in Pause: {paused}, bereit: keiner.",
        "Jemanden aus der Pause oder zu Hilfe rufen: 'vsek agent list', 'vsek agent ready ID'.",
    ),
    Alarm.TRUNK: _Words(
        "Leitung {subject} ist gestört",
        "Asterisk meldet: {says}. Dort kommen keine Anrufe an (und gehen keine hinaus).",
        "Netz, Zugangsdaten, Zustand des Anbieters. Auf der Konsole von Asterisk: "
        "pjsip show registrations, pjsip show contacts.",
    ),
    Alarm.NOTES_LATE: _Words(
        "Notizen sind verspätet",
        "Notizen, die auf den Notizdienst warten: {notes}, Mails, die auf den Mailserver warten: "
        "{mails}; am längsten seit {oldest_min} min.",
        "'vsek note list --status queued' und 'vsek note show NOTIZ' nennen die Gründe; danach "
        "'vsek note retry NOTIZ'.",
    ),
    Alarm.NOTE_SERVICE: _Words(
        "Der Notizdienst arbeitet nicht",
        "{says}",
        "Starten ('vsek notes'), sein Log ansehen. Notizen warten solange in der Datenbank.",
    ),
    Alarm.MAIL_SERVER: _Words(
        "Der Mailserver nimmt keine Mails an",
        "Er sagt: {says}",
        "Die Einstellungen unter [smtp] oder den Mailserver in Ordnung bringen. Mails warten "
        "solange.",
    ),
    Alarm.DISK: _Words(
        "Der Datenträger ist fast voll ({subject})",
        "Frei unter {path}: {free}.",
        "Platz schaffen. Ist er voll, bricht das Journal ab und Aufnahmen gehen verloren.",
    ),
    Alarm.DATABASE: _Words(
        "PostgreSQL antwortet nicht",
        "Es sagt: {says}. Anrufe werden weiter bedient, und keine Notiz geht hinaus. Einträge im "
        "Journal, die auf die Datenbank warten: {waiting}.",
        "Wieder in Gang bringen. Bis dahin geht nichts verloren.",
    ),
    Alarm.ASTERISK: _Words(
        "Asterisk ist weg",
        "Die Vermittlung ist mit Asterisk verbunden, bekommt aber seit {silent_s} s keine "
        "Ereignisse von dort. Anrufer hören die Notansage oder gar nichts.",
        "Nachsehen, ob Asterisk läuft; dann 'vsek doctor'.",
        "Die Vermittlung ist nicht mit Asterisk verbunden. Anrufer hören die Notansage oder gar "
        "nichts.",
    ),
    Alarm.JOURNAL: _Words(
        "Das Journal lässt sich nicht schreiben",
        "Anrufe werden weiter bedient, aber ein Neustart vergäße jetzt, was seither geschah.",
        "Platz auf dem Datenträger des Laufordners schaffen. Vorher die Vermittlung nicht neu "
        "starten.",
    ),
    Alarm.AUDIT: _Words(
        "Prüfung: die Bücher weichen ab",
        "Abweichungen zwischen Asterisks Anrufbuch, Anrufen und Notizen: {count}. Die erste: "
        "{first}",
        "'vsek audit' zeigt alle und was jeweils zu tun ist.",
    ),
}

_ALL = {"de": _DE, "en": _EN}
_FRAME = {
    "de": {
        Change.RAISED: "Alarm: {title}",
        Change.REMINDED: "Weiterhin: {title}",
        Change.CLEARED: "Vorbei: {title}",
    },
    "en": {
        Change.RAISED: "Alarm: {title}",
        Change.REMINDED: "Still: {title}",
        Change.CLEARED: "Over: {title}",
    },
}
_LASTING = {
    "de": {
        Change.RAISED: "Seit {since}.",
        Change.REMINDED: "Seit {since}, also seit {lasted}.",
        Change.CLEARED: "Es begann {since} und dauerte {lasted}. Zuletzt hieß es:",
    },
    "en": {
        Change.RAISED: "Since {since}.",
        Change.REMINDED: "Since {since}, that is for {lasted}.",
        Change.CLEARED: "It began {since} and lasted {lasted}. What was said last:",
    },
}
_TODO = {"de": "Was zu tun ist: {todo}", "en": "What to do: {todo}"}


def _lasted(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    if minutes >= 10:
        return f"{minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _filled(text: str, notice: Notice) -> str:
    detail = {"subject": notice.trouble.subject, **notice.trouble.detail}
    for name, value in detail.items():  # values are not ours: they are never taken as a pattern
        text = text.replace("{" + name + "}", value or "-")
    return text


def says(notice: Notice, language: str = "en") -> str:
    """What is wrong, in a sentence or two."""
    words, detail = _ALL[language][notice.trouble.alarm], notice.trouble.detail
    whole = not words.text_without or all(detail.values())
    return _filled(words.text if whole else words.text_without, notice)


def todo(notice: Notice, language: str = "en") -> str:
    """What to do about it."""
    return _ALL[language][notice.trouble.alarm].todo


def title(notice: Notice, language: str) -> str:
    """The headline."""
    words = _ALL[language][notice.trouble.alarm]
    return _FRAME[language][notice.change].format(title=_filled(words.title, notice))


def body(notice: Notice, language: str, timezone: str) -> str:
    """The text below the headline."""
    zone = ZoneInfo(timezone)
    pattern = "%d.%m.%Y %H:%M:%S" if language == "de" else "%Y-%m-%d %H:%M:%S"
    lasting = _LASTING[language][notice.change].format(
        since=datetime.fromtimestamp(notice.since, UTC).astimezone(zone).strftime(pattern),
        lasted=_lasted(notice.at - notice.since),
    )
    what = says(notice, language)
    if notice.change is Change.CLEARED:
        return f"{lasting}\n\n{what}"
    return f"{what}\n{lasting}\n\n" + _TODO[language].format(todo=todo(notice, language))

"""Times, durations and telephone numbers as people read them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import phonenumbers

from vsek.notify.words import Words

_ONLY_NUMBER = re.compile(r"[+\d\s()/.\-]+\Z")
_NOT_DIALLED = re.compile(r"[^\d+]")


@dataclass(frozen=True, slots=True)
class Phone:
    """A number as shown, and its ``tel:`` address (empty if it cannot be dialled)."""

    shown: str
    href: str


def _href(number: phonenumbers.PhoneNumber) -> str:
    if number.extension:
        return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.RFC3966)
    return "tel:" + phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def phone(text: str, country: str) -> Phone | None:
    """``text`` as a number for people; ``None`` if there is no text.

    A number in international form is grouped. One in national form stays as typed, since it may
    belong to another country than ours; only its link assumes ``country`` (ISO 3166), if it is
    valid there. A number with words around it (``030 12345, ab 17 Uhr``) keeps them and can be
    dialled; what is no number is shown as it is.
    """
    text = text.strip()
    if not text:
        return None
    if not _ONLY_NUMBER.match(text):
        match = next(iter(phonenumbers.PhoneNumberMatcher(text, country)), None)
        return Phone(text, "" if match is None else _href(match.number))
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        number = None
    if number is not None:
        if text.startswith(("+", "00")) and phonenumbers.is_possible_number(number):
            shown = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
            return Phone(shown, _href(number))
        if phonenumbers.is_valid_number(number):
            return Phone(text, _href(number))
    digits = _NOT_DIALLED.sub("", text)
    return Phone(text, f"tel:{digits}" if len(digits) >= 3 else "")


def moment(at: datetime, zone: ZoneInfo, words: Words) -> str:
    """Date and time of ``at`` on the wall clock of ``zone``."""
    local = at.astimezone(zone)
    return words.moment.format(
        weekday=words.weekdays[local.weekday()],
        day=local.day,
        month=words.months[local.month - 1],
        year=local.year,
        hour=local.hour,
        minute=local.minute,
    )


def duration(seconds: float, words: Words) -> str:
    """``seconds`` in minutes and seconds, rounded."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes:
        return words.minutes.format(m=minutes, s=rest)
    return words.seconds.format(s=rest)

"""What the service itself says to callers: announcements in German and English, and a tone."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from enum import StrEnum

from vsek.domain.note import Language


class Announcement(StrEnum):
    """Sounds that belong to no client."""

    CLOSED = "closed"
    UNKNOWN_NUMBER = "unknown_number"
    FAULT = "fault"
    SCREENING = "screening"
    """Asks for name and concern, and says that it records."""
    RECORDED = "recorded"
    """Says that it records, after a client's own prompt."""


ANNOUNCEMENTS: Mapping[tuple[Announcement, Language], str] = {
    (Announcement.CLOSED, "de"): (
        "Guten Tag. Sie rufen außerhalb der Sprechzeiten an. Ihr Anruf wurde notiert. "
        "Auf Wiederhören."
    ),
    (Announcement.CLOSED, "en"): (
        "Hello. You are calling outside office hours. Your call has been noted. Goodbye."
    ),
    (Announcement.UNKNOWN_NUMBER, "de"): (
        "Diese Rufnummer ist zurzeit nicht vergeben. Bitte prüfen Sie die Nummer."
    ),
    (Announcement.UNKNOWN_NUMBER, "en"): (
        "This number is not in service. Please check the number and dial again."
    ),
    (Announcement.FAULT, "de"): (
        "Wegen einer technischen Störung können wir Ihren Anruf zurzeit nicht annehmen. "
        "Bitte rufen Sie später noch einmal an."
    ),
    (Announcement.FAULT, "en"): (
        "Due to a technical fault we cannot take your call at the moment. Please call again later."
    ),
    (Announcement.SCREENING, "de"): (
        "Bitte nennen Sie nach dem Signalton Ihren Namen und Ihr Anliegen. "
        "Ihre Ansage wird aufgezeichnet."
    ),
    (Announcement.SCREENING, "en"): (
        "After the tone, please say your name and the reason for your call. "
        "What you say is recorded."
    ),
    (Announcement.RECORDED, "de"): (
        "Bitte sprechen Sie nach dem Signalton. Ihre Ansage wird aufgezeichnet."
    ),
    (Announcement.RECORDED, "en"): "Please speak after the tone. What you say is recorded.",
}
"""Texts of the announcements, to be made and stored like a client's greeting."""

TONE = "tone"
"""After this one speaks. Made here, since not every Asterisk has its own sounds installed."""
_TONE_HZ = 850
_TONE_S = 0.35
_LOUD = 9000
_SLOPE = 160
"""Samples over which the tone comes and goes, so that it does not click."""


def tone(rate_hz: int) -> array[int]:
    """The tone as samples of 16 bit."""
    length = int(_TONE_S * rate_hz)
    samples = array("h")
    for place in range(length):
        loud = _LOUD * min(1.0, place / _SLOPE, (length - place) / _SLOPE)
        samples.append(int(loud * math.sin(2 * math.pi * _TONE_HZ * place / rate_hz)))
    return samples

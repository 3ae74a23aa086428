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
    CALLBACK = "callback"
    """Offers to be called back, to callers who wait and show their number."""
    CALLBACK_HIDDEN = "callback_hidden"
    """The same to those who show none."""
    CALLBACK_NUMBER = "callback_number"
    """Asks for a number, where the caller shows none."""
    CALLBACK_CHECK = "callback_check"
    """Before the number is read back."""
    CALLBACK_CONFIRM = "callback_confirm"
    """After it."""
    CALLBACK_THANKS = "callback_thanks"
    VOICEMAIL = "voicemail"
    """Asks for a message, and says that it records."""
    VOICEMAIL_THANKS = "voicemail_thanks"
    DIGIT_0 = "digit_0"
    DIGIT_1 = "digit_1"
    DIGIT_2 = "digit_2"
    DIGIT_3 = "digit_3"
    DIGIT_4 = "digit_4"
    DIGIT_5 = "digit_5"
    DIGIT_6 = "digit_6"
    DIGIT_7 = "digit_7"
    DIGIT_8 = "digit_8"
    DIGIT_9 = "digit_9"


_SAID: Mapping[tuple[Announcement, Language], str] = {
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
    (Announcement.CALLBACK, "de"): (
        "Möchten Sie unter der Nummer, von der Sie anrufen, zurückgerufen werden? Dann drücken Sie "
        "jetzt oder später die Eins. Sonst bleiben Sie bitte in der Leitung."
    ),
    (Announcement.CALLBACK, "en"): (
        "To be called back at the number you are calling from, press one, now or later. "
        "Otherwise please stay on the line."
    ),
    (Announcement.CALLBACK_HIDDEN, "de"): (
        "Möchten Sie zurückgerufen werden? Dann drücken Sie jetzt oder später die Eins. Sonst "
        "bleiben Sie bitte in der Leitung."
    ),
    (Announcement.CALLBACK_HIDDEN, "en"): (
        "To be called back, press one, now or later. Otherwise please stay on the line."
    ),
    (Announcement.CALLBACK_NUMBER, "de"): (
        "Bitte geben Sie die Rufnummer mit Vorwahl ein, unter der wir Sie erreichen, und danach "
        "die Raute-Taste."
    ),
    (Announcement.CALLBACK_NUMBER, "en"): (
        "Please enter the number at which you can be reached, with its area code, and then press "
        "the hash key."
    ),
    (Announcement.CALLBACK_CHECK, "de"): "Sie haben diese Rufnummer eingegeben:",
    (Announcement.CALLBACK_CHECK, "en"): "This is the number you entered:",
    (Announcement.CALLBACK_CONFIRM, "de"): (
        "Ist das richtig, drücken Sie die Eins. Um sie neu einzugeben, drücken Sie die Stern-Taste."
    ),
    (Announcement.CALLBACK_CONFIRM, "en"): (
        "If this is correct, press one. To enter it again, press the star key."
    ),
    (Announcement.CALLBACK_THANKS, "de"): (
        "Vielen Dank. Wir geben Ihre Bitte um Rückruf weiter. Auf Wiederhören."
    ),
    (Announcement.CALLBACK_THANKS, "en"): (
        "Thank you. Your request for a call back is passed on. Goodbye."
    ),
    (Announcement.VOICEMAIL, "de"): (
        "Zurzeit sind alle im Gespräch. Bitte hinterlassen Sie nach dem Signalton eine Nachricht "
        "mit Ihrer Rufnummer. Ihre Nachricht wird aufgezeichnet."
    ),
    (Announcement.VOICEMAIL, "en"): (
        "Nobody is free at the moment. Please leave a message with your number after the tone. "
        "Your message is recorded."
    ),
    (Announcement.VOICEMAIL_THANKS, "de"): (
        "Vielen Dank. Ihre Nachricht wird weitergegeben. Auf Wiederhören."
    ),
    (Announcement.VOICEMAIL_THANKS, "en"): "Thank you. Your message is passed on. Goodbye.",
}
_DIGITS: Mapping[Language, str] = {
    "de": "null eins zwei drei vier fünf sechs sieben acht neun",
    "en": "zero one two three four five six seven eight nine",
}
ANNOUNCEMENTS: Mapping[tuple[Announcement, Language], str] = {
    **_SAID,
    **{
        (Announcement(f"digit_{digit}"), language): word
        for language, words in _DIGITS.items()
        for digit, word in enumerate(words.split())
    },
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

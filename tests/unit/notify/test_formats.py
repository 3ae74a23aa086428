from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsek.notify.formats import Phone, duration, moment, phone
from vsek.notify.words import WORDS


@pytest.mark.parametrize(
    ("text", "shown", "href"),
    [
        ("+493012345678", "+49 30 12345678", "tel:+493012345678"),
        ("00442079460123", "+44 20 7946 0123", "tel:+442079460123"),
        # As typed: it may be another country's number. Valid here, so the link is complete.
        ("030 12345678", "030 12345678", "tel:+493012345678"),
        # Not valid in Germany: dialled as it stands.
        ("020 7946 0123", "020 7946 0123", "tel:02079460123"),
        ("030 12345678, ab 17 Uhr", "030 12345678, ab 17 Uhr", "tel:+493012345678"),
        ("+49 30 12345678 ext. 12", "+49 30 12345678 ext. 12", "tel:+49-30-12345678;ext=12"),
        ("110", "110", "tel:110"),
        ("12", "12", ""),
        ("steht in der Akte", "steht in der Akte", ""),
        ("+1", "+1", ""),
    ],
)
def test_numbers_are_grouped_and_can_be_dialled(text: str, shown: str, href: str) -> None:
    assert phone(text, "DE") == Phone(shown, href)


def test_no_number() -> None:
    assert phone("  ", "DE") is None


@settings(deadline=None)  # other work on the machine is no fault
@given(st.text(max_size=60))
def test_whatever_was_typed_as_a_number_is_shown_and_its_link_only_dials(text: str) -> None:
    found = phone(text, "DE")
    if found is not None:
        assert found.shown
        assert found.href == "" or found.href.startswith("tel:")
        assert not set(found.href) & set("\"'<> \n")


@pytest.mark.parametrize(
    ("at", "zone", "german", "english"),
    [
        (
            datetime(2026, 7, 22, 12, 3, tzinfo=UTC),
            "Europe/Berlin",
            "Mi. 22. Juli 2026, 14:03 Uhr",
            "Wed 22 July 2026, 14:03",
        ),
        (
            datetime(2026, 12, 31, 23, 5, tzinfo=UTC),
            "Europe/Berlin",
            "Fr. 1. Januar 2027, 00:05 Uhr",
            "Fri 1 January 2027, 00:05",
        ),
        # The hour that comes twice when summer time ends.
        (
            datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
            "Europe/Berlin",
            "So. 25. Oktober 2026, 02:30 Uhr",
            "Sun 25 October 2026, 02:30",
        ),
        (
            datetime(2026, 3, 1, 9, 0, tzinfo=UTC),
            "America/New_York",
            "So. 1. März 2026, 04:00 Uhr",
            "Sun 1 March 2026, 04:00",
        ),
    ],
)
def test_times_are_those_of_the_clients_clock(
    at: datetime, zone: str, german: str, english: str
) -> None:
    assert moment(at, ZoneInfo(zone), WORDS["de"]) == german
    assert moment(at, ZoneInfo(zone), WORDS["en"]) == english


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3725, "62 min 5 s")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds, WORDS["de"]) == text
    assert duration(seconds, WORDS["en"]) == text

"""Opening hours on the wall clock of the client."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsek.acd.hours import Closure, DayHours, OpenSpan, is_open

BERLIN = "Europe/Berlin"
WEEKDAYS = frozenset(range(5))
OFFICE = [OpenSpan(WEEKDAYS, 9 * 60, 17 * 60)]
NIGHT = [OpenSpan(frozenset({4}), 22 * 60, 6 * 60)]  # Friday evening until Saturday morning
SUNDAY = frozenset({6})


def at(text: str, fold: int = 0, zone: str = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


@pytest.mark.parametrize(
    ("hours", "when", "opened"),
    [
        (OFFICE, "2026-07-29T08:59:59", False),
        (OFFICE, "2026-07-29T09:00:00", True),
        (OFFICE, "2026-07-29T16:59:59", True),
        (OFFICE, "2026-07-29T17:00:00", False),
        (OFFICE, "2026-08-01T12:00:00", False),  # Saturday
        (NIGHT, "2026-07-31T21:59:00", False),
        (NIGHT, "2026-07-31T22:00:00", True),
        (NIGHT, "2026-07-31T23:59:59", True),
        (NIGHT, "2026-08-01T05:59:59", True),
        (NIGHT, "2026-08-01T06:00:00", False),
        (NIGHT, "2026-08-01T22:30:00", False),
        (NIGHT, "2026-07-31T05:00:00", False),
        ([OpenSpan(SUNDAY, 12 * 60, 24 * 60)], "2026-08-02T23:59:59", True),
        ([OpenSpan(SUNDAY, 12 * 60, 24 * 60)], "2026-08-03T00:00:00", False),
        ([OpenSpan(SUNDAY, 20 * 60, 2 * 60)], "2026-08-03T01:59:00", True),  # across the week
        ([OpenSpan(SUNDAY, 0, 24 * 60)], "2026-08-02T00:00:00", True),
        ([OpenSpan(SUNDAY, 480, 480)], "2026-08-03T07:59:00", True),
        ([OpenSpan(SUNDAY, 480, 480)], "2026-08-03T08:00:00", False),
        ([OpenSpan(SUNDAY, 0, 0)], "2026-08-02T23:59:00", True),
        ([OpenSpan(SUNDAY, 0, 0)], "2026-08-03T00:00:00", False),
        (OFFICE + NIGHT, "2026-08-01T05:00:00", True),
        ([], "2026-08-01T05:00:00", True),
    ],
)
def test_spans(hours: list[OpenSpan], when: str, opened: bool) -> None:
    assert is_open(hours, BERLIN, at(when)) is opened


def test_the_hour_that_does_not_exist() -> None:
    """On 2026-03-29 clocks go from 02:00 to 03:00 in Berlin: open 01:00 to 03:30 is 1.5 hours."""
    span = [OpenSpan(SUNDAY, 60, 210)]
    start = at("2026-03-29T01:00")
    inside = [minute for minute in range(240) if is_open(span, BERLIN, start + 60 * minute)]
    assert inside == list(range(90))


def test_the_hour_that_comes_twice() -> None:
    """On 2026-10-25 clocks go from 03:00 back to 02:00: open 01:00 to 03:00 is 3 hours, and
    02:15 to 02:45 is open twice."""
    start = at("2026-10-25T01:00")
    span = [OpenSpan(SUNDAY, 60, 180)]
    assert sum(is_open(span, BERLIN, start + 60 * m) for m in range(300)) == 180
    span = [OpenSpan(SUNDAY, 135, 165)]
    assert is_open(span, BERLIN, at("2026-10-25T02:30", fold=0))
    assert is_open(span, BERLIN, at("2026-10-25T02:30", fold=1))
    assert sum(is_open(span, BERLIN, start + 60 * m) for m in range(300)) == 60


def test_the_zone_is_the_clients() -> None:
    noon_in_berlin = at("2026-07-29T12:00")
    assert is_open(OFFICE, BERLIN, noon_in_berlin)
    assert not is_open(OFFICE, "America/Los_Angeles", noon_in_berlin)


def test_an_unknown_zone_is_an_error() -> None:
    with pytest.raises(ZoneInfoNotFoundError):
        is_open(OFFICE, "Europe/Atlantis", 0.0)


@given(st.integers(0, 6), st.integers(0, 1439), st.integers(0, 1440), st.integers(0, 7 * 1440 - 1))
def test_a_span_is_as_long_as_it_says(day: int, start: int, end: int, minute: int) -> None:
    """Without changes of the clock: exactly the minutes from start to end, modulo a week."""
    span = OpenSpan(frozenset({day}), start, end)
    length = end - start if end > start else end - start + 1440
    monday = at("2026-01-05T00:00", zone="UTC")
    expected = (minute - (day * 1440 + start)) % (7 * 1440) < length
    assert is_open([span], "UTC", monday + 60 * minute) is expected


def ordinal(text: str) -> int:
    return datetime.fromisoformat(text).toordinal()


CHRISTMAS = [
    DayHours(ordinal("2026-12-24"), ordinal("2026-12-24"), ((9 * 60, 12 * 60),)),
    DayHours(ordinal("2026-12-24"), ordinal("2027-01-03")),
    DayHours(ordinal("2026-12-26"), ordinal("2026-12-26"), ((0, 24 * 60),)),
]


@pytest.mark.parametrize(
    ("hours", "when", "opened"),
    [
        (OFFICE, "2026-12-23T16:59", True),
        (OFFICE, "2026-12-24T11:59", True),  # the half day, said first
        (OFFICE, "2026-12-24T12:00", False),
        (OFFICE, "2026-12-28T12:00", False),  # a Monday of the holidays
        (OFFICE, "2026-12-26T12:00", False),  # a later rule does not count
        (OFFICE, "2027-01-03T23:59:59", False),
        (OFFICE, "2027-01-04T09:00", True),
        ([], "2026-12-28T12:00", False),  # always open, but not then
        ([], "2026-12-23T03:00", True),
        ([], "2027-01-04T00:00", True),
    ],
)
def test_days_of_their_own(hours: list[OpenSpan], when: str, opened: bool) -> None:
    assert is_open(hours, BERLIN, at(when), CHRISTMAS) is opened


def test_a_day_is_the_clients_day() -> None:
    leap_day = [DayHours(ordinal("2028-02-29"), ordinal("2028-02-29"))]
    midnight_in_berlin = at("2028-02-29T00:00")
    assert is_open([], BERLIN, midnight_in_berlin - 1, leap_day)
    assert not is_open([], BERLIN, midnight_in_berlin, leap_day)
    assert is_open([], "America/Los_Angeles", midnight_in_berlin, leap_day)
    assert is_open([], BERLIN, at("2028-03-01T00:00"), leap_day)


def test_a_day_with_25_hours_is_closed_for_25_hours() -> None:
    day = [DayHours(ordinal("2026-10-25"), ordinal("2026-10-25"))]
    start = at("2026-10-25T00:00")
    assert sum(not is_open([], BERLIN, start + 60 * m, day) for m in range(-60, 1700)) == 25 * 60


def test_a_closure_counts_whatever_the_hours_say() -> None:
    closure = Closure(at("2026-07-29T12:00"), at("2026-07-29T13:00"))
    for hours in ([], OFFICE):
        assert is_open(hours, BERLIN, at("2026-07-29T11:59:59"), closures=[closure])
        assert not is_open(hours, BERLIN, at("2026-07-29T12:00"), closures=[closure])
        assert is_open(hours, BERLIN, at("2026-07-29T13:00"), closures=[closure])

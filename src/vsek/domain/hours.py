"""When a client's calls are taken: weekly hours, public holidays, and days of their own.

All times are on the wall clock of the client's time zone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from functools import cache
from itertools import pairwise
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    field_serializer,
    model_serializer,
    model_validator,
)

from vsek.domain.strict import Strict, refuse
from vsek.domain.values import Word

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MIN = 24 * 60
"""Minutes of a day on the wall clock."""
LONGEST_DAYS = 1000
"""Days that one rule may cover."""


class Period(Strict):
    """A time on one day of the week, on the wall clock of the client's time zone."""

    day: Annotated[int, Field(ge=0, le=6)]
    """0 = Monday."""
    start_min: Annotated[int, Field(ge=0, lt=DAY_MIN)]
    """Minutes after midnight, the first open one."""
    end_min: Annotated[int, Field(gt=0, le=DAY_MIN)]
    """Minutes after midnight, the first closed one; 1440 = the end of the day."""


_SPAN = re.compile(r"([0-9]{1,2}):([0-9]{2})\s*[-\u2013]\s*([0-9]{1,2}):([0-9]{2})\Z")


def _days(text: str) -> list[int]:
    """``mon``, ``mon-fri``, ``sat,sun`` as numbers; a range may run over the weekend."""
    days: list[int] = []
    for part in text.lower().replace(" ", "").split(","):
        ends = part.split("-")
        if len(ends) > 2 or any(end not in WEEKDAYS for end in ends):
            refuse(
                "weekday",
                f"{text!r} is not a day or a range of days",
                "Write mon, tue, wed, thu, fri, sat, sun, mon-fri, or sat,sun",
            )
        first, last = WEEKDAYS.index(ends[0]), WEEKDAYS.index(ends[-1])
        days += [(first + step) % 7 for step in range((last - first) % 7 + 1)]
    return days


def _span(text: object) -> tuple[int, int]:
    match = _SPAN.match(text.strip()) if isinstance(text, str) else None
    hour, minute, end_hour, end_minute = map(int, match.groups()) if match else (0, 0, 0, 0)
    start, end = hour * 60 + minute, end_hour * 60 + end_minute
    if minute > 59 or end_minute > 59 or start >= DAY_MIN or end > DAY_MIN or start == end:
        refuse("span", f"{text!r} is not a time like 08:00-18:00", "Write HH:MM-HH:MM, 24 hours")
    return start, end


def _periods(days: dict[Any, Any]) -> list[Period]:
    minutes: dict[int, list[tuple[int, int]]] = {}
    for name, spans in days.items():
        for day in _days(str(name)):
            for span in spans if isinstance(spans, list | tuple) else [spans]:
                start, end = _span(span)
                if end > start:
                    minutes.setdefault(day, []).append((start, end))
                    continue
                minutes.setdefault(day, []).append((start, DAY_MIN))
                if end:
                    minutes.setdefault((day + 1) % 7, []).append((0, end))
    periods: list[Period] = []
    for day in sorted(minutes):
        merged: list[tuple[int, int]] = []
        for start, end in sorted(minutes[day]):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        periods += [Period(day=day, start_min=start, end_min=end) for start, end in merged]
    return periods


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


class Hours(Strict):
    """When calls are taken: a mapping like ``{"mon-fri": ["08:00-12:00", "13:00-18:00"]}``.

    ``periods`` are sorted, disjoint, and none runs over midnight (``22:00-06:00`` becomes two).
    No period at all means always.
    """

    periods: tuple[Period, ...] = ()

    @property
    def always(self) -> bool:
        """Whether calls are taken around the clock."""
        return not self.periods

    @model_validator(mode="before")
    @classmethod
    def _from_days(cls, value: object) -> object:
        if value is None:
            return {}
        if not isinstance(value, dict) or "periods" in value:
            return value
        periods = _periods(value)
        if value and not periods:
            refuse("never", "has days but no times", "Give times, or leave hours out for always")
        return {"periods": periods}

    @model_validator(mode="after")
    def _in_order(self) -> Hours:
        last = (-1, 0)
        for period in self.periods:
            start = (period.day, period.start_min)
            if start < last or period.start_min >= period.end_min:
                refuse("periods", "periods overlap or are out of order", "Write days and times")
            last = (period.day, period.end_min)
        return self

    @model_serializer
    def _to_days(self) -> dict[str, list[str]]:
        of_day: dict[int, list[str]] = {}
        for period in self.periods:
            span = f"{_clock(period.start_min)}-{_clock(period.end_min)}"
            of_day.setdefault(period.day, []).append(span)
        written: dict[str, list[str]] = {}
        day = 0
        while day < 7:
            last = day
            while last < 6 and of_day.get(last + 1) == of_day.get(day):
                last += 1
            if day in of_day:
                name = WEEKDAYS[day] if last == day else f"{WEEKDAYS[day]}-{WEEKDAYS[last]}"
                written[name] = of_day[day]
            day = last + 1
        return written


# ── days of their own ────────────────────────────────────────────────────────────────────────


def _day(value: object) -> object:
    """A date, as YAML gives it or as text; more than that would be a moment, not a day."""
    text = isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value)
    if type(value) is not date and not text:
        refuse("day", f"{value!r} is not a day", "Write it like 2026-12-24")
    return value


Day = Annotated[date, BeforeValidator(_day)]


def _spans(value: object) -> list[tuple[int, int]]:
    wanted = value if isinstance(value, list | tuple) else [value]
    spans: list[tuple[int, int]] = []
    for one in wanted:
        if isinstance(one, list | tuple):  # as it was stored
            spans.append((int(one[0]), int(one[1])))
            continue
        start, end = _span(one)
        if end <= start:
            refuse("span_over_midnight", f"{one!r} runs over midnight", "End it at 24:00")
        spans.append((start, end))
    spans.sort()
    for (_, end), (start, _) in pairwise(spans):
        if start < end:
            refuse("spans", "times overlap", "Write each time once")
    return spans


class DayRule(Strict):
    """One day (``on``), or all days ``first`` to ``last``, with hours of their own.

    In a file also just a date: closed on that day.
    """

    first: Day
    last: Day
    hours: Annotated[tuple[tuple[int, int], ...], BeforeValidator(_spans)] = ()
    """Minutes after midnight, from and until; none: closed all day."""
    reason: Word = ""

    @model_validator(mode="before")
    @classmethod
    def _from_short(cls, value: object) -> object:
        if isinstance(value, str | date):
            return {"first": value, "last": value}
        if not isinstance(value, dict):
            return value
        fields = dict(value)
        if "on" in fields or True in fields:  # YAML reads a bare `on` as true
            if "first" in fields or "last" in fields:
                refuse("day_rule", "has both on and first or last", "Give on, or first and last")
            fields["first"] = fields["last"] = fields.pop("on", fields.pop(True, None))
        return fields

    @model_validator(mode="after")
    def _in_order(self) -> DayRule:
        if self.last < self.first:
            refuse("day_order", f"{self.last} is before {self.first}", "Exchange first and last")
        if (self.last - self.first).days >= LONGEST_DAYS:
            refuse("day_count", f"covers more than {LONGEST_DAYS} days", "Check the years")
        return self

    @field_serializer("hours")
    def _to_text(self, spans: tuple[tuple[int, int], ...]) -> list[str]:
        return [f"{_clock(start)}-{_clock(end)}" for start, end in spans]


# ── public holidays ──────────────────────────────────────────────────────────────────────────


@cache
def _regions() -> dict[str, list[str]]:
    import holidays

    return holidays.list_supported_countries(include_aliases=True)


def _region(value: str) -> str:
    country, _, part = value.partition("-")
    regions = _regions()
    if country not in regions:
        refuse("holiday_country", f"{country!r} is no country", "Write it like DE, AT or DE-BY")
    if part and part not in regions[country]:
        known = ", ".join(regions[country]) or "none"
        refuse("holiday_region", f"{country} has no region {part!r}", f"Known ones: {known}")
    return value


Region = Annotated[str, Field(max_length=40), AfterValidator(_region)]
"""A country (ISO 3166, two letters), or a part of it: ``DE``, ``DE-BY``."""


@cache
def public_holidays(region: str, year: int) -> dict[date, str]:
    """The public holidays of ``region`` in ``year``, with their names there."""
    import holidays

    country, _, part = region.partition("-")
    found = holidays.country_holidays(country, subdiv=part or None, years=year)
    return dict(sorted(found.items()))


def covering(rules: Iterable[DayRule], day: date) -> DayRule | None:
    """The rule that counts on ``day``."""
    return next((rule for rule in rules if rule.first <= day <= rule.last), None)

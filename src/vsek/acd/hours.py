"""When a client is open.

Spans are given in the client's local time and repeat weekly. They are compared with what the wall
clock there shows at the moment in question; so on the day on which clocks are set forward a span
is an hour shorter, and when they are set back an hour longer, just as in the client's office.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

DAY_MINUTES = 24 * 60


class OpenSpan(msgspec.Struct, frozen=True):
    """Open from ``start_minute`` until just before ``end_minute`` (minutes after midnight).

    ``days`` are those on which the span begins, Monday is 0. ``end_minute`` 1440 is midnight; an
    end that is not after the start lies on the next day, so equal ones are 24 hours.
    """

    days: frozenset[int]
    start_minute: int
    end_minute: int


class DayHours(msgspec.Struct, frozen=True):
    """Days with hours of their own in place of the weekly ones: holidays, a half day, a closure.

    ``first`` and ``last`` are days of the client's calendar (``date.toordinal()``), ``spans`` are
    minutes after midnight, from and until; none: closed.
    """

    first: int
    last: int
    spans: tuple[tuple[int, int], ...] = ()


class Closure(msgspec.Struct, frozen=True):
    """Closed from ``start`` until just before ``end`` (Unix seconds), whatever the hours say."""

    start: float
    end: float


def is_open(
    hours: Sequence[OpenSpan],
    timezone: str,
    at: float,
    days: Sequence[DayHours] = (),
    closures: Sequence[Closure] = (),
) -> bool:
    """Whether ``at`` (Unix seconds) lies within ``hours``; no hours at all mean always.

    The first of ``days`` that names the day decides instead, and ``closures`` over both.
    ``timezone`` is an IANA name; an unknown one raises ``zoneinfo.ZoneInfoNotFoundError``.
    """
    if any(closure.start <= at < closure.end for closure in closures):
        return False
    if not hours and not days:
        return True
    local = datetime.fromtimestamp(at, UTC).astimezone(_zone(timezone))
    today, minute = local.weekday(), local.hour * 60 + local.minute
    date = local.toordinal()
    for rule in days:
        if rule.first <= date <= rule.last:
            return any(start <= minute < end for start, end in rule.spans)
    if not hours:
        return True
    yesterday = (today - 1) % 7
    for span in hours:
        overnight = span.end_minute <= span.start_minute
        before_end = minute < span.end_minute
        if today in span.days and span.start_minute <= minute and (overnight or before_end):
            return True
        if overnight and yesterday in span.days and before_end:
            return True
    return False


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)

"""Temporary instructions: what holds at a client until a certain moment, and ends by itself.

Times are written on the wall clock of the client's time zone. When clocks are set back an hour
shows twice: what begins then begins at the first, what ends then ends at the second. When they
are set forward an hour does not show at all: a time within it is the moment of the change. Whoever
means something else writes the offset (``2026-10-25 02:30+02:00``).
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, ConfigDict, Field, model_serializer

from vsek.domain.strict import Strict, refuse
from vsek.domain.values import Text

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)"
    r"(?:[ T]+(\d\d):(\d\d)(?::(\d\d))?(?:\.0+)?\s*(Z|[+-]\d\d:?\d\d)?)?\Z",
    re.ASCII,
)
_FIRST_YEAR, _LAST_YEAR = 2000, 2200
LONGEST_TEXT = 2000
"""Characters of an instruction."""


def parse_time(text: str, *, ends: bool) -> datetime:
    """A day and a time, in local time or with an offset.

    A day alone is its beginning or, if something ``ends`` there, its end. Raises ``ValueError``.
    """
    match = _TIME.match(text.strip())
    if match is None:
        raise ValueError(text)
    day, hour, minute, second, offset = match.groups()
    start = datetime.combine(date.fromisoformat(day), datetime.min.time())
    if not _FIRST_YEAR <= start.year <= _LAST_YEAR:
        raise ValueError(text)
    if hour is None:
        return start + timedelta(days=1) if ends else start
    hours, minutes, seconds = int(hour), int(minute), int(second or 0)
    if minutes > 59 or seconds > 59 or (hours, minutes, seconds) > (24, 0, 0):
        raise ValueError(text)
    local = start + timedelta(hours=hours, minutes=minutes, seconds=seconds)
    if offset is None:
        return local
    return datetime.fromisoformat(f"{local.isoformat()}{offset}")


def write_time(time: datetime) -> str:
    """As :func:`parse_time` reads it."""
    return time.isoformat(" ", "seconds" if time.second else "minutes")


def moment(time: datetime, timezone: str, *, ends: bool) -> float:
    """``time`` as Unix seconds; without an offset it is on the wall clock of ``timezone``."""
    if time.tzinfo is not None:
        return time.timestamp()
    zone = ZoneInfo(timezone)
    first = time.replace(tzinfo=zone, fold=0).astimezone(UTC)
    second = time.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if first <= second:
        return (second if ends else first).timestamp()
    # The time does not show: ``first`` is after the change, ``second`` before it.
    before, after = int(second.timestamp()), int(first.timestamp())
    old = second.astimezone(zone).utcoffset()
    while after - before > 1:
        middle = (before + after) // 2
        if datetime.fromtimestamp(middle, UTC).astimezone(zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return float(after)


def _read(value: object, *, ends: bool) -> object:
    if isinstance(value, datetime):
        return value
    try:
        return parse_time(str(value), ends=ends)
    except ValueError:
        refuse(
            "time",
            "is not a day and a time",
            "Write it like 2026-12-24 16:00, in the client's time, or 2026-12-24 for all day",
        )


def _beginning(value: object) -> object:
    return value if value is None else _read(value, ends=False)


def _end(value: object) -> object:
    return _read(value, ends=True)


class Temporary(Strict):
    """What agents must know, and perhaps that calls are not taken, for a time."""

    model_config = ConfigDict(populate_by_name=True)

    start: Annotated[datetime | None, BeforeValidator(_beginning)] = Field(
        default=None, alias="from"
    )
    """``None`` = from now on."""
    until: Annotated[datetime, BeforeValidator(_end)]
    text: Annotated[Text, Field(min_length=1, max_length=LONGEST_TEXT)]
    closed: bool = False
    """Whether calls are treated as outside of the hours meanwhile."""

    @model_serializer
    def _as_written(self) -> dict[str, Any]:
        written: dict[str, Any] = {} if self.start is None else {"from": write_time(self.start)}
        written |= {"until": write_time(self.until), "text": self.text}
        return written | ({"closed": True} if self.closed else {})

    def span(self, timezone: str) -> tuple[float, float]:
        """From when and until when, in Unix seconds; 0 for a beginning that is not given."""
        start = 0.0 if self.start is None else moment(self.start, timezone, ends=False)
        return start, moment(self.until, timezone, ends=True)

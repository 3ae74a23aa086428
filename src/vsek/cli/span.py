"""The options that say from when to when, for all commands that look back."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from vsek.errors import InputError

Day = Annotated[str | None, typer.Option("--day", metavar="YYYY-MM-DD", help="Only this day.")]
Since = Annotated[str | None, typer.Option("--from", metavar="TIME", help="From this time on.")]
Until = Annotated[
    str | None, typer.Option("--to", metavar="TIME", help="Up to this time. (default: now)")
]
Timezone = Annotated[str, typer.Option(metavar="ZONE", help="Time zone of days and times.")]


def span(
    day: str | None, since: str | None, until: str | None, *, zone: ZoneInfo, now: float
) -> tuple[float, float]:
    """From when to when (Unix seconds) is meant. Raises ``InputError`` for what is no time."""
    if day is not None:
        if since is not None or until is not None:
            raise InputError(
                "--day stands for a whole day",
                field="--day",
                value=day,
                remedy="Use either --day, or --from and --to",
            )
        first = _moment(day, "--day", zone, whole_days=True)
        if first.timestamp() >= now:
            raise InputError(
                f"{day} has not begun yet",
                field="--day",
                value=day,
                remedy="Name today or a day before, as --timezone has it",
            )
        following = first.date() + timedelta(days=1)
        return first.timestamp(), min(_midnight(following, zone).timestamp(), now)
    today = datetime.fromtimestamp(now, zone).date()
    first = (
        _midnight(today - timedelta(days=1), zone)
        if since is None
        else _moment(since, "--from", zone)
    )
    last = now if until is None else min(_moment(until, "--to", zone).timestamp(), now)
    if first.timestamp() >= last:
        raise InputError(
            f"Nothing lies between {since or first.isoformat()} and {until or 'now'}",
            field="--from",
            value=since,
            remedy="Give a --from before --to, and not in the future",
        )
    return first.timestamp(), last


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def _moment(text: str, option: str, zone: ZoneInfo, *, whole_days: bool = False) -> datetime:
    try:
        if whole_days:
            moment = _midnight(date.fromisoformat(text), zone)
        else:
            moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
        moment.astimezone(UTC)  # a time at the edge of the calendar is none elsewhere
    except (ValueError, OverflowError):
        raise InputError(
            f"{text!r} is no {'day' if whole_days else 'time'}",
            field=option,
            value=text,
            remedy="Write YYYY-MM-DD" + ("" if whole_days else " or YYYY-MM-DDTHH:MM:SS"),
        ) from None
    return moment


def zone_named(name: str) -> ZoneInfo:
    """The time zone of that name. Raises ``InputError`` when there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InputError(
            f"There is no time zone {name!r}",
            field="--timezone",
            value=name,
            remedy="Name one like Europe/Berlin or UTC",
        ) from None

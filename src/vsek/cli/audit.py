"""``vsek audit``: do Asterisk's ledger, the database and the note service tell the same?"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from vsek.cli import output, run
from vsek.cli.run import Folder, Json
from vsek.domain.audit import when
from vsek.domain.books import Report, Rules
from vsek.errors import InputError
from vsek.settings import Settings

EQUAL, DIFFERENT, NOT_COMPARED = 0, 1, 2


def audit(
    ctx: typer.Context,
    day: Annotated[
        str | None, typer.Option("--day", metavar="YYYY-MM-DD", help="Only this day.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="From this time on.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Up to this time. (default: now)")
    ] = None,
    timezone: Annotated[
        str, typer.Option(metavar="ZONE", help="Time zone of days and times.")
    ] = "UTC",
    settle: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="What is younger is still under way."),
    ] = 120.0,
    as_json: Json = False,
    folder: Folder = None,
) -> None:
    """Compare Asterisk's call ledger, the database and the note service, call by call.

    Without a time: yesterday and today. A time is YYYY-MM-DD or YYYY-MM-DDTHH:MM[:SS].

    Exit code 0: they tell the same. 1: they differ. 2: a book could not be read.
    """
    settings = run.settings_of(ctx, folder)
    now = time.time()
    first, last = span(day, since, until, zone=zone_named(timezone), now=now)
    report = run.wait(compare(settings, Rules(since=first, until=last, now=now, settle_s=settle)))
    if as_json:
        output.json(as_document(report))
    else:
        _print(report)
    if report.unread:
        raise typer.Exit(NOT_COMPARED)
    raise typer.Exit(DIFFERENT if report.differences else EQUAL)


async def compare(settings: Settings, rules: Rules) -> Report:
    """The comparison with the books that ``settings`` name. See :func:`vsek.store.audit.audit`."""
    from vsek.store import audit as store
    from vsek.store.pool import open_pool

    pool = await open_pool(settings.database.dsn.get_secret_value(), size=1)
    try:
        return await store.audit(pool, settings.asterisk.ledger_folder, rules)
    finally:
        await pool.close()


def span(
    day: str | None, since: str | None, until: str | None, *, zone: ZoneInfo, now: float
) -> tuple[float, float]:
    """From when to when (Unix seconds) is compared. Raises ``InputError`` for what is no time."""
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


def as_document(report: Report) -> dict[str, Any]:
    """The report for machines; times in ISO 8601, UTC."""
    rules, counts = report.rules, report.counts
    return {
        "from": _iso(rules.since),
        "to": _iso(rules.until),
        "settled": _iso(rules.settled),
        "equal": report.equal,
        "unread": [
            {"book": book.book, "why": book.why, "remedy": book.remedy} for book in report.unread
        ],
        "ledger": {"calls": counts.ledger_calls, "without_end": counts.ledger_open},
        "database": {
            "calls": counts.calls,
            "without_outcome": counts.live,
            "outcomes": dict(counts.outcomes),
            "notes_due": counts.due,
            "notes_acknowledged": counts.acknowledged,
        },
        "note_service": {
            "notes": counts.notes,
            "deliveries": {name: count for name, count in counts.deliveries.items() if count},
            "copies_for_operations": counts.copies,
        },
        "differences": [
            {
                "kind": difference.kind,
                "what": difference.what,
                "at": _iso(difference.at),
                "call_id": difference.call_id or None,
                "channel": difference.channel or None,
                "note_id": difference.note_id or None,
                "remedy": difference.remedy,
            }
            for difference in report.differences
        ],
        "differences_not_listed": report.omitted,
    }


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def _print(report: Report) -> None:
    for difference in report.differences:
        where = " ".join(
            f"{name} {output.shown(value)}"
            for name, value in (
                ("call", difference.call_id),
                ("channel", difference.channel),
                ("note", difference.note_id),
            )
            if value
        )
        typer.echo(
            f"{difference.kind}: {where}{': ' if where else ''}{output.shown(difference.what)}"
            f" -> {difference.remedy}"
        )
    if report.omitted:
        typer.echo(f"… and {report.omitted} more")
    for book in report.unread:
        output.hint(f"not compared: {book.book}: {output.shown(book.why)}")
        output.hint(f"  remedy: {book.remedy}")
    counts = report.counts
    outcomes = ", ".join(f"{name} {count}" for name, count in sorted(counts.outcomes.items()))
    mails = ", ".join(f"{name} {count}" for name, count in sorted(counts.deliveries.items()))
    settled = min(report.rules.until, report.rules.settled)
    output.facts(
        [
            ("From", when(report.rules.since)),
            ("To", f"{when(report.rules.until)}, settled up to {when(settled)}"),
            ("Ledger", f"{counts.ledger_calls} calls, {counts.ledger_open} without an end"),
            ("Database", f"{counts.calls} calls, {counts.live} without an outcome"),
            ("Outcomes", outcomes),
            ("Notes due", f"{counts.due}, {counts.acknowledged} acknowledged"),
            ("Note service", f"{counts.notes} notes, {counts.copies} copies for operations"),
            ("Deliveries", mails),
            ("Differences", len(report.differences) + report.omitted),
        ]
    )

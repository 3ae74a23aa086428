"""``vsek audit``: do Asterisk's ledger, the database and the note service tell the same?"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from vsek.cli import output, run
from vsek.cli.run import Folder, Json
from vsek.cli.span import Day, Since, Timezone, Until, span, zone_named
from vsek.domain.audit import when
from vsek.domain.books import Report, Rules
from vsek.domain.text import counted
from vsek.settings import Settings

EQUAL, DIFFERENT, NOT_COMPARED = 0, 1, 2


def audit(
    ctx: typer.Context,
    day: Day = None,
    since: Since = None,
    until: Until = None,
    timezone: Timezone = "UTC",
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
    run.must_be_numbers(ctx)
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
    copies = counted(counts.copies, "copy", "copies")
    settled = min(report.rules.until, report.rules.settled)
    output.facts(
        [
            ("From", when(report.rules.since)),
            ("To", f"{when(report.rules.until)}, settled up to {when(settled)}"),
            (
                "Ledger",
                f"{counted(counts.ledger_calls, 'call')}, {counts.ledger_open} without an end",
            ),
            ("Database", f"{counted(counts.calls, 'call')}, {counts.live} without an outcome"),
            ("Outcomes", outcomes),
            ("Notes due", f"{counts.due}, {counts.acknowledged} acknowledged"),
            ("Note service", f"{counted(counts.notes, 'note')}, {copies} for operations"),
            ("Deliveries", mails),
            ("Differences", len(report.differences) + report.omitted),
        ]
    )

"""``vsek replay``: a past day run again under other rules."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vsek.cli import output, run
from vsek.cli.run import Folder, Json
from vsek.cli.span import Day, Since, Timezone, Until, span, zone_named
from vsek.domain.audit import when
from vsek.domain.text import counted
from vsek.errors import InputError, ServiceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vsek.acd.rules import Rules
    from vsek.domain.rulesfile import RulesFile
    from vsek.settings import Settings
    from vsek.sim.measure import Figures
    from vsek.sim.past import Past
    from vsek.sim.replay import Comparison, Report
    from vsek.switchboard.history import Chronicle


def replay(
    ctx: typer.Context,
    rules: Annotated[
        Path,
        typer.Option("--rules", metavar="FILE", help="The other rules, as for vsek rules import."),
    ],
    day: Day = None,
    since: Since = None,
    until: Until = None,
    timezone: Timezone = "UTC",
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=0, help="At most N clients.")
    ] = 20,
    seed: Annotated[int, typer.Option(metavar="N", help="For what has to be drawn.")] = 1,
    as_json: Json = False,
    folder: Folder = None,
) -> None:
    """Run past calls again under other rules, and compare how long callers waited.

    Without a time: yesterday and today. A time is YYYY-MM-DD or YYYY-MM-DDTHH:MM[:SS].
    """
    settings = run.settings_of(ctx, folder)
    first, last = span(day, since, until, zone=zone_named(timezone), now=time.time())
    file = _rules_file(rules)  # before the journal is read: that may take a while
    read = _read(settings, first, last)
    past = read.past
    if not past.calls:
        raise InputError(
            f"No call began to wait between {when(first)} and {when(last)}",
            field="--day" if day is not None else "--from",
            value=day if day is not None else since,
            remedy="vsek call list shows when calls came",
        )
    from vsek.sim.replay import compare

    report = compare(past, _other(settings, file, past), seed=seed)
    if as_json:
        output.json(_document(report, read))
    else:
        _print(report, read, limit)


# Reading


@dataclass
class _Read:
    past: Past
    cautions: list[str]
    place: str
    whole: bool
    """Whether the journal reaches back far enough."""


def _read(settings: Settings, since: float, until: float) -> _Read:
    """The past, from the first place that holds the journal of ``since``."""
    from vsek.store import journal_past
    from vsek.switchboard.history import of_folders, of_rows

    partly: _Read | None = None
    for chronicle in of_folders(settings.journal_folder):
        found = _record(chronicle, since, until)
        if found is not None and found.whole:
            return found
        partly = partly or found

    async def shipped() -> journal_past.Passage | None:
        async with run.database(settings) as connection:
            return await journal_past.from_time(connection, since, until)

    try:
        passage = run.wait(shipped())
    except ServiceError:
        if partly is None:
            raise
        return partly
    if passage is not None:
        rows = of_rows("PostgreSQL", passage.snapshots, passage.segments)
        found = _record(rows, since, until)
        if found is not None and (found.whole or partly is None):
            return found
    if partly is not None:
        return partly
    from vsek.app import JOURNAL_DAYS

    raise ServiceError(
        f"No journal tells of {when(since)} and later: it is kept for {JOURNAL_DAYS} days",
        remedy="Ask for a later time",
        error_id="journal_gone",
    )


def _record(chronicle: Chronicle, since: float, until: float) -> _Read | None:
    from vsek.cli.why_words import gaps_in_words
    from vsek.sim.past import Recorder
    from vsek.switchboard.history import Playback

    first = chronicle.first_from(since)
    if first is None:
        return None
    playback = Playback(chronicle, first)
    if not playback.whole:
        return None
    recorder = Recorder(since, until)
    began: float | None = None
    for entry in playback.entries():
        if entry.number < first:
            playback.decide(entry)
            continue
        began = entry.at if began is None else began
        recorder.before(playback.state, entry.event, entry.at)
        effects = playback.decide(entry)
        recorder.after(playback.state, entry.event, entry.at, effects)
        if recorder.done:
            break
    cautions = gaps_in_words(playback.gaps)
    # Its first entry, and yet not the first that ever was: there has been more.
    whole = not (first == min(chronicle.segments) and playback.began_at)
    if not whole and began is not None:
        cautions.append(f"the journal begins only at {when(began)}")
    return _Read(recorder.end(), cautions, chronicle.place, whole)


def _rules_file(path: Path) -> RulesFile:
    from vsek.domain.rulesfile import read_rules
    from vsek.domain.yamlfile import content_of

    return read_rules(content_of(path, field="--rules", holds="rules"), str(path))


def _other(settings: Settings, file: RulesFile, past: Past) -> Rules:
    """The rules in ``file``, with the clients' own part as it was then."""
    import msgspec

    from vsek.domain.directory import Directory
    from vsek.domain.distribution import mistakes
    from vsek.switchboard import directory

    came = {event.agent_id for _, event in past.events}
    file.refuse(mistakes(file.book, came | {agent.agent_id for agent in past.agents}))
    then = past.rules[-1][1]
    house = Directory({}, {}, rules=file.book)
    rules = directory.rules(house, settings.calls, lambda sound: sound)
    missing = {own.group for own in then.clients.values()} - {"", *rules.groups}
    name = file.document.name
    for group in sorted(missing):
        output.hint(f"Clients are in group {group}, which {name} lacks: it has all defaults there")
    return msgspec.structs.replace(rules, clients=then.clients, version=then.version + 1)


# Telling


def _assumptions(report: Report, past: Past) -> list[str]:
    drawn = (
        f"{counted(report.gave_up, 'caller')} gave up; the others are taken to be ready to wait "
        f"longer than they did, by {report.patience_s:.0f} s on average (exponential)"
        if report.patience_s != math.inf
        else "nobody gave up, so nobody is taken to do so under other rules"
    )
    drawn_too = "for callers who gave up, as long as those of other calls"
    told = [
        drawn,
        f"talks and wrap-ups take as long as they took, whoever has them; {drawn_too}",
        "agents come and go as they did, and do with their n-th offer what they did with the n-th",
        "who called again because of a long wait calls again under any rules",
        "nobody accepts a callback; voicemail and forwarding end the wait",
        "groups, targets and treatments of clients are those of then",
    ]
    if past.waiting_before:
        are = "is" if past.waiting_before == 1 else "are"
        calls = counted(past.waiting_before, "call")
        told.append(f"{calls} that waited at the beginning {are} left out")
    if past.open:
        were = "was" if past.open == 1 else "were"
        told.append(f"{counted(past.open, 'call')} {were} not over when the journal ended")
    return told


def _document(report: Report, read: _Read) -> dict[str, Any]:
    past = read.past

    def one(compared: Comparison) -> dict[str, Any]:
        return {
            "name": compared.name,
            "happened": _figures(compared.happened),
            "again": _figures(compared.again),
            "other": _figures(compared.other),
        }

    return {
        "from": _iso(past.since),
        "to": _iso(past.until),
        "journal": {"place": read.place, "lacks": read.cautions},
        "calls": report.calls,
        "total": one(report.total),
        "groups": [one(group) for group in report.groups],
        "clients": [one(client) for client in report.clients],
        "assumptions": _assumptions(report, past),
    }


def _figures(of: Figures) -> dict[str, float]:
    return {
        "calls": of.calls,
        "mean_s": round(of.mean_s, 3),
        "p90_s": round(of.percentiles_s([0.9])[0], 3),
        "service_level": round(of.service_level, 4),
        "abandoned": of.abandoned,
        "abandon_share": round(of.abandon_share, 4),
        "served_otherwise": of.diverted,
    }


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def _print(report: Report, read: _Read, limit: int) -> None:
    past = read.past
    output.facts(
        [
            ("From", when(past.since)),
            ("To", when(past.until)),
            ("Journal", read.place),
            ("Calls", report.calls),
        ]
    )
    for text in read.cautions:
        output.hint(f"CAUTION: {text}")
    typer.echo("")
    rows = [("all", report.total)]
    rows += [(f"group {group.name or '-'}", group) for group in report.groups]
    rows += [(client.name, client) for client in report.clients[:limit]]
    output.table(
        ("Calls of", "Calls", "Mean wait, s", "90 % within, s", "In time, %", "Gave up, %"),
        ((name, compared.happened.calls, *_cells(compared)) for name, compared in rows),
        empty="",
    )
    left = len(report.clients) - limit
    if left > 0:
        typer.echo(f"… and {counted(left, 'more client')}")
    typer.echo("")
    typer.echo("Each figure: what happened / the rules of then, run again / the other rules.")
    typer.echo(
        "The first two differ by what the method cannot know; take smaller differences for nothing."
    )
    typer.echo("In time: answered within the client's target, of all but those who gave up in 5 s.")
    typer.echo("Assumed:")
    for text in _assumptions(report, past):
        typer.echo(f"  - {text}")


def _cells(compared: Comparison) -> Sequence[str]:
    three = (compared.happened, compared.again, compared.other)
    return (
        " / ".join(f"{one.mean_s:.1f}" for one in three),
        " / ".join(f"{one.percentiles_s([0.9])[0]:.0f}" for one in three),
        " / ".join(f"{100 * one.service_level:.1f}" for one in three),
        " / ".join(f"{100 * one.abandon_share:.1f}" for one in three),
    )

"""``vsek why CALL``: which agents were considered for a call, who was chosen, and why."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from vsek.cli import output, run
from vsek.cli.run import Folder, Json
from vsek.domain.ids import AgentId, CallId, is_call_id, time_of_call_id
from vsek.domain.text import counted
from vsek.errors import InputError, ServiceError

if TYPE_CHECKING:
    from vsek.settings import Settings
    from vsek.store.calls import CallView
    from vsek.store.journal_past import Passage
    from vsek.switchboard.history import Chronicle, Gaps
    from vsek.switchboard.why import Account

DIFFERENT = 1
CLOCKS_S = 3600.0
"""By so much the clocks of two machines may differ at the most."""


def why(
    ctx: typer.Context,
    call_id: Annotated[str, typer.Argument(metavar="CALL")],
    as_json: Json = False,
    folder: Folder = None,
) -> None:
    """Tell which agents were considered for a call, who was chosen, and why.

    Recomputed by playing the switchboard's journal back, and compared with what was stored when the
    decisions were taken. Exit code 1: they differ.
    """
    settings = run.settings_of(ctx, folder)
    if not is_call_id(call_id):
        raise _unknown(call_id)
    began = time.perf_counter()
    found = run.wait(_find(settings, CallId(call_id)))
    from vsek.switchboard.why import differences

    unlike = (
        differences(found.account, [(step.kind, step.detail) for step in found.call.steps])
        if found.call is not None
        else []
    )
    seconds = time.perf_counter() - began
    if as_json:
        output.json(_document(found, unlike, seconds))
    else:
        _print(found, unlike, seconds)
    if unlike:
        raise typer.Exit(DIFFERENT)


@dataclass
class _Found:
    account: Account
    gaps: Gaps
    call: CallView | None
    """What the database knows; ``None``: nothing (yet), or it does not answer (``away``)."""
    away: str = ""
    talks: dict[AgentId, datetime] = field(default_factory=dict)
    """When agents last talked with somebody at the caller's number before."""


async def _find(settings: Settings, call_id: CallId) -> _Found:
    """The call's account, from the first place that holds its journal."""
    from vsek.store import calls, journal_past
    from vsek.switchboard.history import of_folders

    call: CallView | None = None
    talks: dict[AgentId, datetime] = {}
    away: ServiceError | None = None
    try:
        async with run.database(settings) as connection:
            try:
                call = await calls.show(connection, call_id)
                talks = await calls.talks_before(connection, call_id)
            except InputError as error:
                if error.error_id != "unknown_call":
                    raise
            found = _explain(of_folders(settings.journal_folder), call_id)
            if found is None:
                since = time_of_call_id(call_id) - CLOCKS_S
                shipped = await journal_past.of_call(connection, call_id, since)
                found = _explain([] if shipped is None else [_shipped(shipped)], call_id)
    except ServiceError as error:
        away = error
        found = _explain(of_folders(settings.journal_folder), call_id)
    if found is None:
        if away is not None:
            raise away
        raise _unknown(call_id) if call is None else _gone(call)
    account, gaps = found
    return _Found(account, gaps, call, "" if away is None else away.message, talks)


def _explain(chronicles: list[Chronicle], call_id: CallId) -> tuple[Account, Gaps] | None:
    from vsek.switchboard.why import explain

    incomplete: InputError | None = None
    for chronicle in chronicles:
        try:
            found = explain(chronicle, call_id)
        except InputError as error:
            incomplete = error
            continue
        if found is not None:
            return found
    if incomplete is not None:
        raise incomplete
    return None


def _shipped(shipped: Passage) -> Chronicle:
    from vsek.switchboard.history import of_rows

    return of_rows("PostgreSQL", shipped.snapshots, shipped.segments)


def _unknown(call_id: str) -> InputError:
    return InputError(
        f"There is no call {call_id!r}",
        field="CALL",
        value=call_id,
        remedy="vsek call list shows the newest ones",
        error_id="unknown_call",
    )


def _gone(call: CallView) -> ServiceError:
    from vsek.app import JOURNAL_DAYS

    return ServiceError(
        f"The journal of call {call.id} ({output.shown(call.received_at)}) is not kept any "
        f"more: it is kept for {JOURNAL_DAYS} days",
        remedy=f"vsek call show {call.id} tells who was chosen, and how many might have been",
        error_id="journal_gone",
    )


def _document(found: _Found, unlike: list[str], seconds: float) -> dict[str, Any]:
    from vsek.cli.why_words import gaps_in_words

    account = found.account
    opened, closed = account.opened, account.closed
    return {
        "call_id": account.call_id,
        "client_id": opened.client_id if opened is not None else None,
        "received_at": _iso(opened.received_at) if opened is not None else None,
        "queued_at": _iso(account.queued_at),
        "place_since": _iso(account.arrival),
        "outcome": closed.outcome if closed is not None else None,
        "agent_id": closed.agent_id if closed is not None else None,
        "journal": {
            "place": account.place,
            "snapshot": account.base,
            "first_entry": account.from_entry,
            "last_entry": account.last_entry,
            "played": account.played,
            "seconds": round(seconds, 3),
            "lacks": gaps_in_words(found.gaps),
        },
        "talks_before": {agent: at.isoformat() for agent, at in found.talks.items()},
        "compared": found.call is not None,
        "differences": unlike,
        "happenings": [
            {**msgspec.to_builtins(one), "at": _iso(one.at)} for one in account.happenings
        ],
    }


def _iso(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat()


def _print(found: _Found, unlike: list[str], seconds: float) -> None:
    from vsek.cli.why_words import gaps_in_words, story

    account = found.account
    entries = counted(account.played, "entry", "entries")
    played = f"{entries} played back, up to {account.last_entry}"
    output.facts(
        [
            ("Call", account.call_id),
            *_caller(found),
            ("Outcome", _outcome(account)),
            *_place(account),
            ("Journal", f"{account.place}: {played}, in {seconds:.2f} s"),
            ("Compared", _compared(found, unlike)),
        ]
    )
    for text in gaps_in_words(found.gaps):
        output.hint(f"CAUTION: {text}; what follows may differ from what happened")
    for text in unlike:
        output.hint(f"DIFFERENT: {output.shown(text)}")
    if unlike:
        output.hint(
            "  remedy: The journal was written by another version of vsek, or is incomplete; if it "
            "is neither, this is a fault of vsek"
        )
    typer.echo("")
    day = ""
    for at, what, particulars in story(account, found.talks):
        moment = datetime.fromtimestamp(at, UTC).astimezone()
        if f"{moment:%Y-%m-%d}" != day:
            day = f"{moment:%Y-%m-%d}"
            typer.echo(day)
        clock = f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03}"
        output.paragraph(f"{clock}  ", what)
        for line in particulars:
            output.paragraph(" " * 16, line)
    if account.queued_at is None:
        typer.echo("The call never waited for an agent.")


def _caller(found: _Found) -> list[tuple[str, object]]:
    opened = found.account.opened
    if opened is None:
        return []
    number = "withheld" if opened.caller_withheld else opened.caller_number
    name = found.call.client_name if found.call is not None else None
    client = f"{name} ({opened.client_id})" if name else opened.client_id
    return [("Client", client), ("Caller", output.shown(f"{opened.caller_name} {number}".strip()))]


def _outcome(account: Account) -> str:
    closed = account.closed
    if closed is None:
        return "(goes on, or its end is not in the journal)"
    by = f" by {closed.agent_id}" if closed.agent_id is not None else ""
    return f"{closed.outcome}{by}"


def _place(account: Account) -> list[tuple[str, object]]:
    """Whose place the call had, if not its own."""
    opened, arrival = account.opened, account.arrival
    if opened is None or arrival is None or arrival >= opened.received_at:
        return []
    since = datetime.fromtimestamp(arrival, UTC)
    return [("Place", f"counts from {output.shown(since)}: the caller had called before")]


def _compared(found: _Found, unlike: list[str]) -> str:
    if found.call is None:
        return f"no: {found.away or 'the database does not know the call yet'}"
    if unlike:
        return "DIFFERS from what was stored, see below"
    return f"{counted(len(found.account.offers), 'offer')}, as stored"

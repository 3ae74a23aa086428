"""``vsek call …``: what became of each call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vsek.cli import output, run
from vsek.cli.run import Folder, Json
from vsek.domain.note import attachment_name
from vsek.domain.outcomes import Outcome
from vsek.notify.client import NotesClient
from vsek.settings import Settings
from vsek.store import calls, recordings
from vsek.store.calls import CallSummary, CallView, HandOver
from vsek.store.recordings import Recording

app = typer.Typer(help="Calls: what came in, and what became of it.")


@app.command("list")
def list_calls(
    ctx: typer.Context,
    client: Annotated[
        str | None, typer.Option(metavar="ID", help="Only this client's calls.")
    ] = None,
    outcome: Annotated[
        Outcome | None,
        typer.Option(
            parser=run.one_of(Outcome, "--outcome"),
            metavar="OUTCOME",
            help=f"Only calls with this outcome: {', '.join(Outcome)}.",
        ),
    ] = None,
    before: Annotated[
        str | None, typer.Option(metavar="CALL", help="Go on after this call of a list.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=calls.LIST_LIMIT, metavar="N")] = 50,
    as_json: Json = False,
    folder: Folder = None,
) -> None:
    """List calls, the newest first."""
    settings = run.settings_of(ctx, folder)

    async def work() -> list[CallSummary]:
        async with run.database(settings) as connection:
            found = await calls.list_calls(
                connection, client_id=client, outcome=outcome, before=before, limit=limit
            )
            if client is not None and not found:
                await run.must_be_client(connection, client)
            return found

    found = run.wait(work())
    if as_json:
        output.json({"calls": found})
        return
    output.table(
        ("Call", "Received", "Client", "Caller", "Outcome", "Stage", "Agent", "Talk"),
        (
            (
                call.id,
                call.received_at,
                call.client_name or call.client_id,
                _caller(call),
                call.outcome or "(goes on)",
                call.stage,
                call.agent_name or call.agent_id,
                _talked(call),
            )
            for call in found
        ),
        empty="No calls.",
    )


@app.command("show")
def show(
    ctx: typer.Context,
    call_id: Annotated[str, typer.Argument(metavar="CALL")],
    as_json: Json = False,
    folder: Folder = None,
) -> None:
    """Show one call with its timeline and its notes."""
    settings = run.settings_of(ctx, folder)

    async def work() -> CallView:
        async with run.database(settings) as connection:
            return await calls.show(connection, call_id)

    call = run.wait(work())
    if as_json:
        output.json(call)
        return
    output.facts(
        [
            ("Call", call.id),
            ("Client", call.client_name or call.client_id),
            ("Caller", _caller(call)),
            ("Dialled", call.did),
            ("Forwarded by", call.forwarded_by),
            ("Outcome", call.outcome or "(goes on)"),
            ("Last stage", call.stage),
            ("Reason", call.reason),
            ("Agent", call.agent_name or call.agent_id),
            ("Talk", _talked(call)),
            ("Note", f"{call.note.state}, revision {call.note.revision}"),
        ]
    )
    typer.echo("")
    start = call.received_at
    output.table(
        ("Time", "After", "What", "Details"),
        (
            (step.at, f"{(step.at - start).total_seconds():.2f} s", step.kind, step.detail)
            for step in call.steps
        ),
        empty="No timeline yet.",
    )
    if call.notes:
        typer.echo("")
        output.table(
            ("Note", "Due", "Handed over", "Id", "Trouble"),
            (
                (note.key, note.due_at, note.acked_at, note.note_id, _trouble(note))
                for note in call.notes
            ),
            empty="",
        )
    if call.recordings:
        typer.echo("")
        output.table(
            ("Recording", "Made", "Length", "Audio"),
            (
                (one.kind, one.at, f"{one.seconds:.0f} s" if one.seconds else "", _audio(one))
                for one in call.recordings
            ),
            empty="",
        )


@app.command("recording")
def recording(
    ctx: typer.Context,
    call_id: Annotated[str, typer.Argument(metavar="CALL")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to write it. (default: CALL.wav)"),
    ] = None,
    number: Annotated[
        int | None,
        typer.Option(
            "--number", min=1, metavar="N", help="Which one, of several. (default: the latest)"
        ),
    ] = None,
    erase: Annotated[
        bool, typer.Option("--erase", help="Erase the call's recordings, also in unsent mail.")
    ] = False,
    folder: Folder = None,
) -> None:
    """Write what the caller said to a WAV file, or erase it."""
    settings = run.settings_of(ctx, folder)
    if erase:
        erased = run.wait(_erase(settings, call_id))
        output.hint(f"Recordings of call {call_id} erased: {erased}.")
        return

    async def work() -> bytes:
        async with run.database(settings) as connection:
            await calls.show(connection, call_id)
            return await recordings.newest_audio(connection, call_id, number)

    wav = run.wait(work())
    path = out or Path(attachment_name(call_id, number or 1))
    output.write(path, wav)
    typer.echo(str(path))


async def _erase(settings: Settings, call_id: str) -> int:
    """First here, so that nothing new leaves, then what the note service still keeps."""
    async with run.database(settings) as connection:
        call = await calls.show(connection, call_id)
        erased = await recordings.erase(connection, call_id)
    async with NotesClient(settings.notes.url, settings.notes.token.get_secret_value()) as service:
        for note in call.notes:
            if note.note_id is not None:
                await service.erase(note.note_id)
    return erased


def _audio(one: Recording) -> str:
    if one.deleted_at is not None:
        return f"erased {one.deleted_at:%Y-%m-%d}"
    if one.lost:
        return f"none: {one.lost}"
    return f"{one.size // 1000} kB" if one.size else "on its way"


def _caller(call: CallSummary) -> str:
    number = "withheld" if call.caller_withheld else call.caller_number
    return f"{call.caller_name} {number}".strip()


def _talked(call: CallSummary) -> str:
    if call.answered_at is None or call.ended_at is None:
        return ""
    return f"{(call.ended_at - call.answered_at).total_seconds():.0f} s"


def _trouble(note: HandOver) -> str:
    return note.last_error if note.acked_at is None else ""

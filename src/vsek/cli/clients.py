"""``vsek client …``: the companies whose calls are answered."""

from __future__ import annotations

import re
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from vsek.cli import live, output, run
from vsek.cli.run import Folder, Json
from vsek.domain.client import Client
from vsek.domain.temporary import LONGEST_TEXT, Temporary, parse_time, write_time
from vsek.domain.text import clean_text
from vsek.errors import InputError
from vsek.settings import Settings
from vsek.store import clients, instructions
from vsek.store.clients import ImportResult, StoredClient

app = typer.Typer(help="Clients: the companies whose calls are answered.")


@app.command("import")
def import_clients(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML file, see docs/clients.md.")],
    as_json: Json = False,
    folder: Folder = None,
) -> None:
    """Add or change the clients in FILE: all of them or, if anything is wrong, none."""
    settings = run.settings_of(ctx, folder)
    result = run.wait(_import(settings, file))
    if as_json:
        output.json(result)
    else:
        for what, ids in (
            ("added", result.created),
            ("changed", result.changed),
            ("unchanged", result.unchanged),
        ):
            if ids:
                typer.echo(f"{len(ids)} {what}: {', '.join(ids)}")
        output.warnings(str(file), result.warnings)
    if not (result.created or result.changed or result.unchanged):
        output.hint(f"{file} lists no clients: nothing to import.")
    if result.created or result.changed:
        run.wait(live.announce(settings))


async def _import(settings: Settings, file: Path) -> ImportResult:
    # The finder of private programs comes from outside: pbx knows nothing of how they are had.
    from vsek.embedded.packages import find_tool
    from vsek.pbx.sounds import SoundWorkshop

    maker = SoundWorkshop(find_tool, settings.sounds.speech)
    async with run.database(settings) as connection:
        return await clients.import_file(
            connection,
            file,
            maker,
            country=settings.asterisk.default_country,
            area=settings.asterisk.area_code,
            by=run.user(),
        )


@app.command("export")
def export(
    ctx: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", show_default=False)] = None,
    file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to FILE.")
    ] = None,
    audio: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the sounds to FOLDER, beside the YAML file."),
    ] = None,
    folder: Folder = None,
) -> None:
    """Print clients as YAML that imports to the same clients (all, or the given ones)."""
    settings = run.settings_of(ctx, folder)

    async def work() -> str:
        async with run.database(settings) as connection:
            return await clients.export(connection, ids or (), audio_folder=audio)

    text = run.wait(work())
    if file is None:
        typer.echo(text, nl=False)
    else:
        output.write(file, text)


@app.command("list")
def list_clients(ctx: typer.Context, as_json: Json = False, folder: Folder = None) -> None:
    """List all clients."""
    settings = run.settings_of(ctx, folder)

    async def work() -> list[StoredClient]:
        async with run.database(settings) as connection:
            return await clients.list_clients(connection)

    stored = run.wait(work())
    if as_json:
        output.json({"clients": [_plain(one) for one in stored]})
        return
    output.table(
        ("ID", "Name", "Language", "Policy", "DID", "Forwarding", "Notes to"),
        (
            (
                one.client.id,
                one.client.name,
                one.client.language,
                one.client.policy,
                one.client.numbers.did,
                one.client.numbers.forwarding,
                [contact.email for contact in one.client.recipients()],
            )
            for one in stored
        ),
        empty="No clients yet. Add some with: vsek client import FILE",
    )


@app.command("show")
def show(
    ctx: typer.Context,
    client_id: Annotated[str, typer.Argument(metavar="ID")],
    as_json: Json = False,
    folder: Folder = None,
) -> None:
    """Show one client as it stands in the YAML file, and since when."""
    settings = run.settings_of(ctx, folder)

    async def work() -> tuple[StoredClient, str]:
        async with run.database(settings) as connection:
            one = await clients.show(connection, client_id)
            return one, await clients.export(connection, [one.client.id])

    one, text = run.wait(work())
    if as_json:
        output.json(_plain(one))
        return
    typer.echo(f"# Version {one.version}, changed {output.shown(one.changed_at)}")
    for instruction in one.client.instructions_at(time.time()):
        closed = ", closed meanwhile" if instruction.closed else ""
        typer.echo(f"# Until {write_time(instruction.until)}{closed}:")
        for line in instruction.text.splitlines():
            typer.echo(f"#   {output.shown(line)}")
    typer.echo(text, nl=False)


@app.command("instruct")
def instruct(
    ctx: typer.Context,
    client_id: Annotated[str, typer.Argument(metavar="ID")],
    text: Annotated[
        str | None,
        typer.Argument(metavar="[TEXT]", help="What agents must know.", show_default=False),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="When it ends, on the client's clock: '2026-12-24 16:00', '16:00' (today), or a "
            "day, to its end.",
            show_default=False,
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="TIME", help="When it begins. (default: now)", show_default=False
        ),
    ] = None,
    closed: Annotated[
        bool, typer.Option("--closed", help="Calls are not taken meanwhile, as outside of hours.")
    ] = False,
    remove: Annotated[
        int | None,
        typer.Option(metavar="N", help="End instruction N of the list.", show_default=False),
    ] = None,
    as_json: Json = False,
    folder: Folder = None,
) -> None:
    """Give agents an instruction for a time; it ends by itself. Without TEXT: list them."""
    settings = run.settings_of(ctx, folder)
    if remove is not None:
        _only_alone(text, until, start, closed)
        gone = run.wait(_remove_instruction(settings, client_id, remove))
        typer.echo(f"Removed: {output.shown(gone.text)}")
        run.wait(live.announce(settings))
    elif text is None:
        _only_alone(text, until, start, closed)
        _list_instructions(run.wait(_show(settings, client_id)), as_json)
    else:
        one = run.wait(_add_instruction(settings, client_id, text, until, start, closed))
        typer.echo(f"Until {write_time(one.until)}: {output.shown(one.text)}")
        run.wait(live.announce(settings))


def _only_alone(text: str | None, until: str | None, start: str | None, closed: bool) -> None:
    if text is not None or until is not None or start is not None or closed:
        raise InputError(
            "This needs a TEXT, and no --remove",
            field="TEXT",
            value=text,
            remedy="Give TEXT and --until for a new instruction, or --remove N alone",
        )


async def _show(settings: Settings, client_id: str) -> Client:
    async with run.database(settings) as connection:
        return (await clients.show(connection, client_id)).client


async def _remove_instruction(settings: Settings, client_id: str, number: int) -> Temporary:
    async with run.database(settings) as connection:
        return await instructions.remove(connection, client_id, number, by=run.user())


async def _add_instruction(
    settings: Settings,
    client_id: str,
    text: str,
    until: str | None,
    start: str | None,
    closed: bool,
) -> Temporary:
    now = time.time()
    if until is None:
        raise InputError(
            "When does the instruction end?",
            field="--until",
            remedy="Give --until '2026-12-24 16:00', --until 16:00, or a day",
        )
    async with run.database(settings) as connection:
        client = (await clients.show(connection, client_id)).client
        if not clean_text(text):
            raise InputError("The instruction is empty", field="TEXT", remedy="Write something")
        if len(text.strip()) > LONGEST_TEXT:
            raise InputError(
                f"The instruction has {len(text.strip())} letters",
                field="TEXT",
                value=text,
                remedy=f"Say it in {LONGEST_TEXT} at the most; the client's file has room for "
                "more, under instructions",
            )
        today = datetime.now(ZoneInfo(client.timezone)).date().isoformat()
        one = Temporary(
            start=_time(start, "--from", today, ends=False) if start is not None else None,
            until=_time(until, "--until", today, ends=True),
            text=clean_text(text, LONGEST_TEXT),
            closed=closed,
        )
        try:
            await instructions.add(connection, client_id, one, now, by=run.user())
        except InputError as error:
            if error.field == "--until":
                error.value = until  # as it was written, not what became of it
            raise
    return one


def _time(text: str, option: str, today: str, *, ends: bool) -> datetime:
    """A time of today, or as files have it."""
    try:
        if re.fullmatch(r"\d\d:\d\d", text.strip()):
            return parse_time(f"{today} {text.strip()}", ends=ends)
        return parse_time(text, ends=ends)
    except ValueError:
        raise InputError(
            f"{text!r} is not a time",
            field=option,
            value=text,
            remedy="Write it like '2026-12-24 16:00', '16:00' (today), or 2026-12-24",
        ) from None


def _list_instructions(client: Client, as_json: bool) -> None:
    now = time.time()
    rows = []
    for number, one in enumerate(client.temporary, 1):
        begins, ends = one.span(client.timezone)
        state = "over" if ends <= now else "to come" if begins > now else "holds"
        rows.append((number, one, state))
    if as_json:
        plain = [{"number": n, **one.model_dump(), "state": state} for n, one, state in rows]
        output.json({"temporary": plain})
        return
    output.table(
        ("N", "From", "Until", "State", "Closed", "Text"),
        (
            (
                number,
                write_time(one.start) if one.start is not None else "-",
                write_time(one.until),
                state,
                one.closed,
                one.text,
            )
            for number, one, state in rows
        ),
        empty=f"Client {client.id} has no temporary instructions.",
    )


def _plain(one: StoredClient) -> dict[str, object]:
    return {
        **one.client.model_dump(mode="json"),
        "greeting_sound": one.greeting_sound,
        "music_sound": one.music_sound,
        "announcement_sounds": one.announcement_sounds,
        "version": one.version,
        "added_at": one.added_at,
        "changed_at": one.changed_at,
    }

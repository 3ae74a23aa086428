"""``vsek client …``: the companies whose calls are answered."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vsek.cli import live, output, run
from vsek.cli.run import Folder, Json
from vsek.settings import Settings
from vsek.store import clients
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
    typer.echo(text, nl=False)


def _plain(one: StoredClient) -> dict[str, object]:
    return {
        **one.client.model_dump(mode="json"),
        "greeting_sound": one.greeting_sound,
        "music_sound": one.music_sound,
        "version": one.version,
        "added_at": one.added_at,
        "changed_at": one.changed_at,
    }

"""Which run folder a command works on, and the servers that belong to it.

``--dir DIR`` may stand before the subcommand, between noun and verb, or after it; the innermost one
wins, then ``VSEK_DIR``, then ``./run``.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from vsek import settings as settings_module
from vsek.errors import InputError, ServiceError
from vsek.settings import Settings

if TYPE_CHECKING:
    from vsek.notify.client import NotesClient
    from vsek.store.pool import Connection

DEFAULT_DIR = Path("run")

Folder = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        metavar="DIR",
        envvar="VSEK_DIR",
        show_envvar=True,
        help="Run folder: settings, state and logs. (default: ./run)",
    ),
]
"""The ``--dir`` option; every command takes it as ``folder: Folder = None``."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

T = TypeVar("T")
Word = TypeVar("Word", bound=StrEnum)


def remember(ctx: typer.Context, folder: Folder = None) -> None:
    """Callback of program and nouns: keeps a ``--dir`` that stands before the command."""
    from_command_line = ctx.get_parameter_source("folder")
    if folder is not None and from_command_line is not None:
        ctx.obj = folder if from_command_line.name == "COMMANDLINE" else (ctx.obj or folder)


def folder_of(ctx: typer.Context, folder: Path | None) -> Path:
    """The run folder as an absolute path; it need not exist."""
    source = ctx.get_parameter_source("folder")
    given = folder if source is not None and source.name == "COMMANDLINE" else ctx.obj or folder
    return Path(given or DEFAULT_DIR).expanduser().resolve()


def settings_of(ctx: typer.Context, folder: Path | None) -> Settings:
    """The settings of the run folder; raises ``InputError`` for wrong ones."""
    return settings_module.load(folder_of(ctx, folder))


def one_of(words: type[Word], option: str) -> Callable[[str], Word]:
    """Parser of an option that takes one of ``words``, in capitals or not."""

    def parse(text: str) -> Word:
        for word in words:
            if word.casefold() == text.strip().casefold():
                return word
        raise InputError(
            f"{option} does not know {text!r}",
            field=option,
            value=text,
            remedy=f"Choose one of: {', '.join(words)}",
        )

    return parse


def must_be_numbers(ctx: typer.Context) -> None:
    """Raises ``InputError`` for a number without an end, which is above every least value."""
    for name, value in ctx.params.items():
        if isinstance(value, float) and not math.isfinite(value):
            option = f"--{name.replace('_', '-')}"
            raise InputError(
                f"{option} is not a number",
                field=option,
                value=value,
                remedy="Write digits, for example 30",
            )


def user() -> str:
    """Who runs the command, as the system knows them; empty where it does not."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such entry, for instance in a container
        return ""


async def must_be_client(connection: Connection, client_id: str) -> None:
    """Raises ``InputError`` when there is no such client: a list of it would just be empty."""
    from vsek.store import clients

    try:
        await clients.show(connection, client_id)
    except InputError as error:
        error.field = "--client"
        raise


def wait(work: Coroutine[Any, Any, T]) -> T:
    """Runs ``work`` in an event loop of its own."""
    import asyncio

    return asyncio.run(work)


def service(work: Coroutine[Any, Any, T]) -> T:
    """Runs a service, on uvloop: a call then takes a fifth less of the processor. Where there is
    none (it is a dependency of Linux and macOS only) asyncio's own loop does."""
    import asyncio

    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def not_running(settings: Settings) -> str:
    """The remedy for servers that do not answer, fitting what the run folder holds."""
    if settings.stack_file.is_file():
        return f"Is it running? Start it with: vsek up --dir {settings.dir}"
    if (settings.dir / "vsek.toml").is_file():
        return f"Check the servers named in {settings.dir / 'vsek.toml'} (vsek doctor tells more)"
    return (
        f"Nothing was ever started in {settings.dir}: run 'vsek up --dir {settings.dir}', "
        "or name the right folder with --dir or VSEK_DIR"
    )


@asynccontextmanager
async def note_service(settings: Settings) -> AsyncIterator[NotesClient]:
    """A client of the note service; raises ``ServiceError`` when it does not answer."""
    from vsek.notify.client import NotesAwayError, NotesClient

    token = settings.notes.token.get_secret_value()
    try:
        async with NotesClient(settings.notes.url, token) as service:
            yield service
    except NotesAwayError as error:
        error.remedy = not_running(settings)
        raise


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[Connection]:
    """A connection to PostgreSQL; raises ``ServiceError`` when the server does not serve."""
    from vsek.store.pool import acquire, open_pool

    pool = await open_pool(settings.database.dsn.get_secret_value(), size=1)
    try:
        async with acquire(pool) as connection:
            yield connection
    except ServiceError as error:
        if error.error_id == "database":
            error.remedy = not_running(settings)
        raise
    finally:
        await pool.close()

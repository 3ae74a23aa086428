"""``vsek up``, ``serve``, ``notes``, ``migrate``, ``demo``, ``doctor`` and ``health``."""

from __future__ import annotations

import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from vsek import logs
from vsek.cli import output, run
from vsek.cli.run import Folder, Json
from vsek.domain.text import counted
from vsek.errors import ServiceError
from vsek.settings import Settings, must_be_folder


class Service(StrEnum):
    """Whose health is asked for."""

    SWITCHBOARD = "switchboard"
    NOTES = "notes"


_MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


def add_to(app: typer.Typer) -> None:
    """Adds these commands to the program."""
    app.command("up")(up)
    app.command("serve")(serve)
    app.command("notes")(notes)
    app.command("migrate")(migrate)
    app.command("demo")(demo)
    app.command("doctor")(doctor)
    app.command("health")(health)


def _logging(settings: Settings) -> None:
    chosen = settings.log_format
    if "log_format" not in settings.model_fields_set and sys.stderr.isatty():
        chosen = "text"  # somebody is reading
    logs.configure(settings.log_level, chosen)


def up(
    ctx: typer.Context,
    sip_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, metavar="N", help="UDP port for SIP. (default: a free one)"),
    ] = None,
    http_port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, metavar="N", help="Port of vsek's HTTP. (default: a free one)"
        ),
    ] = None,
    smtp: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Mail server. (default: setting smtp)"),
    ] = None,
    folder: Folder = None,
) -> None:
    """Run everything with embedded servers: Asterisk, PostgreSQL, switchboard, note service.

    Prints one line of JSON when callers can call. Ctrl-C or SIGTERM ends all of it in order.
    """
    from vsek.embedded.stack import run_stack

    settings = run.settings_of(ctx, folder)
    _logging(settings)

    def ready(line: dict[str, Any]) -> None:
        typer.echo(output.json_line(line))

    code = run.wait(
        run_stack(settings.dir, sip_port=sip_port, http_port=http_port, smtp=smtp, on_ready=ready)
    )
    raise typer.Exit(code)


def serve(ctx: typer.Context, folder: Folder = None) -> None:
    """Run the switchboard: owns the live calls and hands them to agents."""
    from vsek import app

    settings = run.settings_of(ctx, folder)
    _logging(settings)
    run.service(app.serve(settings))


def notes(ctx: typer.Context, folder: Folder = None) -> None:
    """Run the note service: takes notes over HTTP and delivers them by e-mail."""
    from vsek import app

    settings = run.settings_of(ctx, folder)
    _logging(settings)
    run.service(app.notes(settings))


def migrate(ctx: typer.Context, folder: Folder = None) -> None:
    """Bring a PostgreSQL of your own up to date; `vsek up` does it by itself."""
    from vsek.store.migrate import apply
    from vsek.store.pool import check_dsn

    settings = run.settings_of(ctx, folder)
    dsn = settings.database.dsn.get_secret_value()
    check_dsn(dsn)
    try:
        done = apply(dsn)
    except ServiceError as error:
        if "database" not in settings.model_fields_set:
            error.remedy = (
                f"No database is named: set dsn under [database] in {settings.dir / 'vsek.toml'}, "
                "or VSEK_DATABASE__DSN. 'vsek up' brings a database of its own, up to date"
            )
        elif settings.stack_file.is_file():
            error.remedy = run.not_running(settings)
        raise
    typer.echo(f"Applied: {', '.join(done)}" if done else "The database is up to date.")


def demo(
    ctx: typer.Context,
    as_json: Json = False,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            metavar="DIR",
            help="Run folder of the demo; VSEK_DIR does not count. (default: a new temporary one)",
        ),
    ] = None,
) -> None:
    """Show the whole system at work with real softphones, real calls and real mail.

    It has a run folder and settings of its own: none is taken from the environment.
    """
    from vsek.demo.run import run_demo

    if folder is None and ctx.parent is not None:
        before = ctx.parent.get_parameter_source("folder")
        folder = ctx.obj if before is not None and before.name == "COMMANDLINE" else None
    if folder is not None:
        must_be_folder(folder.expanduser().resolve())
    place = (folder or Path(tempfile.mkdtemp(prefix="vsek-demo-"))).expanduser().resolve()
    raise typer.Exit(run.wait(run_demo(place, json_out=as_json)))


def doctor(ctx: typer.Context, as_json: Json = False, folder: Folder = None) -> None:
    """Examine Asterisk, PostgreSQL, mail and sounds: what is missing, where, and what to do."""
    from vsek.embedded.packages import find_tool
    from vsek.pbx.doctor import examine
    from vsek.store import migrate

    settings = run.settings_of(ctx, folder)
    findings = run.wait(examine(settings, pending=migrate.pending, find_tool=find_tool))
    if as_json:
        output.json({"findings": findings})
    else:
        for finding in findings:
            output.console().print(f"{_MARKS[finding.level]}  {finding.where}: {finding.what}")
            if finding.level != "ok" and finding.remedy:
                output.console().print(f"      {finding.remedy}")
    if any(finding.level == "fail" for finding in findings):
        raise typer.Exit(1)


def health(
    ctx: typer.Context,
    of: Annotated[
        Service,
        typer.Option(
            "--of",
            parser=run.one_of(Service, "--of"),
            metavar="SERVICE",
            help="switchboard or notes.",
        ),
    ] = Service.SWITCHBOARD,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 1 also for what only needs help soon.")
    ] = False,
    as_json: Json = False,
    folder: Folder = None,
) -> None:
    """Ask the running switchboard whether callers can call, and each part how it is.

    Exit code 0: callers can call (or notes are taken), even where a part needs help. 1: they
    cannot, or nobody answers.
    """
    settings = run.settings_of(ctx, folder)
    report = run.wait(_switchboard(settings) if of is Service.SWITCHBOARD else _notes(settings))
    if as_json:
        output.json(report)
    else:
        _print_health(report)
    if report["status"] == "down" or (strict and report["status"] != "ok"):
        raise typer.Exit(1)


async def _switchboard(settings: Settings) -> dict[str, Any]:
    from vsek.cli.control import Control

    async with Control(settings) as control:
        return await control.health()


async def _notes(settings: Settings) -> dict[str, Any]:
    async with run.note_service(settings) as client:
        found = await client.health()
    says = f"{counted(found.queued, 'mail')} queued"
    if found.oldest_queued_at is not None:
        says += f", the oldest since {output.shown(found.oldest_queued_at)}"
    if found.smtp_reply:
        says += f"; the mail server refuses all mail: {found.smtp_reply}"
    remedy = "Correct the settings under smtp, or the mail server" if found.smtp_reply else ""
    part = {"name": "notes", "status": found.status, "says": says, "remedy": remedy}
    return {"ok": True, "status": found.status, "parts": [part], "alarms": []}


def _print_health(report: dict[str, Any]) -> None:
    page = output.console()
    for part in report["parts"]:
        status = output.shown(part["status"])
        mark = status if status == "ok" else status.upper()
        page.print(f"{mark:<8}  {output.shown(part['name'])}: {output.shown(part['says'])}")
        if part["remedy"]:
            page.print(f"          {output.shown(part['remedy'])}")
    if report.get("alarms"):
        page.print(f"alarms:   {output.shown(report['alarms'])}")

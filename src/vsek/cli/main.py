"""The ``vsek`` program: commands put together, and the one place where errors become texts.

Exit codes: 0 done, 1 failed, 2 wrong use (also wrong values in files or on the command line),
130 ended with Ctrl-C.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib.metadata import version
from typing import Annotated

DONE, FAILED, WRONG_USE = 0, 1, 2
INTERRUPTED = 130
"""What shells report for a program that Ctrl-C ended."""
LONGEST_VALUE = 200
"""So many letters of a wrong value are shown."""

try:
    import typer

    from vsek.cli import (
        agents,
        audit,
        bench,
        calls,
        clients,
        notes,
        processes,
        replay,
        rules,
        run,
        sim,
        why,
    )
    from vsek.cli.output import hint, shown
    from vsek.domain.yamlfile import FileError
    from vsek.errors import InputError, VsekError
except KeyboardInterrupt:
    # Loading takes a second in which somebody may think better of it.
    sys.exit(INTERRUPTED)

app = typer.Typer(
    name="vsek",
    help="Telephone system of an answering service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vsek {version('vsek')}")
        raise typer.Exit


@app.callback()
def _program(
    ctx: typer.Context,
    folder: run.Folder = None,
    _show: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    run.remember(ctx, folder)


processes.add_to(app)
app.command("audit")(audit.audit)
app.command("why")(why.why)
app.command("replay")(replay.replay)
app.command("bench")(bench.bench)
app.add_typer(sim.app, name="sim")
for _noun, _commands in (
    ("client", clients.app),
    ("agent", agents.app),
    ("call", calls.app),
    ("note", notes.app),
    ("rules", rules.app),
):
    _commands.callback()(run.remember)
    app.add_typer(_commands, name=_noun, no_args_is_help=True)


def main() -> None:
    """Runs the command line and exits."""
    try:
        app()
    except VsekError as error:
        sys.exit(report(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output went away (``| head``); Python must not complain at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except Exception as error:  # noqa: BLE001 - the last line before the operator's terminal
        sys.exit(_unexpected(error))


def report(error: VsekError) -> int:
    """Prints ``error`` on stderr, says what to do about it, and returns the exit code."""
    hint(f"vsek: {error.message}")
    # A file's problems each name their line, field, value and remedy already.
    if isinstance(error, InputError) and not isinstance(error, FileError):
        if error.field:
            hint(f"  field:  {error.field}")
        if error.value is not None:
            hint(f"  value:  {_cut(shown(error.value))}")
    if error.remedy:
        hint(f"  remedy: {error.remedy}")
    return WRONG_USE if isinstance(error, InputError) else FAILED


def _cut(text: str) -> str:
    """So much of a value that it is known again, and what is said after it stays in sight."""
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}… ({len(text)} letters)"


def _unexpected(error: Exception) -> int:
    system = isinstance(error, OSError) and error.strerror
    if isinstance(error, OSError) and system:
        place = f"{error.filename}: " if error.filename is not None else ""
        hint(f"vsek: {place}{error.strerror}")
    else:
        hint(f"vsek: {type(error).__name__}: {error}")
    if os.environ.get("VSEK_TRACEBACK"):
        traceback.print_exception(error)
    elif system:
        hint(
            "  remedy: See that the folder or file can be used and that its disk has room; "
            "VSEK_TRACEBACK=1 shows where it happened"
        )
    else:
        hint("  remedy: This is a fault of vsek; VSEK_TRACEBACK=1 shows where it happened")
    return FAILED


if __name__ == "__main__":
    main()

"""What commands print: results on stdout, everything else on stderr.

Values come from callers and agents, so nothing is taken as markup and control characters are shown
as blanks. A table is as wide as the terminal; in a pipe it is as wide as its content.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import typer
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vsek.errors import InputError

# Wide enough that a pipe never wraps or cuts a line.
_PIPE_WIDTH = 100_000

# Text that is narrower than this is harder to read than lines that the terminal breaks.
_NARROWEST = 30


def console() -> Console:
    """A console on stdout that takes nothing as markup."""
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(width=width, markup=False, highlight=False, emoji=False, soft_wrap=True)


def shown(value: object) -> str:
    """``value`` for people: times in local time, empty for nothing, no control characters."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, list | tuple):
        return ", ".join(shown(item) for item in value) or "-"
    if isinstance(value, dict):
        return " ".join(f"{name}={shown(item)}" for name, item in value.items()) or "-"
    return "".join(letter if letter.isprintable() else " " for letter in str(value))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Prints a table, or the sentence ``empty`` on stderr where there is nothing to list.

    Where a terminal is too narrow for it each row becomes a paragraph that can be read.
    """
    texts = [[shown(value) for value in row] for row in rows]
    if not texts:
        hint(empty)
        return
    page = console()
    with page.capture() as rendered:
        if sys.stdout.isatty() and _table_width(columns, texts) > page.width:
            for row in texts:
                page.print(_paragraph(columns, row, page.width))
        else:
            page.print(_grid(columns, texts))
    # Nobody needs the blanks that fill up the last column.
    typer.echo("\n".join(line.rstrip() for line in rendered.get().splitlines()))


def _grid(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, expand=False)
    for column in columns:
        grid.add_column(column, overflow="fold", no_wrap=True)
    for row in rows:
        grid.add_row(*map(Text, row))
    return grid


def _table_width(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    widest = [max(map(cell_len, column)) for column in zip(columns, *rows, strict=True)]
    return sum(widest) + 3 * (len(widest) - 1)


def _paragraph(columns: Sequence[str], row: Sequence[str], width: int) -> Text:
    """The first two values on a line of their own, the others below with their names; what is
    empty is left out."""
    head = "  ".join(value for value in row[:2] if value != "-")
    pairs = [
        f"{name}: {value}" for name, value in zip(columns[2:], row[2:], strict=True) if value != "-"
    ]
    lines, line = [head], ""
    for pair in pairs:
        if line and cell_len(line) + 3 + cell_len(pair) > width:
            lines.append(line)
            line = ""
        line = f"{line}   {pair}" if line else f"    {pair}"
    return Text("\n".join([*lines, line] if line else lines))


def paragraph(start: str, text: str) -> None:
    """Prints ``text`` behind ``start``; what a terminal is too narrow for goes on in lines that
    are indented as deep."""
    page = console()
    lines = [Text(shown(text))]
    if sys.stdout.isatty():
        lines = [*lines[0].wrap(page, max(page.width - len(start), _NARROWEST))]
    for at, line in enumerate(lines):
        typer.echo(f"{start if at == 0 else ' ' * len(start)}{line.plain.rstrip()}")


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Prints name and value, one pair per line; longer texts keep their lines."""
    pairs = list(pairs)
    width = max((len(name) for name, _ in pairs), default=0) + 2
    for name, value in pairs:
        lines = [shown(line) for line in value.splitlines()] if isinstance(value, str) else []
        first, *rest = lines or [shown(value)]
        typer.echo(f"{name + ':':<{width}}{first}")
        for line in rest:
            typer.echo(" " * width + line)


def json(value: Any) -> None:
    """Prints ``value`` as JSON (two blanks of indentation, times in ISO 8601)."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value, enc_hook=_plain), indent=2).decode())


def json_line(value: Any) -> str:
    """``value`` as JSON on one line."""
    return msgspec.json.encode(value, enc_hook=_plain).decode()


def moment(value: object) -> object:
    """Unix seconds or ISO 8601 text, as APIs give them, as a time to be shown."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    if isinstance(value, str) and value:
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return value
    return value


def write(path: Path, content: str | bytes) -> None:
    """Writes a file that the user named; raises ``InputError`` when that cannot be done."""
    try:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}",
            field="--output",
            value=str(path),
            remedy="Name a file in a folder that you may write",
        ) from None


def warnings(file: str, problems: Iterable[object]) -> None:
    """What is allowed in a file but hardly meant, a line each on stderr."""
    for problem in problems:
        hint(f"warning: {file}, {problem}")


def hint(text: str) -> None:
    """A line for people on stderr."""
    typer.echo(text, err=True)


def _plain(value: object) -> object:
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if callable(dump) else str(value)

"""``vsek bench``: vsek beside Asterisk's own ``Queue()`` and ``Dial()``."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from vsek.cli import output, run
from vsek.cli.run import Json
from vsek.errors import InputError, ServiceError

if TYPE_CHECKING:
    from vsek.bench.bench import Workload
    from vsek.bench.results import Report

ROUNDS = 5
"""Fewer say nothing about how far single runs lie apart."""


def bench(
    workloads: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WORKLOAD]...", help="W1 W2 …; all.", show_default=False),
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="Say what can be measured.")] = False,
    runs: Annotated[
        int, typer.Option("--runs", min=1, max=100, metavar="N", help="Rounds per case.")
    ] = ROUNDS,
    short: Annotated[bool, typer.Option("--short", help="Fewer and shorter cases.")] = False,
    soak: Annotated[
        float | None,
        typer.Option(
            min=1, metavar="MIN", help="How long W8 lasts, in minutes. (default: 30, short 2)"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where results.json and charts go. (default: a new one)"),
    ] = None,
    earlier: Annotated[
        list[Path] | None,
        typer.Option(
            "--from", metavar="FILE", help="Show an earlier results.json, or several as one."
        ),
    ] = None,
    docs: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Put the figures into this document."),
    ] = None,
    guard: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Fail if a ratio exceeds the limit stored there."),
    ] = None,
    pin: Annotated[bool, typer.Option(help="Pin processes to cores.")] = True,
    as_json: Json = False,
) -> None:
    """Measure vsek side by side with Asterisk's own Queue() and Dial().

    Starts an Asterisk of its own; callers and agents are SIPp on loopback. Needs the right to
    capture packets (root, or CAP_NET_RAW).
    """
    from vsek.bench import guard as guarding
    from vsek.bench import results
    from vsek.bench.workloads import chosen
    from vsek.sim.report import make_folder

    wanted = chosen(workloads or [])
    if show:
        _list(wanted)
        return
    limits = guarding.load(guard) if guard is not None else []
    if earlier:
        report = results.merged([results.load(file) for file in earlier])
        folder = out
        if folder is not None:
            make_folder(folder)
            results.write(folder / "results.json", report)
    else:
        folder = (out or Path(tempfile.mkdtemp(prefix="vsek-bench-"))).expanduser().resolve()
        try:
            how = (runs, short, 60 * (soak or 0.0))
            report = run.wait(_measure(wanted, folder, how, pin=pin))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
    charts = _charts(report, folder)
    if as_json:
        output.json(report)
    else:
        _print(report, wanted, folder)
    if docs is not None:
        _document(report, wanted, docs, charts)
    found = guarding.violations(report, limits)
    for violation in found:
        output.hint(f"slower than allowed: {violation}")
    if found and (share := guarding.busy(report)) is not None:
        output.hint(f"not judged: other programs took {share:.0%} of the machine; measure again")
    elif found:
        raise typer.Exit(1)


def _list(workloads: list[Workload]) -> None:
    for workload in workloads:
        typer.echo(f"{workload.id:<4}{workload.title}")


async def _measure(
    workloads: list[Workload], folder: Path, how: tuple[int, bool, float], *, pin: bool
) -> Report:
    """``how``: rounds, whether it shall be short, and seconds of soak (0: as usual)."""
    runs, short, soak_s = how
    from vsek.bench import machine, results
    from vsek.bench.bench import Bench
    from vsek.demo.capture import Capture
    from vsek.sim.report import make_folder

    if not Capture.allowed():
        raise ServiceError(
            "Packets cannot be captured, and all times are taken from packets",
            remedy="Run it as root, or give the interpreter CAP_NET_RAW",
        )
    await asyncio.to_thread(make_folder, folder)
    cores = machine.Cores(pin=pin)
    began = time.monotonic()
    report = results.Report(
        began_at=datetime.now(UTC).isoformat(timespec="seconds"),
        short=short,
        machine=machine.facts(asterisk="", pinned=cores.pinned),
    )
    mine = asyncio.current_task()
    assert mine is not None
    # Servers and folders are left to nobody, whoever ends us.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, mine.cancel)
    with tempfile.TemporaryDirectory(prefix="vsek-bench-run-") as place:
        bench = Bench(
            Path(place), report, cores, rounds=runs, out=folder, say=output.hint, soak_s=soak_s
        )
        try:
            for workload in workloads:
                await workload.run(bench)
        finally:
            await bench.close()
            cores.release()
    report.took_s = round(time.monotonic() - began, 1)
    await asyncio.to_thread(results.write, folder / "results.json", report)
    return report


def _charts(report: Report, folder: Path | None) -> list[Path]:
    from vsek.bench.charts import charts
    from vsek.sim.report import draw

    if folder is None:
        return []
    try:
        return draw(charts(report), folder)
    except InputError as error:
        # The figures were costly, and are there without them.
        output.hint(f"No charts: {error.message}")
        return []


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Narrower than other tables, so that it fits 80 columns."""
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0, 0, 1))
    for column in columns:
        grid.add_column(column, no_wrap=True)
    for row in rows:
        grid.add_row(*map(Text, row))
    page = output.console()
    with page.capture() as rendered:
        page.print(grid)
    typer.echo("\n".join(line.rstrip() for line in rendered.get().splitlines()))


def _print(report: Report, workloads: list[Workload], folder: Path | None) -> None:
    from vsek.bench import tables

    for workload in workloads:
        cases = report.of(workload.id)
        if cases:
            typer.echo(f"\n{workload.id}  {workload.title} ({workload.unit})\n")
            rows = tables.rows(workload, cases)
            _table(tables.columns(workload), rows)
    goals = [
        (workload.id, goal.what, goal.wanted, goal.found, tables.verdict(goal))
        for workload in workloads
        for goal in workload.goals(report)
    ]
    typer.echo()
    _table(("", "goal", "wanted", "found", "met"), goals)
    typer.echo(f"\n{tables.machine(report)}")
    if folder is not None:
        typer.echo(f"\nresults.json and charts: {folder}")


def _document(report: Report, workloads: list[Workload], docs: Path, charts: list[Path]) -> None:
    from vsek.bench import tables

    beside = docs.resolve().parent
    pictures = [os.path.relpath(chart.resolve(), beside) for chart in charts]
    tables.fill(docs, tables.markdown(report, workloads, pictures))

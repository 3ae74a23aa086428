"""Results for people: rows of tables, and the block of figures in the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

from vsek.bench.bench import Goal, Workload
from vsek.bench.results import Case, Competitor, Origin, Report
from vsek.bench.stats import Estimate, estimate, ratio
from vsek.errors import InputError

_BEGIN: Final = "<!-- vsek bench: begin; written by the tool, changes are lost -->"
_END: Final = "<!-- vsek bench: end -->"
_APART: Final = "Measured one after the other; where and when is said of each workload."
_ROOM: Final = 3
"""With so many values a table of 80 columns has room for medians only."""


def number(value: float) -> str:
    """Three digits, or all before the point."""
    return _digits(value, 3)


def _digits(value: float, count: int) -> str:
    return f"{value:.0f}" if abs(value) >= 10 ** (count - 1) else f"{value:.{count}g}"


def interval(found: Estimate | None, *, wide: bool = True) -> str:
    """``4.12 (3.8-4.9)``; empty if there is nothing."""
    if found is None:
        return ""
    if not wide or found.runs < 2:
        return number(found.value)
    return f"{number(found.value)} ({_digits(found.low, 2)}-{_digits(found.high, 2)})"


def columns(workload: Workload) -> list[str]:
    """The headings of a workload's table."""
    return ["case", "", *workload.values, "vsek:", "fails", "other"]


def rows(workload: Workload, cases: Sequence[Case]) -> list[list[str]]:
    """A workload's table: medians with intervals, vsek's share of the others' value, failed calls,
    and what other programs took of the machine. ``2+1`` fails: two calls, and one whole run."""
    found = []
    for case in cases:
        measured = [who for who in Competitor if case.of(who)]
        found += [[case.name, *_row(workload, case, who)] for who in measured]
    return found


def _row(workload: Workload, case: Case, competitor: Competitor) -> list[str]:
    runs = case.of(competitor)
    wide = len(workload.values) < _ROOM
    cells = [competitor.label]
    for name in workload.values:
        values = [run.values[name] for run in runs if name in run.values]
        cells.append(interval(estimate(values), wide=wide))
    share = None
    if competitor is not Competitor.VSEK:
        ours = case.values(Competitor.VSEK, workload.key)
        share = ratio(ours, case.values(competitor, workload.key))
    failed = sum(run.failed for run in runs)
    broken = sum(bool(run.trouble) for run in runs)
    cells.append("" if share is None else number(share.value))
    cells.append(f"{failed}" + (f"+{broken}" if broken else ""))
    cells.append(f"{median(run.others for run in runs):.0%}")
    return cells


def origin(found: Origin) -> str:
    """Where and when something was measured, in a line or two."""
    m = found.machine
    pinned = "pinned" if m.pinned else "not pinned"
    return (
        f"{m.cores} cores of {m.processor}, {m.memory_gb:g} GB, Linux {m.kernel}; "
        f"Asterisk {m.asterisk}, SIPp {m.sipp}, Python {m.python}, vsek {m.vsek}; "
        f"processes {pinned}; {found.began_at}"
    )


def machine(report: Report) -> str:
    """On what it was measured."""
    others = [run.others for case in report.cases for run in case.runs]
    told = "; and on ".join(map(origin, report.origins()))
    if others and (share := median(others)) >= 0.1:
        told += f". Other programs took {share:.0%} of the machine: times are too long"
    return told


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def _grid(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = "|" + "---|" * len(heads)
    return "\n".join([_line(heads), rule, *map(_line, lines)])


def verdict(goal: Goal) -> str:
    """In a word."""
    if goal.met is None:
        return "not measured"
    return "yes" if goal.met else "NO"


def markdown(report: Report, workloads: Sequence[Workload], charts: Sequence[str]) -> str:
    """The figures as a part of a document; ``charts`` are paths of pictures."""
    together = len(report.origins()) == 1
    parts = [f"Measured on {machine(report)}."] if together else [_APART]
    goals = [
        [workload.id, goal.what, goal.wanted, goal.found, verdict(goal)]
        for workload in workloads
        for goal in workload.goals(report)
    ]
    parts.append(_grid(["", "goal", "wanted", "found", "met"], goals))
    parts += [f"![{Path(chart).stem.replace('-', ' ')}]({chart})" for chart in charts]
    for workload in workloads:
        cases = report.of(workload.id)
        if cases:
            rounds = max(len(case.of(competitor)) for case in cases for competitor in Competitor)
            parts.append(f"**{workload.id}** {workload.title} ({workload.unit}, {rounds} rounds)")
            if not together:
                where = "; and on ".join(map(origin, report.origins(workload.id)))
                parts.append(f"Measured on {where}.")
            parts.append(_grid(columns(workload), rows(workload, cases)))
    return "\n\n".join(parts)


def fill(file: Path, text: str) -> None:
    """Puts ``text`` between the marks in a document; raises ``InputError`` where there are none."""
    try:
        document = file.read_text()
    except OSError as error:
        raise InputError(
            f"{file} cannot be read: {error.strerror}", field="--docs", value=str(file)
        ) from None
    before, begin, rest = document.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise InputError(
            f"{file} has no place for figures",
            field="--docs",
            value=str(file),
            remedy=f"Put the two lines {_BEGIN} and {_END} where they shall stand",
        )
    file.write_text(f"{before}{_BEGIN}\n\n{text}\n\n{_END}{after}")

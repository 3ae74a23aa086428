"""Tables and charts of simulations, for the terminal and for files."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from vsek.errors import InputError

_ROOMY = 6
"""With more bars the words below them would run into each other."""
_COLOURS = ("#1b6ca8", "#d1495b", "#3a7d44", "#e09f3e", "#6c5b7b", "#444444")


class Table(NamedTuple):
    """Figures in words, ready to be shown."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Series(NamedTuple):
    """One line or one colour of bars."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    spread: Sequence[tuple[float, float]] = ()
    """How far each value's interval reaches down and up."""


class Chart(NamedTuple):
    """A drawing of some series. Bars if ``ticks`` (names of the places on the x axis) are given."""

    name: str
    """Of its file, without ending."""
    title: str
    x: str
    y: str
    series: Sequence[Series]
    ticks: Sequence[str] = ()
    limit: float | None = None
    """A line across, with ``limit_name``."""
    limit_name: str = ""
    log: bool = False
    """Each line across stands for ten times the one below."""


class Section(NamedTuple):
    """A part of a report."""

    title: str
    text: str
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()


def markdown(sections: Sequence[Section], figures: str) -> str:
    """The report as Markdown, with its charts in the folder ``figures`` beside it."""
    parts: list[str] = []
    for section in sections:
        parts += [f"## {section.title}", section.text.strip()]
        for table in section.tables:
            if table.title:
                parts.append(f"**{table.title}**")
            lines = [_row(table.columns), _row(["---:"] * len(table.columns))]
            parts.append("\n".join([*lines, *map(_row, table.rows)]))
        parts += [f"![{chart.title}]({figures}/{chart.name}.svg)" for chart in section.charts]
    return "\n\n".join(parts) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def must_have_matplotlib() -> None:
    """Raises ``InputError`` when matplotlib is not there."""
    if find_spec("matplotlib") is None:
        raise InputError(
            "Charts need matplotlib, which is not installed",
            field="--out",
            remedy="pip install 'vsek[charts]', or leave --out away for the tables alone",
        )


def prepare(folder: Path) -> None:
    """A folder for charts, and whether they can be drawn; to be called before anything takes time.
    Raises ``InputError`` when it cannot be written, or when matplotlib is not there."""
    must_have_matplotlib()
    make_folder(folder)


def make_folder(folder: Path) -> None:
    """Make what ``--out`` names, if it is not there. Raises ``InputError`` when it cannot be
    written."""
    if folder.exists() and not folder.is_dir():
        raise InputError(
            f"{folder} is a file",
            field="--out",
            value=str(folder),
            remedy="Name a folder: several files are written to it",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Rights alone do not tell: a disk may be read-only or full.
        with tempfile.NamedTemporaryFile(dir=folder) as trial:
            trial.write(b"x")
    except OSError as error:
        raise InputError(
            f"Nothing can be written to {folder}: {error.strerror}",
            field="--out",
            value=str(folder),
            remedy="Name a folder that you may write",
        ) from None


def draw(charts: Sequence[Chart], folder: Path) -> list[Path]:
    """Write each chart to ``folder`` (see :func:`prepare`) as SVG; the same chart gives the same
    file. Raises ``InputError`` when matplotlib is not there or the folder cannot be written."""
    must_have_matplotlib()
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings: Any = {  # matplotlib's own names
        "svg.hashsalt": "vsek",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    paths: list[Path] = []
    with mpl.rc_context(settings):
        for chart in charts:
            figure = Figure(figsize=(7.2, 3.6), layout="constrained")
            _draw(chart, figure.add_subplot())
            path = folder / f"{chart.name}.svg"
            try:
                figure.savefig(path, metadata={"Date": None, "Creator": None})
            except OSError as error:
                raise InputError(
                    f"{path} cannot be written: {error.strerror}",
                    field="--out",
                    value=str(folder),
                    remedy="Name a folder that you may write",
                ) from None
            paths.append(path)
    return paths


def _draw(chart: Chart, axes: object) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    width = 0.8 / max(1, len(chart.series))
    for number, series in enumerate(chart.series):
        colour = _COLOURS[number % len(_COLOURS)]
        if chart.ticks:
            shift = (number - (len(chart.series) - 1) / 2) * width
            places = [x + shift for x in series.x]
            axes.bar(places, series.y, width=width, label=series.name, color=colour)
        else:
            places = list(series.x)
            axes.plot(places, series.y, label=series.name, color=colour, marker=".")
        if series.spread:
            reach = list(zip(*series.spread, strict=True))
            axes.errorbar(
                places, series.y, yerr=reach, fmt="none", ecolor="black", linewidth=0.8, capsize=2
            )
    if chart.ticks:
        size = "medium" if len(chart.ticks) <= _ROOMY else "small"
        axes.set_xticks(range(len(chart.ticks)), chart.ticks, fontsize=size)
    if chart.limit is not None:
        axes.axhline(
            chart.limit, color="black", linewidth=1, linestyle="--", label=chart.limit_name
        )
    axes.set(title=chart.title, xlabel=chart.x, ylabel=chart.y)
    if chart.log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.grid(visible=True, axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    if len(chart.series) > 1 or chart.limit is not None:
        axes.legend(frameon=False, fontsize="small")

"""Charts of the results that a newcomer understands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from vsek.bench.results import Case, Competitor, Report
from vsek.bench.stats import Estimate, estimate
from vsek.sim.report import Chart, Series

_RINGS: Final = "Until an agent's telephone rings: {part}"
_PARTS: Final = {"p50": "half of all calls are faster", "p99": "99 of 100 calls are faster"}
_MS: Final = "milliseconds"


def charts(report: Report) -> list[Chart]:
    """All charts for which ``report`` has figures."""
    return [*_by_rate(report), *_by_agents(report), *_waiting(report), *_bars(report)]


def _of(case: Case, competitor: Competitor, name: str) -> Estimate | None:
    return estimate([v for v in case.values(competitor, name) if v is not None])


def _series(
    cases: Sequence[Case], x: Callable[[Case], float], name: str, who: Competitor, title: str = ""
) -> Series:
    found = [(x(case), each) for case in cases if (each := _of(case, who, name)) is not None]
    return Series(
        title or who.label,
        [at for at, _ in found],
        [each.value for _, each in found],
        [(each.value - each.low, each.high - each.value) for _, each in found],
    )


def _all(cases: Sequence[Case], x: Callable[[Case], float], name: str) -> list[Series]:
    # Each competitor keeps its colour, also where one before it was not measured.
    series = [_series(cases, x, name, who) for who in Competitor]
    while series and not series[-1].x:
        series.pop()
    return series


def _place(names: Sequence[str], case: Case) -> float:
    return names.index(case.name)


def _by_rate(report: Report) -> Iterator[Chart]:
    cases = report.of("W1")
    for agents in sorted({case.agents for case in cases}):
        own = [case for case in cases if case.agents == agents]
        if len(own) > 1:
            yield Chart(
                name=f"latency-by-rate-{agents}-agents",
                title=f"{_RINGS.format(part=_PARTS['p99'])} ({agents:,} agents)",
                x="calls per second",
                y=_MS,
                series=_all(own, lambda case: case.rate, "p99"),
                log=True,
            )


def _by_agents(report: Report) -> Iterator[Chart]:
    cases = report.of("W1")
    for rate in sorted({case.rate for case in cases}):
        own = [case for case in cases if case.rate == rate]
        if len(own) > 1:
            yield Chart(
                name=f"latency-by-agents-{rate:g}-calls",
                title=f"{_RINGS.format(part=_PARTS['p50'])} ({rate:g} calls per second)",
                x="agents",
                y=_MS,
                series=_all(own, lambda case: case.agents, "p50"),
                log=True,
            )


def _waiting(report: Report) -> Iterator[Chart]:
    for workload, title in (
        ("W2", "Callers wait: from an agent's hang-up until the next call rings there"),
        ("W3", "Callers wait: from a ringing that nobody answered until the next"),
    ):
        for case in report.of(workload)[:1]:
            series = []
            for who in Competitor:
                both = [_series([case], lambda _: 0, name, who) for name in _PARTS]
                if all(each.y for each in both):
                    y = [each.y[0] for each in both]
                    error = [each.spread[0] for each in both]
                    series.append(Series(who.label, [0, 1], y, error))
            ticks = tuple(text.replace("are", "is") for text in _PARTS.values())
            name = f"waiting-{workload.lower()}"
            yield Chart(name, title, "", _MS, series, ticks, log=True)


def _bars(report: Report) -> Iterator[Chart]:
    for workload, value, name, title, y in (
        ("W4", "rate", "capacity", "Calls that all ring at an agent within 100 ms", "calls/s"),
        ("W5", "sum", "cost", "Processor time per call: Asterisk plus switchboard", _MS),
    ):
        cases = report.of(workload)
        if cases:
            names = [case.name for case in cases]
            yield Chart(
                name=name,
                title=title,
                x="queues x agents",
                y=y,
                series=_all(cases, partial(_place, names), value),
                ticks=tuple(names),
            )

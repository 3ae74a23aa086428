"""What several workloads share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from vsek.bench.bench import Goal
from vsek.bench.results import Case, Competitor
from vsek.bench.stats import estimate, percentile, ratio

VSEK, QUEUE, DIAL = Competitor.VSEK, Competitor.QUEUE, Competitor.DIAL


def spread(samples: Sequence[float]) -> dict[str, float]:
    """What is kept of a run's times; nothing if there are none."""
    if not samples:
        return {}
    return {
        "p50": round(percentile(samples, 0.5), 3),
        "p99": round(percentile(samples, 0.99), 3),
        "max": round(max(samples), 3),
    }


def middle(case: Case | None, competitor: Competitor, name: str) -> float | None:
    """Median over the rounds; ``None`` if it was not measured."""
    if case is None:
        return None
    found = estimate([v for v in case.values(competitor, name) if v is not None])
    return None if found is None else found.value


def times(case: Case | None, name: str, other: Competitor) -> float | None:
    """vsek's value divided by that of ``other``, median over the rounds."""
    if case is None:
        return None
    found = ratio(case.values(VSEK, name), case.values(other, name))
    return None if found is None else found.value


def beyond(case: Case, name: str, other: Competitor) -> float | None:
    """How much longer than ``other`` vsek takes, median over the rounds."""
    pairs = zip(case.values(VSEK, name), case.values(other, name), strict=False)
    found = [a - b for a, b in pairs if a is not None and b is not None]
    return median(found) if found else None


def failures(case: Case | None, competitor: Competitor = VSEK) -> int | None:
    """Failed calls of all rounds, each run without result counted as one."""
    if case is None:
        return None
    runs = case.of(competitor)
    return sum(run.failed or bool(run.trouble) for run in runs) if runs else None


def goal(
    what: str, limit: float, found: float | None, unit: str = "", *, least: bool = False
) -> Goal:
    """``found`` shall be ``limit`` at most; with ``least`` at least."""
    sign = "≥" if least else "≤"
    if found is None:
        return Goal(what, f"{sign} {limit:g}{unit}", "", None)
    met = found >= limit if least else found <= limit
    return Goal(what, f"{sign} {limit:g}{unit}", f"{found:.3g}{unit}", met)


def worst(
    cases: Sequence[Case], value: Callable[[Case], float | None], *, least: bool = False
) -> float | None:
    """The largest (with ``least`` the smallest) over the cases that were measured."""
    found = [v for v in map(value, cases) if v is not None]
    if not found:
        return None
    return min(found) if least else max(found)

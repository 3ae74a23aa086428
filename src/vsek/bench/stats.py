"""Medians with intervals, from few and noisy runs.

Each run gives one value (its own median, its own 99th percentile …). What is told of several runs
is their median, with the interval that the bootstrap gives: runs are drawn again and again, as many
as there were, with repetition, and 95 % of the medians of these draws lie in the interval. A ratio
is made within each round, where the competitors met the same moment of the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from random import Random
from statistics import median
from typing import Final

import msgspec

_DRAWS: Final = 2000
_SEED: Final = 20_150_515
"""Any: the same values shall give the same interval each time."""
_TAIL: Final = 0.025


class Estimate(msgspec.Struct, frozen=True):
    """A median of ``runs`` values; 95 % of its bootstrap lies between ``low`` and ``high``."""

    value: float
    low: float
    high: float
    runs: int


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest value that at least ``part`` (0 to 1) of ``values`` do not exceed.

    Raises ``ValueError`` if there are none.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    # Of 100 values p99 is the 99th, of 101 the 100th: nothing is made up between two values.
    rank = -int(-part * len(ordered) // 1)
    return ordered[min(len(ordered), max(1, rank)) - 1]


def estimate(values: Sequence[float]) -> Estimate | None:
    """Median and interval of one value per run; ``None`` if there are none."""
    if not values:
        return None
    drawn = Random(_SEED)  # noqa: S311 (no secret)
    medians = [median(drawn.choices(values, k=len(values))) for _ in range(_DRAWS)]
    return Estimate(
        median(values), percentile(medians, _TAIL), percentile(medians, 1 - _TAIL), len(values)
    )


def ratio(
    ours: Sequence[float | None], theirs: Sequence[float | None], *, floor: float = 0.0
) -> Estimate | None:
    """How many times ``theirs`` goes into ``ours``, round by round; rounds in which one has no
    value, or a divisor not above ``floor``, are left out."""
    pairs = zip(ours, theirs, strict=False)
    return estimate([a / b for a, b in pairs if a is not None and b is not None and b > floor])


_BLOCK: Final = 5
"""Neighbouring readings of a memory's size are like each other: they are drawn together."""
_SLOPE_DRAWS: Final = 300


def slope(readings: Sequence[tuple[float, float]]) -> Estimate | None:
    """How steeply values rise over time: the median of the slopes between all pairs (Theil-Sen),
    which single outliers do not move. ``None`` for fewer than three readings.

    The interval comes from the residuals, put onto the line again and again in another order, in
    blocks of neighbours.
    """
    if len(readings) < 3:
        return None
    times = [at for at, _ in readings]
    values = [value for _, value in readings]
    found = _slope(times, values)
    base = median(v - found * t for t, v in zip(times, values, strict=True))
    rest = [v - found * t - base for t, v in zip(times, values, strict=True)]
    drawn = Random(_SEED)  # noqa: S311 (no secret)
    slopes = []
    for _ in range(_SLOPE_DRAWS):
        noise: list[float] = []
        while len(noise) < len(rest):
            begin = drawn.randrange(max(1, len(rest) - _BLOCK + 1))
            noise += rest[begin : begin + _BLOCK]
        line = [found * t + base + n for t, n in zip(times, noise, strict=False)]
        slopes.append(_slope(times, line))
    return Estimate(found, percentile(slopes, _TAIL), percentile(slopes, 1 - _TAIL), len(readings))


def _slope(times: Sequence[float], values: Sequence[float]) -> float:
    return median(
        (values[b] - values[a]) / (times[b] - times[a])
        for a, b in combinations(range(len(times)), 2)
        if times[b] != times[a]
    )

"""Medians with intervals, from few and noisy runs.

Each run gives one value (its own median, its own 99th percentile …). What is told of several runs
is their median, with the interval that the bootstrap gives: runs are drawn again and again, as many
as there were, with repetition, and 95 % of the medians of these draws lie in the interval. A ratio
is made within each round, where the competitors met the same moment of the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
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

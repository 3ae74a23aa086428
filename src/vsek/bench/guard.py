"""Whether vsek has become slower: its ratios to the others against stored limits.

Times depend on the machine and on what else runs there; how much longer than ``Dial()`` vsek takes
in the same minute does so much less. It still does on a machine that others keep busy: each hop
from one process to another then waits its turn, and vsek needs more of them. There nothing is
judged.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median

import msgspec

from vsek.bench.results import Competitor, Report
from vsek.bench.stats import ratio
from vsek.errors import InputError


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``value`` of vsek divided by that of ``versus``: at most ``most`` in each case."""

    workload: str
    value: str
    versus: Competitor
    most: float


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The stored file."""

    limits: list[Limit]


BUSY = 0.3
"""What other programs may take of the machine, as a part of it."""


def busy(report: Report) -> float | None:
    """What they took, if that was too much to judge."""
    others = [run.others for case in report.cases for run in case.runs]
    share = median(others) if others else 0.0
    return share if share > BUSY else None


def load(file: Path) -> list[Limit]:
    """Reads the stored limits; raises ``InputError``."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Limits).limits
    except OSError as error:
        why = str(error.strerror)
    except msgspec.DecodeError as error:
        why = str(error)
    raise InputError(f"{file}: {why}", field="--guard", value=str(file))


def violations(report: Report, limits: list[Limit]) -> list[str]:
    """A sentence for each limit that is exceeded, or that could not be checked."""
    found = []
    for limit in limits:
        cases = report.of(limit.workload)
        what = f"{limit.workload} {limit.value}, vsek : {limit.versus.label}"
        if not cases:
            found.append(f"{what}: not measured")
        for case in cases:
            ours = case.values(Competitor.VSEK, limit.value)
            share = ratio(ours, case.values(limit.versus, limit.value))
            if share is None:
                found.append(f"{what}, {case.name}: no values")
            elif share.value > limit.most:
                found.append(f"{what}, {case.name}: {share.value:.3g}, at most {limit.most:g}")
    return found

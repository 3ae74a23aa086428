"""When a part that died is started again, and when one that lives hangs: pure decisions."""

from __future__ import annotations

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 4.0
"""A start costs about a second of one processor; every second without it turns callers away."""
SETTLED_S = 60.0
"""A part that ran this long has recovered: the next death is a first one again."""


def pause_before(deaths: int) -> float:
    """Seconds to wait before the start after the ``deaths``-th death in a row, counted from 1.

    The first restart is immediate: calls wait for it. After that the pause doubles.
    """
    if deaths < 1:
        raise ValueError(f"deaths is counted from 1, not {deaths}")
    if deaths == 1:
        return 0.0
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(deaths - 2, 16))


def deaths_in_a_row(before: int, ran_s: float) -> int:
    """The count after another death of a part that had run for ``ran_s`` seconds."""
    return 1 if ran_s >= SETTLED_S else before + 1


HANGS_AFTER = 5
"""Probes in a row without an answer, about a second apart."""
START_PROBES = 90
"""The same for a part that has not answered yet since its start."""


class Hang:
    """Judges one process by its answers. Probes are counted, not seconds: when this machine stood
    still as a whole nobody was asked, and nobody hung."""

    def __init__(self) -> None:
        self.missed = 0
        self._answered = False

    def hangs(self, answered: bool) -> bool:
        """Whether it hangs, after another probe that was ``answered`` or not."""
        if answered:
            self._answered = True
            self.missed = 0
            return False
        self.missed += 1
        return self.missed >= (HANGS_AFTER if self._answered else START_PROBES)

"""How long a caller will wait: told from how fast the group's calls were answered lately."""

from __future__ import annotations

import msgspec

_WEIGHT = 0.1
"""Share of the latest interval in the running mean."""


class Pace(msgspec.Struct):
    """How fast the waiting calls of one group are answered. Times are Unix seconds."""

    interval_s: float = 0.0
    """Running mean of the time between two answers while calls waited; 0: not known."""
    last_at: float | None = None
    """The last answer, if calls have waited ever since."""

    def answered(self, now: float, still_waiting: bool) -> None:
        """A call that had to wait was answered."""
        if self.last_at is not None:
            interval = max(0.0, now - self.last_at)
            if self.interval_s:
                interval = self.interval_s + _WEIGHT * (interval - self.interval_s)
            self.interval_s = interval
        self.last_at = now if still_waiting else None

    def expected_s(self, ahead: int) -> float | None:
        """Seconds until the call behind ``ahead`` others is answered; ``None``: not known."""
        return (ahead + 1) * self.interval_s if self.interval_s else None

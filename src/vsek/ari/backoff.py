"""When to connect again: a pure decision."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """The first attempt comes at once, later ones after growing delays with jitter.

    ``first_s`` is the delay before the second attempt, ``limit_s`` the longest, both in seconds.
    ``jitter`` is the part of a delay that is left to chance, so that many clients do not come
    back in step. A connection that lasted ``stable_s`` starts the row anew.
    """

    first_s: float = 0.1
    factor: float = 2.0
    limit_s: float = 5.0
    jitter: float = 0.5
    stable_s: float = 5.0

    def delay_s(self, attempt: int, chance: float) -> float:
        """Seconds to wait before attempt ``attempt`` (from 0); ``chance`` is in [0, 1)."""
        if attempt <= 0:
            return 0.0
        # 2 ** 60 already exceeds any limit, and a float overflows at 2 ** 1024.
        full = min(self.limit_s, self.first_s * self.factor ** min(attempt - 1, 60))
        return full * (1.0 - self.jitter * chance)

    def next_attempt(self, attempt: int, lasted_s: float) -> int:
        """The number of the attempt after a connection that lasted ``lasted_s`` (0: it failed)."""
        return 0 if lasted_s >= self.stable_s else attempt + 1

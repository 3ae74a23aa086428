from __future__ import annotations

import pytest

from vsek.ari import Backoff


def test_the_first_attempt_comes_at_once_and_delays_grow_to_the_limit() -> None:
    backoff = Backoff(first_s=0.1, factor=2, limit_s=1.0, jitter=0.5)
    assert [backoff.delay_s(n, 0.0) for n in range(7)] == pytest.approx(
        [0, 0.1, 0.2, 0.4, 0.8, 1, 1]
    )
    assert backoff.delay_s(100_000, 0.0) == 1.0


def test_chance_shortens_a_delay_by_no_more_than_the_jitter() -> None:
    backoff = Backoff(first_s=1.0, jitter=0.5)
    assert backoff.delay_s(1, 0.999) == pytest.approx(0.5, abs=0.01)


def test_only_a_stable_connection_starts_the_row_anew() -> None:
    backoff = Backoff(stable_s=5)
    assert backoff.next_attempt(3, 0.0) == 4
    assert backoff.next_attempt(3, 4.9) == 4
    assert backoff.next_attempt(3, 5.0) == 0

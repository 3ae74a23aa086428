from __future__ import annotations

import pytest

from vsek.embedded import restart


def test_the_first_restart_is_immediate_and_pauses_double() -> None:
    pauses = [restart.pause_before(deaths) for deaths in range(1, 12)]
    assert pauses[:5] == [0.0, 0.5, 1.0, 2.0, 4.0]
    assert pauses == sorted(pauses)
    assert pauses[-1] == restart.LONGEST_PAUSE_S
    assert restart.pause_before(10_000) == restart.LONGEST_PAUSE_S


def test_who_ran_long_enough_has_recovered() -> None:
    assert restart.deaths_in_a_row(0, 0.1) == 1
    assert restart.deaths_in_a_row(5, 0.1) == 6
    assert restart.deaths_in_a_row(5, restart.SETTLED_S) == 1


def test_deaths_are_counted_from_one() -> None:
    with pytest.raises(ValueError, match="from 1"):
        restart.pause_before(0)


def test_who_misses_probe_after_probe_hangs() -> None:
    judge = restart.Hang()
    assert not judge.hangs(True)
    assert [judge.hangs(False) for _ in range(restart.HANGS_AFTER)] == [False] * 4 + [True]
    judge = restart.Hang()
    judge.hangs(True)
    for _ in range(100):
        assert not any(judge.hangs(answered) for answered in (False, False, False, False, True))


def test_who_still_starts_gets_more_time() -> None:
    judge = restart.Hang()
    assert not any(judge.hangs(False) for _ in range(restart.START_PROBES - 1))
    assert judge.hangs(False)

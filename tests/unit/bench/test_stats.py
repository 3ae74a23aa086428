from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsek.bench.stats import estimate, percentile, ratio
from vsek.bench.workloads.capacity import _LADDER, climb

VALUES = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("count", "part", "wanted"),
    [(1, 0.5, 1), (1, 0.99, 1), (2, 0.5, 1), (100, 0.99, 99), (101, 0.99, 100), (1000, 0.5, 500)],
)
def test_percentiles_are_values_that_were_measured(count: int, part: float, wanted: int) -> None:
    assert percentile([float(n) for n in range(count, 0, -1)], part) == wanted


def test_nothing_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


@given(VALUES)
def test_the_median_lies_in_its_interval(values: list[float]) -> None:
    found = estimate(values)
    assert found is not None
    assert min(values) <= found.low <= found.value <= found.high <= max(values)
    assert found.runs == len(values)


def test_the_same_runs_give_the_same_interval() -> None:
    runs = [4.1, 3.9, 4.4, 9.0, 4.0]
    assert estimate(runs) == estimate(runs)
    assert estimate([]) is None


def test_an_interval_is_wide_where_runs_lie_apart() -> None:
    close, apart = estimate([4.0, 4.1, 4.2, 4.0, 4.1]), estimate([1.0, 9.0, 4.1, 2.0, 7.0])
    assert close is not None
    assert apart is not None
    assert apart.high - apart.low > 10 * (close.high - close.low)


def test_ratios_are_made_within_a_round() -> None:
    # The third round met a machine that was ten times slower: no reason to think worse of us.
    found = ratio([2.0, 2.2, 20.0], [4.0, 4.4, 40.0])
    assert found is not None
    assert (found.low, found.value, found.high) == (0.5, 0.5, 0.5)


def test_rounds_without_a_value_do_not_count() -> None:
    found = ratio([2.0, None, 3.0, 5.0], [4.0, 4.0, None, 0.0])
    assert found is not None
    assert (found.value, found.runs) == (0.5, 1)
    assert ratio([None], [1.0]) is None


@pytest.mark.parametrize("start", [2.0, 64.0, 100.0])
@pytest.mark.parametrize("limit", [0.0, 1.9, 2.0, 3.4, 9.9, 10.0, 31.0, 63.9, 149.0, 479.0, 900.0])
async def test_the_highest_rate_that_holds_is_found(limit: float, start: float) -> None:
    tried: list[float] = []

    async def holds(rate: float) -> bool:
        tried.append(rate)
        return rate <= limit

    about = await climb(holds, start, stride=4)
    assert about <= limit
    assert about > min(limit, _LADDER[-4]) / 1.7 or about == 0.0
    assert len(tried) == len(set(tried)) <= 14
    tried.clear()
    found = await climb(holds, about, below=2)
    assert found == max((rate for rate in _LADDER if rate <= limit), default=0.0)
    assert len(tried) == len(set(tried)) <= 8
    # What fails leaves something behind that would spoil the next: it is the end of the climb.
    assert all(rate <= limit for rate in tried[:-1])


@pytest.mark.parametrize("before", [0.0, 2.0, 10.0, 79.7, 110.0, 150.0])
@pytest.mark.parametrize("limit", [0.0, 2.0, 3.4, 31.0, 63.9, 80.0, 149.0, 500.0])
async def test_what_was_found_before_changes_the_way_and_not_the_end(
    limit: float, before: float
) -> None:
    async def holds(rate: float) -> bool:
        return rate <= limit

    assert await climb(holds, before, below=2) == await climb(holds, 64.0)


async def test_what_was_found_too_high_is_gone_down_from() -> None:
    tried: list[float] = []

    async def holds(rate: float) -> bool:
        tried.append(rate)
        return rate <= 80.0

    found = await climb(holds, 150.0, below=2)
    assert found == max(rate for rate in tried if rate <= 80.0)
    assert 80.0 < min(rate for rate in tried if rate > 80.0) < found * 1.13
    assert len(tried) == len(set(tried)) == 4

"""What a soak's readings mean, and what its callers do."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.bench.reports import VSEK, report

from vsek.bench.readings import Call, Leg, Timeline
from vsek.bench.results import Case, Run
from vsek.bench.stats import slope
from vsek.bench.workloads import ALL
from vsek.bench.workloads.soak import Left, Part, binned, evaluate, parts_of
from vsek.demo.loadpeers import caller_scenario

CLEAN = Left(
    channels=0,
    bridges=0,
    tasks=30,
    timers=0,
    descriptors=27,
    connections=17,
    note_descriptors=25,
)


def part(left: Left, *, offer_ms: float = 5.0, mb: float = 80.0, at: float = 0.0) -> Part:
    call = Call("491", 100.0, legs=[Leg("a", 100.0 + offer_ms / 1000)])
    return Part(Timeline([call]), 1, 0, left, [(at + n, mb) for n in range(10)])


def four(*lefts: Left) -> list[Part]:
    return [part(left, at=100.0 * number) for number, left in enumerate(lefts)]


@pytest.mark.parametrize(
    ("seconds", "parts"), [(120, 4), (1800, 4), (1801, 8), (3600, 8), (4 * 3600, 32)]
)
def test_parts_are_short_enough_for_a_registration(seconds: float, parts: int) -> None:
    found = parts_of(seconds)
    assert len(found) == parts
    assert sum(found) == pytest.approx(seconds)
    assert max(found) <= 450


def test_nothing_left_behind_is_nothing() -> None:
    values = evaluate(four(CLEAN, CLEAN, CLEAN, CLEAN))
    assert (values["left"], values["left_open"], values["slope"]) == (0, 0, 0)


@pytest.mark.parametrize("what", ["channels", "bridges", "tasks", "timers"])
def test_what_is_left_at_the_end_is_counted(what: str) -> None:
    last = Left(**{**CLEAN.__dict__, what: getattr(CLEAN, what) + 2})
    assert evaluate(four(CLEAN, CLEAN, CLEAN, last))["left"] == 2


def test_a_pool_that_breathes_is_no_leak_and_a_leak_is() -> None:
    def with_files(*counts: int) -> float:
        lefts = [Left(**{**CLEAN.__dict__, "descriptors": count}) for count in counts]
        return evaluate(four(*lefts))["left_open"]

    assert with_files(27, 30, 27, 33) == 0
    assert with_files(27, 30, 33, 36) == 3


def test_the_first_quarter_is_compared_with_the_last() -> None:
    parts = [part(CLEAN, offer_ms=ms, at=100.0 * ms) for ms in (4.0, 9.0, 9.0, 5.0)]
    values = evaluate(parts)
    assert values["p99_first"] == pytest.approx(4)
    assert values["p99_last"] == pytest.approx(5)


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e3)), max_size=400))
def test_few_readings_stand_for_many(readings: list[tuple[float, float]]) -> None:
    found = binned(readings)
    assert len(found) <= 60
    assert bool(found) == bool(readings)


def test_a_slope_is_found_in_noise_and_none_where_there_is_none() -> None:
    noise = random.Random(7)
    flat = [(float(t), 80 + noise.gauss(0, 0.3)) for t in range(60)]
    rising = [(t, value + 0.1 * t) for t, value in flat]
    level, growth = slope(flat), slope(rising)
    assert level is not None
    assert growth is not None
    assert level.low <= 0 <= level.high
    assert growth.low > 0.05
    assert growth.value == pytest.approx(0.1, abs=0.02)


def test_an_outlier_does_not_make_a_slope() -> None:
    readings = [(float(t), 80.0) for t in range(30)]
    readings[-1] = (29.0, 500.0)
    found = slope(readings)
    assert found is not None
    assert found.value == 0
    assert slope(readings[:2]) is None


@pytest.mark.parametrize(("low", "met"), [(-0.2, True), (0.3, False)])
def test_memory_is_level_where_it_may_be(low: float, met: bool) -> None:
    values = {"slope": 0.5, "slope_low": low, "slope_high": 1.0, "left": 0.0, "left_open": 0.0}
    values |= {"p99_first": 10.0, "p99_last": 12.0}
    run = Run(competitor=VSEK, round=0, calls=9, failed=0, values=values)
    made = Case(workload="W8", name="30 min at 10/s", agents=60, queues=1, rate=10, runs=[run])
    goals = {goal.what: goal for goal in ALL["W8"].goals(report(made))}
    assert goals["memory of the switchboard, growth"].met is met
    assert goals["p99 of the last quarter, times the first's"].found == "1.2"


def test_some_callers_leave() -> None:
    leaving = caller_scenario("+4930", 60.0, leaves=0.05)
    assert 'next="leave" chance="0.05"' in leaving
    assert leaving.count("BYE [next_url]") == 1
    staying = caller_scenario("+4930", 60.0)
    assert "leave" not in staying
    assert "BYE [next_url]" not in staying

"""Erlang-A against published values and against the simulation."""

from __future__ import annotations

import math

import pytest

from vsek.sim.erlang import erlang_a, floor
from vsek.sim.house import generated
from vsek.sim.load import Habits
from vsek.sim.scenario import Scenario, Task, run


def test_mandelbaum_and_zeltyn() -> None:
    """48 calls a minute, 50 agents, talks of a minute, patience of two: 3.1 % give up, 3.7 s of
    mean wait, 3 in the queue, 93 % occupancy ("The Palm/Erlang-A Queue", introduction)."""
    found = erlang_a(48.0, 1.0, 2.0, 50)
    assert found.abandons == pytest.approx(0.031, abs=5e-4)
    assert 60 * found.wait == pytest.approx(3.7, abs=0.05)
    assert found.queue == pytest.approx(3.0, abs=0.05)
    assert found.occupancy == pytest.approx(0.93, abs=5e-3)


def test_erlang_c_of_the_same_table() -> None:
    """The same without giving up: 20.8 s, 17 in the queue, 96 %."""
    found = erlang_a(48.0, 1.0, math.inf, 50)
    assert 60 * found.wait == pytest.approx(20.8, abs=0.05)
    assert found.queue == pytest.approx(17, abs=0.5)
    assert found.occupancy == pytest.approx(0.96)
    assert found.abandons == 0


def test_one_agent_is_mm1() -> None:
    found = erlang_a(0.5, 1.0, math.inf, 1)
    assert found.waits == pytest.approx(0.5)
    assert found.wait == pytest.approx(1.0)


def test_what_comes_is_answered_or_gives_up() -> None:
    arrivals, service, agents = 2.0, 10.0, 15
    found = erlang_a(arrivals, service, 30.0, agents)
    answered = found.occupancy * agents / service
    assert answered + arrivals * found.abandons == pytest.approx(arrivals)


def test_thousands_of_agents_do_not_overflow() -> None:
    assert erlang_a(950 / 6, 60.0, 300.0, 10_000).occupancy == pytest.approx(0.95, abs=0.01)


def test_nobody_gives_up_and_too_much_work() -> None:
    with pytest.raises(ValueError, match="no steady state"):
        erlang_a(2.0, 1.0, math.inf, 2)


def test_the_floor_of_one_pool_is_the_formula() -> None:
    waits, _ = floor(0.3, 120.0, 348.0, 40, 1.0)
    assert waits == pytest.approx(erlang_a(0.3, 120.0, 348.0, 40).waits)
    more, longer = floor(0.3, 120.0, 348.0, 40, 0.2)
    assert more > waits
    assert longer > 0


def test_the_simulation_agrees() -> None:
    scenario = Scenario(
        house=generated(10, groups=1, clients=1),
        habits=Habits(exponential=True),
        calls=8_000,
        load=0.9,
        warm_up=200,
    )
    formula, tally = scenario.formula(), run(Task(scenario))
    assert formula is not None
    total = tally.total()
    assert total.mean_s == pytest.approx(formula.wait, rel=0.2)
    assert total.abandoned / total.calls == pytest.approx(formula.abandons, rel=0.2)
    assert tally.occupancy == pytest.approx(formula.occupancy, rel=0.03)

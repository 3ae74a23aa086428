"""One thing to simulate, and the runs of it: the same callers for each distribution."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import msgspec

from vsek.errors import InputError
from vsek.sim.curve import CURVES
from vsek.sim.engine import Distribution, Engine
from vsek.sim.erlang import ErlangA, erlang_a
from vsek.sim.house import House, in_shifts
from vsek.sim.load import Habits, Load
from vsek.sim.measure import Tally
from vsek.sim.rivals import Polling, Strategy, Vsek

MONDAY = 1_736_121_600.0
"""Midnight of 6 January 2025, UTC: the day that is simulated with a curve."""

RIVALS: dict[str, Callable[[House], Distribution]] = {
    "vsek": lambda house: Vsek(house.rules),
    "polling": lambda house: Polling(house.rules),
    "leastrecent": lambda house: Polling(house.rules, Strategy.LEASTRECENT),
    "pool": lambda house: Vsek(
        msgspec.structs.replace(house.rules, groups={}, clients={}, agents={})
    ),
}
"""By the name that the command line knows."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """House, callers and habits. Either at ``load``, the same all the time, or a day with
    ``curve``."""

    house: House
    habits: Habits = Habits()
    calls: int
    """First calls; who calls again comes on top."""
    load: float = 0.0
    """Work that comes in, over what all agents can do."""
    curve: str = ""
    seed: int = 1
    warm_up: int = 0
    """So many first calls are not counted."""
    within_s: float = 20.0

    @property
    def per_s(self) -> float:
        """Calls a second at :attr:`load`, those who call again among them."""
        return self.load * len(self.house.agents) / self.habits.handling_s

    def formula(self) -> ErlangA | None:
        """Erlang-A, as if everybody took everything; ``None`` for a day, whose load changes."""
        habits = self.habits
        if self.curve:
            return None
        return erlang_a(self.per_s, habits.handling_s, habits.patience_s, len(self.house.agents))

    def callers(self) -> Load:
        """Who calls."""
        return Load(
            self.habits,
            self.house.clients,
            self.seed,
            calls=self.calls,
            per_s=self.per_s * (1 - self.habits.again),
            curve=CURVES[self.curve] if self.curve else None,
        )


def day(house: House, shift_s: float, curve: str = "bank") -> House:
    """The house with everybody in a shift of ``shift_s``, most of them when most calls come."""
    shape, agents = CURVES[curve], len(house.agents)
    middles = [shape.quantile_s((number + 0.5) / agents) for number in range(agents)]
    return in_shifts(house, shape.length_s, middles, shift_s=shift_s)


def simulate(scenario: Scenario, distribution: Distribution, callers: Load | None = None) -> Tally:
    """One run, with the scenario's own callers unless others are given."""
    curve = CURVES[scenario.curve] if scenario.curve else None
    engine = Engine(
        scenario.house,
        callers or scenario.callers(),
        distribution,
        start=MONDAY + curve.opens_s if curve is not None else 0.0,
        quiet_calls=scenario.warm_up,
        within_s=scenario.within_s,
    )
    return engine.run()


class Task(NamedTuple):
    """A run to be made, perhaps in a process of its own."""

    scenario: Scenario
    rival: str = "vsek"


def run(task: Task) -> Tally:
    """Make the run."""
    return simulate(task.scenario, RIVALS[task.rival](task.scenario.house))


def run_all(tasks: Iterable[Task], jobs: int = 1) -> list[Tally]:
    """Make the runs, so many at a time; what comes out does not depend on ``jobs``."""
    tasks = list(tasks)
    if jobs <= 1:
        return [run(task) for task in tasks]
    with ProcessPoolExecutor(min(jobs, os.cpu_count() or 1)) as pool:
        return list(pool.map(run, tasks))


def must_be_share(value: float, field: str) -> float:
    """``value`` if it is between 0 and 1; raises ``InputError`` otherwise."""
    if not 0 <= value <= 1:
        raise InputError(
            f"{value} is no share", field=field, value=str(value), remedy="Between 0 and 1"
        )
    return value

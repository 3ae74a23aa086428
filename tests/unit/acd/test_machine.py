"""Any order of events, against promises that are checked from the outside (``world.py``)."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from tests.unit.acd.world import WHATS, World

STEPS = 50_000
PARTS = 10
_PICK = st.integers(0, 1 << 30)
_SOME = st.lists(st.tuples(st.sampled_from(WHATS), _PICK), min_size=40, max_size=120)


class Distribution(RuleBasedStateMachine):
    """Each rule is a piece of a walk, so that Hypothesis costs little beside what it drives."""

    steps = 0

    @initialize(pick=_PICK)
    def open_house(self, pick: int) -> None:
        self.world = World(pick)

    @rule(some=_SOME)
    def walk_on(self, some: list[tuple[str, int]]) -> None:
        for what, pick in some:
            self.world.step(what, pick)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            Distribution.steps += self.world.steps
            self.world.ends()


@pytest.mark.parametrize("part", range(PARTS))
def test_any_order_of_events(part: int) -> None:
    """In parts, so that a busy machine does not take too long for one test."""
    Distribution.steps = 0
    while Distribution.steps < STEPS / PARTS:
        run_state_machine_as_test(
            Distribution,
            settings=settings(
                max_examples=8,
                stateful_step_count=8,
                deadline=None,
                phases=[Phase.reuse, Phase.generate],  # a walk cannot be made much shorter
                suppress_health_check=list(HealthCheck),
            ),
        )

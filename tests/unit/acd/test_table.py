"""The tables answer everything, and nothing in them is out of reach."""

from __future__ import annotations

import pytest

from vsek.acd.state import AgentState, CallState
from vsek.acd.table import (
    AGENTS,
    CALLS,
    DETOURS,
    AgentInput,
    CallInput,
    Condition,
    Go,
    Ignore,
    Keep,
    Never,
)


@pytest.mark.parametrize("state", AgentState)
def test_every_agent_state_answers_every_input(state: AgentState) -> None:
    assert set(AGENTS[state]) == set(AgentInput)


@pytest.mark.parametrize("state", CallState)
def test_every_call_state_answers_every_input(state: CallState) -> None:
    assert set(CALLS[state]) == set(CallInput)


def test_every_answer_that_is_no_step_has_a_reason() -> None:
    for row in AGENTS.values():
        for step in row.values():
            if isinstance(step, Keep | Ignore | Never):
                assert step.why


def test_every_state_and_every_input_is_used() -> None:
    targets = {s.target for row in AGENTS.values() for s in row.values() if isinstance(s, Go)}
    assert targets == {None, *AgentState}
    used = {what for row in AGENTS.values() for what, s in row.items() if not isinstance(s, Never)}
    assert used == set(AgentInput)
    conditions = [condition for row in DETOURS.values() for condition, _ in row]
    assert sorted(conditions) == sorted(Condition)


def test_detours_lead_forward() -> None:
    """No detour leads back to a state that was passed over before."""

    def visit(state: AgentState | None, seen: frozenset[AgentState]) -> None:
        if state is None:
            return
        assert state not in seen
        for _, beyond in DETOURS.get(state, ()):
            visit(beyond, seen | {state})

    for state in AgentState:
        visit(state, frozenset())

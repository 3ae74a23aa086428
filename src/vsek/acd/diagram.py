"""The tables as pictures: ``docs/acd.md`` shows what comes out of here, and a test compares.

Mermaid's state diagrams are drawn by most readers of Markdown; ``[*]`` is "not there (any more)".
"""

from __future__ import annotations

from collections.abc import Mapping

from vsek.acd.state import AgentState, CallState
from vsek.acd.table import AGENTS, CALLS, DETOURS, AgentInput, CallInput, Go, Ignore, Keep


def agents_diagram() -> str:
    """Agents: drawn through are the steps of the table, with ``⤳`` the detours."""
    lines = ["stateDiagram-v2", f"    [*] --> {AgentState.LOGGED_OUT.name}: added"]
    for state, row in AGENTS.items():
        targets: dict[AgentState | None, list[str]] = {}
        for what, step in row.items():
            if isinstance(step, Go):
                targets.setdefault(step.target, []).append(what)
        lines += _arrows(state.name, targets)
    for state, detours in DETOURS.items():
        for condition, target in detours:
            lines.append(f"    {state.name} --> {_name(target)}: ⤳ {condition}")
    return "\n".join(lines)


def calls_diagram() -> str:
    """Calls in the distribution."""
    lines = ["stateDiagram-v2", f"    [*] --> {CallState.WAITING.name}: {CallInput.QUEUED}"]
    for state, row in CALLS.items():
        targets: dict[CallState | None, list[str]] = {}
        for what, step in row.items():
            if isinstance(step, Go):
                targets.setdefault(step.target, []).append(what)
        lines += _arrows(state.name, targets)
    return "\n".join(lines)


def agents_table() -> str:
    """Inputs by states as a Markdown table: ``.`` ignored, ``=`` remembered, ``!`` refused."""
    lines = ["| input | " + " | ".join(state.name for state in AgentState) + " |"]
    lines.append("|---" * (len(AgentState) + 1) + "|")
    for what in AgentInput:
        cells = [_cell(AGENTS[state][what]) for state in AgentState]
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _arrows(
    source: str,
    targets: Mapping[AgentState | None, list[str]] | Mapping[CallState | None, list[str]],
) -> list[str]:
    return [
        f"    {source} --> {_name(target)}: {', '.join(inputs)}"
        for target, inputs in targets.items()
    ]


def _name(target: AgentState | CallState | None) -> str:
    return "[*]" if target is None else target.name


def _cell(step: object) -> str:
    if isinstance(step, Go):
        return _name(step.target).replace("[*]", "(gone)")
    return "." if isinstance(step, Ignore) else "=" if isinstance(step, Keep) else "!"

"""The pictures in the docs are those of the tables."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from tests.unit.acd.faults import FAULTS

from vsek.acd.diagram import agents_diagram, agents_table
from vsek.acd.state import AgentState

DOCS = Path(__file__).parents[3] / "docs"
DRAW = runpy.run_path(str(DOCS / "draw.py"))


@pytest.mark.parametrize("page", sorted(DRAW["PICTURES"]))
def test_pictures_are_up_to_date(page: str) -> None:
    text = (DOCS / page).read_text()
    assert DRAW["drawn"](text, DRAW["PICTURES"][page]) == text, "run: python docs/draw.py"


def test_a_missing_place_is_an_error() -> None:
    with pytest.raises(KeyError, match="agents_table"):
        DRAW["drawn"]("no place", {"agents_table": "x"})


def test_the_diagram_shows_every_state_and_the_detours() -> None:
    picture = agents_diagram()
    for state in AgentState:
        assert f"--> {state.name}:" in picture
    assert "    TALKING --> WRAP_UP: released" in picture
    assert "    READY --> LOGGED_OUT: ⤳ not registered" in picture


def test_the_table_has_a_row_for_each_input() -> None:
    assert "| released | ! | ! | ! | WRAP_UP | ! | ! | ! |" in agents_table()


def test_the_faults_that_are_seen_are_listed() -> None:
    text = (DOCS / "acd.md").read_text()
    listed = [line[4:] for line in text.splitlines() if line.startswith("  * ")]
    assert listed == [fault.what for fault in FAULTS]

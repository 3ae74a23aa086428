"""The table of number shapes in the docs is the one that the acceptance test sends."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.shapes import SHAPES, drawn

PAGE = Path(__file__).parents[3] / "docs" / "numbers.md"


def test_the_table_is_up_to_date() -> None:
    text = PAGE.read_text()
    assert drawn(text) == text, "run: python -m tests.acceptance.shapes"


def test_shapes_have_names_of_their_own() -> None:
    assert len({shape.id for shape in SHAPES}) == len(SHAPES)

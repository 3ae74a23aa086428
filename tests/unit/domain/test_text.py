"""Text from strangers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsek.domain.text import clean_line, clean_text, counted


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("Karl\r\nBcc: x@example.com", "Karl Bcc: x@example.com"),
        ("a\u202eb\u2066c\u200f", "abc"),
        ("\x00\x1b[31mrot\x7f", "[31mrot"),
        ("\ud800x", "x"),
        ("  viel \t Platz\u00a0hier ", "viel Platz hier"),
        ("z\u0301\u0301\u0301\u0301\u0301\u0301", "\u017a\u0301\u0301\u0301"),
        ("👨\u200d👩", "👨\u200d👩"),
        ("\u200dx\u200d y", "x y"),
        ("\u3164", ""),
        ("Müller & Söhne", "Müller & Söhne"),
    ],
)
def test_line(given_text: str, expected: str) -> None:
    assert clean_line(given_text) == expected


def test_limits() -> None:
    assert clean_line("x" * 500) == "x" * 119 + "…"
    assert clean_line("word " * 50, 12) == "word word w…"
    assert clean_text("a\n\n\n\nb \r\nc\rd\n\n") == "a\n\nb\nc\nd"


@given(st.text(), st.integers(2, 40))
def test_cleaning_twice_changes_nothing(text: str, limit: int) -> None:
    line = clean_line(text, limit)
    assert clean_line(line, limit) == line
    assert len(line) <= limit
    assert "\n" not in line
    several = clean_text(text, limit)
    assert clean_text(several, limit) == several
    assert len(several) <= limit


def test_numbers_with_their_nouns() -> None:
    told = [counted(number, "call") for number in (0, 1, 2)]
    assert told == ["0 calls", "1 call", "2 calls"]
    assert counted(1, "entry", "entries") == "1 entry"
    assert counted(3, "entry", "entries") == "3 entries"

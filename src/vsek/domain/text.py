"""Cleaning of text that strangers chose: caller names, SIP headers, dictated notes.

What stays is printable: no control characters, no bidirectional overrides (they make text read
other than it is), no lone surrogates, no towers of combining marks, and never more than a limit.
Cleaning never fails and is idempotent.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import BeforeValidator

NAME_LIMIT = 120
"""Characters of a name, a company, a subject line part."""
LINE_LIMIT = 500
"""Characters of a one-line field."""
TEXT_LIMIT = 20_000
"""Characters of a free text."""

_MARKS_IN_A_ROW = 3
_ELLIPSIS = "…"
_JOINERS = frozenset("\u200c\u200d")  # meaningful inside words of some scripts and in emoji
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_DROPPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_SPACES = frozenset({"Zs", "Zl", "Zp"})
_MARKS = frozenset({"Mn", "Me"})


def _printable(line: str) -> str:
    """``line`` (no line breaks meant) without anything that is not seen as what it is."""
    if line.isascii() and line.isprintable():
        return " ".join(line.split())
    kept: list[str] = []
    marks = 0
    for character in unicodedata.normalize("NFC", line):
        category = unicodedata.category(character)
        if character in "\t\n\r\v\f" or category in _SPACES:
            kept.append(" ")
            marks = 0
        elif character in _JOINERS:
            # Only between two visible characters; whether one follows shows in the strip below.
            if kept and kept[-1] != " " and kept[-1] not in _JOINERS:
                kept.append(character)
        elif category in _DROPPED or character in _INVISIBLE:
            continue
        elif category in _MARKS:
            marks += 1
            if kept and marks <= _MARKS_IN_A_ROW:
                kept.append(character)
        else:
            marks = 0
            kept.append(character)
    words = (word.strip("\u200c\u200d") for word in "".join(kept).split(" "))
    # Dropping characters can bring a base and its mark together: compose once more.
    return unicodedata.normalize("NFC", " ".join(word for word in words if word))


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return text[: limit - 1].rstrip(" \n\u200c\u200d") + _ELLIPSIS


def clean_line(text: str, limit: int = NAME_LIMIT) -> str:
    """One line: line breaks and runs of space become one space; cut at ``limit`` characters."""
    return _cut(_printable(text[: 20 * limit]), limit)


def clean_text(text: str, limit: int = TEXT_LIMIT) -> str:
    """Several lines: each cleaned, at most one empty line in a row, cut at ``limit`` characters."""
    rows: list[str] = []
    for row in text[: 4 * limit].replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        cleaned = _printable(row)
        if cleaned or (rows and rows[-1]):
            rows.append(cleaned)
    return _cut("\n".join(rows).strip("\n"), limit)


def _line(limit: int) -> BeforeValidator:
    def clean(value: object) -> object:
        return clean_line(value, limit) if isinstance(value, str) else value

    return BeforeValidator(clean)


def _text(value: object) -> object:
    return clean_text(value) if isinstance(value, str) else value


CleanName = Annotated[str, _line(NAME_LIMIT)]
"""A pydantic field type: a name, cleaned and at most 120 characters."""
CleanLine = Annotated[str, _line(LINE_LIMIT)]
"""A pydantic field type: one line, cleaned and at most 500 characters."""
CleanText = Annotated[str, BeforeValidator(_text)]
"""A pydantic field type: several lines, cleaned and at most 20,000 characters."""


def counted(number: int, one: str, several: str = "") -> str:
    """``1 call``, ``2 calls``, ``1 entry``, ``2 entries``: a number with its English noun, whose
    plural is ``several`` or ends in "s"."""
    return f"{number} {one if number == 1 else several or one + 's'}"

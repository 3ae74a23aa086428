"""Values that several parts of an account share: ids, telephone numbers, texts, sounds.

What strangers say is cut where it is too long (:mod:`vsek.domain.text`); what somebody wrote into a
file is refused, or half of it would be missing and nobody knew.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from vsek.domain.ids import SLUG, ClientId
from vsek.domain.numbers import BLOCK, block, from_letters, is_dialable, normalise
from vsek.domain.strict import Strict, refuse
from vsek.domain.text import (
    LINE_LIMIT,
    NAME_LIMIT,
    TEXT_LIMIT,
    CleanLine,
    CleanName,
    CleanText,
    clean_line,
    clean_text,
)

# ── identifiers and numbers ──────────────────────────────────────────────────────────────────


def slug(text: str) -> str:
    """``text``, if it can be an id; else it is refused."""
    if not SLUG.match(text):
        refuse(
            "client_id",
            "is not usable as an id",
            "Use a to z, 0 to 9 and '-', beginning with a letter, at most 40 characters",
        )
    return text


def _client_id(text: str) -> ClientId:
    return ClientId(slug(text))


def _number(text: str, info: ValidationInfo) -> str:
    context = info.context or {}
    country = context.get("country", "DE")
    number = normalise(text, country, context.get("area", ""))
    if not is_dialable(number):
        number = from_letters(text, country)
    if not number or BLOCK in number:
        refuse("number", "is not a telephone number", "Write it like +49 30 1234567")
    return number


def _number_or_block(text: str, info: ValidationInfo) -> str:
    if not text.rstrip().endswith(BLOCK):
        return _number(text, info)
    context = info.context or {}
    found = block(text, context.get("country", "DE"), context.get("area", ""))
    if not found:
        refuse(
            "block",
            "is not a block of telephone numbers",
            "Write the digits with which they begin, six at least with the country code, and *: "
            "+49 30 123456*",
        )
    return found


Slug = Annotated[ClientId, AfterValidator(_client_id)]
GroupId = Annotated[str, AfterValidator(slug)]
"""The id of a service group."""
Number = Annotated[str, AfterValidator(_number)]
"""A telephone number, normalised (E.164, or the digits of an internal number)."""
NumberOrBlock = Annotated[str, AfterValidator(_number_or_block)]
"""A telephone number, or all that begin alike: ``+4930123456*``."""
MOST_NUMBERS = 500
"""Telephone numbers in one list."""
MOST_DAYS = 400
"""Days of their own in one list."""


def _whole(clean: Callable[[str, int], str], limit: int) -> BeforeValidator:
    """Refuses a text of which cleaning would leave out the end."""

    def check(value: object) -> object:
        # Measured as it will stand there: blanks that vanish do no harm.
        if isinstance(value, str) and len(value) > limit and len(clean(value, 2 * limit)) > limit:
            refuse(
                "too_long",
                f"has {len(value)} letters, more than {limit}",
                "Shorten it",
            )
        return value

    return BeforeValidator(check)


Word = Annotated[CleanName, _whole(clean_line, NAME_LIMIT)]
"""A name that may be empty; 120 letters at the most."""
Name = Annotated[Word, Field(min_length=1)]
Line = Annotated[CleanLine, _whole(clean_line, LINE_LIMIT)]
"""One line of 500 letters at the most."""
Text = Annotated[CleanText, _whole(clean_text, TEXT_LIMIT)]
"""Lines of 20,000 letters at the most together."""


def listed(value: object) -> object:
    """One text, or a list of them, as a list."""
    return [value] if isinstance(value, str) else value


# ── sounds ───────────────────────────────────────────────────────────────────────────────────

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


def _audio(text: str) -> str:
    if not _SHA256.match(text):
        refuse(
            "audio",
            "is not the hash of a sound (64 hexadecimal digits)",
            "Name a file instead, or take the hash from 'vsek client export'",
        )
    return text


class Sound(Strict):
    """A sound: a ``text`` to be spoken, an audio ``file``, or ``audio``, the hash of a sound that
    is in the database already. Exactly one of them."""

    text: Annotated[Text, Field(max_length=2000)] | None = None
    file: Annotated[str, Field(max_length=1000)] | None = None
    """Path of an audio file; a relative one is meant from the folder of the YAML file."""
    audio: Annotated[str, AfterValidator(_audio)] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Sound:
        given = [value for value in (self.text, self.file, self.audio) if value is not None]
        if len(given) != 1:
            refuse("sound", "needs exactly one of text, file, audio", "Keep one of them")
        if not given[0].strip():
            refuse("sound_empty", "is empty", "Write the text, or name the file")
        return self

    @model_serializer
    def _only_what_is_given(self) -> dict[str, str]:
        pairs = {"text": self.text, "file": self.file, "audio": self.audio}
        return {name: value for name, value in pairs.items() if value is not None}


def spoken(value: object) -> object:
    """A bare text stands for a sound that is spoken."""
    return {"text": value} if isinstance(value, str) else value

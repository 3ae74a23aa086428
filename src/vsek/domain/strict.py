"""How data from files is read: nothing unknown gets in, what is refused comes with a remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

Location = tuple[str | int, ...]
"""Keys and places in lists that lead to a value."""
REMARKS = "remarks"
"""Where an error holds what :func:`refuse_all` was given."""
_LONGEST = 300
"""So many letters of a message are shown: it may quote what somebody wrote."""


class Strict(BaseModel):
    """A model that knows its fields and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Remark(NamedTuple):
    """Something about a value, and what to do about it."""

    location: Location
    message: str
    remedy: str


def shorten(text: str, longest: int = _LONGEST) -> str:
    """``text``, or as much of its beginning as is shown."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def refuse(kind: str, message: str, remedy: str) -> NoReturn:
    """Refuse a value inside a validator, with the remedy beside the message."""
    # Braces would be taken for placeholders of pydantic's message template.
    raise PydanticCustomError(
        "vsek_" + kind,
        "{text}",
        {"text": shorten(message), "remedy": remedy},
    )


def refuse_all(kind: str, mistakes: Sequence[Remark]) -> None:
    """Refuse a value for all that is wrong with it, each with its own place below the value; does
    nothing where there is nothing wrong."""
    if mistakes:
        raise PydanticCustomError(
            "vsek_" + kind,
            "{text}",
            {
                "text": "; ".join(shorten(one.message) for one in mistakes),
                "remedy": mistakes[0].remedy,
                REMARKS: list(mistakes),
            },
        )

"""How data from files is read: nothing unknown gets in, what is refused comes with a remedy."""

from __future__ import annotations

from typing import NoReturn

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


class Strict(BaseModel):
    """A model that knows its fields and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def refuse(kind: str, message: str, remedy: str) -> NoReturn:
    """Refuse a value inside a validator, with the remedy beside the message."""
    # Braces would be taken for placeholders of pydantic's message template.
    raise PydanticCustomError(
        "vsek_" + kind,
        "{text}",
        {"text": message, "remedy": remedy},
    )

"""Health of a service, part by part, in words that lead on.

``ok``: nothing to do. ``degraded``: callers are served, but something needs somebody's help.
``down``: what the service is for does not happen.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Any

import msgspec


class Status(StrEnum):
    """From good to bad."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


class Part(msgspec.Struct, frozen=True):
    """One part: what it is like, in a sentence, and what to do unless it is ``ok``."""

    name: str
    status: Status
    says: str
    remedy: str = ""


def overall(parts: Sequence[Part], essential: Collection[str]) -> Status:
    """Down when an ``essential`` part is; degraded when any part is not ok."""
    if any(part.status is Status.DOWN and part.name in essential for part in parts):
        return Status.DOWN
    if any(part.status is not Status.OK for part in parts):
        return Status.DEGRADED
    return Status.OK


def as_json(parts: Sequence[Part], essential: Collection[str]) -> dict[str, Any]:
    """The body of a health answer. ``ok`` says whether the service does what it is for;
    ``problems`` names the parts that need help."""
    status = overall(parts, essential)
    return {
        "ok": status is not Status.DOWN,
        "status": status.value,
        "problems": [part.name for part in parts if part.status is not Status.OK],
        "parts": [msgspec.to_builtins(part) for part in parts],
    }

"""The call ledger that Asterisk's dialplan keeps by itself, as a book beside vsek's own.

One file a day (UTC) in the ledger folder, ``YYYYMMDD.log``; two lines for each call from a trunk:
``in`` when it enters, ``out`` when its channel hangs up. A line is ``key=value`` pairs with commas
between them, values are percent-encoded, so that nothing a caller sends can forge a line.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote

FILE_NAME = re.compile(r"[0-9]{8}\.log\Z")
_VERSION = "1"
_LONGEST = 8192
"""Bytes of a line; the dialplan's are far shorter."""


class Served(StrEnum):
    """Who had the call."""

    NOBODY = "none"
    VSEK = "vsek"
    FALLBACK = "fallback"


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """One line. Times are Unix seconds by Asterisk's clock."""

    kind: str
    """``in`` or ``out``."""
    channel: str
    at: float
    began_at: float
    """When the call entered; equals ``at`` in an ``in`` line."""
    served: Served
    heard: bool
    """Whether the fallback's announcement began."""
    message: str
    """Name of the stored recording with the caller's message; empty: none."""
    message_s: float
    cause: int
    """Q.850 cause of the hang-up, 0 when unknown."""
    values: dict[str, str]
    """What the dialplan read of the call: ``did``, ``from``, ``name``, ``div`` …, decoded."""


_OWN = frozenset(
    {"v", "kind", "channel", "at", "began", "cause", "served", "heard", "message", "message_s"}
)


def parse(line: str) -> LedgerLine | None:
    """``line`` without its line break, or ``None`` if it is not a whole line of a ledger."""
    if len(line) > _LONGEST:
        return None
    pairs: dict[str, str] = {}
    for part in line.strip().split(","):
        key, equals, value = part.partition("=")
        # The first of a name counts: the dialplan's own pairs stand before what it read.
        if equals and key not in pairs:
            pairs[key] = unquote(value, errors="replace")
    if pairs.get("v") != _VERSION or pairs.get("kind") not in ("in", "out"):
        return None
    try:
        at = float(pairs["at"])
        if not math.isfinite(at + float(pairs.get("began") or at)):
            return None
        return LedgerLine(
            kind=pairs["kind"],
            channel=pairs["channel"],
            at=at,
            began_at=float(pairs.get("began") or at),
            served=Served(pairs.get("served") or Served.NOBODY),
            heard=pairs.get("heard") == "1",
            message=pairs.get("message", ""),
            message_s=float(pairs.get("message_s") or 0),
            cause=int(pairs.get("cause") or 0),
            values={key: value for key, value in pairs.items() if key not in _OWN},
        )
    except (KeyError, ValueError):
        return None

"""What an examination says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One thing that was examined. ``where`` is the file or setting that it is about."""

    level: Level
    where: str
    what: str
    remedy: str = ""


class Report:
    """Findings in the order in which they were made."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def ok(self, where: str, what: str) -> None:
        """All is well there."""
        self.findings.append(Finding("ok", where, what))

    def warn(self, where: str, what: str, remedy: str) -> None:
        """Calls work, but something should be done."""
        self.findings.append(Finding("warn", where, what, remedy))

    def fail(self, where: str, what: str, remedy: str) -> None:
        """Something does not work."""
        self.findings.append(Finding("fail", where, what, remedy))

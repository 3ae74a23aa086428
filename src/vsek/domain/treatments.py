"""What is done for a call that nobody can take in time (``when_nobody_can`` of a client)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from vsek.domain.destinations import objection
from vsek.domain.hours import DayRule, Hours
from vsek.domain.strict import Remark, Strict, refuse, refuse_all
from vsek.domain.values import MOST_DAYS, GroupId, Number, Sound, listed, spoken


class Do(StrEnum):
    """What is done."""

    ANNOUNCE = "announce"
    """An announcement is played; the call goes on waiting."""
    CALLBACK = "callback"
    """The caller is offered to be called back."""
    VOICEMAIL = "voicemail"
    FORWARD = "forward"
    REGROUP = "regroup"
    """Another service group serves the call from then on."""


def _destination(number: str, info: ValidationInfo) -> str:
    reason = objection(number, (info.context or {}).get("country", "DE"))
    if reason:
        refuse("destination", f"{number} {reason}", "Name a number that may be called at any time")
    return number


Destination = Annotated[Number, AfterValidator(_destination)]
"""A number to which calls may be sent: no emergency call, no premium rate."""

_NEEDS = {Do.ANNOUNCE: "announcement", Do.FORWARD: "to", Do.REGROUP: "group"}
_REPEATED_AT_LEAST_S = 10.0


def _repetition(value: float) -> float:
    if 0 < value < _REPEATED_AT_LEAST_S:
        refuse("every_s", f"is less than {_REPEATED_AT_LEAST_S:g}", "Write 10 or more, or 0: once")
    return value


class Treatment(Strict):
    """One thing that is done as soon as everything that is given holds."""

    do: Do
    announcement: Annotated[Sound | None, BeforeValidator(spoken)] = None
    """What is played (``announce``)."""
    to: Destination | None = None
    """The number (``forward``)."""
    group: GroupId | None = None
    """The group (``regroup``)."""
    after_s: Annotated[float, Field(ge=0, le=7200)] = 0.0
    waiting: Annotated[int, Field(ge=0, le=10_000)] = 0
    """So many other calls of the same group wait, at least."""
    expected_s: Annotated[float, Field(ge=0, le=7200)] = 0.0
    """The expected wait, at least."""
    nobody: bool = False
    """Nobody is signed in who may ever take the call."""
    every_s: Annotated[float, Field(ge=0, le=3600), AfterValidator(_repetition)] = 0.0
    """An announcement is repeated after so many seconds; 0 = not."""
    hours: Hours = Hours()
    """When it applies, on the client's clock; none: always."""
    days: Annotated[tuple[DayRule, ...], BeforeValidator(listed), Field(max_length=MOST_DAYS)] = ()
    """Days on which it applies at other times than those, or (without hours) not at all."""

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Treatment:
        given = {"announcement": self.announcement, "to": self.to, "group": self.group}
        wrong = []
        for name, value in given.items():
            if _NEEDS.get(self.do) == name:
                if value is None:
                    wrong.append(Remark(("do",), f"do: {self.do} needs {name}", f"Add {name}"))
            elif value is not None:
                wrong.append(Remark((name,), f"do: {self.do} has no {name}", f"Remove {name}"))
        if self.every_s and self.do is not Do.ANNOUNCE:
            message = f"do: {self.do} happens once"
            wrong.append(Remark(("every_s",), message, "Remove every_s"))
        refuse_all("treatment", wrong)
        return self

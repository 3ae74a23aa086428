"""The root of vsek's exceptions.

``VsekError``
    ├── ``InputError``      what somebody gave us is wrong (CLI exit code 2)
    └── ``ServiceError``    a part that we need does not do its work (exit code 1)

Every error that can reach a person names what it is about, the value, and the remedy.
"""

from __future__ import annotations


class VsekError(Exception):
    """An error with a text for people.

    ``message`` says what is wrong, ``remedy`` what to do about it. ``error_id`` is a stable
    name for programs (HTTP bodies, logs).
    """

    error_id = "error"

    def __init__(self, message: str, *, remedy: str = "", error_id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        if error_id is not None:
            self.error_id = error_id

    def __str__(self) -> str:
        return f"{self.message}. {self.remedy}" if self.remedy else self.message


class InputError(VsekError):
    """Wrong input: ``field`` names the place, ``value`` is what was given."""

    error_id = "input"

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        value: object = None,
        remedy: str = "",
        error_id: str | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy, error_id=error_id)
        self.field = field
        self.value = value


class ServiceError(VsekError):
    """A server or program that vsek needs is missing, refuses or does not answer."""

    error_id = "service"

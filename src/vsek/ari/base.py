"""The root of all events, and the event for what the API description does not know."""

from __future__ import annotations

from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Something that happened in Asterisk.

    ``timestamp`` is Asterisk's own text, for example ``2026-05-04T10:11:12.345+0200``.
    """

    application: str = ""
    timestamp: str = ""
    asterisk_id: str | None = None

    @property
    def type(self) -> str:
        """The name of the event in Asterisk's documentation, for example ``StasisStart``."""
        return str(self.__struct_config__.tag)


class UnknownEvent(Event, frozen=True, kw_only=True, tag=False):
    """An event that this version of the API description does not have.

    ``raw`` is the whole message. ``problem`` is filled in when the name of the event is known,
    but its content does not fit the description.
    """

    name: str
    raw: dict[str, Any]
    problem: str = ""

    @property
    def type(self) -> str:
        """The name that Asterisk gave."""
        return self.name

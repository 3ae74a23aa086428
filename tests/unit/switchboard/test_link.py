"""The link to Asterisk, with the lines played."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from tests.unit.switchboard.test_commands import Asterisk

from vsek.ari import Client
from vsek.call.events import AsteriskAway, Event
from vsek.switchboard.commands import AriCommander
from vsek.switchboard.link import AsteriskLink
from vsek.switchboard.owner import Switchboard
from vsek.switchboard.translate import Translator


class Lines:
    """What the link needs of a client."""

    side_app = "vsek-side"

    def __init__(self) -> None:
        self.lost: Callable[[str], None]

    def on_disconnected(self, callback: Callable[[str], None]) -> None:
        self.lost = callback

    def __getattr__(self, name: str) -> Callable[[Any], None]:
        assert name.startswith("on_")
        return lambda _callback: None


class Posted:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def post(self, event: Event) -> None:
        self.events.append(event)


async def nothing() -> None:
    pass


def test_that_asterisk_is_away_is_told_once_and_only_if_it_was_there() -> None:
    lines, posted = Lines(), Posted()
    commander = AriCommander(Asterisk(), "vsek", posted.events.append)
    link = AsteriskLink(
        cast(Client, lines),
        app="vsek",
        switchboard=cast(Switchboard, posted),
        commander=commander,
        translator=cast(Translator, None),
        after_recovery=nothing,
    )
    lines.lost("refused")
    assert posted.events == [], "it never was there"
    commander.connected = True
    lines.lost("reset by peer")
    lines.lost("refused")
    assert posted.events == [AsteriskAway()]
    assert not link.up

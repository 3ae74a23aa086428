"""What recovery makes of what Asterisk says of its channels."""

from __future__ import annotations

from typing import Any

from vsek.ari.protocol import Reply
from vsek.switchboard.recovery import SENDER, world


class Asterisk:
    """Answers as the real one does; ``senders``: from whom each channel's dialogue is."""

    def __init__(self, channels: list[dict[str, Any]], senders: dict[str, str]) -> None:
        self.channels = channels
        self.senders = senders
        self.asked: list[str] = []

    async def http(
        self, method: str, uri: str, query: dict[str, str] | None = None, body: Any = None
    ) -> Reply:
        if uri in ("channels", "bridges"):
            listed = self.channels if uri == "channels" else []
            return Reply(status=200, body=listed, reason="", took_s=0.0)
        assert query == {"variable": SENDER}
        channel_id = uri.split("/")[1]
        self.asked.append(channel_id)
        if channel_id not in self.senders:
            return Reply(status=404, body={"message": "Channel not found"}, reason="", took_s=0.0)
        return Reply(status=200, body={"value": self.senders[channel_id]}, reason="", took_s=0.0)


def channel(channel_id: str, state: str = "Down", app: str = "Stasis") -> dict[str, Any]:
    return {"id": channel_id, "state": state, "dialplan": {"context": "", "app_name": app}}


async def test_which_legs_are_still_to_be_dialled() -> None:
    legs = [f"vsekcall-k{number}.1" for number in range(25)]
    asterisk = Asterisk(
        [
            *map(channel, legs),
            channel("vsekcall-dialled.1"),
            channel("vsekcall-gone-since.1"),
            channel("vsekcall-early.1", app=""),
            channel("vsekcall-rings.1", "Ringing"),
            channel("1700000000.1"),
        ],
        {
            **dict.fromkeys(legs, "<sip:asterisk@127.0.0.1>"),
            "vsekcall-dialled.1": '\\"Weber\\" <sip:+493012345@127.0.0.1>',
        },
    )
    seen = await world(asterisk, ())
    assert seen.undialled == tuple(legs)
    assert set(asterisk.asked) == {*legs, "vsekcall-dialled.1", "vsekcall-gone-since.1"}
    assert len(seen.channels) == 30

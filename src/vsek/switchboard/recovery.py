"""Reading the world from Asterisk after a start or a reconnect.

Events that arrive while the picture is taken wait until it was acted on; those that it contains
already are then met as repetitions, which the call scripts ignore.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Literal, Protocol
from urllib.parse import quote

import structlog

from vsek.ari.protocol import Reply
from vsek.call.events import Reconciled
from vsek.domain.ids import OURS, ChannelId
from vsek.errors import ServiceError
from vsek.switchboard.arrival import VARIABLE, values_of
from vsek.switchboard.translate import FALLBACK_CONTEXT

log = structlog.get_logger(__name__)

_AT_ONCE = 20
SENDER = "CHANNEL(pjsip,local_uri)"
"""From whom a leg's INVITE is."""


class AriHttp(Protocol):
    """What this needs of :class:`vsek.ari.Client`."""

    async def http(
        self, method: str, uri: str, query: dict[str, str] | None = None, body: Any = None
    ) -> Reply:
        """One request over HTTP, where replies may be large."""


async def fetch(client: AriHttp, uri: str) -> Any:
    """The body of ``GET uri``. Raises ``ServiceError`` unless Asterisk answers with 200."""
    reply = await client.http("GET", uri)
    if reply.status != 200:
        raise ServiceError(
            f"Asterisk answers GET {uri} with {reply.status}: {reply.body}",
            remedy="`vsek doctor` tells what Asterisk lacks",
        )
    return reply.body


async def keep_to(
    client: AriHttp, app: str, which: Literal["allowed", "disallowed"], events: Iterable[str]
) -> None:
    """Have Asterisk send ``app`` these types of events only, or all but these. Raises
    ``ServiceError``."""
    body = {which: [{"type": name} for name in events]}
    reply = await client.http("PUT", f"applications/{app}/eventFilter", body=body)
    if reply.status != 200:
        raise ServiceError(
            f"Asterisk does not filter events: {reply.status} {reply.body}",
            remedy="`vsek doctor` tells what Asterisk lacks",
        )


async def world(
    client: AriHttp, sounds: Iterable[str], recordings: Iterable[str] = ()
) -> Reconciled:
    """What Asterisk holds now. ``sounds`` and ``recordings`` are those to ask for."""
    channels, bridges = await asyncio.gather(fetch(client, "channels"), fetch(client, "bridges"))
    return Reconciled(
        {ChannelId(channel["id"]): channel["state"] for channel in channels},
        {bridge["id"]: tuple(map(ChannelId, bridge["channels"])) for bridge in bridges},
        await _alive(client, "playbacks", sounds),
        await _alive(client, "recordings/live", recordings),
        tuple(
            ChannelId(channel["id"])
            for channel in channels
            if channel.get("dialplan", {}).get("context") == FALLBACK_CONTEXT
        ),
        await _undialled(client, channels),
    )


async def _alive(client: AriHttp, kind: str, names: Iterable[str]) -> tuple[str, ...]:
    """Asterisk has no list of them, so each is asked for; a few at a time, as they are many after
    a break under load."""
    asked = list(names)
    alive = []
    for start in range(0, len(asked), _AT_ONCE):
        some = asked[start : start + _AT_ONCE]
        replies = await asyncio.gather(
            *(client.http("GET", f"{kind}/{quote(name, safe='')}") for name in some)
        )
        alive += [name for name, reply in zip(some, replies, strict=True) if reply.status == 200]
    return tuple(alive)


async def _undialled(client: AriHttp, channels: Iterable[Any]) -> tuple[ChannelId, ...]:
    """Legs that are ours and whose phone was sent nothing yet.

    Asterisk does not tell whether a channel was dialled. But an INVITE is what gives its dialogue
    a sender with a name (the client's, or "Anonymous"); until then it is ``<sip:asterisk@…>``.
    """
    asked = [
        channel["id"]
        for channel in channels
        if channel["id"].startswith(OURS)
        and channel["state"] == "Down"
        and channel.get("dialplan", {}).get("app_name") == "Stasis"
    ]
    found = []
    for start in range(0, len(asked), _AT_ONCE):
        some = asked[start : start + _AT_ONCE]
        senders = await asyncio.gather(*(_variable(client, leg_id, SENDER) for leg_id in some))
        found += [leg for leg, sender in zip(some, senders, strict=True) if sender.startswith("<")]
    return tuple(map(ChannelId, found))


async def _variable(client: AriHttp, channel_id: str, name: str) -> str:
    """A variable of a channel, empty where there is none."""
    path = f"channels/{quote(channel_id, safe='')}/variable"
    reply = await client.http("GET", path, {"variable": name})
    value = reply.body.get("value") if isinstance(reply.body, dict) else None
    return str(value) if reply.status == 200 and value else ""


async def unseen_callers(
    client: AriHttp, app: str, known: Iterable[str]
) -> list[tuple[ChannelId, dict[str, str]]]:
    """Callers who entered while nobody listened, with what the dialplan left on the channel."""
    members = await fetch(client, f"applications/{app}")
    strangers = set(members.get("channel_ids", ())) - set(known)
    callers = []
    for channel in sorted(c for c in strangers if not c.startswith(OURS)):
        told = await _variable(client, channel, VARIABLE)
        values = values_of(told.split(",")) if told else {}
        if values:
            callers.append((ChannelId(channel), values))
        else:
            log.warning("foreign_channel", channel=channel, app=app)
    return callers


async def channel_ids(client: AriHttp) -> list[str]:
    """All channels that Asterisk has now."""
    return [str(channel["id"]) for channel in await fetch(client, "channels")]

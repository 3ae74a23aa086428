"""Reading the world from Asterisk after a start or a reconnect.

Events that arrive while the picture is taken wait until it was acted on; those that it contains
already are then met as repetitions, which the call scripts ignore.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol
from urllib.parse import quote

import structlog

from vsek.ari.protocol import Reply
from vsek.call.events import Reconciled
from vsek.domain.ids import OURS, ChannelId
from vsek.errors import ServiceError
from vsek.switchboard.translate import VARIABLES

log = structlog.get_logger(__name__)


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


async def world(client: AriHttp, sounds: Iterable[str]) -> Reconciled:
    """What Asterisk holds now. ``sounds`` are the playbacks to ask for."""
    channels, bridges = await asyncio.gather(fetch(client, "channels"), fetch(client, "bridges"))
    alive = []
    for sound in sounds:
        reply = await client.http("GET", f"playbacks/{sound}")
        if reply.status == 200:
            alive.append(sound)
    return Reconciled(
        {ChannelId(channel["id"]): channel["state"] for channel in channels},
        {bridge["id"]: tuple(map(ChannelId, bridge["channels"])) for bridge in bridges},
        tuple(alive),
    )


async def unseen_callers(
    client: AriHttp, app: str, known: Iterable[str]
) -> list[tuple[ChannelId, dict[str, str]]]:
    """Callers who entered while nobody listened, with what the dialplan left on the channel."""
    members = await fetch(client, f"applications/{app}")
    strangers = set(members.get("channel_ids", ())) - set(known)
    callers = []
    for channel in sorted(c for c in strangers if not c.startswith(OURS)):
        values = {}
        for key, variable in VARIABLES.items():
            reply = await client.http(
                "GET", f"channels/{quote(channel, safe='')}/variable", {"variable": variable}
            )
            if reply.status == 200 and isinstance(reply.body, dict):
                values[key] = str(reply.body.get("value", ""))
        if values.get("did"):
            callers.append((ChannelId(channel), values))
        else:
            log.warning("foreign_channel", channel=channel, app=app)
    return callers

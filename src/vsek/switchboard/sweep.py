"""Recordings that a crash has left in Asterisk are deleted.

Theory of operation. What a caller said leaves Asterisk at the end of the call, by a command to drop
it, or when the database has the audio. A command that gets lost in a crash is not repeated: the
call is over and forgotten, and no picture of Asterisk that recovery takes shows the file. So now
and then all names of stored recordings are gone through, a bounded number each time, and one is
deleted if the database says that its call has ended, a while ago, and that no audio is owed for it.

All else stays: what the dialplan's fallback recorded (the ledger makes notes of it), the recordings
of calls that live or of which the database does not know, and everything while the database is
away, or when somebody else leads.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Collection, Mapping
from typing import Protocol
from urllib.parse import quote

import structlog

from vsek.ari import AriError
from vsek.call.model import State
from vsek.domain.ids import RECORDINGS, CallId
from vsek.errors import ServiceError
from vsek.switchboard.recovery import AriHttp, fetch

log = structlog.get_logger(__name__)

EVERY_S = 3600.0
AGAIN_S = 60.0
"""After a round that could not be made, or that did not come to the end."""
AT_ONCE = 200
"""Recordings that one round looks at."""
SETTLED_S = 600.0
"""How long a call must be over: until then its recording may be on its way to the database."""

_STORED = "recordings/stored"
_DELETED, _GONE = 204, 404
_NAME = re.compile(re.escape(RECORDINGS) + r"(?!fallback-)(\S+)-\d+")


def owner_of(name: str) -> CallId | None:
    """The call in which we made this recording; ``None``: it is not one of those."""
    found = _NAME.fullmatch(name)
    return CallId(found[1]) if found else None


class Shelf(Protocol):
    """What the database knows of recordings."""

    async def unwanted(self, owners: Mapping[str, str], before: float) -> Collection[str]:
        """Those of the recordings (name → call) whose call ended before this moment (Unix seconds)
        and of which nothing is to be fetched any more. None if another switchboard leads. Raises
        ``ServiceError`` while the database is away."""


class Sweep:
    """One per switchboard. ``state`` tells which calls live; ``up``: whether they are served."""

    def __init__(
        self,
        client: AriHttp,
        shelf: Shelf,
        state: Callable[[], State],
        up: Callable[[], bool],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._shelf = shelf
        self._state = state
        self._up = up
        self._clock = clock
        self._after = ""

    async def run(self) -> None:
        """Sweep at the start and then every hour, until cancelled."""
        while True:
            done = False
            try:
                done = await self.sweep()
            except (AriError, ServiceError, OSError, TimeoutError) as error:
                log.warning("recordings_not_swept", error=repr(error), retry_in_s=AGAIN_S)
            await asyncio.sleep(EVERY_S if done else AGAIN_S)

    async def sweep(self) -> bool:
        """One round, from where the last one ended; ``False``: there is more to be looked at.

        Raises what the client and the shelf raise, and ``ServiceError`` when Asterisk refuses.
        """
        if not self._up():
            return False
        stored = [str(recording["name"]) for recording in await fetch(self._client, _STORED)]
        ours = sorted((name, owner) for name in stored if (owner := owner_of(name)) is not None)
        some = [pair for pair in ours if pair[0] > self._after][:AT_ONCE]
        live = self._state().calls
        owners = {name: owner for name, owner in some if owner not in live}
        unwanted = await self._shelf.unwanted(owners, self._clock() - SETTLED_S) if owners else ()
        for name in sorted(unwanted):
            # Asked anew: much can have happened in the meantime.
            if not self._up():
                return False
            if owners[name] not in self._state().calls:
                await self._delete(name, owners[name])
        self._after = some[-1][0] if len(some) == AT_ONCE else ""
        return not self._after

    async def _delete(self, name: str, owner: CallId) -> None:
        reply = await self._client.http("DELETE", f"{_STORED}/{quote(name, safe='')}")
        if reply.status == _DELETED:
            log.info("recording_swept", call_id=owner, name=name)
        elif reply.status != _GONE:
            log.warning("recording_not_swept", call_id=owner, name=name, status=reply.status)

"""What callers said: examined while they wait, and brought to the database afterwards.

Theory of operation. Asterisk records to its own folder; vsek reads the files over ARI, so that
nothing needs to be shared. *Examining* answers a call that waits for it, and never fails: what
cannot be read is ``unknown``. *Keeping* is driven by the database alone: a row that was announced
and has no audio yet is a debt, looked for at the start, when records have been written, and every
so often; the file in Asterisk is deleted only when the database has the audio. So a crash at any
moment leaves either the debt or the audio; a deletion that it prevents is made up for by ``sweep``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol
from urllib.parse import quote

import structlog

from vsek.ari import AriError
from vsek.ari.protocol import Reply
from vsek.call.effects import Examine
from vsek.call.events import Examined
from vsek.domain.outcomes import Finding
from vsek.domain.records import NOTHING_SAID
from vsek.errors import ServiceError

log = structlog.get_logger(__name__)

LOOK_AGAIN_S = 10.0
FETCH_S = 10.0
_GONE = 404


class AriHttp(Protocol):
    """What this needs of :class:`vsek.ari.Client`."""

    async def http(self, method: str, uri: str) -> Reply:
        """One request over HTTP; a body that is not JSON comes as bytes."""


class Heard(Protocol):
    """What was found in an audio file."""

    @property
    def finding(self) -> Finding:
        """What it is."""

    @property
    def spoken_s(self) -> float:
        """Seconds with speech."""

    @property
    def duration_s(self) -> float:
        """Seconds in all."""


class Owed(Protocol):
    """A recording that was announced and whose audio is not in the database."""

    @property
    def call_id(self) -> str:
        """Its call."""

    @property
    def name(self) -> str:
        """Its name in Asterisk."""


class Shelf(Protocol):
    """Where audio is kept. All methods raise ``ServiceError`` while it is away."""

    async def owed(self) -> Sequence[Owed]:
        """Recordings whose audio is missing."""

    async def keep(self, owed: Owed, wav: bytes, seconds: float) -> None:
        """Keep the audio."""

    async def lost(self, owed: Owed, why: str) -> None:
        """There is none."""


class Recordings:
    """One per switchboard. ``listen`` looks into an audio file; it runs in a thread."""

    def __init__(
        self,
        client: AriHttp,
        shelf: Shelf,
        listen: Callable[[bytes], Heard],
        post: Callable[[Examined], None],
    ) -> None:
        self._client = client
        self._shelf = shelf
        self._listen = listen
        self._post = post
        self._examining: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    def examine(self, wanted: Examine) -> None:
        """Examine a recording; the answer is posted."""
        task = asyncio.create_task(self._examine(wanted), name=f"examine {wanted.recording}")
        self._examining.add(task)
        task.add_done_callback(self._examining.discard)

    async def _examine(self, wanted: Examine) -> None:
        finding, spoken_s = Finding.UNKNOWN, 0.0
        try:
            wav = await self._fetch(wanted.recording)
            if wav is not None:
                heard = await asyncio.to_thread(self._listen, wav)
                finding, spoken_s = heard.finding, heard.spoken_s
        except (AriError, ServiceError, OSError, TimeoutError) as error:
            log.warning("not_examined", call_id=wanted.call_id, error=repr(error))
        self._post(Examined(wanted.recording, wanted.call_id, finding, spoken_s))

    async def _fetch(self, name: str) -> bytes | None:
        """The audio, or ``None`` where Asterisk has none of that name."""
        uri = f"recordings/stored/{quote(name, safe='')}/file"
        async with asyncio.timeout(FETCH_S):
            reply = await self._client.http("GET", uri)
        if reply.status == _GONE:
            return None
        if reply.status != 200 or not isinstance(reply.body, bytes):
            raise ServiceError(
                f"Asterisk answers GET {uri} with {reply.status}: {str(reply.body)[:200]}",
                remedy="Let Asterisk read its own recording folder (astspooldir)",
            )
        return reply.body

    def look(self) -> None:
        """Something may have been announced."""
        self._wake.set()

    async def run(self) -> None:
        """Bring what is owed, until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self.bring()
            except (AriError, ServiceError, OSError, TimeoutError) as error:
                log.warning("recordings_wait", error=repr(error), retry_in_s=LOOK_AGAIN_S)
            try:
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def bring(self) -> None:
        """Fetch and keep all that is owed, once."""
        for owed in await self._shelf.owed():
            await self._bring_one(owed)

    async def _bring_one(self, owed: Owed) -> None:
        wav = await self._fetch(owed.name)
        if wav is None:
            await self._shelf.lost(owed, "the recording was not found in Asterisk")
            log.error("recording_lost", call_id=owed.call_id, name=owed.name)
            return
        heard = await asyncio.to_thread(self._listen, wav)
        if heard.finding is Finding.SILENCE:
            await self._shelf.lost(owed, NOTHING_SAID)
        else:
            await self._shelf.keep(owed, wav, heard.duration_s)
        await self._client.http("DELETE", f"recordings/stored/{quote(owed.name, safe='')}")
        log.info("recording_kept", call_id=owed.call_id, name=owed.name, finding=heard.finding)

    async def close(self) -> None:
        """End what is under way."""
        for task in self._examining:
            task.cancel()
        await asyncio.gather(*self._examining, return_exceptions=True)

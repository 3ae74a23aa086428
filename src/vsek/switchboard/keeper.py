"""Keeps what calls need to know equal to the database: clients, agents, sounds, accounts.

One run after the other; asked for by the control API, at the start, and after each reconnect to
Asterisk. The switchboard goes on with what it knew (from its journal) while a part is away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime
from typing import Protocol

import structlog

from vsek.call.events import DirectoryChanged
from vsek.domain.agent import Agent
from vsek.domain.directory import Directory
from vsek.domain.ids import AgentId
from vsek.errors import ServiceError
from vsek.settings import Settings
from vsek.switchboard import languages
from vsek.switchboard.control import Synced
from vsek.switchboard.directory import for_calls, music_class
from vsek.switchboard.owner import Switchboard

log = structlog.get_logger(__name__)

RETRY_S = 2.0


class Sounds(Protocol):
    """Brings sounds to where Asterisk finds them."""

    async def bring(self, hashes: frozenset[str]) -> None:
        """Have the files of these sounds in place."""

    async def announcements(self) -> dict[str, str]:
        """The house's own announcements: name and language → hash; empty without speech."""

    def media(self, sound: str) -> str:
        """The media URI of a sound."""

    async def set_music(self, classes: Mapping[str, str]) -> None:
        """Music-on-hold classes: name → sound."""


class AccountKeeper(Protocol):
    """Keeps the agents' SIP accounts."""

    async def sync(self, agents: Mapping[AgentId, Agent]) -> set[str]:
        """Make Asterisk's accounts equal to these."""


class Keeper:
    """``load`` reads the directory from the database, ``see_agents`` asks who is registered."""

    def __init__(
        self,
        switchboard: Switchboard,
        settings: Settings,
        *,
        load: Callable[[], Awaitable[Directory]],
        sounds: Sounds,
        accounts: AccountKeeper,
        see_agents: Callable[[], Awaitable[None]],
        asterisk_is_up: Callable[[], bool],
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
    ) -> None:
        self._switchboard = switchboard
        self._settings = settings
        self._load = load
        self._sounds = sounds
        self._accounts = accounts
        self._see_agents = see_agents
        self._asterisk_is_up = asterisk_is_up
        self._today = today
        self._year = 0
        self._lock = asyncio.Lock()
        self._in_asterisk: Directory | None = None
        """What Asterisk was made equal to."""
        self.loaded = False

    async def sync(self, *, anew: bool = False) -> Synced:
        """Bring everything up to date; ``anew`` if Asterisk may have been replaced. Raises
        ``ServiceError`` naming the part that is away.

        A change is told by the database and by who made it: the second time Asterisk is not asked,
        which would take seconds over a slow line.
        """
        async with self._lock:
            if anew:
                self._in_asterisk = None
            directory = await self._load()
            ask = self._asterisk_is_up() and directory != self._in_asterisk
            announcements = await self._sounds.announcements()
            await self._sounds.bring(directory.sounds() | frozenset(announcements.values()))
            await asyncio.to_thread(
                languages.leave,
                self._settings.sounds_folder,
                directory,
                self._settings.asterisk.default_country,
            )
            if ask:
                await self._push(directory)
            today = self._today()
            # In a thread: public holidays of a whole house of clients take their time.
            known = await asyncio.to_thread(
                for_calls,
                directory,
                self._settings,
                self._sounds.media,
                {name: self._sounds.media(sound) for name, sound in announcements.items()},
                today,
            )
            self._year = today.year
            if known != self._switchboard.state.directory:
                self._switchboard.post(DirectoryChanged(known))
            self.loaded = True
            if ask:
                await self._see_agents()
                self._in_asterisk = directory
            log.info("directory", clients=len(directory.clients), agents=len(directory.agents))
            return Synced(clients=len(directory.clients), agents=len(directory.agents))

    async def new_day(self) -> None:
        """To be called now and then: a new year has new public holidays."""
        if self.loaded and self._year != self._today().year:
            await self.sync()

    async def _push(self, directory: Directory) -> None:
        await self._sounds.set_music(
            {
                music_class(client_id): entry.music_sound
                for client_id, entry in directory.clients.items()
                if entry.music_sound
            }
        )
        await self._accounts.sync(directory.agents)

    async def first_sync(self) -> None:
        """Sync until it has worked once; what is away at the start may come later."""
        while not self.loaded:
            try:
                await self.sync()
            except ServiceError as error:
                log.error("directory_failed", error=str(error), retry_in_s=RETRY_S)
                await asyncio.sleep(RETRY_S)

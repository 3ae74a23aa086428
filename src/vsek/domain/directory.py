"""What the switchboard must know to take calls: all clients and agents, as of one moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from vsek.domain.agent import Agent
from vsek.domain.client import Client
from vsek.domain.ids import AgentId, ClientId


@dataclass(frozen=True, slots=True)
class ClientEntry:
    """A client with the sounds made for it (SHA-256 of the WAV, see ``Directory.sounds``)."""

    client: Client
    greeting_sound: str | None
    music_sound: str | None
    """``None`` = Asterisk's default music."""
    prompt_sound: str | None = None
    """``None`` = the house's own prompt, where callers are screened."""


@dataclass(frozen=True, slots=True)
class Directory:
    """Clients and agents by id."""

    clients: dict[ClientId, ClientEntry]
    agents: dict[AgentId, Agent]
    unreadable: dict[ClientId, str] = field(default_factory=dict)
    """Clients whose stored account this version cannot read, with the reason."""

    def sounds(self) -> frozenset[str]:
        """All sounds that clients' calls need."""
        entries: Iterable[ClientEntry] = self.clients.values()
        return frozenset(
            sound
            for entry in entries
            for sound in (entry.greeting_sound, entry.music_sound, entry.prompt_sound)
            if sound is not None
        )

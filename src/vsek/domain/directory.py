"""What the switchboard must know to take calls: all clients and agents, as of one moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from vsek.domain.agent import Agent
from vsek.domain.client import Client
from vsek.domain.distribution import RuleBook
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
    announcement_sounds: tuple[str | None, ...] = ()
    """For each of the client's treatments the announcement that belongs to it."""


@dataclass(frozen=True, slots=True)
class Directory:
    """Clients and agents by id."""

    clients: dict[ClientId, ClientEntry]
    agents: dict[AgentId, Agent]
    unreadable: dict[ClientId, str] = field(default_factory=dict)
    """Clients whose stored account this version cannot read, with the reason."""
    rules: RuleBook = field(default_factory=RuleBook)
    rules_version: int = 0
    """Counts the changes of the rules, and of the clients' part in them."""

    def sounds(self) -> frozenset[str]:
        """All sounds that clients' calls need."""
        entries: Iterable[ClientEntry] = self.clients.values()
        return frozenset(
            sound
            for entry in entries
            for sound in (
                entry.greeting_sound,
                entry.music_sound,
                entry.prompt_sound,
                *entry.announcement_sounds,
            )
            if sound is not None
        )

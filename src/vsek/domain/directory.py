"""What the switchboard must know to take calls: all clients and agents, as of one moment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


@dataclass(frozen=True, slots=True)
class Directory:
    """Clients and agents by id, and how a call finds its client."""

    clients: dict[ClientId, ClientEntry]
    agents: dict[AgentId, Agent]
    unreadable: dict[ClientId, str] = field(default_factory=dict)
    """Clients whose stored account this version cannot read, with the reason."""
    _by_did: dict[str, ClientId] = field(init=False, repr=False)
    _by_forwarding: dict[str, ClientId] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        by_kind: dict[str, dict[str, ClientId]] = {"did": {}, "forwarding": {}}
        for entry in self.clients.values():
            for kind, number in entry.client.numbers:
                by_kind[kind][number] = entry.client.id
        object.__setattr__(self, "_by_did", by_kind["did"])
        object.__setattr__(self, "_by_forwarding", by_kind["forwarding"])

    def identify(self, did: str, forwarded_by: Sequence[str]) -> ClientEntry | None:
        """Whose call this is; numbers are normalised, the most recent forwarder comes first.

        A DID of the client's own wins. Otherwise the forwarders are asked from the most recent to
        the first: the client's line forwarded to the service, and what forwarded to the client's
        line before that is the caller's side of the chain.
        """
        found = self._by_did.get(did)
        if found is None:
            known = (self._by_forwarding.get(number) for number in forwarded_by)
            found = next((client_id for client_id in known if client_id is not None), None)
        return None if found is None else self.clients[found]

    def sounds(self) -> frozenset[str]:
        """All sounds that clients' calls need."""
        entries: Iterable[ClientEntry] = self.clients.values()
        return frozenset(
            sound
            for entry in entries
            for sound in (entry.greeting_sound, entry.music_sound)
            if sound is not None
        )

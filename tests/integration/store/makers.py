"""Records, clients and sounds for tests."""

from __future__ import annotations

from typing import Any

from vsek.domain.client import Client
from vsek.domain.ids import AgentId, CallId, ClientId
from vsek.domain.outcomes import Outcome, Stage
from vsek.domain.records import CallClosed, CallOpened, CallStep, NoteDueMoved
from vsek.domain.sounds import WantedSound
from vsek.domain.yamlfile import ClientFile, read_clients, write_clients

T0 = 1_700_000_000.0


def client(client_id: str = "sommer", **changes: Any) -> Client:
    """A client with one DID and one contact."""
    values: dict[str, Any] = {
        "id": client_id,
        "name": f"Firma {client_id}",
        "numbers": {"did": ["+49 30 1234567"]},
        "contacts": [{"name": "Eva Sommer", "email": "eva@example.com", "notes": True}],
    }
    return Client.model_validate(values | changes)


def file_of(*clients: Client) -> ClientFile:
    """The clients as if read from a file."""
    return read_clients(write_clients(clients), "test.yaml")


def opened(call_id: str = "c1", **changes: Any) -> CallOpened:
    """A call that came in at T0."""
    values: dict[str, Any] = {
        "call_id": CallId(call_id),
        "client_id": ClientId("sommer"),
        "received_at": T0,
        "caller_number": "+491701234567",
        "caller_name": "Karl Anrufer",
        "caller_withheld": False,
        "did": "+49301234567",
        "forwarded_by": ("+4930999",),
        "forward_reason": "unconditional",
        "policy": "greet",
        "channel": "vsek-1",
    }
    return CallOpened(**(values | changes))


def step(call_id: str = "c1", number: int = 1, **changes: Any) -> CallStep:
    """One line of a timeline."""
    values: dict[str, Any] = {
        "call_id": CallId(call_id),
        "number": number,
        "at": T0 + number,
        "kind": "greeting",
        "detail": {"sound": "abc"},
    }
    return CallStep(**(values | changes))


def closed(call_id: str = "c1", **changes: Any) -> CallClosed:
    """The end of an answered call; its note is due at T0 + 200."""
    values: dict[str, Any] = {
        "call_id": CallId(call_id),
        "ended_at": T0 + 60,
        "outcome": Outcome.ANSWERED,
        "stage": Stage.TALKING,
        "reason": "caller_hangup",
        "agent_id": AgentId("anna"),
        "answered_at": T0 + 10,
        "note_due_at": T0 + 200,
    }
    return CallClosed(**(values | changes))


def moved(call_id: str, due_at: float, agent_id: str = "anna") -> NoteDueMoved:
    """The wrap-up of the call ended."""
    return NoteDueMoved(CallId(call_id), AgentId(agent_id), due_at)


class FakeSounds:
    """Makes sounds from nothing and counts."""

    def __init__(self) -> None:
        self.made: list[WantedSound] = []

    async def source(self, wanted: WantedSound) -> str:
        return f"{wanted.sound.text}|{wanted.sound.file}|{wanted.language}"

    async def make(self, wanted: WantedSound) -> bytes:
        self.made.append(wanted)
        return b"WAV:" + (await self.source(wanted)).encode()

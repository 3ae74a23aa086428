"""Requests that the tests of the note service share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from vsek.domain.note import NoteRequest

RECEIVED_AT = datetime(2026, 7, 22, 12, 3, 11, tzinfo=UTC)


def call(**changes: Any) -> dict[str, Any]:
    """A call of 2 min 22 s, answered after 9 s."""
    return {
        "id": "260722-120311-abc234",
        "received_at": RECEIVED_AT,
        "answered_at": RECEIVED_AT + timedelta(seconds=9),
        "ended_at": RECEIVED_AT + timedelta(seconds=142),
        "outcome": "answered",
        "stage": "talking",
        "did": "+493012345670",
        "forwarded_by": ["+493099887766"],
        **changes,
    }


def note(**changes: Any) -> NoteRequest:
    """A complete German note to two contacts."""
    fields: dict[str, Any] = {
        "client": {"id": "nord", "name": "Hausverwaltung Nord GmbH"},
        "recipients": [
            {"name": "Petra Weber", "email": "weber@nord.example"},
            {"name": "Jürgen Öztürk", "email": "oeztuerk@nord.example"},
        ],
        "call": call(),
        "taken_by": "Jana Krüger",
        "caller": {
            "name": "Max Müller",
            "company": "Beispiel GmbH",
            "number_shown": "+493012345678",
            "number_dictated": "+491711234567",
            "email": "max@beispiel.example",
        },
        "for_contact": "Frau Weber",
        "concern": "Heizung seit heute früh ausgefallen",
        "action": "RR",
        "urgency": "urgent",
        "text": "Herr Müller ist bis 17 Uhr erreichbar.\n\nSchlüssel beim Bäcker.",
        "fields": {"Objekt": "Lindenallee 12, 3. OG", "Vertragsnummer": "HV-2031-77"},
        "previous_calls": 2,
        "thread": "nord/+491711234567",
    }
    return NoteRequest.model_validate({**fields, **changes})


def missed(**changes: Any) -> NoteRequest:
    """A German note on a call abandoned after 42 s of waiting."""
    lost = call(
        answered_at=None,
        ended_at=RECEIVED_AT + timedelta(seconds=42),
        outcome="abandoned",
        stage="waiting",
    )
    fields: dict[str, Any] = {
        "kind": "missed_call",
        "client": {"id": "nord", "name": "Hausverwaltung Nord GmbH"},
        "recipients": [{"name": "Petra Weber", "email": "weber@nord.example"}],
        "call": lost,
        "caller": {"number_shown": "+493012345678"},
    }
    return NoteRequest.model_validate({**fields, **changes})


def english(**changes: Any) -> NoteRequest:
    """A complete English note."""
    fields: dict[str, Any] = {
        "language": "en",
        "timezone": "Europe/London",
        "client": {"id": "smith", "name": "Smith & Sons Ltd"},
        "recipients": [{"name": "Tom Smith", "email": "tom@smith.example"}],
        "call": call(),
        "taken_by": "Jana Krüger",
        "caller": {
            "name": "Deborah O'Neill",
            "company": "Acme Ltd",
            "number_shown": "+442079460123",
        },
        "for_contact": "Tom Smith",
        "concern": "Wants a quote for re-roofing a barn",
        "action": "RR",
    }
    return NoteRequest.model_validate({**fields, **changes})

"""What callers hear before they are recorded, made from a client's account."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from vsek.call.model import Screening
from vsek.domain.client import Client
from vsek.domain.directory import ClientEntry, Directory
from vsek.settings import Settings
from vsek.switchboard.directory import for_calls

HOUSE = {"screening.de": "sound:/ask", "recorded.de": "sound:/told", "tone": "sound:/tone"}
KEYS = {"1": "Termin"}


def screening(announcements: dict[str, str] = HOUSE, **wanted: Any) -> Screening | None:
    client = Client.model_validate(
        {
            "id": "elm",
            "name": "Elm",
            "numbers": {"did": ["+49301234567"]},
            "policy": "screen",
            "greeting": "Hello.",
            "screening": wanted,
            "contacts": [{"name": "E", "email": "e@example.com", "notes": True}],
        }
    )
    entry = ClientEntry(client, None, None, "own" if "prompt" in wanted else None)
    known = Directory({client.id: entry}, {})
    made = for_calls(known, Settings(), "sound:/{}".format, announcements, date(2026, 10, 1))
    return made.clients[client.id].screening


def test_the_house_asks_and_tells_of_the_recording_in_one() -> None:
    assert screening() == Screening("", "sound:/ask", "sound:/tone")


def test_after_a_prompt_of_the_clients_the_house_tells_of_the_recording() -> None:
    assert screening(prompt="Hm?", keys=KEYS) == Screening(
        "sound:/own", "sound:/told", "sound:/tone", keys=KEYS
    )


def test_who_is_not_recorded_is_not_told_so() -> None:
    made = screening(prompt="Hm?", keys=KEYS, record=False)
    assert made == Screening("sound:/own", keys=KEYS)


@pytest.mark.parametrize("wanted", [{}, {"prompt": "Hm?"}])
def test_nobody_is_recorded_who_cannot_be_told_so(wanted: dict[str, Any]) -> None:
    assert screening({}, **wanted) is None
    made = screening({}, **{"prompt": "Hm?", **wanted, "keys": KEYS})
    assert made == Screening("sound:/own", keys=KEYS)

"""docs/notes.md says what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from vsek.domain.note import Action, NoteRequest
from vsek.notify.model import Delivery, DeliveryStatus, NoteState, state_of
from vsek.notify.words import WORDS

DOCS = (Path(__file__).parents[3] / "docs" / "notes.md").read_text()


def test_the_example_is_a_note() -> None:
    [example] = re.findall(r"<<'END'\n(.*?)\nEND\n", DOCS, re.DOTALL)
    request = NoteRequest.model_validate(json.loads(example))
    assert request.fields == {"Objekt": "Lindenallee 12"}


@pytest.mark.parametrize("action", list(Action))
def test_the_codes_are_explained(action: Action) -> None:
    german, english = (WORDS[language].action[action] for language in ("de", "en"))
    assert f"| `{action.value}` | {german} | {english} |" in DOCS


@pytest.mark.parametrize("name", [*DeliveryStatus, *NoteState])
def test_the_states_are_explained(name: str) -> None:
    assert f"`{name}`" in DOCS


A, B, Q, G = (
    DeliveryStatus.ACCEPTED,
    DeliveryStatus.BOUNCED,
    DeliveryStatus.QUEUED,
    DeliveryStatus.GIVEN_UP,
)


@pytest.mark.parametrize(
    ("statuses", "state"),
    [
        ([Q], NoteState.QUEUED),
        ([A, Q], NoteState.QUEUED),
        ([A, A], NoteState.ACCEPTED),
        ([A, B], NoteState.PARTLY_ACCEPTED),
        ([B, G], NoteState.NOT_DELIVERED),
    ],
)
def test_the_state_of_a_note_is_that_of_its_deliveries(
    statuses: list[DeliveryStatus], state: NoteState
) -> None:
    def delivery(status: DeliveryStatus, *, copy: bool = False) -> Delivery:
        return Delivery(
            name="",
            email="a@b.example",
            purpose="undelivered" if copy else "note",
            status=status,
            attempts=1,
            next_at=None,
            settled_at=None,
            reply_code=None,
            reply="",
        )

    deliveries = [delivery(status) for status in statuses]
    assert state_of(deliveries) is state
    assert state_of([*deliveries, delivery(A, copy=True)]) is state

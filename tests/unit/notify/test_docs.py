"""docs/notes.md says what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from vsek.domain.draft import DraftStage, DraftState, WriteNote
from vsek.domain.note import Action, NoteRequest
from vsek.notify.drafts import ARRIVAL_S, DEADLINE_S, YOUNG_S
from vsek.notify.model import Delivery, DeliveryStatus, NoteState, state_of
from vsek.notify.words import WORDS

DOCS = (Path(__file__).parents[3] / "docs" / "notes.md").read_text()


def test_the_example_is_a_note() -> None:
    [example] = re.findall(r"<<'END'\n(.*?)\nEND\n", DOCS, re.DOTALL)
    request = NoteRequest.model_validate(json.loads(example))
    assert request.fields == {"Objekt": "Lindenallee 12"}


def test_the_example_is_a_draft() -> None:
    [example] = re.findall(r"<<'DRAFT'\n(.*?)\nDRAFT\n", DOCS, re.DOTALL)
    note = WriteNote.model_validate(json.loads(example))
    assert (note.finish, note.draft.action) == (True, Action.CALL_BACK)


@pytest.mark.parametrize("field", [*WriteNote.model_fields, *DraftState.model_fields, *DraftStage])
def test_what_is_written_and_answered_is_explained(field: str) -> None:
    told = DOCS[DOCS.index("**Write what an agent takes down.**") : DOCS.index("**Errors**")]
    assert f"`{field}`" in told


def test_how_long_a_draft_waits_is_told() -> None:
    assert (ARRIVAL_S, YOUNG_S, DEADLINE_S) == (5, 180, 4)
    assert "last\nthree minutes and is not there yet is waited for, 5 s at most" in DOCS
    assert "`503` within 9 s" in DOCS


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

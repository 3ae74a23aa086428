"""What the forwarder hears of the note service in its own process."""

from __future__ import annotations

import asyncpg
import pytest

from vsek.domain.note import NoteRecipient, NoteRequest
from vsek.errors import InputError, ServiceError
from vsek.notify.database import KeyReusedError
from vsek.notify.intake import Intake

REQUEST = NoteRequest(recipients=[NoteRecipient(email="a@example.com")])


async def test_what_is_taken_has_an_id() -> None:
    async def take(key: str, request: NoteRequest) -> tuple[str, bool]:
        assert (key, request) == ("call:1:auto", REQUEST)
        return "n1", False

    assert (await Intake(take).post("call:1:auto", REQUEST)).id == "n1"


@pytest.mark.parametrize(
    ("error", "as_told"),
    [
        (KeyReusedError("The key belongs to another note"), InputError),
        (asyncpg.DataError("no such time"), InputError),
        (asyncpg.ConnectionDoesNotExistError("cut"), ServiceError),
        (TimeoutError(), ServiceError),
        (RuntimeError("a mistake of ours"), ServiceError),
    ],
)
async def test_refused_for_good_or_only_now(error: Exception, as_told: type[Exception]) -> None:
    async def take(_key: str, _request: NoteRequest) -> tuple[str, bool]:
        raise error

    with pytest.raises(as_told):
        await Intake(take).post("call:1:auto", REQUEST)

"""A call's note as agents see it while they write it, and what they send to write it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from vsek.domain.ids import CallId
from vsek.domain.note import NoteDraft
from vsek.domain.text import CleanName
from vsek.errors import InputError


class UnknownCallError(InputError):
    """The database does not know this call."""

    error_id = "unknown_call"

    def __init__(self, call_id: str) -> None:
        super().__init__(
            f"There is no call {call_id!r}",
            field="call",
            value=call_id,
            remedy="'vsek call list' shows the calls",
        )


class DraftStage(StrEnum):
    """How far a call's note is."""

    OPEN = "open"
    """Nobody said that it is finished; it leaves by itself some time after the call."""
    FINISHED = "finished"
    """Leaves now, or as soon as the call ends."""
    SENT = "sent"
    """Has left; changes are sent as corrections."""


class DraftState(BaseModel):
    """A call's note as it stands."""

    model_config = ConfigDict(frozen=True)

    call_id: CallId
    revision: int
    """Counts changes of the draft; 0 = nobody has written yet."""
    state: DraftStage
    finished: bool
    due_at: datetime | None
    """When it (or its correction) leaves; ``None``: not before the call ends, or it has left."""
    author: str
    changed_at: datetime | None
    draft: NoteDraft


class WriteNote(NoteDraft):
    """The fields of a draft, and what to do with it."""

    finish: bool = False
    """Send it now; otherwise it waits for more, and leaves as incomplete when its time comes."""
    author: CleanName = ""
    """Who writes; empty: the call's agent while it goes on, else who wrote before."""

    @property
    def draft(self) -> NoteDraft:
        """The draft alone."""
        return NoteDraft(**self.model_dump(exclude={"finish", "author"}))

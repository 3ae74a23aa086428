"""What the note service says about a note: the answers of its API."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from vsek.domain.note import NoteKind, NoteRequest


class DeliveryStatus(StrEnum):
    """Where one recipient's mail is."""

    QUEUED = "queued"
    """Will be tried, or tried again, at ``next_at``."""
    ACCEPTED = "accepted"
    """The mail server took it over."""
    BOUNCED = "bounced"
    """The mail server refused it for good; ``reply`` says why."""
    GIVEN_UP = "given_up"
    """Refused for the time being again and again, until the time was over."""


class NoteState(StrEnum):
    """All recipients of a note seen together."""

    QUEUED = "queued"
    """At least one recipient's mail is still to be sent."""
    ACCEPTED = "accepted"
    PARTLY_ACCEPTED = "partly_accepted"
    NOT_DELIVERED = "not_delivered"
    """Every recipient's mail bounced or was given up; operations got a copy."""


class _Answer(BaseModel):
    # A client of this version must be able to read a newer service's answers.
    model_config = ConfigDict(extra="ignore", frozen=True)


class Delivery(_Answer):
    """One recipient's mail."""

    name: str
    email: str
    purpose: Literal["note", "undelivered"]
    """``undelivered``: operations' copy of a note that none of its recipients got."""
    status: DeliveryStatus
    attempts: int
    next_at: AwareDatetime | None
    """When it is tried (again); ``None`` unless queued."""
    settled_at: AwareDatetime | None
    """When it was accepted, bounced or given up."""
    reply_code: int | None
    """The mail server's last reply code; ``None``: no attempt or no answer."""
    reply: str
    """The mail server's last words, or what kept us from hearing any."""


class NoteInfo(_Answer):
    """A note and what became of it."""

    id: str
    key: str
    kind: NoteKind
    client_id: str | None
    client_name: str
    call_id: str | None
    caller: str
    """Name, company or number, as in the subject."""
    subject: str
    state: NoteState
    incomplete: bool
    corrects: str | None
    """Key of the note that this one corrects."""
    received_at: AwareDatetime
    """When the service acknowledged it."""
    message_id: str
    deliveries: list[Delivery]


class NoteDetail(NoteInfo):
    """A note with its content."""

    request: NoteRequest
    """Its attachments are named without their content."""
    text: str
    """The mail's text part."""


class NoteList(_Answer):
    """Notes, the newest first; ``next`` continues the list (parameter ``before``)."""

    notes: list[NoteInfo]
    next: str | None


class RetryAnswer(_Answer):
    """How many recipients' mails were queued (again), and the note as it is now."""

    requeued: int
    note: NoteInfo


class ErasedAnswer(_Answer):
    """How many attachments were erased."""

    erased: int


class Health(_Answer):
    """How the service is."""

    status: Literal["ok", "degraded"]
    """``degraded``: notes are taken, but the mail server refuses all mail. (When no notes are
    taken, because the database is away, the answer is a problem with status 503.)"""
    queued: int
    oldest_queued_at: AwareDatetime | None
    smtp_reply: str
    """Why the mail server refuses, empty when it does not."""


class Problem(BaseModel):
    """The body of every error answer."""

    error_id: str
    message: str
    field: str = ""
    value: str = ""
    remedy: str = ""


def state_of(deliveries: list[Delivery]) -> NoteState:
    """The state of a note with these ``deliveries``; operations' copy does not count."""
    found = {delivery.status for delivery in deliveries if delivery.purpose == "note"}
    if DeliveryStatus.QUEUED in found:
        return NoteState.QUEUED
    if found == {DeliveryStatus.ACCEPTED}:
        return NoteState.ACCEPTED
    if DeliveryStatus.ACCEPTED in found:
        return NoteState.PARTLY_ACCEPTED
    return NoteState.NOT_DELIVERED

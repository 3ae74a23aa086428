"""Notes: what the agent fills in (:class:`NoteDraft`) and what the note service is asked to send
(:class:`NoteRequest`, the body of ``POST /v1/notes``).

Both clean every text at their edge: callers choose their display names, and agents type what
callers dictate. Times are aware datetimes in UTC on the wire; the note service shows them in the
client's time zone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from vsek.domain.outcomes import Outcome, Stage
from vsek.domain.text import CleanLine, CleanName, CleanText, clean_line

Language = Literal["de", "en"]
"""Languages in which vsek speaks and writes."""

_EMAIL = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
    r"@(?=.{1,253}\Z)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\Z"
)
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,199}\Z")
MAX_FIELDS = 50


class NoteKind(StrEnum):
    """What a note is about."""

    MESSAGE = "message"
    """An agent talked with the caller."""
    MISSED_CALL = "missed_call"
    """Nobody talked with the caller: abandoned, closed, failed."""
    OPERATIONS = "operations"
    """For the service's own operations: a call to a number that belongs to no client."""


class Action(StrEnum):
    """What is to be done about a call; the codes that German secretariats use."""

    CALL_BACK = "RR"
    """Rückruf: please call back."""
    WILL_CALL_AGAIN = "RWA"
    """Ruft wieder an: will call again."""
    INFORMATION = "KN"
    """Kenntnisnahme: for your information."""
    DONE = "OK"
    """Nothing is left to do."""


class Urgency(StrEnum):
    """How soon the client should see to it."""

    NORMAL = "normal"
    URGENT = "urgent"


def is_email(text: str) -> bool:
    """Whether ``text`` is a plain mail address (ASCII, RFC 5321 dot-atom or close to it)."""
    return (
        _EMAIL.match(text) is not None
        and ".." not in text
        and not text.startswith(".")
        and ".@" not in text
    )


def _email(text: str) -> str:
    if not is_email(text):
        raise ValueError("is not a mail address like name@example.com")
    return text


def _timezone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ValueError, OSError, KeyError):
        raise ValueError("is not a time zone like Europe/Berlin") from None
    return text


def _key(text: str) -> str:
    if not _KEY.match(text):
        raise ValueError("is not a key: letters, digits and : . _ -, at most 200 characters")
    return text


def _fields(values: Mapping[str, str]) -> dict[str, str]:
    if len(values) > MAX_FIELDS:
        raise ValueError(f"has more than {MAX_FIELDS} fields")
    return {name: value for name, value in values.items() if name}


Email = Annotated[str, AfterValidator(_email)]
"""A plain mail address."""
TimezoneName = Annotated[str, AfterValidator(_timezone)]
"""A name from the time zone database."""
NoteKey = Annotated[str, AfterValidator(_key)]
"""An idempotency key, ``call:{id}:auto`` for the automatic note of a call."""
# Dictated and typed: kept even when it is not a valid address, only cleaned.
Fields = Annotated[dict[CleanName, CleanText], AfterValidator(_fields)]
"""The client's own fields: name → what the caller said."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NoteDraft(_Model):
    """An agent's note on one call, finished or not. Every field may stay empty."""

    for_contact: CleanName = ""
    """The person at the client whom the caller wanted (a contact's name or id)."""
    caller_name: CleanName = ""
    caller_company: CleanName = ""
    caller_phone: CleanName = ""
    """The number that the caller dictated, as typed."""
    caller_email: CleanName = ""
    concern: CleanLine = ""
    """The matter in one line."""
    action: Action | None = None
    urgency: Urgency = Urgency.NORMAL
    fields: Fields = Field(default_factory=dict)
    text: CleanText = ""

    @property
    def is_empty(self) -> bool:
        """Whether nobody has written anything yet."""
        return self == NoteDraft()


class NoteClient(_Model):
    """The client company, as far as a note needs it."""

    id: CleanName
    name: CleanName


class NoteRecipient(_Model):
    """Somebody who gets the note by mail."""

    name: CleanName = ""
    email: Email


class NoteCaller(_Model):
    """Who called. ``number_shown`` is E.164 where known, empty when withheld."""

    name: CleanName = ""
    """What the agent wrote, else the display name that the network passed on."""
    company: CleanName = ""
    number_shown: CleanName = ""
    number_dictated: CleanName = ""
    """E.164 where it could be normalised, else as typed."""
    email: CleanName = ""
    withheld: bool = False


class NoteCall(_Model):
    """The call that a note is about."""

    id: CleanName
    received_at: AwareDatetime
    answered_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    outcome: Outcome | None = None
    stage: Stage | None = None
    reason: CleanName = ""
    did: CleanName = ""
    forwarded_by: list[CleanName] = Field(default_factory=list, max_length=50)

    @property
    def talked_s(self) -> float | None:
        """Seconds between answer and end; ``None`` if nobody talked or the call still goes on."""
        if self.answered_at is None or self.ended_at is None:
            return None
        return max(0.0, (self.ended_at - self.answered_at).total_seconds())


class NoteRequest(_Model):
    """A note to be sent: the body of ``POST /v1/notes``; its key is in ``Idempotency-Key``."""

    kind: NoteKind = NoteKind.MESSAGE
    language: Language = "de"
    timezone: TimezoneName = "Europe/Berlin"
    client: NoteClient | None = None
    """``None`` for notes to operations about a number that belongs to no client."""
    recipients: list[NoteRecipient] = Field(min_length=1, max_length=100)
    call: NoteCall | None = None
    taken_by: CleanName = ""
    """The agent's name."""
    caller: NoteCaller = NoteCaller()
    for_contact: CleanName = ""
    concern: CleanLine = ""
    text: CleanText = ""
    fields: Fields = Field(default_factory=dict)
    action: Action | None = None
    urgency: Urgency = Urgency.NORMAL
    incomplete: bool = False
    """Left before the agent finished it."""
    previous_calls: int = Field(default=0, ge=0)
    """Calls of this caller to this client before this one."""
    thread: CleanLine = Field(default="", max_length=200)
    """Notes with the same non-empty value belong into one mail thread (same caller and client)."""
    corrects: NoteKey | None = None
    """The key of the note that this one corrects."""

    @model_validator(mode="after")
    def _one_mail_each(self) -> NoteRequest:
        seen: set[str] = set()
        for recipient in self.recipients:
            address = recipient.email.lower()
            if address in seen:
                raise ValueError(f"recipients: {recipient.email} is named twice")
            seen.add(address)
        return self


@dataclass(frozen=True, slots=True)
class DueNote:
    """A note that is due to be handed to the note service, claimed by whoever holds this."""

    id: int
    key: str
    call_id: str
    attempts: int
    """This one included."""
    request: NoteRequest | None
    """``None``: it could not be built; ``error`` says why."""
    error: str = ""


def auto_key(call_id: str, revision: int = 0) -> str:
    """Idempotency key of a call's automatic note; ``revision`` > 0 for corrections."""
    return f"call:{call_id}:auto:{revision}" if revision else f"call:{call_id}:auto"


def thread_of(client_id: str, caller: str) -> str:
    """The mail thread of a caller (E.164 number) at a client; empty when the caller is unknown."""
    caller = clean_line(caller)
    return f"{client_id}/{caller}"[:200] if caller else ""

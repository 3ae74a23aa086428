"""Notes: what the agent fills in (:class:`NoteDraft`) and what the note service is asked to send
(:class:`NoteRequest`, the body of ``POST /v1/notes``).

Both clean every text at their edge: callers choose their display names, and agents type what
callers dictate. Times are aware datetimes in UTC on the wire; the note service shows them in the
client's time zone.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from vsek.domain.outcomes import Finding, Outcome, Stage
from vsek.domain.text import CleanLine, CleanName, CleanText, clean_line

Language = Literal["de", "en"]
"""Languages in which vsek speaks and writes."""

_EMAIL = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
    r"@(?=.{1,253}\Z)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\Z"
)
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,199}\Z")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
_NOT_FOR_FILES = re.compile(r"[^A-Za-z0-9_-]+")
MAX_FIELDS = 50
MAX_ATTACHMENTS = 5
MAX_DIGEST_CALLS = 200
MAX_ATTACHED_BYTES = 3_000_000
"""Of all attachments of a note together; three minutes of telephone audio."""


class NoteKind(StrEnum):
    """What a note is about."""

    MESSAGE = "message"
    """An agent talked with the caller."""
    MISSED_CALL = "missed_call"
    """Nobody talked with the caller: abandoned, closed, failed."""
    VOICEMAIL = "voicemail"
    """Nobody talked with the caller, who left a message."""
    CALLBACK = "callback"
    """Nobody talked with the caller, who was promised to be called back."""
    FORWARDED = "forwarded"
    """The caller was forwarded to a number of the client's own."""
    DIGEST = "digest"
    """The blocked calls of a day."""
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
    forwarded_to: CleanName = ""

    @property
    def talked_s(self) -> float | None:
        """Seconds between answer and end; ``None`` if nobody talked or the call still goes on."""
        if self.answered_at is None or self.ended_at is None:
            return None
        return max(0.0, (self.ended_at - self.answered_at).total_seconds())


class NoteScreening(_Model):
    """What was learnt of the caller before an agent was rung."""

    finding: Finding | None = None
    """What was heard; ``None``: nothing was recorded, or the caller hung up before."""
    spoken_s: float = Field(default=0.0, ge=0)
    """Seconds that the caller spoke."""
    key: CleanName = ""
    """The key that the caller pressed."""
    choice: CleanName = ""
    """What that key stands for."""


class RecordingFate(StrEnum):
    """Where a recording is that the note tells of."""

    ATTACHED = "attached"
    NOT_KEPT = "not_kept"
    """It served the agent alone and was deleted after the call."""
    LATE = "late"
    """It had not been fetched when the note left; a correction brings it."""
    LOST = "lost"
    EMPTY = "empty"
    """Nothing was said."""
    TOO_LARGE = "too_large"
    ERASED = "erased"


class NoteRecording(_Model):
    """A recording of the caller's voice."""

    kind: Literal["screening", "voicemail"]
    seconds: float | None = Field(default=None, ge=0)
    consent: bool = False
    """The caller was told of the recording, and spoke."""
    fate: RecordingFate
    attachment: CleanName = ""
    """The name of the attachment that holds it."""


class NoteAttachment(_Model):
    """A file that goes along with the note."""

    name: str
    """A plain file name with the suffix of its type."""
    media_type: Literal["audio/wav", "audio/mpeg", "audio/ogg"] = "audio/wav"
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    """Of the content; may be left out where the content is given."""
    content: str = Field(default="", repr=False)
    """Base64. Empty where it is kept elsewhere, or was erased."""

    @model_validator(mode="before")
    @classmethod
    def _hashed(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not given.get("content"):
            return given
        try:
            data = base64.b64decode(str(given["content"]), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("content is no base64") from None
        sha256 = hashlib.sha256(data).hexdigest()
        if given.get("sha256") not in (None, "", sha256):
            raise ValueError("sha256 is not that of the content")
        return {**given, "sha256": sha256}

    @model_validator(mode="after")
    def _named(self) -> NoteAttachment:
        suffix = _SUFFIXES[self.media_type]
        if not _FILE_NAME.match(self.name) or not self.name.endswith(suffix):
            raise ValueError(
                "name must have letters, digits, '.', '_', '-' only, at most 100, and end with "
                f"{suffix} for {self.media_type}"
            )
        if not self.sha256:
            raise ValueError("content is missing")
        return self

    @property
    def data(self) -> bytes:
        """The content; empty if it is not here."""
        return base64.b64decode(self.content)

    def holding(self, data: bytes | None) -> NoteAttachment:
        """The same with this content, or without any."""
        content = "" if data is None else base64.b64encode(data).decode()
        return self.model_copy(update={"content": content})


_SUFFIXES = {"audio/wav": ".wav", "audio/mpeg": ".mp3", "audio/ogg": ".ogg"}


class NoteDigestCall(_Model):
    """A call in a digest."""

    received_at: AwareDatetime
    number: CleanName = ""
    name: CleanName = ""
    withheld: bool = False
    reason: CleanName = ""


class NoteDigest(_Model):
    """Calls of a day that are told of together."""

    day: date
    """On the client's clock."""
    total: int = Field(ge=0)
    calls: list[NoteDigestCall] = Field(default_factory=list, max_length=MAX_DIGEST_CALLS)
    """The first of them."""


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
    screening: NoteScreening | None = None
    recordings: list[NoteRecording] = Field(default_factory=list, max_length=20)
    digest: NoteDigest | None = None
    """With kind ``digest``."""
    attachments: list[NoteAttachment] = Field(default_factory=list, max_length=MAX_ATTACHMENTS)

    @model_validator(mode="after")
    def _one_mail_each(self) -> NoteRequest:
        seen: set[str] = set()
        for recipient in self.recipients:
            address = recipient.email.lower()
            if address in seen:
                raise ValueError(f"recipients: {recipient.email} is named twice")
            seen.add(address)
        return self

    @model_validator(mode="after")
    def _whole_digest(self) -> NoteRequest:
        if (self.kind is NoteKind.DIGEST) != (self.digest is not None):
            raise ValueError("digest: belongs to kind digest, and to no other")
        return self

    @model_validator(mode="after")
    def _bounded_attachments(self) -> NoteRequest:
        names = [attachment.name.lower() for attachment in self.attachments]
        if len(set(names)) < len(names):
            raise ValueError("attachments: two have the same name")
        size = sum(len(attachment.content) // 4 * 3 for attachment in self.attachments)
        if size > MAX_ATTACHED_BYTES + 2 * MAX_ATTACHMENTS:
            raise ValueError(
                f"attachments: together {size:,} bytes, and at most {MAX_ATTACHED_BYTES:,} are "
                "taken"
            )
        return self

    def without_content(self) -> NoteRequest:
        """The same, the attachments only by name and hash: what is kept as JSON."""
        if not self.attachments:
            return self
        bare = [attachment.holding(None) for attachment in self.attachments]
        return self.model_copy(update={"attachments": bare})


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


def attachment_name(call_id: str, number: int) -> str:
    """File name of a call's ``number``-th recording (from 1): from the call's id alone."""
    stem = _NOT_FOR_FILES.sub("-", call_id).strip("-_")[:80] or "call"
    return f"{stem}.wav" if number == 1 else f"{stem}-{number}.wav"


def thread_of(client_id: str, caller: str) -> str:
    """The mail thread of a caller (E.164 number) at a client; empty when the caller is unknown."""
    caller = clean_line(caller)
    return f"{client_id}/{caller}"[:200] if caller else ""

"""The request for a call's note, from all that the database knows of the call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import structlog
from pydantic import ValidationError

from vsek.domain.client import Client
from vsek.domain.note import (
    MAX_ATTACHED_BYTES,
    MAX_ATTACHMENTS,
    Action,
    Language,
    NoteAttachment,
    NoteCall,
    NoteCaller,
    NoteClient,
    NoteDigest,
    NoteDraft,
    NoteKind,
    NoteRecipient,
    NoteRecording,
    NoteRequest,
    NoteScreening,
    RecordingFate,
    attachment_name,
    thread_of,
)
from vsek.domain.numbers import normalise
from vsek.domain.outcomes import Finding, Outcome
from vsek.domain.records import NOTHING_SAID
from vsek.store import recordings
from vsek.store.recordings import Recording

if TYPE_CHECKING:
    from vsek.store.pool import Connection, Row

_log = structlog.get_logger(__name__)

# All that notes need to know of their calls, in one statement.
_CALLS_SQL = """
SELECT c.id, c.client_id, c.received_at, c.caller_number, c.caller_name, c.caller_withheld, c.did,
       c.forwarded_by, c.outcome, c.stage, c.reason, c.answered_at, c.ended_at,
       coalesce(a.name, '') AS agent_name, k.name AS client_name, k.account::text AS account,
       caller.number AS number_of_caller,
       (SELECT count(*) FROM (
            SELECT b.id FROM vsek.calls b
            WHERE b.caller_number = caller.number AND b.caller_number <> ''
              AND b.client_id = c.client_id AND b.received_at < c.received_at
            UNION
            SELECT b.id FROM vsek.note_drafts d JOIN vsek.calls b ON b.id = d.call_id
            WHERE d.dictated = caller.number AND d.dictated <> ''
              AND b.client_id = c.client_id AND b.received_at < c.received_at
       ) AS before) AS previous_calls,
       (SELECT json_agg(json_build_array(s.kind, s.detail) ORDER BY s.number)::text
        FROM vsek.call_steps s
        WHERE s.call_id = c.id AND s.kind IN ('screening', 'key', 'consent', 'screened',
                                              'callback_promised', 'forwarded')
       ) AS told,
       EXISTS (SELECT FROM vsek.recordings r WHERE r.call_id = c.id) AS recorded,
       n.draft::text AS draft, n.revision, n.finished
FROM vsek.calls c
JOIN vsek.note_drafts n ON n.call_id = c.id
CROSS JOIN LATERAL (SELECT coalesce(nullif(c.caller_number, ''), n.dictated) AS number) AS caller
LEFT JOIN vsek.agents a ON a.id = c.agent_id
LEFT JOIN vsek.clients k ON k.id = c.client_id
WHERE c.id = ANY ($1) AND n.call_id = ANY ($1)
"""
_NUMBERS = frozenset({"callback_promised", "forwarded"})
"""Steps that tell a number: to be called back, and to which the call was forwarded."""
_Steps = list[tuple[str, dict[str, str]]]

# Outcomes that an agent brought about; everything else was missed, unless an agent wrote a note.
_TALKED = frozenset({Outcome.ANSWERED, Outcome.PUT_THROUGH})
_KINDS: dict[Outcome | None, NoteKind] = {
    Outcome.VOICEMAIL: NoteKind.VOICEMAIL,
    Outcome.CALLBACK: NoteKind.CALLBACK,
    Outcome.FORWARDED: NoteKind.FORWARDED,
}


@dataclass(frozen=True, slots=True)
class Operations:
    """Who gets the notes that no client gets."""

    email: str
    language: Language = "en"
    timezone: str = "Europe/Berlin"


@dataclass(frozen=True, slots=True)
class Voice:
    """What a note tells of the caller's own words."""

    screening: NoteScreening | None = None
    recordings: tuple[NoteRecording, ...] = ()
    attachments: tuple[NoteAttachment, ...] = ()
    """Without content; it is fetched when the note leaves."""


async def told(conn: Connection, call_ids: Sequence[str]) -> dict[str, Row]:
    """What the database knows of calls, with the drafts of their notes, by the calls' ids."""
    return {row["id"]: row for row in await conn.fetch(_CALLS_SQL, call_ids)}


async def build(
    conn: Connection,
    row: Row,
    corrects: str | None,
    *,
    operations: Operations,
    country: str,
    digest: NoteDigest | None = None,
) -> NoteRequest:
    """The request for the call that ``row`` tells of, attachments without content.

    ``digest``: it tells of these calls instead of this one alone. Raises ``ValueError`` when no
    request can be made of what is there. The database is asked only if the call was recorded.
    """
    call_id = row["id"]
    draft = NoteDraft.model_validate_json(row["draft"])
    previous, thread = 0, ""
    if row["number_of_caller"] and row["client_id"] is not None:
        previous = row["previous_calls"]
        thread = thread_of(row["client_id"], row["number_of_caller"])
    client = _readable(row)
    story = msgspec.json.decode(row["told"] or "[]", type=_Steps)
    numbers = {kind: detail.get("number", "") for kind, detail in story}
    steps = [(kind, detail) for kind, detail in story if kind not in _NUMBERS]
    kept = await recordings.of_call(conn, call_id) if row["recorded"] else []
    voice = voice_of(call_id, client, steps, kept)
    if digest is not None:
        voice = Voice()
    request = build_request(
        row,
        client,
        draft,
        voice,
        finished=row["finished"],
        corrects=corrects,
        previous_calls=previous,
        thread=thread,
        operations=operations,
        country=country,
        call_back=numbers.get("callback_promised", ""),
        forwarded_to=numbers.get("forwarded", ""),
    )
    if digest is None:
        return request
    changed = {"kind": NoteKind.DIGEST, "digest": digest, "caller": NoteCaller(), "thread": ""}
    return request.model_copy(update=changed)


async def with_content(conn: Connection, call_id: str, request: NoteRequest) -> NoteRequest:
    """``request`` with its attachments as the database has them; what was erased stays empty."""
    if not request.attachments:
        return request
    filled = [
        attachment.holding(await recordings.by_hash(conn, call_id, attachment.sha256))
        for attachment in request.attachments
    ]
    return request.model_copy(update={"attachments": filled})


def _seconds(text: str) -> float:
    try:
        return max(0.0, float(text))
    except ValueError:
        return 0.0


def _screening_of(steps: Sequence[tuple[str, dict[str, str]]]) -> NoteScreening | None:
    """What the timeline says of the screening; ``None``: the caller was not asked."""
    if not steps:
        return None
    finding: Finding | None = None
    spoken_s, key, choice = 0.0, "", ""
    for kind, detail in steps:
        if kind in ("key", "screened"):
            key, choice = detail.get("key") or key, detail.get("choice") or choice
        if kind == "screened":
            word = detail.get("finding", "")
            finding = Finding(word) if word in tuple(Finding) else Finding.UNKNOWN
        if kind in ("consent", "screened"):
            spoken_s = _seconds(detail.get("spoken_s", "")) or spoken_s
    return NoteScreening(finding=finding, spoken_s=spoken_s, key=key, choice=choice)


def voice_of(
    call_id: str,
    client: Client | None,
    steps: Sequence[tuple[str, dict[str, str]]],
    kept: Sequence[Recording],
) -> Voice:
    """What the note tells of screening and recordings, and which of them go along with it."""
    screening = _screening_of(steps)
    attach_screening = client is not None and bool(client.screening and client.screening.attach)
    told: list[NoteRecording] = []
    attachments: list[NoteAttachment] = []
    size = 0
    for recording in kept:
        fate, name = _fate(recording), ""
        if recording.kind == "screening" and not attach_screening:
            fate = fate if fate is RecordingFate.ERASED else RecordingFate.NOT_KEPT
        elif fate is RecordingFate.ATTACHED:
            size += recording.size
            if size > MAX_ATTACHED_BYTES or len(attachments) == MAX_ATTACHMENTS:
                size -= recording.size
                fate = RecordingFate.TOO_LARGE
            else:
                name = attachment_name(call_id, len(attachments) + 1)
                attachments.append(NoteAttachment(name=name, sha256=recording.sha256))
        told.append(
            NoteRecording(
                kind=recording.kind,
                seconds=recording.seconds,
                consent=recording.consent,
                fate=fate,
                attachment=name,
            )
        )
    spoke = any(kind == "consent" for kind, _ in steps)
    if spoke and screening is not None and not any(one.kind == "screening" for one in told):
        told.append(
            NoteRecording(
                kind="screening",
                seconds=screening.spoken_s,
                consent=True,
                fate=RecordingFate.NOT_KEPT,
            )
        )
    return Voice(screening, tuple(told), tuple(attachments))


def _fate(recording: Recording) -> RecordingFate:
    """Where the recording is, whatever the client wants of it."""
    if recording.deleted_at is not None:
        return RecordingFate.ERASED
    if recording.sha256:
        return RecordingFate.ATTACHED
    if recording.lost == NOTHING_SAID:
        return RecordingFate.EMPTY
    return RecordingFate.LOST if recording.lost else RecordingFate.LATE


def _readable(row: Row) -> Client | None:
    """The call's client; ``None`` when there is none, or none that this version can read."""
    if row["account"] is None:
        return None
    try:
        return Client.model_validate_json(row["account"])
    except ValidationError as error:
        _log.error("client_unreadable", client_id=row["client_id"], reason=str(error))
        return None


def build_request(
    row: Row,
    client: Client | None,
    draft: NoteDraft,
    voice: Voice,
    *,
    finished: bool,
    corrects: str | None,
    previous_calls: int,
    thread: str,
    operations: Operations,
    country: str,
    call_back: str = "",
    forwarded_to: str = "",
) -> NoteRequest:
    """The request for a call's note. Nobody's note is lost: what has no client whose contacts
    can be read goes to operations.

    ``call_back`` is the number at which the caller was promised to be called back, ``forwarded_to``
    that to which the call was forwarded.
    """
    outcome = None if row["outcome"] is None else Outcome(row["outcome"])
    if row["client_id"] is None:
        kind = NoteKind.OPERATIONS
    elif outcome in _TALKED or not draft.is_empty:
        kind = NoteKind.MESSAGE
    else:
        kind = _KINDS.get(outcome, NoteKind.MISSED_CALL)
    promised = outcome is Outcome.CALLBACK
    dictated = normalise(draft.caller_phone or call_back, country)
    if client is not None:
        recipients = [
            NoteRecipient(name=contact.name, email=contact.email or "")
            for contact in client.recipients(draft.for_contact)
        ]
    else:
        recipients = [NoteRecipient(email=operations.email)]
    note_client = None
    if row["client_id"] is not None:
        note_client = NoteClient(id=row["client_id"], name=row["client_name"] or row["client_id"])
    return NoteRequest(
        kind=kind,
        language=client.language if client else operations.language,
        timezone=client.timezone if client else operations.timezone,
        client=note_client,
        recipients=recipients,
        call=NoteCall(
            id=row["id"],
            received_at=row["received_at"],
            answered_at=row["answered_at"],
            ended_at=row["ended_at"],
            outcome=outcome,
            stage=row["stage"],
            reason=row["reason"] or "",
            did=row["did"],
            forwarded_by=row["forwarded_by"],
            forwarded_to=forwarded_to,
        ),
        taken_by=row["agent_name"],
        caller=NoteCaller(
            name=draft.caller_name or row["caller_name"],
            company=draft.caller_company,
            number_shown=row["caller_number"],
            number_dictated=dictated,
            email=draft.caller_email,
            withheld=row["caller_withheld"],
        ),
        for_contact=draft.for_contact,
        concern=draft.concern,
        text=draft.text,
        fields=draft.fields,
        action=draft.action or (Action.CALL_BACK if promised else None),
        urgency=draft.urgency,
        incomplete=kind is NoteKind.MESSAGE and not finished,
        previous_calls=previous_calls,
        thread=thread,
        corrects=corrects,
        screening=voice.screening,
        recordings=list(voice.recordings),
        attachments=list(voice.attachments),
    )

"""A mail past the outbox: for telling operations that what the outbox needs is away.

Sent once over a connection of its own and not kept anywhere; whoever calls keeps it until it is
accepted.
"""

from __future__ import annotations

from datetime import UTC, datetime

from vsek.domain.note import NoteRequest, Urgency
from vsek.notify.mail import Envelope, compose, message_id
from vsek.notify.render import Renderer
from vsek.notify.retry import Attempt, Verdict
from vsek.notify.smtp import SmtpSession, own_name
from vsek.settings import SmtpSettings


async def send(settings: SmtpSettings, request: NoteRequest, note_id: str, country: str) -> Attempt:
    """Try once to mail ``request`` to each of its recipients; the first failure counts."""
    envelope = Envelope(
        sender=settings.sender,
        sender_name=settings.sender_name,
        recipients=request.recipients,
        message_id=message_id(note_id, settings.sender),
        references=(),
        date=datetime.now(UTC),
        language=request.language,
        urgent=request.urgency is Urgency.URGENT,
    )
    message = compose(envelope, Renderer(country).render(request, note_id))
    session = SmtpSession(settings, await own_name())
    attempt = Attempt(Verdict.ACCEPTED, None, "")
    try:
        for recipient in request.recipients:
            attempt = await session.send(recipient.email, message)
            if attempt.verdict is not Verdict.ACCEPTED:
                break
        await session.close()
    finally:
        session.drop()
    return attempt

"""A rendered note as a mail: headers, threading, MIME.

Everything that could differ between two attempts is fixed when the note is accepted
(``Message-ID``, ``Date``, ``References``), so that a mail that arrives twice is recognised as one.
All of a note's recipients see each other in ``To``: they are colleagues, and who else knows is
worth knowing. Headers are built by :mod:`email.policy`, which folds and encodes them and refuses
line breaks, but not those inside encoded words: none is let in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from vsek.domain.note import NoteRecipient
from vsek.domain.text import NAME_LIMIT, clean_line
from vsek.notify.render import Rendered

REFERENCES_LIMIT = 20
"""Earlier messages that a mail names: the thread's first and the latest ones."""
# A message id must fit into one folded header line: Python would encode a longer one as if it
# were text, and no mail program would recognise it any more.
_DOMAIN_LIMIT = 40


@dataclass(frozen=True, slots=True)
class File:
    """An attachment."""

    name: str
    media_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sends to whom, in which thread."""

    sender: str
    sender_name: str
    recipients: Sequence[NoteRecipient]
    message_id: str
    references: Sequence[str]
    """Message ids of earlier mails in the thread, the one answered last."""
    date: datetime
    language: str
    urgent: bool


def message_id(note_id: str, sender: str, *, copy: bool = False) -> str:
    """The ``Message-ID`` of a note's mail; ``copy``: of the one to operations about it."""
    domain = sender.rpartition("@")[2] or "localhost"
    while len(domain) > _DOMAIN_LIMIT and "." in domain:
        domain = domain.partition(".")[2]
    return f"<vsek.{note_id}{'.copy' if copy else ''}@{domain[-_DOMAIN_LIMIT:].lstrip('-.')}>"


def references_of(parent_references: Sequence[str], parent: str) -> list[str]:
    """``References`` of an answer to ``parent`` (RFC 5322, 3.6.4), bounded."""
    chain = [*parent_references, parent]
    if len(chain) > REFERENCES_LIMIT:
        chain = [chain[0], *chain[-(REFERENCES_LIMIT - 1) :]]
    return chain


def _header_text(text: str, limit: int = NAME_LIMIT) -> str:
    """``text`` for a header. Python decodes what looks like an encoded word when a header is set
    (``=?utf-8?q?=0D=0ABcc:…?=``), and writes out the line break."""
    return clean_line(clean_line(text, limit).replace("=?", "= ?"), limit)


def _address(name: str, email: str) -> Address:
    return Address(display_name=_header_text(name), addr_spec=email)


def compose(envelope: Envelope, rendered: Rendered, files: Sequence[File] = ()) -> bytes:
    """The mail, ready for ``DATA`` (CRLF, 7 bit)."""
    message = EmailMessage(policy=SMTP)
    message["From"] = _address(envelope.sender_name, envelope.sender)
    message["To"] = [_address(to.name, to.email) for to in envelope.recipients]
    message["Subject"] = _header_text(rendered.subject, 250)
    message["Date"] = format_datetime(envelope.date)
    message["Message-ID"] = envelope.message_id
    if envelope.references:
        message["In-Reply-To"] = envelope.references[-1]
        message["References"] = " ".join(envelope.references)
    if envelope.urgent:
        message["Importance"] = "high"
        message["X-Priority"] = "1"
    # RFC 3834, and the same for Exchange: no out-of-office answers to notes.
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "OOF, AutoReply"
    message.set_content(rendered.text, cte="quoted-printable")
    message.add_alternative(rendered.html, subtype="html", cte="quoted-printable")
    for file in files:
        maintype, _, subtype = file.media_type.partition("/")
        message.add_attachment(file.data, maintype=maintype, subtype=subtype, filename=file.name)
    # After the content, which clears all headers named Content-….
    message["Content-Language"] = envelope.language
    return message.as_bytes()

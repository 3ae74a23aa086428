"""A rendered note as a mail: headers, threading, MIME.

Everything that could differ between two attempts is fixed when the note is accepted
(``Message-ID``, ``Date``, ``References``), so that a mail that arrives twice is recognised as one.
All of a note's recipients see each other in ``To``: they are colleagues, and who else knows is
worth knowing. Headers are built by :mod:`email.policy`, which folds and encodes them and refuses
line breaks, but not those inside encoded words: none is let in. That costs more than all the rest
of a mail, so what is plain is written as it is, and the mail is put together here.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.headerregistry import Address
from email.policy import SMTP
from email.utils import format_datetime
from functools import lru_cache

from vsek.domain.note import NoteRecipient
from vsek.domain.text import NAME_LIMIT, clean_line
from vsek.notify.render import Rendered

REFERENCES_LIMIT = 20
"""Earlier messages that a mail names: the thread's first and the latest ones."""
# A message id must fit into one folded header line: Python would encode a longer one as if it
# were text, and no mail program would recognise it any more.
_DOMAIN_LIMIT = 40
_PLAIN = re.compile(r"[!-~]+(?: [!-~]+)*\Z")
_LINE = 78
_BASE64_LINE = 76


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


def _header_text(text: str, limit: int = NAME_LIMIT) -> str:
    """``text`` for a header. Python decodes what looks like an encoded word when a header is set
    (``=?utf-8?q?=0D=0ABcc:…?=``), and writes out the line break."""
    return clean_line(clean_line(text, limit).replace("=?", "= ?"), limit)


@lru_cache(maxsize=1024)
def _addresses(header: str, people: tuple[tuple[str, str], ...]) -> bytes:
    """A header with names and addresses, encoded and folded. The same people get many mails."""
    value = [Address(display_name=_header_text(name), addr_spec=email) for name, email in people]
    return SMTP.fold_binary(header, SMTP.header_factory(header, value))


def _text(header: str, text: str) -> bytes:
    """A header with ``text``, encoded and folded where it must be."""
    line = f"{header}: {text}"
    if _PLAIN.match(text) and len(line) <= _LINE:
        return f"{line}\r\n".encode()
    return SMTP.fold_binary(header, SMTP.header_factory(header, text))


def _quoted_printable(text: str) -> bytes:
    return binascii.b2a_qp(b"\r\n".join([*text.encode().splitlines(), b""]), istext=True)


def _part(media_type: str, encoding: str, body: bytes, disposition: str = "") -> bytes:
    head = f"Content-Type: {media_type}\r\nContent-Transfer-Encoding: {encoding}\r\n"
    if disposition:
        head += f"Content-Disposition: {disposition}\r\n"
    return f"{head}\r\n".encode() + body


def _multipart(kind: str, boundary: str, parts: Sequence[bytes]) -> bytes:
    """``parts`` as one part. No line of quoted-printable or Base64 looks like a boundary, since
    ``=`` is followed by a number there, or by nothing."""
    mark = f"--{boundary}".encode()
    joined = b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts)
    head = f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n'
    return head.encode() + joined + mark + b"--\r\n"


def _file(file: File) -> bytes:
    content = binascii.b2a_base64(file.data, newline=False)
    lines = [content[i : i + _BASE64_LINE] for i in range(0, len(content), _BASE64_LINE)]
    body = b"\r\n".join([*lines, b""])
    return _part(file.media_type, "base64", body, f'attachment; filename="{file.name}"')


def compose(envelope: Envelope, rendered: Rendered, files: Sequence[File] = ()) -> bytes:
    """The mail, ready for ``DATA`` (CRLF, 7 bit)."""
    sender = ((envelope.sender_name, envelope.sender),)
    head = [
        _addresses("From", sender),
        _addresses("To", tuple((to.name, to.email) for to in envelope.recipients)),
        _text("Subject", _header_text(rendered.subject, 250)),
        _text("Date", format_datetime(envelope.date)),
        _text("Message-ID", envelope.message_id),
    ]
    if envelope.references:
        head.append(_text("In-Reply-To", envelope.references[-1]))
        head.append(_text("References", " ".join(envelope.references)))
    if envelope.urgent:
        head.append(b"Importance: high\r\nX-Priority: 1\r\n")
    # RFC 3834, and the same for Exchange: no out-of-office answers to notes.
    head.append(b"Auto-Submitted: auto-generated\r\n")
    head.append(b"X-Auto-Response-Suppress: OOF, AutoReply\r\n")
    head.append(b"MIME-Version: 1.0\r\n")
    head.append(_text("Content-Language", envelope.language))
    body = _multipart(
        "alternative",
        "=_text",
        [
            _part(f'text/{kind}; charset="utf-8"', "quoted-printable", _quoted_printable(text))
            for kind, text in (("plain", rendered.text), ("html", rendered.html))
        ],
    )
    if files:
        body = _multipart("mixed", "=_files", [body, *map(_file, files)])
    return b"".join(head) + body

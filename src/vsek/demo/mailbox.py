"""The clients' mailbox: a real SMTP server on loopback that keeps every mail as a file.

It runs in the loop of whoever uses it. Each mail is written as ``NNN.eml`` and then announced in
``mails``, so that a waiter finds the file complete.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from vsek.demo.events import EventLog
from vsek.errors import ServiceError

try:
    from aiosmtpd.smtp import SMTP, Envelope, Session
except ModuleNotFoundError as error:
    raise ServiceError(
        "The demo's mail server needs the package aiosmtpd",
        remedy="Install vsek with it: pip install 'vsek[demo]'",
    ) from error


@dataclass(frozen=True)
class Mail:
    """A mail that was accepted ``at`` (monotonic seconds) for ``recipients``."""

    at: float
    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage
    file: Path

    @property
    def subject(self) -> str:
        """The decoded subject."""
        return str(self.message["subject"] or "")

    @property
    def text(self) -> str:
        """The plain text part."""
        part = self.message.get_body(("plain",))
        return str(part.get_content()) if part is not None else ""

    @property
    def html(self) -> str:
        """The HTML part, or an empty text."""
        part = self.message.get_body(("html",))
        return str(part.get_content()) if part is not None else ""

    def __str__(self) -> str:
        return f"to {', '.join(self.recipients)}: {self.subject}"


class Mailbox:
    """An SMTP server that accepts everything for everybody."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mails: EventLog[Mail] = EventLog("mailbox")
        self.port = 0
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """``HOST:PORT`` as ``vsek up --smtp`` wants it."""
        return f"127.0.0.1:{self.port}"

    async def start(self, port: int = 0) -> None:
        """Listens on 127.0.0.1; ``port`` 0 takes a free one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: SMTP(self, hostname="mailbox.invalid", enable_SMTPUTF8=True, loop=loop),
            "127.0.0.1",
            port,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """A mail came (aiosmtpd's hook)."""
        content = envelope.original_content or b""
        file = self.folder / f"{len(self.mails) + 1:03}.eml"
        file.write_bytes(content)
        message = message_from_bytes(content, policy=policy.default)
        recipients = tuple(envelope.rcpt_tos)
        self.mails.append(
            Mail(time.monotonic(), envelope.mail_from or "", recipients, message, file)
        )
        return f"250 2.0.0 kept as {file.name}"

    async def wait_for(self, recipient: str, *, timeout_s: float = 10.0, after: int = 0) -> Mail:
        """The first mail to ``recipient`` from index ``after`` on."""
        return await self.mails.wait(
            lambda m: recipient in m.recipients,
            f"a mail to {recipient}",
            timeout_s=timeout_s,
            after=after,
        )

    async def stop(self) -> None:
        """Stops listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

"""One SMTP connection: sends mails one after the other and says what became of each.

What a failure means depends on how far the conversation got (RFC 5321):

=====================  =========================================  ==================
stage                  4xx, 5xx, connection lost, no answer       verdict
=====================  =========================================  ==================
connect, TLS, login,   all                                        SERVER
``MAIL FROM``
``RCPT TO``, ``DATA``  5xx                                        REFUSED
``RCPT TO``, ``DATA``  4xx, connection lost, no answer            DEFERRED
=====================  =========================================  ==================

A connection lost after the final dot leaves open whether the server has the mail. It is sent
again, with the same ``Message-ID``: at least once, never not at all.
"""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import suppress
from enum import Enum, auto

import aiosmtplib

from vsek.domain.text import clean_line
from vsek.notify.retry import Attempt, Verdict
from vsek.settings import SmtpSettings

# RFC 5321, 4.5.3.2.6 gives the server ten minutes for its last answer, because a client that
# gives up earlier sends duplicates. Two minutes let a filter think and still move on.
_DATA_TIMEOUT_FACTOR = 6.0
_OVERALL_FACTOR = 5.0
_HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?\Z")
_REPLY_LIMIT = 400


class _Stage(Enum):
    SERVER = auto()
    MESSAGE = auto()


async def own_name() -> str:
    """How we greet mail servers: the host's full name, else a literal that every server takes."""
    name = ""
    with suppress(TimeoutError):
        async with asyncio.timeout(3.0):
            name = await asyncio.to_thread(socket.getfqdn)
    return name if "." in name and _HOST_NAME.match(name) else "[127.0.0.1]"


def _words(text: str) -> str:
    return clean_line(text, _REPLY_LIMIT)


class SmtpSession:
    """A connection to the mail server, made when it is first needed."""

    def __init__(self, settings: SmtpSettings, local_name: str) -> None:
        self._settings = settings
        self._local_name = local_name
        self._smtp: aiosmtplib.SMTP | None = None
        self._stage = _Stage.SERVER

    async def send(self, recipient: str, message: bytes) -> Attempt:
        """Try once to hand ``message`` over for ``recipient``; a fault is an answer, no error."""
        reused = self._smtp is not None and self._smtp.is_connected
        attempt = await self._try(recipient, message)
        if reused and attempt.verdict is Verdict.SERVER and self._stage is _Stage.SERVER:
            # The server may close a connection between two mails: that says nothing on a new one.
            self.drop()
            attempt = await self._try(recipient, message)
        return attempt

    async def _try(self, recipient: str, message: bytes) -> Attempt:
        self._stage = _Stage.SERVER
        try:
            async with asyncio.timeout(
                self._settings.timeout_s * (_DATA_TIMEOUT_FACTOR + _OVERALL_FACTOR)
            ):
                reply = await self._transmit(recipient, message)
        except aiosmtplib.SMTPResponseException as error:
            verdict = self._verdict(error.code)
            if verdict is Verdict.SERVER or error.code == 421 or not await self._reset():
                self.drop()
            return Attempt(verdict, error.code, _words(error.message))
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            self.drop()
            text = getattr(error, "message", "") or str(error) or "The server was too slow"
            return Attempt(self._verdict(None), None, _words(str(text)))
        return Attempt(Verdict.ACCEPTED, reply.code, _words(reply.message))

    def _verdict(self, code: int | None) -> Verdict:
        if self._stage is _Stage.SERVER:
            return Verdict.SERVER
        return Verdict.REFUSED if code is not None and code >= 500 else Verdict.DEFERRED

    async def _transmit(self, recipient: str, message: bytes) -> aiosmtplib.SMTPResponse:
        settings = self._settings
        if self._smtp is None or not self._smtp.is_connected:
            self._smtp = aiosmtplib.SMTP(
                hostname=settings.host,
                port=settings.port,
                use_tls=settings.tls == "implicit",
                start_tls=settings.tls == "starttls",
                username=settings.username or None,
                password=settings.password.get_secret_value() if settings.username else None,
                local_hostname=self._local_name,
                timeout=settings.timeout_s,
            )
            await self._smtp.connect()
        smtp = self._smtp
        await smtp.mail(settings.sender)
        self._stage = _Stage.MESSAGE
        await smtp.rcpt(recipient)
        return await smtp.data(message, timeout=settings.timeout_s * _DATA_TIMEOUT_FACTOR)

    async def _reset(self) -> bool:
        """Clear the envelope after a refusal; whether the connection can be used further."""
        if self._smtp is None or not self._smtp.is_connected:
            return False
        try:
            await self._smtp.rset()
        except (aiosmtplib.SMTPException, OSError, TimeoutError):
            return False
        return True

    def drop(self) -> None:
        """Let go of the connection without a word."""
        if self._smtp is not None:
            self._smtp.close()
            self._smtp = None

    async def close(self) -> None:
        """Say good-bye, if there is still somebody to say it to."""
        if self._smtp is not None and self._smtp.is_connected:
            with suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
                await self._smtp.quit()
        self.drop()

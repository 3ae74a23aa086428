"""A real SMTP server (aiosmtpd) in the test's own event loop, with faults on order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

HANG = "hang"
DROP = "drop"


def _abort(peer: SMTP) -> None:
    if isinstance(peer.transport, asyncio.Transport):
        peer.transport.abort()


def text_of(mail: EmailMessage) -> str:
    """The text part, with line ends as Python writes them."""
    part = mail.get_body(("plain",))
    assert isinstance(part, EmailMessage)
    content: str = part.get_content()
    return content.replace("\r\n", "\n")


class MailServer:
    """``on_mail``, ``on_rcpt`` and ``on_data`` decide the reply to each command: ``""`` takes it, a
    reply refuses it, ``HANG`` says nothing, ``DROP`` cuts the connection (after DATA: when the
    message has been received). ``got`` holds recipient and message of everything that was received,
    ``taken`` of what was also acknowledged."""

    def __init__(self) -> None:
        self.port = 0
        self.got: list[tuple[str, EmailMessage]] = []
        self.taken: list[tuple[str, EmailMessage]] = []
        self.connections = 0
        self.on_mail: Callable[[], str] = lambda: ""
        self.on_rcpt: Callable[[str], str] = lambda _: ""
        self.on_data: Callable[[str], str] = lambda _: ""
        self.before_taking: Callable[[], Awaitable[object]] | None = None
        """Awaited when a message has been received, before the reply."""
        self.hanging = asyncio.Event()
        self._released = asyncio.Event()
        self._news = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._peers: set[SMTP] = set()

    async def start(self) -> None:
        """Listen (again, on the same port)."""

        def connect() -> SMTP:
            self.connections += 1
            peer = SMTP(self, hostname="mail.example", ident="test")
            self._peers.add(peer)
            return peer

        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(connect, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Cut all connections and refuse new ones."""
        self._released.set()
        assert self._server is not None
        self._server.close()
        self.cut()
        tasks = [peer._handler_coroutine for peer in self._peers if peer._handler_coroutine]
        self._peers.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

    def cut(self) -> None:
        """Cut all connections."""
        for peer in self._peers:
            _abort(peer)

    async def wait_taken(self, count: int) -> None:
        """Until ``count`` mails have been acknowledged."""
        async with asyncio.timeout(20), self._news:
            await self._news.wait_for(lambda: len(self.taken) >= count)

    async def _reply(self, server: SMTP, reply: str) -> str:
        if reply == HANG:
            self.hanging.set()
            await self._released.wait()
            return "421 too late"
        if reply == DROP:
            _abort(server)
            return "421 gone"
        return reply or "250 OK"

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, _session: Session, envelope: Envelope, sender: str, options: Any
    ) -> str:
        envelope.mail_from = sender
        envelope.mail_options.extend(options)
        return await self._reply(server, self.on_mail())

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, _session: Session, envelope: Envelope, to: str, _options: Any
    ) -> str:
        reply = self.on_rcpt(to)
        if not reply:
            envelope.rcpt_tos.append(to)
        return await self._reply(server, reply)

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        [to] = envelope.rcpt_tos
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        self.got.append((to, mail))
        if self.before_taking is not None:
            await self.before_taking()
        reply = self.on_data(to)
        if not reply:
            self.taken.append((to, mail))
            async with self._news:
                self._news.notify_all()
            return "250 queued as 4711"
        return await self._reply(server, reply)

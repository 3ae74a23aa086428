"""A mail server, written out line by line so that it can misbehave at every single step."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from email import message_from_bytes, policy

STEPS = ("banner", "ehlo", "mail", "rcpt", "data", "body", "dot", "after", "rset", "quit")
"""Where it can misbehave: ``body`` in the middle of the message, ``dot`` when it has the whole
message and has not said so, ``after`` right after it has said so."""
CUT, HANG = "cut", "hang"

Mail = tuple[str, str]
"""Recipient and Message-ID."""


class Unruly:
    """``plan`` maps a step to what happens there, each once: ``CUT``, ``HANG`` or a reply.

    ``got`` counts the messages that arrived whole, ``taken`` those that were also acknowledged.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self.plan: dict[str, list[str]] = {}
        self.refused: dict[str, str] = {}
        """Recipient → reply, every time."""
        self.got: Counter[Mail] = Counter()
        self.taken: Counter[Mail] = Counter()
        self.connections = 0
        self.slow_s = 0.0
        """Before every reply."""
        self.news = asyncio.Condition()
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen, later on again on the same port."""
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Cut everything; new connections are refused."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for talk in list(self._talks):
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def wait_taken(self, count: int, *, timeout_s: float = 60.0) -> None:
        """Until so many different mails have been acknowledged."""
        async with asyncio.timeout(timeout_s), self.news:
            await self.news.wait_for(lambda: len(self.taken) >= count)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        self.connections += 1
        try:
            await _Talk(self, reader, writer).run()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, _CutError):
            writer.transport.abort()
        finally:
            writer.close()
            self._talks.discard(task)

    def whim(self, step: str) -> str:
        """What happens at this step, this time."""
        waiting = self.plan.get(step)
        return waiting.pop(0) if waiting else ""


class _CutError(Exception):
    pass


class _Talk:
    """One conversation."""

    def __init__(
        self, server: Unruly, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer
        self.recipient = ""

    async def say(self, step: str, usual: str) -> str:
        """Answers as planned or as usual; returns what was said."""
        whim = self.server.whim(step)
        if self.server.slow_s:
            await asyncio.sleep(self.server.slow_s)
        if whim == CUT:
            raise _CutError
        if whim == HANG:
            await self.reader.read()  # until the client gives up
            raise _CutError
        said = whim or usual
        self.writer.write(f"{said}\r\n".encode())
        await self.writer.drain()
        if said.startswith("421"):
            raise _CutError
        return said

    async def run(self) -> None:
        await self.say("banner", "220 unruly.example ESMTP")
        while line := (await self.reader.readline()).decode(errors="replace").strip():
            word = line.partition(" ")[0].upper()
            match word:
                case "EHLO" | "HELO":
                    await self.say("ehlo", "250 unruly.example")
                case "MAIL":
                    await self.say("mail", "250 sender ok")
                case "RCPT":
                    self.recipient = line.partition("<")[2].partition(">")[0]
                    usual = self.server.refused.get(self.recipient, "250 recipient ok")
                    await self.say("rcpt", usual)
                case "DATA":
                    if (await self.say("data", "354 go on")).startswith("354"):
                        await self.receive()
                case "RSET":
                    await self.say("rset", "250 forgotten")
                case "QUIT":
                    await self.say("quit", "221 bye")
                    return
                case _:
                    await self.say("other", "502 what?")

    async def receive(self) -> None:
        middle = self.server.whim("body")
        if middle:
            await self.reader.readexactly(40)
            if middle == HANG:
                await asyncio.Event().wait()
            raise _CutError
        content = await self.reader.readuntil(b"\r\n.\r\n")
        message = message_from_bytes(content, policy=policy.default)
        mail = (self.recipient, str(message["Message-ID"]))
        self.server.got[mail] += 1
        if not (await self.say("dot", "250 queued")).startswith("250"):
            return
        async with self.server.news:
            self.server.taken[mail] += 1
            self.server.news.notify_all()
        if self.server.whim("after") == CUT:
            raise _CutError

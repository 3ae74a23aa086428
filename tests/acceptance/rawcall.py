"""Calls whose bytes are chosen freely: for what no decent telephone would send."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import cast

from vsek.demo.sipmessage import Message


@dataclass(frozen=True)
class Raw:
    """An INVITE. ``uri`` is the user part of the request URI; ``display`` stands in quotes."""

    uri: bytes
    display: bytes = b""
    user: bytes = b"+4940555000"
    to: bytes = b""
    headers: tuple[bytes, ...] = ()
    body: bytes = (
        b"v=0\r\no=x 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        b"m=audio 9 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
    )


class RawCaller(asyncio.DatagramProtocol):
    """One socket, one call after the other."""

    def __init__(self) -> None:
        self._transport: asyncio.DatagramTransport | None = None
        self._answers: asyncio.Queue[Message] = asyncio.Queue()
        self._port = 0

    @classmethod
    async def open(cls, server: tuple[str, int]) -> RawCaller:
        """A socket towards ``server``."""
        loop = asyncio.get_running_loop()
        _, caller = await loop.create_datagram_endpoint(cls, remote_addr=server)
        return caller

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self._port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        message = Message.parse(data)
        if message is None or message.method:
            return
        self._answers.put_nowait(message)

    def send(self, data: bytes) -> None:
        """A datagram as it is."""
        assert self._transport is not None
        self._transport.sendto(data)

    def close(self) -> None:
        """Gives the socket back."""
        if self._transport is not None:
            self._transport.close()

    async def call(self, raw: Raw) -> list[int]:
        """Places the call and ends it as soon as it rings or is answered; its status codes.

        None at all: Asterisk did not take it for SIP. That shows by the answer to an OPTIONS which
        follows: messages with one Call-ID and tag are taken in their order.
        """
        call_id, branch = secrets.token_hex(8).encode(), b"z9hG4bK" + secrets.token_hex(8).encode()
        target = b"sip:" + raw.uri + b"@127.0.0.1"
        sender = b'From: "' + raw.display + b'" <sip:' + raw.user + b"@caller.invalid>;tag=raw"
        to = b"To: " + (raw.to or b"<" + target + b">")

        def request(method: bytes, number: int, to: bytes, branch: bytes, *more: bytes) -> bytes:
            via = b"Via: SIP/2.0/UDP 127.0.0.1:%d;rport;branch=%s" % (self._port, branch)
            lines = [method + b" " + target + b" SIP/2.0", via, b"Max-Forwards: 70", sender, to]
            lines += [b"Call-ID: " + call_id, b"CSeq: %d %s" % (number, method)]
            lines += [b"Contact: <sip:caller@127.0.0.1:%d>" % self._port, *more]
            return b"\r\n".join(lines)

        more = (*raw.headers, b"Content-Type: application/sdp")
        length = b"\r\nContent-Length: %d\r\n\r\n"
        end = length % 0
        invite = request(b"INVITE", 1, to, branch, *more)
        self.send(invite + length % len(raw.body) + raw.body)
        plain = b"From: <sip:+4940555000@caller.invalid>;tag=raw"
        options = request(b"OPTIONS", 2, b"To: <sip:127.0.0.1>", branch + b"o")
        self.send(options.replace(sender, plain).replace(target, b"sip:127.0.0.1") + end)
        statuses: list[int] = []
        cancelled = False
        while not statuses or statuses[-1] < 200:
            answer = await self._answer(call_id)
            if answer.sequence[1] == "OPTIONS" and not statuses:
                return []
            if answer.sequence[1] != "INVITE":
                continue
            statuses.append(answer.status)
            tagged = b"To: " + answer.first("to").encode("utf-8", "surrogateescape")
            if answer.status >= 300:
                self.send(request(b"ACK", 1, tagged, branch) + end)
            elif answer.status >= 200:
                fresh = secrets.token_hex(8).encode()
                self.send(request(b"ACK", 1, tagged, b"z9hG4bK1" + fresh) + end)
                self.send(request(b"BYE", 2, tagged, b"z9hG4bK2" + fresh) + end)
            elif answer.status > 100 and not cancelled:
                cancelled = True
                self.send(request(b"CANCEL", 1, to, branch) + end)
        return statuses

    async def _answer(self, call_id: bytes) -> Message:
        async with asyncio.timeout(10.0):
            while True:
                answer = await self._answers.get()
                if answer.first("call-id").encode() == call_id:
                    return answer

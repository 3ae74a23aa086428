"""A caller on the public network, one call each: real SIP over UDP and real audio.

Theory of operation. SIPp places the calls of load and demo; this caller is for calls that react
to what happens (hang up when the music begins, speak when the agent is there) and whose audio is
examined. It keeps the three client transactions that a call needs (INVITE, CANCEL, BYE: RFC
3261, 17.1): a request is repeated with doubling pauses, beginning with T1, until it is answered;
an INVITE only until the first provisional answer. A final answer that is repeated is
acknowledged again. Of the requests that the PBX may send, BYE ends the call, INVITE and UPDATE
may move the audio, all others are answered with 200.

Everything that happens is an event with a monotonic time in ``events``: the status codes as
they came, ``answered``, ``ended`` with who ended it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, cast

from vsek.demo.events import EventLog
from vsek.demo.rtp import RtpSession
from vsek.demo.sipmessage import Dial, Message, audio_address, sdp, tag_of, uri_of
from vsek.errors import ServiceError

_T1_S = 0.5
_T2_S = 4.0
_TIMEOUT_S = 32.0

Kind = Literal["status", "answered", "ended", "media"]


@dataclass(frozen=True)
class CallEvent:
    """``at`` is monotonic seconds; ``status`` the SIP status of kind ``status``."""

    at: float
    kind: Kind
    status: int = 0
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.status or ''} {self.detail}".strip()


class Caller(asyncio.DatagramProtocol):
    """A call from dialling to its end. Make it with ``Caller.dial``; use it in ``async with``."""

    def __init__(self, server: tuple[str, int], dial: Dial, media: RtpSession) -> None:
        self.server = server
        self.dialled = dial
        self.media = media
        self.events: EventLog[CallEvent] = EventLog(f"caller {dial.caller}")
        self.call_id = f"{secrets.token_hex(8)}@caller.invalid"
        self.ended_by: str = ""
        self._tag = secrets.token_hex(4)
        self._branch = ""
        self._sequence = 1
        self._to = f"<sip:{dial.to or dial.number}@{server[0]}:{server[1]}>"
        self._target = f"sip:{dial.number}@{server[0]}:{server[1]}"
        self._route: list[str] = []
        self._port = 0
        self._state: Literal["calling", "proceeding", "talking", "ended"] = "calling"
        self._transport: asyncio.DatagramTransport | None = None
        self._repeats: dict[str, asyncio.Task[None]] = {}
        self._invite: Message | None = None
        self._cancel_wanted = False
        self._sdp_version = 1

    @classmethod
    async def dial(cls, server: tuple[str, int], dial: Dial) -> Caller:
        """Sends the INVITE to ``server`` (host, port) and returns at once."""
        media = await RtpSession.open()
        caller = cls(server, dial, media)
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: caller, local_addr=("127.0.0.1", 0))
        caller._start()
        return caller

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # -- what one can do ---------------------------------------------------------------------

    async def wait_status(self, status: int, *, timeout_s: float = 10.0) -> CallEvent:
        """Waits for a SIP status, or raises ``ServiceError``."""
        return await self.events.wait(
            lambda e: e.kind == "status" and e.status == status,
            f"SIP {status}",
            timeout_s=timeout_s,
        )

    async def wait_answered(self, *, timeout_s: float = 10.0) -> CallEvent:
        """Waits until the call is answered (200)."""
        return await self.events.wait(
            lambda e: e.kind == "answered", "an answer", timeout_s=timeout_s
        )

    async def wait_ended(self, *, timeout_s: float = 10.0) -> CallEvent:
        """Waits until the call is over; ``ended_by`` is then ``us``, ``them`` or ``refused``."""
        return await self.events.wait(lambda e: e.kind == "ended", "the end", timeout_s=timeout_s)

    @property
    def statuses(self) -> list[int]:
        """The SIP status codes of the INVITE in their order."""
        return [e.status for e in self.events if e.kind == "status"]

    @property
    def talking(self) -> bool:
        """Answered and not over."""
        return self._state == "talking"

    @property
    def ended(self) -> bool:
        """Whether the call is over."""
        return self._state == "ended"

    async def hang_up(self, *, timeout_s: float = 10.0) -> CallEvent:
        """Ends the call: CANCEL before the answer, BYE after it; waits for the end."""
        if self._state == "talking":
            self._sequence += 1
            self._send_request(self._request("BYE", self._sequence))
        elif self._state == "proceeding":
            self._send_cancel()
        elif self._state == "calling":
            self._cancel_wanted = True  # allowed only after a provisional answer (9.1)
        return await self.wait_ended(timeout_s=timeout_s)

    async def close(self) -> None:
        """Ends the call if it goes on and gives the ports back."""
        if self._state != "ended":
            try:
                await self.hang_up(timeout_s=2.0)
            except ServiceError:
                self._end("us", "no answer to the goodbye")
        for task in self._repeats.values():
            task.cancel()
        await asyncio.gather(*self._repeats.values(), return_exceptions=True)
        await self.media.close()
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def save(self, path: Path) -> None:
        """Writes what the caller heard, from dialling on, as a WAV file."""
        self.media.save(path)

    # -- SIP ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there."""
        self._transport = cast(asyncio.DatagramTransport, transport)
        self._port = transport.get_extra_info("sockname")[1]

    def _start(self) -> None:
        invite = self._request("INVITE", 1)
        invite.headers += [
            ("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO"),
            ("User-Agent", "vsek caller"),
            *self.dialled.extra_headers(),
            ("Content-Type", "application/sdp"),
        ]
        invite.body = sdp(self.media.port)
        self._branch = invite.first("via").partition("branch=")[2]
        self._invite = invite
        self._send_request(invite)

    def _request(self, method: str, sequence: int, *, branch: str = "") -> Message:
        branch = branch or f"z9hG4bK{secrets.token_hex(8)}"
        headers = [
            ("Via", f"SIP/2.0/UDP 127.0.0.1:{self._port};rport;branch={branch}"),
            ("Max-Forwards", "70"),
            ("From", f"{self.dialled.from_value()};tag={self._tag}"),
            ("To", self._to),
            ("Call-ID", self.call_id),
            ("CSeq", f"{sequence} {method}"),
            ("Contact", f"<sip:caller@127.0.0.1:{self._port}>"),
        ]
        headers += [("Route", route) for route in self._route]
        return Message(method=method, uri=self._target, headers=headers)

    def _send(self, message: Message) -> None:
        if self._transport is not None:
            self._transport.sendto(message.encode(), self.server)

    def _send_request(self, message: Message) -> None:
        """Sends and repeats until ``_answered`` stops it."""
        method = message.method
        self._stop_repeating(method)
        self._send(message)
        self._repeats[method] = asyncio.create_task(
            self._repeat(message), name=f"sip-{method}-{self.call_id}"
        )

    async def _repeat(self, message: Message) -> None:
        pause = _T1_S
        deadline = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < deadline:
            await asyncio.sleep(pause)
            self._send(message)
            pause = pause * 2 if message.method == "INVITE" else min(2 * pause, _T2_S)
        self._end("us", f"{message.method} was not answered")

    def _stop_repeating(self, method: str) -> None:
        task = self._repeats.pop(method, None)
        if task is not None:
            task.cancel()

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        """Handles a message of this call."""
        message = Message.parse(data)
        if message is None or message.first("call-id") != self.call_id:
            return
        if message.method:
            self._on_request(message)
        elif message.sequence[1] == "INVITE":
            self._on_invite_answer(message)
        elif message.status >= 200:
            self._stop_repeating(message.sequence[1])
            if message.sequence[1] == "BYE":
                self._end("us", "BYE")

    def _on_invite_answer(self, answer: Message) -> None:
        self._stop_repeating("INVITE")
        if self._state in ("calling", "proceeding"):
            self._note("status", answer.status, answer.reason)
        if answer.status < 200:
            if self._state == "calling":
                self._state = "proceeding"
                if self._cancel_wanted:
                    self._send_cancel()
            if answer.body:
                self._connect_media(answer.body)
            return
        self._to = answer.first("to")
        if answer.status >= 300:
            # The ACK of a refusal belongs to the INVITE's transaction (17.1.1.3).
            self._send(self._request("ACK", 1, branch=self._branch))
            self._end("us" if answer.status == 487 else "refused", f"{answer.status}")
            return
        self._target = uri_of(answer.first("contact")) or self._target
        self._route = list(reversed(answer.all("record-route")))
        self._send(self._request("ACK", 1))
        if self._state in ("talking", "ended"):
            return  # a repetition
        self._state = "talking"
        self._connect_media(answer.body)
        self._note("answered")
        if self._cancel_wanted or "CANCEL" in self._repeats:
            # The answer crossed our CANCEL on the way: the call is up and wants a BYE.
            self._stop_repeating("CANCEL")
            self._sequence += 1
            self._send_request(self._request("BYE", self._sequence))

    def _send_cancel(self) -> None:
        self._cancel_wanted = False
        self._send_request(self._request("CANCEL", 1, branch=self._branch))

    def _on_request(self, request: Message) -> None:
        if request.method == "ACK":
            return
        response = Message(status=200, reason="OK")
        for name in ("via", "from", "call-id", "cseq", "record-route"):
            response.headers += [(name.title(), value) for value in request.all(name)]
        to = request.first("to")
        response.headers.append(("To", to if tag_of(to) else f"{to};tag={self._tag}"))
        response.headers.append(("Contact", f"<sip:caller@127.0.0.1:{self._port}>"))
        if request.method in ("INVITE", "UPDATE") and request.body:
            self._connect_media(request.body)
            self._sdp_version += 1
            response.headers.append(("Content-Type", "application/sdp"))
            response.body = sdp(self.media.port, version=self._sdp_version)
        self._send(response)
        if request.method == "BYE":
            self._end("them", request.first("reason") or "BYE")

    def _connect_media(self, body: str) -> None:
        address = audio_address(body)
        if address is not None:
            self.media.connect(*address)
            self._note("media", detail=f"{address[0]}:{address[1]}")

    def _note(self, kind: Kind, status: int = 0, detail: str = "") -> None:
        self.events.append(CallEvent(time.monotonic(), kind, status, detail))

    def _end(self, who: str, detail: str) -> None:
        if self._state == "ended":
            return
        self._state = "ended"
        self.ended_by = who
        for method in ("INVITE", "BYE"):
            task = self._repeats.get(method)
            if task is not asyncio.current_task():
                self._stop_repeating(method)
        self._note("ended", detail=f"{who}: {detail}" if detail else who)
        self.events.close("the call is over")

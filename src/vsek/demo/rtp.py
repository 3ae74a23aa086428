"""One end of a telephone's audio: sends samples in time, keeps what arrives (RFC 3550, 3551),
presses keys (RFC 4733).

What arrives is kept packet by packet with its time of arrival. The recording is put together
only when somebody asks: packets of one source lie where their RTP timestamps say, a new source
(or a jump of the timestamps) starts where it arrived, and what is missing is silence. So the
recording has the same time scale as the call, beginning at ``opened_at``.
"""

from __future__ import annotations

import asyncio
import random
import struct
import time
from array import array
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from vsek.demo import g711
from vsek.demo.events import EventLog
from vsek.errors import ServiceError

PTIME_S = 0.02
_FRAME = int(g711.RATE * PTIME_S)
_HEADER = struct.Struct("!BBHII")
_EVENT = struct.Struct("!BBH")
_EVENT_TYPE = 101
_KEYS = "0123456789*#ABCD"
_KEY_FRAMES = 6
"""Packets that a key is held for; the last three say that it was let go."""
_LOUD = 200
"""Mean absolute sample above which a packet counts as sound (16-bit scale)."""


@dataclass(frozen=True)
class Packet:
    """An RTP packet that arrived ``at`` (monotonic seconds)."""

    at: float
    timestamp: int
    source: int
    payload_type: int
    payload: bytes

    @property
    def loud(self) -> bool:
        """Whether there is something to hear in it."""
        samples = g711.decode(self.payload, self.payload_type)
        return bool(samples) and sum(map(abs, samples)) / len(samples) > _LOUD

    def __str__(self) -> str:
        return f"RTP {self.source:08x} {self.timestamp}"


class RtpSession(asyncio.DatagramProtocol):
    """A UDP port of 127.0.0.1 that speaks RTP with G.711."""

    def __init__(self) -> None:
        self.port = 0
        self.answers_sender = False
        """Send to where the first packet came from, if nobody says where to (``connect``)."""
        self.opened_at = 0.0
        self.packets: EventLog[Packet] = EventLog("RTP")
        self._transport: asyncio.DatagramTransport | None = None
        self._remote: tuple[str, int] | None = None
        self._task: asyncio.Task[None] | None = None
        self._playing = b""
        self._place = 0
        self._played: asyncio.Future[None] | None = None
        self._keys: deque[int] = deque()

    @classmethod
    async def open(cls) -> RtpSession:
        """A session on a free even port."""
        loop = asyncio.get_running_loop()
        for _ in range(200):
            port = random.randrange(20_000, 32_000) & ~1  # noqa: S311 (no secret)
            try:
                _, session = await loop.create_datagram_endpoint(
                    cls, local_addr=("127.0.0.1", port)
                )
            except OSError:
                continue
            session.port = port
            session.opened_at = time.monotonic()
            return session
        raise ServiceError("No free RTP port between 20000 and 32000 on 127.0.0.1")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        """Keeps an RTP packet with G.711; drops everything else."""
        if len(data) < _HEADER.size or data[0] >> 6 != 2:
            return
        first, second, _sequence, timestamp, source = _HEADER.unpack_from(data)
        if second & 0x7F not in (0, 8):
            return
        if self.answers_sender and self._remote is None:
            self.connect(str(addr[0]), addr[1])
        start = _HEADER.size + 4 * (first & 0x0F)
        if first & 0x10 and len(data) >= start + 4:
            start += 4 + 4 * int(struct.unpack_from("!H", data, start + 2)[0])
        self.packets.append(
            Packet(time.monotonic(), timestamp, source, second & 0x7F, data[start:])
        )

    def connect(self, host: str, port: int) -> None:
        """Where to send; starts sending (silence, or what ``play`` was given)."""
        self._remote = (host, port)
        if self._task is None:
            self._task = asyncio.create_task(self._send(), name=f"rtp-{self.port}")

    def play(self, samples: array[int]) -> asyncio.Future[None]:
        """Sends ``samples`` from now on, then silence; the result comes at their end."""
        if self._played is not None and not self._played.done():
            self._played.cancel()
        self._playing = g711.encode_alaw(samples)
        self._place = 0
        self._played = asyncio.get_running_loop().create_future()
        return self._played

    def press(self, keys: str) -> None:
        """Presses keys of the telephone, one after the other."""
        self._keys.extend(_KEYS.index(key) for key in keys)

    def _send_key(self, key: int, sequence: int, timestamp: int, source: int, held: int) -> None:
        assert self._transport is not None
        ended = held >= _KEY_FRAMES - 3
        duration = _FRAME * min(held + 1, _KEY_FRAMES - 3)
        kind = _EVENT_TYPE | (0x80 if held == 0 else 0)
        # All packets of an event have the timestamp of its beginning.
        header = _HEADER.pack(0x80, kind, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, source)
        event = _EVENT.pack(key, (0x80 if ended else 0) | 10, duration)
        self._transport.sendto(header + event, self._remote)

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        sequence = random.randrange(1 << 15)  # noqa: S311 (no secret)
        timestamp = random.randrange(1 << 31)  # noqa: S311 (no secret)
        source = random.randrange(1 << 32)  # noqa: S311 (no secret)
        due = loop.time()
        held = 0
        while self._transport is not None and self._remote is not None:
            if self._keys:
                self._send_key(self._keys[0], sequence, timestamp - held * _FRAME, source, held)
                held += 1
                if held == _KEY_FRAMES:
                    self._keys.popleft()
                    held = 0
                sequence += 1
                timestamp += _FRAME
                due += PTIME_S
                await asyncio.sleep(max(0.0, due - loop.time()))
                continue
            frame = self._playing[self._place : self._place + _FRAME]
            self._place += len(frame)
            if not frame and self._played is not None and not self._played.done():
                self._played.set_result(None)
            frame = frame.ljust(_FRAME, bytes([g711.ALAW_SILENCE]))
            self._transport.sendto(
                _HEADER.pack(0x80, 8, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, source) + frame,
                self._remote,
            )
            sequence += 1
            timestamp += _FRAME
            due += PTIME_S
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def wait_sound(self, *, timeout_s: float = 10.0, after: int = 0) -> Packet:
        """The first packet, from index ``after`` on, in which there is something to hear."""
        return await self.packets.wait(lambda p: p.loud, "sound", timeout_s=timeout_s, after=after)

    def recording(self) -> array[int]:
        """What was heard since ``opened_at``, gaps as silence."""
        out = array("h")
        anchor: tuple[int, int, int] | None = None  # source, timestamp, place in ``out``
        for packet in self.packets:
            samples = g711.decode(packet.payload, packet.payload_type)
            arrived = int((packet.at - self.opened_at) * g711.RATE)
            place = arrived
            if anchor is not None and anchor[0] == packet.source:
                by_clock = anchor[2] + ((packet.timestamp - anchor[1]) & 0xFFFFFFFF)
                if abs(by_clock - arrived) < g711.RATE:
                    place = by_clock
            place = max(place, 0)
            anchor = (packet.source, packet.timestamp, place)
            if place > len(out):
                out.frombytes(bytes(2 * (place - len(out))))
            out[place : place + len(samples)] = samples
        return out

    def save(self, path: Path) -> None:
        """Writes the recording as a WAV file."""
        g711.write_wav(path, self.recording())

    async def close(self) -> None:
        """Stops sending and gives the port back."""
        self.packets.close("the session was closed")
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._transport is not None:
            self._transport.close()
            self._transport = None

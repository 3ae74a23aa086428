"""Packets on loopback, as the wire saw them: the only clock that none of the measured parts keeps.

Theory of operation. A packet socket in the kernel's ring mode (``TPACKET_V3``) copies the UDP
datagrams of given ports, the sound cut short, into memory shared with us; a thread empties whole
blocks of it into a pcap file (Wireshark reads it). The kernel stamps each packet when it passes, so
it does not matter how late the thread comes. Nothing is evaluated before ``stop``: what is measured
shares the processors with us.

This needs the right to open packet sockets (root, or ``CAP_NET_RAW``).
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import select
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vsek.errors import ServiceError

_ETH_P_IP: Final = 0x0800
_SOL_PACKET: Final = 263
_PACKET_RX_RING: Final = 5
_PACKET_STATISTICS: Final = 6
_PACKET_VERSION: Final = 10
_TPACKET_V3: Final = 2
_SO_ATTACH_FILTER: Final = 26
_TP_STATUS_USER: Final = 1

_BLOCK_BYTES: Final = 1 << 20
_BLOCKS: Final = 32
_FRAME_BYTES: Final = 2048
_FLUSH_MS: Final = 200
_SNAP_SIP: Final = 4096
_SNAP_SOUND: Final = 14 + 20 + 8 + 12 + 24
"""Ethernet, IP, UDP and RTP headers, and the first 24 samples."""

_PCAP_HEAD: Final = struct.Struct("<IHHiIII")
_PCAP_PACKET: Final = struct.Struct("<IIII")
_PCAP_NANOSECONDS: Final = 0xA1B23C4D
_PCAP_MAGIC: Final = struct.pack("<I", _PCAP_NANOSECONDS)
_LARGEST_FRAME: Final = 1 << 17
_IP_AT: Final = 14
_ETHERNET: Final = 1

_BLOCK_HEAD: Final = struct.Struct("=IIIII")
_PACKET_HEAD: Final = struct.Struct("=IIIIIIHH")
_UDP_HEAD: Final = struct.Struct("!HHHH")


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jt", ctypes.c_uint8),
        ("jf", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("filter", ctypes.c_void_p))


# Classic BPF (linux/filter.h).
_LOAD_BYTE: Final = 0x30
_LOAD_IP_HEADER_LENGTH: Final = 0xB1
_LOAD_HALF_BEHIND_IP: Final = 0x48
_JUMP_EQUAL: Final = 0x15
_JUMP_GREATER_EQUAL: Final = 0x35
_RETURN: Final = 0x06
_UDP: Final = 17


def packet_filter(sip_port: int, sound_to: range) -> list[tuple[int, int, int, int]]:
    """BPF: all of SIP from and to ``sip_port``, and the beginning of what goes to the ports
    ``sound_to``; nothing else."""
    low, high = sound_to.start, sound_to.stop
    return [
        (_LOAD_BYTE, 0, 0, 23),
        (_JUMP_EQUAL, 0, 9, _UDP),  # else: nothing
        (_LOAD_IP_HEADER_LENGTH, 0, 0, 14),
        (_LOAD_HALF_BEHIND_IP, 0, 0, 14),  # source port
        (_JUMP_EQUAL, 4, 0, sip_port),
        (_LOAD_HALF_BEHIND_IP, 0, 0, 16),  # destination port
        (_JUMP_EQUAL, 2, 0, sip_port),
        (_JUMP_GREATER_EQUAL, 0, 3, low),
        (_JUMP_GREATER_EQUAL, 2, 1, high),
        (_RETURN, 0, 0, _SNAP_SIP),
        (_RETURN, 0, 0, _SNAP_SOUND),
        (_RETURN, 0, 0, 0),
    ]


@dataclass(frozen=True, slots=True)
class Datagram:
    """A UDP datagram that passed ``at`` (Unix seconds); ``data`` may be cut short."""

    at: float
    source: int
    target: int
    data: bytes


class Capture:
    """Writes to ``file`` from ``start`` to ``stop``.

    ``dropped`` (after ``stop``) counts packets that the kernel had no room for.
    """

    def __init__(self, file: Path, sip_port: int, sound_to: range) -> None:
        self.file = file
        self.dropped = 0
        self._filter = packet_filter(sip_port, sound_to)
        self._socket: socket.socket | None = None
        self._ring: mmap.mmap | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._error: OSError | None = None

    @staticmethod
    def allowed() -> bool:
        """Whether this process may capture."""
        try:
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
        except OSError:
            return False
        return True

    def start(self) -> None:
        """Raises ``ServiceError`` when this process may not."""
        try:
            sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        except OSError as error:
            raise ServiceError(
                f"Packets cannot be captured: {error.strerror}",
                remedy="Run it as root, or give the interpreter CAP_NET_RAW",
            ) from error
        self._socket = sniffer
        instructions = (_Instruction * len(self._filter))(
            *(_Instruction(*each) for each in self._filter)
        )
        program = _Program(len(self._filter), ctypes.addressof(instructions))
        sniffer.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(program))
        sniffer.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        frames = _BLOCK_BYTES * _BLOCKS // _FRAME_BYTES
        ring = (_BLOCK_BYTES, _BLOCKS, _FRAME_BYTES, frames, _FLUSH_MS, 0, 0)
        sniffer.setsockopt(_SOL_PACKET, _PACKET_RX_RING, struct.pack("=7I", *ring))
        self._ring = mmap.mmap(sniffer.fileno(), _BLOCK_BYTES * _BLOCKS)
        # Bound to a protocol it gets each packet once, as it comes in; with ETH_P_ALL the loopback
        # would show each twice.
        sniffer.bind(("lo", _ETH_P_IP))
        self._thread = threading.Thread(target=self._empty, name="capture", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends it; the file is complete then. Raises ``ServiceError`` if the disk refused."""
        if self._thread is None or self._socket is None or self._ring is None:
            return
        self._stopping.set()
        self._thread.join()
        self._thread = None
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12)
        self.dropped = struct.unpack("=III", statistics)[1]
        self._ring.close()
        self._socket.close()
        if self._error is not None:
            raise ServiceError(f"{self.file} cannot be written: {self._error}") from self._error

    def _empty(self) -> None:
        assert self._socket is not None
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        block, last_round = 0, False
        try:
            with self.file.open("wb") as file:
                file.write(_PCAP_HEAD.pack(_PCAP_NANOSECONDS, 2, 4, 0, 0, _SNAP_SIP, _ETHERNET))
                while True:
                    if frames := self._take_block(block):
                        file.write(frames)
                        block = (block + 1) % _BLOCKS
                    elif last_round:
                        return
                    else:
                        # A block that is not full is handed over after _FLUSH_MS.
                        last_round = self._stopping.is_set()
                        poll.poll(_FLUSH_MS * 2)
        except OSError as error:
            self._error = error

    def _take_block(self, number: int) -> bytes:
        """The packets of a block that the kernel has filled, as pcap; empty if it has not."""
        ring = self._ring
        assert ring is not None
        base = number * _BLOCK_BYTES
        _, _, status, count, first = _BLOCK_HEAD.unpack_from(ring, base)
        if not status & _TP_STATUS_USER:
            return b""
        parts = []
        at = base + first
        for _ in range(count):
            following, seconds, nanoseconds, kept, length, _, mac, _ = _PACKET_HEAD.unpack_from(
                ring, at
            )
            parts.append(_PCAP_PACKET.pack(seconds, nanoseconds, kept, length))
            parts.append(ring[at + mac : at + mac + kept])
            at += following
        struct.pack_into("=I", ring, base + 8, 0)  # the block is the kernel's again
        return b"".join(parts)


def read(file: Path) -> Iterator[Datagram]:
    """The datagrams in a file that ``Capture`` wrote, in the order in which they passed.

    A file that ends in the middle of a packet ends with the one before. Raises ``ServiceError`` for
    anything that ``Capture`` does not write.
    """
    with file.open("rb") as source, contextlib.suppress(struct.error):
        if source.read(_PCAP_HEAD.size)[:4] != _PCAP_MAGIC:
            raise ServiceError(f"{file} is no capture of ours")
        while head := source.read(_PCAP_PACKET.size):
            seconds, nanoseconds, kept, _ = _PCAP_PACKET.unpack(head)
            if kept > _LARGEST_FRAME:
                raise ServiceError(f"{file} is damaged: a packet of {kept} bytes")
            frame = source.read(kept)
            if len(frame) < kept or kept <= _IP_AT:
                return
            transport = _IP_AT + 4 * (frame[_IP_AT] & 0x0F)
            sender, target, _, _ = _UDP_HEAD.unpack_from(frame, transport)
            yield Datagram(
                seconds + nanoseconds / 1e9, sender, target, frame[transport + _UDP_HEAD.size :]
            )

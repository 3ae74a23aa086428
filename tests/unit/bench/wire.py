"""Captures as they would have been written: SIP between callers, Asterisk and agents."""

from __future__ import annotations

import struct
from pathlib import Path

from vsek.demo.capture import _PCAP_HEAD, _PCAP_NANOSECONDS

CALLERS, AGENTS, PBX = 2000, 2002, 5060
EPOCH = 1_700_000_000


class Wire:
    """Messages in the order in which they are said."""

    def __init__(self) -> None:
        self._packets: list[bytes] = []

    def datagram(self, at: float, source: int, target: int, data: bytes) -> None:
        udp = struct.pack("!HHHH", source, target, 8 + len(data), 0) + data
        frame = bytes(12) + b"\x08\x00" + b"\x45" + bytes(8) + b"\x11" + bytes(10) + udp
        whole = EPOCH + at
        head = struct.pack("<IIII", int(whole), round(whole % 1 * 1e9), len(frame), len(frame))
        self._packets.append(head + frame)

    def say(
        self, at: float, first: str, call: str, *, source: int, target: int, **headers: str
    ) -> None:
        lines = [first, f"Call-ID: {call}"]
        lines += [f"{name.title()}: {value}" for name, value in headers.items()]
        self.datagram(at, source, target, ("\r\n".join(lines) + "\r\n\r\n").encode())

    def caller(self, at: float, number: str, first: str = "") -> None:
        """A caller's INVITE, or a further message of the call (``BYE``, ``200 INVITE``)."""
        call, from_ = f"c{number}", f"<sip:+{number}@127.0.0.1>;tag=1"
        if not first:
            line = "INVITE sip:+493055510000@127.0.0.1 SIP/2.0"
            self.say(at, line, call, source=CALLERS, target=PBX, **{"from": from_})
        else:
            self._further(at, first, call, PBX, CALLERS)

    def agent(self, at: float, agent: str, number: str, first: str = "", *, leg: int = 1) -> None:
        """The INVITE to an agent, or a further message of that leg."""
        call, from_ = f"a{agent}-{number}-{leg}", f'"x" <sip:+{number}@127.0.0.1>;tag=2'
        if not first:
            line = f"INVITE sip:{agent}@127.0.0.1:{AGENTS} SIP/2.0"
            self.say(at, line, call, source=PBX, target=AGENTS, **{"from": from_})
        else:
            self._further(at, first, call, AGENTS, PBX)

    def _further(self, at: float, first: str, call: str, source: int, target: int) -> None:
        if first[0].isdigit():
            status, _, method = first.partition(" ")
            line = f"SIP/2.0 {status} Said"
        else:
            method = first
            line = f"{first} sip:x@127.0.0.1 SIP/2.0"
        self.say(at, line, call, source=source, target=target, cseq=f"1 {method}")

    def talk(self, agent: str, number: str, came: float, rang: float, ended: float) -> None:
        """A whole call: answered 0.1 s after it rang."""
        self.caller(came, number)
        self.agent(rang, agent, number)
        self.agent(rang + 0.1, agent, number, "200 INVITE")
        self.caller(rang + 0.101, number, "200 INVITE")
        self.agent(ended, agent, number, "BYE")
        self.caller(ended + 0.001, number, "BYE")

    def bytes(self) -> bytes:
        head = _PCAP_HEAD.pack(_PCAP_NANOSECONDS, 2, 4, 0, 0, 4096, 1)
        return head + b"".join(self._packets)

    def write(self, file: Path) -> Path:
        file.write_bytes(self.bytes())
        return file

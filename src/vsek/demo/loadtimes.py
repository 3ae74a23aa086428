"""What the packets of a load run tell of each call: when the greeting began, when two heard each
other, when the call was over.

A caller's call is known by its Call-ID and by its port of sound, an agent's leg by its Call-ID and
by the port from which Asterisk sends its sound; the caller's number in the leg's From ties the two.
Ports are used again, so packets are read in order and a port means its latest call.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from vsek.demo.capture import Datagram, read
from vsek.demo.g711 import ALAW_SILENCE
from vsek.demo.loadpeers import VOICE, Ports
from vsek.demo.sipmessage import Message

_RTP_HEAD: Final = 12
_VOICE_START: Final = bytes([VOICE]) * 8
_SILENCE_START: Final = bytes([ALAW_SILENCE]) * 8
_MEDIA: Final = re.compile(r"^m=audio (\d+)", re.MULTILINE)
_NUMBER: Final = re.compile(r"sip:\+?(\d+)@")


class Spread(msgspec.Struct, frozen=True):
    """How values are spread."""

    count: int = 0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    worst: float = 0.0


def spread(values: Iterable[float]) -> Spread | None:
    """The spread of ``values``; ``None`` if there are none."""
    ordered = sorted(values)
    if not ordered:
        return None

    def at(part: float) -> float:
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]

    return Spread(len(ordered), at(0.5), at(0.9), at(0.99), ordered[-1])


@dataclass
class _Call:
    number: str
    invited: float
    greeted: float | None = None
    offered: float | None = None
    """The last agent's INVITE."""
    picked_up: float | None = None
    caller_hears: float | None = None
    agent_hears: float | None = None
    ended: float | None = None


@dataclass(frozen=True)
class Times:
    """Spreads in milliseconds; ``None`` where nothing was seen."""

    greeting: Spread | None = None
    offer: Spread | None = None
    join: Spread | None = None
    mail: Spread | None = None


@dataclass
class _Reader:
    sip_port: int
    ports: Ports
    calls: dict[str, _Call] = field(default_factory=dict)
    by_call_id: dict[str, _Call] = field(default_factory=dict)
    by_number: dict[str, _Call] = field(default_factory=dict)
    by_caller_port: dict[int, _Call] = field(default_factory=dict)
    by_leg_port: dict[int, _Call] = field(default_factory=dict)

    def take(self, datagram: Datagram) -> None:
        if self.sip_port in {datagram.source, datagram.target}:
            message = Message.parse(datagram.data)
            if message is not None:
                self._sip(datagram, message)
        else:
            self._sound(datagram)

    def _sip(self, datagram: Datagram, message: Message) -> None:
        headers = dict(message.headers)
        call_id = headers.get("call-id", "")
        if message.method == "INVITE":
            self._invited(datagram, message, headers, call_id)
            return
        call = self.by_call_id.get(call_id)
        if call is None:
            return
        if message.method == "BYE" and call.ended is None:
            call.ended = datagram.at
        elif (
            message.status == 200
            and headers.get("cseq", "").endswith("INVITE")
            and datagram.source == self.ports.agents
            and call.picked_up is None
        ):
            call.picked_up = datagram.at

    def _invited(
        self, datagram: Datagram, message: Message, headers: dict[str, str], call_id: str
    ) -> None:
        number = _NUMBER.search(headers.get("from", ""))
        media = _MEDIA.search(message.body)
        if number is None or media is None or call_id in self.by_call_id:
            return  # repeated, or a re-INVITE
        if datagram.source == self.ports.callers:
            call = _Call(number[1], datagram.at)
            self.calls[call_id] = self.by_number[call.number] = call
            self.by_caller_port[int(media[1])] = call
        else:
            found = self.by_number.get(number[1])
            if found is None:
                return
            call = found
            call.offered = call.offered or datagram.at
            self.by_leg_port[int(media[1])] = call
        self.by_call_id[call_id] = call

    def _sound(self, datagram: Datagram) -> None:
        samples = datagram.data[_RTP_HEAD : _RTP_HEAD + 8]
        voice = samples == _VOICE_START
        if datagram.target == self.ports.agents_sound:
            call = self.by_leg_port.get(datagram.source)
            if call is not None and voice and call.agent_hears is None:
                call.agent_hears = datagram.at
            return
        call = self.by_caller_port.get(datagram.target)
        if call is None:
            return
        if voice:
            if call.caller_hears is None:
                call.caller_hears = datagram.at
        elif call.greeted is None and samples != _SILENCE_START:
            call.greeted = datagram.at


def times(
    file: Path,
    sip_port: int,
    ports: Ports,
    mails: Mapping[str, list[float]],
    finished: Mapping[str, float],
) -> Times:
    """Evaluates a capture. ``mails`` and ``finished``: caller's number → when mails were taken, and
    when the note was finished."""
    reader = _Reader(sip_port, ports)
    for datagram in read(file):
        reader.take(datagram)
    calls = list(reader.calls.values())
    both = [
        (max(c.caller_hears, c.agent_hears) - c.picked_up)
        for c in calls
        if c.caller_hears and c.agent_hears and c.picked_up
    ]
    mailed = [
        mails[c.number][0] - max(c.ended, finished.get(c.number, 0.0))
        for c in calls
        if c.ended and c.number in mails
    ]
    return Times(
        greeting=_ms(c.greeted - c.invited for c in calls if c.greeted),
        offer=_ms(c.offered - c.invited for c in calls if c.offered),
        join=_ms(both),
        mail=_ms(mailed),
    )


def _ms(seconds: Iterable[float]) -> Spread | None:
    return spread(1000 * each for each in seconds)

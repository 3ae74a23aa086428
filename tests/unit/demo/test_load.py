"""What a load run reads from packets, and the mail server that only counts."""

from __future__ import annotations

import asyncio
import socket
import struct
from pathlib import Path

import pytest

from vsek.demo import loadpeers
from vsek.demo.capture import Capture, Datagram, read
from vsek.demo.load import CountingSmtp
from vsek.demo.loadpeers import VOICE, Ports
from vsek.demo.loadtimes import Spread, spread, times

SIP = 5060
PORTS = Ports.block(30_000)
CALLER_SOUND = PORTS.callers_sound.start
LEG_SOUND = 12_000


def write_pcap(file: Path, datagrams: list[Datagram]) -> None:
    """As ``Capture`` writes it."""
    parts = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 4096, 1)]
    for one in datagrams:
        udp = struct.pack("!HHHH", one.source, one.target, 8 + len(one.data), 0)
        frame = bytes(14) + b"\x45" + bytes(19) + udp + one.data
        seconds = int(one.at)
        nanoseconds = round((one.at - seconds) * 1e9)
        parts.append(struct.pack("<IIII", seconds, nanoseconds, len(frame), len(frame)) + frame)
    file.write_bytes(b"".join(parts))


def sip(at: float, source: int, target: int, first: str, call_id: str, sound: int = 0) -> Datagram:
    lines = [first, "From: <sip:+4940@127.0.0.1>;tag=a", f"Call-ID: {call_id}", "CSeq: 1 INVITE"]
    body = f"v=0\r\nm=audio {sound} RTP/AVP 8\r\n" if sound else ""
    return Datagram(at, source, target, ("\r\n".join(lines) + "\r\n\r\n" + body).encode())


def rtp(at: float, source: int, target: int, sample: int) -> Datagram:
    return Datagram(at, source, target, bytes(12) + bytes([sample]) * 24)


def test_times_of_one_call(tmp_path: Path) -> None:
    t = 1000.0
    write_pcap(
        tmp_path / "a.pcap",
        [
            rtp(t - 1, 9, CALLER_SOUND, 1),  # of an earlier call, unknown
            sip(t, PORTS.callers, SIP, "INVITE sip:1@h SIP/2.0", "c", CALLER_SOUND),
            rtp(t + 0.005, 9, CALLER_SOUND, 0xD5),  # silence is no greeting
            rtp(t + 0.010, 9, CALLER_SOUND, 7),
            sip(t + 0.020, SIP, PORTS.agents, "INVITE sip:a@h SIP/2.0", "leg", LEG_SOUND),
            sip(t + 1.0, PORTS.agents, SIP, "SIP/2.0 200 OK", "leg"),
            sip(t + 1.1, PORTS.agents, SIP, "SIP/2.0 200 OK", "leg"),  # repeated
            rtp(t + 1.03, LEG_SOUND, PORTS.agents_sound, VOICE),
            rtp(t + 1.05, 9, CALLER_SOUND, VOICE),
            rtp(t + 1.07, 9, CALLER_SOUND, VOICE),
            sip(t + 3.0, PORTS.agents, SIP, "BYE sip:a@h SIP/2.0", "leg"),
            sip(t + 3.1, SIP, PORTS.callers, "BYE sip:a@h SIP/2.0", "c"),
        ],
    )
    found = times(tmp_path / "a.pcap", SIP, PORTS, {"4940": [t + 3.5]}, {"4940": t + 3.2})
    worst = [s.worst for s in (found.greeting, found.offer, found.join, found.mail) if s]
    assert worst == pytest.approx([10, 20, 50, 300], abs=0.01)


def test_a_file_that_was_cut_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    file = tmp_path / "a.pcap"
    write_pcap(file, [rtp(1.5, 1, 2, 3), rtp(2.5, 1, 2, 3)])
    file.write_bytes(file.read_bytes()[:-40])
    assert [one.at for one in read(file)] == [1.5]


def test_spread() -> None:
    assert spread([]) is None
    assert spread(range(100)) == Spread(100, 50, 90, 99, 99)


@pytest.mark.skipif(not Capture.allowed(), reason="needs the right to capture packets")
def test_capture_keeps_what_it_is_for(tmp_path: Path) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sip_port,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sound,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        for one in (sip_port, sound, other):
            one.bind(("127.0.0.1", 0))
        ports = {one: one.getsockname()[1] for one in (sip_port, sound, other)}
        only = range(ports[sound], ports[sound] + 1)
        capture = Capture(tmp_path / "a.pcap", ports[sip_port], only)
        capture.start()
        for _ in range(50):
            for one in (sip_port, sound, other):
                other.sendto(b"x" * 300, ("127.0.0.1", ports[one]))
        capture.stop()
    assert capture.dropped == 0
    seen = [(one.target, len(one.data)) for one in read(capture.file)]
    assert seen.count((ports[sip_port], 300)) == 50
    assert seen.count((ports[sound], 36)) == 50
    assert len(seen) == 100


async def test_counting_mail_server() -> None:
    accepted: dict[str, list[float]] = {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: CountingSmtp(accepted), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"EHLO x\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n")
    writer.write(b"Subject: x\r\n\r\nvsek-load 4940\r\n.\r\nQUIT\r\n")
    said = (await reader.read()).decode().splitlines()
    assert [line[:4] for line in said] == [
        *("220 ", "250-", "250-", "250 "),
        *("250 ", "250 ", "354 ", "250 ", "221 "),
    ]
    assert len(accepted["4940"]) == 1
    writer.close()
    server.close()


def test_scenarios_name_each_port_and_pause() -> None:
    agent = loadpeers.agent_scenario(0.5, 2.0, 40_000)
    assert 'milliseconds="500"' in agent
    assert 'timeout="2000"' in agent
    assert "m=audio 40000 " in agent
    caller = loadpeers.caller_scenario("+4930", 60.0)
    assert "INVITE sip:+4930@" in caller
    assert "[rtpstream_audio_port]" in caller
    assert "{" not in agent + caller + loadpeers.register_scenario()

"""What is at the other end of a trunk: a number that answers, is busy, or rings for ever.

SIPp takes the calls; the audio of one that it answers is an ``RtpSession`` of ours, as SIPp keeps
none. One scenario at a time, on one port, so that a trunk can be set to it before it runs.
"""

from __future__ import annotations

import re
from pathlib import Path

from vsek.demo.processes import Program
from vsek.demo.rtp import RtpSession
from vsek.demo.sipmessage import Message, sdp
from vsek.demo.tools import sipp

_HEAD = """\
SIP/2.0 {status}
[last_Via:]
[last_From:]
[last_To:];tag=[pid]p[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:number@127.0.0.1:[local_port]>"""
_OK = """\
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0"""


def _send(text: str, *, repeat: bool = False) -> str:
    attributes = ' retrans="500"' if repeat else ""
    return f"  <send{attributes}><![CDATA[\n\n{text}\n\n]]></send>\n"


def _answer(status: str, *, repeat: bool = False) -> str:
    return _send(_HEAD.format(status=status) + "\nContent-Length: 0", repeat=repeat)


def _scenario(status: str, media_port: int) -> str:
    parts = ['<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="trunk">\n']
    parts += ['  <recv request="INVITE"/>\n', _answer("180 Ringing")]
    if status == "180":
        parts += ['  <recv request="CANCEL"/>\n', _send(_OK), _answer("487 Request Terminated")]
        parts.append('  <recv request="ACK"/>\n')
    elif status == "200":
        body = "\n".join(sdp(media_port).rstrip().splitlines())
        answer = _HEAD.format(status="200 OK")
        answer += f"\nContent-Type: application/sdp\nContent-Length: [len]\n\n{body}"
        parts += [_send(answer, repeat=True), '  <recv request="ACK"/>\n']
        parts += ['  <recv request="BYE"/>\n', _send(_OK)]
    else:
        parts += [_answer(status, repeat=True), '  <recv request="ACK"/>\n']
    return "".join([*parts, "</scenario>\n"])


class TrunkPeer:
    """Takes the calls that go out over a trunk to ``port``."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self.media: RtpSession | None = None
        self._folder = folder
        self._program: Program | None = None

    async def start(self, status: str) -> None:
        """From now on each call is answered with 180 and then with ``status``: ``200``, a refusal
        such as ``486 Busy Here``, or ``180``: nothing more."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.media = await RtpSession.open()
        self.media.answers_sender = True
        (self._folder / "trunk.xml").write_text(_scenario(status, self.media.port))
        self._program = await Program.start(
            "trunk peer",
            [
                *sipp(),
                *("-sf", "trunk.xml", "-i", "127.0.0.1", "-p", str(self.port), "-nostdin"),
                *("-trace_msg", "-message_file", "trunk.msg"),
                *("-trace_err", "-error_file", "trunk.err"),
            ],
            folder=self._folder,
            log=self._folder / "trunk.log",
        )

    @property
    def invites(self) -> list[Message]:
        """The INVITEs that came (repetitions too)."""
        log = self._folder / "trunk.msg"
        text = log.read_text(errors="replace") if log.exists() else ""
        found = re.findall(r"^INVITE .*?(?=^-{5,}|\Z)", text, re.DOTALL | re.MULTILINE)
        parsed = (Message.parse(one.replace("\n", "\r\n").encode()) for one in found)
        return [message for message in parsed if message is not None]

    async def stop(self) -> None:
        """Ends it."""
        if self._program is not None:
            await self._program.stop()
            self._program = None
        if self.media is not None:
            await self.media.close()
            self.media = None

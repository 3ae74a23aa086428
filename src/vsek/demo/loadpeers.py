"""Agents and callers by the hundred, with few processes: SIPp for all of them.

Theory of operation. One SIPp registers all agents from a table, each with its own secret, and
ends; another takes over its port (a server behind a NAT answers to where the registration came
from), rings, answers, sends back all sound it gets and hangs up after the talk. A third one makes
the calls, each with a number of its own, and sends one value of A-law all the time: whoever hears
this value hears the caller, and a caller who hears it hears the agent.

Each caller has a port of its own for sound, all agents share one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from vsek.demo.processes import Program
from vsek.demo.tools import sipp
from vsek.errors import ServiceError

VOICE = 0x2A
"""The A-law value that callers send: loud, and in no greeting for longer than a sample."""
_VOICE_S = 10

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="{name}">\n'
_REGISTER = """\
  <send retrans="500"><![CDATA[

REGISTER sip:[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
From: <sip:[field0]@[remote_ip]:[remote_port]>;tag=[call_number]
To: <sip:[field0]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: {sequence} REGISTER
Max-Forwards: 70
Contact: <sip:[field0]@[local_ip]:[local_port]>
{extra}Expires: 600
Content-Length: 0

]]></send>
"""
_AUTHENTICATION = "[authentication username=[field0] password=[field1]]\n"
_RESPONSE = """\
  <send{attributes}><![CDATA[

SIP/2.0 {status}
[last_Via:]
[last_From:]
[last_To:]{tag}
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:{who}@[local_ip]:[local_port]>
{body}
]]></send>
"""
_NO_BODY = "Content-Length: 0\n"
_SDP = """\
Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=audio {port} RTP/AVP 8
a=rtpmap:8 PCMA/8000
a=ptime:20
a=sendrecv
"""
_INVITE = """\
  <send retrans="500"><![CDATA[

INVITE sip:{number}@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
From: <sip:[field0]@[local_ip]:[local_port]>;tag=[pid]c[call_number]
To: <sip:{number}@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Max-Forwards: 70
Contact: <sip:caller@[local_ip]:[local_port]>
{body}
]]></send>
"""
# The agent ends the talk, so keeps who is who.
_INCOMING = """\
  <recv request="INVITE" rrs="true">
    <action>
      <ereg regexp=".*" search_in="hdr" header="From:" assign_to="1"/>
      <ereg regexp=".*" search_in="hdr" header="To:" assign_to="2"/>
{more}    </action>
  </recv>
"""
_WHO = """\
      <ereg regexp=".*" search_in="hdr" header="CSeq:" assign_to="3"/>
      <ereg regexp="{silent}" search_in="msg" assign_to="4"/>
"""
# What Asterisk sent last is then the CANCEL; the INVITE is answered all the same.
_SILENT = """\
  <nop next="end"/>
  <label id="silent"/>
  <recv request="CANCEL"/>
  <send><![CDATA[

SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:][tag]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
  <send><![CDATA[

SIP/2.0 487 Request Terminated
[last_Via:]
[last_From:]
[last_To:][tag]
[last_Call-ID:]
CSeq: [$3]
Content-Length: 0

]]></send>
  <recv request="ACK"/>
"""
_IN_DIALOG = """\
  <send{attributes}><![CDATA[

{method} [next_url] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
[routes]
From: {sender}
To: {to}
Call-ID: [call_id]
CSeq: {sequence} {method}
Max-Forwards: 70
Contact: <sip:{who}@[local_ip]:[local_port]>
Content-Length: 0

]]></send>
"""


@dataclass(frozen=True)
class Ports:
    """Of SIPp's processes: SIP of callers and agents, the agents' sound, the callers' sound."""

    callers: int
    agents: int
    agents_sound: int
    callers_sound: range

    @classmethod
    def block(cls, first: int) -> Ports:
        """All of them in ``first`` … ``first + 1999``."""
        return cls(first, first + 2, first + 6, range(first + 10, first + 2000))

    @property
    def sound(self) -> range:
        """All ports to which sound goes."""
        return range(self.agents_sound, self.callers_sound.stop)


def register_scenario() -> str:
    """Registers one row of a table of names and secrets."""
    return (
        _HEAD.format(name="register")
        + _REGISTER.format(sequence=1, extra="")
        + '  <recv response="401" auth="true"/>\n'
        + _REGISTER.format(sequence=2, extra=_AUTHENTICATION)
        + '  <recv response="200"/>\n</scenario>\n'
    )


def agent_scenario(
    ring_s: float,
    talk_s: float,
    sound_port: int,
    *,
    talk_to_s: float | None = None,
    silent: str = "",
) -> str:
    """Rings, answers, and hangs up after the talk unless the caller has done so before.

    With ``talk_to_s`` talks last between ``talk_s`` and that long, and only the agent ends them.
    Agents whose URI matches ``silent`` ring until they are cancelled.
    """
    tag = ";tag=[pid]a[call_number]"
    sdp = _SDP.format(port=sound_port)
    bye = _IN_DIALOG.format(
        attributes=' retrans="500"',
        method="BYE",
        sender="[$2]" + tag,
        to="[$1]",
        sequence=1,
        who="agent",
    )
    if talk_to_s is None:
        talk = (
            f'  <recv request="BYE" timeout="{talk_s * 1000:.0f}" ontimeout="goodbye"/>\n'
            + _response("200 OK", "agent", attributes=' next="end"')
            + '  <label id="goodbye"/>\n'
        )
    else:
        times = f'min="{talk_s * 1000:.0f}" max="{talk_to_s * 1000:.0f}"'
        talk = f'  <pause distribution="uniform" {times}/>\n'
    return "".join(
        (
            _HEAD.format(name="agents"),
            _INCOMING.format(more=_WHO.format(silent=silent) if silent else ""),
            _response("180 Ringing", "agent", tag=tag),
            '  <nop next="silent" test="4"/>\n' if silent else "",
            f'  <pause milliseconds="{ring_s * 1000:.0f}"/>\n',
            _response("200 OK", "agent", tag=tag, body=sdp, attributes=' retrans="500"'),
            '  <recv request="ACK"/>\n',
            talk,
            bye,
            '  <recv response="200"/>\n',
            _SILENT.replace("[tag]", tag) if silent else "",
            '  <label id="end"/>\n  <nop/>\n</scenario>\n',
        )
    )


def caller_scenario(
    number: str, patience_s: float, *, speaks: bool = True, leaves: float = 0.0
) -> str:
    """Calls ``number``, speaks until the other side hangs up; or only waits for that.

    Of all callers the part ``leaves`` hangs up within the first second after the answer.
    """
    port = "[rtpstream_audio_port]" if speaks else "9"
    speech = '  <nop><action><exec rtp_stream="voice.alaw,-1,8,PCMA/8000"/></action></nop>\n'
    ack = _IN_DIALOG.format(
        attributes="",
        method="ACK",
        sender="<sip:[field0]@[local_ip]:[local_port]>;tag=[pid]c[call_number]",
        to=f"<sip:{number}@[remote_ip]:[remote_port]>[peer_tag_param]",
        sequence=1,
        who="caller",
    )
    return "".join(
        (
            _HEAD.format(name="callers"),
            _INVITE.format(number=number, body=_SDP.format(port=port)),
            *(f'  <recv response="{code}" optional="true"/>\n' for code in (100, 180, 183)),
            f'  <recv response="200" rrs="true" timeout="{patience_s * 1000:.0f}"/>\n',
            ack,
            speech if speaks else "",
            f'  <nop next="leave" chance="{leaves:g}"/>\n' if leaves else "",
            f'  <recv request="BYE" timeout="{patience_s * 1000:.0f}"/>\n',
            _response("200 OK", "caller", attributes=' next="end"' if leaves else ""),
            _leaving(number) if leaves else "",
            "</scenario>\n",
        )
    )


def _leaving(number: str) -> str:
    """Hangs up soon."""
    bye = _IN_DIALOG.format(
        attributes=' retrans="500"',
        method="BYE",
        sender="<sip:[field0]@[local_ip]:[local_port]>;tag=[pid]c[call_number]",
        to=f"<sip:{number}@[remote_ip]:[remote_port]>[peer_tag_param]",
        sequence=2,
        who="caller",
    )
    return (
        '  <label id="leave"/>\n'
        '  <pause distribution="uniform" min="100" max="800"/>\n'
        f'{bye}  <recv response="200"/>\n'
        '  <label id="end"/>\n  <nop/>\n'
    )


def _response(
    status: str, who: str, *, tag: str = "", body: str = _NO_BODY, attributes: str = ""
) -> str:
    return _RESPONSE.format(status=status, who=who, tag=tag, body=body, attributes=attributes)


class Crowd:
    """The agents' and callers' processes of one load run, in ``folder``."""

    def __init__(self, folder: Path, server: tuple[str, int], ports: Ports) -> None:
        self.folder = folder
        self.server = server
        self.ports = ports
        self.programs: dict[str, Program] = {}

    async def register(self, accounts: dict[str, str], *, rate: int = 50) -> None:
        """Registers agents (name → secret); raises ``ServiceError`` if one is refused."""
        self.folder.mkdir(parents=True, exist_ok=True)
        rows = [f"{name};{secret}" for name, secret in accounts.items()]
        self._write("agents.csv", "SEQUENTIAL\n" + "\n".join(rows) + "\n")
        self._write("register.xml", register_scenario())
        arguments = ("-inf", "agents.csv", "-m", str(len(accounts)), "-r", str(rate), "-aa")
        program = await self._start("register", self.ports.agents, *arguments)
        if await program.wait() != 0:
            raise ServiceError(f"The agents could not register: {self.errors('register')}")
        del self.programs["register"]

    async def answer(
        self, *, ring_s: float, talk_s: float, talk_to_s: float | None = None, silent: str = ""
    ) -> None:
        """From now on the agents take calls; see ``agent_scenario``."""
        port = self.ports.agents_sound
        scenario = agent_scenario(ring_s, talk_s, port, talk_to_s=talk_to_s, silent=silent)
        self._write("agents.xml", scenario)
        sound = ("-mp", str(port), "-rtp_echo")
        await self._start("agents", self.ports.agents, "-aa", *sound)

    async def call(
        self,
        number: str,
        callers: list[str],
        *,
        rate: float,
        patience_s: float = 60.0,
        speaks: bool = True,
        at_once: int = 2000,
        leaves: float = 0.0,
    ) -> Program:
        """One call to ``number`` from each of ``callers``, ``rate`` a second, never more than
        ``at_once``. ``callers`` may have further columns: ``number`` is then ``[field1]``."""
        self._write("callers.csv", "SEQUENTIAL\n" + "\n".join(callers) + "\n")
        scenario = caller_scenario(number, patience_s, speaks=speaks, leaves=leaves)
        self._write("callers.xml", scenario)
        (self.folder / "voice.alaw").write_bytes(bytes([VOICE]) * 8000 * _VOICE_S)
        sound = self.ports.callers_sound
        return await self._start(
            "callers",
            self.ports.callers,
            *("-inf", "callers.csv", "-m", str(len(callers)), "-r", f"{rate:g}"),
            *("-min_rtp_port", str(sound.start), "-max_rtp_port", str(sound.stop - 1)),
            *("-l", str(at_once), "-recv_timeout", str(int(patience_s * 1000))),
        )

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    async def _start(self, name: str, port: int, *arguments: str) -> Program:
        program = await Program.start(
            name,
            [
                *sipp(),
                *("-sf", f"{name}.xml", "-i", "127.0.0.1", "-mi", "127.0.0.1", "-p", str(port)),
                *("-nostdin", "-trace_err", "-error_file", f"{name}.err"),
                *("-trace_stat", "-stf", f"{name}.stat.csv", "-fd", "1"),
                *arguments,
                f"{self.server[0]}:{self.server[1]}",
            ],
            folder=self.folder,
            log=self.folder / f"{name}.log",
        )
        self.programs[name] = program
        return program

    def errors(self, name: str) -> str:
        """What SIPp complained of, shortened; empty if of nothing."""
        file = self.folder / f"{name}.err"
        text = file.read_text(errors="replace") if file.exists() else ""
        return re.sub(r"\s+", " ", text)[:800]

    async def stop(self) -> None:
        """Ends all; registrations live on until they expire."""
        for program in self.programs.values():
            await program.stop()
        self.programs.clear()

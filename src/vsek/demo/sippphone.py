"""Telephones that say no in ways which a real softphone would not do on demand, made with SIPp.

One SIPp registers (with authentication) and ends; another one takes over its port, for a server
behind a NAT answers to where the registration came from, and answers each call with 180 and then
with the status that was asked for.
"""

from __future__ import annotations

from pathlib import Path

from vsek.demo.processes import Program
from vsek.demo.softphone import check_account
from vsek.demo.tools import sipp
from vsek.embedded.ports import free_port
from vsek.errors import ServiceError

_REGISTER = """\
<?xml version="1.0" encoding="UTF-8"?>
<scenario name="register">
  <send retrans="500"><![CDATA[

{register}
Contact: <sip:{name}@127.0.0.1:{port}>
Expires: 300
Content-Length: 0

]]></send>
  <recv response="401" auth="true"/>
  <send retrans="500"><![CDATA[

{register_again}
Contact: <sip:{name}@127.0.0.1:{port}>
[authentication username={name} password={secret}]
Expires: 300
Content-Length: 0

]]></send>
  <recv response="200"/>
</scenario>
"""
_REGISTER_HEAD = """\
REGISTER sip:{host}:{sip_port} SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
From: <sip:{name}@{host}:{sip_port}>;tag=[call_number]
To: <sip:{name}@{host}:{sip_port}>
Call-ID: [call_id]
CSeq: {sequence} REGISTER
Max-Forwards: 70"""
_ANSWER = """\
  <send{attributes}><![CDATA[

SIP/2.0 {status}
[last_Via:]
[last_From:]
[last_To:];tag=[pid]p[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: {contact}
Content-Length: 0

]]></send>
"""


class SippPhone:
    """A registered telephone that answers every call with one status."""

    def __init__(self, name: str, secret: str, server: tuple[str, int], folder: Path) -> None:
        check_account(name, secret)
        self.name = name
        self.secret = secret
        self.server = server
        self.folder = folder
        self._program: Program | None = None

    async def start(self, status: str, *, contact: str = "") -> None:
        """Registers; from then on every call gets ``status`` (such as ``603 Decline``).

        ``contact`` is the Contact of that answer, for redirections. Raises ``ServiceError`` when
        the registration is refused.
        """
        port = free_port()
        self._write(port, status, contact or f"<sip:{self.name}@127.0.0.1:{port}>")
        register = await self._run("register", port, "-m", "1")
        if await register.wait() != 0:
            raise ServiceError(f"{self.name} could not register: {register.log_tail()}")
        self._program = await self._run("refuse", port, "-aa")

    def _write(self, port: int, status: str, contact: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        host, sip_port = self.server
        head = {"host": host, "sip_port": sip_port, "name": self.name}
        register = _REGISTER.format(
            register=_REGISTER_HEAD.format(sequence=1, **head),
            register_again=_REGISTER_HEAD.format(sequence=2, **head),
            name=self.name,
            secret=self.secret,
            port=port,
        )
        (self.folder / "register.xml").write_text(register)
        own = f"<sip:{self.name}@127.0.0.1:{port}>"
        refuse = [
            '<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="refuse">\n',
            '  <recv request="INVITE"/>\n',
            _ANSWER.format(attributes="", status="180 Ringing", contact=own),
            _ANSWER.format(attributes=' retrans="500"', status=status, contact=contact),
            '  <recv request="ACK"/>\n</scenario>\n',
        ]
        (self.folder / "refuse.xml").write_text("".join(refuse))

    async def _run(self, scenario: str, port: int, *arguments: str) -> Program:
        return await Program.start(
            f"{scenario} {self.name}",
            [
                *sipp(),
                *("-sf", f"{scenario}.xml", "-i", "127.0.0.1", "-p", str(port), "-nostdin"),
                *("-trace_err", "-error_file", f"{scenario}.err", "-r", "100"),
                *("-trace_msg", "-message_file", f"{scenario}.msg"),
                *arguments,
                f"{self.server[0]}:{self.server[1]}",
            ],
            folder=self.folder,
            log=self.folder / f"{scenario}.log",
        )

    @property
    def calls(self) -> int:
        """How many INVITEs came (repetitions count)."""
        log = self.folder / "refuse.msg"
        text = log.read_text(errors="replace") if log.exists() else ""
        return sum(line.startswith("INVITE ") for line in text.splitlines())

    async def stop(self) -> None:
        """Ends it; the registration lives on until it expires."""
        if self._program is not None:
            await self._program.stop()
            self._program = None

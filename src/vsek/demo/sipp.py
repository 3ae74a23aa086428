"""Calls placed with SIPp, for load and for the demo.

Theory of operation. A ``Dial`` and a ``Plan`` become a scenario of SIPp's; SIPp then speaks all SIP
by itself, one process for one or many calls. For a call with audio the scenario's SDP names a
port of an ``RtpSession`` of ours, which sends and records in SIPp's place: SIPp can send audio but
keeps none.

What SIPp saw is in its message log, read when it has ended; whether every call went as planned is
its exit code.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from vsek.demo.processes import Program
from vsek.demo.rtp import RtpSession
from vsek.demo.sipmessage import Dial, sdp
from vsek.demo.tools import sipp
from vsek.embedded.ports import free_port
from vsek.errors import InputError, ServiceError


@dataclass(frozen=True)
class Plan:
    """What the callers do.

    ``hang_up_after_s``: seconds after the answer; ``None`` waits for the other side's BYE.
    ``cancel_after_s``: gives up that long after the last provisional answer.
    ``calls`` are placed at ``rate`` a second.
    """

    hang_up_after_s: float | None = None
    cancel_after_s: float | None = None
    patience_s: float = 120.0
    calls: int = 1
    rate: float = 1.0


_RESPONSE = """\
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:caller@[local_ip]:[local_port]>
Content-Length: 0"""
_VIA = "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]"


def _send(text: str, *, retransmit: bool = False) -> str:
    repeat = ' retrans="500"' if retransmit else ""
    return f"  <send{repeat}><![CDATA[\n\n{text}\n\n]]></send>\n"


def scenario(dial: Dial, plan: Plan, media_port: int) -> str:
    """SIPp's XML for calls such as ``dial`` that go as ``plan`` says.

    Raises ``InputError`` for texts with brackets, which mark SIPp's keywords.
    """
    texts = [dial.from_value(), dial.number, dial.to, *(value for _, value in dial.extra_headers())]
    if bad := next((text for text in texts if "[" in text or "]" in text), None):
        raise InputError("SIPp cannot send brackets", field="call", value=bad)
    sender = f"From: {dial.from_value()};tag=[pid]c[call_number]"
    target = f"sip:{dial.number}@[remote_ip]:[remote_port]"
    to = f"To: <sip:{dial.to or dial.number}@[remote_ip]:[remote_port]>"
    contact = "Contact: <sip:caller@[local_ip]:[local_port]>"
    common = ["Call-ID: [call_id]", "Max-Forwards: 70"]
    extra = [f"{name}: {value}" for name, value in dial.extra_headers()]
    offer = sdp(media_port).rstrip().splitlines()

    def within_dialog(method: str, number: int) -> str:
        lines = [f"{method} [next_url] SIP/2.0", _VIA, "[routes]", sender, f"{to}[peer_tag_param]"]
        return "\n".join(
            [*lines, *common, f"CSeq: {number} {method}", contact, "Content-Length: 0"]
        )

    invite = [f"INVITE {target} SIP/2.0", _VIA, sender, to, *common, "CSeq: 1 INVITE", contact]
    invite += [*extra, "Content-Type: application/sdp", "Content-Length: [len]", "", *offer]
    parts = ['<?xml version="1.0" encoding="UTF-8"?>\n', '<scenario name="vsek">\n']
    parts.append(_send("\n".join(invite), retransmit=True))
    # SIPp's timeouts belong to the step at which a call stands, optional ones included.
    patience_s = plan.patience_s if plan.cancel_after_s is None else plan.cancel_after_s
    limit = f'timeout="{int(patience_s * 1000)}"'
    if plan.cancel_after_s is not None:
        limit += ' ontimeout="cancel"'
    parts += [f'  <recv response="{code}" optional="true" {limit}/>\n' for code in (100, 180, 183)]
    parts.append(f'  <recv response="200" rrs="true" {limit}/>\n')
    parts.append(_send(within_dialog("ACK", 1)))
    if plan.hang_up_after_s is None:
        parts.append(f'  <recv request="BYE" timeout="{int(plan.patience_s * 1000)}"/>\n')
        parts.append(_send(_RESPONSE))
    else:
        parts.append(
            f'  <recv request="BYE" timeout="{int(plan.hang_up_after_s * 1000)}"'
            ' ontimeout="goodbye"/>\n'
        )
        parts.append(_send(_RESPONSE).replace("<send>", '<send next="end">'))
        parts.append('  <label id="goodbye"/>\n')
        parts.append(_send(within_dialog("BYE", 2), retransmit=True))
        parts.append('  <recv response="200"/>\n')
    if plan.cancel_after_s is not None:
        parts.append('  <nop next="end"/>\n  <label id="cancel"/>\n')
        cancel = [f"CANCEL {target} SIP/2.0", "[last_Via:]", sender, to, *common, "CSeq: 1 CANCEL"]
        parts.append(_send("\n".join([*cancel, "Content-Length: 0"]), retransmit=True))
        parts.append('  <recv response="200"/>\n  <recv response="487"/>\n')
        ack = [f"ACK {target} SIP/2.0", "[last_Via:]", sender, "[last_To:]", *common, "CSeq: 1 ACK"]
        parts.append(_send("\n".join([*ack, "Content-Length: 0"])))
    parts.append('  <label id="end"/>\n  <nop/>\n</scenario>\n')
    return "".join(parts)


class SippCall:
    """One run of SIPp."""

    def __init__(self, program: Program, folder: Path, media: RtpSession | None) -> None:
        self.started_at = time.monotonic()
        self.media = media
        self._program = program
        self._folder = folder

    @classmethod
    async def place(
        cls,
        server: tuple[str, int],
        dial: Dial,
        plan: Plan,
        folder: Path,
        *,
        media: RtpSession | None = None,
    ) -> SippCall:
        """Starts SIPp in ``folder`` (made for it); ``media`` is closed with the call.

        Without ``media`` the audio goes to a port where nobody listens.
        """
        media_port = media.port if media is not None else free_port()
        if media is not None:
            media.answers_sender = True
        cls._prepare(folder, scenario(dial, plan, media_port))
        # The first call waits for 1/rate seconds; a single one shall not wait.
        rate = plan.rate if plan.calls > 1 else 100.0
        program = await Program.start(
            f"sipp {dial.number}",
            [
                *sipp(),
                *("-sf", "scenario.xml", "-i", "127.0.0.1", "-p", str(free_port())),
                *("-m", str(plan.calls), "-r", f"{rate:g}", "-nostdin"),
                *("-trace_msg", "-message_file", "messages.log"),
                *("-trace_err", "-error_file", "errors.log"),
                f"{server[0]}:{server[1]}",
            ],
            folder=folder,
            log=folder / "sipp.log",
        )
        return cls(program, folder, media)

    @staticmethod
    def _prepare(folder: Path, text: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "scenario.xml").write_text(text)

    async def done(self) -> None:
        """Waits until all calls are over; raises ``ServiceError`` if one did not go as planned."""
        code = await self._program.wait()
        if self.media is not None:
            await self.media.close()
        if code != 0:
            errors = self._folder / "errors.log"
            told = errors.read_text(errors="replace").strip()[-800:] if errors.exists() else ""
            raise ServiceError(
                f"SIPp ended with {code}: {told or self._program.log_tail(5)}",
                remedy=f"See {self._folder}",
            )

    async def stop(self) -> None:
        """Ends SIPp; its calls are left to the other side's timers unless they are over."""
        await self._program.stop()
        if self.media is not None:
            await self.media.close()

    @property
    def statuses(self) -> list[int]:
        """SIP status codes in the order in which they came (all calls of this run)."""
        log = self._folder / "messages.log"
        text = log.read_text(errors="replace") if log.exists() else ""
        received = re.split(r"^-{5,}.*$", text, flags=re.MULTILINE)
        found = (
            re.search(r"message received.*?^SIP/2\.0 (\d{3})", part, re.DOTALL | re.MULTILINE)
            for part in received
        )
        return [int(match[1]) for match in found if match]

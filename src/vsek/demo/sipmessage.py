"""Just enough SIP (RFC 3261) to place calls: reading and writing messages, SDP, and what
distinguishes a forwarded call from a direct one."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from vsek.errors import InputError

_SHORT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length"}
_STATUS = re.compile(r"SIP/2\.0 (\d{3}) ?(.*)")
_REQUEST = re.compile(r"([A-Z]+) (\S+) SIP/2\.0")
_URI = re.compile(r"<([^>]*)>|(sips?:[^;\s]+)")


@dataclass
class Message:
    """A request (``method`` and ``uri``) or a response (``status`` and ``reason``)."""

    method: str = ""
    uri: str = ""
    status: int = 0
    reason: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: str = ""

    @classmethod
    def parse(cls, data: bytes) -> Message | None:
        """The message in a datagram; ``None`` for keep-alives and garbage."""
        head, _, body = data.decode("utf-8", "replace").partition("\r\n\r\n")
        lines = head.split("\r\n")
        message = cls(body=body)
        if status := _STATUS.match(lines[0]):
            message.status, message.reason = int(status[1]), status[2]
        elif request := _REQUEST.match(lines[0]):
            message.method, message.uri = request[1], request[2]
        else:
            return None
        for line in lines[1:]:
            if line[:1] in " \t" and message.headers:
                name, value = message.headers[-1]
                message.headers[-1] = (name, f"{value} {line.strip()}")
                continue
            name, _, value = line.partition(":")
            name = name.strip().lower()
            message.headers.append((_SHORT.get(name, name), value.strip()))
        return message

    def encode(self) -> bytes:
        """The datagram; Content-Length is added."""
        first = (
            f"{self.method} {self.uri} SIP/2.0"
            if self.method
            else f"SIP/2.0 {self.status} {self.reason}"
        )
        body = self.body.encode()
        lines = [first, *(f"{name}: {value}" for name, value in self.headers)]
        lines.append(f"Content-Length: {len(body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body

    def all(self, name: str) -> list[str]:
        """Every value of a header, in order."""
        return [value for key, value in self.headers if key.lower() == name]

    def first(self, name: str) -> str:
        """A header's first value, or an empty text."""
        values = self.all(name)
        return values[0] if values else ""

    @property
    def sequence(self) -> tuple[int, str]:
        """Number and method of CSeq."""
        number, _, method = self.first("cseq").partition(" ")
        return int(number or 0), method.strip()

    def __str__(self) -> str:
        return f"{self.method} {self.uri}" if self.method else f"{self.status} {self.reason}"


def uri_of(value: str) -> str:
    """The URI in a Contact, To or Record-Route value."""
    match = _URI.search(value)
    return (match[1] or match[2]) if match else ""


def tag_of(value: str) -> str:
    """The tag of a From or To value, or an empty text."""
    match = re.search(r";\s*tag=([^;\s>]+)", value)
    return match[1] if match else ""


def sdp(port: int, *, version: int = 1) -> str:
    """An offer or answer: G.711 (A-law first) at ``port`` of 127.0.0.1."""
    return (
        "v=0\r\n"
        f"o=vsek {port} {version} IN IP4 127.0.0.1\r\n"
        "s=call\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 8 0 101\r\n"
        "a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n"
        "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n"
        "a=ptime:20\r\na=sendrecv\r\n"
    )


def audio_address(body: str) -> tuple[str, int] | None:
    """Where the other side wants its audio, or ``None`` if it offers none."""
    host = re.search(r"^c=IN IP4 (\S+)", body, re.MULTILINE)
    port = re.search(r"^m=audio (\d+) ", body, re.MULTILINE)
    if host is None or port is None or port[1] == "0":
        return None
    return host[1], int(port[1])


@dataclass(frozen=True)
class Dial:
    """What the caller's network tells about a call.

    ``number`` is the user part of the request URI: the number at which the forwarded call
    arrives. ``diversion``: forwarding numbers, the most recent forwarder first (the order in
    which their Diversion headers stand in the message, RFC 5806). ``history``: users of the
    History-Info entries, index 1 first (RFC 7044).
    """

    number: str
    caller: str = "+4930555000"
    name: str = ""
    diversion: tuple[str, ...] = ()
    diversion_reason: str = "unconditional"
    history: tuple[str, ...] = ()
    asserted: str = ""
    privacy: str = ""
    to: str = ""
    """User part of To where it differs from ``number``."""
    called_party: str = ""
    """P-Called-Party-ID."""
    headers: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        texts = [self.number, self.caller, self.name, self.asserted, self.privacy, self.to]
        texts += [*self.diversion, *self.history, self.called_party]
        texts += [text for pair in self.headers for text in pair]
        for text in texts:
            if "\r" in text or "\n" in text:
                raise InputError("A SIP header cannot hold a line break", field="call", value=text)

    def from_value(self) -> str:
        """From without its tag."""
        name = self.name.replace("\\", "\\\\").replace('"', '\\"')
        display = f'"{name}" ' if name else ""
        return f"{display}<sip:{self.caller}@caller.invalid>"

    def extra_headers(self) -> list[tuple[str, str]]:
        """Headers of forwarding and privacy, and those that were asked for."""
        found = [
            (
                "Diversion",
                f"<sip:{number}@forwarder.invalid>;reason={self.diversion_reason};counter=1",
            )
            for number in self.diversion
        ]
        index = "1"
        for number in self.history:
            found.append(("History-Info", f"<sip:{number}@forwarder.invalid>;index={index}"))
            index += ".1"
        if self.asserted:
            found.append(("P-Asserted-Identity", f"<sip:{self.asserted}@carrier.invalid>"))
        if self.privacy:
            found.append(("Privacy", self.privacy))
        if self.called_party:
            found.append(("P-Called-Party-ID", f"<sip:{self.called_party}@carrier.invalid>"))
        return [*found, *self.headers]

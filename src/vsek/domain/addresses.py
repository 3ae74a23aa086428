"""Entries of SIP headers that name people: From, To, Diversion, History-Info and their like.

:func:`parse` takes a header's text apart into :class:`Address` entries. The text was chosen by
strangers and may be cut at either end: what is no entry is left out, nothing ever fails. Only what
stands outside of quoted display names counts (RFC 3261, 25.1), so that no caller's name can bring
in a number.
"""

from __future__ import annotations

import re
from binascii import a2b_qp
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

LONGEST = 8192
"""Characters that are read of a header."""
MOST = 64
"""Entries that are read of a header."""

_SCHEME = re.compile(r"\s*(sips?|tel):", re.IGNORECASE)
_AT_THE_END = re.compile(r"<([^<>\"]*)>\s*((?:;[^<>\"]*)?)\Z")
_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Address:
    """One entry: its URI, and the parameters behind it. Names of parameters are in lower case."""

    scheme: str
    """``sip``, ``sips`` or ``tel``."""
    user: str
    """User part of a SIP URI or number of a tel URI, without its parameters, decoded."""
    host: str = ""
    uri_params: dict[str, str] = field(default_factory=dict)
    """Parameters inside the URI, those of a telephone number among them (RFC 3966)."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers inside the URI (``?Reason=…``), decoded."""
    params: dict[str, str] = field(default_factory=dict)
    """Parameters of the entry itself."""
    name: str = ""
    """Display name, without quotes and escapes."""


def parse(text: str) -> list[Address]:
    """The entries of a header, in its order; several headers joined with commas are one."""
    text = text[:LONGEST]
    if not text:
        return []
    found: list[Address] = []
    for entry in _entries(text):
        address = _address(entry)
        if address is not None:
            found.append(address)
            if len(found) == MOST:
                break
    return found


def _entries(text: str) -> Iterator[str]:
    """``text`` at its commas, except those in quotes and in angle brackets."""
    if "," not in text:
        yield text
        return
    start, quoted, angle, at = 0, False, False, 0
    while at < len(text):
        character = text[at]
        if quoted and character == "\\":
            at += 1
        elif character == '"':
            quoted = not quoted
        elif not quoted:
            if character == "<":
                angle = True
            elif character == ">":
                angle = False
            elif character == "," and not angle:
                yield text[start:at]
                start = at + 1
        at += 1
    yield text[start:]


def _balanced(text: str) -> bool:
    if "\\" not in text:
        return text.count('"') % 2 == 0
    quoted, at = False, 0
    while at < len(text):
        if quoted and text[at] == "\\":
            at += 1
        elif text[at] == '"':
            quoted = not quoted
        at += 1
    return not quoted


def _address(entry: str) -> Address | None:
    if not _balanced(entry):
        # Cut off, or a quote that somebody did not escape: only what stands at the very end is
        # surely outside of the name.
        last = _AT_THE_END.search(entry)
        return _uri(last[1], _params(last[2]), "") if last else None
    name, rest = _name(entry)
    opened = rest.find("<")
    if opened >= 0:
        closed = rest.find(">", opened)
        if closed < 0:
            return None  # cut off
        name = name or rest[:opened].strip()
        return _uri(rest[opened + 1 : closed], _params(rest[closed + 1 :]), name)
    # Without brackets parameters belong to the entry, not to the URI (RFC 3261, 20.10) …
    uri, semicolon, rest = rest.partition(";")
    if _SCHEME.match(uri) and "@" not in uri and "@" in rest:
        # … unless they stand within the user part.
        inner, _, rest = rest.partition("@")
        host, semicolon, rest = rest.partition(";")
        uri = f"{uri};{inner}@{host}"
    return _uri(uri, _params(semicolon + rest), name)


def _name(entry: str) -> tuple[str, str]:
    """A quoted display name, and what comes after it."""
    stripped = entry.lstrip()
    if not stripped.startswith('"'):
        return "", entry
    at = 1
    while stripped[at] != '"':
        at += 2 if stripped[at] == "\\" else 1
    return _QUOTED_PAIR.sub(r"\1", stripped[1:at]), stripped[at + 1 :]


def _uri(text: str, params: dict[str, str], name: str) -> Address | None:
    scheme = _SCHEME.match(text)
    if scheme is None:
        return None
    kind = scheme[1].lower()
    rest, _, asked = text[scheme.end() :].strip().partition("?")
    headers = {
        key.lower(): decoded(value)
        for key, _, value in (pair.partition("=") for pair in asked.split("&"))
        if key
    }
    if kind == "tel":
        number, _, options = rest.partition(";")
        return Address(kind, decoded(number).strip(), "", _params(options), headers, params, name)
    user, at, place = rest.partition("@")
    if not at:
        user, place = "", rest  # a host alone
    host, _, options = place.partition(";")
    number, _, inner = user.partition(";")
    number, _, _password = number.partition(":")
    uri_params = _params(inner) | _params(options)
    return Address(kind, decoded(number).strip(), host.strip(), uri_params, headers, params, name)


def decoded(text: str) -> str:
    """``text`` without percent escapes; what is not UTF-8 in them is replaced."""
    if "%" not in text:
        return text
    # Whole escapes are those of quoted-printable with another sign, which are read in one step;
    # unquote takes many for each of them.
    if "=" not in text and text.isascii() and not _NO_ESCAPE.search(text):
        return a2b_qp(text.replace("%", "=")).decode("utf-8", "replace")
    return unquote(text, errors="replace")


def _params(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    if not text:
        return found
    for part in text.split(";"):
        key, _, value = part.partition("=")
        key = key.strip().lower()
        if key and len(found) < MOST:
            # The first of a name counts.
            found.setdefault(key, decoded(value.strip().strip('"')))
    return found

"""What the dialplan tells of a caller's call, read: who was called, who calls, and who forwarded.

The dialplan passes headers as they came (``asterisk-conf/extensions.conf``, context ``vsek-in``);
how they are read is described in docs/numbers.md. Everything here was chosen by strangers; reading
it never fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from vsek.call.events import CallArrived
from vsek.domain import forwarding
from vsek.domain.addresses import Address, parse
from vsek.domain.ids import CallId, ChannelId
from vsek.domain.numbers import countries, from_letters, is_dialable, normalise, number_of
from vsek.domain.text import clean_line

VARIABLE = "VSEK_ARGS"
"""The channel variable in which the dialplan leaves the arguments, for recovery."""

_HIDING = frozenset({"header", "id", "user"})
"""Values of Privacy (RFC 3323, 3325) with which the caller's number is not to be shown."""
_HIDDEN = frozenset({"anonymous", "blocked", "private", "restricted", "withheld"})
_NO_NAME = _HIDDEN | {"unavailable", "unknown"}
_QUOTED_PAIR = re.compile(r"\\([\"\\])")


def values_of(arguments: Iterable[str]) -> dict[str, str]:
    """The dialplan's ``key=value`` pairs, decoded."""
    values: dict[str, str] = {}
    for argument in arguments:
        key, _, value = argument.partition("=")
        values.setdefault(key, unquote(value, errors="replace"))
    return values


class Reader:
    """Reads numbers as they are meant in ``country`` (two letters) and, in local form, ``area``
    (an area code without its zero, or nothing)."""

    def __init__(self, country: str, area: str = "") -> None:
        self._country = country
        self._area = area

    def read(
        self, call_id: CallId, channel_id: ChannelId, values: Mapping[str, str]
    ) -> CallArrived:
        """The arrival of the call ``call_id``. A trunk may say (``country``, ``area``) how its
        numbers are meant."""
        trunk = values.get("country", "").upper()
        area = values.get("area", "")
        own = Reader(
            trunk if trunk in countries() else self._country,
            area if area.isdecimal() and area.isascii() else self._area,
        )
        return own._arrival(call_id, channel_id, values)

    def _arrival(
        self, call_id: CallId, channel_id: ChannelId, values: Mapping[str, str]
    ) -> CallArrived:
        asked = _first(f"<{values.get('uri', '')}>") or Address("sip", values.get("did", ""))
        to, party = _first(values.get("to", "")), _first(values.get("pcpid", ""))
        called = [party, to, asked] if values.get("reg") == "1" else [asked, party, to]
        dids = self._dids([address for address in called if address is not None])
        did = dids[0] if dids and is_dialable(dids[0]) else ""
        diversion, history = parse(values.get("div", "")), parse(values.get("hist", ""))
        hops = values.get("hops", "")
        caller, name, withheld = self._caller(values)
        reason = values.get("reason", "")
        return CallArrived(
            call_id,
            channel_id,
            dids=dids,
            caller_number=caller,
            caller_name=name,
            caller_withheld=withheld,
            forwarded_by=forwarding.forwarders(diversion, history, did, self._number),
            forward_reason=clean_line(
                forwarding.reason(diversion, history) if reason in ("", "unknown") else reason, 40
            ),
            loop=forwarding.loop(
                diversion,
                history,
                did,
                self._number,
                here=[self._number(address) for address in (asked, to) if address is not None],
                hops=int(hops) if re.match(r"[0-9]{1,4}\Z", hops) else 0,
            ),
            our_call=clean_line(values.get("ours", ""), 64),
        )

    def _dids(self, called: list[Address]) -> tuple[str, ...]:
        """Candidates for the number that was called: numbers, else the text for operations; and
        what letters stand for."""
        dids = [self._number(address) for address in called]
        if not any(dids):
            texts = (clean_line(address.user, 64) for address in called)
            # s is what Asterisk calls nobody.
            dids = [text for text in texts if text and text != "s"][:1]
        dids += [from_letters(address.user, self._country) for address in called]
        return tuple(dict.fromkeys(did for did in dids if did))

    def _caller(self, values: Mapping[str, str]) -> tuple[str, str, bool]:
        """Number, name, and whether the number is withheld (or is none)."""
        taken = values.get("from", "")
        sender = _first(values.get("sender", ""))
        wishes = set(re.split(r"[;,\s]+", values.get("privacy", "").lower()))
        words = {taken.lower()}
        if sender is not None:
            words |= {sender.user.lower(), sender.host.lower().removesuffix(".invalid")}
        hidden = bool(wishes & _HIDING or words & _HIDDEN)
        hidden = hidden or values.get("pres", "").startswith("prohib")
        if hidden and "none" not in wishes:
            return "", "", True
        number = self._spelt(taken)
        if values.get("trust") == "true":
            asserted = map(self._number, parse(values.get("pai", "")))
            number = next(filter(None, asserted), number)
        name = clean_line(_QUOTED_PAIR.sub(r"\1", values.get("name", "")))
        return number, "" if name.lower() in _NO_NAME else name, not number

    def _number(self, address: Address) -> str:
        number = number_of(address, self._country, self._area)
        return number if is_dialable(number) else ""

    def _spelt(self, text: str) -> str:
        number = normalise(text, self._country, self._area)
        return number if is_dialable(number) else ""


def _first(header: str) -> Address | None:
    return next(iter(parse(header)), None)

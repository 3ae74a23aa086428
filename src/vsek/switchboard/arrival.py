"""What the dialplan tells of a caller's call, read: who was called, who calls, and who forwarded.

The dialplan passes headers as they came (``asterisk-conf/extensions.conf``, context ``vsek-in``);
how they are read is described in docs/numbers.md. Everything here was chosen by strangers; reading
it never fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache, partial

from vsek.call.events import CallArrived
from vsek.domain import forwarding
from vsek.domain.addresses import Address, decoded, parse
from vsek.domain.ids import CallId, ChannelId
from vsek.domain.numbers import countries, from_letters, is_dialable, normalise, number_of
from vsek.domain.text import clean_line

VARIABLE = "VSEK_ARGS"
"""The channel variable in which the dialplan leaves the arguments, for recovery."""

CALLED = 1024
"""So many called numbers are kept as they were read: the same few hundred are called all day."""

_HIDING = frozenset({"header", "id", "user"})
"""Values of Privacy (RFC 3323, 3325) with which the caller's number is not to be shown."""
_HIDDEN = frozenset({"anonymous", "blocked", "private", "restricted", "withheld"})
_NO_NAME = _HIDDEN | {"unavailable", "unknown"}
_PERHAPS_HIDDEN = re.compile("|".join(("%", *sorted(_HIDDEN))))
"""Is found in every From, in lower case, that hides the caller: by a word, or by escapes of it."""
_NO_HOPS = ("", "0")
_QUOTED_PAIR = re.compile(r"\\([\"\\])")


def values_of(arguments: Iterable[str]) -> dict[str, str]:
    """The dialplan's ``key=value`` pairs, decoded; the first of a key counts."""
    pairs = [argument.partition("=") for argument in arguments]
    # All at once, which costs less, unless a value has line breaks itself.
    texts = decoded("\n".join([value for _, _, value in pairs])).split("\n")
    if len(texts) != len(pairs):
        texts = [decoded(value) for _, _, value in pairs]
    values: dict[str, str] = {}
    for (key, _, _), text in zip(pairs, texts, strict=True):
        values.setdefault(key, text)
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
        get = values.get
        country, area = get("country", "").upper(), get("area", "")
        if not country or country not in countries():
            country = self._country
        if not (area.isdecimal() and area.isascii()):
            area = self._area
        headers = get("uri", ""), get("did", ""), get("to", ""), get("pcpid", "")
        dids, here = _called(headers, get("reg") == "1", country, area)
        caller, name, withheld = _caller(values, country, area)
        reason, hops = get("reason", ""), get("hops", "")
        if reason == "unknown":
            reason = ""
        forwarded_by: tuple[str, ...] = ()
        loop = ""
        div, hist = get("div", ""), get("hist", "")
        # Nearly every call was forwarded by nobody.
        if div or hist or hops not in _NO_HOPS:
            number = partial(_number, country=country, area=area)
            diversion, history = parse(div), parse(hist)
            arrived_at = dids[0] if dids and is_dialable(dids[0]) else ""
            forwarded_by = forwarding.forwarders(diversion, history, arrived_at, number)
            reason = reason or forwarding.reason(diversion, history)
            counted = int(hops) if re.match(r"[0-9]{1,4}\Z", hops) else 0
            loop = forwarding.loop(diversion, history, arrived_at, number, here=here, hops=counted)
        ours = get("ours", "")
        return CallArrived(
            call_id,
            channel_id,
            dids=dids,
            caller_number=caller,
            caller_name=name,
            caller_withheld=withheld,
            forwarded_by=forwarded_by,
            forward_reason=clean_line(reason, 40) if reason else "",
            loop=loop,
            our_call=clean_line(ours, 64) if ours else "",
        )


@lru_cache(CALLED)
def _called(
    headers: tuple[str, str, str, str], registered: bool, country: str, area: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Candidates for the number that was called, the best first, and all that may stand for it at
    the end of History-Info: of request URI, its user, To and P-Called-Party-ID."""
    uri, did, to, party = headers
    asked = _first(f"<{uri}>") or Address("sip", did)
    named, meant = _first(to), _first(party)
    called = [meant, named, asked] if registered else [asked, meant, named]
    here = tuple(
        _number(address, country, area) for address in (asked, named) if address is not None
    )
    return _dids([address for address in called if address is not None], country, area), here


def _dids(called: list[Address], country: str, area: str) -> tuple[str, ...]:
    """Candidates for the number that was called: numbers, else the text for operations; and
    what letters stand for."""
    dids = [_number(address, country, area) for address in called]
    if not any(dids):
        texts = (clean_line(address.user, 64) for address in called)
        # s is what Asterisk calls nobody.
        dids = [text for text in texts if text and text != "s"][:1]
    dids += [from_letters(address.user, country) for address in called]
    return tuple(dict.fromkeys(did for did in dids if did))


def _caller(values: Mapping[str, str], country: str, area: str) -> tuple[str, str, bool]:
    """Number, name, and whether the number is withheld (or is none)."""
    get = values.get
    taken, privacy = get("from", ""), get("privacy", "")
    hidden = get("pres", "").startswith("prohib") or taken.lower() in _HIDDEN
    hidden = hidden or _hidden_by(get("sender", ""))
    if hidden or privacy:
        wishes = set(re.split(r"[;,\s]+", privacy.lower()))
        if (hidden or wishes & _HIDING) and "none" not in wishes:
            return "", "", True
    number = ""
    if get("trust") == "true":
        asserted = (_number(address, country, area) for address in parse(get("pai", "")))
        number = next(filter(None, asserted), "")
    if not number:
        number = normalise(taken, country, area)
        number = number if is_dialable(number) else ""
    name = get("name", "")
    if "\\" in name:
        name = _QUOTED_PAIR.sub(r"\1", name)
    name = clean_line(name)
    return number, "" if name.lower() in _NO_NAME else name, not number


def _hidden_by(sender: str) -> bool:
    """Whether From is that of somebody who hides."""
    # Nearly all are somebody's, each another: only what might be nobody's is taken apart.
    if not _PERHAPS_HIDDEN.search(sender.lower()):
        return False
    address = _first(sender)
    return address is not None and (
        address.user.lower() in _HIDDEN or address.host.lower().removesuffix(".invalid") in _HIDDEN
    )


def _number(address: Address, country: str, area: str) -> str:
    number = number_of(address, country, area)
    return number if is_dialable(number) else ""


def _first(header: str) -> Address | None:
    return next(iter(parse(header)), None)

"""Over which numbers a call came: chains of forwarders, and calls that go round in circles.

Two headers tell of it, and a call may have both. Diversion (RFC 5806) stands with the most recent
forwarder first. History-Info (RFC 7044) counts its entries by ``index``, from the number that was
called first to where the call is now; an entry ``1.2`` beside ``1.1`` is another attempt of ``1``,
so that a number which was only tried stands beside the path of the call, not on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence

from vsek.domain.addresses import Address

MOST_HOPS = 10
"""A call that was forwarded more often goes round in circles."""
MOST_FORWARDERS = 16
"""Forwarders that are kept of one call."""

_INDEX = re.compile(r"[0-9]{1,5}(?:\.[0-9]{1,5})*\Z")
_TARGET_PARAMS = ("mp", "rc", "np")
"""What an entry says about the one that it was made of (RFC 7044, 5)."""

# Why a call was forwarded (RFC 4458, 3GPP TS 24.604), in Asterisk's words.
_CAUSES = {
    "302": "cfu",
    "404": "unknown",
    "408": "cfnr",
    "480": "unavailable",
    "486": "cfb",
    "487": "deflection",
    "503": "unavailable",
}

NumberOf = Callable[[Address], str]
"""The number of an entry, empty when it is none."""


def _index(address: Address) -> tuple[int, ...] | None:
    text = address.params.get("index", "").strip()
    return tuple(map(int, text.split("."))) if _INDEX.match(text) else None


def in_order(history: Sequence[Address]) -> list[Address]:
    """Entries of History-Info from the first to the last: by index, where each has one."""
    if not history:
        return []
    indexes = [_index(address) for address in history]
    if any(index is None for index in indexes) or len(set(indexes)) < len(indexes):
        return list(history)
    pairs = sorted(zip(indexes, range(len(history)), strict=True))
    return [history[at] for _, at in pairs]


def path(history: Sequence[Address]) -> list[Address]:
    """The entries that led to the last one, in their order, without attempts beside them."""
    ordered = in_order(history)
    by_index = {_index(address): address for address in ordered}
    if None in by_index or len(by_index) < len(ordered):
        return ordered
    here = _index(ordered[-1]) if ordered else None
    if here is None or len(here) == 1:
        return ordered  # a flat list, as some write it
    way: list[Address] = []
    seen: set[tuple[int, ...]] = set()
    while here is not None and here in by_index and here not in seen:
        seen.add(here)
        way.append(by_index[here])
        here = _before(by_index[here], here)
    return way[::-1]


def _before(address: Address, index: tuple[int, ...]) -> tuple[int, ...] | None:
    for name in _TARGET_PARAMS:
        said = address.params.get(name, "").strip()
        if _INDEX.match(said):
            before = tuple(map(int, said.split(".")))
            if before < index:
                return before
    return index[:-1] or None


def forwarders(
    diversion: Sequence[Address],
    history: Sequence[Address],
    did: str,
    number_of: NumberOf,
) -> tuple[str, ...]:
    """The forwarding numbers, the most recent first: Diversion, then History-Info.

    The end of History-Info is where the call is now: ``did`` there forwarded nothing. Numbers that
    were only tried come last.
    """
    way = _numbers(path(history), number_of)
    while way and way[-1] in (did, ""):
        way.pop()
    beside = [number for number in _numbers(in_order(history), number_of) if number != did]
    chain = _numbers(diversion, number_of) + way[::-1] + beside[::-1]
    return tuple(dict.fromkeys(number for number in chain if number))[:MOST_FORWARDERS]


def _numbers(addresses: Iterable[Address], number_of: NumberOf) -> list[str]:
    return [number_of(address) for address in addresses]


def reason(diversion: Sequence[Address], history: Sequence[Address]) -> str:
    """Why the most recent forwarder forwarded, in a word; empty when nobody says."""
    for address in diversion:
        said = address.params.get("reason", "")
        if said and said != "unknown":
            return said
    for address in reversed(path(history)):
        cause = address.uri_params.get("cause") or address.params.get("cause")
        told = re.search(r"\bSIP\s*;.*?cause\s*=\s*([0-9]{3})", address.headers.get("reason", ""))
        if cause is None and told:
            cause = told[1]
        if cause in _CAUSES:
            return _CAUSES[cause]
    return ""


def loop(
    diversion: Sequence[Address],
    history: Sequence[Address],
    did: str,
    number_of: NumberOf,
    *,
    here: Collection[str] = (),
    hops: int = 0,
) -> str:
    """Whether the call goes round in circles: why, in a word; empty when it does not.

    ``did`` is the number at which it arrived; ``here`` are all numbers that may stand for that in
    the last entry of History-Info (of the request URI, of To); ``hops`` how many Diversion headers
    there are, should more have been sent than were read. Each header is judged by itself, since
    both tell of the same forwardings; and a number that stands several times in a row is one that
    several servers wrote down.
    """
    diverted = _runs(_numbers(diversion, number_of))
    way = _runs(_numbers(path(history), number_of))
    if way and way[-1] in here:
        way.pop()
    while way and way[-1] == did:
        way.pop()
    counters = (address.params.get("counter", "") for address in diversion)
    counted = max((int(text) for text in counters if re.match(r"[0-9]{1,4}\Z", text)), default=0)
    if max(len(diverted), len(way), hops, counted) > MOST_HOPS:
        return "too_many_hops"
    if any(len(set(chain)) < len(chain) for chain in (diverted, way)):
        return "number_twice"
    if did and (did in diverted or did in way):
        return "came_back"
    return ""


def _runs(numbers: list[str]) -> list[str]:
    """``numbers`` without empty ones; equal ones in a row are one."""
    found: list[str] = []
    for number in numbers:
        if number and number != (found[-1] if found else ""):
            found.append(number)
    return found

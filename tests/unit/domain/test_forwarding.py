"""Chains of forwarders, and calls that go round in circles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsek.domain import forwarding
from vsek.domain.addresses import Address, parse


def _number(address: Address) -> str:
    return address.user if address.user.isdigit() else ""


def diversion(*users: str) -> list[Address]:
    return parse(",".join(f"<sip:{user}@h>" for user in users))


def history(*entries: str) -> list[Address]:
    """Entries like ``1.1 user;mp=1``."""
    pairs = [entry.partition(" ") for entry in entries]
    texts = []
    for index, _, rest in pairs:
        user, _, more = rest.partition(";")
        texts.append(f"<sip:{user}@h>;index={index}" + (f";{more}" if more else ""))
    return parse(",".join(texts))


@pytest.mark.parametrize(
    ("div", "hist", "expected"),
    [
        (["1", "2"], [], ("1", "2")),
        ([], ["1 1", "1.1 2", "1.1.1 9"], ("2", "1")),
        # Without an entry for where the call is.
        ([], ["1 1", "1.1 2"], ("2", "1")),
        # Our number written down twice, by two servers.
        ([], ["1 1", "1.1 9", "1.1.1 9"], ("1",)),
        (["1"], ["1 1", "1.1 9"], ("1",)),
        (["1"], ["1 2", "1.1 1", "1.1.1 9"], ("1", "2")),
        # By index, not by place.
        ([], ["1.1.1 9", "1.1 2", "1 1"], ("2", "1")),
        ([], ["1.10 9", "1.9 2", "1 1"], ("1", "2")),
        # A number that was only tried comes last.
        ([], ["1 1", "1.1 2", "1.2 9"], ("1", "2")),
        # … unless it says itself that the next one was made of it.
        ([], ["1 1", "1.1 2", "1.2 9;mp=1.1"], ("2", "1")),
        ([], ["1 1", "1.1 2", "1.2 9;mp=1.2"], ("1", "2")),
        ([], ["1 1", "1.1 2", "1.2 9;rc=x"], ("1", "2")),
        # A flat list, no index, the same index: by place.
        ([], ["1 1", "2 2", "3 9"], ("2", "1")),
        ([], ["x 1", "1 2", "2 9"], ("2", "1")),
        ([], ["1 1", "1 2", "1 9"], ("2", "1")),
        ([], ["1 1", "1.1 name", "1.1.1 9"], ("1",)),
        ([], [], ()),
    ],
)
def test_forwarders(div: list[str], hist: list[str], expected: tuple[str, ...]) -> None:
    found = forwarding.forwarders(diversion(*div), history(*hist), "9", _number)
    assert found == expected


@pytest.mark.parametrize(
    ("div", "hist", "expected"),
    [
        (["1"], ["1 1", "1.1 9"], ""),
        (["1", "1"], [], ""),
        (["1", "2"], ["1 2", "1.1 1", "1.1.1 9"], ""),
        ([], ["1 9"], ""),
        ([], ["1 1", "1.1 1", "1.1.1 9", "1.1.1.1 9"], ""),
        # A number of ours, carried to the trunk's main number, where it is taken.
        ([], ["1 9", "1.1 8"], ""),
        # Somebody was tried twice, beside the path.
        ([], ["1 1", "1.1 2", "1.2 3", "1.3 2", "1.4 9"], ""),
        (["name", "x", "name"], [], ""),
        (["1", "2", "1"], [], "number_twice"),
        ([], ["1 1", "1.1 2", "1.1.1 1", "1.1.1.1 9"], "number_twice"),
        (["9"], [], "came_back"),
        (["1", "9"], [], "came_back"),
        ([], ["1 9", "1.1 1"], "came_back"),
        ([], ["1 9", "1.1 1", "1.1.1 9"], "came_back"),
        ([str(n) for n in range(100, 110)], [], ""),
        ([str(n) for n in range(100, 111)], [], "too_many_hops"),
    ],
)
def test_loops(div: list[str], hist: list[str], expected: str) -> None:
    found = forwarding.loop(diversion(*div), history(*hist), "9", _number, here=["9", "8"])
    assert found == expected


def test_what_is_counted_elsewhere() -> None:
    counted = parse("<sip:1@h>;counter=11")
    assert forwarding.loop(counted, [], "9", _number) == "too_many_hops"
    assert forwarding.loop(parse("<sip:1@h>;counter=x"), [], "9", _number) == ""
    assert forwarding.loop(diversion("1"), [], "9", _number, hops=12) == "too_many_hops"
    assert forwarding.loop(diversion("1"), [], "", _number, hops=10) == ""


@pytest.mark.parametrize(
    ("div", "hist", "expected"),
    [
        ("<sip:1@h>;reason=no-answer", "", "no-answer"),
        ("<sip:1@h>;reason=unknown,<sip:2@h>;reason=away", "", "away"),
        ("<sip:1@h>", "<sip:1@h>;index=1,<sip:9@h;cause=486>;index=1.1", "cfb"),
        ("", "<sip:1@h?Reason=SIP%3Bcause%3D302>;index=1,<sip:9@h>;index=1.1", "cfu"),
        ("", "<sip:1@h?Reason=Q.850%3Bcause%3D16>;index=1,<sip:9@h>;index=1.1", ""),
        ("", "<sip:1@h>;index=1;cause=408", "cfnr"),
        ("", "<sip:1@h>;index=1;cause=999", ""),
    ],
)
def test_reasons(div: str, hist: str, expected: str) -> None:
    assert forwarding.reason(parse(div), parse(hist)) == expected


_INDEX = st.lists(st.integers(0, 3), min_size=1, max_size=4).map(lambda n: ".".join(map(str, n)))


@given(st.lists(st.tuples(_INDEX, st.integers(1, 9), st.sampled_from(["", ";mp=1", ";rc=1.1"]))))
def test_any_history_has_an_end(entries: list[tuple[str, int, str]]) -> None:
    told = parse(",".join(f"<sip:{user}@h>;index={index}{more}" for index, user, more in entries))
    assert len(forwarding.path(told)) <= len(told)
    assert "9" not in forwarding.forwarders([], told, "9", _number)[:1]

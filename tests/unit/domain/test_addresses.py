"""Headers that name people, taken apart."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsek.domain.addresses import MOST, Address, decoded, parse


@pytest.mark.parametrize(
    ("header", "users"),
    [
        ("<sip:1@h>", ["1"]),
        ("sip:1@h", ["1"]),
        ("SIPS:1@h;x=y", ["1"]),
        ("<tel:+49-30-1>", ["+49-30-1"]),
        ("tel:+4930;ext=1", ["+4930"]),
        (",<sip:1@h>,, <sip:2@h>;a=b ,sip:3@h", ["1", "2", "3"]),
        ('"A, <sip:9@h>" <sip:1@h>', ["1"]),
        ('"\\"<sip:9@h>" <sip:1@h>, <sip:2@h>', ["1", "2"]),
        ("Anna B <sip:1@h>", ["1"]),
        ("<sip:h>", [""]),
        ("<sip:1:secret@h>", ["1"]),
        ("<sip:1;phone-context=+49@[2001:db8::1]:5060;user=phone>", ["1"]),
        ("sip:1;phone-context=+49@h;user=phone", ["1"]),
        ("<sip:%2B49%2030@h>", ["+49 30"]),
        ("<sip:%FF@h>", ["\ufffd"]),
        ("<mailto:1@h>", []),
        ("1", []),
        ("", []),
        # Cut off.
        ("<sip:1@h>,<sip:2", ["1"]),
        ('<sip:1@h>,"<sip:9@h> and', ["1"]),
        ('"<sip:9@h> and', []),
        # A quote that nobody closed: only what stands at the end is outside of it.
        ('5" pipe <sip:1@h>;x=y', ["1"]),
        ('5" <sip:9@h> <sip:1@h>', ["1"]),
    ],
)
def test_users(header: str, users: list[str]) -> None:
    assert [address.user for address in parse(header)] == users


def test_everything_of_an_entry() -> None:
    (address,) = parse(
        '"A \\"B\\"" <sip:1;Isub=2@H:5060;User=phone;cause=302?Reason=SIP%3Bcause%3D302&x=1>'
        ';Index=1.1;mp="1";mp=2'
    )
    assert address == Address(
        "sip",
        "1",
        "H:5060",
        {"isub": "2", "user": "phone", "cause": "302"},
        {"reason": "SIP;cause=302", "x": "1"},
        {"index": "1.1", "mp": "1"},
        'A "B"',
    )


def test_a_flood_is_read_in_part() -> None:
    assert len(parse(",".join(["<sip:1@h>"] * 500))) == MOST


@given(st.text(st.sampled_from('"<>,;\\@:?=&% sip:tel+49A[]'), max_size=80))
def test_nothing_fails(header: str) -> None:
    for address in parse(header):
        assert address.scheme in ("sip", "sips", "tel")


_ESCAPES = st.sampled_from(
    [
        *("%", "%2B", "%c3%9f", "%C3", "%FF", "%25", "%3D", "%2", "%0A", "%00", "=", "==", "=41"),
        *("_", "a", "B", "9", " ", "\t", "\n", "\r\n", "\x00", "ß", "€", "\udcff", "\U0001f600"),
    ]
)


@given(st.one_of(st.lists(_ESCAPES, max_size=12).map("".join), st.text()))
def test_escapes_are_undone_as_by_urllib(text: str) -> None:
    assert decoded(text) == unquote(text, errors="replace")

"""Telephone numbers: one spelling for each, whatever arrives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsek.domain.numbers import (
    countries,
    display,
    is_dialable,
    is_e164,
    looks_like_number,
    normalise,
)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("+49 30 1234567", "+49301234567"),
        ("+49 (0)30 1234567", "+49301234567"),
        ("0049301234567", "+49301234567"),
        ("030/1234567", "+49301234567"),
        ("(030) 1234567", "+49301234567"),
        ("030\u20111234567", "+49301234567"),
        ("49301234567", "+49301234567"),
        ("\u202a+49 30 1234567\u202c", "+49301234567"),
        ("sip:+49301234567@example.com;user=phone", "+49301234567"),
        ("tel:+49-30-1234567", "+49301234567"),
        ("sip:%2B49301234567@x", "+49301234567"),
        ("00442079460123", "+442079460123"),
        ("+1 212 555 0100", "+12125550100"),
        ("1001", "1001"),
        ("110", "110"),
        ("0000000", "0000000"),
        ("*21#", "*21#"),
        ("alice", "alice"),
        ("anonymous", ""),
        ("Anonymous", ""),
        ("sip:anonymous@anonymous.invalid", ""),
        ("unknown", ""),
        ("  ", ""),
        ("", ""),
    ],
)
def test_normalise(raw: str, expected: str) -> None:
    assert normalise(raw) == expected


@pytest.mark.parametrize(
    ("raw", "country", "expected"),
    [
        ("(212) 555-0100", "US", "+12125550100"),
        ("(212) 736-5000", "US", "+12127365000"),
        ("011 49 30 1234567", "US", "+49301234567"),
        ("0049 30 1234567", "US", "+49301234567"),
        ("01 5350 500", "AT", "+4315350500"),
        ("030 1234567", "XX", "0301234567"),
    ],
)
def test_national_numbers(raw: str, country: str, expected: str) -> None:
    assert normalise(raw, country) == expected


_SPELT = st.text(st.sampled_from("0123456789+()-/ anx;@:sipte%*#\u202e\u00b2\u0663"), max_size=25)


@given(st.one_of(_SPELT, st.text()), st.sampled_from(["DE", "US", "GB", "IT", "AR", "MX", "XX"]))
def test_normalising_twice_changes_nothing(raw: str, country: str) -> None:
    once = normalise(raw, country)
    assert normalise(once, country) == once
    assert len(once) <= 64


def test_kinds_of_numbers() -> None:
    assert is_e164("+49301234567")
    assert not is_e164("+0301234567")
    assert not is_e164("+49301234567\n")
    assert is_dialable("1001")
    assert not is_dialable("alice")
    assert not is_dialable("1001\n")
    assert looks_like_number("+49 30/1")
    assert not looks_like_number("anna")
    assert display("+49301234567") == "+49 30 1234567"
    assert display("+999123456") == "+999123456"
    assert display("1001") == "1001"
    assert "DE" in countries()

"""Telephone numbers: one spelling for each, whatever arrives."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsek.domain.addresses import parse
from vsek.domain.numbers import (
    block,
    countries,
    display,
    from_letters,
    is_dialable,
    is_e164,
    looks_like_number,
    normalise,
    number_of,
    overlap,
    starts,
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


@pytest.mark.parametrize(
    ("raw", "country", "area", "expected"),
    [
        ("123456", "DE", "30", "+4930123456"),
        ("12 34-56", "DE", "30", "+4930123456"),
        ("1234", "DE", "30", "1234"),
        ("0123456", "DE", "30", "+49123456"),
        ("4930123456", "DE", "30", "+4930123456"),
        ("555 0100", "US", "212", "+12125550100"),
        ("123456", "XX", "30", "123456"),
        ("*31#030 123456", "DE", "", "+4930123456"),
        ("#31#+4930123456", "DE", "", "+4930123456"),
        ("#31#", "DE", "", "#31#"),
        ("0800 FLOWERS", "DE", "", "0800 FLOWERS"),
    ],
)
def test_local_numbers_and_prefixes(raw: str, country: str, area: str, expected: str) -> None:
    assert normalise(raw, country, area) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("0800 FLOWERS", "+498003569377"),
        ("+49 800 flowers", "+498003569377"),
        ("0800 356937", ""),
        ("information", ""),
        ("0abc", ""),
        ("", ""),
    ],
)
def test_letters_for_digits(raw: str, expected: str) -> None:
    assert from_letters(raw) == expected


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("<sip:123456;phone-context=+49-30@h>", "+4930123456"),
        ("<tel:123-456;phone-context=+4930>", "+4930123456"),
        ("tel:123-456;phone-context=+4930", "+4930123456"),
        ("<sip:030123456;phone-context=+49@h;user=phone>", "+4930123456"),
        ("<sip:+4930123456;phone-context=+43@h>", "+4930123456"),
        ("<sip:2125550100;phone-context=+1@h>", "+12125550100"),
        ("<sip:12;phone-context=example.com@h>", "12"),
        ("<sip:12;phone-context=+999@h>", "12"),
        ("<sip:0049301234567;phone-context=+43@h>", "+49301234567"),
        ("<sip:anonymous;phone-context=+49@h>", ""),
    ],
)
def test_numbers_in_the_context_of_others(uri: str, expected: str) -> None:
    (address,) = parse(uri)
    assert number_of(address) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("+49 30 123456*", "+4930123456*"),
        ("+49 30 123456-*", "+4930123456*"),
        ("+49 (0)30 123456 *", "+4930123456*"),
        ("030/1234*", "+49301234*"),
        ("0049301234*", "+49301234*"),
        ("+1 212 555*", "+1212555*"),
        ("12*", "12*"),
        ("+49 30*", ""),
        ("+49*", ""),
        ("030*", ""),
        ("*", ""),
        ("*21#", ""),
        ("+4930123456", ""),
        ("x12*", ""),
        ("12345*", ""),
        ("0*", ""),
    ],
)
def test_blocks(raw: str, expected: str) -> None:
    assert block(raw) == expected
    assert block(expected) == expected


def test_blocks_in_local_form() -> None:
    assert block("123456*", "DE", "30") == "+4930123456*"
    assert block("0*", "XX") == ""


def test_what_overlaps() -> None:
    assert overlap("+49301", "+49301")
    assert overlap("+49301*", "+49301")
    assert overlap("+493012", "+49301*")
    assert overlap("+493012*", "+49301*")
    assert not overlap("+49301", "+493012")
    assert not overlap("+49302*", "+49301*")
    assert starts("+49*") == ["+4*", "+*"]
    assert starts("12") == ["12*", "1*"]


_SPELT = st.text(st.sampled_from("0123456789+()-/ anx;@:sipte%*#\u202e\u00b2\u0663"), max_size=25)


@given(st.one_of(_SPELT, st.text()), st.sampled_from(["DE", "US", "GB", "IT", "AR", "MX", "XX"]))
def test_normalising_twice_changes_nothing(raw: str, country: str) -> None:
    once = normalise(raw, country)
    assert normalise(once, country) == once
    assert len(once) <= 64
    assert block(block(raw, country), country) == block(raw, country)
    assert from_letters(raw, country) in ("", normalise(from_letters(raw, country)))


_CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)


def _by_the_library(number: str) -> str:
    """What phonenumbers makes of a number in international form; the same, if nothing."""
    try:
        read = phonenumbers.parse(number, None)
        if phonenumbers.is_possible_number(read):
            written = phonenumbers.format_number(read, phonenumbers.PhoneNumberFormat.E164)
            if is_e164(written) and phonenumbers.parse(written, None) == read:
                return written
    except phonenumbers.NumberParseException:
        pass
    return number


def test_every_countrys_numbers_are_read_as_by_the_library() -> None:
    """Any first digit and length: among them national prefixes, which the library takes away or
    rewrites, Italy's zeros, and lengths that a country does not have."""
    for code in [*_CODES, 0, 21, 210, 999]:
        for length in range(1, 16 - len(str(code))):
            for first in range(10):
                number = f"+{code}{first}{'5231046789521304'[: length - 1]}"
                assert normalise(number) == _by_the_library(number)


@given(st.sampled_from(_CODES), st.text("0123456789", max_size=16))
def test_any_number_is_read_as_by_the_library(code: int, digits: str) -> None:
    assert normalise(f"+{code}{digits}") == _by_the_library(f"+{code}{digits}")


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

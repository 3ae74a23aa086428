"""Telephone numbers as they arrive from networks, files and agents.

:func:`normalise` turns every spelling of a number into one, so that equal numbers compare equal:
E.164 (``+49301234567``) where that can be told, else the cleaned text (an internal number, a SIP
user name). Withheld numbers become the empty string. It never fails and is idempotent.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import phonenumbers

from vsek.domain.addresses import Address, decoded
from vsek.domain.text import clean_line

NUMBER_LIMIT = 64
BLOCK = "*"
"""Stands at the end of a block of numbers, for any digits or none: ``+4930123*``."""
KEPT = 4096
"""So many results are kept: the same few numbers are called all day, and a call names each of its
numbers several times."""
_WITHHELD = frozenset(
    {
        "anonymous",
        "asserted",
        "blocked",
        "coinline",
        "no-number",
        "private",
        "restricted",
        "unavailable",
        "unknown",
        "withheld",
    }
)
_SCHEME = re.compile(r"(?:sips?|tel):", re.IGNORECASE)
_DIALABLE = re.compile(r"\+?\(?[0-9][0-9().\-/ ]*\Z")
_SEPARATORS = re.compile(r"[().\-/ ]+")
_DIGITS = re.compile(r"\+?[0-9*#]{1,32}\Z")
_INTERNATIONAL = re.compile(r"\+[1-9][0-9]{3,14}\Z")
_CONTEXT = re.compile(r"\+[1-9][0-9]{0,14}\Z")
_SHOW_OR_HIDE = re.compile(r"\A(?:[*#]31[*#])+(?=[+0-9])")
"""By which a telephone shows or hides its own number; networks leave it in at times."""
_LETTERS = re.compile(r"\+?[0-9][0-9A-Za-z().\-/ ]*\Z")
_INTERNAL_LIMIT = 4
"""Digits of the longest number without any prefix that is never a local one."""
_LOCAL_LIMIT = 9
"""Digits of the longest local number."""
_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212\uff0d", "-"))
_COUNTRIES = frozenset(phonenumbers.SUPPORTED_REGIONS)


class _Plan(NamedTuple):
    """What is said of all numbers of a calling code."""

    begins: int
    """Where in E.164 the national number begins."""
    prefix: re.Pattern[str]
    """Where a national number begins like this, it is rewritten."""
    lengths: frozenset[int]
    """Digits that national numbers may have."""


def _calling_code(digits: str) -> tuple[str, str]:
    """The calling code with which ``digits`` begin, and its main country; empty: of none."""
    for length in (1, 2, 3):
        code = digits[:length]
        regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(code))
        if regions:
            return code, str(regions[0])
    return "", ""


@lru_cache(1000)
def _plan(start: str) -> _Plan | None:
    """The plan of the calling code with which the three digits ``start`` begin, if there is one."""
    code, region = _calling_code(start)
    if not code:
        return None
    said = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(int(code), region)
    if said is None or said.general_desc is None:
        return None
    general = said.general_desc
    return _Plan(
        1 + len(code),
        re.compile(said.national_prefix_for_parsing or "(?!)"),
        frozenset((*general.possible_length, *general.possible_length_local_only)),
    )


def _in_plan(text: str) -> bool:
    """Whether ``text`` is a possible number in E.164 that :func:`_e164` would leave as it is.

    That is so for nearly all callers, and takes a small part of the time: all depends on how long
    the national number is, and whether it begins like one that is rewritten. No tells nothing.
    """
    if not _INTERNATIONAL.match(text):
        return False
    plan = _plan(text[1:4])
    if plan is None:
        return False
    national = text[plan.begins :]
    return len(national) in plan.lengths and not plan.prefix.match(national)


def _user_part(text: str) -> str:
    """The number inside a SIP or tel URI, percent escapes undone."""
    scheme = _SCHEME.match(text)
    if scheme:
        text = decoded(text[scheme.end() :]).split("@", 1)[0].split(";", 1)[0]
    return _SHOW_OR_HIDE.sub("", text.strip())


def _e164(digits: str, country: str) -> str | None:
    explicit = digits.startswith("+")
    try:
        number = phonenumbers.parse(digits, None if explicit else country)
    except phonenumbers.NumberParseException:
        return None
    # Without "+" and without a trunk or international prefix the digits may as well be an
    # internal number: only a number that exists in the plan is taken for a public one.
    prefixed = explicit or digits.startswith("0")
    good = (
        phonenumbers.is_possible_number(number)
        if prefixed
        else phonenumbers.is_valid_number(number)
    )
    if not good:
        return None
    written: str = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    # Rows of zeros and the like do not survive a second reading; they are no public numbers.
    # What was written so already has been read so.
    try:
        stable = written == digits or phonenumbers.parse(written, None) == number
    except phonenumbers.NumberParseException:
        return None
    return written if stable and is_e164(written) else None


@lru_cache(KEPT)
def normalise(raw: str, country: str = "DE", area: str = "") -> str:
    """``raw`` in its one spelling; ``country`` (two letters) is for numbers in national form.

    ``area`` is the area code (without the zero before it) for numbers in local form, such as
    ``1234567``; without it those stay as they are.
    """
    if _in_plan(raw):
        return raw
    text = clean_line(_user_part(clean_line(raw, 4 * NUMBER_LIMIT)), NUMBER_LIMIT)
    text = text.translate(_DASHES)
    if not text or text.lower() in _WITHHELD:
        return ""
    if not _DIALABLE.match(text):
        return text
    # The trunk prefix that some write inside an international number, +49 (0)30 …
    compact = _SEPARATORS.sub("", re.sub(r"\A(\+|00)([0-9 ]+)\(0\)", r"\1\2", text))
    if area and compact.isdigit() and not compact.startswith("0"):
        local = _local(compact, country, area)
        if local:
            return local
    written = _e164(compact, country)
    if written is None and compact.startswith("00"):
        written = _e164("+" + compact[2:], country)
    return written or compact


def _local(digits: str, country: str, area: str) -> str | None:
    """A number in local form, if it can be one."""
    if not _INTERNAL_LIMIT < len(digits) <= _LOCAL_LIMIT:
        return None
    try:
        number = phonenumbers.parse(area + digits, country)
    except phonenumbers.NumberParseException:
        return None
    code = phonenumbers.country_code_for_region(country)
    written = f"+{code}{area}{digits}"
    return written if phonenumbers.is_possible_number(number) and is_e164(written) else None


def number_of(address: Address, country: str = "DE", area: str = "") -> str:
    """The number in an entry of a header, as :func:`normalise` gives it.

    A local number with ``phone-context=+49…`` (RFC 3966, 5.1.5) is read there.
    """
    context = address.uri_params.get("phone-context") or address.params.get("phone-context", "")
    if not context:
        return normalise(address.user, country, area)
    context = _SEPARATORS.sub("", context)
    digits = _SEPARATORS.sub("", address.user)
    region = _region(context)
    if region and digits.isdecimal() and digits.isascii() and not digits.startswith("00"):
        # With a zero before the area code it is in national form, in the context's country.
        whole = _e164(digits if digits.startswith("0") else context + digits, region)
        if whole is not None:
            return whole
    return normalise(address.user, country, area)


def _region(context: str) -> str:
    """The country of an international prefix, such as ``+49`` or ``+49 30``; empty: of none."""
    return _calling_code(context[1:])[1] if _CONTEXT.match(context) else ""


def block(raw: str, country: str = "DE", area: str = "") -> str:
    """A block of numbers that begin alike, ``+49 30 123456*``, in its one spelling; empty if it is
    none.

    The beginning of a public number must have six digits at least, country code included: less
    would be a region.
    """
    text = clean_line(raw, NUMBER_LIMIT).translate(_DASHES)
    start = text.removesuffix(BLOCK).strip("-/. ")
    if text == start or not _DIALABLE.match(start):
        return ""
    digits = _SEPARATORS.sub("", re.sub(r"\A(\+|00)([0-9 ]+)\(0\)", r"\1\2", start))
    if digits.isdecimal() and not digits.startswith("0"):
        if len(digits) <= _INTERNAL_LIMIT:
            return digits + BLOCK
        digits = (area and _local(digits, country, area)) or normalise(digits, country)
    elif digits.startswith("00"):
        digits = f"+{digits[2:]}"
    elif digits.startswith("0"):
        try:
            number = phonenumbers.parse(digits, country)
        except phonenumbers.NumberParseException:
            return ""
        digits = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return digits + BLOCK if is_e164(digits) and len(digits) > 6 else ""


def starts(number: str) -> list[str]:
    """The blocks, other than itself, in which a number or a block would be, the narrowest first."""
    digits = number.removesuffix(BLOCK)
    longest = len(digits) - 1 if digits != number else len(digits)
    return [digits[:length] + BLOCK for length in range(longest, 0, -1)]


def overlap(one: str, other: str) -> bool:
    """Whether two numbers, or blocks of numbers, have a number in common."""
    return one == other or one in starts(other) or other in starts(one)


def from_letters(text: str, country: str = "DE") -> str:
    """A number that is written with letters (``0800 FLOWERS``), by the keys of a telephone; empty
    if it is none."""
    text = clean_line(text, NUMBER_LIMIT)
    if text.removeprefix("+").isdecimal():
        return ""
    letters = sum(character.isalpha() for character in text)
    if letters < 3 or not _LETTERS.match(text):
        return ""
    number = normalise(phonenumbers.convert_alpha_characters_in_number(text), country)
    return number if is_e164(number) and len(number) > _LOCAL_LIMIT else ""


def is_e164(number: str) -> bool:
    """Whether ``number`` is in the international form that :func:`normalise` gives."""
    return _INTERNATIONAL.match(number) is not None


def is_dialable(number: str) -> bool:
    """Whether ``number`` (normalised) consists of digits: E.164 or an internal number."""
    return _DIGITS.match(number) is not None


def looks_like_number(text: str) -> bool:
    """Whether a reader, or a PBX, could take ``text`` for a telephone number."""
    return re.match(r"[+*#0-9][0-9().\-/ *#]*\Z", text.strip()) is not None


def display(number: str) -> str:
    """``number`` with spaces, as people read it: ``+49 30 1234567``; other text as it is."""
    if not is_e164(number):
        return number
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return number
    written: str = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    return written


def countries() -> frozenset[str]:
    """Countries that :func:`normalise` knows."""
    return _COUNTRIES

"""Numbers to which no rule may send calls: emergency calls, premium rates, and what is no public
number (an extension, or a code by which lines are programmed)."""

from __future__ import annotations

import re

import phonenumbers
from phonenumbers import shortnumberinfo

from vsek.domain.numbers import is_e164

_EMERGENCY = frozenset({"110", "112", "911", "999"})
_DEAR = re.compile(
    # The library knows the numbers that are given out, not all that are dialled and charged.
    r"\+49(?:900|190|13[78]|118|12)|\+43(?:90|93|118)|\+41(?:90|18)|\+44(?:9|87|118)"
)
_DEAR_HERE = re.compile(r"0900|118[0-9]{2,3}\Z")
"""As dialled within a country; directory inquiries connect on and charge for it."""


def objection(number: str, country: str = "DE") -> str:
    """What speaks against sending calls to ``number`` (normalised); empty: nothing.

    ``country`` (two letters) is where numbers without a country code are dialled.
    """
    if is_e164(number):
        try:
            parsed = phonenumbers.parse(number, None)
        except phonenumbers.NumberParseException:
            return "is not a public number"  # no country has that code
        if not phonenumbers.is_possible_number(parsed):
            return "is not a public number"
        region = phonenumbers.region_code_for_country_code(parsed.country_code or 0)
        digits = str(parsed.national_number)
        # After an area code the same short number rings there.
        area = phonenumbers.length_of_geographical_area_code(parsed)
        if _is_emergency(digits, region) or _is_emergency(digits[area:], region):
            return "is an emergency number"
        kind = phonenumbers.number_type(parsed)
        if kind == phonenumbers.PhoneNumberType.PREMIUM_RATE or _DEAR.match(number):
            return "is a premium-rate number"
        return ""
    if number.isascii() and number.isdigit() and _is_emergency(number, country):
        return "is an emergency number"
    if _DEAR_HERE.match(number):
        return "is a premium-rate number"
    return "is not a public number"


def _is_emergency(digits: str, region: str) -> bool:
    return digits in _EMERGENCY or shortnumberinfo.is_emergency_number(digits, region)

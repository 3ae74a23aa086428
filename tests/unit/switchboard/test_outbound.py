"""The trunk over which calls leave: what the settings allow, and what calls know of it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from vsek.call.model import Outbound
from vsek.domain.directory import Directory
from vsek.settings import OutboundSettings, Settings
from vsek.switchboard.commands import endpoint_of
from vsek.switchboard.directory import for_calls


@pytest.mark.parametrize(
    "given",
    [
        {"endpoint": "PJSIP/carrier"},
        {"endpoint": "PJSIP/{number}@a&PJSIP/{number}@b"},
        {"endpoint": "PJSIP/{number}@carrier, x"},
        {"endpoint": "{number}"},
        {"number": "030123456"},
        {"number": "+49 30 123456"},
        {"ring_s": 0},
    ],
)
def test_what_is_no_trunk_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        OutboundSettings(**given)


def test_calls_know_that_there_is_a_trunk() -> None:
    def known(settings: Settings) -> Outbound | None:
        return for_calls(Directory({}, {}), settings, str, {}, date(2026, 11, 22)).outbound

    assert known(Settings()) is None
    trunk = OutboundSettings(endpoint="PJSIP/{number}@carrier", number="+4930123456", ring_s=12)
    assert known(Settings(outbound=trunk)) == Outbound("+4930123456", 12.0)
    assert endpoint_of(trunk.endpoint, "+491711234567") == "PJSIP/+491711234567@carrier"

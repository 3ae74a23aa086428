"""From when to when audit and replay look."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from vsek.cli.span import span
from vsek.errors import InputError

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 3, 1, 23, 30, tzinfo=UTC).timestamp()  # 00:30 on the 2nd in Berlin


def test_a_day_of_the_time_zone_up_to_now() -> None:
    first = datetime(2026, 3, 1, 23, tzinfo=UTC).timestamp()
    assert span("2026-03-02", None, None, zone=BERLIN, now=NOW) == (first, NOW)


@pytest.mark.parametrize("day", ["2026-03-02", "2030-01-01"])
def test_a_day_that_has_not_begun_is_refused_not_found_faultless(day: str) -> None:
    with pytest.raises(InputError, match="has not begun yet") as raised:
        span(day, None, None, zone=ZoneInfo("UTC"), now=NOW)
    assert (raised.value.field, raised.value.value) == ("--day", day)

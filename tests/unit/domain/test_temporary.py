"""Temporary instructions: how times are written, and both nights in which clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vsek.acd.hours import is_open
from vsek.domain.client import Client
from vsek.domain.directory import ClientEntry, Directory
from vsek.domain.temporary import Temporary, moment, parse_time, write_time
from vsek.domain.yamlfile import read_clients, write_clients
from vsek.settings import Settings
from vsek.store.clients import over
from vsek.switchboard.directory import for_calls

BERLIN = "Europe/Berlin"


def client(*temporary: dict[str, Any], **more: Any) -> Client:
    return Client.model_validate(
        {
            "id": "a",
            "name": "A",
            "numbers": {"did": ["+49301234567"]},
            "contacts": [{"name": "C", "email": "c@example.com", "notes": True}],
            "temporary": list(temporary),
            **more,
        }
    )


def utc(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("text", "ends", "read"),
    [
        ("2026-12-24 16:00", True, "2026-12-24 16:00"),
        ("2026-12-24T16:00:30", False, "2026-12-24 16:00:30"),
        ("2026-12-24", False, "2026-12-24 00:00"),
        ("2026-12-24", True, "2026-12-25 00:00"),
        ("2026-12-31 24:00", True, "2027-01-01 00:00"),
        ("2028-02-29", True, "2028-03-01 00:00"),
        ("2026-10-25 02:30+02:00", True, "2026-10-25 02:30+02:00"),
        ("2026-10-25 02:30 Z", True, "2026-10-25 02:30+00:00"),
    ],
)
def test_times_are_read_and_written(text: str, ends: bool, read: str) -> None:
    time = parse_time(text, ends=ends)
    assert write_time(time) == read
    assert parse_time(read, ends=not ends) == time


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "16:00",
        "2026-13-01",
        "2027-02-29",
        "2026-12-24 25:00",
        "2026-12-24 24:01",
        "2026-12-24 16:60",
        "1999-01-01",
        "9999-12-31",
        "2026-12-24 16:00+99:00",
        "24.12.2026",
        "\u0662026-12-24",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="not a day and a time"):
        client({"until": text, "text": "x"})


@pytest.mark.parametrize(
    ("local", "begins", "ends"),
    [
        # Set back at 03:00 to 02:00: 02:30 shows twice.
        ("2026-10-25 01:59", "2026-10-24T23:59Z", "2026-10-24T23:59Z"),
        ("2026-10-25 02:00", "2026-10-25T00:00Z", "2026-10-25T01:00Z"),
        ("2026-10-25 02:30", "2026-10-25T00:30Z", "2026-10-25T01:30Z"),
        ("2026-10-25 03:00", "2026-10-25T02:00Z", "2026-10-25T02:00Z"),
        ("2026-10-25 02:30+02:00", "2026-10-25T00:30Z", "2026-10-25T00:30Z"),
        # Set forward at 02:00 to 03:00: 02:30 does not show.
        ("2026-03-29 01:59", "2026-03-29T00:59Z", "2026-03-29T00:59Z"),
        ("2026-03-29 02:00", "2026-03-29T01:00Z", "2026-03-29T01:00Z"),
        ("2026-03-29 02:30", "2026-03-29T01:00Z", "2026-03-29T01:00Z"),
        ("2026-03-29 03:00", "2026-03-29T01:00Z", "2026-03-29T01:00Z"),
        ("2026-03-29 03:01", "2026-03-29T01:01Z", "2026-03-29T01:01Z"),
    ],
)
def test_both_nights(local: str, begins: str, ends: str) -> None:
    time = parse_time(local, ends=False)
    assert moment(time, BERLIN, ends=False) == utc(begins)
    assert moment(time, BERLIN, ends=True) == utc(ends)


@given(
    st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2035, 1, 1)),  # noqa: DTZ001
    st.sampled_from([BERLIN, "Europe/London", "America/St_Johns", "Australia/Lord_Howe"]),
)
def test_the_wall_clock_shows_the_time_unless_it_is_skipped(local: datetime, zone: str) -> None:
    local = local.replace(microsecond=0)
    begins, ends = moment(local, zone, ends=False), moment(local, zone, ends=True)
    assert begins <= ends
    for at in (begins, ends):
        shown = datetime.fromtimestamp(at, ZoneInfo(zone)).replace(tzinfo=None)
        before = datetime.fromtimestamp(at - 1, ZoneInfo(zone)).replace(tzinfo=None)
        assert shown == local or before < local < shown


def test_a_file_and_back() -> None:
    text = """\
clients:
  - id: a
    name: A
    numbers: {did: ["+49301234567"]}
    contacts: [{name: C, email: c@example.com, notes: true}]
    temporary:
      - {until: 2026-12-04 16:00, text: Nicht stören.}
      - {from: 2026-12-24 12:00, until: 2026-12-27, text: Zu., closed: true}
"""
    (one,) = read_clients(text, "f.yaml").clients
    assert one.temporary[1].start == datetime(2026, 12, 24, 12, 0)  # noqa: DTZ001
    assert one.temporary[1].until == datetime(2026, 12, 28, 0, 0)  # noqa: DTZ001
    assert "from: 2026-12-24 12:00" in write_clients([one])
    assert read_clients(write_clients([one]), "again").clients == (one,)
    assert Client.model_validate_json(one.model_dump_json(exclude_defaults=True)) == one
    assert one.instructions_at(utc("2026-12-04T14:59:59Z")) == [one.temporary[0]]
    assert one.instructions_at(utc("2026-12-04T15:00Z")) == []
    assert one.instructions_at(utc("2026-12-24T11:00Z")) == [one.temporary[1]]


@pytest.mark.parametrize(
    ("one", "told"),
    [
        ({"until": "2026-12-04"}, "Field required"),
        ({"until": "2026-12-04", "text": " "}, "at least 1 item"),
        ({"text": "x"}, "Field required"),
        ({"until": "2026-12-04", "text": "x", "closed": "maybe"}, "valid boolean"),
        ({"from": "2026-12-05", "until": "2026-12-04", "text": "x"}, "ends before it begins"),
        ({"from": "2026-03-29 02:10", "until": "2026-03-29 02:50", "text": "x"}, "ends before"),
    ],
)
def test_what_makes_no_sense_is_refused(one: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        client(one)


def test_closed_for_a_time_over_hours_days_and_holidays() -> None:
    one = client(
        {"from": "2026-10-25 01:00", "until": "2026-10-25 02:30", "text": "x", "closed": True},
        {"until": "2026-10-20 12:00", "text": "y", "closed": True},
        {"until": "2026-11-01", "text": "z"},
        days=[{"on": "2026-10-25", "hours": ["00:00-24:00"]}],
    )
    known = Directory({one.id: ClientEntry(one, None, None)}, {})
    made = for_calls(known, Settings(), str, {}, date(2026, 10, 1))
    script = made.clients[one.id]

    def opened(when: str) -> bool:
        return is_open(script.hours, script.timezone, utc(when), script.days, script.closures)

    assert not opened("2026-10-20T09:59Z")
    assert opened("2026-10-20T10:00Z")
    assert opened("2026-10-24T22:59Z")
    assert not opened("2026-10-24T23:00Z")
    assert not opened("2026-10-25T01:29:59Z"), "02:30 has come once, but will come again"
    assert opened("2026-10-25T01:30Z")


def test_text_is_cleaned() -> None:
    one = Temporary.model_validate({"until": "2026-12-04", "text": "a\u202eb\x00\nc"})
    assert one.text == "ab\nc"


def test_what_is_over_already_is_told_at_the_import() -> None:
    text = """
clients:
  - id: a
    name: A
    numbers: {did: [+49 30 5550 1001]}
    contacts: [{name: B, email: b@a.example, notes: true}]
    temporary:
      - {until: 2026-12-04, text: ends}
      - {until: 2025-12-04, text: was}
"""
    file = read_clients(text, "x.yaml")
    now = datetime(2026, 12, 4, 12, tzinfo=UTC).timestamp()
    (told,) = over(file, now)
    assert str(told).startswith("line 9: clients[0].temporary[1]: is over already")

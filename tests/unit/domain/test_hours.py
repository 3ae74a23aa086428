"""Days of their own and public holidays, as files give them and as calls need them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from vsek.acd.hours import is_open
from vsek.domain.client import Client
from vsek.domain.directory import ClientEntry, Directory
from vsek.domain.hours import DayRule, covering, public_holidays
from vsek.domain.yamlfile import FileError, read_clients, write_clients
from vsek.settings import Settings
from vsek.switchboard.directory import for_calls

FILE = """\
clients:
  - id: a
    name: A
    numbers: {did: ["+49301234567"]}
    contacts: [{name: C, email: c@example.com, notes: true}]
    hours: {mon-fri: ["08:00-18:00"]}
    holidays: DE-BY
    days:
      - 2026-05-15
      - {on: 2026-12-24, hours: ["08:00-12:00", "13:00-14:00"], reason: Heiligabend}
      - {first: 2026-12-27, last: 2027-01-05, reason: Betriebsferien}
      - {on: 2026-06-04, hours: "10:00-11:00"}
"""


def _client(**more: Any) -> Client:
    return Client.model_validate(
        {
            "id": "a",
            "name": "A",
            "numbers": {"did": ["+49301234567"]},
            "contacts": [{"name": "C", "email": "c@example.com", "notes": True}],
            **more,
        }
    )


def test_days_from_a_file_and_back() -> None:
    (client,) = read_clients(FILE, "f.yaml").clients
    assert client.holidays == "DE-BY"
    assert client.days[0] == DayRule(first=date(2026, 5, 15), last=date(2026, 5, 15))
    assert client.days[1].hours == ((480, 720), (780, 840))
    assert client.days[2].last == date(2027, 1, 5)
    assert read_clients(write_clients([client]), "again").clients == (client,)
    assert Client.model_validate_json(client.model_dump_json()) == client
    assert covering(client.days, date(2026, 12, 31)) == client.days[2]
    assert covering(client.days, date(2026, 12, 26)) is None


@pytest.mark.parametrize(
    ("when", "opened"),
    [
        ("2026-05-14T10:00:00+02:00", False),  # Ascension Day
        ("2026-05-15T10:00:00+02:00", False),  # the Friday after it
        ("2026-05-18T10:00:00+02:00", True),
        ("2026-06-04T10:30:00+02:00", True),  # Corpus Christi, but the client works
        ("2026-06-04T12:30:00+02:00", False),
        ("2026-12-24T13:30:00+01:00", True),
        ("2026-12-24T12:30:00+01:00", False),
        ("2027-01-06T10:00:00+01:00", False),  # Epiphany, a holiday of Bavaria
        ("2027-01-07T10:00:00+01:00", True),
    ],
)
def test_the_first_rule_counts_then_the_holidays_then_the_week(when: str, opened: bool) -> None:

    (client,) = read_clients(FILE, "f.yaml").clients
    known = Directory({client.id: ClientEntry(client, None, None)}, {})
    made = for_calls(known, Settings(), lambda sound: sound, {}, date(2026, 11, 22))
    script = made.clients[client.id]
    at = datetime.fromisoformat(when).timestamp()
    assert is_open(script.hours, script.timezone, at, script.days) is opened


def test_holidays_have_names() -> None:
    names = public_holidays("DE-BY", 2026)
    assert date(2026, 6, 4) in names
    assert date(2026, 6, 4) not in public_holidays("DE-BE", 2026)
    assert all(names.values())


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"holidays": "XX"}, "no country"),
        ({"holidays": "DE-XX"}, "no region 'XX'"),
        ({"days": ["2026-13-01"]}, "valid date"),
        ({"days": ["tomorrow"]}, "not a day"),
        ({"days": [{"on": "2026-12-24T08:00"}]}, "not a day"),
        ({"days": [{"on": "2026-12-24", "first": "2026-12-24"}]}, "both on and first"),
        ({"days": [{"first": "2026-12-24", "last": "2026-12-23"}]}, "is before"),
        ({"days": [{"first": "2026-12-24", "last": "2036-12-23"}]}, "Check the years|covers"),
        ({"days": [{"on": "2026-12-24", "hours": ["08:00-12:00", "11:00-13:00"]}]}, "overlap"),
        ({"days": [{"on": "2026-12-24", "hours": ["22:00-06:00"]}]}, "over midnight"),
        ({"days": [{"on": "2026-12-24", "hours": ["8"]}]}, "not a time"),
        ({"days": [5]}, "valid dictionary"),
    ],
)
def test_what_makes_no_sense_is_refused(more: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        _client(**more)


def test_a_file_with_a_day_of_no_calendar_is_told_in_our_words() -> None:
    text = """
clients:
  - id: a
    name: A
    numbers: {did: [+49 30 5550 1001]}
    contacts: [{name: B, email: b@a.example, notes: true}]
    days: [2026-13-01]
"""
    with pytest.raises(FileError) as raised:
        read_clients(text, "x.yaml")
    assert "line 7: clients[0].days[0].first: is not a day. Write it like" in str(raised.value)

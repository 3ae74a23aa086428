"""Alarms on virtual time: raised once, reminded of seldom, cleared; and the words for each."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from vsek.acd.state import AgentState
from vsek.health.disks import Disk
from vsek.settings import AlarmSettings
from vsek.switchboard import alarm_words
from vsek.switchboard.alarms import (
    Alarm,
    Change,
    Notice,
    Raised,
    Trouble,
    Watch,
    troubles,
)
from vsek.switchboard.facts import Database, Facts, NoteService, Trunk

START = 1_800_000_000.0
WELL = Facts(
    at=START,
    agents={AgentState.READY: 2},
    database=Database(),
    note_service=NoteService(),
    disks=(Disk("the run folder", "/run", 50_000_000_000, 100_000_000_000),),
    trunks=(Trunk("provider", True, "Registered"),),
    differences=(),
)
SETTINGS = AlarmSettings()
CLEAR_AFTER_S = SETTINGS.clear_s


class Day:
    """A watch and the time at which it looks."""

    def __init__(self, settings: AlarmSettings = SETTINGS) -> None:
        self.watch = Watch()
        self.settings = settings
        self.now = START

    def at(self, after_s: float, **facts: Any) -> list[tuple[Change, str]]:
        """Go on by ``after_s`` seconds and look at facts that differ from a good day's."""
        self.now += after_s
        return self.look(dataclasses.replace(WELL, at=self.now, **facts))

    def look(self, facts: Facts) -> list[tuple[Change, str]]:
        return [(n.change, n.trouble.key) for n in self.watch.look(facts, self.settings)]


BAD: dict[Alarm, dict[str, Any]] = {
    Alarm.NOBODY_SIGNED_IN: {
        "callers_waiting": 2,
        "longest_wait_s": 25.0,
        "agents": {AgentState.LOGGED_OUT: 3},
    },
    Alarm.NOBODY_READY: {
        "callers_waiting": 2,
        "longest_wait_s": 125.0,
        "agents": {AgentState.TALKING: 2, AgentState.PAUSED: 1},
    },
    Alarm.TRUNK: {"trunks": (Trunk("provider", False, "Rejected"),)},
    Alarm.NOTES_LATE: {"database": Database(notes_due=3, notes_oldest_s=1000.0)},
    Alarm.NOTE_SERVICE: {"note_service": NoteService(error="nobody answers")},
    Alarm.MAIL_SERVER: {"note_service": NoteService(smtp_reply="550 no")},
    Alarm.DISK: {"disks": (Disk("the run folder", "/run", 10_000_000, 100_000_000_000),)},
    Alarm.DATABASE: {"database": Database(error="no answer within 2 s")},
    Alarm.ASTERISK: {"asterisk_up": False},
    Alarm.JOURNAL: {"journal_broken": True},
    Alarm.AUDIT: {"differences": ("no_note: a call (call 1)",)},
}
SUBJECTS = {Alarm.TRUNK: "trunk/provider", Alarm.DISK: "disk/the run folder"}


def test_every_alarm_has_a_case() -> None:
    assert set(BAD) == set(Alarm)
    assert list(troubles(WELL, SETTINGS)) == []


@pytest.mark.parametrize("alarm", Alarm)
def test_told_once_and_cleared(alarm: Alarm) -> None:
    day, key = Day(), SUBJECTS.get(alarm, alarm.value)
    told = day.at(0.0, **BAD[alarm])
    while not told:
        told = day.at(1.0, **BAD[alarm])
        assert day.now < START + 70.0
    assert told == [(Change.RAISED, key)]
    for _ in range(100):
        assert day.at(1.0, **BAD[alarm]) == []
    assert day.at(1.0) == []
    assert day.at(CLEAR_AFTER_S) == [(Change.CLEARED, key)]
    assert day.at(1000.0) == []


@pytest.mark.parametrize(
    ("alarm", "after_s"),
    [
        (Alarm.TRUNK, 30.0),
        (Alarm.DATABASE, 10.0),
        (Alarm.ASTERISK, 10.0),
        (Alarm.NOTE_SERVICE, 60.0),
        (Alarm.JOURNAL, 0.0),
        (Alarm.DISK, 0.0),
    ],
)
def test_what_passes_by_itself_is_not_told(alarm: Alarm, after_s: float) -> None:
    day = Day()
    day.at(0.0)
    if after_s:
        assert day.at(1.0, **BAD[alarm]) == []
        assert day.at(after_s - 1.0, **BAD[alarm]) == []
        assert day.at(0.5) == []
        assert day.at(1.0, **BAD[alarm]) == []
    told = day.at(after_s, **BAD[alarm])
    assert [change for change, _ in told] == [Change.RAISED]


def test_reminded_once_an_hour_and_the_audit_once_a_day() -> None:
    day = Day()
    bad = BAD[Alarm.JOURNAL] | BAD[Alarm.AUDIT]
    assert len(day.at(0.0, **bad)) == 2
    told = [notice for _ in range(24 * 60) for notice in day.at(60.0, **bad)]
    assert told.count((Change.REMINDED, "journal")) == 24
    assert told.count((Change.REMINDED, "audit")) == 1


def test_no_reminders_when_none_are_wanted() -> None:
    day = Day(AlarmSettings(remind_s=0))
    day.at(0.0, **BAD[Alarm.JOURNAL])
    assert day.at(1e6, **BAD[Alarm.JOURNAL]) == []


@pytest.mark.parametrize(
    "off",
    [
        {"nobody_signed_in_s": 0, "nobody_ready_s": 0},
        {"trunk_s": 0},
        {"note_age_s": 0},
        {"notes_s": 0},
        {"disk_free_percent": 0},
        {"database_s": 0},
        {"asterisk_s": 0},
        {"journal": False},
        {"audit": False},
    ],
)
def test_an_alarm_that_is_off_is_silent(off: dict[str, Any]) -> None:
    loud, quiet = Day(), Day(AlarmSettings(**off))
    heard: list[set[str]] = [set(), set()]
    for alarm in Alarm:
        for day, keys in zip((loud, quiet), heard, strict=True):
            for after_s in (0.0, 61.0):
                keys |= {key.partition("/")[0] for _, key in day.at(after_s, **BAD[alarm])}
    assert heard[0] == {alarm.value for alarm in Alarm}
    [first, *_] = off
    assert (
        heard[0] - heard[1]
        == {
            "nobody_signed_in_s": {"nobody_signed_in", "nobody_ready"},
            "trunk_s": {"trunk"},
            "note_age_s": {"notes_late"},
            "notes_s": {"note_service", "mail_server"},
            "disk_free_percent": {"disk"},
            "database_s": {"database"},
            "asterisk_s": {"asterisk"},
            "journal": {"journal"},
            "audit": {"audit"},
        }[first]
    )


def test_an_alarm_that_is_turned_off_while_raised_is_cleared() -> None:
    day = Day()
    day.at(0.0, **BAD[Alarm.JOURNAL])
    day.settings = AlarmSettings(journal=False)
    day.at(1.0, **BAD[Alarm.JOURNAL])
    assert day.at(CLEAR_AFTER_S, **BAD[Alarm.JOURNAL]) == [(Change.CLEARED, "journal")]


def test_a_trouble_that_comes_back_at_once_is_the_same_one() -> None:
    day = Day()
    day.at(0.0, **BAD[Alarm.JOURNAL])
    assert day.at(1.0) == []
    assert day.at(CLEAR_AFTER_S - 1.0, **BAD[Alarm.JOURNAL]) == []
    assert day.at(1.0) == []
    assert day.at(CLEAR_AFTER_S - 1.0) == []
    assert day.at(1.0) == [(Change.CLEARED, "journal")]


def test_what_nobody_can_know_changes_nothing() -> None:
    day = Day()
    late = BAD[Alarm.NOTES_LATE]
    assert day.at(0.0, **late) == [(Change.RAISED, "notes_late")]
    # With the database away nobody knows whether notes are late: neither over nor told anew.
    for _ in range(5):
        day.at(3.0, database=Database(error="away"))
    assert day.at(1000.0, database=None, note_service=None, differences=None, disks=()) == []
    assert "notes_late" in day.watch.raised
    day.at(1.0)
    over = {key for change, key in day.at(CLEAR_AFTER_S) if change is Change.CLEARED}
    assert over == {"notes_late", "database"}


def test_a_trunk_is_not_blamed_while_asterisk_is_away() -> None:
    day = Day()
    day.at(0.0, trunks=(Trunk("provider", False, "offline"),))
    assert day.at(31.0, trunks=(Trunk("provider", False, "offline"),))
    for _ in range(3):
        day.at(20.0, asterisk_up=False, trunks=())
    assert set(day.watch.raised) == {"trunk/provider", "asterisk"}


def test_several_trunks_are_told_apart() -> None:
    day = Day()
    down = (Trunk("a", False, "offline"), Trunk("b", False, "Rejected"), Trunk("c", True, "online"))
    day.at(0.0, trunks=down)
    assert set(day.at(31.0, trunks=down)) == {
        (Change.RAISED, "trunk/a"),
        (Change.RAISED, "trunk/b"),
    }


@pytest.mark.parametrize(
    ("agents", "wait_s", "expected"),
    [
        ({AgentState.LOGGED_OUT: 1}, 19.0, []),
        ({AgentState.LOGGED_OUT: 1}, 20.0, [Alarm.NOBODY_SIGNED_IN]),
        ({}, 20.0, [Alarm.NOBODY_SIGNED_IN]),
        ({AgentState.TALKING: 1}, 119.0, []),
        ({AgentState.TALKING: 1}, 120.0, [Alarm.NOBODY_READY]),
        ({AgentState.PAUSED: 1}, 500.0, [Alarm.NOBODY_READY]),
        ({AgentState.READY: 1, AgentState.TALKING: 5}, 500.0, []),
        ({AgentState.OFFERED: 1}, 500.0, []),
    ],
)
def test_who_is_there_for_those_who_wait(
    agents: dict[AgentState, int], wait_s: float, expected: list[Alarm]
) -> None:
    facts = dataclasses.replace(WELL, agents=agents, callers_waiting=1, longest_wait_s=wait_s)
    assert [trouble.alarm for trouble in troubles(facts, SETTINGS)] == expected


def test_a_clock_that_is_set_back_neither_raises_nor_reminds() -> None:
    day = Day()
    day.at(0.0, **BAD[Alarm.DATABASE])
    day.now -= 86_400
    assert day.at(0.0, **BAD[Alarm.DATABASE]) == []
    assert day.at(9.0, **BAD[Alarm.DATABASE]) == []
    assert day.at(1.0, **BAD[Alarm.DATABASE]) == [(Change.RAISED, "database")]
    day.now -= 86_400
    assert day.at(0.0, **BAD[Alarm.DATABASE]) == []
    assert day.at(3599.0, **BAD[Alarm.DATABASE]) == []
    assert day.at(1.0, **BAD[Alarm.DATABASE]) == [(Change.REMINDED, "database")]


def test_what_is_raised_outlives_a_restart() -> None:
    day = Day()
    day.at(0.0, **BAD[Alarm.JOURNAL])
    kept = msgspec.json.decode(msgspec.json.encode(day.watch.raised), type=dict[str, Raised])
    day.watch = Watch(kept)
    assert day.at(1.0, **BAD[Alarm.JOURNAL]) == []
    day.at(1.0)
    assert day.at(CLEAR_AFTER_S) == [(Change.CLEARED, "journal")]


def test_each_telling_has_a_key_of_its_own() -> None:
    watch, keys = Watch(), []
    settings = AlarmSettings(remind_s=60)
    for second in range(0, 300, 5):
        facts = dataclasses.replace(WELL, at=START + second, journal_broken=second < 200)
        keys += [notice.note_key for notice in watch.look(facts, settings)]
    assert len(keys) == len(set(keys)) == 5


@pytest.mark.parametrize("language", ["de", "en"])
@pytest.mark.parametrize("alarm", Alarm)
def test_the_words_are_filled_in(alarm: Alarm, language: str) -> None:
    facts = dataclasses.replace(WELL, **BAD[alarm])
    [trouble] = [t for t in troubles(facts, SETTINGS) if t.alarm is alarm]
    for change in Change:
        notice = Notice(change, trouble, START, START + 4000.0, 2)
        told = alarm_words.title(notice, language) + alarm_words.body(
            notice, language, "Europe/Berlin"
        )
        assert "{" not in told
        assert len(alarm_words.title(notice, language)) < 80


@pytest.mark.parametrize(
    ("facts", "german", "english"),
    [
        ({"asterisk_up": False}, "ist nicht mit Asterisk verbunden.", "is not connected to Ast"),
        (
            {"pulse_age_s": 42.4},
            "ist mit Asterisk verbunden, bekommt aber seit 42 s keine Ereignisse",
            "is connected to Asterisk, but has got no event from it for 42 s.",
        ),
    ],
)
def test_an_asterisk_that_is_away_and_one_that_is_silent(
    facts: dict[str, Any], german: str, english: str
) -> None:
    [trouble] = troubles(dataclasses.replace(WELL, **facts), SETTINGS)
    notice = Notice(Change.RAISED, trouble, START, START, 1)
    assert german in alarm_words.says(notice, "de")
    assert english in alarm_words.says(notice, "en")
    assert " - " not in alarm_words.says(notice, "de") + alarm_words.says(notice, "en")


def test_values_of_others_are_not_taken_as_patterns() -> None:
    trouble = Trouble(Alarm.TRUNK, "{says}{0}", {"says": "{subject} %s {title}"})
    notice = Notice(Change.RAISED, trouble, START, START, 1)
    assert "%s" in alarm_words.body(notice, "en", "UTC")
    assert alarm_words.title(notice, "de").startswith("Alarm: Leitung")

"""Health: each part in plain words, with a remedy wherever something is wrong."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from tests.unit.switchboard.test_alarms import WELL

from vsek.health.disks import Disk
from vsek.health.parts import Status
from vsek.settings import AlarmSettings
from vsek.switchboard import health
from vsek.switchboard.facts import Database, Facts, NoteService, Trunk

SETTINGS = AlarmSettings()


def test_all_is_well() -> None:
    report = health.report(WELL, SETTINGS)
    assert report["ok"] is True
    assert report["status"] == "ok"
    assert report["problems"] == []
    assert health.ready(WELL)


def test_nothing_is_blamed_before_it_was_asked() -> None:
    assert health.report(Facts(at=0.0), SETTINGS)["status"] == "ok"


@pytest.mark.parametrize(
    ("facts", "part", "status", "overall"),
    [
        ({"asterisk_up": False}, "asterisk", "down", "down"),
        ({"pulse_age_s": 11.0}, "asterisk", "down", "down"),
        ({"directory_empty": True}, "directory", "down", "down"),
        ({"directory_loaded": False}, "directory", "degraded", "degraded"),
        ({"database": Database(error="frozen")}, "database", "down", "degraded"),
        ({"database": Database(read_only=True)}, "database", "down", "degraded"),
        ({"records_failing": True}, "database", "degraded", "degraded"),
        ({"database": None, "records_failing": True}, "database", "degraded", "degraded"),
        ({"journal_broken": True}, "journal", "degraded", "degraded"),
        ({"note_service": NoteService(error="gone")}, "notes", "degraded", "degraded"),
        ({"note_service": NoteService(smtp_reply="550")}, "notes", "degraded", "degraded"),
        (
            {"note_service": NoteService(mails_queued=1, mails_oldest_s=99.0)},
            "notes",
            "degraded",
            "degraded",
        ),
        (
            {"database": Database(notes_due=2, notes_oldest_s=99.0)},
            "notes",
            "degraded",
            "degraded",
        ),
        ({"trunks": (Trunk("x", False, "Rejected"),)}, "trunks", "degraded", "degraded"),
        ({"disks": (Disk("d", "/d", 1, 100),)}, "disk of d", "degraded", "degraded"),
        (
            {"disks": (Disk("d", "/d", 10**12, 10**12, 0.01),)},
            "disk of d",
            "degraded",
            "degraded",
        ),
    ],
)
def test_each_part_says_what_is_wrong_and_what_to_do(
    facts: dict[str, Any], part: str, status: str, overall: str
) -> None:
    now = dataclasses.replace(WELL, **facts)
    report = health.report(now, SETTINGS)
    assert report["problems"] == [part]
    [found] = [p for p in report["parts"] if p["name"] == part]
    assert found["status"] == status
    assert found["remedy"]
    assert found["says"]
    assert report["status"] == overall
    assert report["ok"] is (overall != "down")
    assert health.ready(now) is (overall != "down")


def test_well_parts_need_no_remedy() -> None:
    for part in health.assess(WELL, SETTINGS):
        assert part.status is Status.OK
        assert part.remedy == ""

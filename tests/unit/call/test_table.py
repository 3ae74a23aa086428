"""The table of calls answers everything."""

from __future__ import annotations

import inspect

import pytest

from vsek.call import fallback, forwarding, screening, script, treating
from vsek.call.table import TABLE, Happening
from vsek.domain.outcomes import Stage

SCRIPTS = {part.__name__ for part in (script, screening, fallback, treating, forwarding)}


def test_every_stage_is_in_the_table() -> None:
    assert set(TABLE) == set(Stage)


@pytest.mark.parametrize("stage", TABLE)
def test_every_stage_answers_every_happening(stage: Stage) -> None:
    assert set(TABLE[stage]) == set(Happening)
    for cell in TABLE[stage].values():
        assert cell if isinstance(cell, str) else cell.__module__ in SCRIPTS


_DETAILS = {
    Happening.LEG_READY: ("leg",),
    Happening.LEG_RINGING: ("leg",),
    Happening.LEG_UP: ("leg",),
    Happening.LEG_JOINED: ("leg",),
    Happening.LEG_GONE: ("leg", "cause"),
    Happening.LEG_FAILED: ("leg", "status", "message"),
    Happening.JOIN_FAILED: ("leg", "status", "message"),
    Happening.RECORDING_DONE: ("recording",),
    Happening.EXAMINED: ("recording", "finding", "spoken_s"),
    Happening.CALLER_KEY: ("key",),
    Happening.LEG_KEY: ("key",),
    Happening.LEDGER_TOLD: ("event",),
    Happening.TREATMENT: ("action", "detail"),
    Happening.FORWARD_READY: ("forward",),
    Happening.FORWARD_UP: ("forward",),
    Happening.FORWARD_GONE: ("forward", "cause"),
    Happening.FORWARD_FAILED: ("forward", "status", "message"),
    Happening.FORWARD_JOINED: ("forward",),
}


@pytest.mark.parametrize("happening", Happening)
def test_handlers_take_what_their_happening_tells(happening: Happening) -> None:
    """Handlers are called with what the happening tells; nothing else checks that they can."""
    for row in TABLE.values():
        cell = row[happening]
        if not isinstance(cell, str):
            expected = ("desk", "call", *_DETAILS.get(happening, ()))
            assert tuple(inspect.signature(cell).parameters) == expected, cell

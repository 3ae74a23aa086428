"""What becomes of callers who are known, or phone again, when nothing is killed meanwhile.

Under crashes anything may come between; then only what always holds is looked at.
"""

from __future__ import annotations

import pytest
from tests.unit.call.test_crashes import play

_TALKS = {
    "kept_until_the_agent_is_free": ("anna", "anna", "bert"),
    "kept_in_vain": ("anna", "bert", "bert"),
    "kept_and_gives_up": ("anna", "abandoned", "anna"),
    "kept_for_two_who_do_not_come": ("anna", "bert", "carl"),
    "kept_and_not_taken": ("anna", "bert"),
    "kept_and_told": ("anna", "bert", "callback", "anna"),
    "cut_off": ("anna", "anna", "anna", "anna"),
    "cut_off_and_kept": ("anna", "anna", "bert", "anna"),
    "gives_up_and_phones_again": ("abandoned", "anna", "anna", "abandoned", "anna"),
    "gives_up_while_rung_for": ("abandoned", "anna", "anna"),
    "gives_up_in_the_briefing": ("abandoned", "anna", "anna"),
    "called_back_and_phones_again": ("callback", "abandoned", "callback", "anna"),
    "left_a_message_and_phones_again": ("voicemail", "abandoned", "anna", "anna"),
    "forwarded_in_vain_and_phones_again": ("abandoned", "voicemail", "anna"),
}
"""Whom each caller talked with, or the outcome, in the order in which they phoned."""
_INHERITED = {
    "kept_and_gives_up": {3: 2},
    "cut_off": {4: 1},
    "cut_off_and_kept": {2: 1, 4: 1},
    "gives_up_and_phones_again": {4: 1, 5: 1},
    "gives_up_while_rung_for": {3: 1},
    "gives_up_in_the_briefing": {3: 1},
    "called_back_and_phones_again": {3: 2},
    "left_a_message_and_phones_again": {3: 2},
    "forwarded_in_vain_and_phones_again": {3: 1},
}
"""Who has whose place; the others have their own."""


@pytest.mark.parametrize("name", _TALKS)
def test_undisturbed(name: str) -> None:
    sim = play(name)
    exchange = sim.exchange
    calls = [exchange.channels_of[channel_id] for channel_id in sim.callers]
    met = [
        caller.talked_with[-1] if caller.talked_with else exchange.closed[call_id].outcome.value
        for call_id, caller in zip(calls, sim.callers.values(), strict=True)
    ]
    assert tuple(met) == _TALKS[name]
    places = [exchange.places.of[call_id] for call_id in calls]
    inherited = {
        number: places.index(exchange.places.of[call_id]) + 1
        for number, call_id in enumerate(calls, 1)
        if call_id in exchange.places.inherited
    }
    assert inherited == _INHERITED.get(name, {})

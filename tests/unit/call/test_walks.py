"""Long walks over the rules of :mod:`tests.unit.call.test_machine`, at the odds of real life.

Hypothesis tries every rule about as often as any other and shrinks what it finds; most of its
calls never get as far as a talk. Here callers mostly wait, agents mostly pick up and losses are
rare, so that what happens late in a call happens often. Each walk is named by its seed; many more
than the tests take: ``python -m tests.unit.call.test_walks FIRST COUNT``.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.call.book import (
    AGENTS,
    CLOSED,
    GREET,
    HOLD,
    HOLD_TREAT,
    KEYS,
    MUTE,
    RING,
    SCREEN,
    TREAT,
    TREAT_NOW,
    TREAT_RING,
    UNKNOWN,
)
from tests.unit.call.test_machine import KNOWN, NUMBERS, Telephony

from vsek.acd.rules import Rules
from vsek.domain.outcomes import Finding

WALKS = 60
STEPS = 60


class Walk:
    """One walk. ``log`` is what was done, for whoever has to find out why it failed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.machine = Telephony()
        self.log: list[tuple[str, dict[str, Any]]] = []
        self.faults = self.coin()

    def coin(self, odds: float = 0.5) -> bool:
        return self.chance.random() < odds

    def do(self, name: str, **how: Any) -> None:
        self.log.append((name, how))
        getattr(self.machine, name)(**how)

    def rules(self) -> Rules:
        return Rules(20.0, self.chance.choice([0.0, 60.0]), self.chance.choice([0.0, 10.0]))

    def choices(self) -> list[tuple[float, str, dict[str, Callable[[], Any]]]]:
        """What can be done now: odds, rule, and how to choose its arguments."""
        machine, house, chance = self.machine, self.machine.house, self.chance
        pick: dict[str, Callable[[], Any]] = {"pick": lambda: chance.randrange(1000)}
        settle: dict[str, Callable[[], Any]] = {"settle": self.coin}
        agent: dict[str, Callable[[], Any]] = {"agent_id": lambda: chance.choice(AGENTS)}
        times: dict[str, Callable[[], Any]] = {"times": lambda: chance.randint(1, 4)}
        likely: Callable[[], bool] = lambda: self.coin(0.8)  # noqa: E731
        up = house.asterisk.listening
        dids = [RING, RING, GREET, GREET, MUTE, SCREEN, SCREEN, SCREEN, KEYS, CLOSED, UNKNOWN]
        dids += [TREAT, TREAT, TREAT, TREAT_RING, TREAT_RING, TREAT_NOW, HOLD, HOLD, HOLD_TREAT]
        dial: dict[str, Callable[[], Any]] = {
            "did": lambda: chance.choice(dids),
            "number": lambda: chance.choice(NUMBERS),
            "known": lambda: chance.choice(KNOWN),
        }
        speech: Callable[[], Finding] = lambda: chance.choice([*Finding, *[Finding.SPEECH] * 6])  # noqa: E731
        table: list[tuple[float, object, str, dict[str, Callable[[], Any]]]] = [
            (8, up and len(machine.callers()) < 5, "call", dial),
            (3, machine.callers(), "caller_hangs_up", pick),
            (8, machine.busy(), "sound_ends", pick),
            (8, house.examining, "examined", {**pick, "finding": speech}),
            (2, machine.world, "key", {**pick, "key": lambda: chance.choice("1111567*##")}),
            (0.3 if up else 2, machine.waiting(), "diverted", pick),
            (1, not machine.down and machine.untold(), "ledger_told", pick),
            (2, True, "register", {**agent, "registered": likely}),
            (2, True, "wish", {**agent, "ready": likely}),
            (6, machine.phones("Down"), "phone_rings", pick),
            (10, machine.phones("Down", "Ringing"), "agent_picks_up", pick),
            (
                4,
                machine.phones(),
                "agent_hangs_up",
                {**pick, "cause": lambda: chance.choice([0, 16, 17, 20, 21])},
            ),
            (5, house.state.timers and not machine.down, "timer", {}),
            (6, machine.house.picture, "recovered", {}),
            (6, not up, "reconnect", {"at_once": self.coin}),
        ]
        bare: list[tuple[float, object, str, dict[str, Callable[[], Any]]]] = [
            (1, machine.left(), "message", pick),
            (
                1,
                True,
                "directory_changes",
                {
                    "agents": lambda: chance.choice([AGENTS, AGENTS[:2], AGENTS[1:]]),
                    "rules": self.rules,
                    "wrap_up_s": lambda: chance.choice([0.0, 30.0]),
                },
            ),
            (10, house.lanes, "lane_gets_on", {**pick, **times}),
            (10, house.connected and house.asterisk.events, "event_arrives", times),
            (6, house.replies, "reply_arrives", pick),
            (3, house.connected, "settle", {}),
            (1, True, "time_passes", {"seconds": lambda: chance.choice([0.1, 5.0])}),
            (0.5, house.stale_timers, "stale_timer", pick),
            (0.3, True, "snapshot", {}),
            (
                1.2,
                up,
                "connection_lost",
                {"keep": lambda: chance.randint(0, 3), "crash": self.coin},
            ),
        ]
        if self.faults:
            status = {"status": lambda: chance.choice([400, 409, 500])}
            bare.append((1, machine.failing(), "command_fails", {**pick, **status}))
            bare.append((1, house.lanes, "reply_takes_too_long", pick))
        return [
            (odds, name, {**how, **(settle if more else {})})
            for rows, more in ((table, True), (bare, False))
            for odds, possible, name, how in rows
            if possible
        ]

    def run(self) -> None:
        """The whole walk, and the end of all calls."""
        self.do(
            "open_house",
            rules=self.rules(),
            agents=self.chance.randint(0, 3),
            wrap_up_s=self.chance.choice([0.0, 30.0]),
        )
        for _ in range(self.chance.choice([STEPS // 4, STEPS])):
            choices = self.choices()
            odds = [row[0] for row in choices]
            _, name, how = self.chance.choices(choices, odds)[0]
            self.do(name, **{key: choose() for key, choose in how.items()})
        self.do("teardown")


def walks(first: int, count: int) -> None:
    for seed in range(first, first + count):
        walk = Walk(seed)
        try:
            walk.run()
        except Exception as error:
            error.add_note(f"walk {seed}:")
            for line in walk.log:
                error.add_note(f"  {line}")
            raise


@pytest.mark.parametrize("first", range(0, 5 * WALKS, WALKS))
def test_walks(first: int) -> None:
    walks(first, WALKS)


if __name__ == "__main__":
    walks(int(sys.argv[1]), int(sys.argv[2]))

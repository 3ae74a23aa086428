"""The switchboard is killed at every single effect of every scenario, and loses nothing.

A scenario is run once to see what is decided in it. Then, for each decision and each of its
effects, it is run anew and the switchboard dies there: before the event was written down, after it
was written down, after each effect, with that effect carried out or lost, for a moment or for so
long that callers and agents went on without it; and again while it recovers.

The tests take a cross-section: each place of death, and in turn the ways to die. All of them, or
some: ``python -m tests.unit.call.test_crashes [SCENARIO …]``; a failure prints its own command.
"""

from __future__ import annotations

import itertools
import sys
import traceback
from collections.abc import Iterator
from dataclasses import astuple

import pytest
from tests.unit.call.exchange import Cut
from tests.unit.call.scenarios import SCENARIOS
from tests.unit.call.sim import Sim

DOWN_S = (0.2, 6.0, 40.0)
WAYS = tuple(itertools.product(("all", "none", "legs"), DOWN_S))
ENOUGH = 5
SETTINGS: tuple[dict[str, bool], ...] = ({}, {"events_first": True}, {"lazy": True})


def play(name: str, *cuts: Cut, setting: int = 0) -> Sim:
    """One run. Whoever wants to see it again finds the command in the error."""
    sim = Sim(cuts, **SETTINGS[setting])
    try:
        SCENARIOS[name](sim)
        sim.run()
    except Exception as error:
        told = " ".join("/".join(str(part) for part in astuple(cut)) for cut in cuts)
        error.add_note(f"python -m tests.unit.call.test_crashes {name} {setting} {told}")
        raise
    return sim


def places(sizes: list[int], first: int = 0) -> Iterator[tuple[int, int]]:
    """Every decision from ``first`` on, and every effect of it."""
    for decision in range(first, len(sizes)):
        for effects in range(-1, sizes[decision] + 1):
            yield decision, effects


@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_at_every_effect(name: str) -> None:
    for number, place in enumerate(places(play(name).exchange.sizes, first=1)):
        play(name, Cut(*place, *WAYS[number % len(WAYS)]), setting=number % len(SETTINGS))


def test_killed_again_while_it_recovers() -> None:
    turn = 0
    for name in SCENARIOS:
        for number, place in enumerate(places(play(name).exchange.sizes, first=1)):
            if number % 23:
                continue
            first = Cut(*place, *WAYS[number % len(WAYS)])
            lived = play(name, first).exchange.sizes
            for place_again in itertools.islice(places(lived, place[0] + 1), turn % 9, 30, 9):
                turn += 1
                play(name, first, Cut(*place_again, *WAYS[turn % len(WAYS)]))


def everything(names: list[str]) -> int:
    """Every way to die at every place, once and twice. Returns how many runs failed; of a scenario
    in which ``ENOUGH`` did the rest is left out."""
    failed = 0
    for name in names:
        runs = faults = 0
        for sim in _all_runs(name):
            runs += 1
            faults += sim is None
            if faults == ENOUGH:
                break
        failed += faults
        print(f"{name}: {runs} runs, {faults} failed", flush=True)
    return failed


def _all_runs(name: str) -> Iterator[Sim | None]:
    for setting in range(len(SETTINGS)):
        sizes = play(name, setting=setting).exchange.sizes
        for place in places(sizes, first=1):
            for way in WAYS:
                first = Cut(*place, *way)
                sim = _try(name, first, setting=setting)
                yield sim
                if sim is not None and setting == 0:
                    for again in itertools.islice(places(sim.exchange.sizes, place[0] + 1), 25):
                        yield _try(name, first, Cut(*again, *way))


def _try(name: str, *cuts: Cut, setting: int = 0) -> Sim | None:
    """``None`` for a run that failed; why is printed."""
    try:
        return play(name, *cuts, setting=setting)
    except Exception:  # noqa: BLE001 - whatever it is, the other runs are to be seen too
        traceback.print_exc()
        return None


def _cut(text: str) -> Cut:
    decision, effects, carried, down_s = text.split("/")
    return Cut(int(decision), int(effects), carried, float(down_s))


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[2].isdigit():
        play(sys.argv[1], *map(_cut, sys.argv[3:]), setting=int(sys.argv[2]))
    else:
        sys.exit(1 if everything(sys.argv[1:] or list(SCENARIOS)) else 0)

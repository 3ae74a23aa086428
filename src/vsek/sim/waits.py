"""How wrong the expected wait is, and how wrong other ways to tell it would be.

Judged by callers who never give up (:attr:`vsek.sim.load.Habits.steadfast`): of all others only
those are seen to the end whose wait was short enough for their patience.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple, Protocol

from vsek.acd import effects as fx
from vsek.acd import events as ev
from vsek.acd.index import bits
from vsek.acd.rules import Rules
from vsek.acd.state import Acd, CallState, QueuedCall
from vsek.domain.ids import CallId
from vsek.sim.report import Chart, Section, Series, Table
from vsek.sim.rivals import Vsek
from vsek.sim.scenario import Scenario, simulate

OURS = "learnt from lines (vsek)"
_BINS_S = (0.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, math.inf)


class Guess(Protocol):
    """A way to tell how long a call will wait."""

    def wait_s(self, acd: Acd, call: QueuedCall) -> float | None:
        """What is expected of a call that begins to wait; ``None``: not known."""

    def answered(self, group: str, now: float, waited_s: float, *, still: bool) -> None:
        """A call that had to wait is answered; ``still``: others of its group wait."""


class Intervals:
    """Calls ahead in the group, each for the running mean of the time between two answers."""

    def __init__(self) -> None:
        self._mean: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def wait_s(self, acd: Acd, call: QueuedCall) -> float | None:
        """See :class:`Guess`."""
        mean = self._mean.get(call.group)
        return mean * acd.index.by_group[call.group] if mean is not None else None

    def answered(self, group: str, now: float, waited_s: float, *, still: bool) -> None:
        """See :class:`Guess`."""
        if group in self._last:
            interval = now - self._last.pop(group)
            mean = self._mean.get(group, interval)
            self._mean[group] = mean + 0.1 * (interval - mean)
        if still:
            self._last[group] = now


class LastWait:
    """As long as the last one of the group had to (running mean)."""

    def __init__(self) -> None:
        self._mean: dict[str, float] = {}

    def wait_s(self, _acd: Acd, call: QueuedCall) -> float | None:
        """See :class:`Guess`."""
        return self._mean.get(call.group)

    def answered(self, group: str, _now: float, waited_s: float, *, still: bool) -> None:
        """See :class:`Guess`."""
        del still
        mean = self._mean.get(group, waited_s)
        self._mean[group] = mean + 0.2 * (waited_s - mean)


class Handling:
    """Calls ahead in the group, each for the mean handling time over the number of agents who are
    there and may take it, less those ahead who will have given up."""

    def __init__(self, handling_s: float, patience_s: float) -> None:
        self._handling_s = handling_s
        self._patience_s = patience_s

    def wait_s(self, acd: Acd, call: QueuedCall) -> float | None:
        """See :class:`Guess`."""
        profiles = acd.index.profiles
        agents = sum(profiles[number].present for number in bits(acd.full_need(call).mask))
        rate = max(1, agents) / self._handling_s
        ahead = acd.index.by_group[call.group]
        return sum(1 / (rate + number / self._patience_s) for number in range(ahead))

    def answered(self, group: str, now: float, waited_s: float, *, still: bool) -> None:
        """Nothing is learnt."""


class _Pair(NamedTuple):
    expected_s: float
    waited_s: float


class _Observed(Vsek):
    """The real one, with guesses beside it."""

    def __init__(self, rules: Rules, guesses: dict[str, Guess]) -> None:
        super().__init__(rules)
        self._guesses = guesses
        self._open: dict[CallId, tuple[str, float, dict[str, float | None]]] = {}
        self.answers: list[tuple[CallId, float, dict[str, float | None]]] = []

    def decide(self, event: ev.Event, now: float) -> list[fx.Effect]:
        """See :func:`vsek.acd.decide`."""
        effects = super().decide(event, now)
        acd = self.acd
        if isinstance(event, ev.CallQueued):
            call = acd.calls.get(event.call_id)
            if call is not None and call.state is CallState.WAITING:
                told = {name: guess.wait_s(acd, call) for name, guess in self._guesses.items()}
                self._open[call.call_id] = call.group, now, told
        elif isinstance(event, ev.CallLeft):
            self._open.pop(event.call_id, None)
        for effect in effects:
            if isinstance(effect, fx.Answered) and effect.call_id in self._open:
                group, since, told = self._open.pop(effect.call_id)
                still = group in acd.index.by_group
                for guess in self._guesses.values():
                    guess.answered(group, now, now - since, still=still)
                told[OURS] = effect.expected_s
                self.answers.append((effect.call_id, now - since, told))
        return effects


def measure(scenario: Scenario) -> dict[str, list[_Pair]]:
    """Expected and real waits of the steadfast callers who had to wait, for each guess; the first
    tenth is for learning."""
    habits = scenario.habits
    guesses: dict[str, Guess] = {
        "running mean of intervals": Intervals(),
        "last waits": LastWait(),
        "handling time / agents": Handling(habits.handling_s, habits.patience_s),
    }
    observed = _Observed(scenario.house.rules, guesses)
    callers = scenario.callers()
    simulate(scenario, observed, callers)
    result: dict[str, list[_Pair]] = {name: [] for name in (OURS, *guesses)}
    seen = [answer for answer in observed.answers if answer[0] in callers.steadfast]
    for _, waited_s, told in seen[len(seen) // 10 :]:
        for name, expected_s in told.items():
            if expected_s is not None:
                result[name].append(_Pair(expected_s, waited_s))
    return result


def section(scenarios: dict[str, Scenario]) -> Section:
    """Errors for each scenario and guess; for the best one its calibration."""
    rows: list[list[str]] = []
    calibration: list[list[str]] = []
    errors: dict[str, list[float]] = {}
    for title, scenario in scenarios.items():
        found = measure(scenario)
        for name, pairs in found.items():
            error = _mean(pairs, lambda pair: abs(pair.expected_s - pair.waited_s))
            errors.setdefault(name, []).append(error)
            rows.append(
                [
                    title if name == OURS else "",
                    name,
                    f"{len(pairs):,}",
                    f"{_mean(pairs, lambda pair: pair.waited_s):.1f}",
                    f"**{error:.1f}**" if name == OURS else f"{error:.1f}",
                    f"{_mean(pairs, lambda pair: pair.expected_s - pair.waited_s):+.1f}",
                ]
            )
        calibration.append([title, *_calibrated(found[OURS])])
    chart = Chart(
        "expected",
        "Mean absolute error of the expected wait",
        "",
        "seconds",
        [Series(name, range(len(scenarios)), values) for name, values in errors.items()],
        ticks=[title.replace(", ", "\n") for title in scenarios],
    )
    bins = [f"{low:.0f}–{high:.0f} s" for low, high in pairwise(_BINS_S[:-1])]
    return Section(
        "The expected wait",
        _TEXT,
        [
            Table("", ("", "told by", "callers", "mean wait s", "mean error s", "bias s"), rows),
            Table(
                "Mean real wait (callers) by what vsek expected",
                ("", *bins, f"over {_BINS_S[-2]:.0f} s"),
                calibration,
            ),
        ],
        [chart],
    )


def _mean(pairs: list[_Pair], of: Callable[[_Pair], float]) -> float:
    return sum(map(of, pairs)) / len(pairs) if pairs else 0.0


def _calibrated(pairs: list[_Pair]) -> list[str]:
    cells = []
    for low, high in pairwise(_BINS_S):
        inside = [pair for pair in pairs if low <= pair.expected_s < high]
        mean = f"{_mean(inside, lambda pair: pair.waited_s):.0f} ({len(inside)})"
        cells.append(mean if inside else "")
    return cells


_TEXT = """
What each caller is expected to wait, told at the moment that the call begins to wait, against the
wait that came of it, ringing included. Judged by the 5 % of the callers who never give up here; of
all others only short waits are seen to the end. 40 agents, 15 s of wrap-up, 4 s until an agent
answers, some refuse or miss; the day has 11,000 calls of a bank's weekday and 60 agents in shifts
of six hours with pauses. *Error* is the mean absolute one, *bias* the mean of expected less real.
The error cannot become 0: the same line is served now faster, now slower.
"""

"""How long a caller will wait, told from how long those before had to.

Theory of operation
-------------------
A call that begins to wait finds a :class:`Line`: so many calls of its own group, so many of other
groups, per agent who is there. Calls of other groups delay it as far as their agents are the same
ones, which nobody needs to work out: what a call of either kind costs is learnt from the waits that
came of the lines, for each group by weighted least squares with two unknowns. A wait is made up of
so many independent intervals, so its variance grows with the line, and it weighs the less. Recent
waits count more, and a group that has little to show for itself leans on the whole house.

Two things would spoil it. Callers ahead who give up shorten the wait: if a line would take z
seconds with everybody staying, and each caller leaves at the rate r, it takes log(1 + rz) / r; so
waits are turned into z before they are learnt from. And long waits are seldom seen to the end, as
callers give up before: an answer after t seconds stands for exp(rt) callers. The rate r is the
number of callers who gave up, per second that anybody waited.

A call costs a fixed number of multiplications, however many agents and calls there are. How good
it is, and against what else, is measured by ``vsek sim study expected`` (``docs/acd-figures.md``).
"""

from __future__ import annotations

import math

import msgspec

_KEPT = 0.98
"""What is kept of a group's past with every further wait."""
_KEPT_OF_HOUSE = 0.999
_LEANING = 5.0
"""The whole house counts like so many waits of the group's own."""
_RIDGE = 1e-3
"""Keeps the two unknowns apart if all lines were alike."""
_MOST = 3.0
"""An answer stands for at most exp(3) = 20 callers."""


class Line(msgspec.Struct, frozen=True, gc=False):
    """What stands before a call as it begins to wait, per agent who is signed in and not paused."""

    own: float
    """Waiting calls of its group, itself among them."""
    others: float
    """Waiting calls of all other groups."""


def line_of(own: int, others: int, agents: int) -> Line:
    """The line of a call with ``own`` calls of its group (itself included) and ``others``."""
    present = max(1, agents)
    return Line(own / present, others / present)


class Fit(msgspec.Struct):
    """Sums of the least squares: of the products of own, others and time."""

    own_own: float = 0.0
    own_others: float = 0.0
    others_others: float = 0.0
    own_time: float = 0.0
    others_time: float = 0.0
    weight: float = 0.0
    """How many waits, the older ones fading."""

    def learn(self, line: Line, time: float, weight: float, kept: float) -> None:
        """A line took so much time."""
        own, others = weight * line.own, weight * line.others
        self.own_own = kept * self.own_own + own * line.own
        self.own_others = kept * self.own_others + own * line.others
        self.others_others = kept * self.others_others + others * line.others
        self.own_time = kept * self.own_time + own * time
        self.others_time = kept * self.others_time + others * time
        self.weight = kept * self.weight + 1.0

    def time(self, line: Line, house: Fit) -> float:
        """How much time the line will take; ``house`` has seen at least one."""
        lean = _LEANING / house.weight
        a = self.own_own + lean * house.own_own
        b = self.own_others + lean * house.own_others
        c = self.others_others + lean * house.others_others
        u = self.own_time + lean * house.own_time
        v = self.others_time + lean * house.others_time
        ridge = _RIDGE * (a + c)
        a, c = a + ridge, c + ridge
        per_own, per_other = (c * u - b * v) / (a * c - b * b), (a * v - b * u) / (a * c - b * b)
        if per_other < 0:
            per_own, per_other = u / a, 0.0
        elif per_own < 0:
            per_own, per_other = 0.0, v / c
        return per_own * line.own + per_other * line.others


class Outlook(msgspec.Struct):
    """What has been learnt of waiting. Durations are seconds."""

    house: Fit = msgspec.field(default_factory=Fit)
    groups: dict[str, Fit] = {}
    waited_s: float = 0.0
    """Time that callers have waited, the older part of it fading."""
    gave_up: float = 0.0
    """How many of them gave up."""

    def expected_s(self, group: str, line: Line) -> float | None:
        """How long a call of the group waits that finds this line; ``None``: not known yet."""
        if not self.house.weight:
            return None
        rate = self._rate()
        time = self.groups.get(group, _UNKNOWN).time(line, self.house)
        return math.log1p(rate * time) / rate if rate else time

    def answered(self, group: str, line: Line, waited_s: float) -> None:
        """A call that had found this line has been answered."""
        self._waited(waited_s, gave_up=False)
        rate = self._rate()
        lived = min(_MOST, rate * waited_s)
        time = math.expm1(lived) / rate if rate else waited_s
        weight = math.exp(lived) / (line.own + line.others)
        self.groups.setdefault(group, Fit()).learn(line, time, weight, _KEPT)
        self.house.learn(line, time, weight, _KEPT_OF_HOUSE)

    def left(self, waited_s: float, *, gave_up: bool) -> None:
        """A caller who had to wait is gone unanswered, because they gave up or for some other
        reason."""
        self._waited(waited_s, gave_up=gave_up)

    def _waited(self, seconds: float, *, gave_up: bool) -> None:
        self.waited_s = _KEPT_OF_HOUSE * self.waited_s + max(0.0, seconds)
        self.gave_up = _KEPT_OF_HOUSE * self.gave_up + gave_up

    def _rate(self) -> float:
        """How many of those who wait give up in a second."""
        return self.gave_up / self.waited_s if self.waited_s else 0.0


_UNKNOWN = Fit()

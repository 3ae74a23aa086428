"""Who calls, when, with how much patience, for how long: drawn before anybody decides anything.

Theory of operation: every quantity is drawn from a stream of its own, one value per caller in the
order of the callers. So the same seed gives the same callers whatever distributes them, and two
distributions are compared under common random numbers. What depends on how a call ended, whether
the caller calls again and how that call goes, is drawn from a stream of that caller and attempt.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import Enum
from itertools import accumulate
from random import Random

import msgspec

from vsek.domain.ids import AgentId, CallId, ClientId
from vsek.sim.curve import Curve


class Habits(msgspec.Struct, frozen=True, kw_only=True):
    """How callers and agents behave. Durations are seconds, shares between 0 and 1."""

    talk_s: float = 120.0
    """Mean; lognormal."""
    talk_cv: float = 1.23
    """Standard deviation of the talk over its mean."""
    exponential: bool = False
    """Talks are exponential instead: what the formula assumes."""
    patience_s: float = 348.0
    """Mean; exponential."""
    steadfast: float = 0.0
    """Share of callers who never give up: they show how long one would wait who stays."""
    wrap_up_s: float = 0.0
    answer_s: float = 0.0
    """Mean time that a softphone rings before its agent answers; exponential. 0: at once."""
    refuses: float = 0.0
    """Share of offers that the agent refuses."""
    misses: float = 0.0
    """Share of offers that nobody answers."""
    again: float = 0.0
    """Share of the served who call the same client again."""
    again_s: float = 3600.0
    """Mean time until they do; exponential."""
    redials: float = 0.0
    """Share of those who gave up, who call again."""
    redials_s: float = 60.0
    """Mean time until they do; exponential."""
    sure: float = 1.0
    """Share of those who call again who are recognised for certain."""
    takes_callback: float = 0.5
    """Share of callers who accept when they are offered to be called back."""

    @property
    def handling_s(self) -> float:
        """How long a call keeps its agent busy, on average."""
        return self.answer_s + self.talk_s + self.wrap_up_s


class Fate(Enum):
    """What becomes of an offer."""

    TAKEN = "taken"
    REFUSED = "refused"
    MISSED = "missed"


class Caller:
    """One call to come, and what became of it."""

    __slots__ = (
        "agent_id",
        "answered_at",
        "arrival",
        "attempt",
        "call_id",
        "client_id",
        "expected_s",
        "known",
        "number",
        "offers",
        "patience_s",
        "quiet",
        "reach_s",
        "reach_takes_s",
        "sure",
        "talk_s",
    )

    def __init__(
        self,
        number: int,
        attempt: int,
        client_id: ClientId,
        arrival: float,
        *,
        patience_s: float,
        talk_s: float,
    ) -> None:
        self.number = number
        """Of the person."""
        self.attempt = attempt
        """0 for the person's first call."""
        self.call_id = CallId(f"{number}-{attempt}")
        self.client_id = client_id
        self.arrival = arrival
        self.patience_s = patience_s
        self.talk_s = talk_s
        self.known: AgentId | None = None
        """Who talked with the person last."""
        self.sure = False
        self.reach_s: float | None = None
        """In how many seconds from its arrival ``known`` could be rung (infinite: never would
        answer); ``None``: is not signed in."""
        self.reach_takes_s = 0.0
        """How long it would ring there."""
        self.agent_id: AgentId | None = None
        """Who is rung, or talks."""
        self.answered_at: float | None = None
        self.expected_s: float | None = None
        self.offers = 0
        self.quiet = False
        """Arrived before the measurement began."""

    @property
    def number_shown(self) -> str:
        """What the caller is recognised by."""
        return f"+{self.number}"


class Load:
    """All who call. Their first calls come in the order of their numbers."""

    def __init__(
        self,
        habits: Habits,
        clients: dict[ClientId, float],
        seed: int,
        *,
        calls: int,
        per_s: float = 0.0,
        curve: Curve | None = None,
    ) -> None:
        """``calls`` first calls to ``clients`` (client → weight), either ``per_s`` a second as a
        Poisson process, or over a day as ``curve`` has it."""
        self.habits = habits
        self.calls = calls
        self.steadfast: set[CallId] = set()
        """Calls of those who never give up, as far as they have come."""
        self._seed = seed
        self._per_s = per_s
        self._curve = curve
        self._clients = list(clients)
        self._weights = list(accumulate(clients.values()))
        variance = math.log1p(habits.talk_cv**2)
        self._talk = math.log(habits.talk_s) - variance / 2, math.sqrt(variance)

    def callers(self) -> Iterator[Caller]:
        """Everybody's first call, in the order of the arrivals (seconds from 0)."""
        habits = self.habits
        stay = self._stream("steadfast").random if habits.steadfast else None
        patience, leaving = self._stream("patience").expovariate, 1 / habits.patience_s
        talk = self._stream("talk")
        pick, clients, weights = self._stream("client").choices, self._clients, self._weights
        for number, arrival in enumerate(self._arrivals()):
            (client_id,) = pick(clients, cum_weights=weights)
            patience_s = patience(leaving)
            if stay is not None and stay() < habits.steadfast:
                patience_s = math.inf
            talk_s = self._talk_s(talk)
            caller = Caller(number, 0, client_id, arrival, patience_s=patience_s, talk_s=talk_s)
            if patience_s == math.inf:
                self.steadfast.add(caller.call_id)
            yield caller

    def _talk_s(self, stream: Random) -> float:
        if self.habits.exponential:
            return stream.expovariate(1 / self.habits.talk_s)
        return stream.lognormvariate(*self._talk)

    def _arrivals(self) -> Iterator[float]:
        stream = self._stream("arrival")
        if self._curve is not None:
            for share in sorted(stream.random() for _ in range(self.calls)):
                yield self._curve.quantile_s(share)
            return
        at = 0.0
        for _ in range(self.calls):
            at += stream.expovariate(self._per_s)
            yield at

    def again(self, caller: Caller, now: float) -> Caller | None:
        """The call with which somebody whose call has just ended calls again, if so."""
        habits = self.habits
        served = caller.answered_at is not None
        share, after_s = (
            (habits.again, habits.again_s) if served else (habits.redials, habits.redials_s)
        )
        if not share:
            return None
        stream = self._stream(f"again {caller.number} {caller.attempt} {served}")
        if stream.random() >= share:
            return None
        arrival = now + stream.expovariate(1 / after_s)
        following = Caller(
            caller.number,
            caller.attempt + 1,
            caller.client_id,
            arrival,
            patience_s=stream.expovariate(1 / habits.patience_s),
            talk_s=self._talk_s(stream),
        )
        following.known = caller.agent_id if served else caller.known
        following.sure = stream.random() < habits.sure
        following.quiet = caller.quiet
        return following

    def chance(self, caller: Caller) -> Random:
        """What happens at the next offer for a call: a stream of its own."""
        return self._stream(f"offer {caller.number} {caller.attempt} {caller.offers}")

    def ring(self, caller: Caller) -> tuple[Fate, float]:
        """What becomes of the next offer for a call, and after how many seconds of ringing."""
        habits = self.habits
        chance = self.chance(caller)
        fate = chance.random()
        after_s = chance.expovariate(1 / habits.answer_s) if habits.answer_s else 0.0
        if fate < habits.misses:
            return Fate.MISSED, math.inf
        return (Fate.REFUSED if fate < habits.misses + habits.refuses else Fate.TAKEN), after_s

    def _stream(self, name: str) -> Random:
        return Random(f"{self._seed} {name}")  # noqa: S311 - a simulation has to be repeatable

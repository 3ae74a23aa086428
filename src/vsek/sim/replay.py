"""A past day once more, under the same or other rules, in virtual time.

Theory of operation. The calls of a :class:`~vsek.sim.past.Past` begin to wait when they did, and
the real distribution decides. Agents come and go when they did, and each treats the n-th call that
they are offered as they treated the n-th of that day (and begins anew after the last). A talk takes
as long as it took, a wrap-up too, whoever has it. What nobody can know is drawn, from a stream of
chance that belongs to the call, so that two runs differ by their rules alone:

* how long those would have waited who were answered: as long as they did, and a time more that is
  exponential with the mean which all waits of the day suggest (hang-ups against time waited);
* how long the talks and wrap-ups of those would have taken who hung up: as those of other calls of
  the same client, or of anybody where there are too few.

What is expected of waits is learnt anew. Nobody accepts a callback who was offered one; a voicemail
box or another number ends the wait.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from random import Random
from typing import Any

import msgspec

from vsek.acd import Acd, decide
from vsek.acd import effects as fx
from vsek.acd import events as ev
from vsek.acd.rules import Action, Rules
from vsek.acd.state import Agent, AgentState
from vsek.domain.ids import AgentId, CallId, ClientId
from vsek.sim.measure import Figures
from vsek.sim.past import BUSY, Past, PastCall, Reaction

ENOUGH = 10
"""So many talks of a client say how long its talks take."""


class Habits:
    """What is drawn for calls of a past day; the same call always draws the same."""

    def __init__(self, past: Past, *, seed: int = 1) -> None:
        self._seed = seed
        self._talks: dict[ClientId, list[float]] = {}
        self._all_talks: list[float] = []
        self._wraps: list[float] = []
        waited, self.left = 0.0, 0
        for call in past.calls:
            if call.talk_s is not None:
                self._talks.setdefault(call.client_id, []).append(call.talk_s)
                self._all_talks.append(call.talk_s)
                if call.wrapped_s is not None:
                    self._wraps.append(call.wrapped_s)
            waited += call.waited_s or 0.0
            self.left += call.left_at is not None and not call.served
        self.patience_s = waited / self.left if self.left else math.inf
        """Mean patience: all waiting over the number of those who hung up, which is what the
        censored waits of an exponential suggest. Infinite where nobody hung up."""
        reactions = [one for many in past.reactions.values() for one in many]
        self.reactions = reactions or [Reaction(0.0, None)]

    def _chance(self, call: PastCall, what: str) -> Random:
        return Random(f"{self._seed} {call.call_id} {what}")  # noqa: S311 - repeatable

    def patience_of(self, call: PastCall) -> float:
        """How long the caller is ready to wait, in seconds."""
        waited = call.waited_s or 0.0
        if call.left_at is not None and not call.served:
            return waited
        if self.patience_s == math.inf:
            return math.inf
        return waited + self._chance(call, "patience").expovariate(1 / self.patience_s)

    def talk_of(self, call: PastCall) -> float:
        """How long the talk takes, in seconds."""
        if call.talk_s is not None:
            return call.talk_s
        own = self._talks.get(call.client_id, [])
        known = own if len(own) >= ENOUGH else self._all_talks
        return self._chance(call, "talk").choice(known) if known else 0.0

    def wrap_up_of(self, call: PastCall) -> float:
        """How long the wrap-up takes, in seconds."""
        if call.wrapped_s is not None:
            return call.wrapped_s
        if self._wraps:
            return self._chance(call, "wrap-up").choice(self._wraps)
        return max(0.0, call.wrap_up_s)


class Fate(msgspec.Struct, frozen=True):
    """What became of one call."""

    client_id: ClientId
    waited_s: float
    answered: bool
    served: bool = False
    """Got something else than an agent."""


class Rerun:
    """One run of a past day. ``rules``: what counts from when on (Unix seconds)."""

    def __init__(self, past: Past, habits: Habits, rules: Iterable[tuple[float, Rules]]) -> None:
        self.fates: dict[CallId, Fate] = {}
        self.now = past.since
        self._past = past
        self._habits = habits
        self._heap: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._order = itertools.count()
        self._timers: dict[str, int] = {}
        self._waiting: dict[CallId, PastCall] = {}
        self._talking: dict[CallId, tuple[PastCall, AgentId]] = {}
        self._queued = 0
        self._asked: dict[AgentId, int] = {}
        (_, first), *later = rules
        self._acd = Acd(
            first,
            agents={agent.agent_id: _as_of_then(agent) for agent in past.agents},
            recent=dict(past.recent),
            last_rank=past.last_rank,
        )
        self._busy = {
            agent.agent_id: self._ways_back(agent) for agent in past.agents if agent.state in BUSY
        }
        for agent_id in self._busy:
            self._at(past.freed.get(agent_id, past.until), self._free, agent_id)
        for at, changed in later:
            self._at(at, self._tell, ev.RulesChanged(changed))
        for at, event in past.events:
            self._at(at, self._agent, event)
        for call in past.calls:
            self._at(call.queued_at, self._queue, call)

    @staticmethod
    def _ways_back(agent: Agent) -> list[ev.Event]:
        back: list[ev.Event] = [ev.AgentReachable(agent.agent_id, agent.reachable)]
        if agent.pause_wanted is not None:
            back.append(ev.AgentPaused(agent.agent_id, agent.pause_wanted))
        return back

    def run(self) -> dict[CallId, Fate]:
        """Until every call has been answered or is over."""
        while self._heap and (self._waiting or self._queued < len(self._past.calls)):
            at, _, happens, what = heappop(self._heap)
            self.now = max(self.now, at)
            happens(what)
        return self.fates

    def _at(self, when: float, happens: Callable[[Any], None], what: object) -> None:
        heappush(self._heap, (when, next(self._order), happens, what))

    def _tell(self, event: ev.Event) -> None:
        for effect in decide(self._acd, event, self.now):
            match effect:
                case fx.Offer():
                    self._ring(effect)
                case fx.SetTimer(name, generation, deadline):
                    self._timers[name] = generation
                    self._at(max(self.now, deadline), self._due, (name, generation))
                case fx.CancelTimer(name):
                    self._timers.pop(name, None)
                case fx.Answered(call_id):
                    self._answered(call_id)
                case fx.Treat():
                    if effect.action in (Action.VOICEMAIL, Action.FORWARD):
                        self._at(self.now, self._divert, effect.call_id)
                case _:
                    pass

    def _due(self, timer: tuple[str, int]) -> None:
        name, generation = timer
        if self._timers.get(name) == generation:
            del self._timers[name]
            self._tell(ev.TimerDue(name, generation))

    # Agents

    def _agent(self, event: ev.Event) -> None:
        late = self._busy.get(getattr(event, "agent_id", AgentId("")))
        if late is not None:
            late.append(event)
        else:
            self._tell(event)

    def _free(self, agent_id: AgentId) -> None:
        for event in self._busy.pop(agent_id):
            self._tell(event)

    def _ring(self, offer: fx.Offer) -> None:
        number = self._asked.get(offer.agent_id, 0)
        self._asked[offer.agent_id] = number + 1
        own = self._past.reactions.get(offer.agent_id) or self._habits.reactions
        reaction = own[number % len(own)]
        if reaction.rang_out:
            return  # the distribution's own timer ends it
        news: ev.Event = (
            ev.OfferAccepted(offer.offer_id)
            if reaction.failure is None
            else ev.OfferFailed(offer.offer_id, reaction.failure)
        )
        self._at(self.now + reaction.after_s, self._tell, news)

    # Calls

    def _queue(self, call: PastCall) -> None:
        self._queued += 1
        self._waiting[call.call_id] = call
        patience_s = self._habits.patience_of(call)
        if patience_s != math.inf:
            self._at(self.now + patience_s, self._give_up, call.call_id)
        self._tell(
            ev.CallQueued(
                call.call_id,
                call.client_id,
                call.arrival,
                self._habits.wrap_up_of(call),
                caller=call.caller,
                vip=call.vip,
                known=call.known,
                sure=call.sure,
            )
        )

    def _over(self, call_id: CallId, *, answered: bool, served: bool = False) -> PastCall:
        call = self._waiting.pop(call_id)
        waited_s = self.now - call.queued_at
        self.fates[call_id] = Fate(call.client_id, waited_s, answered, served)
        return call

    def _give_up(self, call_id: CallId) -> None:
        if call_id in self._waiting:
            self._over(call_id, answered=False)
            self._tell(ev.CallLeft(call_id))

    def _divert(self, call_id: CallId) -> None:
        if call_id in self._waiting:
            self._over(call_id, answered=False, served=True)
            self._tell(ev.CallLeft(call_id, served=True))

    def _answered(self, call_id: CallId) -> None:
        call = self._over(call_id, answered=True)
        agent_id = self._acd.calls[call_id].agent_id
        assert agent_id is not None  # who answered
        self._talking[call_id] = call, agent_id
        self._at(self.now + self._habits.talk_of(call), self._hang_up, call_id)

    def _hang_up(self, call_id: CallId) -> None:
        call, agent_id = self._talking.pop(call_id)
        self._tell(ev.AgentReleased(call_id, agent_id, call.cut))


def _as_of_then(agent: Agent) -> Agent:
    """The agent at the beginning. Who is busy then comes as soon as they were free."""
    mine = msgspec.structs.replace(
        agent,
        met=set(agent.met),
        new_clients=dict(agent.new_clients),
        call_id=None,
        offer_id=None,
        timer=None,
        leaving=False,
        pause_wanted=None,
    )
    if agent.state in BUSY:
        mine.state, mine.reachable = AgentState.LOGGED_OUT, False
        mine.away_since = mine.since  # no shift of their own begins by coming back
    return mine


def happened(past: Past) -> dict[CallId, Fate]:
    """What became of the calls; those are left out that were not over when the journal ended."""
    return {
        call.call_id: Fate(call.client_id, call.waited_s, call.answered_at is not None, call.served)
        for call in past.calls
        if call.waited_s is not None
    }


class Comparison(msgspec.Struct):
    """Figures of the same calls: what happened, the rules of then once more, and the others."""

    name: str
    happened: Figures
    again: Figures
    other: Figures


class Report(msgspec.Struct):
    """A past day under two sets of rules."""

    total: Comparison
    groups: list[Comparison]
    clients: list[Comparison]
    """Those with the most calls first."""
    calls: int
    patience_s: float
    """Mean patience that is assumed of callers, in seconds; infinite where nobody gave up."""
    gave_up: int


def compare(past: Past, other: Rules, *, seed: int = 1) -> Report:
    """Run the day again under the rules of then, and under ``other``.

    Groups and targets are those that the rules of then had at the end.
    """
    habits = Habits(past, seed=seed)
    then = past.rules[-1][1]
    runs = [
        _by_client(fates, then)
        for fates in (
            happened(past),
            Rerun(past, habits, past.rules).run(),
            Rerun(past, habits, [(past.since, other)]).run(),
        )
    ]
    members: dict[str, list[ClientId]] = {}
    clients = sorted({call.client_id for call in past.calls})
    for client_id in clients:
        members.setdefault(then.client(client_id).group, []).append(client_id)

    def sums(name: str, those: Iterable[ClientId]) -> Comparison:
        return Comparison(name, *(_sum(run, those) for run in runs))

    each = [sums(client_id, [client_id]) for client_id in clients]
    each.sort(key=lambda one: (-one.happened.calls, one.name))
    return Report(
        total=sums("all", clients),
        groups=[sums(group, those) for group, those in sorted(members.items())],
        clients=each,
        calls=len(past.calls),
        patience_s=habits.patience_s,
        gave_up=habits.left,
    )


def _by_client(fates: dict[CallId, Fate], rules: Rules) -> dict[ClientId, Figures]:
    """The figures of each client; in time is who was answered within the client's target."""
    result: dict[ClientId, Figures] = {}
    for fate in fates.values():
        result.setdefault(fate.client_id, Figures()).add(
            fate.waited_s,
            answered=fate.answered,
            diverted=fate.served,
            within_s=rules.client(fate.client_id).target.within_s,
        )
    return result


def _sum(run: dict[ClientId, Figures], those: Iterable[ClientId]) -> Figures:
    result = Figures()
    for client_id in those:
        if client_id in run:
            result += run[client_id]
    return result

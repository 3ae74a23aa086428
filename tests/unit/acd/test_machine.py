"""Any order of events, against promises that are checked from the outside.

The machine plays agents, callers and timers, also late news of offers that are over and timers
that were cancelled. Time can stand still, run, and be set back.
"""

from __future__ import annotations

from collections import Counter

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from vsek.acd import decide
from vsek.acd.effects import (
    AgentChanged,
    CancelTimer,
    Effect,
    Offer,
    SetTimer,
    WithdrawOffer,
    WrapUpEnded,
)
from vsek.acd.events import (
    AgentAdded,
    AgentPaused,
    AgentReachable,
    AgentReadied,
    AgentReleased,
    AgentRemoved,
    CallLeft,
    CallQueued,
    Event,
    OfferAccepted,
    OfferFailed,
    OfferFailure,
    RulesChanged,
    TimerDue,
)
from vsek.acd.invariants import check
from vsek.acd.rules import Rules
from vsek.acd.state import Acd, AgentState, CallState
from vsek.domain.ids import AgentId, CallId, ClientId, OfferId

_AGENTS = st.sampled_from([AgentId(name) for name in ("anna", "bert", "carl", "dora")])
_PICK = st.integers(0, 1_000)
_RULES = st.builds(
    Rules, st.sampled_from([1.0, 20.0]), st.sampled_from([0.0, 60.0]), st.sampled_from([0.0, 10.0])
)


class Distribution(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.acd = Acd()
        self.now = 1000.0
        self.calls = 0
        self.offers: dict[OfferId, Offer] = {}  # that ring, as the telephone side sees it
        self.over: list[OfferId] = []
        self.talks: dict[CallId, AgentId] = {}
        self.timers: dict[str, SetTimer] = {}
        self.old_timers: list[SetTimer] = []
        self.released: Counter[CallId] = Counter()
        self.wrapped: Counter[CallId] = Counter()
        self.states: dict[AgentId, AgentState] = {}

    def send(self, event: Event) -> list[Effect]:
        snapshot = msgspec.msgpack.encode(self.acd)
        twin = msgspec.msgpack.decode(snapshot, type=Acd)
        waiting = self.order_of_calls()
        ready = self.order_of_agents()
        effects = decide(self.acd, event, self.now)
        assert decide(twin, event, self.now) == effects, "not deterministic over a restart"
        assert twin == self.acd
        made = 0
        for effect in effects:
            match effect:
                case Offer(offer_id, call_id, agent_id, _):
                    made += 1
                    assert offer_id not in self.offers
                    assert offer_id not in self.over, "an offer id is used twice"
                    busy = {offer.agent_id for offer in self.offers.values()}
                    busy |= set(self.talks.values())
                    assert agent_id not in busy, "double booking"
                    assert call_id not in {offer.call_id for offer in self.offers.values()}
                    assert call_id not in self.talks
                    self.offers[offer_id] = effect
                case WithdrawOffer(offer_id):
                    del self.offers[offer_id]
                    self.over.append(offer_id)
                case SetTimer(name):
                    assert name not in self.timers, "the old one should have been cancelled"
                    self.timers[name] = effect
                case CancelTimer(name):
                    self.old_timers.append(self.timers.pop(name))
                case AgentChanged(agent_id, old, new, reason):
                    assert self.states.get(agent_id, AgentState.LOGGED_OUT) is old
                    assert reason
                    self.states[agent_id] = new
                    if reason == "removed":
                        del self.states[agent_id]
                case WrapUpEnded(call_id):
                    self.wrapped[call_id] += 1
        # Who was first before, and is still there, is served first.
        news = [effect for effect in effects if isinstance(effect, Offer)]
        served = [effect.call_id for effect in news if effect.call_id in waiting]
        assert served == waiting[: len(served)]
        asked = [effect.agent_id for effect in news if effect.agent_id in ready]
        assert asked == [agent_id for agent_id in ready if agent_id in asked]
        return effects

    def order_of_calls(self) -> list[CallId]:
        waiting = [c for c in self.acd.calls.values() if c.state is CallState.WAITING]
        return [c.call_id for c in sorted(waiting, key=lambda c: (c.arrival, c.rank))]

    def order_of_agents(self) -> list[AgentId]:
        ready = [a for a in self.acd.agents.values() if a.state is AgentState.READY]
        return [a.agent_id for a in sorted(ready, key=lambda a: a.idle_rank)]

    @initialize(rules=_RULES, agents=st.integers(0, 3))
    def open_house(self, rules: Rules, agents: int) -> None:
        self.send(RulesChanged(rules))
        for name in ("anna", "bert", "carl")[:agents]:
            self.send(AgentAdded(AgentId(name)))
            self.send(AgentReachable(AgentId(name), True))

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 10.0, 100.0, -50.0]))
    def time_goes_on(self, seconds: float) -> None:
        self.now += seconds

    @rule(agent_id=_AGENTS)
    def add(self, agent_id: AgentId) -> None:
        self.send(AgentAdded(agent_id))

    @rule(agent_id=_AGENTS)
    def remove(self, agent_id: AgentId) -> None:
        self.send(AgentRemoved(agent_id))

    @rule(agent_id=_AGENTS, reachable=st.booleans())
    def reachable(self, agent_id: AgentId, reachable: bool) -> None:
        self.send(AgentReachable(agent_id, reachable))

    @rule(agent_id=_AGENTS)
    def ready(self, agent_id: AgentId) -> None:
        self.send(AgentReadied(agent_id))

    @rule(agent_id=_AGENTS)
    def pause(self, agent_id: AgentId) -> None:
        self.send(AgentPaused(agent_id, "lunch"))

    @rule(rules=_RULES)
    def change_rules(self, rules: Rules) -> None:
        self.send(RulesChanged(rules))

    @rule(
        client=st.sampled_from("xyz"),
        waited=st.sampled_from([0.0, 0.0, 5.0]),
        wrap_up_s=st.sampled_from([0.0, 30.0]),
    )
    def queue(self, client: str, waited: float, wrap_up_s: float) -> None:
        self.calls += 1
        call_id = CallId(f"c{self.calls}")
        self.send(CallQueued(call_id, ClientId(client), self.now - waited, wrap_up_s))

    @precondition(lambda self: len(self.acd.calls) > len(self.talks))
    @rule(pick=_PICK)
    def leave(self, pick: int) -> None:
        calls = [call_id for call_id in self.acd.calls if call_id not in self.talks]
        self.send(CallLeft(calls[pick % len(calls)]))

    @precondition(lambda self: self.offers)
    @rule(pick=_PICK)
    def accept(self, pick: int) -> None:
        offer = list(self.offers.values())[pick % len(self.offers)]
        del self.offers[offer.offer_id]
        self.over.append(offer.offer_id)
        self.talks[offer.call_id] = offer.agent_id
        self.send(OfferAccepted(offer.offer_id))
        assert self.states[offer.agent_id] is AgentState.TALKING

    @precondition(lambda self: self.offers)
    @rule(pick=_PICK, failure=st.sampled_from(OfferFailure))
    def fail(self, pick: int, failure: OfferFailure) -> None:
        offer_id = list(self.offers)[pick % len(self.offers)]
        del self.offers[offer_id]
        self.over.append(offer_id)
        self.send(OfferFailed(offer_id, failure))

    @precondition(lambda self: self.over)
    @rule(pick=_PICK, accepted=st.booleans())
    def late_news(self, pick: int, accepted: bool) -> None:
        offer_id = self.over[pick % len(self.over)]
        event = OfferAccepted(offer_id) if accepted else OfferFailed(offer_id, OfferFailure.LOST)
        assert self.send(event) == []

    @precondition(lambda self: self.talks)
    @rule(pick=_PICK)
    def release(self, pick: int) -> None:
        call_id = list(self.talks)[pick % len(self.talks)]
        self.released[call_id] += 1
        self.send(AgentReleased(call_id, self.talks.pop(call_id)))

    @precondition(lambda self: self.timers)
    @rule(pick=_PICK)
    def timer(self, pick: int) -> None:
        due = list(self.timers.values())[pick % len(self.timers)]
        del self.timers[due.name]
        self.old_timers.append(due)
        self.now = max(self.now, due.deadline)
        assert self.send(TimerDue(due.name, due.generation))

    @precondition(lambda self: self.old_timers)
    @rule(pick=_PICK)
    def stale_timer(self, pick: int) -> None:
        due = self.old_timers[pick % len(self.old_timers)]
        assert self.send(TimerDue(due.name, due.generation)) == []

    @invariant()
    def promises(self) -> None:
        check(self.acd)
        assert set(self.acd.offers) == set(self.offers)
        assert {a.agent_id: a.state for a in self.acd.agents.values()} == self.states
        talking = {
            c.call_id: c.agent_id for c in self.acd.calls.values() if c.call_id in self.talks
        }
        assert talking == self.talks
        assert {(t.name, t.generation, t.deadline) for t in self.acd.timers()} == {
            (t.name, t.generation, t.deadline) for t in self.timers.values()
        }
        in_wrap_up = Counter(
            a.call_id for a in self.acd.agents.values() if a.state is AgentState.WRAP_UP
        )
        assert self.released == self.wrapped + in_wrap_up, "WrapUpEnded not exactly once"

    def teardown(self) -> None:
        """Everybody hangs up and goes home: nothing is left."""
        for call_id in list(self.acd.calls):
            if call_id in self.talks:
                self.release(0)
            else:
                self.send(CallLeft(call_id))
        while self.talks:
            self.release(0)
        for agent_id in list(self.acd.agents):
            self.send(AgentRemoved(agent_id))
        self.promises()
        assert not self.acd.agents
        assert not self.acd.calls
        assert not self.acd.index.lanes
        assert not self.acd.index.ready
        assert not self.timers
        assert not self.offers
        assert self.released == self.wrapped


TestDistribution = Distribution.TestCase
TestDistribution.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)

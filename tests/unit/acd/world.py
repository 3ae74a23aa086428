"""Agents, callers and a clock that do anything at all, and promises checked from the outside.

A walk is a list of steps ``(what, pick)``: everything that a step needs besides is drawn from
``pick``, so a walk can be repeated, shortened and written down. The world plays telephones and
timers, also late news of offers that are over and timers that were cancelled.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import msgspec
from tests.unit.acd import oracle

from vsek.acd import effects as fx
from vsek.acd import events as ev
from vsek.acd import match, take
from vsek.acd.explain import standings
from vsek.acd.hours import OpenSpan
from vsek.acd.invariants import check
from vsek.acd.rules import (
    Action,
    Admits,
    AgentRules,
    Circle,
    Clearance,
    ClientRules,
    Group,
    Order,
    Rules,
    Target,
    Treatment,
)
from vsek.acd.state import Acd, Agent, AgentState, CallState, QueuedCall
from vsek.domain.ids import AgentId, CallId, ClientId, OfferId

AGENTS = [AgentId(name) for name in ("anna", "bert", "carl", "dora", "emil", "fred")]
CLIENTS = [ClientId(name) for name in "xyz"]
GROUPS = ["", "g1", "g2"]
MOST_WAITING = 6
"""More would cost time and meet nothing new."""
TWIN_STEPS = 4
"""For so many steps after a restart the distribution that was never stopped runs beside it."""


def draw_rules(r: random.Random, version: int) -> Rules:
    """Rules of every kind."""

    def circles() -> tuple[Circle, ...]:
        after, found = r.choice([0.0, 0.0, 0.0, 0.3]), []
        for what in [r.choice([Admits.TEAM, Admits.TRAINED]), *r.sample(list(Admits), 3)]:
            found.append(Circle(after, what))
            after += r.choice([0.0, 0.7, 5.0, 20.0])
        return tuple(found[: r.randint(1, 4)])

    def treatment() -> Treatment:
        return Treatment(
            r.choice(list(Action)),
            r.choice([*GROUPS, "gone"]),
            after_s=r.choice([0.0, 3.0, 15.0]),
            waiting=r.choice([0, 0, 2]),
            expected_s=r.choice([0.0, 0.0, 10.0]),
            nobody=r.random() < 0.3,
            every_s=r.choice([0.0, 5.0]),
            hours=r.choice([(), (OpenSpan(frozenset({3}), 0, 20),)]),
        )

    def cleared() -> dict[str, Clearance]:
        return {
            name: r.choice(list(Clearance)) for name in r.sample(["*", *GROUPS], r.randint(0, 3))
        }

    def skills(highest: int) -> dict[str, int]:
        return {name: r.randint(1, highest) for name in r.sample(["de", "en"], r.randint(0, 2))}

    return Rules(
        ring_timeout_s=r.choice([1.0, 20.0]),
        rona_park_s=r.choice([0.0, 60.0]),
        refusal_park_s=r.choice([0.0, 10.0]),
        redial_s=r.choice([30.0, 300.0]),
        shift_gap_s=r.choice([50.0, 1e5]),
        version=version,
        groups={
            name: Group(
                r.choice(["", "t1"]),
                circles(),
                r.choice(list(Order)),
                r.random() < 0.5,
                tuple(r.sample(GROUPS, r.randint(0, 2))),
                r.randint(1, 2),
            )
            for name in r.sample(GROUPS, r.choice([2, 3, 3, 3]))
        },
        clients={
            name: ClientRules(
                r.choice(GROUPS),
                skills(2),
                Target(r.choice([0.8, 0.95]), r.choice([10.0, 20.0])),
                hold_s=r.choice([0.0, 10.0, 30.0]),
                learn_beside_trained=r.random() < 0.3,
                treatments=tuple(treatment() for _ in range(r.choice([0, 0, 1, 2]))),
            )
            for name in CLIENTS
        },
        agents={
            name: AgentRules(r.choice(["", "t1"]), skills(3), cleared(), r.randint(0, 2))
            for name in AGENTS
        },
    )


class World:
    """One house. :meth:`step` does one thing and checks every promise."""

    def __init__(self, pick: int) -> None:
        r = random.Random(pick)
        self.now = r.choice([1000.0, 1_700_000_000.3])
        self.acd = Acd(draw_rules(r, 0))
        self.acd.observer = self.observe
        self.twin: Acd | None = None
        self.twin_steps = 0
        self.steps = 0
        self.set_back = False
        self.backwards = r.choice([1.0, -50.0])
        self.queued: list[CallId] = []
        self.over: Counter[CallId] = Counter()
        self.offers: dict[OfferId, fx.Offer] = {}  # that ring, as the telephone side sees it
        self.old_offers: list[OfferId] = []
        self.talks: dict[CallId, AgentId] = {}
        self.claims: dict[tuple[ClientId, str], tuple[float, float]] = {}
        self.timers: dict[str, fx.SetTimer] = {}
        self.old_timers: list[fx.SetTimer] = []
        self.released: Counter[CallId] = Counter()
        self.wrapped: Counter[CallId] = Counter()
        self.states: dict[AgentId, AgentState] = {}
        self.choices: list[tuple[CallId, AgentId, int]] = []
        for agent_id in AGENTS[: r.randint(1, 6)]:
            self.take(ev.AgentAdded(agent_id))
            self.take(ev.AgentReachable(agent_id, True))
        self.match()

    # One step

    def step(self, what: str, pick: int) -> None:
        """Do ``what``; with some luck several things in one moment."""
        r = random.Random(pick)
        self.act(what, r)
        while r.random() < 0.2:
            self.act(r.choice(WHATS), r)
        self.match()
        self.promises()

    def act(self, what: str, r: random.Random) -> None:
        self.steps += 1
        action = ACTIONS[what]
        action(self, r)

    def take(self, event: ev.Event) -> list[fx.Effect]:
        effects = take(self.acd, event, self.now)
        if self.twin is not None:
            assert take(self.twin, event, self.now) == effects, "a restart changed something"
        self.carry_out(effects)
        return effects

    def match(self) -> None:
        self.choices.clear()
        effects = match(self.acd, self.now)
        if self.twin is not None:
            assert match(self.twin, self.now) == effects, "a restart changed something"
            assert self.twin == self.acd
            self.twin_steps -= 1
            if not self.twin_steps:
                self.twin = None
        self.carry_out(effects)
        made = [effect for effect in effects if isinstance(effect, fx.Offer)]
        told = [(offer.call_id, offer.agent_id, offer.decision.entitled) for offer in made]
        assert told == self.choices, "the decision tells something else"
        assert not (made and self.acd.halted), "offered while nobody can be rung"

    def carry_out(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            match effect:
                case fx.Offer(offer_id, call_id, agent_id, _):
                    assert offer_id not in self.offers
                    assert offer_id not in self.old_offers, "an offer id is used twice"
                    busy = {offer.agent_id for offer in self.offers.values()}
                    assert agent_id not in busy | set(self.talks.values()), "double booking"
                    assert call_id not in {offer.call_id for offer in self.offers.values()}
                    assert call_id not in self.talks
                    assert not self.over[call_id], "a dead call is offered"
                    self.offers[offer_id] = effect
                case fx.WithdrawOffer(offer_id, reason):
                    rang_out = reason is fx.Withdrawal.NO_ANSWER
                    assert not (rang_out and self.acd.halted), "who picks up cannot be seen"
                    del self.offers[offer_id]
                    self.old_offers.append(offer_id)
                case fx.SetTimer(name, generation, deadline):
                    put_off = name in self.timers and self.timers[name].generation == generation
                    assert put_off or name not in self.timers, "should have been cancelled"
                    assert deadline > self.now, "a timer that runs out at once runs for ever"
                    self.timers[name] = effect
                case fx.CancelTimer(name):
                    self.old_timers.append(self.timers.pop(name))
                case fx.AgentChanged(agent_id, old, new, reason):
                    assert self.states.get(agent_id, AgentState.LOGGED_OUT) is old
                    assert reason
                    self.states[agent_id] = new
                    if reason == "removed":
                        del self.states[agent_id]
                case fx.WrapUpEnded(call_id):
                    self.wrapped[call_id] += 1
                case fx.Treat(call_id, action, detail):
                    self.may_treat(self.acd.calls[call_id], action, detail)
                case fx.Regrouped(call_id):
                    assert self.acd.calls[call_id].agent_id is None or call_id not in self.talks
                case fx.Answered(call_id, waited_s):
                    assert waited_s >= 0

    def may_treat(self, call: QueuedCall, action: Action, detail: str) -> None:
        """Something is done for a call: is it the client's wish?"""
        if call.state is not CallState.WAITING:
            return  # was given to another group after that, and is being offered there
        waiting = [c for c in self.acd.calls.values() if c.state is CallState.WAITING]
        assert any(
            (one.action, one.detail) == (action, detail)
            and call.queued_at + one.after_s <= self.now
            and one.waiting < len(waiting)
            for one in self.acd.rules.client(call.client_id).treatments
        )

    def observe(self, acd: Acd, call: QueuedCall, agent: Agent) -> None:
        """A choice is about to be carried out: is it the right one?"""
        may = oracle.entitled(acd, call)
        assert agent.agent_id in may, "not entitled"
        assert may[agent.agent_id] == min(may.values()), "not the best agent"
        first = [standing for standing in standings(acd, call) if standing.entitled]
        assert first[0].agent_id == agent.agent_id
        assert {standing.agent_id for standing in first} == set(may)
        for other in acd.calls.values():
            if other.state is not CallState.WAITING or other is call:
                continue
            if agent.agent_id not in oracle.entitled(acd, other):
                continue
            assert not oracle.before(acd, other, call, self.now), "not the most urgent call"
            alike = (call.client_id, call.vip, call.group) == (
                other.client_id,
                other.vip,
                other.group,
            )
            assert call.held or not alike or call.key < other.key, "not by arrival"
        self.choices.append((call.call_id, agent.agent_id, len(may)))

    # What always holds

    def promises(self) -> None:
        acd = self.acd
        check(acd)
        assert set(acd.offers) == set(self.offers)
        assert {a.agent_id: a.state for a in acd.agents.values()} == self.states
        counted = Counter(self.states.values())
        assert {state: n for state, n in acd.counts.items() if n} == dict(counted)
        talking = {c.call_id: c.agent_id for c in acd.calls.values() if c.call_id in self.talks}
        assert talking == self.talks
        assert {(t.name, t.generation, t.deadline) for t in acd.timers()} == {
            (t.name, t.generation, t.deadline) for t in self.timers.values()
        }
        for call in acd.calls.values():
            if acd.halted:
                continue  # all of them are looked at when telephones can ring again
            assert (call.timer is not None) == oracle.needs_timer(acd, call)
            if call.state is CallState.WAITING:
                assert not oracle.entitled(acd, call), "somebody entitled is idle"
        in_wrap_up = Counter(
            a.call_id for a in acd.agents.values() if a.state is AgentState.WRAP_UP
        )
        assert self.released == self.wrapped + in_wrap_up, "WrapUpEnded not exactly once"
        assert set(acd.calls) == {call_id for call_id in self.queued if not self.over[call_id]}
        assert max(self.over.values(), default=0) <= 1, "two outcomes"
        assert len(acd.recent) <= len(self.queued)

    def ends(self) -> None:
        """Everybody hangs up and goes home: nothing is left."""
        r = random.Random(0)
        self.take(ev.Halted(False))
        self.match()
        self.promises()
        for call_id in list(self.acd.calls):
            if call_id in self.talks:
                self.released[call_id] += 1
                self.over[call_id] += 1
                self.take(ev.AgentReleased(call_id, self.talks.pop(call_id)))
            else:
                self.over[call_id] += 1
                self.take(ev.CallLeft(call_id))
        for agent_id in list(self.acd.agents):
            self.take(ev.AgentRemoved(agent_id))
        self.match()
        self.promises()
        acd, index = self.acd, self.acd.index
        left = [acd.agents, acd.calls, acd.profiles, index.lanes, index.ready, index.by_client]
        left += [index.by_group, index.known, index.graduates, self.timers, self.offers]
        assert not any(left), left
        assert not index.ready_mask
        assert self.released == self.wrapped
        assert all(self.over[call_id] == 1 for call_id in self.queued)
        self.now += 10_000
        self.queue(r)
        self.match()
        assert not acd.recent, "claims pile up"

    # What happens

    def agent(self, r: random.Random) -> AgentId:
        return r.choice(AGENTS)

    def add(self, r: random.Random) -> None:
        self.take(ev.AgentAdded(self.agent(r)))

    def remove(self, r: random.Random) -> None:
        self.take(ev.AgentRemoved(self.agent(r)))

    def reachable(self, r: random.Random) -> None:
        self.take(ev.AgentReachable(self.agent(r), r.random() < 0.75))

    def readied(self, r: random.Random) -> None:
        self.take(ev.AgentReadied(self.agent(r)))

    def paused(self, r: random.Random) -> None:
        self.take(ev.AgentPaused(self.agent(r), r.choice(["lunch", ""])))

    def queue(self, r: random.Random) -> None:
        if len(self.acd.calls) - len(self.talks) >= MOST_WAITING:
            self.leave(r)
        call_id = CallId(f"c{len(self.queued)}")
        self.queued.append(call_id)
        client, caller = r.choice(CLIENTS), r.choice(["", "n1", "n2"])
        arrival = self.now - r.choice([0.0, 0.0, 0.0, 3.0, 30.0])
        self.take(
            ev.CallQueued(
                call_id,
                client,
                arrival,
                r.choice([0.0, 5.0, 5.0, -1.0]),
                0,
                caller,
                r.random() < 0.2,
                tuple(r.choices(AGENTS, k=r.choice([0, 1, 2, 2]))),
                r.random() < 0.8,
            )
        )
        earlier, until = self.claims.pop((client, caller), (arrival, 0.0))
        if until >= self.now:
            arrival = min(arrival, earlier)
        assert self.set_back or self.acd.calls[call_id].arrival == arrival, "another place"

    def claim(self, call_id: CallId) -> None:
        """Who calls again has the place of this call."""
        call = self.acd.calls[call_id]
        if call.caller:
            until = self.now + self.acd.rules.redial_s
            self.claims[call.client_id, call.caller] = call.arrival, until

    def leave(self, r: random.Random) -> None:
        calls = [call_id for call_id in self.acd.calls if call_id not in self.talks]
        if calls:
            call_id = r.choice(calls)
            self.over[call_id] += 1
            served = r.random() < 0.3
            if not served:
                self.claim(call_id)
            self.take(ev.CallLeft(call_id, served))

    def accept(self, r: random.Random) -> None:
        if self.offers:
            offer = self.ended(r)
            self.talks[offer.call_id] = offer.agent_id
            effects = self.take(ev.OfferAccepted(offer.offer_id))
            assert any(isinstance(effect, fx.Answered) for effect in effects)
            assert self.states[offer.agent_id] is AgentState.TALKING

    def fail(self, r: random.Random) -> None:
        if self.offers:
            self.take(ev.OfferFailed(self.ended(r).offer_id, r.choice(list(ev.OfferFailure))))

    def ended(self, r: random.Random) -> fx.Offer:
        offer = self.offers.pop(r.choice(list(self.offers)))
        self.old_offers.append(offer.offer_id)
        return offer

    def delay(self, r: random.Random) -> None:
        """The telephone begins to ring only now."""
        if self.offers:
            offer = self.offers[r.choice(list(self.offers))]
            self.take(ev.OfferDelayed(offer.offer_id))
            due = self.timers[f"acd:ring:{offer.agent_id}"]
            assert due.deadline == self.now + self.acd.rules.ring_timeout_s

    def halt(self, r: random.Random) -> None:
        """No telephone can be made to ring, mostly not for long."""
        self.match()
        self.take(ev.Halted(r.random() < 0.2))

    def late_news(self, r: random.Random) -> None:
        if self.old_offers:
            offer_id = r.choice(self.old_offers)
            lost = ev.OfferFailed(offer_id, ev.OfferFailure.LOST)
            late: list[ev.Event] = [ev.OfferAccepted(offer_id), ev.OfferDelayed(offer_id), lost]
            event = r.choice(late)
            assert self.take(event) == []

    def release(self, r: random.Random) -> None:
        if self.talks:
            call_id = r.choice(list(self.talks))
            agent_id = self.talks.pop(call_id)
            self.released[call_id] += 1
            self.over[call_id] += 1
            cut = r.random() < 0.2
            if cut:
                self.claim(call_id)
            self.take(ev.AgentReleased(call_id, agent_id, cut))
            if r.random() < 0.1:  # the agent was lost, the caller is still there
                self.over[call_id] -= 1
                offers = max(
                    int(offer_id.rpartition(".")[2])
                    for offer_id in self.old_offers
                    if offer_id.rpartition(".")[0] == call_id
                )
                client = r.choice(CLIENTS)
                self.take(ev.CallQueued(call_id, client, self.now - 60, 5.0, offers))

    def time(self, r: random.Random) -> None:
        """Goes on without the timers: they come late. Or the clock is set."""
        self.match()  # events of one moment are matched at that moment
        seconds = r.choice([0.1, 0.7, 1.0, 5.0, 20.0, 100.0, self.backwards])
        self.now += seconds
        self.set_back |= seconds < 0  # claims may have been forgotten too early then

    def timer(self, r: random.Random) -> None:
        """One runs out: mostly the next, sometimes another one, which the others are late for."""
        self.match()
        if self.timers:
            due = min(self.timers.values(), key=lambda timer: timer.deadline)
            if r.random() < 0.2:
                due = r.choice(list(self.timers.values()))
            self.now = max(self.now, due.deadline)
            self.fire(due)

    def all_due(self, r: random.Random) -> None:
        """All that have run out, whatever they set off, come to an end."""
        for _ in range(1000):
            due = [timer for timer in self.timers.values() if timer.deadline <= self.now]
            if not due:
                return
            self.fire(r.choice(due))
            self.match()
        raise AssertionError("timers run out for ever")

    def fire(self, due: fx.SetTimer) -> None:
        del self.timers[due.name]
        self.old_timers.append(due)
        self.take(ev.TimerDue(due.name, due.generation))

    def stale_timer(self, r: random.Random) -> None:
        if self.old_timers:
            due = r.choice(self.old_timers)
            assert self.take(ev.TimerDue(due.name, due.generation)) == []

    def rules(self, r: random.Random) -> None:
        rules = draw_rules(r, self.acd.rules.version + 1)
        if r.random() < 0.5:  # a small change
            part = r.choice(["groups", "clients", "agents"])
            rules = msgspec.structs.replace(self.acd.rules, **{part: getattr(rules, part)})
        self.take(ev.RulesChanged(rules))

    def restart(self, _: random.Random) -> None:
        """From here on with what was written down; the other one goes on beside it for a while."""
        self.match()  # a snapshot is made between two decisions
        self.twin, self.twin_steps = self.acd, TWIN_STEPS
        self.twin.observer = None
        self.acd = msgspec.msgpack.decode(msgspec.msgpack.encode(self.acd), type=Acd)
        self.acd.observer = self.observe


ACTIONS: dict[str, Callable[[World, random.Random], None]] = {
    "queue": World.queue,
    "accept": World.accept,
    "timer": World.timer,
    "release": World.release,
    "leave": World.leave,
    "fail": World.fail,
    "readied": World.readied,
    "reachable": World.reachable,
    "paused": World.paused,
    "time": World.time,
    "all_due": World.all_due,
    "add": World.add,
    "remove": World.remove,
    "rules": World.rules,
    "restart": World.restart,
    "delay": World.delay,
    "halt": World.halt,
    "late_news": World.late_news,
    "stale_timer": World.stale_timer,
}
_OFTEN = {"queue": 8, "accept": 6, "timer": 6, "release": 5, "readied": 4, "leave": 2, "fail": 2}
_OFTEN |= {"reachable": 2, "time": 2}
WHATS = [what for what in ACTIONS for _ in range(_OFTEN.get(what, 1))]
"""What may happen, as often as it should."""


def walk(seed: int, steps: int) -> World:
    """A walk at random; every promise is checked after each step."""
    r = random.Random(seed)
    world = World(r.randrange(1 << 30))
    while world.steps < steps:
        world.step(r.choice(WHATS), r.randrange(1 << 30))
    world.ends()
    return world

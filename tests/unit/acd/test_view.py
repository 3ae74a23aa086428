"""What is told of a call to somebody who asks: who may take it, why the first, why not others."""

from __future__ import annotations

import random

import pytest

from vsek.acd import Acd, decide
from vsek.acd.effects import Effect, Offer
from vsek.acd.entitlement import Bar
from vsek.acd.events import (
    AgentAdded,
    AgentPaused,
    AgentReachable,
    AgentReadied,
    AgentReleased,
    CallQueued,
    Event,
    OfferAccepted,
)
from vsek.acd.explain import Edge, Hindrance, View, view
from vsek.acd.rules import (
    Admits,
    AgentRules,
    Circle,
    Clearance,
    ClientRules,
    Group,
    Order,
    Rules,
)
from vsek.acd.state import Agent, AgentState, QueuedCall
from vsek.domain.ids import AgentId, CallId, ClientId

CLIENT = ClientId("gold-co")
_CIRCLES = (
    Circle(0.0, Admits.TEAM),
    Circle(10.0, Admits.TRAINED),
    Circle(20.0, Admits.LEARNING),
    Circle(30.0, Admits.OVERFLOW),
)


class Floor:
    """A distribution, and the view at each of its choices."""

    def __init__(self, rules: Rules, *agents: str) -> None:
        self.acd = Acd(rules)
        self.now = 1000.0
        self.calls = 0
        self.views: list[tuple[View, AgentId]] = []
        self.acd.observer = self._choice
        for name in agents:
            self.send(AgentAdded(AgentId(name)), AgentReachable(AgentId(name), reachable=True))
            self.now += 1.0

    def _choice(self, acd: Acd, call: QueuedCall, agent: Agent) -> None:
        self.views.append((view(acd, call, self.now), agent.agent_id))

    def send(self, *events: Event) -> list[Effect]:
        return [effect for event in events for effect in decide(self.acd, event, self.now)]

    def queue(self, client: str = CLIENT, **more: object) -> CallId:
        self.calls += 1
        call_id = CallId(f"c{self.calls}")
        self.send(
            CallQueued(call_id, ClientId(client), self.now, 0.0, **more)  # type: ignore[arg-type]
        )
        return call_id

    def talk(self, client: str = CLIENT, talk_s: float = 0.0, **more: object) -> CallId:
        """A call that somebody takes at once; it goes on if ``talk_s`` is 0."""
        call_id = self.queue(client, **more)
        agent_id = self.acd.calls[call_id].agent_id
        assert agent_id is not None
        offer_id = self.acd.agents[agent_id].offer_id
        assert offer_id is not None
        self.send(OfferAccepted(offer_id))
        if talk_s:
            self.now += talk_s
            self.send(AgentReleased(call_id, agent_id))
        return call_id

    def look(self, call_id: CallId) -> View:
        return view(self.acd, self.acd.calls[call_id], self.now)

    def barred(self, call_id: CallId) -> dict[str, Hindrance]:
        return {
            c.agent_id: c.hindrance
            for c in self.look(call_id).candidates
            if c.hindrance is not None
        }


def rules(
    group: Group | None = None, client: ClientRules | None = None, **agents: AgentRules
) -> Rules:
    return Rules(
        version=3,
        groups={"gold": group or Group()},
        clients={CLIENT: client or ClientRules("gold")},
        agents={AgentId(name): own for name, own in agents.items()},
    )


def test_a_view_tells_how_the_call_stands() -> None:
    floor = Floor(rules(Group("berlin", _CIRCLES)), "anna")
    floor.now = 1100.0
    call_id = floor.queue(vip=True)
    other = floor.queue()
    floor.now += 5.0
    seen = floor.look(call_id)
    assert (seen.call_id, seen.group, seen.team) == (call_id, "gold", "berlin")
    assert seen.circles == tuple((circle.after_s, circle.admits) for circle in _CIRCLES)
    assert (seen.circle, seen.waited_s, seen.vip, seen.rules_version) == (1, 5.0, True, 3)
    assert seen.urgency == pytest.approx(5.0 / 4.34, rel=0.01)
    assert seen.counts[AgentState.READY] == 1
    assert seen.waiting == floor.look(other).waiting == 1
    assert (seen.edge, seen.entitled, seen.keeper, seen.held_s) == (None, [], None, 0.0)
    (anna,) = seen.candidates
    assert (anna.state, anna.for_s, anna.circle) == (AgentState.READY, 105.0, 0)


def test_each_bar_comes_with_its_particulars() -> None:
    floor = Floor(
        rules(
            Group("berlin", _CIRCLES, overflow_to=("silver",), new_clients=1),
            ClientRules("gold", {"french": 2, "law": 1}),
            able=AgentRules("paris", {"french": 3, "law": 1}),
            mute=AgentRules("berlin", {"french": 1}),
            other=AgentRules("berlin", {"french": 2, "law": 1}, {"bronze": Clearance.TRAINED}),
            pupil=AgentRules("", {"french": 2, "law": 1}, {"gold": Clearance.LEARNING}),
            aside=AgentRules("", {"french": 2, "law": 1}, {"silver": Clearance.TRAINED}),
        ),
        *("able", "mute", "other", "pupil", "aside"),
    )
    call_id = floor.queue()
    floor.now += 4.0
    assert floor.barred(call_id) == {
        "able": Hindrance(Bar.CIRCLE, opens_in_s=6.0, admits=Admits.TRAINED),
        "mute": Hindrance(Bar.SKILL, lacks={"french": 2, "law": 1}, has={"french": 1}),
        "other": Hindrance(Bar.NOT_CLEARED),
        "pupil": Hindrance(Bar.CIRCLE, opens_in_s=16.0, admits=Admits.LEARNING),
        "aside": Hindrance(Bar.CIRCLE, opens_in_s=26.0, admits=Admits.OVERFLOW),
    }


def test_who_is_learning_is_told_of_new_clients_and_of_nobody_beside() -> None:
    group = Group("", (Circle(0.0, Admits.TRAINED), Circle(0.0, Admits.LEARNING)), new_clients=1)
    both = rules(group, anna=AgentRules(cleared={"gold": Clearance.LEARNING}))
    both.clients[ClientId("gold-ag")] = ClientRules("gold")
    both.clients[ClientId("shy")] = ClientRules("gold", learn_beside_trained=True)
    floor = Floor(both, "anna")
    beside = floor.queue("shy")
    assert floor.barred(beside) == {"anna": Hindrance(Bar.BESIDE_TRAINED)}
    floor.talk(talk_s=10.0)
    late = floor.queue("gold-ag")
    assert floor.barred(late) == {"anna": Hindrance(Bar.NEW_CLIENTS, met=1, allowed=1)}


def test_a_call_that_is_kept_tells_for_whom_and_how_long() -> None:
    floor = Floor(rules(client=ClientRules("gold", hold_s=15.0)), "anna", "ben")
    first = floor.talk()
    assert floor.acd.calls[first].agent_id == "anna"
    kept = floor.queue(known=(AgentId("anna"),), sure=True)
    floor.now += 5.0
    seen = floor.look(kept)
    assert (seen.keeper, seen.held_s, seen.known) == ("anna", 10.0, ("anna",))
    assert floor.barred(kept) == {
        "ben": Hindrance(Bar.HELD, opens_in_s=10.0, keeper=AgentId("anna"))
    }
    # Somebody who will not come back soon keeps nothing; what is seen before it is decided.
    floor.acd.agents[AgentId("anna")].pause_wanted = "lunch"
    assert floor.barred(kept) == {"ben": Hindrance(Bar.HELD, opens_in_s=10.0)}


def _edge(floor: Floor, **more: object) -> tuple[Edge | None, str]:
    floor.talk(**more)  # type: ignore[arg-type]
    seen, chosen = floor.views[-1]
    assert seen.entitled[0].agent_id == chosen
    return seen.edge, chosen


def test_what_the_first_has_over_the_second() -> None:
    assert _edge(Floor(rules(), "anna")) == (Edge.ALONE, "anna")
    assert _edge(Floor(rules(), "anna", "ben")) == (Edge.IDLE, "anna")
    floor = Floor(rules(), "anna", "ben", "carl")
    assert _edge(floor, known=(AgentId("carl"),)) == (Edge.KNOWN, "carl")
    floor = Floor(rules(), "anna", "ben", "carl")
    known = AgentId("carl"), AgentId("ben")
    assert _edge(floor, known=known) == (Edge.KNOWS_BETTER, "carl")
    near = Group("berlin", (Circle(0.0, Admits.TEAM), Circle(0.0, Admits.TRAINED)))
    assert _edge(Floor(rules(near, ben=AgentRules("berlin")), "anna", "ben")) == (
        Edge.CIRCLE,
        "ben",
    )
    skilled = rules(
        client=ClientRules("gold", {"law": 1}),
        anna=AgentRules(skills={"law": 1}),
        ben=AgentRules(skills={"law": 3}),
    )
    assert _edge(Floor(skilled, "anna", "ben")) == (Edge.LEVEL, "ben")


@pytest.mark.parametrize(
    ("order", "edge"),
    [(Order.LEAST_CALLS, Edge.CALLS), (Order.LEAST_TALK, Edge.TALK), (Order.FIXED, Edge.POSITION)],
)
def test_the_order_of_the_group_decides(order: Order, edge: Edge) -> None:
    positions = {"anna": AgentRules(position=2), "ben": AgentRules(position=1)}
    ordered = rules(Group(order=order), None, **positions)
    floor = Floor(ordered, "anna", "ben")
    floor.send(AgentPaused(AgentId("ben"), "lunch"))
    if order is not Order.FIXED:
        floor.talk(talk_s=30.0)
    floor.send(AgentReadied(AgentId("ben")))
    assert _edge(floor) == (edge, "ben")


def test_ties_go_to_who_has_been_idle_longer() -> None:
    floor = Floor(rules(Group(order=Order.LEAST_CALLS)), "anna", "ben")
    assert _edge(floor) == (Edge.IDLE, "anna")


def test_choice_and_count_are_what_asking_everybody_gives() -> None:
    """The indexes against brute force, over a few hundred calls of a mixed house."""
    stream = random.Random(5)
    teams, groups = ["", "berlin"], ["gold", "silver"]
    mixed = Rules(
        groups={
            name: Group("berlin", _CIRCLES, stream.choice(list(Order)), overflow_to=tuple(groups))
            for name in groups
        },
        clients={ClientId(f"k{n}"): ClientRules(groups[n % 2], {"law": 1}) for n in range(6)},
        agents={
            AgentId(f"a{n}"): AgentRules(
                stream.choice(teams),
                {"law": stream.randint(0, 3)},
                {stream.choice(groups): stream.choice(list(Clearance)[:2])},
                n,
            )
            for n in range(12)
        },
    )
    floor = Floor(mixed, *mixed.agents)
    told = 0
    for number in range(300):
        floor.now += 3.0
        call_id = CallId(f"x{number}")
        event = CallQueued(
            call_id, ClientId(f"k{number % 6}"), floor.now - stream.choice([0, 15, 40]), 0.0
        )
        for effect in floor.send(event):
            if isinstance(effect, Offer):
                seen, chosen = floor.views.pop()
                assert (seen.call_id, chosen) == (call_id, effect.agent_id)
                assert seen.entitled[0].agent_id == chosen
                assert len(seen.entitled) == effect.decision.entitled
                told += 1
                floor.send(OfferAccepted(effect.offer_id))
                if stream.random() < 0.9:
                    floor.send(AgentReleased(call_id, chosen))
        floor.views.clear()
    assert told > 100

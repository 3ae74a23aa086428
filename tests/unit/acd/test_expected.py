"""The expected wait: learns what a line costs, from whoever was answered."""

from __future__ import annotations

import math
from random import Random

import pytest

from vsek.acd import Acd, decide
from vsek.acd.effects import Answered
from vsek.acd.events import (
    AgentAdded,
    AgentReachable,
    AgentReleased,
    CallLeft,
    CallQueued,
    OfferAccepted,
)
from vsek.acd.expected import Line, Outlook, line_of
from vsek.acd.rules import Action, ClientRules, Group, Rules, Treatment
from vsek.acd.treatment import expected_s
from vsek.domain.ids import AgentId, CallId, ClientId, OfferId


def taught(per_own: float, per_other: float, *, group: str = "g", waits: int = 300) -> Outlook:
    stream, outlook = Random(1), Outlook()
    for _ in range(waits):
        line = line_of(stream.randint(1, 20), stream.randint(0, 20), 10)
        waited_s = per_own * line.own + per_other * line.others
        outlook.answered(group, line, waited_s)
    return outlook


def test_nothing_is_known_at_first() -> None:
    assert Outlook().expected_s("g", Line(1.0, 0.0)) is None


@pytest.mark.parametrize(("per_own", "per_other"), [(120.0, 120.0), (120.0, 0.0), (60.0, 20.0)])
def test_what_calls_of_either_kind_cost_is_learnt(per_own: float, per_other: float) -> None:
    outlook = taught(per_own, per_other)
    expected = outlook.expected_s("g", Line(1.5, 2.0))
    assert expected == pytest.approx(1.5 * per_own + 2.0 * per_other, rel=0.01)


@pytest.mark.parametrize(("per_own", "per_other"), [(100.0, -20.0), (-5.0, 50.0)])
def test_no_call_shortens_the_wait(per_own: float, per_other: float) -> None:
    outlook = taught(per_own, per_other)
    shorter, longer = Line(1.0, 1.0), Line(1.1, 1.1)
    first, second = outlook.expected_s("g", shorter), outlook.expected_s("g", longer)
    assert first is not None
    assert second is not None
    assert 0 < first < second


def test_a_group_that_is_not_known_leans_on_the_house() -> None:
    outlook = taught(60.0, 20.0)
    assert outlook.expected_s("another", Line(1.0, 1.0)) == pytest.approx(80.0, rel=0.01)
    for _ in range(200):
        outlook.answered("another", Line(1.0, 0.0), 600.0)
    assert outlook.expected_s("another", Line(1.0, 0.0)) == pytest.approx(600.0, rel=0.1)
    after = outlook.expected_s("g", Line(1.0, 0.0))
    assert after is not None
    assert after < 150.0  # the house has changed more than the group


def test_who_gives_up_makes_long_lines_shorter_than_they_look() -> None:
    stream, outlook, rate = Random(1), Outlook(), 1 / 300
    for _ in range(3000):
        line = line_of(stream.randint(1, 30), 0, 10)
        waits_s = math.log1p(rate * 120.0 * line.own) / rate
        patience_s = stream.expovariate(rate)
        if patience_s < waits_s:
            outlook.left(patience_s, gave_up=True)
        else:
            outlook.answered("g", line, waits_s)
    expected = outlook.expected_s("g", Line(2.0, 0.0))
    assert expected == pytest.approx(math.log1p(rate * 240.0) / rate, rel=0.05)


def test_who_is_served_otherwise_has_not_given_up() -> None:
    outlook = Outlook()
    outlook.left(100.0, gave_up=False)
    outlook.answered("g", Line(1.0, 0.0), 50.0)
    assert outlook.gave_up == 0
    assert outlook.expected_s("g", Line(2.0, 0.0)) == pytest.approx(100.0, rel=0.01)


# In the distribution

A, B = AgentId("a"), AgentId("b")


class House:
    def __init__(self, rules: Rules) -> None:
        self.acd, self.now, self.answers = Acd(rules), 0.0, list[Answered]()
        for agent_id in (A, B):
            self.send(AgentAdded(agent_id))
            self.send(AgentReachable(agent_id, True))

    def send(self, event: object) -> None:
        for effect in decide(self.acd, event, self.now):  # type: ignore[arg-type]
            if isinstance(effect, Answered):
                self.answers.append(effect)

    def call(self, name: str, client: str = "c", **more: object) -> None:
        self.send(CallQueued(CallId(name), ClientId(client), self.now, 0.0, **more))  # type: ignore[arg-type]

    def accept(self, name: str, offer: int = 1) -> None:
        self.send(OfferAccepted(OfferId(f"{name}.{offer}")))


def busy(rules: Rules | None = None) -> House:
    """Two agents talk, nobody waits."""
    house = House(rules or Rules())
    for name in ("one", "two"):
        house.call(name)
        house.accept(name)
    return house


def test_a_line_is_per_agent_who_is_there() -> None:
    house = busy()
    house.call("three")
    house.call("four", "d")
    three, four = house.acd.calls[CallId("three")], house.acd.calls[CallId("four")]
    assert three.line == Line(0.5, 0.0)
    assert four.line == Line(1.0, 0.0)
    assert house.acd.waiting == 2


def test_other_groups_count_apart() -> None:
    house = busy(Rules(groups={"g": Group()}, clients={ClientId("d"): ClientRules("g")}))
    house.call("three")
    house.call("four", "d")
    assert house.acd.calls[CallId("four")].line == Line(0.5, 0.5)


def test_what_was_expected_is_told_with_the_answer() -> None:
    house = busy()
    house.call("three")
    house.now = 30.0
    house.send(AgentReleased(CallId("one"), A))
    house.accept("three")
    assert house.answers[-1] == Answered(CallId("three"), 30.0, None)
    house.call("four")
    house.now = 70.0
    house.send(AgentReleased(CallId("two"), B))
    house.accept("four")
    last = house.answers[-1]
    assert last.waited_s == 40.0
    assert last.expected_s == pytest.approx(30.0, rel=0.01)


def test_a_call_that_is_kept_for_an_agent_teaches_nothing() -> None:
    house = busy(Rules(clients={ClientId("c"): ClientRules(hold_s=60.0)}))
    house.call("three", known=(A,), sure=True)
    assert house.acd.calls[CallId("three")].held
    assert house.acd.calls[CallId("three")].line is None


def test_a_caller_who_gives_up_is_learnt_from() -> None:
    house = busy()
    house.call("three")
    house.now = 20.0
    house.send(CallLeft(CallId("three")))
    house.call("four")
    house.now = 50.0
    house.send(CallLeft(CallId("four"), served=True))
    assert house.acd.outlook.gave_up == pytest.approx(1.0, rel=0.01)
    assert house.acd.outlook.waited_s == pytest.approx(50.0, rel=0.01)


def test_another_group_is_another_line() -> None:
    move = Treatment(Action.REGROUP, "g")
    rules = Rules(groups={"g": Group()}, clients={ClientId("d"): ClientRules(treatments=(move,))})
    house = busy(rules)
    house.call("three", "d")
    call = house.acd.calls[CallId("three")]
    assert call.group == "g"
    assert call.line is None


def test_the_wait_that_is_left_counts_who_came_before() -> None:
    later = Treatment(Action.ANNOUNCE, "sorry", after_s=10.0, expected_s=50.0)
    rules = Rules(
        groups={"g": Group()},
        clients={ClientId("c"): ClientRules(), ClientId("d"): ClientRules("g")},
    )
    rules.clients[ClientId("late")] = ClientRules("g", treatments=(later,))
    house = busy(rules)
    for _ in range(200):
        house.acd.outlook.answered("g", Line(1.0, 0.0), 60.0)
        house.acd.outlook.answered("g", Line(1.0, 1.0), 90.0)
    house.call("three", "c")
    house.call("four", "d")
    house.call("five", "late")
    house.call("six", "d")
    timer = house.acd.calls[CallId("five")].timer
    assert timer is not None
    house.now = timer.deadline
    expected = expected_s(house.acd, house.acd.calls[CallId("five")])
    assert expected == pytest.approx(75.0, rel=0.1)  # one of each kind before it, two agents

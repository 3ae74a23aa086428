"""Each rule of the distribution by itself: who may take a call, and who is asked first."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.unit.acd.house import (
    ACME,
    ANNA,
    BERT,
    CARL,
    DORA,
    LEARNING,
    NONE,
    TRAINED,
    WIDENING,
    House,
    asked,
    cleared,
    offers,
    rulebook,
)

from vsek.acd.events import (
    AgentReachable,
    AgentRemoved,
    CallQueued,
    RulesChanged,
)
from vsek.acd.rules import (
    Admits,
    AgentRules,
    Circle,
    ClientRules,
    Group,
    Order,
)
from vsek.domain.ids import AgentId, CallId

# Circles


def test_circles_widen_with_the_wait() -> None:
    """Own team, then all who are trained, then who is learning, then those of another group."""
    rules = rulebook(
        {"acme": ClientRules(group="g")},
        {"g": Group(team="north", circles=WIDENING, overflow_to=("h",)), "h": Group()},
        {
            ANNA: cleared(TRAINED, "h"),
            BERT: cleared(LEARNING),
            CARL: cleared(TRAINED, team="south"),
            DORA: cleared(TRAINED, team="north"),
        },
        refusal_park_s=3600,
    )
    house = House(ANNA, BERT, CARL, DORA, rules=rules)
    rung = offers(house.call("c1"))
    begin = house.acd.calls[CallId("c1")].arrival
    seen = []
    while rung:
        seen.append((rung[0].agent_id, house.now - begin, house.decisions[-1].circle))
        house.refuses(rung[0].agent_id)
        rung = offers(house.wakes("c1")) if house.acd.calls[CallId("c1")].timer else []
    assert seen == [(DORA, 1, 1), (CARL, 10, 2), (BERT, 20, 3), (ANNA, 30, 4)]


def test_the_inner_circle_is_asked_first_even_when_all_are_open() -> None:
    rules = rulebook(
        {"acme": ClientRules(group="g")},
        {"g": Group(team="north", circles=WIDENING, overflow_to=("h",)), "h": Group()},
        {
            ANNA: cleared(TRAINED, "h"),
            BERT: cleared(LEARNING),
            CARL: cleared(TRAINED, team="south"),
            DORA: cleared(TRAINED, team="north"),
        },
    )
    house = House(ANNA, BERT, CARL, DORA, rules=rules)
    house.call("c1", arrival=house.now - 100)
    assert asked(house, "c1") == [DORA, CARL, BERT, ANNA]


def test_who_waits_for_a_circle_is_skipped_for_whom_an_agent_is_admitted() -> None:
    rules = rulebook(
        {"acme": ClientRules(group="g")},
        {"g": Group(team="north", circles=WIDENING)},
        {ANNA: cleared(TRAINED, team="south")},
    )
    house = House(ANNA, rules=rules)
    house.call("c1", arrival=house.now)
    assert house.rings("c1") is None
    house.call("c2", arrival=house.now - 15)  # calls again: has waited for longer
    assert house.rings("c2") == ANNA


def test_a_circle_opens_at_the_moment_that_its_timer_says() -> None:
    """1.7e9 + 0.1 - 1.7e9 is less than 0.1: the timer must not wake the call for nothing."""
    rules = rulebook(
        {"acme": ClientRules(group="g")},
        {"g": Group(circles=(Circle(0.1, Admits.TRAINED),))},
        {ANNA: cleared(TRAINED)},
    )
    house = House(ANNA, rules=rules)
    house.now = 1_700_000_000.3
    house.send(
        CallQueued(CallId("c1"), ACME, house.now, 30.0),
        after=0,
    )
    assert house.rings("c1") is None
    house.wakes("c1")
    assert house.rings("c1") == ANNA


def test_a_clock_that_is_set_back_closes_no_circle() -> None:
    rules = rulebook(
        {"acme": ClientRules(group="g")},
        {"g": Group(circles=(Circle(0, Admits.TRAINED), Circle(20, Admits.LEARNING)))},
        {ANNA: cleared(TRAINED)},
    )
    house = House(rules=rules)
    house.call("c1", arrival=house.now + 3600)
    (offer,) = offers(house.login(ANNA))
    assert offer.call_id == "c1"
    assert house.decisions[0].waited_s == 0


# Clearance


@pytest.mark.parametrize(
    ("agent", "gets_it"),
    [
        (AgentRules(), True),
        (AgentRules(cleared={"g": TRAINED}), True),
        (AgentRules(cleared={"h": TRAINED}), False),
        (AgentRules(cleared={"*": TRAINED}), True),
        (AgentRules(cleared={"*": TRAINED, "g": NONE}), False),
        (AgentRules(cleared={"*": NONE, "g": TRAINED}), True),
        (AgentRules(cleared={"g": LEARNING}), False),  # no circle for learners
    ],
)
def test_clearance(agent: AgentRules, gets_it: bool) -> None:
    house = House(ANNA, rules=rulebook({"acme": ClientRules(group="g")}, agents={ANNA: agent}))
    house.call("c1")
    assert (house.rings("c1") == ANNA) == gets_it


def test_overflow_goes_to_who_is_trained_there_not_to_who_learns() -> None:
    rules = rulebook(
        {"acme": ClientRules(group="g")},
        {"g": Group(circles=(Circle(0, Admits.OVERFLOW),), overflow_to=("h", "i"))},
        {
            ANNA: cleared(LEARNING, "h"),
            BERT: cleared(TRAINED, "g"),
            CARL: cleared(TRAINED, "i"),
        },
    )
    house = House(ANNA, BERT, CARL, rules=rules)
    house.call("c1")
    assert asked(house, "c1") == [CARL]


# Skills


@pytest.mark.parametrize(
    ("requires", "gets_it"),
    [
        ({}, True),
        ({"de": 2}, True),
        ({"de": 3}, False),
        ({"en": 1}, False),
        ({"de": 1, "fr": 1}, True),
        ({"de": 1, "fr": 2}, False),
        ({"nothing": 0}, True),
    ],
)
def test_skills(requires: dict[str, int], gets_it: bool) -> None:
    rules = rulebook(
        {"acme": ClientRules(requires=requires)},
        agents={ANNA: AgentRules(skills={"de": 2, "fr": 1})},
    )
    house = House(ANNA, rules=rules)
    house.call("c1")
    assert (house.rings("c1") == ANNA) == gets_it


@pytest.mark.parametrize(
    ("level_first", "order"), [(True, [BERT, CARL, ANNA]), (False, [ANNA, BERT, CARL])]
)
def test_the_higher_level_is_asked_first_where_levels_count(
    level_first: bool, order: list[AgentId]
) -> None:
    """With several skills the lowest of the levels counts."""
    rules = rulebook(
        {"acme": ClientRules(requires={"de": 1, "en": 1})},
        {"": Group(level_first=level_first)},
        {
            ANNA: AgentRules(skills={"de": 3, "en": 1}),
            BERT: AgentRules(skills={"de": 2, "en": 3}),
            CARL: AgentRules(skills={"de": 2, "en": 2}),
        },
    )
    house = House(ANNA, BERT, CARL, rules=rules)
    house.call("c1")
    assert asked(house, "c1") == order


def test_the_circle_counts_more_than_the_level() -> None:
    rules = rulebook(
        {"acme": ClientRules(requires={"de": 1})},
        {"": Group(team="t", circles=(Circle(0, Admits.TEAM), Circle(0, Admits.TRAINED)))},
        {
            ANNA: AgentRules(skills={"de": 3}),
            BERT: AgentRules(team="t", skills={"de": 1}),
            CARL: AgentRules(team="t", skills={"de": 2}),
        },
    )
    house = House(ANNA, BERT, CARL, rules=rules)
    house.call("c1")
    assert asked(house, "c1") == [CARL, BERT, ANNA]


# Orders


def ordered(order: Order) -> House:
    """Anna has had two short calls, Bert one long one, Carl none, but came last."""
    positions = {ANNA: 2, BERT: 3, CARL: 1}
    rules = rulebook(
        groups={"": Group(order=order)},
        agents={agent_id: AgentRules(position=n) for agent_id, n in positions.items()},
    )
    house = House(ANNA, rules=rules)
    house.serves(ANNA, "a1")
    house.serves(ANNA, "a2")
    house.pause(ANNA)
    house.login(BERT)
    house.talk("b1", wrap_up_s=0)
    house.passes(100)
    house.ends(BERT)
    house.ready(ANNA)
    house.login(CARL)
    return house


@pytest.mark.parametrize(
    ("order", "agents"),
    [
        (Order.LONGEST_IDLE, [BERT, ANNA, CARL]),
        (Order.LEAST_CALLS, [CARL, BERT, ANNA]),
        (Order.LEAST_TALK, [CARL, ANNA, BERT]),
        (Order.FIXED, [CARL, ANNA, BERT]),
    ],
)
def test_orders(order: Order, agents: list[AgentId]) -> None:
    house = ordered(order)
    house.call("c1")
    assert asked(house, "c1") == agents


@pytest.mark.parametrize("order", Order)
def test_who_is_equal_is_asked_by_idle_time(order: Order) -> None:
    house = House(ANNA, BERT, CARL, rules=rulebook(groups={"": Group(order=order)}))
    house.pause(ANNA)
    house.ready(ANNA)
    house.call("c1")
    assert asked(house, "c1") == [BERT, CARL, ANNA]


def test_a_new_shift_counts_from_zero() -> None:
    rules = rulebook(groups={"": Group(order=Order.LEAST_CALLS)}, shift_gap_s=3600)
    house = House(ANNA, BERT, rules=rules)
    house.serves(ANNA, "a1")
    house.pause(ANNA)
    house.passes(3590)
    house.send(AgentReachable(ANNA, False))  # goes home: it is the same absence
    house.ready(ANNA)
    assert house.acd.agents[ANNA].calls == 1
    house.passes(20)
    house.send(AgentReachable(ANNA, True))
    anna = house.acd.agents[ANNA]
    assert (anna.calls, anna.talked_s) == (0, 0)


def test_a_short_absence_is_no_new_shift() -> None:
    house = House(ANNA, rules=rulebook(shift_gap_s=3600))
    house.serves(ANNA, "a1")
    house.pause(ANNA)
    house.passes(3500)
    house.ready(ANNA)
    house.pause(ANNA)
    house.passes(3500)  # the absence was interrupted
    house.ready(ANNA)
    anna = house.acd.agents[ANNA]
    assert anna.calls == 1
    assert anna.talked_s == 1


# Who is learning


def learners(new_clients: int = 1, **client: object) -> House:
    """Anna is learning."""
    one = replace(ClientRules(group="g"), **client)
    rules = rulebook(
        dict.fromkeys(("acme", "beta", "gamma"), one),
        {
            "g": Group(
                circles=(Circle(0, Admits.TRAINED), Circle(0, Admits.LEARNING)),
                new_clients=new_clients,
            )
        },
        {ANNA: cleared(LEARNING), BERT: cleared(TRAINED), CARL: cleared(LEARNING)},
        shift_gap_s=3600,
    )
    return House(ANNA, rules=rules)


def test_who_is_learning_gets_so_many_new_clients_in_a_shift() -> None:
    house = learners(new_clients=2)
    house.serves(ANNA, "c1", client="acme")
    house.serves(ANNA, "c2", client="beta")
    house.call("c3", "gamma")
    assert house.rings("c3") is None
    house.pause(ANNA)
    house.passes(3600)
    house.ready(ANNA)
    assert house.rings("c3") == ANNA  # a new shift


def test_who_is_learning_goes_on_getting_clients_whom_they_know() -> None:
    house = learners(new_clients=1)
    house.serves(ANNA, "c1", client="acme")
    house.serves(ANNA, "c2", client="acme")
    house.call("c3", "beta")
    assert house.rings("c3") is None
    house.call("c4", "acme")
    assert house.rings("c4") == ANNA
    assert house.acd.agents[ANNA].new_clients == {"g": 1}


def test_a_client_whom_they_know_waits_for_who_is_learning() -> None:
    """Not only a new call finds the agent, the agent finds a waiting call."""
    house = learners(new_clients=1)
    house.serves(ANNA, "c1", client="acme")
    house.pause(ANNA)
    house.call("c2", "beta")
    house.call("c3", "acme")
    house.call("c4", "acme")
    (offer,) = offers(house.ready(ANNA))
    assert offer.call_id == "c3"


def test_a_ringing_that_came_to_nothing_is_no_new_client() -> None:
    house = learners(new_clients=1)
    house.call("c1", "acme")
    house.hangs_up("c1")
    house.call("c2", "beta")
    assert house.rings("c2") == ANNA


def test_more_new_clients_by_new_rules() -> None:
    house = learners(new_clients=1)
    house.serves(ANNA, "c1", client="acme")
    house.call("c2", "beta")
    rules = house.acd.rules
    more = {"g": replace(rules.groups["g"], new_clients=2)}
    house.send(RulesChanged(replace(rules, groups=more)))
    assert house.rings("c2") == ANNA


def test_what_a_learner_knows_is_forgotten_when_they_leave() -> None:
    house = learners(new_clients=1)
    house.serves(ANNA, "c1", client="acme")
    assert house.acd.index.graduates == {ACME: {ANNA: None}}
    house.login(CARL)
    house.serves(CARL, "c2", client="beta")
    house.send(AgentRemoved(CARL))
    assert house.acd.index.graduates == {ACME: {ANNA: None}}
    house.pause(ANNA)
    house.passes(3600)
    house.ready(ANNA)
    assert house.acd.index.graduates == {}


def test_two_learners_know_the_same_client() -> None:
    """The order of the group holds between them, and one of them leaving changes nothing."""
    house = learners(new_clients=1)
    house.serves(ANNA, "c1", client="acme")
    house.pause(ANNA)
    house.login(CARL)
    house.serves(CARL, "c2", client="acme")
    house.ready(ANNA)
    house.call("c3", "acme")
    assert house.rings("c3") == CARL
    house.send(AgentRemoved(CARL))
    assert house.rings("c3") == ANNA


def test_only_beside_somebody_trained() -> None:
    house = learners(learn_beside_trained=True)
    house.call("c1")
    assert house.rings("c1") is None  # Anna is alone
    house.login(BERT)
    assert house.rings("c1") == ANNA  # … and is asked as an equal: she has been idle for longer
    house.refuses(ANNA)
    assert house.rings("c1") == BERT


def test_beside_somebody_trained_the_longest_idle_is_asked() -> None:
    house = learners(learn_beside_trained=True)
    house.pause(ANNA)
    house.login(BERT)
    house.ready(ANNA)
    house.call("c1")
    assert asked(house, "c1") == [BERT]  # and then Anna is alone


def test_beside_somebody_trained_counts_new_clients_too() -> None:
    house = learners(new_clients=1, learn_beside_trained=True)
    house.login(BERT)
    house.serves(ANNA, "c1", client="acme")
    house.pause(BERT)
    house.ready(BERT)  # Anna has been idle for longer
    house.call("c2", "beta")
    assert house.rings("c2") == BERT
    house.hangs_up("c2")
    house.call("c3", "acme")
    assert house.rings("c3") == ANNA  # knows the client
    house.refuses(ANNA)
    house.answers(BERT)
    house.ready(ANNA)
    house.call("c4", "acme")
    assert house.rings("c4") is None  # nobody trained is free

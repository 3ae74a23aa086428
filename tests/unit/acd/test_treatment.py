"""What is done for calls that nobody can take in time: each condition, each action, when again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace
from tests.unit.acd.house import ACME, ANNA, BERT, House, offers, rulebook, treats

from vsek.acd.effects import Regrouped, Treat
from vsek.acd.events import AgentRemoved, RulesChanged
from vsek.acd.hours import DayHours, OpenSpan
from vsek.acd.rules import (
    RECHECK_S,
    Action,
    Admits,
    AgentRules,
    Circle,
    Clearance,
    ClientRules,
    Group,
    Rules,
    Treatment,
)
from vsek.domain.ids import CallId

C1 = CallId("c1")
VOICEMAIL = Treat(C1, Action.VOICEMAIL, "")


def treating(*treatments: Treatment, **others: Any) -> Rules:
    return rulebook({"acme": ClientRules(treatments=treatments)}, **others)


def voicemail(**conditions: Any) -> Treatment:
    return Treatment(Action.VOICEMAIL, **conditions)


@pytest.mark.parametrize("action", [action for action in Action if action is not Action.REGROUP])
def test_an_action_is_taken_when_nobody_takes_the_call(action: Action) -> None:
    house = House(rules=treating(Treatment(action, "x")))
    assert treats(house.call("c1")) == [Treat(C1, action, "x")]
    assert house.waiting() == ["c1"]  # the call goes on waiting


def test_nothing_is_done_for_a_call_that_is_taken_at_once() -> None:
    house = House(ANNA, rules=treating(voicemail()))
    assert treats(house.call("c1")) == []
    assert treats(house.refuses(ANNA)) == [VOICEMAIL]


def test_after_so_many_seconds_in_the_queue() -> None:
    """Not since the arrival: who calls again does not get everything at once."""
    house = House(rules=treating(voicemail(after_s=15.0)))
    assert treats(house.call("c1", arrival=0)) == []
    queued_at = house.now
    assert treats(house.wakes("c1")) == [VOICEMAIL]
    assert house.now == queued_at + 15
    assert house.acd.timers() == []


def test_several_in_their_order() -> None:
    house = House(
        rules=treating(
            Treatment(Action.ANNOUNCE, "soon"),
            Treatment(Action.CALLBACK, after_s=30.0),
            Treatment(Action.FORWARD, "+4930", after_s=20.0),
        )
    )
    assert treats(house.call("c1")) == [Treat(C1, Action.ANNOUNCE, "soon")]
    assert treats(house.wakes("c1")) == [Treat(C1, Action.FORWARD, "+4930")]
    assert treats(house.wakes("c1")) == [Treat(C1, Action.CALLBACK, "")]
    assert house.acd.timers() == []


def test_an_announcement_may_be_repeated() -> None:
    house = House(rules=treating(Treatment(Action.ANNOUNCE, "soon", after_s=5, every_s=20)))
    house.call("c1")
    begin = house.now
    times = []
    for _ in range(3):
        assert treats(house.wakes("c1")) == [Treat(C1, Action.ANNOUNCE, "soon")]
        times.append(house.now - begin)
    assert times == [5, 25, 45]


def test_nothing_else_is_repeated() -> None:
    house = House(rules=treating(Treatment(Action.CALLBACK, every_s=20)))
    assert treats(house.call("c1"))
    assert house.acd.timers() == []


def test_when_so_many_others_wait() -> None:
    house = House(rules=treating(voicemail(waiting=2)))
    house.call("x1", "other")
    assert treats(house.call("c1")) == []
    assert treats(house.wakes("c1")) == []
    assert house.acd.calls[C1].timer is not None
    house.call("x2", "other")
    looked = house.now
    assert treats(house.wakes("c1")) == [VOICEMAIL]
    assert house.now <= looked + RECHECK_S


def test_only_calls_of_the_same_group_count() -> None:
    rules = rulebook(
        {
            "acme": ClientRules(group="g", treatments=(voicemail(waiting=1),)),
            "same": ClientRules(group="g"),
        }
    )
    house = House(rules=rules)
    house.call("x1", "other")
    assert treats(house.call("c1")) == []
    house.call("x2", "same")
    assert treats(house.wakes("c1")) == [VOICEMAIL]


def test_when_nobody_is_signed_in() -> None:
    house = House(ANNA, rules=treating(voicemail(nobody=True)))
    house.talk("c0")
    assert treats(house.call("c1")) == []  # Anna will come
    house.pause(ANNA)
    assert treats(house.wakes("c1")) == []  # … after her wrap-up
    house.ends(ANNA)
    house.due(ANNA)
    assert treats(house.wakes("c1")) == [VOICEMAIL]


@pytest.mark.parametrize(
    ("agent", "somebody"),
    [
        (AgentRules(), True),
        (AgentRules(cleared={"g": Clearance.NONE}), False),
        (AgentRules(cleared={"h": Clearance.TRAINED}), True),  # by a circle that opens later
        (AgentRules(cleared={"g": Clearance.LEARNING}), False),
    ],
)
def test_only_those_count_who_may_ever_take_the_call(agent: AgentRules, somebody: bool) -> None:
    circles = (Circle(0, Admits.TRAINED), Circle(60, Admits.OVERFLOW))
    rules = rulebook(
        {"acme": ClientRules(group="g", treatments=(voicemail(nobody=True),))},
        {"g": Group(circles=circles, overflow_to=("h",))},
        {ANNA: agent},
    )
    house = House(ANNA, rules=rules)
    house.talk("c0", client="other") if not agent.cleared else house.pause(ANNA)
    if agent.cleared:
        house.ready(ANNA)
    assert (treats(house.call("c1")) == []) == somebody


def test_a_learner_counts_for_clients_whom_they_know() -> None:
    rules = rulebook(
        {"acme": ClientRules(group="g", treatments=(voicemail(nobody=True),))},
        {"g": Group(circles=(Circle(0, Admits.LEARNING),), new_clients=1)},
        {ANNA: AgentRules(cleared={"g": Clearance.LEARNING})},
    )
    house = House(ANNA, rules=rules)
    house.talk("c0")
    assert treats(house.call("c1")) == []
    house.send(AgentRemoved(ANNA))
    house.ends(ANNA)
    assert treats(house.wakes("c1")) == [VOICEMAIL]


def test_who_learns_beside_others_counts_for_nobody_alone() -> None:
    rules = rulebook(
        {
            "acme": ClientRules(
                group="g", learn_beside_trained=True, treatments=(voicemail(nobody=True),)
            )
        },
        agents={ANNA: AgentRules(cleared={"g": Clearance.LEARNING})},
    )
    house = House(ANNA, rules=rules)
    assert treats(house.call("c1")) == [VOICEMAIL]


def test_within_hours() -> None:
    """The client's local time: 10 o'clock in Berlin is 9 o'clock UTC in winter."""
    span = OpenSpan(frozenset(range(5)), 10 * 60, 12 * 60)
    rules = treating(voicemail(hours=(span,), timezone="Europe/Berlin"))
    house = House(rules=rules)
    house.now = datetime(2026, 1, 5, 8, 59, 50, tzinfo=UTC).timestamp()
    assert treats(house.call("c1")) == []
    assert treats(house.wakes("c1")) == [VOICEMAIL]
    assert datetime.fromtimestamp(house.now, UTC).hour == 9


def test_days_of_their_own() -> None:
    day = datetime(2026, 1, 5, tzinfo=UTC)
    closed = DayHours(day.toordinal(), day.toordinal())
    house = House(rules=treating(voicemail(days=(closed,))))
    house.now = day.timestamp() + 86_300
    assert treats(house.call("c1")) == []
    assert treats(house.passes(100 + RECHECK_S)) == [VOICEMAIL]


def test_all_conditions_together() -> None:
    house = House(ANNA, rules=treating(voicemail(after_s=5, waiting=1, nobody=True)))
    house.talk("c0")
    house.call("c1")
    house.call("x1", "other")
    assert treats(house.passes(30)) == []
    house.pause(ANNA)
    house.ends(ANNA)
    house.due(ANNA)
    assert treats(house.passes(RECHECK_S)) == [VOICEMAIL]


# Another group


def regrouping(**others: Any) -> House:
    """Nobody is there for acme's group; after 20 s another one serves it."""
    rules = rulebook(
        {
            "acme": ClientRules(
                group="g", treatments=(Treatment(Action.REGROUP, "h", after_s=20),), **others
            )
        },
        {"g": Group(), "h": Group(circles=(Circle(0, Admits.TRAINED), Circle(90, Admits.TEAM)))},
        {ANNA: AgentRules(cleared={"h": Clearance.TRAINED})},
    )
    return House(ANNA, rules=rules)


def test_another_group_takes_over() -> None:
    house = regrouping()
    house.call("c1")
    effects = house.wakes("c1")
    assert treats(effects) == [Regrouped(C1, "h")]
    assert [offer.agent_id for offer in offers(effects)] == [ANNA]


def test_a_call_goes_on_waiting_in_the_other_group() -> None:
    house = regrouping()
    house.pause(ANNA)
    house.call("c1")
    arrival = house.acd.calls[C1].arrival
    house.wakes("c1")
    call = house.acd.calls[C1]
    assert (call.group, call.arrival, house.waiting()) == ("h", arrival, ["c1"])
    assert call.timer is not None  # of a circle in the other group
    assert call.timer.deadline == arrival + 90
    assert house.acd.index.by_group == {"h": 1}
    house.send(RulesChanged(replace(house.acd.rules, version=5)))
    assert house.acd.calls[C1].group == "h"


def test_a_call_is_regrouped_out_of_a_hold() -> None:
    house = regrouping(hold_s=60)
    house.send(
        RulesChanged(replace(house.acd.rules, agents={BERT: AgentRules(), ANNA: AgentRules()}))
    )
    house.talk("c0")
    house.call("c1", known=[ANNA], sure=True)
    assert house.acd.calls[C1].held
    assert treats(house.wakes("c1")) == [Regrouped(C1, "h")]
    assert house.acd.calls[C1].held  # still kept: the one who knows is in both


def test_a_hold_ends_where_the_other_group_is_not_served_by_the_one_who_knows() -> None:
    house = regrouping(hold_s=60)
    own = {ANNA: AgentRules(cleared={"g": Clearance.TRAINED}), BERT: AgentRules()}
    house.send(RulesChanged(replace(house.acd.rules, agents=own)))
    house.talk("c0")
    house.login(BERT)
    house.call("c1", known=[ANNA], sure=True)
    assert house.acd.calls[C1].held
    assert house.rings("c1") is None
    assert treats(house.wakes("c1")) == [Regrouped(C1, "h")]
    assert house.rings("c1") == BERT


# New rules


def test_what_was_done_is_not_done_again_by_new_rules() -> None:
    first, second = Treatment(Action.CALLBACK), Treatment(Action.FORWARD, "+49")
    house = House(rules=treating(first))
    assert len(treats(house.call("c1"))) == 1
    effects = house.send(RulesChanged(treating(second, first)))
    assert treats(effects) == [Treat(C1, Action.FORWARD, "+49")]
    assert treats(house.send(RulesChanged(treating(first)))) == []
    assert house.acd.calls[C1].treated.keys() == {0}


def test_new_rules_take_a_timer_back() -> None:
    house = House(rules=treating(voicemail(after_s=20)))
    house.call("c1")
    house.send(RulesChanged(treating()))
    assert house.acd.timers() == []


def test_clients_without_a_part_of_their_own_have_no_treatments() -> None:
    house = House(rules=treating(voicemail()))
    assert house.acd.rules.client(ACME).treatments
    assert treats(house.call("c2", "other")) == []


def test_when_the_expected_wait_is_long() -> None:
    """What a wait is expected to be is learnt from the waits of others."""
    house = House(ANNA, rules=treating(voicemail(expected_s=60)))
    assert treats(house.call("c0")) == []
    house.answers(ANNA)
    assert treats(house.call("c2")) == []  # nothing is known yet
    house.hangs_up("c2")
    for n in range(5):
        house.call(f"x{n}", "other")
        house.passes(100)
        house.ends(ANNA)
        house.ready(ANNA)
        house.answers(ANNA)
    assert treats(house.call("c1")) == [VOICEMAIL]

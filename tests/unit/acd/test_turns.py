"""Each rule of the distribution by itself: whose turn it is, and for whom a call is kept."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.unit.acd.house import (
    ACME,
    ANNA,
    BERT,
    BETA,
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

from vsek.acd import AgentState, match, take
from vsek.acd.events import (
    AgentReachable,
    AgentReadied,
    AgentReleased,
    AgentRemoved,
    CallQueued,
    RulesChanged,
    TimerDue,
)
from vsek.acd.explain import standings
from vsek.acd.invariants import check
from vsek.acd.rules import (
    Admits,
    AgentRules,
    Circle,
    ClientRules,
    Group,
    Order,
    Target,
)
from vsek.domain.ids import AgentId, CallId

# Known callers


def test_who_knows_the_matter_is_asked_first() -> None:
    house = House(ANNA, BERT, CARL)
    house.call("c1", known=[CARL, BERT])
    assert asked(house, "c1") == [CARL, BERT, ANNA]
    assert [decision.known for decision in house.decisions] == [True, True, False]


def test_who_knows_the_matter_is_asked_before_the_circle_opens() -> None:
    rules = rulebook(
        {"acme": ClientRules(group="g")},
        {"g": Group(team="north", circles=WIDENING)},
        {ANNA: cleared(TRAINED, team="north"), BERT: cleared(LEARNING), CARL: cleared(NONE)},
    )
    house = House(ANNA, BERT, CARL, rules=rules)
    house.call("c1", known=[CARL, BERT])  # Carl is not cleared at all
    assert asked(house, "c1") == [BERT, ANNA]
    assert house.decisions[0].entitled == 2
    house.hangs_up("c1")
    house.passes(10)
    house.pause(BERT)
    house.pause(ANNA)
    house.call("c2", known=[BERT])
    (offer,) = offers(house.ready(BERT))  # the agent finds the call
    assert offer.call_id == "c2"


HOLDING = rulebook({"acme": ClientRules(hold_s=30)}, rona_park_s=300, refusal_park_s=300)


def held(agent_id: AgentId = ANNA) -> House:
    """Anna talks; Bert is ready; Anna's caller calls again and is kept for her."""
    house = House(ANNA, BERT, rules=HOLDING)
    house.talk("c0")
    house.call("c1", known=[ANNA], sure=True)
    assert house.rings("c1") is None
    assert house.acd.calls[CallId("c1")].held
    return house


def test_a_call_is_kept_for_who_knows_the_matter() -> None:
    house = held()
    house.call("c2")
    assert house.rings("c2") == BERT  # keeping one call blocks no other
    house.ends(ANNA)
    assert house.rings("c1") is None  # still kept in the wrap-up
    house.ready(ANNA)
    assert house.rings("c1") == ANNA
    assert house.decisions[-1].known


def test_a_call_is_kept_for_the_clients_time_only() -> None:
    house = held()
    house.wakes("c1")
    assert house.rings("c1") == BERT
    assert house.now == house.acd.calls[CallId("c1")].queued_at + 30


def test_a_kept_call_comes_before_a_more_urgent_one() -> None:
    house = held()
    house.talk("c2")
    house.call("c3", arrival=0)
    house.ends(BERT)
    house.ends(ANNA)
    house.ready(ANNA)
    assert house.rings("c1") == ANNA
    house.ready(BERT)
    assert house.rings("c3") == BERT


def test_of_several_kept_calls_the_earlier_is_first() -> None:
    house = held()
    house.call("c2", arrival=0, known=[ANNA], sure=True)
    house.ends(ANNA)
    house.ready(ANNA)
    assert house.rings("c2") == ANNA
    assert house.acd.calls[CallId("c1")].held  # Anna rings, she will come back
    house.answers(ANNA)
    house.ends(ANNA)
    house.ready(ANNA)
    assert house.rings("c1") == ANNA


@pytest.mark.parametrize("going", ["pauses", "is removed", "loses the telephone", "may no longer"])
def test_a_call_is_not_kept_for_who_will_not_come(going: str) -> None:
    house = held()
    match going:
        case "pauses":
            house.pause(ANNA)
        case "is removed":
            house.send(AgentRemoved(ANNA))
        case "loses the telephone":
            house.send(AgentReachable(ANNA, False))
        case _:
            rules = replace(HOLDING, agents={ANNA: cleared(TRAINED, "elsewhere")})
            house.send(RulesChanged(rules))
    assert house.rings("c1") == BERT
    assert not house.decisions[-1].known


def test_a_call_is_kept_through_new_rules() -> None:
    house = held()
    house.send(RulesChanged(replace(HOLDING, version=7)))
    call = house.acd.calls[CallId("c1")]
    assert call.held
    assert call.timer is not None
    assert call.timer.deadline == call.queued_at + 30


def test_a_call_is_not_kept_for_who_did_not_take_it() -> None:
    house = held()
    house.ends(ANNA)
    house.ready(ANNA)
    house.refuses(ANNA)
    assert house.rings("c1") == BERT


@pytest.mark.parametrize(
    ("known", "sure", "hold_s"),
    [([ANNA], False, 30), ([ANNA], True, 0), ([], True, 30), ([CARL], True, 30)],
)
def test_when_a_call_is_not_kept(known: list[AgentId], sure: bool, hold_s: float) -> None:
    rules = rulebook({"acme": ClientRules(hold_s=hold_s)})
    house = House(ANNA, BERT, rules=rules)
    house.talk("c0")
    house.call("c1", known=known, sure=sure)
    assert house.rings("c1") == BERT


def test_a_call_is_kept_for_the_second_who_knows_when_the_first_is_away() -> None:
    house = House(ANNA, BERT, CARL, rules=HOLDING)
    house.talk("c0")
    house.talk("c1")
    house.pause(CARL)
    house.call("c2", known=[CARL, BERT], sure=True)
    assert house.waiting() == ["c2"]
    house.ready(CARL)
    assert house.rings("c2") == CARL  # came back after all: knows it best


def test_a_call_that_was_kept_goes_on_as_any_other_in_the_same_moment() -> None:
    """A kept call, a more urgent one and its agent, all in one decision."""
    house = held()
    house.talk("c2")
    now = house.now + 1
    effects = [
        *take(house.acd, CallQueued(CallId("c3"), ACME, 0.0, 30.0), now),
        *take(house.acd, AgentReleased(CallId("c0"), ANNA), now),
        *take(house.acd, AgentReadied(ANNA), now),
        *match(house.acd, now),
    ]
    check(house.acd)
    (offer,) = offers(effects)
    assert (offer.call_id, offer.agent_id) == ("c1", ANNA)


# Calling again


def test_who_calls_again_soon_keeps_the_place() -> None:
    house = House()
    house.call("c1", arrival=900, caller="+4930123")
    house.call("c2", arrival=950)
    house.hangs_up("c1")
    house.passes(250)
    house.call("c3", caller="+4930123")
    assert house.acd.calls[CallId("c3")].arrival == 900
    house.login(ANNA)
    assert house.rings("c3") == ANNA
    assert house.acd.recent == {}


def test_who_was_cut_off_keeps_the_place() -> None:
    house = House(ANNA)
    house.talk("c1", arrival=900, caller="+4930123")
    house.ends(ANNA, cut=True)
    house.call("c2", caller="+4930123")
    assert house.acd.calls[CallId("c2")].arrival == 900


@pytest.mark.parametrize(
    "why", ["too late", "served", "talked", "another client", "another number", "no number"]
)
def test_who_does_not_keep_the_place(why: str) -> None:
    house = House()
    caller = "" if why == "no number" else "+4930123"
    if why == "talked":
        house.login(ANNA)
        house.talk("c1", arrival=900, caller=caller)
        house.ends(ANNA)
    else:
        house.call("c1", arrival=900, caller=caller)
        house.hangs_up("c1", served=why == "served")
    house.passes(301 if why == "too late" else 250)
    again = "+4930999" if why == "another number" else caller
    house.call("c2", "beta" if why == "another client" else "acme", caller=again)
    assert house.acd.calls[CallId("c2")].arrival > 1000


def test_a_claim_is_used_once_and_renewed_by_another_end() -> None:
    house = House()
    house.call("c1", arrival=900, caller="+49")
    house.hangs_up("c1")
    house.passes(200)
    house.call("c2", caller="+49")
    house.call("c3", caller="+49")
    assert house.acd.calls[CallId("c3")].arrival > 1000
    house.hangs_up("c2")
    house.passes(200)
    house.call("c4", caller="+49")
    assert house.acd.calls[CallId("c4")].arrival == 900


def test_a_claim_expires_even_behind_one_that_does_not() -> None:
    """The time in which one may call again was made shorter meanwhile."""
    house = House(rules=rulebook(redial_s=3600))
    house.call("c1", caller="+491")
    house.call("c2", caller="+492")
    house.hangs_up("c1")
    house.send(RulesChanged(rulebook(redial_s=60)))
    house.hangs_up("c2")
    house.passes(100)
    house.call("c3", caller="+492")
    assert house.acd.calls[CallId("c3")].arrival > house.now - 5


def test_claims_do_not_pile_up() -> None:
    house = House(rules=rulebook(redial_s=60))
    for n in range(200):
        house.call(f"c{n}", caller=f"+49{n}")
        house.hangs_up(f"c{n}")
    assert len(house.acd.recent) < 70


def test_an_earlier_arrival_of_its_own_counts() -> None:
    house = House()
    house.call("c1", arrival=950, caller="+49")
    house.hangs_up("c1")
    house.call("c2", arrival=900, caller="+49")
    assert house.acd.calls[CallId("c2")].arrival == 900


# Whose turn it is


def order_of(house: House) -> list[str]:
    """The waiting calls in the order in which one agent after the other gets them."""
    served: list[str] = []
    while house.waiting():
        served += [offer.call_id for offer in offers(house.login(AgentId(f"x{len(served)}")))]
    return served


def test_targets_weigh_the_wait() -> None:
    """80/20 means 12.4 s, 70/12 means 10.0 s, 95/20 means 6.7 s: the wait is divided by that."""
    rules = rulebook(
        {
            "usual": ClientRules(target=Target(0.8, 20)),
            "quick": ClientRules(target=Target(0.7, 12)),
            "strict": ClientRules(target=Target(0.95, 20)),
        }
    )
    house = House(rules=rules)
    now = house.now + 4  # when the first agent comes
    house.call("u1", "usual", arrival=now - 40)  # 3.2
    house.call("q1", "quick", arrival=now - 35)  # 3.5
    house.call("s1", "strict", arrival=now - 25)  # 3.7
    assert order_of(house) == ["s1", "q1", "u1"]


def test_nobody_starves_behind_a_stricter_target() -> None:
    rules = rulebook(
        {
            "strict": ClientRules(target=Target(0.95, 5)),
            "patient": ClientRules(target=Target(0.5, 60)),
        }
    )
    house = House(rules=rules)
    house.call("p1", "patient", arrival=house.now - 600)
    house.call("s1", "strict")
    assert order_of(house) == ["p1", "s1"]


def test_the_scale_of_a_target() -> None:
    assert Target(0.8, 20).scale_s == pytest.approx(12.43, abs=0.01)
    assert Target(0.95, 20).scale_s == pytest.approx(6.68, abs=0.01)


def test_vip_callers_are_a_class_of_their_own() -> None:
    house = House()
    house.call("c1", arrival=house.now - 30)
    house.call("v1", arrival=house.now - 20, vip=True)
    house.call("v2", arrival=house.now - 2, vip=True)
    assert order_of(house) == ["v1", "c1", "v2"]


def test_a_vip_target_may_be_the_same() -> None:
    rules = rulebook({"acme": ClientRules(vip_target=Target(0.8, 20))})
    house = House(rules=rules)
    house.call("c1", arrival=house.now - 30)
    house.call("v1", arrival=house.now - 20, vip=True)
    assert order_of(house) == ["c1", "v1"]


def test_many_kinds_of_calls_in_one_lane() -> None:
    """An agent who may take only some kinds finds the first of those."""
    names = [f"k{n}" for n in range(9)]
    rules = rulebook(
        {name: ClientRules(group=name) for name in names},
        agents={
            ANNA: AgentRules(cleared={f"k{n}": TRAINED for n in (2, 4, 6, 7, 8)}),
            BERT: AgentRules(cleared={"k5": TRAINED}),
        },
    )
    house = House(rules=rules)
    for n, name in enumerate(names):
        house.call(name, name, arrival=100 + n)
    (offer,) = offers(house.login(ANNA))
    assert offer.call_id == "k2"
    (offer,) = offers(house.login(BERT))
    assert offer.call_id == "k5"
    house.hangs_up("k2")
    assert house.rings("k4") == ANNA


# Several in one moment


SPECIALISTS = rulebook(
    {"acme": ClientRules(group="g"), "beta": ClientRules(group="h")},
    agents={ANNA: cleared(TRAINED, "g"), BERT: AgentRules()},
)


def test_the_most_urgent_call_is_not_left_behind_when_two_agents_come() -> None:
    """Bert could take either; if the less urgent call had him, the other would wait for nothing."""
    house = House(ANNA, BERT, rules=SPECIALISTS)
    house.pause(BERT)
    house.ready(BERT)
    house.pause(ANNA)
    house.pause(BERT)
    house.call("c1", "acme")
    house.call("c2", "beta", arrival=0)
    take(house.acd, AgentReadied(BERT), house.now)
    take(house.acd, AgentReadied(ANNA), house.now)
    made = offers(match(house.acd, house.now))
    check(house.acd)
    assert [(offer.call_id, offer.agent_id) for offer in made] == [("c2", BERT), ("c1", ANNA)]


def test_the_most_urgent_of_two_calls_that_come_in_one_moment() -> None:
    house = House(ANNA)
    take(house.acd, CallQueued(CallId("c1"), ACME, house.now, 30.0), house.now)
    take(house.acd, CallQueued(CallId("c2"), ACME, 0.0, 30.0), house.now)
    (offer,) = offers(match(house.acd, house.now))
    assert offer.call_id == "c2"


def test_a_new_call_comes_before_a_less_urgent_one_for_which_an_agent_came() -> None:
    """Bert was ready all the time, Anna comes back; the new call is older than it looks."""
    house = House(BERT, ANNA, rules=SPECIALISTS)
    house.talk("c0", client="beta")
    house.pause(ANNA)
    house.call("c1", "acme")
    take(house.acd, CallQueued(CallId("c2"), BETA, 0.0, 30.0), house.now)
    take(house.acd, AgentReleased(CallId("c0"), BERT), house.now)
    take(house.acd, AgentReadied(BERT), house.now)
    take(house.acd, AgentReadied(ANNA), house.now)
    made = offers(match(house.acd, house.now))
    check(house.acd)
    assert [(offer.call_id, offer.agent_id) for offer in made] == [("c2", BERT), ("c1", ANNA)]


def test_agents_who_are_alike_come_in_one_moment() -> None:
    house = House(ANNA, BERT, CARL)
    for agent_id in (ANNA, BERT, CARL):
        house.pause(agent_id)
    house.call("c1", arrival=10)
    house.call("c2", arrival=5)
    for agent_id in (CARL, ANNA, BERT):
        take(house.acd, AgentReadied(agent_id), house.now)
    made = offers(match(house.acd, house.now))
    check(house.acd)
    assert [(offer.call_id, offer.agent_id) for offer in made] == [("c2", CARL), ("c1", ANNA)]


def test_late_timers_of_calls_are_dropped() -> None:
    rules = rulebook(groups={"": Group(circles=(Circle(0, Admits.TEAM), Circle(9, Admits.TEAM)))})
    house = House(rules=rules)
    house.call("c1")
    timer = house.acd.calls[CallId("c1")].timer
    assert timer is not None
    assert house.send(TimerDue(timer.name, timer.generation - 1)) == []
    house.hangs_up("c1")
    assert house.send(TimerDue(timer.name, timer.generation)) == []


# Wrap-up without an end


def test_a_wrap_up_without_an_end_of_its_own() -> None:
    house = House(ANNA)
    house.talk("c1", wrap_up_s=-1)
    house.ends(ANNA)
    assert house.acd.timers() == []
    house.call("c2")
    house.passes(100_000)
    assert house.state(ANNA) is AgentState.WRAP_UP
    house.ready(ANNA)
    assert house.rings("c2") == ANNA


# Rules that change


def test_new_rules_are_for_calls_that_wait_already() -> None:
    rules = rulebook({"acme": ClientRules(group="g")}, agents={ANNA: cleared(NONE)})
    house = House(ANNA, BERT, rules=rules)
    house.pause(BERT)
    house.call("c1")
    assert house.rings("c1") is None
    house.send(RulesChanged(replace(rules, agents={ANNA: cleared(TRAINED)})))
    assert house.rings("c1") == ANNA


def test_a_client_moves_to_another_group() -> None:
    house = House(rules=rulebook({"acme": ClientRules(group="g")}))
    house.call("c1")
    house.send(RulesChanged(rulebook({"acme": ClientRules(group="h")})))
    assert house.acd.calls[CallId("c1")].group == "h"


def test_a_group_that_vanishes_takes_no_call_with_it() -> None:
    """Nor does it matter that the group of everybody has an order of its own."""
    fixed = {"": Group(order=Order.FIXED)}
    house = House(rules=rulebook({"acme": ClientRules(group="g")}, {**fixed, "g": Group()}))
    house.call("c1")
    house.send(RulesChanged(rulebook({"acme": ClientRules(group="g")}, fixed)))
    house.login(ANNA)
    assert house.rings("c1") == ANNA


def test_a_decision_tells_how_many_might_have_taken_the_call() -> None:
    house = House(ANNA, BERT, CARL, DORA, rules=rulebook(agents={DORA: cleared(NONE, "")}))
    house.talk("c1")
    house.pause(BERT)
    house.call("c2", known=[CARL])
    decision = house.decisions[-1]
    assert (decision.ready, decision.entitled) == (2, 1)
    assert (decision.talking, decision.paused, decision.logged_out) == (1, 1, 0)
    assert decision.sequence == 2
    assert standings(house.acd, house.acd.calls[CallId("c2")])[0].entitled is False

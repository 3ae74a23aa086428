"""Virtual time: repeatable, nobody lost, timers as the switchboard has them."""

from __future__ import annotations

from collections import Counter

import pytest

from vsek.acd import effects as fx
from vsek.acd import events as ev
from vsek.acd.invariants import check
from vsek.acd.rules import Action, ClientRules, Rules, Treatment
from vsek.domain.ids import AgentId, CallId, ClientId
from vsek.sim.engine import Engine
from vsek.sim.house import House, Shift, generated, of_rules
from vsek.sim.load import Habits, Load
from vsek.sim.measure import Tally
from vsek.sim.rivals import Polling, Strategy, Vsek
from vsek.sim.scenario import RIVALS, Scenario, Task, day, run, run_all, simulate

HARD = Habits(
    wrap_up_s=15.0,
    answer_s=6.0,
    refuses=0.05,
    misses=0.05,
    again=0.3,
    again_s=600.0,
    redials=0.5,
    redials_s=30.0,
    sure=0.7,
)


def hard(**more: object) -> Scenario:
    house = generated(12, skills=0.5, groups=4, clients=20, hold_s=20.0, widen_s=30.0)
    return Scenario(house=house, habits=HARD, calls=600, load=1.1, **more)  # type: ignore[arg-type]


class Notary(Vsek):
    """Counts what comes to the distribution and what becomes of it."""

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self.queued: list[CallId] = []
        self.outcomes: Counter[CallId] = Counter()
        self.talks: Counter[CallId] = Counter()
        self.known = 0

    def decide(self, event: ev.Event, now: float) -> list[fx.Effect]:
        if isinstance(event, ev.CallQueued):
            self.queued.append(event.call_id)
            self.known += bool(event.known)
        elif isinstance(event, ev.CallLeft):
            self.outcomes[event.call_id] += 1
        elif isinstance(event, ev.AgentReleased):
            self.talks[event.call_id] += 1
        effects = super().decide(event, now)
        for effect in effects:
            if isinstance(effect, fx.Answered):
                self.outcomes[effect.call_id] += 1
        return effects


def summary(tally: Tally) -> tuple[object, ...]:
    total = tally.total()
    return total.waits.tolist(), total.answered, total.abandoned, tally.busy_s, tally.present_s


@pytest.mark.parametrize("rival", list(RIVALS))
def test_the_same_seed_gives_the_same_day(rival: str) -> None:
    first, second = run(Task(hard(), rival)), run(Task(hard(), rival))
    assert summary(first) == summary(second)
    other = run(Task(hard(seed=2), rival))
    assert summary(first) != summary(other)


def test_processes_of_their_own_change_nothing() -> None:
    tasks = [Task(hard()), Task(hard(), "polling")]
    assert list(map(summary, run_all(tasks, 2))) == list(map(summary, run_all(tasks)))


def test_every_call_has_exactly_one_outcome() -> None:
    scenario = hard()
    notary = Notary(scenario.house.rules)
    tally = simulate(scenario, notary)
    total = tally.total()
    assert len(set(notary.queued)) == len(notary.queued) == total.calls > scenario.calls
    assert notary.outcomes == Counter(notary.queued)
    assert total.calls == total.answered + total.abandoned + total.diverted
    assert sum(notary.talks.values()) == total.answered
    assert notary.known > 0
    assert notary.acd.calls == {}
    check(notary.acd)


@pytest.mark.parametrize("strategy", list(Strategy))
def test_nobody_is_lost_by_the_one_that_polls(strategy: Strategy) -> None:
    scenario = hard()
    total = simulate(scenario, Polling(scenario.house.rules, strategy)).total()
    assert total.calls == total.answered + total.abandoned
    assert total.calls > scenario.calls


def test_all_have_the_same_callers() -> None:
    scenario = Scenario(house=generated(5), calls=300, load=0.9)
    seen: list[list[tuple[object, ...]]] = []
    for _ in range(2):
        callers = scenario.callers().callers()
        seen.append([(c.client_id, c.arrival, c.patience_s, c.talk_s) for c in callers])
    assert seen[0] == seen[1]
    fewer = list(
        Load(Habits(), scenario.house.clients, 1, calls=10, per_s=scenario.per_s).callers()
    )
    assert [c.talk_s for c in fewer] == [talk for *_, talk in seen[0][:10]]


class Recorder:
    """Says what it is told to, and notes what it hears."""

    def __init__(self, script: dict[int, list[fx.Effect]]) -> None:
        self.script = script
        self.heard: list[tuple[float, ev.Event]] = []

    def decide(self, event: ev.Event, now: float) -> list[fx.Effect]:
        self.heard.append((now, event))
        return self.script.get(len(self.heard), [])


def one_caller(patience_s: float = 1e9) -> tuple[House, Load]:
    house = House(Rules(), {AgentId("a"): (Shift(),)}, {ClientId("c"): 1.0})
    load = Load(Habits(patience_s=patience_s), house.clients, 1, calls=1, per_s=1.0)
    return house, load


def test_timers_are_replaced_cancelled_and_reported_once() -> None:
    house, load = one_caller(30.0)
    recorder = Recorder(
        {
            1: [fx.SetTimer("kept", 1, 5.0), fx.SetTimer("gone", 2, 5.0)],
            2: [fx.SetTimer("kept", 3, 7.0), fx.CancelTimer("gone"), fx.CancelTimer("never")],
            3: [fx.SetTimer("late", 4, -50.0)],
        }
    )
    Engine(house, load, recorder).run()
    due = [(now, event) for now, event in recorder.heard if isinstance(event, ev.TimerDue)]
    assert due == [(0.0, ev.TimerDue("late", 4)), (7.0, ev.TimerDue("kept", 3))]


def test_a_caller_gives_up_when_patience_ends() -> None:
    house, load = one_caller(30.0)
    (caller,) = load.callers()
    recorder = Recorder({})
    tally = Engine(house, load, recorder).run()
    now, last = recorder.heard[-1]
    assert last == ev.CallLeft(caller.call_id)
    assert now == pytest.approx(caller.arrival + caller.patience_s)
    assert tally.total().abandoned == 1
    assert tally.total().mean_s == pytest.approx(caller.patience_s, rel=1e-4)


def test_pauses_and_shifts() -> None:
    shift = Shift(100.0, 1000.0, ((400.0, 500.0),))
    house = House(Rules(), {AgentId("a"): (shift,)}, {ClientId("c"): 1.0})
    load = Load(Habits(), house.clients, 1, calls=1_500, per_s=1.0)
    recorder = Recorder({})
    tally = Engine(house, load, recorder, start=5000.0).run()
    agent = [
        (now - 5000.0, type(event).__name__)
        for now, event in recorder.heard
        if isinstance(event, ev.AgentReachable | ev.AgentPaused | ev.AgentReadied)
    ]
    assert agent == [
        (100.0, "AgentReachable"),
        (100.0, "AgentReadied"),
        (400.0, "AgentPaused"),
        (500.0, "AgentReadied"),
        (1000.0, "AgentPaused"),
    ]
    assert tally.present_s == {AgentId("a"): 800.0}


def test_when_nobody_comes_any_more_the_patient_leave_too() -> None:
    house = House(Rules(), {AgentId("a"): (Shift(0.0, 50.0),)}, {ClientId("c"): 1.0})
    scenario = Scenario(house=house, habits=Habits(steadfast=1.0), calls=50, load=5.0)
    total = run(Task(scenario)).total()
    assert total.calls == 50
    assert total.abandoned > 0


@pytest.mark.parametrize(
    ("treatment", "diverted"),
    [
        (Treatment(Action.VOICEMAIL, after_s=10.0), True),
        (Treatment(Action.FORWARD, "+493055", after_s=10.0), True),
        (Treatment(Action.CALLBACK, after_s=10.0), True),
        (Treatment(Action.ANNOUNCE, "sorry", after_s=10.0), False),
    ],
)
def test_who_gets_something_else_has_not_given_up(treatment: Treatment, diverted: bool) -> None:
    rules = Rules(clients={ClientId("c"): ClientRules(treatments=(treatment,))})
    house = of_rules(rules, 2)
    total = run(Task(Scenario(house=house, calls=300, load=2.0))).total()
    assert bool(total.diverted) is diverted
    assert total.calls == total.answered + total.abandoned + total.diverted


def test_a_day_is_as_long_as_its_curve() -> None:
    house = day(generated(20), 8 * 3600.0)
    tally = run(Task(Scenario(house=house, calls=1_000, curve="bank")))
    assert tally.total().calls == 1_000
    assert max(tally.slots) < 28
    assert tally.slots[6].calls > 2 * tally.slots[0].calls
    assert 0.1 < tally.occupancy < 1.0


def test_known_callers_reach_more_of_their_agents_when_they_are_kept() -> None:
    reached = []
    for hold_s in (0.0, 60.0):
        house = generated(10, groups=2, clients=4, hold_s=hold_s)
        habits = Habits(wrap_up_s=10.0, answer_s=3.0, again=0.4, again_s=300.0)
        tally = run(Task(Scenario(house=house, habits=habits, calls=1_000, load=0.8)))
        assert tally.reach.callers > 200
        assert tally.reach.reached_attainable <= tally.reach.attainable <= tally.reach.callers
        assert tally.reach.strict > 0.9
        assert tally.reach.mean_wait_s > 0
        reached.append(tally.reach.share)
    assert reached[1] > reached[0] + 0.05

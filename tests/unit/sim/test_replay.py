"""A past day, read from its journal, run again."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from tests.unit.switchboard.day import BEGIN, Caller, Day, directory

from vsek.acd.events import AgentPaused, AgentReachable, AgentReadied, AgentRemoved, OfferFailure
from vsek.acd.rules import (
    Action,
    Admits,
    AgentRules,
    Circle,
    ClientRules,
    Group,
    Rules,
    Treatment,
)
from vsek.call.events import DirectoryChanged
from vsek.domain.ids import AgentId, ClientId
from vsek.sim.past import Past, Recorder
from vsek.sim.replay import Habits, Rerun, compare, happened
from vsek.switchboard.history import Playback, of_folder

AGENTS = [f"a{number}" for number in range(8)]
CLIENTS = [f"k{number}" for number in range(12)]


def rules(*circles: Circle, **more: object) -> Rules:
    return Rules(
        version=1,
        groups={"gold": Group("berlin", circles or (Circle(0.0, Admits.TRAINED),))},
        clients={
            ClientId(name): ClientRules("gold" if number % 2 else "")
            for number, name in enumerate(CLIENTS)
        },
        agents={AgentId(name): AgentRules("berlin") for name in AGENTS[:2]},
        **more,  # type: ignore[arg-type]
    )


def busy_day(folder: Path, under: Rules, *, calls: int = 500, every_s: float = 12.0) -> Day:
    """Eight agents who refuse now and then, one who has a pause, one who goes home."""
    day = Day(
        folder,
        directory(CLIENTS, AGENTS, under, 10.0),
        answers=lambda agent, ring: -2.0 if ring % 9 == 0 else 1.0 + (int(agent[1:]) + ring) % 4,
        snapshot_every=1000,
    )
    day.sign_in(*AGENTS)
    stream = random.Random(3)
    at = 0.0
    for number in range(calls):
        at += stream.expovariate(1 / every_s)
        client = stream.choice(CLIENTS)
        patience_s, talk_s = stream.expovariate(1 / 90), stream.lognormvariate(4.0, 0.6)
        day.dial(Caller(at, client, f"+4930{number}", "", patience_s, talk_s))
    day.pause(1000.0, "a3", 600.0)
    day.tell(4000.0, AgentReachable(AgentId("a4"), reachable=False))
    return day


def record(folder: Path, since_s: float = 0.0, until_s: float = 1e6) -> Past:
    chronicle = of_folder(folder)
    first = chronicle.first_from(BEGIN + since_s)
    assert first is not None
    playback = Playback(chronicle, first)
    recorder = Recorder(BEGIN + since_s, BEGIN + until_s)
    for entry in playback.entries():
        if entry.number >= first:
            recorder.before(playback.state, entry.event, entry.at)
        effects = playback.decide(entry)
        if entry.number >= first:
            recorder.after(playback.state, entry.event, entry.at, effects)
        if recorder.done:
            break
    return recorder.end()


def test_the_day_is_read_as_it_was(tmp_path: Path) -> None:
    day = busy_day(tmp_path, rules())
    day.run()
    past = record(tmp_path)
    assert len(past.calls) == len(day.closed) == 500
    assert (past.open, past.waiting_before) == (0, 0)
    for call in past.calls:
        closed = day.closed[call.call_id]
        assert call.answered_at is None or call.agent_id == closed.agent_id
        assert (call.left_at is None) == (closed.agent_id is not None)
        if closed.agent_id is not None:
            assert call.talk_s is not None
            assert call.released_at == closed.ended_at
            assert call.wrapped_s == pytest.approx(10.0)
            offered = [detail for kind, detail in day.steps[call.call_id] if kind == "offered"]
            assert offered[-1]["agent"] == call.agent_id
    reactions = past.reactions[AgentId("a0")]
    assert reactions[8].failure is OfferFailure.REFUSED
    assert reactions[8].after_s == pytest.approx(2.0, abs=0.1)
    assert all(one.failure is None for one in reactions[:8])
    pauses = [(at, event) for at, event in past.events if isinstance(event, AgentPaused)]
    assert pauses == [(BEGIN + 1000.0, AgentPaused(AgentId("a3"), "break"))]


@pytest.mark.parametrize("since_s", [0.0, 1500.0])
def test_the_same_rules_give_the_same_day_again(tmp_path: Path, since_s: float) -> None:
    busy_day(tmp_path, rules(Circle(0.0, Admits.TEAM), Circle(15.0, Admits.TRAINED))).run()
    past = record(tmp_path, since_s, 5000.0)
    report = compare(past, past.rules[-1][1])
    was, again, other = report.total.happened, report.total.again, report.total.other
    assert was.calls == again.calls == other.calls == report.calls == len(past.calls)
    assert again.waits == other.waits, "chance belongs to the calls"
    assert again.mean_s == pytest.approx(was.mean_s, rel=0.1)
    assert again.service_level == pytest.approx(was.service_level, abs=0.03)
    assert again.abandon_share == pytest.approx(was.abandon_share, abs=0.03)
    assert report.gave_up == sum(call.left_at is not None for call in past.calls) > 10
    assert [group.name for group in report.groups] == ["", "gold"]
    assert sum(client.happened.calls for client in report.clients) == was.calls


def test_other_rules_tell_what_they_would_have_changed(tmp_path: Path) -> None:
    busy_day(tmp_path, rules(Circle(0.0, Admits.TEAM), Circle(30.0, Admits.TRAINED))).run()
    past = record(tmp_path)
    report = compare(past, rules(Circle(0.0, Admits.TRAINED)))
    gold = report.groups[1]
    assert gold.other.mean_s < 0.7 * gold.again.mean_s
    assert gold.other.abandon_share < gold.again.abandon_share
    assert report.groups[0].other.mean_s > report.groups[0].again.mean_s


def test_a_night_without_hang_ups_and_calls_that_go_on(tmp_path: Path) -> None:
    day = Day(tmp_path, directory(CLIENTS, AGENTS, rules(), 10.0))
    day.sign_in("a0")
    first = day.dial(Caller(10.0, "k0", talk_s=30.0))
    last = day.dial(Caller(100.0, "k1", talk_s=1e5))
    day.at(500.0, day._plan.clear)
    day.run()
    past = record(tmp_path)
    assert past.open == 1
    habits = Habits(past)
    one, other = past.calls
    assert (habits.patience_s, habits.patience_of(one)) == (math.inf, math.inf)
    assert habits.talk_of(one) == habits.talk_of(other) == pytest.approx(30.0, abs=0.1)
    assert habits.wrap_up_of(other) == habits.wrap_up_of(one) == pytest.approx(10.0)
    fates = Rerun(past, habits, past.rules).run()
    assert [fates[call].answered for call in (first, last)] == [True, True]
    assert fates[last].waited_s == pytest.approx(happened(past)[last].waited_s or 0.0)


def test_nobody_ever_talked(tmp_path: Path) -> None:
    day = Day(tmp_path, directory(CLIENTS, AGENTS, rules(), 10.0))
    call_id = day.dial(Caller(10.0, "k0", patience_s=25.0))
    day.at(20.0, lambda: day.decide(DirectoryChanged(day.book)))
    day.run()
    past = record(tmp_path)
    (call,) = past.calls
    assert len(past.rules) == 2
    habits = Habits(past)
    assert (habits.talk_of(call), habits.wrap_up_of(call)) == (0.0, 10.0)
    fates = Rerun(past, habits, past.rules).run()
    assert fates[call_id].waited_s == pytest.approx(25.0)
    assert not fates[call_id].answered


def test_who_is_busy_at_the_beginning_comes_as_soon_as_they_were_free(tmp_path: Path) -> None:
    day = Day(tmp_path, directory(CLIENTS, AGENTS, rules(), 10.0))
    day.sign_in("a0", "a1")
    day.dial(Caller(10.0, "k0", talk_s=100.0))
    day.dial(Caller(11.0, "k0", talk_s=60.0))
    day.tell(55.0, AgentPaused(AgentId("a1"), "lunch"))
    day.tell(52.0, AgentPaused(AgentId("a0"), "mistaken"))
    day.tell(53.0, AgentReadied(AgentId("a0")))
    waits = day.dial(Caller(60.0, "k1"))
    day.run()
    past = record(tmp_path, 50.0)
    assert [call.call_id for call in past.calls] == [waits]
    assert {agent.state.value for agent in past.agents if agent.reachable} == {"talking"}
    fates = Rerun(past, Habits(past), past.rules).run()
    was = happened(past)[waits]
    assert fates[waits].waited_s == pytest.approx(was.waited_s, abs=0.1)
    assert was.waited_s > 50.0


def test_early_ends_of_wrap_ups_belong_to_the_call(tmp_path: Path) -> None:
    day = Day(tmp_path, directory(CLIENTS, AGENTS, rules(), 60.0))
    day.sign_in("a0")
    day.dial(Caller(10.0, "k0", talk_s=20.0))
    day.tell(40.0, AgentReadied(AgentId("a0")))
    day.tell(45.0, AgentReadied(AgentId("a1")))
    day.run()
    past = record(tmp_path)
    assert past.calls[0].wrapped_s == pytest.approx(8.0, abs=0.1)
    readied = [event for _, event in past.events if isinstance(event, AgentReadied)]
    assert readied == [AgentReadied(AgentId("a1"))]


def test_who_rings_out_does_so_again_and_agents_come_and_go(tmp_path: Path) -> None:
    book = directory(CLIENTS, AGENTS[:2], rules(ring_timeout_s=5.0), 10.0)
    day = Day(tmp_path, book, answers=lambda agent, _ring: 1e6 if agent == "a0" else 2.0)
    day.sign_in("a0", "a1")
    call_id = day.dial(Caller(10.0, "k0", talk_s=10.0))
    fewer = directory(CLIENTS, AGENTS[1:3], rules(ring_timeout_s=5.0), 10.0)
    day.at(100.0, lambda: day.decide(DirectoryChanged(fewer)))
    later = day.dial(Caller(200.0, "k0", talk_s=10.0))
    day.run()
    past = record(tmp_path)
    (rang,) = past.reactions[AgentId("a0")]
    assert (rang.failure, rang.rang_out) == (None, True)
    assert rang.after_s == pytest.approx(5.0)
    assert AgentRemoved(AgentId("a0")) in [event for _, event in past.events]
    fates = Rerun(past, Habits(past), past.rules).run()
    for one in (call_id, later):
        was = happened(past)[one]
        assert fates[one].waited_s == pytest.approx(was.waited_s, abs=0.05)


def test_treatments_of_other_rules_end_the_wait(tmp_path: Path) -> None:
    day = Day(tmp_path, directory(CLIENTS, AGENTS, rules(), 10.0))
    call_id = day.dial(Caller(10.0, "k0", patience_s=100.0))
    day.run()
    past = record(tmp_path)
    mail = Treatment(Action.VOICEMAIL, after_s=15.0)
    offer = Treatment(Action.CALLBACK, after_s=5.0)
    other = rules()
    other.clients[ClientId("k0")] = ClientRules(treatments=(offer, mail))
    report = compare(past, other)
    (waited_s,) = report.total.other.waits
    assert waited_s == pytest.approx(15.0)
    assert (report.total.other.diverted, report.total.again.abandoned) == (1, 1)
    assert happened(past)[call_id].answered is False

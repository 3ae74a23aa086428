"""How fast the distribution decides: ``python -m vsek.sim.bench``.

A house of 5,000 clients in 50 groups, each with own skill level and one of four targets, agents of
200 skill profiles. It is filled until 5 % of the agents are idle; then calls come, are answered and
end, one decision each, wrap-ups included, and each decision is timed, garbage collection and all.
Two more runs have nobody idle and 10 or 1,000 calls waiting, so that every freed agent has to find
the most urgent call.

Times are those that the process itself was running (garbage collection included): on a shared
machine the others' turns would be measured otherwise.
"""

from __future__ import annotations

import gc
import sys
import time
from random import Random
from typing import NamedTuple

import typer

from vsek.acd import Acd, decide
from vsek.acd import effects as fx
from vsek.acd import events as ev
from vsek.acd.rules import (
    Admits,
    AgentRules,
    Circle,
    Clearance,
    ClientRules,
    Group,
    Rules,
    Target,
)
from vsek.acd.state import AgentState
from vsek.domain.ids import AgentId, CallId, ClientId

CLIENTS, GROUPS, PROFILES, TEAMS = 5_000, 50, 200, 10
IDLE = 0.05
WRAP_UP_S = 5.0
STEP_S = 0.01
"""Virtual time between two rounds."""


class Result(NamedTuple):
    """One run. Times are microseconds per decision."""

    agents: int
    waiting: int
    decisions: int
    per_s: float
    mean: float
    p50: float
    p99: float
    p999: float
    worst: float
    freed: float
    """Mean of the decisions in which an agent becomes free."""


def rules_of(agents: int, stream: Random) -> Rules:
    """The house."""
    names = [f"g{number}" for number in range(GROUPS)]
    circles = (
        Circle(0.0, Admits.TEAM),
        Circle(0.0, Admits.TRAINED),
        Circle(0.0, Admits.OVERFLOW),
    )
    groups = {
        name: Group(f"t{n % TEAMS}", circles, overflow_to=(names[(n + 1) % GROUPS],))
        for n, name in enumerate(names)
    }
    clients = {
        ClientId(f"c{n}"): ClientRules(
            stream.choice(names),
            {"de": stream.randint(1, 2)},
            Target(0.8, stream.choice([10.0, 20.0, 30.0, 60.0])),
        )
        for n in range(CLIENTS)
    }
    profiles = [
        AgentRules(
            f"t{n % TEAMS}",
            {"de": stream.randint(2, 3)},
            dict.fromkeys(stream.sample(names, 15), Clearance.TRAINED),
        )
        for n in range(PROFILES)
    ]
    staff = {AgentId(f"a{n}"): profiles[n % PROFILES] for n in range(agents)}
    return Rules(version=1, groups=groups, clients=clients, agents=staff)


class _Driver:
    """Sends events and notes how long each decision takes."""

    def __init__(self, agents: int, seed: int) -> None:
        self.stream = Random(seed)  # noqa: S311 - a benchmark has to be repeatable
        self.acd = Acd(rules_of(agents, self.stream))
        self.now = 0.0
        self.calls = 0
        self.times: list[float] = []
        self.freed: list[float] = []
        self.talks: list[tuple[CallId, AgentId]] = []
        self.offers: list[fx.Offer] = []
        self.wraps: dict[AgentId, fx.SetTimer] = {}
        for number in range(agents):
            agent_id = AgentId(f"a{number}")
            self.send(ev.AgentAdded(agent_id))
            self.send(ev.AgentReachable(agent_id, reachable=True))

    @property
    def waiting(self) -> int:
        return len(self.acd.calls) - len(self.talks)

    def send(self, event: ev.Event, *, frees: bool = False) -> None:
        begin = time.thread_time()
        effects = decide(self.acd, event, self.now)
        took = time.thread_time() - begin
        self.times.append(took)
        if frees:
            self.freed.append(took)
        for effect in effects:
            if isinstance(effect, fx.Offer):
                self.offers.append(effect)
            elif isinstance(effect, fx.SetTimer) and effect.name.startswith("acd:wrap:"):
                self.wraps[AgentId(effect.name.removeprefix("acd:wrap:"))] = effect

    def call(self) -> None:
        self.calls += 1
        client = ClientId(f"c{self.stream.randrange(CLIENTS)}")
        caller = f"+49{self.stream.randrange(10**6)}"
        self.send(
            ev.CallQueued(CallId(f"k{self.calls}"), client, self.now, WRAP_UP_S, caller=caller)
        )

    def accept(self) -> None:
        while self.offers:
            offer = self.offers.pop()
            self.send(ev.OfferAccepted(offer.offer_id))
            self.talks.append((offer.call_id, offer.agent_id))

    def end_a_talk(self) -> None:
        at = self.stream.randrange(len(self.talks))
        self.talks[at], self.talks[-1] = self.talks[-1], self.talks[at]
        call_id, agent_id = self.talks.pop()
        self.send(ev.AgentReleased(call_id, agent_id))
        timer = self.wraps.pop(agent_id)
        self.send(ev.TimerDue(timer.name, timer.generation), frees=True)

    def fill(self, idle: int, waiting: int) -> None:
        """Until so few agents are idle, and so many calls wait."""
        ready = self.acd.counts
        for _ in range(3 * len(self.acd.agents)):
            if ready[AgentState.READY] <= idle:
                break
            self.step()
        while self.waiting < waiting:
            self.step()

    def step(self) -> None:
        self.call()
        self.accept()
        self.now += STEP_S


def run(agents: int, *, decisions: int, waiting: int = 0, seed: int = 1) -> Result:
    """Time ``decisions`` with so many agents. With ``waiting`` calls that wait nobody is idle."""
    driver = _Driver(agents, seed)
    driver.fill(0 if waiting else int(agents * IDLE), waiting)
    driver.times.clear()
    driver.freed.clear()
    gc.collect()
    while len(driver.times) < decisions:
        driver.step()
        driver.end_a_talk()
        driver.accept()
    times = sorted(driver.times)
    micros = [1e6 * times[min(len(times) - 1, int(s * len(times)))] for s in (0.5, 0.99, 0.999)]
    mean = sum(times) / len(times)
    return Result(
        agents,
        driver.waiting,
        len(times),
        1 / mean,
        1e6 * mean,
        micros[0],
        micros[1],
        micros[2],
        1e6 * times[-1],
        1e6 * sum(driver.freed) / len(driver.freed),
    )


COLUMNS = ("Agents", "Waiting", "/s", "mean", "p50", "p99", "p99.9", "max", "freed")


def rows(results: list[Result]) -> list[list[str]]:
    """Results as a table has them."""
    return [
        [
            f"{one.agents:,}",
            f"{one.waiting:,}",
            f"{one.per_s:,.0f}",
            *(f"{value:,.1f}" for value in (one.mean, one.p50, one.p99, one.p999, one.worst)),
            f"{one.freed:,.1f}",
        ]
        for one in results
    ]


def all_runs(decisions: int) -> list[Result]:
    """100, 1,000 and 10,000 agents, and 10,000 with 10 and with 1,000 calls waiting."""
    results = [run(agents, decisions=decisions) for agents in (100, 1_000, 10_000)]
    return results + [run(10_000, decisions=decisions, waiting=calls) for calls in (10, 1_000)]


def verdicts(results: list[Result]) -> list[tuple[str, str, bool]]:
    """What is demanded, what was measured, whether that is enough."""
    small, _, big, few, many = results
    slower = big.mean / small.mean
    queue = many.freed / few.freed
    return [
        ("10,000 agents: at least 50,000 decisions/s", f"{big.per_s:,.0f}/s", big.per_s >= 5e4),
        ("10,000 agents: p99.9 at most 2 ms", f"{big.p999 / 1e3:.2f} ms", big.p999 <= 2e3),
        ("from 100 to 10,000 agents: at most 2 times slower", f"{slower:.2f}", slower <= 2),
        (
            "from 10 to 1,000 calls waiting: a freed agent costs at most 2 times",
            f"{queue:.2f}",
            queue <= 2,
        ),
    ]


def main(decisions: int = 100_000) -> None:
    """Run all and print a table (microseconds per decision)."""
    results = all_runs(decisions)
    table = [list(COLUMNS), *rows(results)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        line = "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo(line)
    typer.echo("")
    for demand, measured, enough in verdicts(results):
        typer.echo(f"{'ok  ' if enough else 'MISS'} {demand}: {measured}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))

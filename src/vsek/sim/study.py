"""The experiments behind ``docs/acd-figures.md``, each to be repeated by one command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from vsek.sim import bench, erlang, waits
from vsek.sim.house import generated
from vsek.sim.load import Habits
from vsek.sim.measure import Tally
from vsek.sim.report import Chart, Section, Series, Table
from vsek.sim.scenario import Scenario, Task, day, run_all

AGENTS = 40
LOADS = (0.85, 0.95)
WARM_UP = 2_000
"""So many calls are not counted, if there are more to be counted."""
DEMANDED = 1.10
"""Mean wait over Erlang-A's."""

_AT_WORK = Habits(wrap_up_s=15.0, answer_s=4.0, refuses=0.02, misses=0.01)


def _warm_up(calls: int) -> int:
    return min(WARM_UP, calls)


class _Case(NamedTuple):
    """One line of the table."""

    name: str
    skills: float = 1.0
    widen_s: float | None = None
    exponential: bool = False
    share: float = 1.0
    """Of the calls; what only explains something gets fewer."""

    def scenario(self, load: float, calls: int) -> Scenario:
        house = generated(AGENTS, skills=self.skills, widen_s=self.widen_s)
        habits = Habits(exponential=self.exponential)
        return Scenario(
            house=house,
            habits=habits,
            calls=_warm_up(calls) + int(self.share * calls),
            load=load,
            warm_up=_warm_up(calls),
        )


_POOLING = (
    _Case("100 %, exponential talks", exponential=True, share=0.25),
    _Case("100 %"),
    _Case("50 %", 0.5),
    _Case("20 %", 0.2),
    _Case("50 %, everybody after 1 s", 0.5, 1.0),
    _Case("20 %, everybody after 0.5 s", 0.2, 0.5),
    _Case("20 %, everybody after 1 s", 0.2, 1.0),
    _Case("20 %, everybody after 2 s", 0.2, 2.0),
    _Case("20 %, everybody after 5 s", 0.2, 5.0),
)
_MAIN = _POOLING[1:4]


def pooling(calls: int, jobs: int = 1) -> Section:
    """Mean waits with few skills, against one pool and against polling: ``calls`` for each of the
    six main runs."""
    cases = [(load, case) for load in LOADS for case in _POOLING]
    polled = [(load, case) for load in LOADS for case in _MAIN]
    tasks = [Task(case.scenario(load, calls)) for load, case in cases]
    tasks += [Task(case.scenario(load, calls // 4)) for load, case in polled]
    tasks += [Task(case.scenario(load, calls // 4), "polling") for load, case in polled]
    tallies = run_all(tasks, jobs)
    ours = dict(zip(cases, tallies, strict=False))
    fewer = dict(zip(polled, tallies[len(cases) :], strict=False))
    theirs = dict(zip(polled, tallies[len(cases) + len(polled) :], strict=True))
    rows, ratios = [], {}
    for (load, case), tally in ours.items():
        formula = case.scenario(load, 0).formula()
        assert formula is not None  # the load is the same all the time
        total = tally.total()
        ratios[load, case.name] = total.mean_s / formula.wait
        p50, p90, p99 = total.percentiles_s((0.5, 0.9, 0.99))
        rows.append(
            [
                f"{load}",
                case.name,
                f"{total.calls:,}",
                f"{total.mean_s:.2f}",
                f"{formula.wait:.2f}",
                f"**{ratios[load, case.name]:.2f}**",
                f"{p50:.0f} / {p90:.0f} / {p99:.0f}",
                f"{100 * total.service_level:.1f} %",
                f"{100 * total.abandon_share:.2f} %",
                f"{100 * tally.occupancy:.1f} %",
            ]
        )
    beside = [
        [
            f"{load}",
            case.name,
            f"{ours_s.calls:,}",
            f"{ours_s.mean_s:.2f}",
            f"{theirs_s.mean_s:.2f}",
            f"{ours_s.percentiles_s((0.99,))[0]:.0f}",
            f"{theirs_s.percentiles_s((0.99,))[0]:.0f}",
        ]
        for load, case in polled
        for ours_s, theirs_s in [(fewer[load, case].total(), theirs[load, case].total())]
    ]
    columns = (
        "load",
        "skills",
        "calls",
        "mean wait s",
        "Erlang-A s",
        "ratio",
        "p50 / p90 / p99 s",
        "80/20",
        "gave up",
        "occupancy",
    )
    beside_columns = (
        "load",
        "skills",
        "calls",
        "vsek: mean s",
        "polling",
        "vsek: p99 s",
        "polling",
    )
    floors = [_floor_row(load) for load in LOADS]
    names = [case.name for case in _POOLING]
    chart = Chart(
        "pooling",
        f"Mean wait over Erlang-A's, {AGENTS} agents",
        "",
        "ratio",
        [
            Series(f"load {load}", range(len(names)), [ratios[load, name] for name in names])
            for load in LOADS
        ],
        ticks=[name.replace(", ", "\n") for name in names],
        limit=DEMANDED,
        limit_name="1.10",
    )
    floor_columns = ("load", "Erlang-A s", "have to wait at least", "mean wait at least s", "ratio")
    counted = sum(ours[load, case].total().calls for load in LOADS for case in _MAIN)
    return Section(
        "Few skills against one pool",
        _POOLING_TEXT.format(total=f"{counted:,}", agents=AGENTS),
        [
            Table("", columns, rows),
            Table("A floor for 20 %", floor_columns, floors),
            Table("Beside the one that polls, with the same callers", beside_columns, beside),
        ],
        [chart],
    )


def _floor_row(load: float) -> list[str]:
    scenario = _MAIN[2].scenario(load, 0)
    habits, formula = scenario.habits, scenario.formula()
    assert formula is not None  # the load is the same all the time
    waits_share, wait_s = erlang.floor(
        scenario.per_s, habits.talk_s, habits.patience_s, AGENTS, _MAIN[2].skills
    )
    return [
        f"{load}",
        f"{formula.wait:.2f}",
        f"{100 * waits_share:.0f} %",
        f"{wait_s:.2f}",
        f"{wait_s / formula.wait:.2f}",
    ]


BUDGETS_S = (0.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0)


def known(calls: int, jobs: int = 1) -> Section:
    """How many callers reach the agent who knows them, and what it costs, for budgets up to two
    minutes: ``calls`` for each of them."""
    habits = msgspec.structs.replace(_AT_WORK, again=0.2, again_s=1800.0)
    tasks = [
        Task(
            Scenario(
                house=generated(AGENTS, skills=0.5, hold_s=hold_s),
                habits=habits,
                calls=_warm_up(calls) + calls,
                load=LOADS[0],
                warm_up=_warm_up(calls),
            )
        )
        for hold_s in BUDGETS_S
    ]
    tallies = run_all(tasks, jobs)
    base = tallies[0].reach.mean_wait_s
    base_all = tallies[0].total().mean_s
    rows = [
        [
            f"{hold_s:.0f}",
            f"{tally.reach.callers:,}",
            f"{100 * tally.reach.share:.1f} %",
            f"{100 * tally.reach.best:.1f} %",
            f"**{tally.reach.share / tally.reach.best:.3f}**",
            f"{tally.reach.strict:.3f}",
            f"{tally.reach.mean_wait_s:.1f}",
            f"{tally.reach.mean_wait_s - base:+.1f}",
            f"{tally.total().mean_s - base_all:+.2f}",
            f"{100 * tally.total().abandon_share:.2f} %",
        ]
        for hold_s, tally in zip(BUDGETS_S, tallies, strict=True)
    ]
    columns = (
        "budget s",
        "callers",
        "reach",
        "attainable",
        "reach / attainable",
        "of the attainable",
        "their mean wait s",
        "extra s",
        "extra for all s",
        "gave up",
    )
    chart = Chart(
        "known",
        "Reach against extra wait; each point is a budget",
        "extra mean wait of known callers, s",
        "share who reach their agent",
        [
            Series("vsek", *_frontier(tallies, base, reached=True)),
            Series("attainable", *_frontier(tallies, base, reached=False)),
        ],
    )
    return Section("The known caller", _KNOWN_TEXT, [Table("", columns, rows)], [chart])


def _frontier(
    tallies: Sequence[Tally], base: float, *, reached: bool
) -> tuple[list[float], list[float]]:
    extra = [tally.reach.mean_wait_s - base for tally in tallies]
    return extra, [tally.reach.share if reached else tally.reach.best for tally in tallies]


def expected(calls: int) -> Section:
    """How wrong the expected wait is, against other ways to tell it: ``calls`` for each house."""
    stays = msgspec.structs.replace(_AT_WORK, steadfast=0.05)
    houses = {
        "one group, load 0.95": (1.0, 1, 0.95),
        "20 groups, 100 %, load 0.95": (1.0, 20, 0.95),
        "20 groups, 50 %, load 0.95": (0.5, 20, 0.95),
        "20 groups, 20 %, load 0.95": (0.2, 20, 0.95),
        "10 groups, 50 %, load 1.05": (0.5, 10, 1.05),
    }
    scenarios = {
        name: Scenario(
            house=generated(AGENTS, skills=skills, groups=groups),
            habits=stays,
            calls=calls,
            load=load,
        )
        for name, (skills, groups, load) in houses.items()
    }
    shifts = day(generated(60, skills=0.5, groups=10), 6 * 3600.0)
    scenarios["a day with too few agents"] = Scenario(
        house=shifts, habits=stays, calls=min(calls, 11_000), curve="bank"
    )
    return waits.section(scenarios)


def speed(decisions: int) -> Section:
    """Decisions a second."""
    results = bench.all_runs(decisions)
    rows = [
        [demand, measured, "yes" if enough else "**no**"]
        for demand, measured, enough in bench.verdicts(results)
    ]
    return Section(
        "Speed",
        _SPEED_TEXT,
        [
            Table("Microseconds per decision", bench.COLUMNS, bench.rows(results)),
            Table("Against the limits", ("demanded", "measured", "met"), rows),
        ],
    )


def conduct(name: str, calls: int | None = None, jobs: int = 1) -> Section:
    """The study of that name, as published unless a number of calls (per run) is given."""
    match name:
        case "pooling":
            return pooling(calls or 350_000, jobs)
        case "known":
            return known(calls or 40_000, jobs)
        case "expected":
            return expected(calls or 50_000)
        case _:
            return speed(calls or 100_000)


_POOLING_TEXT = """
{agents} agents, 20 groups of clients that are called equally often, each agent trained for 100, 50
or 20 % of the groups (drawn, but evenly); talks lognormal with a mean of 120 s and a coefficient of
variation of 1.23, patience exponential with a mean of 348 s, an agent answers at once and has no
wrap-up, so that the load is that of the formula. {total} calls in the runs with 100, 50 and 20 %,
as many in each of those that widen, a quarter of that with exponential talks and beside the polling
distributor. The wait is that of all callers, those who gave up included, in the runs as in the
formula.

*Erlang-A* assumes one pool and exponential talks. The first line has just that and shows that the
simulation agrees with the formula (87,500 calls still scatter by a tenth or more: busy spells are
long, so compare runs with the same callers); the second line is one pool with lognormal talks, for
which waits are a little longer. *20 %, everybody after n s* has the same skills in the first circle
and all agents in a second one that opens after n seconds.

Why 20 % that never widen cannot come near one pool, whoever distributes: with k agents idle, at
most k times 20 % of the groups find one of them, however cleverly one chooses who is left idle; all
other callers wait at least until the first of their own 8 agents hangs up, 15 s on average, where
one pool has the first of 40. The second table multiplies this out with the formula's own
distribution of k (exponential talks). It leaves out everything that makes it worse (queues, idle
agents with the same skills). What helps is to widen the circle early, as the last lines show.

The limit asked for is a ratio of 1.10. One pool meets it at both loads, 50 % with everybody after
1 s and 20 % with everybody after 0.5 s as well. 50 % that never widen miss it: by 0.001 at a load
of 0.95, clearly at 0.85, where the formula's own wait is under three seconds. 20 % that never widen
miss it by far, and at a load of 0.85 cannot meet it, as the floor shows; 20 % with everybody after
1 or 2 s meet it at 0.95 and miss it at 0.85. Who is rung matters little: a choice that leaves
idle whom the other groups need most (tried beside this) shortens the mean wait by 6 % at
most, at the higher load hardly at all.

Polling serves the one who happens to look first, so that few wait very long: its p99 is 20 to
60 % above ours, its mean a little. Nobody refuses here, and telephones are picked up at once:
what polling loses by retrying is not in these figures.
"""

_KNOWN_TEXT = """
40 agents trained for 50 % of 20 groups, load 0.85, 15 s of wrap-up, 4 s until an agent answers, 2 %
of the offers refused and 1 % missed; a fifth of the served call again after half an hour on
average, and are recognised. Counted are those of them whose agent is signed in and not paused.

*Attainable* is who could have reached the agent within the budget if the agent had been reserved
when the call came in: idle, or done with talk, wrap-up and parking within the budget, not about to
refuse or miss the call, and the caller patient until the answer. It is worked out in the same run
from what only the simulation knows (how long each talk will last). *Reach* is who did reach the
agent, within the budget or later by luck; *of the attainable*: who did, among the attainable alone.
What is missing there is mostly two callers who want the same agent.
"""

_SPEED_TEXT = """
`vsek sim bench`: 5,000 clients in 50 groups with four targets, 200 skill profiles, circles and
overflow, 5 % of the agents idle; each decision timed by itself with garbage collection, in the time
that the process was running. The last two lines have nobody idle and 10 or 1,000 calls waiting.
*freed* is the mean of the decisions in which an agent becomes free.
"""

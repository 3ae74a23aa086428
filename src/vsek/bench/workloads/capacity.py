"""W4: how many calls a second?

The rate is raised step by step until a call fails or the 99th percentile of caller's INVITE →
agent's INVITE exceeds 100 ms; then the last step is halved twice. Later rounds
begin near what those before found. Before the first step Asterisk gets the time to clear away the
calls of the others, which were as many as it can do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable
from typing import Final

from vsek.bench.bench import Bench, Goal
from vsek.bench.drive import Driver, Load, Seen
from vsek.bench.results import Case, Competitor, Report, Run
from vsek.bench.stats import percentile
from vsek.bench.workloads.common import DIAL, QUEUE, VSEK, goal, middle, times

_LIMIT_MS: Final = 100.0
_LADDER: Final = (
    *(2.0, 5.0, 10.0, 15.0, 20.0, 27.0, 36.0, 48.0),
    *(64.0, 85.0, 110.0, 150.0, 200.0, 270.0, 360.0, 480.0),
)
_FIRST: Final = _LADDER.index(64.0)
_HALVINGS: Final = 2
_SECONDS: Final = 5.0
_SHORT_SECONDS: Final = 3.0
_FEWEST: Final = 50


async def climb(holds: Callable[[float], Awaitable[bool]], before: float | None = None) -> float:
    """The highest rate that ``holds``, found with few tries; 0 if not even the lowest does.

    ``before``: what was found before, which saves the steps that lead there. It is begun a step
    below, since what has just begun to work does worse than what is at work.
    """
    first = _FIRST if before is None else max(0, bisect_right(_LADDER, before) - 2)
    good, bad = 0.0, 0.0
    if await holds(_LADDER[first]):
        good = _LADDER[first]
        for rate in _LADDER[first + 1 :]:
            if not await holds(rate):
                bad = rate
                break
            good = rate
        else:
            return good
    else:
        bad = _LADDER[first]
        for rate in reversed(_LADDER[:first]):
            if await holds(rate):
                good = rate
                break
            bad = rate
        else:
            return 0.0
    for _ in range(_HALVINGS):
        between = round((good + bad) / 2, 1)
        if await holds(between):
            good = between
        else:
            bad = between
    return good


class Capacity:
    """The highest rate at which every call is offered within 100 ms."""

    id: Final = "W4"
    title: Final = "calls a second until p99 > 100 ms or a call fails"
    unit: Final = "calls/s"
    values: Final = ("rate",)
    key: Final = "rate"

    async def run(self, bench: Bench) -> None:
        """Queues from 1 to 500, agents from 50 to 2,000."""
        if bench.short:
            sizes = [(50, 50)]
        else:
            sizes = [(queues, agents) for agents in (50, 500, 2000) for queues in (1, 50, 500)]
        seconds = _SHORT_SECONDS if bench.short else _SECONDS

        latest: dict[Competitor, float | None] = {}

        async def measure(driver: Driver, case: Case, who: Competitor, number: int) -> Run:
            seen: dict[float, Seen] = {}

            async def holds(rate: float) -> bool:
                calls = max(_FEWEST, round(rate * seconds))
                load = Load(
                    case.queues,
                    rate,
                    calls,
                    ring_s=0.02,
                    talk_s=0.25,
                    talk_to_s=0.3,
                    warm=not seen,
                )
                seen[rate] = await driver.run(who, load)
                found = seen[rate].times.offers_ms()
                in_time = bool(found) and percentile(found, 0.99) <= _LIMIT_MS
                return in_time and not seen[rate].failed

            if not bench.short:
                await driver.forget_others(who, case.queues)
            best = await climb(holds, middle(case, who, "rate") or latest.get(who))
            latest[who] = best
            last = seen[best] if best else next(iter(seen.values()))
            run = last.run(who, number, {"rate": best}, len(seen))
            # The step that is told held; what failed above it is the question, not a fault.
            run.failed = 0
            return run

        cases = [
            Case(
                workload=self.id,
                name=f"{queues} x {agents}",
                agents=agents,
                queues=queues,
                rate=0,
            )
            for queues, agents in sizes
        ]
        for case in cases:
            among = (VSEK, QUEUE, DIAL) if case.queues == 1 else (VSEK, QUEUE)
            await bench.alternate([case], among, measure)

    def goals(self, report: Report) -> list[Goal]:
        """Close to ``Queue()`` where that is best, ahead where it is large; and not slower with
        more agents."""
        cases = report.of(self.id)
        best = max(cases, key=lambda c: middle(c, QUEUE, "rate") or 0.0, default=None)
        large = next((c for c in cases if (c.queues, c.agents) == (500, 2000)), None)
        found = {
            agents: [r for c in cases if c.agents == agents and (r := middle(c, VSEK, "rate"))]
            for agents in (50, 2000)
        }
        loss = None
        if found[50] and found[2000]:
            loss = 100 * (1 - max(found[2000]) / max(found[50]))
        return [
            goal(
                "times Queue()'s rate at its best size",
                0.8,
                times(best, "rate", QUEUE),
                least=True,
            ),
            goal(
                "times Queue()'s rate at 500 x 2,000",
                2,
                times(large, "rate", QUEUE),
                least=True,
            ),
            goal("lost from 50 to 2,000 agents", 10, loss, " %"),
        ]

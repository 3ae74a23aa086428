"""W4: how many calls a second?

The rate is raised by an eighth at a time until a call fails or the 99th percentile of caller's
INVITE → agent's INVITE exceeds 100 ms. The first such step ends the climb: what it leaves behind
in Asterisk would be paid for by the steps after it. So a climb begins not far below what was found
before, and when everything that earlier ones left has been cleared away; the very first is preceded
by one with larger steps that finds out where that is.
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
_LADDER: Final = tuple(round(2 * 1.125**step, 1) for step in range(49))
"""Calls a second, from 2 to 570."""
_FIRST: Final = 64.0
_LARGE: Final = 4
"""Steps of the ladder that are taken at once where nothing is known yet: times 1.6."""
_RUN_UP: Final = 2
"""Steps below what was found before at which a climb begins."""
_SECONDS: Final = 5.0
_SHORT_SECONDS: Final = 3.0
_FEWEST: Final = 50


async def climb(
    holds: Callable[[float], Awaitable[bool]], start: float, *, below: int = 0, stride: int = 1
) -> float:
    """The highest rate that ``holds`` before one that does not; 0 if not even the lowest does.

    It begins ``below`` steps of the ladder under ``start`` and takes ``stride`` of them at once;
    where it begins too high it goes down, twice as fast, until a rate holds, and up again.
    """
    at = max(0, bisect_right(_LADDER, start) - 1 - below)
    end = len(_LADDER)
    while not await holds(_LADDER[at]):
        if at == 0:
            return 0.0
        end = at
        at = max(0, at - 2 * stride)
    while at + stride < end and await holds(_LADDER[at + stride]):
        at += stride
    return _LADDER[at]


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

        latest: dict[Competitor, float] = {}

        async def measure(driver: Driver, case: Case, who: Competitor, number: int) -> Run:
            seen: dict[float, Seen] = {}
            held = False

            async def holds(rate: float) -> bool:
                nonlocal held
                if not held and not bench.short:
                    await driver.forget(who, case.queues)
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
                held = in_time and not seen[rate].failed
                return held

            before = middle(case, who, "rate") or latest.get(who)
            if before is None:
                before = await climb(holds, _FIRST, stride=_LARGE)
            best = await climb(holds, before, below=_RUN_UP)
            latest[who] = best
            last = seen[best] if best else next(iter(seen.values()))
            run = last.run(who, number, {"rate": best}, len(seen))
            # The step that is told held; what failed above it is the question, not a fault.
            run.failed = 0
            return run

        await bench.interleave(
            [
                (
                    Case(
                        workload=self.id,
                        name=f"{queues} x {agents}",
                        agents=agents,
                        queues=queues,
                        rate=0,
                    ),
                    (VSEK, QUEUE, DIAL) if queues == 1 else (VSEK, QUEUE),
                )
                for queues, agents in sizes
            ],
            measure,
        )

    def goals(self, report: Report) -> list[Goal]:
        """Close to ``Queue()`` where that is best, ahead where it is large; and not slower with
        more agents."""
        cases = report.of(self.id)
        best = max(cases, key=lambda c: middle(c, QUEUE, "rate") or 0.0, default=None)
        large = next((c for c in cases if (c.queues, c.agents) == (500, 2000)), None)
        rate = {(c.queues, c.agents): middle(c, VSEK, "rate") for c in cases}
        # Like with like, and the worst of them: a large size must not hide behind another one.
        losses = [
            100 * (1 - many / few)
            for (queues, agents), few in rate.items()
            if agents == 50 and few and (many := rate.get((queues, 2000))) is not None
        ]
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
            goal("lost from 50 to 2,000 agents, most", 10, max(losses, default=None), " %"),
        ]

"""W7: everybody calls at once."""

from __future__ import annotations

from typing import Final

from vsek.bench.bench import Bench, Goal
from vsek.bench.drive import Driver, Load
from vsek.bench.results import Case, Competitor, Report, Run
from vsek.bench.stats import percentile
from vsek.bench.workloads.common import QUEUE, VSEK, failures, goal, middle

_CALLS: Final = 200
_AGENTS: Final = 100
_CLIENTS: Final = 50


class Burst:
    """200 calls within a second, 100 agents. Measured is, for each call, the longest time on end
    for which it waited while an agent was free."""

    id: Final = "W7"
    title: Final = "200 calls within a second, 100 agents: waiting while one is free"
    unit: Final = "ms"
    values: Final = ("p50", "p99", "max")
    key: Final = "max"

    async def run(self, bench: Bench) -> None:
        """One case; one queue for ``Queue()``, as in W2."""

        async def measure(driver: Driver, case: Case, who: Competitor, number: int) -> Run:
            queues = 1 if who is QUEUE else case.queues
            load = Load(queues, float(_CALLS), _CALLS, ring_s=0.1, talk_s=2.0, talk_to_s=4.0)
            seen = await driver.run(who, load)
            found = seen.times.idle_waits_ms(_AGENTS)
            offers = seen.times.offers_ms()
            values = {
                "p50": percentile(found, 0.5),
                "p99": percentile(found, 0.99),
                "max": max(found),
                "first ring p50": percentile(offers, 0.5) if offers else 0.0,
            }
            values = {name: round(value, 3) for name, value in values.items()}
            return seen.run(who, number, values, len(found))

        case = Case(
            workload=self.id,
            name=f"{_CALLS} calls, {_AGENTS} agents",
            agents=_AGENTS,
            queues=_CLIENTS,
            rate=float(_CALLS),
        )
        await bench.alternate([case], (VSEK, QUEUE), measure)

    def goals(self, report: Report) -> list[Goal]:
        """No failure, nobody waits for an agent who is idle."""
        case = next(iter(report.of(self.id)), None)
        return [
            goal("failed calls", 0, failures(case)),
            goal("longest wait while an agent is free", 20, middle(case, VSEK, "max"), " ms"),
        ]

"""W2 and W3: callers wait all the time. How long is an agent who came free left idle, and a caller
left alone whose agent did not answer?"""

from __future__ import annotations

from typing import Final

from vsek.bench.bench import Bench, Goal
from vsek.bench.drive import Driver, Load, Seen
from vsek.bench.house import PARK_S
from vsek.bench.results import Case, Competitor, Report, Run
from vsek.bench.workloads.common import QUEUE, VSEK, goal, middle, spread, times

AGENTS: Final = 20
_CLIENTS: Final = 50
_WAITING: Final = 5
_ARRIVALS: Final = 50.0
"""Calls a second, until so many are there as may be at once."""
_SILENT: Final = r"sip:a[0-9]*[49]@"
"""Two of ten."""


def _case(workload: str) -> Case:
    name = f"{AGENTS} agents, ≥ {_WAITING} waiting"
    return Case(workload=workload, name=name, agents=AGENTS, queues=_CLIENTS, rate=0)


def _load(bench: Bench, queues: int, *, silent: str = "") -> Load:
    # Twenty agents who talk 3.5 s end 5.7 talks a second. Callers are twice as many as must wait,
    # so that the number does not fall below while the next one dials.
    return Load(
        queues,
        _ARRIVALS,
        60 if bench.short else 200,
        ring_s=0.1,
        talk_s=2.0,
        talk_to_s=5.0,
        silent=silent,
        at_once=AGENTS + 2 * _WAITING + (AGENTS // 5 if silent else 0),
    )


class Handover:
    """Agent's BYE → that agent's next INVITE."""

    id: Final = "W2"
    title: Final = "callers wait: agent's BYE → the same agent's next INVITE"
    unit: Final = "ms"
    values: Final = ("p50", "p99")
    key: Final = "p50"

    async def run(self, bench: Bench) -> None:
        """One case; one queue for ``Queue()``, which is its best: with more queues than one each
        asks by itself once a second."""

        async def measure(driver: Driver, case: Case, who: Competitor, number: int) -> Run:
            seen = await driver.run(who, _load(bench, 1 if who is QUEUE else case.queues))
            found = seen.times.handovers_ms(_WAITING)
            return seen.run(who, number, spread(found), len(found))

        await bench.alternate([_case(self.id)], (VSEK, QUEUE), measure)

    def goals(self, report: Report) -> list[Goal]:
        """At once, and many times faster than a queue that asks once a second."""
        case = next(iter(report.of(self.id)), None)
        better = times(case, "p50", QUEUE)
        return [
            goal("p50", 6, middle(case, VSEK, "p50"), " ms"),
            goal("p99", 20, middle(case, VSEK, "p99"), " ms"),
            goal("times faster than Queue() (p50)", 50, 1 / better if better else None, least=True),
        ]


class NoAnswer:
    """End of ringing → next agent's INVITE."""

    id: Final = "W3"
    title: Final = "one in five does not answer: end of ringing → next agent's INVITE"
    unit: Final = "ms"
    values: Final = ("p50", "p99")
    key: Final = "p50"

    async def run(self, bench: Bench) -> None:
        """As W2."""

        async def measure(driver: Driver, case: Case, who: Competitor, number: int) -> Run:
            queues = 1 if who is QUEUE else case.queues
            seen: Seen = await driver.run(who, _load(bench, queues, silent=_SILENT))
            found = seen.times.retries_ms(PARK_S if who is VSEK else 0.0)
            return seen.run(who, number, spread(found), len(found))

        await bench.alternate([_case(self.id)], (VSEK, QUEUE), measure)

    def goals(self, report: Report) -> list[Goal]:
        """The caller's turn comes at once."""
        case = next(iter(report.of(self.id)), None)
        return [goal("p99", 25, middle(case, VSEK, "p99"), " ms")]

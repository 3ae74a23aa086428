"""W5: what does a call cost?"""

from __future__ import annotations

from typing import Final

from vsek.bench.bench import Bench, Goal
from vsek.bench.drive import Driver, Load
from vsek.bench.results import Case, Competitor, Report, Run
from vsek.bench.workloads.common import DIAL, QUEUE, VSEK, goal, middle, times, worst

_RATE: Final = 10.0
_SHORT_RATE: Final = 20.0


class Cost:
    """Processor time per call, from its first packet until its mail is accepted.

    ``application`` is the switchboard, ``sum`` that and Asterisk, ``all`` also the note service and
    PostgreSQL.
    """

    id: Final = "W5"
    title: Final = "processor time per call, Asterisk plus application"
    unit: Final = "ms"
    values: Final = ("asterisk", "application", "sum", "all")
    key: Final = "sum"

    async def run(self, bench: Bench) -> None:
        """At ten calls a second; twenty, where it has to be short."""
        sizes = [(50, 400)] if bench.short else [(500, 40), (500, 400), (500, 2000)]
        calls = 80 if bench.short else 300
        rate = _SHORT_RATE if bench.short else _RATE

        async def measure(driver: Driver, case: Case, who: Competitor, number: int) -> Run:
            load = Load(case.queues, rate, calls, talk_s=1.0, talk_to_s=1.5, mails=True)
            seen = await driver.run(who, load)
            cpu = seen.cpu_ms
            application = cpu.get("serve", 0.0)
            # Without vsek nobody uses these two, but they are there.
            rest = cpu["notes"] + cpu["postgres"] if who is VSEK else 0.0
            values = {
                "asterisk": cpu["asterisk"],
                "application": application,
                "sum": cpu["asterisk"] + application,
                "all": cpu["asterisk"] + application + rest,
            }
            return seen.run(who, number, {k: round(v, 3) for k, v in values.items()}, calls)

        cases = [
            Case(
                workload=self.id,
                name=f"{queues} x {agents}",
                agents=agents,
                queues=queues,
                rate=rate,
            )
            for queues, agents in sizes
        ]
        await bench.alternate(cases, (VSEK, QUEUE, DIAL), measure)

    def goals(self, report: Report) -> list[Goal]:
        """Little beside what Asterisk itself needs."""
        cases = report.of(self.id)
        large = [c for c in cases if (c.queues, c.agents) == (500, 2000)]
        return [
            goal("application", 3, worst(cases, lambda c: middle(c, VSEK, "application")), " ms"),
            goal("sum, times Dial()'s", 1.8, worst(cases, lambda c: times(c, "sum", DIAL))),
            goal(
                "sum, times Queue()'s at 500 x 2,000",
                1,
                worst(large, lambda c: times(c, "sum", QUEUE)),
            ),
        ]

"""W1: somebody is free. How long until the telephone rings?"""

from __future__ import annotations

from typing import Final

from vsek.bench.bench import Bench, Goal
from vsek.bench.drive import Driver, Load
from vsek.bench.results import Case, Competitor, Report, Run
from vsek.bench.workloads.common import DIAL, QUEUE, VSEK, beyond, goal, spread, times, worst

_SECONDS: Final = 20.0
_SHORT_SECONDS: Final = 4.0


class Offer:
    """Caller's INVITE → agent's INVITE, with agents idle all the time."""

    id: Final = "W1"
    title: Final = "an agent is free: caller's INVITE → agent's INVITE"
    unit: Final = "ms"
    values: Final = ("p50", "p99")
    key: Final = "p50"

    async def run(self, bench: Bench) -> None:
        """Agents from 40 to 2,000, calls from 5 to 40 a second; as many queues as clients."""
        if bench.short:
            points = [(400, 50, 20.0)]
        else:
            points = [(n, 500, rate) for n in (40, 400, 2000) for rate in (5.0, 20.0, 40.0)]
        seconds = _SHORT_SECONDS if bench.short else _SECONDS
        cases = [_case(agents, queues, rate) for agents, queues, rate in points]

        async def measure(driver: Driver, case: Case, who: Competitor, number: int) -> Run:
            # 40 agents take 40 calls a second: they must be free again within one.
            load = Load(
                case.queues,
                case.rate,
                round(case.rate * seconds),
                ring_s=0.1,
                talk_s=0.4,
                talk_to_s=0.5,
            )
            seen = await driver.run(who, load)
            found = seen.times.offers_ms()
            answers = seen.times.answers_ms()
            values = spread(found)
            values |= {f"answer {name}": value for name, value in spread(answers).items()}
            return seen.run(who, number, values, len(found))

        await bench.alternate(cases, (VSEK, QUEUE, DIAL), measure)

    def goals(self, report: Report) -> list[Goal]:
        """Close to bare ``Dial()``, and better than ``Queue()`` with many agents."""
        cases = report.of(self.id)
        usual = [case for case in cases if case.rate <= 20]
        many = [case for case in cases if case.agents == 2000]
        return [
            goal("p50, beyond Dial()", 4, worst(usual, lambda c: beyond(c, "p50", DIAL)), " ms"),
            goal("p99, beyond Dial()", 15, worst(usual, lambda c: beyond(c, "p99", DIAL)), " ms"),
            *(
                goal(
                    f"2,000 agents: {name}, times Queue()'s",
                    1,
                    worst(many, lambda c, n=name: times(c, n, QUEUE)),  # type: ignore[misc]
                )
                for name in ("p50", "p99")
            ),
        ]


def _case(agents: int, queues: int, rate: float) -> Case:
    name = f"{agents} agents, {rate:g}/s"
    return Case(workload=Offer.id, name=name, agents=agents, queues=queues, rate=rate)

"""Results as a benchmark leaves them."""

from __future__ import annotations

from vsek.bench.results import Case, Competitor, Machine, Report, Run

VSEK, QUEUE, DIAL = Competitor.VSEK, Competitor.QUEUE, Competitor.DIAL


def report(*cases: Case) -> Report:
    machine = Machine(
        cores=2,
        processor="Test | processor",
        memory_gb=8.0,
        kernel="6.1",
        python="3.11",
        asterisk="22.10",
        sipp="3.7",
        vsek="0.1",
        pinned=True,
        load_before=0.1,
    )
    return Report(began_at="2026-01-02T03:04:05+00:00", machine=machine, cases=list(cases))


def case(
    workload: str,
    values: dict[Competitor, list[dict[str, float]]],
    *,
    agents: int = 20,
    queues: int = 50,
    rate: float = 20,
    others: float = 0.01,
) -> Case:
    """One case with the values of each round."""
    found = Case(
        workload=workload,
        name=f"{agents} agents, {rate:g}/s",
        agents=agents,
        queues=queues,
        rate=rate,
    )
    for competitor, rounds in values.items():
        found.runs += [
            Run(
                competitor=competitor,
                round=number,
                calls=100,
                failed=0,
                values=one,
                others=others,
                trouble="" if one else "it fell over",
            )
            for number, one in enumerate(rounds)
        ]
    return found


def whole() -> Report:
    """Something of each workload."""

    def times(p50: float, p99: float) -> list[dict[str, float]]:
        return [{"p50": p50 * n, "p99": p99 * n, "max": p99 * n} for n in (1.0, 1.1, 0.9)]

    def cost(asterisk: float, application: float) -> list[dict[str, float]]:
        whole = asterisk + application
        one = {"asterisk": asterisk, "application": application, "sum": whole, "all": whole + 1}
        return [one]

    offers = {VSEK: times(6, 12), QUEUE: times(8, 40), DIAL: times(3, 5)}
    return report(
        *(
            case("W1", offers, agents=agents, queues=500, rate=rate)
            for agents in (40, 400, 2000)
            for rate in (5.0, 20.0)
        ),
        case("W2", {VSEK: times(4, 15), QUEUE: times(600, 900)}),
        case("W3", {VSEK: times(5, 30), QUEUE: times(900, 2000)}),
        *(
            case(
                "W4",
                {VSEK: [{"rate": ours}], QUEUE: [{"rate": best}], DIAL: [{"rate": 60.0}]},
                agents=agents,
                queues=queues,
            )
            for queues, agents, ours, best in (
                (1, 50, 30.0, 40.0),
                (500, 50, 40.0, 10.0),
                (1, 2000, 45.0, 35.0),
                (500, 2000, 30.0, 5.0),
            )
        ),
        case("W5", {VSEK: cost(12, 4), QUEUE: cost(14, 0), DIAL: cost(9, 0)}),
        case("W7", {VSEK: times(10, 18), QUEUE: [{}]}),
    )

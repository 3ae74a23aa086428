from __future__ import annotations

import os
from pathlib import Path

from tests.unit.bench.reports import DIAL, QUEUE, VSEK, report

from vsek.bench import results
from vsek.bench.bench import Bench
from vsek.bench.drive import Driver
from vsek.bench.machine import Cores, busy_s, facts
from vsek.bench.results import Case, Competitor, Run
from vsek.errors import ServiceError


class NoHouse(Bench):
    """Rounds without anything to measure."""

    def __init__(self, folder: Path, rounds: int) -> None:
        self.told: list[str] = []
        self.closed = 0
        self.houses: list[tuple[int, int]] = []
        cores = Cores(pin=False)
        super().__init__(folder, report(), cores, rounds=rounds, out=folder, say=self.told.append)

    async def driver(self, agents: int, clients: int) -> Driver:
        self.houses.append((agents, clients))
        return object.__new__(Driver)

    async def close(self) -> None:
        self.closed += 1


def two_cases() -> list[Case]:
    return [Case(workload="W1", name=f"case {n}", agents=1, queues=1, rate=1.0) for n in (1, 2)]


async def test_another_one_begins_each_round(tmp_path: Path) -> None:
    bench = NoHouse(tmp_path, 4)

    async def measure(_: Driver, _case: Case, who: Competitor, number: int) -> Run:
        return Run(competitor=who, round=number, calls=1, failed=0, values={"p50": 1.0})

    await bench.alternate(two_cases(), (VSEK, QUEUE, DIAL), measure)
    for case in bench.report.cases:
        order = [run.competitor for run in case.runs]
        rounds = [order[at : at + 3] for at in range(0, 12, 3)]
        assert all(set(each) == {VSEK, QUEUE, DIAL} for each in rounds)
        assert [each[0] for each in rounds] == [VSEK, QUEUE, DIAL, VSEK]
    assert results.load(tmp_path / "results.json") == bench.report
    assert len(bench.told) == 24


async def test_cases_that_are_compared_with_each_other_have_their_rounds_together(
    tmp_path: Path,
) -> None:
    bench = NoHouse(tmp_path, 2)
    order: list[tuple[str, Competitor, int]] = []

    async def measure(_: Driver, case: Case, who: Competitor, number: int) -> Run:
        order.append((case.name, who, number))
        return Run(competitor=who, round=number, calls=1, failed=0, values={"p50": 1.0})

    small, large = (
        Case(workload="W4", name=str(agents), agents=agents, queues=queues, rate=0)
        for agents, queues in ((50, 1), (2000, 500))
    )
    await bench.interleave([(small, (VSEK, DIAL)), (large, (VSEK,))], measure)
    assert order == [
        ("50", VSEK, 0),
        ("50", DIAL, 0),
        ("2000", VSEK, 0),
        ("50", DIAL, 1),
        ("50", VSEK, 1),
        ("2000", VSEK, 1),
    ]
    assert set(bench.houses) == {(50, 500), (2000, 500)}
    assert [len(case.runs) for case in bench.report.cases] == [4, 2]


async def test_a_run_that_fails_is_kept_and_ends_its_house(tmp_path: Path) -> None:
    bench = NoHouse(tmp_path, 1)

    async def measure(_: Driver, _case: Case, who: Competitor, number: int) -> Run:
        if who is QUEUE:
            raise ServiceError("something was left behind")
        return Run(competitor=who, round=number, calls=3, failed=1, values={"p50": 1.0})

    await bench.alternate(two_cases()[:1], (VSEK, QUEUE), measure)
    (case,) = bench.report.cases
    assert [run.trouble for run in case.runs] == ["", "something was left behind"]
    assert case.values(QUEUE, "p50") == [None]
    assert bench.closed == 1
    assert "1 of 3 failed" in bench.told[0]
    assert "left behind" in bench.told[1]


def test_processes_are_pinned_and_let_go() -> None:
    before = os.sched_getaffinity(0)
    cores = Cores(pin=True)
    try:
        cores.pin(os.getpid(), cores.load, alone=True)
        assert os.sched_getaffinity(0) == cores.load
        if len(before) > 1:
            assert not cores.load & cores.path
    finally:
        cores.release()
    assert os.sched_getaffinity(0) == before
    cores.pin(2**22 - 1, cores.path)  # nobody: it has ended


def test_without_pinning_everybody_runs_everywhere() -> None:
    cores = Cores(pin=False)
    assert cores.load == cores.path == os.sched_getaffinity(0)
    assert not cores.pinned


def test_the_machine_is_known() -> None:
    found = facts(asterisk="22", pinned=True)
    assert found.cores >= 1
    assert found.memory_gb > 0
    assert found.processor
    assert busy_s() > 0

"""Competitors in turn: the frame in which each workload runs.

Theory of operation. A workload has cases (so many agents, queues, calls a second). For each case
all competitors are run in rounds; each round begins with another one, so that nobody always comes
first or always after the same. Houses (see :mod:`vsek.bench.house`) are kept while the number of
agents stays the same. A run that fails is told in the results with its reason, never left out, and
the next one gets a new house.

A workload of another kind needs none of this: it gets the ``Bench`` and puts its cases into the
report.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from vsek.bench import results
from vsek.bench.drive import Driver
from vsek.bench.house import House
from vsek.bench.machine import Cores
from vsek.bench.pbx import remove
from vsek.bench.results import Case, Competitor, Report, Run
from vsek.errors import ServiceError

SOAK_S: Final = 1800.0
SHORT_SOAK_S: Final = 120.0


@dataclass(frozen=True)
class Goal:
    """One line of the table of goals."""

    what: str
    wanted: str
    found: str
    """Empty: not measured."""
    met: bool | None
    """``None``: not measured."""


class Workload(Protocol):
    """What is measured, and what it shall reach."""

    @property
    def id(self) -> str:
        """``W1`` …"""

    @property
    def title(self) -> str:
        """One line."""

    @property
    def unit(self) -> str:
        """What its values are: ``ms``, ``calls/s``."""

    @property
    def values(self) -> tuple[str, ...]:
        """Names of the values that its table shows."""

    @property
    def key(self) -> str:
        """The one of them by which competitors are compared."""

    async def run(self, bench: Bench) -> None:
        """Measures, and puts the cases into ``bench.report``."""

    def goals(self, report: Report) -> list[Goal]:
        """Its goals, with what ``report`` says about them."""


Measure = Callable[[Driver, Case, Competitor, int], Awaitable[Run]]
"""One run: driver, case, competitor, number of the round."""


class Bench:
    """A whole benchmark."""

    def __init__(
        self,
        folder: Path,
        report: Report,
        cores: Cores,
        *,
        rounds: int,
        out: Path,
        say: Callable[[str], None],
        soak_s: float = 0.0,
    ) -> None:
        self._soak_s = soak_s
        self.folder = folder
        self.report = report
        self.cores = cores
        self.rounds = rounds
        self.say = say
        self._out = out
        self._exits: AsyncExitStack | None = None
        self._driver: Driver | None = None
        self._houses = 0

    @property
    def soak_s(self) -> float:
        """How long a workload shall last that has to last long, in seconds."""
        return self._soak_s or (SHORT_SOAK_S if self.short else SOAK_S)

    @property
    def short(self) -> bool:
        """Whether the shortened set is wanted."""
        return self.report.short

    async def driver(self, agents: int, clients: int) -> Driver:
        """Somebody who places calls in a house of this size."""
        now = self._driver
        if now is not None and now.house.agents == agents and now.house.clients >= clients:
            return now
        await self.close()
        self._houses += 1
        self._exits = AsyncExitStack()
        house = House(self.folder / f"house{self._houses}", agents, clients, self.cores)
        self._exits.callback(remove, house.folder)
        self.say(f"starting a house with {agents} agents and {clients} clients")
        await house.open(self._exits)
        self._driver = Driver(house)
        self.report.machine.asterisk = await house.pbx.version()
        return self._driver

    async def close(self) -> None:
        """Ends the house."""
        self._driver = None
        exits, self._exits = self._exits, None
        if exits is not None:
            await exits.aclose()

    async def alternate(
        self, cases: Sequence[Case], competitors: Sequence[Competitor], measure: Measure
    ) -> None:
        """Runs ``cases`` one after the other, all competitors in each round."""
        for case in cases:
            await self.interleave([(case, competitors)], measure)

    async def interleave(
        self, cases: Sequence[tuple[Case, Sequence[Competitor]]], measure: Measure
    ) -> None:
        """Runs all ``cases`` in each round, each with its competitors, so that they can be compared
        with each other as well: a machine that has other work beside us is not the same an hour
        later. Neighbours with as many agents share a house."""
        self.report.cases.extend(case for case, _ in cases)
        clients = max(case.queues for case, _ in cases)
        for number in range(self.rounds):
            for case, competitors in cases:
                first = number % len(competitors)
                for competitor in (*competitors[first:], *competitors[:first]):
                    run = await self._once(case, clients, competitor, number, measure)
                    case.runs.append(run)
                    self.say(_told(case, run))
                # What was measured until now survives whatever happens next.
                await asyncio.to_thread(results.write, self._out / "results.json", self.report)

    async def _once(
        self, case: Case, clients: int, competitor: Competitor, number: int, measure: Measure
    ) -> Run:
        try:
            driver = await self.driver(case.agents, clients)
            return await measure(driver, case, competitor, number)
        except ServiceError as error:
            await self.close()
            told = error.message[:300]
            return Run(
                competitor=competitor, round=number, calls=0, failed=0, values={}, trouble=told
            )


def _told(case: Case, run: Run) -> str:
    values = ", ".join(f"{name} {value:.4g}" for name, value in run.values.items())
    failed = f", {run.failed} of {run.calls} failed" if run.failed else ""
    others = f", others {run.others:.0%}" if run.others else ""
    told = run.trouble or f"{values}{failed}{others}"
    clock = time.strftime("%H:%M:%S")
    return f"{clock} {case.workload} {case.name} round {run.round + 1} {run.competitor}: {told}"

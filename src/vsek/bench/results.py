"""What a benchmark leaves behind: plain data, written as JSON and read again."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Final

import msgspec

from vsek.errors import InputError

FORMAT: Final = 1
_LABELS: Final = {
    "queue": "Queue()",
    "dial": "Dial()",
    "one-socket": "1 socket",
    "four-sockets": "4 sockets",
    "http": "HTTP",
}


class Competitor(enum.StrEnum):
    """Who serves the calls."""

    VSEK = "vsek"
    QUEUE = "queue"
    DIAL = "dial"
    # W6 only: our ARI client in other ways, and other clients.
    ONE_SOCKET = "one-socket"
    FOUR_SOCKETS = "four-sockets"
    HTTP = "http"
    ASYNCARI = "asyncari"
    ARI_CLIENT = "ari-client"
    AIOARI = "aioari"

    @property
    def label(self) -> str:
        """As in tables."""
        return _LABELS.get(self.value, self.value)


class Run(msgspec.Struct, kw_only=True):
    """One competitor once."""

    competitor: Competitor
    round: int
    calls: int
    failed: int
    """Calls that were not answered and ended as planned."""
    values: dict[str, float]
    """What the workload measures, by name: ``p50``, ``p99`` (milliseconds) …"""
    samples: int = 0
    """How many single times are behind them."""
    cpu_ms: dict[str, float] = {}
    """Processor time per call, by process: asterisk, serve, notes, postgres, sipp."""
    others: float = 0.0
    """Part of the machine (0 to 1) that programs which are not ours took meanwhile."""
    dropped: int = 0
    """Packets that the capture missed."""
    trouble: str = ""
    """Why there are no values."""


class Machine(msgspec.Struct, kw_only=True):
    """On what it was measured."""

    cores: int
    processor: str
    memory_gb: float
    kernel: str
    python: str
    asterisk: str
    sipp: str
    vsek: str
    pinned: bool
    load_before: float
    """The machine's load average of a minute when it began."""


class Origin(msgspec.Struct, kw_only=True, frozen=True):
    """Where and when a case was measured."""

    machine: Machine
    began_at: str


class Case(msgspec.Struct, kw_only=True):
    """One point of a workload, with all its runs."""

    workload: str
    name: str
    """Unique within the workload: ``400 agents, 20/s``."""
    agents: int
    queues: int
    rate: float
    runs: list[Run] = []
    origin: Origin | None = None
    """``None``: as the whole report."""

    def of(self, competitor: Competitor) -> list[Run]:
        """Its runs of one competitor, in the order of rounds."""
        return [run for run in self.runs if run.competitor is competitor]

    def values(self, competitor: Competitor, name: str) -> list[float | None]:
        """One value per round; ``None`` where the run has none."""
        return [run.values.get(name) for run in self.of(competitor)]


class Report(msgspec.Struct, kw_only=True):
    """Everything."""

    format: int = FORMAT
    began_at: str
    """ISO 8601."""
    took_s: float = 0.0
    short: bool = False
    machine: Machine
    cases: list[Case] = []

    def of(self, workload: str) -> list[Case]:
        """The cases of one workload."""
        return [case for case in self.cases if case.workload == workload]

    def origins(self, workload: str = "") -> list[Origin]:
        """Where the cases (of one workload) come from, each place once."""
        own = Origin(machine=self.machine, began_at=self.began_at)
        found: list[Origin] = []
        for case in self.of(workload) if workload else self.cases:
            if (origin := case.origin or own) not in found:
                found.append(origin)
        return found or [own]

    def case(self, workload: str, name: str) -> Case:
        """One case, which is made if it is not there yet."""
        for case in self.of(workload):
            if case.name == name:
                return case
        raise KeyError(name)


def write(file: Path, report: Report) -> None:
    """Writes ``report`` as JSON, in one step: whoever reads sees the old one or the new one."""
    fresh = file.with_suffix(".new")
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    fresh.rename(file)


def load(file: Path) -> Report:
    """Reads what ``write`` wrote; raises ``InputError`` for anything else."""
    try:
        report = msgspec.json.decode(file.read_bytes(), type=Report)
    except OSError as error:
        raise InputError(
            f"{file} cannot be read: {error.strerror}", field="--from", value=str(file)
        ) from None
    except msgspec.DecodeError as error:
        raise InputError(
            f"{file} is no result of vsek bench: {error}",
            field="--from",
            value=str(file),
            remedy="Name a results.json that vsek bench wrote",
        ) from None
    if report.format != FORMAT:
        raise InputError(
            f"{file} was written in format {report.format}, this vsek reads {FORMAT}",
            field="--from",
            value=str(file),
            remedy="Measure again",
        )
    return report


def merged(reports: list[Report]) -> Report:
    """Several runs as one, for workloads that were measured one after the other. Of a case that
    several have measured, the last one counts; each says where it comes from."""
    if len(reports) == 1:
        return reports[0]
    first, cases = reports[0], {}
    for report in reports:
        origin = Origin(machine=report.machine, began_at=report.began_at)
        for case in report.cases:
            known = msgspec.structs.replace(case, origin=case.origin or origin)
            cases[case.workload, case.name] = known
    return msgspec.structs.replace(
        first,
        cases=list(cases.values()),
        took_s=round(sum(report.took_s for report in reports), 1),
        short=any(report.short for report in reports),
    )

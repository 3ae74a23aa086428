"""W9: the switchboard alone, far beyond what one Asterisk carries.

Asterisk is played by :mod:`vsek.bench.fakeari`: ten thousand agents, 80 calls a second, and ten
times as many within one second. What is measured is how late the event loop is meanwhile
(:mod:`vsek.bench.lagprobe`), in the real ``vsek serve`` with its journal and its database.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec

from vsek.bench.bench import Bench, Goal
from vsek.bench.fakeworld import Order, Told
from vsek.bench.lagprobe import Answer, LagProbe
from vsek.bench.machine import busy_s
from vsek.bench.pbx import agent_name, remove
from vsek.bench.results import Case, Report, Run
from vsek.bench.stats import percentile
from vsek.bench.workloads.common import VSEK, failures, goal, middle, worst
from vsek.demo.events import eventually
from vsek.demo.processes import Program
from vsek.demo.stack import Stack
from vsek.demo.usage import Usage
from vsek.domain.agent import Agent, ha1
from vsek.domain.ids import AgentId
from vsek.embedded.ports import free_port
from vsek.embedded.postgres import PrivatePostgres
from vsek.errors import ServiceError
from vsek.pbx.accounts import account_objects
from vsek.store import migrate

_AGENTS: Final = 10_000
_SHORT_AGENTS: Final = 10_000
_CLIENTS: Final = 50
_RATE: Final = 80.0
_BURST: Final = 10
_WARM_UP_S: Final = 5.0
_STEADY_S: Final = 60.0
_SHORT_STEADY_S: Final = 15.0
_READY_S: Final = 240.0
_TRANSPORT: Final = "agents"
_LANGUAGE: Final = "de"
_CLIENT: Final = """\
  - id: bench-{number:04}
    name: Bench {number} GmbH
    numbers: {{did: ["{did}"]}}
    policy: ring
    contacts: [{{name: B, email: notes@bench.example, notes: true}}]
"""
_HIRE_SQL: Final = """
INSERT INTO vsek.agents (id, name, language, ha1)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
"""


def _did(number: int) -> str:
    return f"+49305552{number:04}"


@dataclass
class _Alone:
    """A switchboard whose Asterisk is a fake."""

    folder: Path
    fake: asyncio.subprocess.Process
    serve: Program
    postgres: PrivatePostgres

    async def call(self, rate: float, seconds: float) -> Told:
        """Callers, until the last of them has gone."""
        assert self.fake.stdin is not None
        assert self.fake.stdout is not None
        dids = [_did(number) for number in range(_CLIENTS)]
        order = Order(rate=rate, seconds=seconds, dids=dids)
        self.fake.stdin.write(msgspec.json.encode(order) + b"\n")
        line = await self.fake.stdout.readline()
        if not line:
            raise ServiceError("The fake Asterisk has ended")
        return msgspec.json.decode(line, type=Told)


class Lag:
    """How late the event loop is. ``own``: without the time for which it waited for a core."""

    id: Final = "W9"
    title: Final = "10,000 agents, 80 calls/s and 10 times that for a second: loop's lag"
    unit: Final = "ms"
    values: Final = ("p50", "p99", "max", "own_p99", "own_max")
    key: Final = "own_p99"

    async def run(self, bench: Bench) -> None:
        """Steady load, then the burst, in one house for all rounds."""
        await bench.close()
        agents = _SHORT_AGENTS if bench.short else _AGENTS
        steady, burst = (
            Case(workload=self.id, name=name, agents=agents, queues=_CLIENTS, rate=rate)
            for name, rate in (("80/s", _RATE), ("800 in 1 s", _BURST * _RATE))
        )
        bench.report.cases += [steady, burst]
        async with _alone(bench, agents) as house:
            await house.call(_RATE, _WARM_UP_S)
            for number in range(bench.rounds):
                seconds = _SHORT_STEADY_S if bench.short else _STEADY_S
                for case, lasts_s in ((steady, seconds), (burst, 1.0)):
                    run = await _measured(bench, house, case, lasts_s, number)
                    case.runs.append(run)
                    told = ", ".join(f"{name} {value:.1f}" for name, value in run.values.items())
                    bench.say(f"W9 {case.name} round {number + 1}: {run.trouble or told}")

    def goals(self, report: Report) -> list[Goal]:
        """Whoever waits for the loop waits a few milliseconds."""
        cases = report.of(self.id)
        return [
            goal("failed calls", 0, worst(cases, failures)),
            goal("lag p99, any load", 5, worst(cases, lambda c: middle(c, VSEK, "own_p99")), " ms"),
            goal("lag max, any load", 50, worst(cases, _longest), " ms"),
        ]


def _longest(case: Case) -> float | None:
    """Of all rounds: each could be the one that somebody meets."""
    return max((v for v in case.values(VSEK, "own_max") if v is not None), default=None)


def summary(answers: list[Answer]) -> dict[str, float]:
    """What is kept of them."""
    lag, own = [a.lag for a in answers], [a.own for a in answers]
    found = {
        "p50": percentile(lag, 0.5),
        "p99": percentile(lag, 0.99),
        "max": max(lag),
        "own_p99": percentile(own, 0.99),
        "own_max": max(own),
    }
    return {name: round(value, 2) for name, value in found.items()}


async def _measured(bench: Bench, house: _Alone, case: Case, seconds: float, number: int) -> Run:
    usage = Usage({"serve": house.serve.pid}, {"fake": house.fake.pid})
    busy, began = busy_s(), time.monotonic()
    with LagProbe(house.folder / "run" / "control.sock", house.serve.pid) as probe:
        told = await house.call(case.rate, seconds)
    took_s = time.monotonic() - began
    busy = busy_s() - busy
    if probe.failed or not probe.answers:
        raise ServiceError(f"The control socket does not answer: {probe.failed}")
    cpu_ms = usage.cpu_ms(told.calls)
    ours = sum(cpu_ms.values()) * told.calls / 1000
    return Run(
        competitor=VSEK,
        round=number,
        calls=told.calls,
        failed=told.calls - told.served,
        values=summary(probe.answers),
        samples=len(probe.answers),
        cpu_ms={name: round(value, 3) for name, value in cpu_ms.items()},
        others=round(max(0.0, busy - ours) / (took_s * (os.cpu_count() or 1)), 3),
        trouble=f"the fake does not know {told.strange[0]}" if told.strange else "",
    )


@asynccontextmanager
async def _alone(bench: Bench, agents: int) -> AsyncIterator[_Alone]:
    folder = bench.folder / "alone"
    for name in ("log", "run", "sounds"):
        await asyncio.to_thread((folder / name).mkdir, parents=True, exist_ok=True)
    async with AsyncExitStack() as exits:
        exits.callback(remove, folder)
        postgres = PrivatePostgres(folder / "postgres", log=folder / "log" / "postgres.log")
        exits.push_async_callback(postgres.stop)
        await postgres.start()
        await asyncio.to_thread(migrate.apply, postgres.dsn)
        crowd = [
            Agent(
                id=AgentId(agent_name(n)),
                name=f"Agent {n}",
                language=_LANGUAGE,
                ha1=ha1(agent_name(n), f"secret-of-{n}"),
            )
            for n in range(agents)
        ]
        await _hire(postgres.dsn, crowd)
        fake, port = await _fake(crowd, exits)
        await asyncio.to_thread(_write_settings, folder, port, postgres.dsn)
        program = await _service(folder, "client", "import", folder / "clients.yaml")
        if await program.wait() != 0:
            raise ServiceError(f"The clients were not imported: {program.log_tail()}")
        bench.say(f"starting a switchboard with {agents} agents")
        serve = await _service(folder, "serve")
        stack = Stack(folder, serve)
        exits.push_async_callback(stack.stop)
        await _ready(stack, agents)
        cores = bench.cores
        cores.pin(os.getpid(), cores.load)
        for pid in (fake.pid, postgres.pid):
            cores.pin(pid, cores.load)
        cores.pin(serve.pid, cores.path)
        yield _Alone(folder, fake, serve, postgres)


async def _hire(dsn: str, crowd: list[Agent]) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        columns = [[str(getattr(a, f)) for a in crowd] for f in ("id", "name", "language", "ha1")]
        await connection.execute(_HIRE_SQL, *columns)
    finally:
        await connection.close()


async def _fake(
    crowd: list[Agent], exits: AsyncExitStack
) -> tuple[asyncio.subprocess.Process, int]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "vsek.bench.fakeari",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )

    async def end() -> None:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()

    exits.push_async_callback(end)
    accounts = {
        f"{kind}/{agent.id}": [{"attribute": k, "value": v} for k, v in values.items()]
        for agent in crowd
        for kind, values in account_objects(agent, _TRANSPORT)
    }
    assert process.stdin is not None
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    process.stdin.write(msgspec.json.encode(accounts) + b"\n")
    await process.stdin.drain()
    return process, port


def _write_settings(folder: Path, port: int, dsn: str) -> None:
    settings: dict[str, Any] = {
        "ari": {"url": f"http://127.0.0.1:{port}", "username": "vsek", "password": "of-a-fake"},
        "database": {"dsn": dsn},
        "notes": {"url": f"http://127.0.0.1:{free_port()}", "token": "nobody-listens-there-now"},
        "sounds": {"folder": str(folder / "sounds"), "speech": "none"},
        "asterisk": {"agent_transport": _TRANSPORT},
        "calls": {"wrap_up_s": 0},
    }
    file = folder / "run" / "stack.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps({"settings": settings}))
    clients = "".join(_CLIENT.format(number=n, did=_did(n)) for n in range(_CLIENTS))
    (folder / "clients.yaml").write_text("clients:\n" + clients)


async def _service(folder: Path, *words: str | Path) -> Program:
    name = str(words[0])
    return await Program.start(
        f"vsek {name}",
        [sys.executable, "-m", "vsek.cli.main", *words, "--dir", folder],
        folder=folder,
        log=folder / "log" / f"{name}.log",
    )


async def _ready(stack: Stack, agents: int) -> None:
    async def ready() -> bool | None:
        if stack.program.returncode is not None:
            raise ServiceError(f"vsek serve ended: {stack.program.log_tail()}")
        try:
            states = await stack.agents()
        except ServiceError:
            return None
        well = sum(agent["state"] == "ready" for agent in states.values())
        return True if well == agents else None

    try:
        await eventually(ready, "all agents ready", timeout_s=_READY_S, every_s=1.0)
    except ServiceError as error:
        raise ServiceError(f"{error.message}: {stack.program.log_tail()}") from error

"""W8: for a long time, and nothing grows.

Theory of operation. One switchboard serves the calls of the load run (:mod:`vsek.demo.load`): a
greeting, an agent, a note that is written during the talk, its mail. One caller in twenty leaves
before anybody answers. The time is cut into parts of at most seven and a half minutes, at least
four; between two of them all calls end and the agents register again (their registrations last ten
minutes). In these pauses everything is counted that could have been left behind, in Asterisk, the
database and the switchboard. The memory is read every second while calls are there.

The first part fills what is meant to be filled (pools, caches, the memory of callers); growth is
what comes after it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

import aiohttp
import asyncpg

from vsek.bench.bench import Bench, Goal
from vsek.bench.machine import busy_s
from vsek.bench.readings import Timeline, timeline
from vsek.bench.results import Case, Report, Run
from vsek.bench.stats import percentile, slope
from vsek.bench.workloads.common import VSEK, goal
from vsek.demo.capture import Capture
from vsek.demo.load import DID, House, Plan, ports, watched
from vsek.demo.usage import Usage
from vsek.errors import ServiceError

RATE: Final = 10.0
LEAVES: Final = 0.05
_AGENTS: Final = 60
_PARTS: Final = 4
_LONGEST_PART_S: Final = 450.0
_PATIENCE_S: Final = 60.0
_NO_SOUND: Final = range(1, 1)
_BINS: Final = 60
"""Readings of memory are told in so many medians over the whole time."""
_SETTLED_S: Final = 60.0
_CONNECTIONS_SQL: Final = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = $1"


@dataclass(frozen=True)
class Left:
    """What is there when no call is."""

    channels: int
    bridges: int
    tasks: int
    timers: int
    descriptors: int
    """Open files of the switchboard, its connections among them."""
    connections: int
    """To PostgreSQL, of everybody."""
    note_descriptors: int


@dataclass
class Part:
    """One part of the time."""

    times: Timeline
    calls: int
    failed: int
    left: Left
    memory: list[tuple[float, float]] = field(default_factory=list)
    """Seconds since the beginning, MB."""


class Soak:
    """Whether memory grows, whether anything is left behind, whether times get longer."""

    id: Final = "W8"
    title: Final = "soak: 10 calls/s, 5 % leave, notes and mails; memory and what is left behind"
    unit: Final = "ms, MB/h"
    values: Final = ("p99_first", "p99_last", "slope", "left")
    key: Final = "p99_last"

    async def run(self, bench: Bench) -> None:
        """Once, however many rounds are wanted: its rounds are its parts."""
        await bench.close()
        seconds = bench.soak_s
        case = Case(
            workload=self.id,
            name=f"{seconds / 60:g} min at {RATE:g}/s",
            agents=_AGENTS,
            queues=1,
            rate=RATE,
        )
        bench.report.cases.append(case)
        try:
            run = await _soak(bench, seconds)
        except ServiceError as error:
            run = Run(
                competitor=VSEK,
                round=0,
                calls=0,
                failed=0,
                values={},
                trouble=error.message[:300],
            )
        case.runs.append(run)
        told = ", ".join(f"{name} {value:.4g}" for name, value in run.values.items())
        bench.say(f"W8 {case.name}: {run.trouble or told}")

    def goals(self, report: Report) -> list[Goal]:
        """Nothing grows."""
        runs = [run for case in report.of(self.id) for run in case.runs]
        values = runs[0].values if runs else {}
        first, last = values.get("p99_first"), values.get("p99_last")
        return [
            goal("failed calls", 0, runs[0].failed if values else None),
            _level(values),
            goal("left behind: channels, bridges, tasks, timers", 0, values.get("left")),
            goal("left behind: files and connections", 0, values.get("left_open")),
            goal("p99 of the last quarter, times the first's", 1.1, _share(last, first)),
        ]


def _share(last: float | None, first: float | None) -> float | None:
    return last / first if last is not None and first else None


def _level(values: dict[str, float]) -> Goal:
    """The memory's slope: met if it may be zero."""
    what, wanted = "memory of the switchboard, growth", "0 within noise"
    if "slope" not in values:
        return Goal(what, wanted, "", None)
    found, low, high = (values[name] for name in ("slope", "slope_low", "slope_high"))
    told = f"{found:.3g} ({low:.3g} to {high:.3g}) MB/h"
    return Goal(what, wanted, told, low <= 0)


def parts_of(seconds: float) -> list[float]:
    """How long each part lasts: equally long, four of them or a multiple."""
    count = _PARTS
    while seconds / count > _LONGEST_PART_S:
        count += _PARTS
    return [seconds / count] * count


def evaluate(parts: list[Part]) -> dict[str, float]:
    """The values of a run, from its parts."""
    quarter = len(parts) // _PARTS

    def p99(some: list[Part]) -> float:
        return percentile([ms for part in some for ms in part.times.offers_ms()], 0.99)

    values = {"p99_first": p99(parts[:quarter]), "p99_last": p99(parts[-quarter:])}
    before, after = parts[0].left, parts[-1].left
    values["left"] = float(
        after.channels
        + after.bridges
        + max(0, after.tasks - before.tasks)
        + max(0, after.timers - before.timers)
    )
    values["left_open"] = float(
        sum(_risen(parts, name) for name in ("descriptors", "connections", "note_descriptors"))
    )
    growth = slope(binned([reading for part in parts[quarter:] for reading in part.memory]))
    if growth is not None:
        values["slope"] = growth.value * 3600
        values["slope_low"] = growth.low * 3600
        values["slope_high"] = growth.high * 3600
    for name, some in (("memory_first", parts[0]), ("memory_last", parts[-1])):
        values[name] = median(mb for _, mb in some.memory)
    for name in ("tasks", "descriptors", "connections"):
        values[f"{name}_first"] = float(getattr(before, name))
        values[f"{name}_last"] = float(getattr(after, name))
    return {name: round(value, 3) for name, value in values.items()}


def _risen(parts: list[Part], name: str) -> int:
    """By how much the least of the later half exceeds the most of the first half. Pools of
    connections open some more now and then, and close them again; what leaks is more each time."""
    found = [int(getattr(part.left, name)) for part in parts]
    half = len(found) // 2
    return max(0, min(found[half:]) - max(found[:half]))


def binned(readings: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The readings as medians of neighbours, ``_BINS`` at most."""
    size = -(-len(readings) // _BINS)
    groups = [readings[at : at + size] for at in range(0, len(readings), max(1, size))]
    return [(median(t for t, _ in group), median(v for _, v in group)) for group in groups]


async def _soak(bench: Bench, seconds: float) -> Run:
    folder = bench.folder / "soak"
    plan = Plan(rate=RATE, duration_s=seconds, agents=_AGENTS)
    async with AsyncExitStack() as exits:
        await asyncio.to_thread(folder.mkdir)
        bench.say(f"starting a vsek with {_AGENTS} agents for {seconds:.0f} s of calls")
        house = await House.open(folder, plan, ports(), {}, exits)
        bench.report.machine.asterisk = await _version(house)
        pids: dict[str, int] = house.stack.ready["pids"]
        watch = {name: pids[name] for name in ("serve", "notes", "asterisk", "postgres")}
        usage = Usage(watch, {"harness": os.getpid()})
        busy, began = busy_s(), time.monotonic()
        parts: list[Part] = []
        for number, lasts_s in enumerate(parts_of(seconds)):
            if number:
                await _again(house)
            parts.append(await _part(house, folder, lasts_s, usage, began, number=number))
            bench.say(f"W8 part {number + 1}: {parts[-1].calls} calls, {parts[-1].left}")
        took_s = time.monotonic() - began
        calls = sum(part.calls for part in parts)
        cpu_ms = usage.cpu_ms(calls)
        audit = await house.stack.cli("audit", check=False)
        ours = sum(cpu_ms.values()) * calls / 1000
        others = (busy_s() - busy - ours) / (took_s * (os.cpu_count() or 1))
    return Run(
        competitor=VSEK,
        round=0,
        calls=calls,
        failed=sum(part.failed for part in parts),
        values=evaluate(parts),
        samples=calls,
        cpu_ms={name: round(value, 3) for name, value in cpu_ms.items()},
        others=round(max(0.0, others), 3),
        trouble=f"vsek audit: {audit.out}{audit.err}"[:300] if audit.code else "",
    )


async def _again(house: House) -> None:
    """The agents register anew, before it is forgotten that they are there."""
    if (before := house.crowd.programs.pop("agents", None)) is not None:
        await before.stop()
    await house.register()


async def _part(
    house: House, folder: Path, seconds: float, usage: Usage, began: float, *, number: int
) -> Part:
    file = folder / "soak.pcap"
    calls = round(RATE * seconds)
    # Nobody calls twice: whoever is known would be served in another way.
    first = 6_000_000 + number * 100_000
    callers = [f"+4940{first + n}" for n in range(calls)]
    memory: list[tuple[float, float]] = []
    capture = Capture(file, house.stack.sip[1], _NO_SOUND)
    capture.start()
    try:
        async with watched(house, usage), _remembered(usage, began, memory):
            program = await house.crowd.call(
                DID, callers, rate=RATE, patience_s=_PATIENCE_S, leaves=LEAVES
            )
            code = await program.wait()
        await house.quiet()
    finally:
        await asyncio.to_thread(capture.stop)
    used = house.crowd.ports
    times = await asyncio.to_thread(timeline, file, used.callers, used.agents)
    await asyncio.to_thread(file.unlink)
    failed = calls - sum(call.served for call in times.calls)
    if code and not failed:
        raise ServiceError(f"SIPp complains: {house.crowd.errors('callers')}")
    return Part(times, calls, failed, await _left(house), memory)


@asynccontextmanager
async def _remembered(
    usage: Usage, began: float, memory: list[tuple[float, float]]
) -> AsyncIterator[None]:
    """Reads the switchboard's memory each second until left."""

    async def read() -> None:
        while True:
            memory.append((time.monotonic() - began, usage.memory_mb("serve")))
            await asyncio.sleep(1.0)

    task = asyncio.create_task(read(), name="read-memory")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# --- what is left -------------------------------------------------------------------------------


async def _left(house: House) -> Left:
    """Counted until it does not sink any more: mails and records take a moment."""
    deadline = time.monotonic() + _SETTLED_S
    least, same = await _count(house), 0
    while same < 5 and time.monotonic() < deadline:
        await asyncio.sleep(1.0)
        now = await _count(house)
        least, same = (now, 0) if _sum(now) < _sum(least) else (least, same + 1)
    return least


def _sum(left: Left) -> int:
    return left.channels + left.bridges + left.tasks + left.timers + left.descriptors


async def _count(house: House) -> Left:
    metrics = await _metrics(house)
    pids: dict[str, int] = house.stack.ready["pids"]
    connection = await asyncpg.connect(house.stack.dsn)
    try:
        connections = await connection.fetchval(_CONNECTIONS_SQL, "client backend")
    finally:
        await connection.close()
    channels, bridges = await _ari(house, "channels"), await _ari(house, "bridges")
    return Left(
        channels=len(channels),
        bridges=len(bridges),
        tasks=round(metrics["vsek_tasks"]),
        timers=round(metrics["vsek_timers"]),
        descriptors=_descriptors(pids["serve"]),
        connections=connections,
        note_descriptors=_descriptors(pids["notes"]),
    )


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def _metrics(house: House) -> dict[str, float]:
    """What ``/metrics`` tells that has no labels."""
    connector = aiohttp.UnixConnector(str(house.stack.ready["control"]))
    try:
        async with (
            aiohttp.ClientSession("http://switchboard", connector=connector) as session,
            session.get("/metrics") as reply,
        ):
            text = await reply.text()
    except aiohttp.ClientError as error:
        raise ServiceError(f"The switchboard tells no metrics: {error}") from error
    return {name: float(value) for name, value in re.findall(r"(?m)^(\w+) (\S+)$", text)}


async def _ari(house: House, uri: str) -> Any:
    file = house.stack.folder / "run" / "stack.json"
    settings = json.loads(await asyncio.to_thread(file.read_text))["settings"]["ari"]
    login = aiohttp.BasicAuth(settings["username"], settings["password"])
    try:
        async with (
            aiohttp.ClientSession(auth=login) as session,
            session.get(f"{settings['url']}/ari/{uri}") as reply,
        ):
            return await reply.json()
    except aiohttp.ClientError as error:
        raise ServiceError(f"Asterisk does not answer GET {uri}: {error}") from error


async def _version(house: House) -> str:
    return str((await _ari(house, "asterisk/info"))["system"]["version"])

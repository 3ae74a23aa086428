"""W6: our ARI client beside others, on the same Asterisk.

Each client runs in a process of its own (:mod:`vsek.bench.rivals.race`), on the core of the load.
The others are installed from the package index into environments of their own, in the versions and
with the hashes that stand in ``rivals/*.txt``; one that cannot be had is left out, and it is said.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from vsek.ari import AriError
from vsek.ari import Client as AriClient
from vsek.bench.bench import Bench, Goal
from vsek.bench.machine import busy_s
from vsek.bench.pbx import remove
from vsek.bench.results import Case, Competitor, Report, Run
from vsek.bench.rivals import race
from vsek.bench.workloads.common import goal, times
from vsek.demo.usage import Usage
from vsek.embedded.asterisk import PrivateAsterisk
from vsek.errors import ServiceError

_RIVALS: Final = (Competitor.ASYNCARI, Competitor.ARI_CLIENT, Competitor.AIOARI)
_KEPT: Final = _RIVALS[:2]
"""Those that somebody still works on."""
_SOCKETS: Final = {
    Competitor.VSEK: 2,
    Competitor.ONE_SOCKET: 1,
    Competitor.FOUR_SOCKETS: 4,
    Competitor.HTTP: 0,
}
"""``vsek`` is as the switchboard is set by default."""
_FOLDER: Final = Path(race.__file__).parent
_INSTALL_S: Final = 180.0
_RACE_S: Final = 180.0
_HOLDER: Final = "race-holder"
_NOWHERE: Final = "Local/s@from-trunk"


@dataclass(frozen=True)
class _Course:
    """Where the race is run."""

    server: PrivateAsterisk
    channel: str


class Clients:
    """Commands per second: a cheap GET, a channel's variable set and read, a bridge made and
    destroyed; one at a time, and as many at once as suits each client best."""

    id: Final = "W6"
    title: Final = "ARI clients on one Asterisk: commands a second, and how long one takes"
    unit: Final = "1/s, ms"
    values: Final = ("per_s", "p50", "p99")
    key: Final = "per_s"

    async def run(self, bench: Bench) -> None:
        """All clients in each round."""
        await bench.close()
        cases = {
            name: Case(workload=self.id, name=name, agents=0, queues=0, rate=0.0)
            for kind in race.COMMANDS
            for name in (f"{kind}, singly", f"{kind}, at once")
        }
        bench.report.cases += cases.values()
        running = [*_SOCKETS]
        interpreters = {}
        for rival in _RIVALS:
            try:
                interpreters[rival] = await _installed(rival, bench.folder / f"venv-{rival}")
            except ServiceError as error:
                bench.say(f"{rival} is left out: {error.message}")
            else:
                running.append(rival)
        async with _course(bench) as course:
            for number in range(bench.rounds):
                first = number % len(running)
                for who in (*running[first:], *running[:first]):
                    found = await _raced(bench, course, who, interpreters.get(who), number)
                    for name, case in cases.items():
                        case.runs.append(found[name])
                    best = found["ping, at once"]
                    told = best.trouble or f"{best.values['per_s']:.0f} pings a second at once"
                    bench.say(f"W6 round {number + 1} {who.label}: {told}")

    def goals(self, report: Report) -> list[Goal]:
        """Ten times the best of the others, where commands need not wait for each other."""
        groups = (("asyncari, ari-client", _KEPT), ("aioari (of 2020)", _RIVALS[2:]))
        return [
            goal(
                f"{kind} at once, times the rate of {who}",
                10,
                _least(report.of(self.id), f"{kind}, at once", rivals),
                least=True,
            )
            for who, rivals in groups
            for kind in race.COMMANDS
        ]


def _least(cases: Sequence[Case], name: str, rivals: Sequence[Competitor]) -> float | None:
    """How many times the rate of the best of them ours is, in the case of this name."""
    shares = [times(case, "per_s", who) for case in cases if case.name == name for who in rivals]
    return min((share for share in shares if share is not None), default=None)


async def _installed(rival: Competitor, folder: Path) -> Path:
    """The interpreter of an environment in which ``rival`` is. Raises ``ServiceError``."""
    python = folder / "bin" / "python"
    install = (python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install")
    pinned = ("--require-hashes", "--no-build-isolation", "-r")
    for command in (
        (sys.executable, "-m", "venv", folder),
        # One of them is there as source only: what builds it is pinned as well.
        (*install, *pinned, _FOLDER / "build.txt"),
        (*install, *pinned, _FOLDER / f"{rival}.txt"),
    ):
        process = await asyncio.create_subprocess_exec(
            *map(str, command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(_INSTALL_S):
                said, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise ServiceError(f"not installed within {_INSTALL_S:g} s") from None
        if process.returncode != 0:
            raise ServiceError(" ".join(said.decode(errors="replace").split())[-300:])
    return python


@asynccontextmanager
async def _course(bench: Bench) -> AsyncIterator[_Course]:
    """An Asterisk with one channel."""
    folder = bench.folder / "race"
    await asyncio.to_thread(folder.mkdir)
    server = PrivateAsterisk(folder / "asterisk", log=folder / "asterisk.log")
    try:
        await server.start()
        bench.cores.pin(os.getpid(), bench.cores.load, alone=True)
        bench.cores.pin(server.pid, bench.cores.path)
        async with AriClient(
            server.ari_url, server.ari_username, server.ari_password, app=_HOLDER
        ) as ari:
            info = await ari.http("GET", "asterisk/info")
            bench.report.machine.asterisk = str(info.body["system"]["version"])
            made = await ari.http("POST", "channels/create", {"endpoint": _NOWHERE, "app": _HOLDER})
            if made.status >= 300:
                raise ServiceError(f"Asterisk makes no channel: {made.status} {made.body}")
            channel = str(made.body["id"])
            yield _Course(server, channel)
            await ari.http("DELETE", f"channels/{quote(channel, safe='')}")
    except AriError as error:
        raise ServiceError(f"The race cannot be run: {error}") from error
    finally:
        await server.stop()
        await asyncio.to_thread(remove, folder)


async def _raced(
    bench: Bench, course: _Course, who: Competitor, python: Path | None, number: int
) -> dict[str, Run]:
    """One client once, by the case's name."""
    server = course.server
    plan = race.Plan(
        client="vsek" if python is None else who.value,
        url=server.ari_url,
        user=server.ari_username,
        password=server.ari_password,
        app=f"race{who.value.replace('-', '')}{number}x",
        channel=quote(course.channel, safe=""),
        seconds=0.5 if bench.short else 2.0,
        try_s=0.25 if bench.short else 0.5,
        sockets=_SOCKETS.get(who, 0),
    )
    usage = Usage({"asterisk": server.pid}, {})
    before, busy = resource.getrusage(resource.RUSAGE_CHILDREN), busy_s()
    began = asyncio.get_running_loop().time()
    trouble = ""
    found: dict[str, dict[str, float]] = {}
    try:
        found = await _process(bench, plan, python)
    except ServiceError as error:
        trouble = error.message[:300]
    took_s = asyncio.get_running_loop().time() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    client_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    asterisk_s = usage.cpu_ms(1)["asterisk"] / 1000
    others = (busy_s() - busy - client_s - asterisk_s) / (took_s * (os.cpu_count() or 1))
    return {
        name: Run(
            competitor=who,
            round=number,
            calls=0,
            failed=0,
            values=found.get(name, {}),
            others=round(max(0.0, others), 3),
            trouble=trouble,
        )
        for kind in race.COMMANDS
        for name in (f"{kind}, singly", f"{kind}, at once")
    }


async def _process(
    bench: Bench, plan: race.Plan, python: Path | None
) -> dict[str, dict[str, float]]:
    module = ("-m", "vsek.bench.rivals.ours")
    command = [sys.executable, *module] if python is None else [python, _FOLDER / "race.py"]
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    bench.cores.pin(process.pid, bench.cores.load)
    try:
        async with asyncio.timeout(_RACE_S):
            out, err = await process.communicate(race.as_json(plan))
    except TimeoutError:
        raise ServiceError(f"{plan.client} was not done after {_RACE_S:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise ServiceError(
            f"{plan.client}: {' '.join(err.decode(errors='replace').split())[-250:]}"
        )
    found: dict[str, dict[str, float]] = json.loads(out.splitlines()[-1])
    return found

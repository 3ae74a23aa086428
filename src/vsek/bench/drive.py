"""One run of one competitor: a clean PBX, warm parts, calls, and what was seen of them."""

from __future__ import annotations

import asyncio
import math
import os
from dataclasses import dataclass
from typing import Final

from vsek.bench.house import House, dialled
from vsek.bench.machine import busy_s
from vsek.bench.readings import Timeline, timeline
from vsek.bench.results import Competitor, Run
from vsek.demo.capture import Capture
from vsek.demo.events import eventually
from vsek.demo.usage import Usage
from vsek.errors import ServiceError

_WARM_UP_CALLS: Final = 20
_WARM_UP_RATE: Final = 20.0
_NO_SOUND: Final = range(1, 1)
_PATIENCE_S: Final = 90.0
_KEPT_S: Final = 33.0
"""SIP keeps what it knows of a call for 64 times T1, 32 s (RFC 3261, timer J; RFC 6026, L and M).
Asterisk has up to 0.4 MB to keep of each until then, and something to do when it is over."""
_MAILS_S: Final = 60.0


@dataclass(frozen=True)
class Load:
    """What callers and agents do. Times in seconds; agents talk ``talk_s`` to ``talk_to_s``."""

    queues: int
    """Clients, or queues, whose numbers are called in turn."""
    rate: float
    calls: int
    ring_s: float = 0.1
    talk_s: float = 1.0
    talk_to_s: float = 1.0
    silent: str = ""
    """Agents whose URI matches this never answer."""
    at_once: int = 2000
    """Callers at the same time; the next one comes when one has gone."""
    warm: bool = True
    mails: bool = False
    """Wait for the mail about each call (vsek only), so that its cost is counted."""


@dataclass(frozen=True)
class Seen:
    """What a run showed."""

    times: Timeline
    failed: int
    cpu_ms: dict[str, float]
    others: float
    dropped: int

    def run(
        self, competitor: Competitor, number: int, values: dict[str, float], samples: int
    ) -> Run:
        """As a result."""
        return Run(
            competitor=competitor,
            round=number,
            calls=len(self.times.calls),
            failed=self.failed,
            values=values,
            samples=samples,
            cpu_ms={name: round(value, 3) for name, value in self.cpu_ms.items()},
            others=round(self.others, 3),
            dropped=self.dropped,
        )


class Driver:
    """Places calls in a house."""

    def __init__(self, house: House) -> None:
        self.house = house
        self._callers = 0
        """So many numbers of callers have been used: nobody shall be recognised."""
        self._ended = -math.inf
        """When the latest calls were over."""

    async def forget(self, competitor: Competitor, queues: int) -> None:
        """Turn to ``competitor`` and wait until Asterisk has nothing to do with earlier calls."""
        await self.house.turn_to(competitor, queues)
        left_s = self._ended + _KEPT_S - asyncio.get_running_loop().time()
        await asyncio.sleep(max(0.0, left_s))

    async def run(self, competitor: Competitor, load: Load) -> Seen:
        """Raises ``ServiceError`` when the PBX is not clean before or after it."""
        await self.house.turn_to(competitor, load.queues)
        if load.warm:
            await self._warm_up(competitor, load)
        await self._answer(load.ring_s, load.talk_s, load.talk_to_s, load.silent)
        return await self._measure(competitor, load)

    async def _warm_up(self, competitor: Competitor, load: Load) -> None:
        await self._answer(load.ring_s, 0.1, 0.1, "")
        await self._call(competitor, load.queues, _WARM_UP_CALLS, _WARM_UP_RATE, 2000)
        await self.house.pbx.clean()

    async def _answer(self, ring_s: float, talk_s: float, talk_to_s: float, silent: str) -> None:
        if (before := self.house.crowd.programs.pop("agents", None)) is not None:
            await before.stop()
        await self.house.crowd.answer(
            ring_s=ring_s, talk_s=talk_s, talk_to_s=talk_to_s, silent=silent
        )

    async def _call(
        self, competitor: Competitor, queues: int, calls: int, rate: float, at_once: int
    ) -> None:
        targets = self.house.agents if competitor is Competitor.DIAL else queues
        rows = [
            f"+4940{1_000_000 + self._callers + n};{dialled(competitor, n % targets)}"
            for n in range(calls)
        ]
        self._callers += calls
        program = await self.house.crowd.call(
            "[field1]", rows, rate=rate, patience_s=_PATIENCE_S, speaks=False, at_once=at_once
        )
        await program.wait()

    async def _measure(self, competitor: Competitor, load: Load) -> Seen:
        house = self.house
        file = house.folder / "bench.pcap"
        capture = Capture(file, house.server.sip_port, _NO_SOUND)
        mails = sum(map(len, house.mails.values()))
        capture.start()
        try:
            agents = house.crowd.programs["agents"].pid
            usage = Usage(house.pids(), {"sipp": agents, "harness": os.getpid()})
            busy, began = busy_s(), asyncio.get_running_loop().time()
            await self._call(competitor, load.queues, load.calls, load.rate, load.at_once)
            await house.pbx.clean()
            if load.mails and competitor is Competitor.VSEK:
                await self._mailed(mails + load.calls)
            cpu_ms = usage.cpu_ms(load.calls)
            took_s = asyncio.get_running_loop().time() - began
            busy = busy_s() - busy
        finally:
            self._ended = asyncio.get_running_loop().time()
            await asyncio.to_thread(capture.stop)
        ports = house.crowd.ports
        times = await asyncio.to_thread(timeline, file, ports.callers, ports.agents)
        if not times.calls:
            raise ServiceError(
                f"No call was seen: {house.crowd.errors('callers') or 'nor did SIPp complain'}"
            )
        ours = sum(cpu_ms.values()) * load.calls / 1000
        return Seen(
            times=times,
            failed=load.calls - sum(call.served for call in times.calls),
            cpu_ms=cpu_ms,
            others=max(0.0, busy - ours) / (took_s * (os.cpu_count() or 1)),
            dropped=capture.dropped,
        )

    async def _mailed(self, wanted: int) -> None:
        async def probe() -> bool | None:
            return True if sum(map(len, self.house.mails.values())) >= wanted else None

        await eventually(probe, "a mail for each call", timeout_s=_MAILS_S, every_s=0.2)

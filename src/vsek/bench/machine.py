"""The machine: facts about it, which process runs on which core, and who else takes its time.

Theory of operation. With two cores or more the processes are pinned: on one core Asterisk and the
switchboard, on the other SIPp, the capture, PostgreSQL and the note service. So each competitor has
one whole core for everything that happens between a caller's INVITE and an agent's: a Python
program that needs processor time takes it from the Asterisk that it is compared on. What is not in
this path (records, notes, mail) shares its core with the load, and is shown by itself.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Final

from vsek.bench.results import Machine
from vsek.demo.tools import sipp
from vsek.errors import ServiceError

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PASSES: Final = 2
"""A thread that is started while we look is found the second time."""


class Cores:
    """Where processes run."""

    def __init__(self, *, pin: bool) -> None:
        mine = sorted(os.sched_getaffinity(0))
        self._all = set(mine)
        self.pinned = pin and len(mine) > 1
        self.load = {mine[0]} if self.pinned else self._all
        """For what makes the load, and what no caller waits for."""
        self.path = {mine[1]} if self.pinned else self._all
        """For Asterisk and the switchboard."""

    def pin(self, pid: int, cores: set[int], *, alone: bool = False) -> None:
        """Have a process and its threads run on ``cores``, and its children unless ``alone``."""
        if self.pinned:
            for _ in range(_PASSES):
                for each in [pid] if alone else [pid, *_descendants(pid)]:
                    _pin_threads(each, cores)

    def release(self) -> None:
        """This process may run everywhere again."""
        if self.pinned:
            _pin_threads(os.getpid(), self._all)


def _pin_threads(pid: int, cores: set[int]) -> None:
    with contextlib.suppress(OSError):  # it has ended
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), cores)


def _descendants(pid: int) -> Iterable[int]:
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield int(child)
                yield from _descendants(int(child))


def busy_s() -> float:
    """Processor seconds that the whole machine has worked since it started, all cores together."""
    with Path("/proc/stat").open() as file:
        user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / _TICKS


def _first(pattern: str, file: str) -> str:
    try:
        found = re.search(pattern, Path(file).read_text(), re.MULTILINE)
    except OSError:
        return ""
    return found[1].strip() if found else ""


def _sipp_version() -> str:
    try:
        said = subprocess.run(
            [*map(str, sipp()), "-v"], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired, ServiceError):
        return ""
    found = re.search(r"SIPp (v?[\w.]+)", said.stdout + said.stderr)
    return found[1] if found else ""


def facts(*, asterisk: str, pinned: bool) -> Machine:
    """What one has to know about this machine to judge the figures."""
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        processor=_first(r"^model name\s*:\s*(.+)$", "/proc/cpuinfo") or platform.machine(),
        memory_gb=round(int(_first(r"^MemTotal:\s+(\d+)", "/proc/meminfo") or 0) / 1e6, 1),
        kernel=platform.release(),
        python=platform.python_version(),
        asterisk=asterisk,
        sipp=_sipp_version(),
        vsek=version("vsek"),
        pinned=pinned,
        load_before=round(os.getloadavg()[0], 2),
    )

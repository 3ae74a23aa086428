"""What running processes take of the machine, from ``/proc``."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Usage:
    """Processor seconds and memory of the stack's processes, and of all that make the load."""

    def __init__(self, pids: dict[str, int], peers: dict[str, int]) -> None:
        self._pids = pids | peers
        self.peak_mb = 0.0
        self.start_mb = self.memory_mb("serve") if "serve" in pids else 0.0
        self._before = {name: self.seconds(name) for name in self._pids}

    def seconds(self, name: str) -> float:
        """Of a process and its children (PostgreSQL's), living and dead."""
        pid = self._pids[name]
        total = sum(_ticks(pid, with_dead_children=name == "postgres"))
        if name == "postgres":
            total += sum(sum(_ticks(child)) for child in _children(pid))
        return total / _TICKS

    def memory_mb(self, name: str) -> float:
        """Resident memory now."""
        text = Path(f"/proc/{self._pids[name]}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", text)
        return int(found[1]) / 1024 if found else 0.0

    def look(self) -> None:
        """Take note of the switchboard's memory."""
        self.peak_mb = max(self.peak_mb, self.memory_mb("serve"))

    def cpu_ms(self, calls: int) -> dict[str, float]:
        """Milliseconds a call since the beginning."""
        return {
            name: (self.seconds(name) - before) * 1000 / calls
            for name, before in self._before.items()
        }


def _ticks(pid: int, *, with_dead_children: bool = False) -> tuple[int, ...]:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return (0,)
    return tuple(int(fields[i]) for i in ((11, 12, 13, 14) if with_dead_children else (11, 12)))


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]

"""The workloads, by name. A new one is a module with a class that has what
:class:`vsek.bench.bench.Workload` says, and a line here."""

from __future__ import annotations

from typing import Final

from vsek.bench.bench import Workload
from vsek.bench.workloads.burst import Burst
from vsek.bench.workloads.capacity import Capacity
from vsek.bench.workloads.client import Clients
from vsek.bench.workloads.cost import Cost
from vsek.bench.workloads.handover import Handover, NoAnswer
from vsek.bench.workloads.lag import Lag
from vsek.bench.workloads.offer import Offer
from vsek.bench.workloads.soak import Soak
from vsek.errors import InputError

ALL: Final[dict[str, Workload]] = {
    workload.id: workload
    for workload in (
        Offer(),
        Handover(),
        NoAnswer(),
        Capacity(),
        Cost(),
        Clients(),
        Burst(),
        Soak(),
        Lag(),
    )
}


def chosen(names: list[str]) -> list[Workload]:
    """The workloads of these names, in their usual order; all of them if none is named.

    Raises ``InputError`` for a name that is none.
    """
    wanted = {name.upper() for name in names}
    if unknown := sorted(wanted - set(ALL)):
        raise InputError(
            f"There is no workload {unknown[0]}",
            field="WORKLOAD",
            value=unknown[0],
            remedy=f"Choose from {', '.join(ALL)}; vsek bench --list describes them",
        )
    return [workload for name, workload in ALL.items() if not wanted or name in wanted]

"""What is measured of the simulated calls.

A caller who hangs up within ``SHORT_S`` has hardly waited: such a call counts neither as offered
nor as given up where shares are worked out (service level, abandons), but its wait is among the
waiting times. Waiting times are those of all callers, from the arrival to the answer or to the
hang-up, ringing included.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Self

from vsek.domain.ids import AgentId, ClientId
from vsek.sim.load import Caller

SHORT_S = 5.0
SLOT_S = 1800.0


class Figures:
    """The calls of one client, one group, or all."""

    __slots__ = ("abandoned", "answered", "diverted", "in_time", "short", "waited", "waits")

    def __init__(self) -> None:
        self.waits = array("f")
        """Seconds, one for each call."""
        self.answered = 0
        self.in_time = 0
        """Answered within the time of the service level."""
        self.abandoned = 0
        """Callers who gave up, the short ones included."""
        self.short = 0
        """Callers who gave up within ``SHORT_S``."""
        self.diverted = 0
        """Callers who got something else: a callback, voicemail, a number elsewhere."""
        self.waited = 0
        """Calls that no agent was free for at once."""

    def add(self, wait_s: float, *, answered: bool, diverted: bool, within_s: float) -> None:
        """One call is over as far as waiting is concerned."""
        self.waits.append(wait_s)
        if answered:
            self.answered += 1
            self.in_time += wait_s <= within_s
        elif diverted:
            self.diverted += 1
        else:
            self.abandoned += 1
            self.short += wait_s <= SHORT_S

    @property
    def calls(self) -> int:
        """All of them."""
        return len(self.waits)

    @property
    def mean_s(self) -> float:
        """Mean wait; 0 without calls."""
        return sum(self.waits) / len(self.waits) if self.waits else 0.0

    def percentiles_s(self, shares: Iterable[float]) -> list[float]:
        """The waits that these shares of the calls did not exceed; 0 without calls."""
        waits = sorted(self.waits)
        if not waits:
            return [0.0 for _ in shares]
        return [waits[min(len(waits) - 1, int(share * len(waits)))] for share in shares]

    @property
    def service_level(self) -> float:
        """Share answered in time, of all but the short ones; 1 without calls."""
        offered = self.calls - self.short
        return self.in_time / offered if offered else 1.0

    @property
    def abandon_share(self) -> float:
        """Share of the callers who gave up, without the short ones on either side."""
        offered = self.calls - self.short
        return (self.abandoned - self.short) / offered if offered else 0.0

    def __iadd__(self, other: Figures) -> Self:
        self.waits.extend(other.waits)
        for name in ("abandoned", "answered", "diverted", "in_time", "short", "waited"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self


class Tally:
    """What became of the calls of one run."""

    def __init__(self, within_s: float = 20.0) -> None:
        self.within_s = within_s
        self.by_client: dict[ClientId, Figures] = {}
        self.present_s: dict[AgentId, float] = {}
        """Time that each agent was signed in and not paused, up to the last first call."""
        self.busy_s: dict[AgentId, float] = {}
        """Of that time, what each agent spent with calls: ringing, talk and wrap-up."""
        self.slots: dict[int, Slot] = {}
        """By the number of the ``SLOT_S`` in which a call arrived, from the start."""
        self.offers = 0
        self.reach = Reach()

    def over(
        self, caller: Caller, now: float, since: float, *, diverted: bool, within_s: float | None
    ) -> None:
        """A call is answered, or its caller is gone; ``since`` the start so many seconds had gone
        by at its arrival. ``within_s``: how long the call might be kept for the agent who knows
        the matter; ``None`` if that agent was not signed in."""
        if caller.quiet:
            return
        figures = self.by_client.get(caller.client_id)
        if figures is None:
            figures = self.by_client[caller.client_id] = Figures()
        wait_s = now - caller.arrival
        answered = caller.answered_at is not None
        figures.add(wait_s, answered=answered, diverted=diverted, within_s=self.within_s)
        if within_s is not None:
            self.reach.add(caller, wait_s, within_s)
        slot = self.slots.setdefault(int(since / SLOT_S), Slot())
        slot.calls += 1
        slot.waits_s += wait_s
        slot.abandoned += not answered and not diverted and wait_s > SHORT_S

    def total(self) -> Figures:
        """All calls."""
        return self.sum_of(self.by_client)

    def sum_of(self, clients: Iterable[ClientId]) -> Figures:
        """The calls of these clients."""
        result = Figures()
        for client_id in clients:
            if client_id in self.by_client:
                result += self.by_client[client_id]
        return result

    @property
    def mean_present_s(self) -> float:
        """How long an agent was there on average."""
        return sum(self.present_s.values()) / len(self.present_s) if self.present_s else 0.0

    @property
    def occupancy(self) -> float:
        """Share of their time that agents spent with calls."""
        present_s = sum(self.present_s.values())
        return sum(self.busy_s.values()) / present_s if present_s else 0.0

    def occupancies(self) -> list[float]:
        """That share of each agent who was there, the busiest first."""
        shares = [self.busy_s.get(one, 0.0) / s for one, s in self.present_s.items() if s]
        return sorted(shares, reverse=True)


class Slot:
    """Calls that arrived in one part of the day."""

    __slots__ = ("abandoned", "calls", "waits_s")

    def __init__(self) -> None:
        self.calls = 0
        self.waits_s = 0.0
        self.abandoned = 0


class Reach:
    """Callers who called again and were recognised, while the agent who knows them was signed in.

    *Attainable* is who could have been with that agent if the agent had been reserved at the moment
    of the call: the agent is idle or comes free (talk, wrap-up and parking over) within the time
    that the call may be kept, does not refuse or miss it, and the caller's patience lasts until the
    answer. That several callers may want the same agent at once is left out of it, and so is luck
    (an agent who happens to come free later, while the call still waits): the first makes the bound
    higher than anybody can reach, the second can make up for it.
    """

    __slots__ = ("attainable", "callers", "reached", "reached_attainable", "waits_s")

    def __init__(self) -> None:
        self.callers = 0
        self.attainable = 0
        self.reached = 0
        self.reached_attainable = 0
        """Reached by those who were in ``attainable``."""
        self.waits_s = 0.0

    def add(self, caller: Caller, wait_s: float, within_s: float) -> None:
        """One such call is answered, or its caller has given up."""
        self.callers += 1
        self.waits_s += wait_s
        reached = caller.answered_at is not None and caller.agent_id == caller.known
        assert caller.reach_s is not None  # the agent is signed in
        in_time = caller.reach_s <= within_s
        attainable = in_time and caller.reach_s + caller.reach_takes_s <= caller.patience_s
        self.attainable += attainable
        self.reached += reached
        self.reached_attainable += reached and attainable

    @property
    def share(self) -> float:
        """Share of the callers who reached the agent."""
        return self.reached / self.callers if self.callers else 0.0

    @property
    def best(self) -> float:
        """Share for whom it was attainable."""
        return self.attainable / self.callers if self.callers else 0.0

    @property
    def strict(self) -> float:
        """Share of those for whom it was attainable who reached the agent."""
        return self.reached_attainable / self.attainable if self.attainable else 0.0

    @property
    def mean_wait_s(self) -> float:
        """Mean wait of these callers."""
        return self.waits_s / self.callers if self.callers else 0.0

"""Erlang-A: what one queue with patience would give if all agents could take all calls.

M/M/n+M: Poisson arrivals, exponential service, ``n`` agents, exponential patience, first come first
served. The number of calls in the system is a birth-and-death process, so everything follows
exactly from its steady state (Palm 1957; Mandelbaum and Zeltyn, "The Palm/Erlang-A Queue, with
Applications to Call Centers", 2005, which the tests take their figures from).
"""

from __future__ import annotations

from typing import NamedTuple

_NEGLIGIBLE = 1e-16
"""States after one so unlikely (against the likeliest) are left out."""


class ErlangA(NamedTuple):
    """Steady state of one queue. Waits are in the unit of the rates that went in."""

    wait: float
    """Mean wait of all calls, also of those whose caller gave up."""
    waits: float
    """Probability that a call has to wait."""
    abandons: float
    """Probability that a caller gives up."""
    queue: float
    """Mean number of waiting calls."""
    occupancy: float
    """Share of their time that agents spend serving."""


def erlang_a(arrivals: float, service: float, patience: float, agents: int) -> ErlangA:
    """Steady state for ``arrivals`` per unit of time, mean ``service`` time, mean ``patience`` and
    this many ``agents``. ``patience`` may be ``math.inf`` (Erlang-C), if the agents are enough;
    raises ``ValueError`` if they are not, as the queue then grows without end."""
    load = arrivals * service
    leaving = 1.0 / patience
    if not leaving and load >= agents:
        raise ValueError("Nobody gives up and there is more work than agents: no steady state")
    # Relative to the state in which all agents are busy and nobody waits, so that nothing
    # overflows, however many agents there are.
    below = 0.0
    busy_below = 0.0
    weight = 1.0
    for state in range(agents - 1, -1, -1):
        weight *= (state + 1) / load
        below += weight
        busy_below += state * weight
        if weight < _NEGLIGIBLE * below:
            break
    above, queue, weight, waiting = 1.0, 0.0, 1.0, 0
    while weight > _NEGLIGIBLE * above:
        waiting += 1
        weight *= arrivals / (agents / service + waiting * leaving)
        above += weight
        queue += waiting * weight
    total = below + above
    length = queue / total
    return ErlangA(
        wait=length / arrivals,
        waits=above / total,
        abandons=length * leaving / arrivals,
        queue=length,
        occupancy=(busy_below + agents * above) / total / agents,
    )


def floor(
    arrivals: float, service: float, patience: float, agents: int, share: float
) -> tuple[float, float]:
    """What nobody can undercut if each agent may take only ``share`` of the calls, and each call
    only ``share`` of the agents: probability that a call has to wait, and mean wait of all calls.

    With k agents idle at most ``share * k`` of the calls find one of them; another waits at least
    for the first of its own agents, unless its caller gives up before. The numbers of idle agents
    are those of one pool.
    """
    load = arrivals * service
    weight = weights = 1.0
    found = 0.0
    for idle in range(1, agents + 1):
        weight *= (agents - idle + 1) / load
        weights += weight
        found += min(1.0, share * idle) * weight
    all_busy = erlang_a(arrivals, service, patience, agents).waits
    # ``all_busy`` has the states with a queue as well; ``weights`` begins with one state of it.
    below = (1.0 - all_busy) / (weights - 1.0)
    waits = 1.0 - found * below
    first_of_own = share * agents / service + 1.0 / patience
    return waits, waits / first_of_own

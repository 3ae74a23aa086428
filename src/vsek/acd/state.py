"""State of the distribution: agents, the calls that wait or talk, the queues.

Everything that cannot be worked out anew is a field of :class:`Acd` and goes into a snapshot
(``msgspec.msgpack``). Queues and indexes are derived; :meth:`Acd.rebuild` restores them, also right
after decoding. Agents and calls carry *ranks* from one counter: who got ready earlier, which of two
calls with the same arrival came first. Ranks, not clock times, order the agents, so that a clock
that is set back changes nothing.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from vsek.acd.ordering import PriorityQueue
from vsek.domain.ids import AgentId, CallId, ClientId, OfferId


class AgentState(StrEnum):
    """What an agent is doing. Only a READY agent is offered a call."""

    LOGGED_OUT = "logged_out"
    READY = "ready"
    OFFERED = "offered"
    TALKING = "talking"
    WRAP_UP = "wrap_up"
    PAUSED = "paused"
    PARKED = "parked"
    """Did not take an offer; gets none for a while."""


class CallState(StrEnum):
    """What a call is doing. It keeps its place in the queue until an agent answers."""

    WAITING = "waiting"
    OFFERED = "offered"
    TALKING = "talking"


class Rules(msgspec.Struct, frozen=True):
    """Times of the distribution, in seconds."""

    ring_timeout_s: float = 20.0
    rona_park_s: float = 60.0
    """How long an agent gets no call who did not answer or could not be reached."""
    refusal_park_s: float = 10.0
    """How long an agent gets no call who refused."""


class Timer(msgspec.Struct, frozen=True):
    """A timer that runs. ``deadline`` is in Unix seconds."""

    name: str
    generation: int
    deadline: float


class Agent(msgspec.Struct):
    """One agent. ``since`` (Unix seconds) and ``reason`` belong to ``state``."""

    agent_id: AgentId
    since: float
    reason: str
    state: AgentState = AgentState.LOGGED_OUT
    reachable: bool = False
    leaving: bool = False
    """Removed while talking: disappears after the call."""
    pause_wanted: str | None = None
    """Reason of a pause that takes effect after the wrap-up."""
    idle_rank: int = 0
    """Who has the smallest has been idle longest."""
    call_id: CallId | None = None
    """The call offered, talked with, or wrapped up."""
    offer_id: OfferId | None = None
    """The offer that rings (OFFERED) or was accepted (TALKING)."""
    wrap_up_s: float = 0.0
    """Wrap-up that follows on the call talked with."""
    timer: Timer | None = None


class QueuedCall(msgspec.Struct):
    """One call, from being queued until its agent is released."""

    call_id: CallId
    client_id: ClientId
    arrival: float
    rank: int
    wrap_up_s: float
    state: CallState = CallState.WAITING
    offers: int = 0
    """How many offers were made for it."""
    agent_id: AgentId | None = None


class ClientQueue:
    """The calls of one client that wait and are not being offered. Derived."""

    __slots__ = ("client_id", "waiting")

    def __init__(self, client_id: ClientId) -> None:
        self.client_id = client_id
        self.waiting: PriorityQueue[tuple[float, int], CallId] = PriorityQueue()


class Acd(msgspec.Struct, dict=True):
    """The whole distribution. Changed by :func:`vsek.acd.decide` alone."""

    rules: Rules = Rules()
    agents: dict[AgentId, Agent] = {}
    calls: dict[CallId, QueuedCall] = {}
    last_rank: int = 0
    last_generation: int = 0

    def __post_init__(self) -> None:
        """Runs after construction and after decoding."""
        self.rebuild()

    def rebuild(self) -> None:
        """Make the derived indexes anew."""
        self.ready: PriorityQueue[int, AgentId] = PriorityQueue()
        self.offers: dict[OfferId, AgentId] = {}
        self.queues: dict[ClientId, ClientQueue] = {}
        self.heads: PriorityQueue[tuple[float, int], ClientId] = PriorityQueue()
        for agent in self.agents.values():
            self.index_agent(agent)
        for call in self.calls.values():
            self.index_call(call)

    def timers(self) -> list[Timer]:
        """All timers that run, to be armed again after a restart."""
        return [agent.timer for agent in self.agents.values() if agent.timer is not None]

    def place(self, call_id: CallId) -> int | None:
        """How many waiting or offered calls stand before this one, or ``None`` if it does not
        wait. Takes time proportional to the number of calls; for reports only."""
        call = self.calls.get(call_id)
        if call is None or call.state is CallState.TALKING:
            return None
        mine = (call.arrival, call.rank)
        return sum(
            other.state is not CallState.TALKING and (other.arrival, other.rank) < mine
            for other in self.calls.values()
        )

    def index_agent(self, agent: Agent) -> None:
        """Bring the indexes in line with ``agent``'s state (after it was entered)."""
        if agent.state is AgentState.READY:
            self.ready.put(agent.agent_id, agent.idle_rank)
        else:
            self.ready.discard(agent.agent_id)
        if agent.state is AgentState.OFFERED and agent.offer_id is not None:
            self.offers[agent.offer_id] = agent.agent_id

    def index_call(self, call: QueuedCall) -> None:
        """Bring the indexes in line with ``call``'s state."""
        queue = self.queues.get(call.client_id)
        if queue is None:
            if call.state is not CallState.WAITING:
                return
            queue = self.queues[call.client_id] = ClientQueue(call.client_id)
        if call.state is CallState.WAITING:
            queue.waiting.put(call.call_id, (call.arrival, call.rank))
        else:
            queue.waiting.discard(call.call_id)
        self._index_head(queue)

    def unindex_call(self, call: QueuedCall) -> None:
        """The call leaves the distribution."""
        queue = self.queues.get(call.client_id)
        if queue is not None:
            queue.waiting.discard(call.call_id)
            self._index_head(queue)

    def _index_head(self, queue: ClientQueue) -> None:
        head = queue.waiting.first()
        if head is None:
            self.heads.discard(queue.client_id)
            del self.queues[queue.client_id]
        else:
            self.heads.put(queue.client_id, head[0])

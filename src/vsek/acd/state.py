"""State of the distribution: agents, and the calls that wait or talk.

Everything that cannot be worked out anew is a field of :class:`Acd` and goes into a snapshot
(``msgspec.msgpack``). Indexes and counts are derived; :meth:`Acd.rebuild` restores them, also right
after decoding. Agents and calls carry *ranks* from one counter: who got ready earlier, which of two
calls with the same arrival came first. Ranks, not clock times, order the agents, so that a clock
that is set back changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import msgspec

from vsek.acd.entitlement import Who
from vsek.acd.expected import Line, Outlook, line_of
from vsek.acd.index import Index, Key, Need, Profile
from vsek.acd.rules import Order, Rules
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
    """Wrap-up that follows on the call talked with; below 0: until the agent is done."""
    timer: Timer | None = None
    away_since: float | None = None
    """Since when LOGGED_OUT or PAUSED without a break, ``None`` for somebody who is there."""
    calls: int = 0
    """Calls taken in this shift."""
    talked_s: float = 0.0
    """Time spent talking in this shift, seconds."""
    met: set[ClientId] = set()
    """Clients of groups where the agent is learning, whose calls they have taken."""
    new_clients: dict[str, int] = {}
    """Group → clients met in this shift for the first time."""

    @property
    def present(self) -> bool:
        """Whether the agent is signed in and not paused."""
        return self.state not in AWAY

    @property
    def returns(self) -> bool:
        """Whether the agent, who is busy now, is likely to be ready again soon."""
        wanted = self.reachable and not self.leaving and self.pause_wanted is None
        return wanted and self.state in _BUSY


class QueuedCall(msgspec.Struct):
    """One call, from being queued until its agent is released."""

    call_id: CallId
    client_id: ClientId
    arrival: float
    """Gives the place; earlier than ``queued_at`` for one who calls again, or is queued again."""
    rank: int
    queued_at: float
    wrap_up_s: float
    group: str
    state: CallState = CallState.WAITING
    offers: int = 0
    """How many offers were made for it."""
    agent_id: AgentId | None = None
    caller: str = ""
    vip: bool = False
    known: tuple[AgentId, ...] = ()
    hold_until: float = 0.0
    """Until when (Unix seconds) it may be kept for one of ``known``; 0: not (any more)."""
    circles: int = 0
    """How many circles are open."""
    held: bool = False
    """Is kept for one of ``known``."""
    waited: bool = False
    """No agent was free at once."""
    expected_s: float | None = None
    """The wait that was expected when it was queued."""
    line: Line | None = None
    """What stood before it then; ``None`` if its wait is not to be learnt from."""
    treated: dict[int, float] = {}
    """Number of a treatment → when it was last taken (Unix seconds)."""
    timer: Timer | None = None

    @property
    def key(self) -> Key:
        """The place among calls that are alike."""
        return self.arrival, self.rank


AWAY = (AgentState.LOGGED_OUT, AgentState.PAUSED)
_BUSY = (AgentState.OFFERED, AgentState.TALKING, AgentState.WRAP_UP)


class Acd(msgspec.Struct, dict=True):
    """The whole distribution. Changed by :func:`vsek.acd.take` and :func:`vsek.acd.match` alone."""

    rules: Rules = Rules()
    agents: dict[AgentId, Agent] = {}
    calls: dict[CallId, QueuedCall] = {}
    last_rank: int = 0
    last_generation: int = 0
    last_decision: int = 0
    recent: dict[str, tuple[float, float]] = {}
    """Client and caller of a call that ended unserved → the arrival that it counts from, and until
    when (Unix seconds) somebody who calls again has its place. In the order of the ends."""
    halted: bool = False
    """No telephone can be made to ring."""
    outlook: Outlook = msgspec.field(default_factory=Outlook)
    """How long one waits."""

    def __post_init__(self) -> None:
        """Runs after construction and after decoding."""
        self.observer: Observer | None = None
        self.rebuild()

    def rebuild(self) -> None:
        """Make the derived indexes anew, after the rules changed or a snapshot was read."""
        self.index = Index(self.rules)
        self.offers: dict[OfferId, AgentId] = {}
        self.profiles: dict[AgentId, Profile] = {}
        self.counts: dict[AgentState, int] = dict.fromkeys(AgentState, 0)
        self.unmatched_agents: dict[AgentId, None] = {}
        self.unmatched_calls: dict[CallId, None] = {}
        for agent in self.agents.values():
            self.counts[agent.state] += 1
            self.assign_profile(agent)
            if agent.state is AgentState.READY:
                self.index_ready(agent)
            if agent.state is AgentState.OFFERED and agent.offer_id is not None:
                self.offers[agent.offer_id] = agent.agent_id
        for call in self.calls.values():
            if call.state is CallState.WAITING:
                self.await_agent(call)
                self.index_call(call)

    def timers(self) -> list[Timer]:
        """All timers that run, to be armed again after a restart."""
        owners: list[Agent | QueuedCall] = [*self.agents.values(), *self.calls.values()]
        return [owner.timer for owner in owners if owner.timer is not None]

    def place(self, call_id: CallId) -> int | None:
        """How many waiting or offered calls of the same group stand before this one, or ``None``
        if it does not wait. Takes time proportional to the number of calls; for reports only."""
        call = self.calls.get(call_id)
        if call is None or call.state is CallState.TALKING:
            return None
        return sum(
            other.state is not CallState.TALKING
            and other.group == call.group
            and other.key < call.key
            for other in self.calls.values()
        )

    # Agents

    def assign_profile(self, agent: Agent) -> Profile:
        """Find the agent's profile anew; they must not be indexed as ready."""
        rules, index = self.rules.agent(agent.agent_id), self.index
        full = frozenset(
            group
            for group, met in agent.new_clients.items()
            if met >= self.rules.group(group).new_clients
        )
        profile = index.profile(Who(rules, full))
        old = self.profiles.get(agent.agent_id)
        if old is not None:
            old.present -= agent.present
            self.forget_graduate(agent)
        if full:
            for client_id in agent.met:
                index.graduates.setdefault(client_id, {})[agent.agent_id] = None
        profile.present += agent.present
        self.profiles[agent.agent_id] = profile
        return profile

    def forget_graduate(self, agent: Agent) -> None:
        """The agent leaves, or has not had enough new clients any more."""
        if self.profiles[agent.agent_id].who.full:
            graduates = self.index.graduates
            for client_id in agent.met & graduates.keys():
                graduates[client_id].pop(agent.agent_id, None)
                if not graduates[client_id]:
                    del graduates[client_id]

    def index_ready(self, agent: Agent) -> None:
        """The agent is ready."""
        keys = [self._order_key(order, agent) for order in self.index.orders]
        self.index.set_ready(agent.agent_id, self.profiles[agent.agent_id], keys)

    def _order_key(self, order: Order, agent: Agent) -> Key:
        match order:
            case Order.LONGEST_IDLE:
                return 0.0, agent.idle_rank
            case Order.LEAST_CALLS:
                return float(agent.calls), agent.idle_rank
            case Order.LEAST_TALK:
                return agent.talked_s, agent.idle_rank
            case _:  # FIXED
                return float(self.rules.agent(agent.agent_id).position), agent.idle_rank

    # Calls

    def need(self, call: QueuedCall) -> Need:
        """What the call asks of its agent now."""
        return self.index.need(call.client_id, call.group, call.circles)

    def full_need(self, call: QueuedCall) -> Need:
        """What it will ask when all circles are open."""
        circles = len(self.rules.group(call.group).circles)
        return self.index.need(call.client_id, call.group, circles)

    def scale_s(self, call: QueuedCall) -> float:
        """What its waiting time is divided by."""
        client = self.rules.client(call.client_id)
        return (client.vip_target if call.vip else client.target).scale_s

    def line(self, own: int, others: int) -> Line:
        """What stands before a call, with so many calls of its group (itself included) and of
        other groups."""
        counts = self.counts
        away = counts[AgentState.LOGGED_OUT] + counts[AgentState.PAUSED]
        return line_of(own, others, len(self.agents) - away)

    @property
    def waiting(self) -> int:
        """How many calls wait, those that are offered to an agent not among them."""
        counts = self.counts
        return len(self.calls) - counts[AgentState.OFFERED] - counts[AgentState.TALKING]

    def await_agent(self, call: QueuedCall) -> None:
        """The call is among those that wait, whether in a lane or not."""
        index = self.index
        index.by_group[call.group] = index.by_group.get(call.group, 0) + 1
        for agent_id in call.known:
            index.known.setdefault(agent_id, {})[call.call_id] = None

    def index_call(self, call: QueuedCall) -> None:
        """Put the call into its lane, unless it is held."""
        if not call.held and call.call_id not in self.index:
            scale_s, need = self.scale_s(call), self.need(call)
            self.index.enter(call.call_id, call.client_id, scale_s, call.key, need)

    def unindex_call(self, call: QueuedCall) -> None:
        """Take the call out of its lane."""
        self.index.leave(call.call_id, call.client_id)

    def leave_wait(self, call: QueuedCall) -> None:
        """The call waits no longer."""
        index = self.index
        self.unindex_call(call)
        self.unmatched_calls.pop(call.call_id, None)
        index.by_group[call.group] -= 1
        if not index.by_group[call.group]:
            del index.by_group[call.group]
        for agent_id in call.known:
            calls = index.known[agent_id]
            calls.pop(call.call_id, None)
            if not calls:
                del index.known[agent_id]


Observer = Callable[[Acd, QueuedCall, Agent], None]
"""Told of each choice, just before it is carried out."""

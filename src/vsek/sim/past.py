"""What happened in a house on a past day, as far as it can be told from its journal.

A :class:`Recorder` stands beside a playback of the journal (``vsek.switchboard.history``) and notes
what is needed to run the day again under other rules (:mod:`vsek.sim.replay`): who called whom,
when, and for how long they were ready to wait; what each agent did with the calls they were
offered; how long talks and wrap-ups took; when agents were there.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from vsek.acd import events as acd_events
from vsek.acd.effects import AgentChanged
from vsek.acd.rules import Rules
from vsek.acd.state import Agent, AgentState, QueuedCall
from vsek.call import events as call_events
from vsek.call.model import State
from vsek.domain.ids import AgentId, CallId, ClientId
from vsek.domain.outcomes import Outcome
from vsek.domain.records import CallClosed, CallOpened, CallStep

BUSY = (AgentState.OFFERED, AgentState.TALKING, AgentState.WRAP_UP, AgentState.PARKED)


class PastCall(msgspec.Struct):
    """One call that waited for an agent. Times are Unix seconds."""

    call_id: CallId
    client_id: ClientId
    arrival: float
    """When it came in; a place inherited from an earlier call is not in it."""
    queued_at: float
    """When it began to wait for an agent: later than ``arrival`` by greeting and screening."""
    wrap_up_s: float
    """The wrap-up that was allowed; below 0: without end."""
    caller: str
    vip: bool
    known: tuple[AgentId, ...]
    sure: bool
    answered_at: float | None = None
    agent_id: AgentId | None = None
    released_at: float | None = None
    """When the talk was over."""
    cut: bool = False
    """The talk was cut off by a fault."""
    left_at: float | None = None
    """When it was over without an agent."""
    served: bool = False
    """Who left had got something else: a callback, voicemail, a number elsewhere."""
    wrapped_s: float | None = None
    """How long the wrap-up really took."""

    @property
    def waited_s(self) -> float | None:
        """From the beginning of the wait to the agent's answer, or to its end without one;
        ``None``: it had not come to that when the journal ended."""
        end = self.answered_at if self.answered_at is not None else self.left_at
        return None if end is None else max(0.0, end - self.queued_at)

    @property
    def talk_s(self) -> float | None:
        """How long caller and agent talked."""
        if self.answered_at is None or self.released_at is None:
            return None
        return max(0.0, self.released_at - self.answered_at)


class Reaction(msgspec.Struct, frozen=True):
    """What an agent did with one offer."""

    after_s: float
    failure: acd_events.OfferFailure | None
    """``None``: picked up."""
    rang_out: bool = False
    """Did nothing; ``after_s`` is then the time that it rang."""


AgentEvent = (
    acd_events.AgentAdded
    | acd_events.AgentRemoved
    | acd_events.AgentReachable
    | acd_events.AgentReadied
    | acd_events.AgentPaused
)


class Past(msgspec.Struct):
    """One stretch of time in a house. ``since`` and ``until`` are Unix seconds."""

    since: float
    until: float
    calls: list[PastCall] = []
    """In the order in which they began to wait."""
    agents: list[Agent] = []
    """Who was there at the beginning, in the state of then."""
    freed: dict[AgentId, float] = {}
    """Who was busy at the beginning → when that was over."""
    events: list[tuple[float, AgentEvent]] = []
    """Who came, went, or had a pause."""
    rules: list[tuple[float, Rules]] = []
    """The rules of the beginning, then each that took their place."""
    reactions: dict[AgentId, list[Reaction]] = {}
    """What each agent did with their offers, in order; without those that were taken back."""
    recent: dict[str, tuple[float, float]] = {}
    last_rank: int = 0
    waiting_before: int = 0
    """Calls that waited already at the beginning: they are left out."""
    open: int = 0
    """Calls whose wait or talk was not over when the journal ended."""


class Recorder:
    """Notes what happens from ``since`` on: the calls that begin to wait before ``until``, and what
    becomes of them. Feed it every entry: :meth:`before`, the decision, :meth:`after`."""

    def __init__(self, since: float, until: float) -> None:
        self.past = Past(since, until)
        self._open: dict[CallId, CallOpened] = {}
        self._calls: dict[CallId, PastCall] = {}
        self._left: set[CallId] = set()
        """Calls of ours that are not closed."""
        self._offered: dict[CallId, tuple[AgentId, float]] = {}
        self._wrapping: dict[AgentId, tuple[CallId, float]] = {}
        self._begun = False

    @property
    def done(self) -> bool:
        """Whether ``until`` has passed and every call that counts is over."""
        return self._begun and self._past_end and not self._left

    _past_end = False

    def begin(self, state: State) -> None:
        """The state before the first entry that counts."""
        acd, past = state.acd, self.past
        self._begun = True
        past.agents = [_copy(agent) for agent in acd.agents.values()]
        past.rules = [(past.since, acd.rules)]
        past.recent = dict(acd.recent)
        past.last_rank = acd.last_rank
        past.waiting_before = sum(call.agent_id is None for call in acd.calls.values())

    def before(self, state: State, event: call_events.Event, at: float) -> None:
        """An entry is about to be decided."""
        if not self._begun:
            self.begin(state)
        self._past_end = at >= self.past.until
        if not isinstance(
            event,
            acd_events.AgentReachable | acd_events.AgentReadied | acd_events.AgentPaused,
        ):
            return
        agent = state.acd.agents.get(event.agent_id)
        if agent is None:
            return
        # Who ends a wrap-up early does so for that call: it is in the length of the wrap-up.
        early = isinstance(event, acd_events.AgentReadied) and agent.state is AgentState.WRAP_UP
        if not early or agent.pause_wanted is not None:
            self.past.events.append((at, event))

    def after(
        self, state: State, event: call_events.Event, at: float, effects: Iterable[object]
    ) -> None:
        """It was decided."""
        for effect in effects:
            match effect:
                case CallOpened():
                    self._open[effect.call_id] = effect
                case AgentChanged():
                    self._agent_changed(effect, at)
                case CallStep():
                    self._step(effect)
                case CallClosed():
                    self._closed(effect)
        for call_id in [one for one in self._open if one in state.acd.calls]:
            self._queued(state, state.acd.calls[call_id], self._open.pop(call_id))
        rules = state.acd.rules
        if isinstance(event, call_events.DirectoryChanged) and rules != self.past.rules[-1][1]:
            self.past.rules.append((at, rules))

    def _queued(self, state: State, queued: QueuedCall, opened: CallOpened) -> None:
        if self._past_end:
            return
        call = state.calls[queued.call_id]
        mine = PastCall(
            queued.call_id,
            queued.client_id,
            opened.received_at,
            queued.queued_at,
            queued.wrap_up_s,
            queued.caller,
            queued.vip,
            queued.known,
            call.sure,
        )
        self.past.calls.append(mine)
        self._calls[mine.call_id] = mine
        self._left.add(mine.call_id)

    def _agent_changed(self, effect: AgentChanged, at: float) -> None:
        past, agent_id = self.past, effect.agent_id
        if effect.reason == "added":
            past.events.append((at, acd_events.AgentAdded(agent_id)))
        elif effect.reason == "removed":
            past.events.append((at, acd_events.AgentRemoved(agent_id)))
        if effect.old in BUSY and effect.new not in BUSY:
            past.freed.setdefault(agent_id, at)
        call = None if effect.call_id is None else self._calls.get(effect.call_id)
        if effect.new is AgentState.TALKING and call is not None:
            call.answered_at, call.agent_id, call.released_at = at, agent_id, None
            offered = self._offered.pop(call.call_id, None)
            if offered is not None:
                self._reacted(agent_id, Reaction(at - offered[1], None))
        if effect.old is AgentState.TALKING and call is not None:
            call.released_at = at
            if effect.new is AgentState.WRAP_UP:
                self._wrapping[agent_id] = call.call_id, at
            else:
                call.wrapped_s = 0.0
        elif effect.old is AgentState.WRAP_UP and effect.new is not AgentState.WRAP_UP:
            wrapped = self._wrapping.pop(agent_id, None)
            if wrapped is not None:
                self._calls[wrapped[0]].wrapped_s = at - wrapped[1]

    def _reacted(self, agent_id: AgentId, reaction: Reaction) -> None:
        self.past.reactions.setdefault(agent_id, []).append(reaction)

    def _step(self, step: CallStep) -> None:
        agent_id = AgentId(step.detail.get("agent", ""))
        if step.kind == "offered":
            self._offered[step.call_id] = agent_id, step.at
        elif step.kind in ("offer_failed", "offer_withdrawn"):
            offered = self._offered.pop(step.call_id, None)
            if offered is None:
                return
            reason = step.detail.get("reason", "")
            rang_out = reason == "no_answer"
            if step.kind == "offer_failed" or rang_out:
                failure = None if rang_out else acd_events.OfferFailure(reason)
                self._reacted(agent_id, Reaction(step.at - offered[1], failure, rang_out))
        elif step.kind == "agent_lost":
            # It waits again. That first try is not told of: the wait is that to the last answer.
            call = self._calls.get(step.call_id)
            if call is not None:
                call.answered_at = call.released_at = call.agent_id = None

    def _closed(self, closed: CallClosed) -> None:
        self._open.pop(closed.call_id, None)
        self._offered.pop(closed.call_id, None)
        self._left.discard(closed.call_id)
        call = self._calls.get(closed.call_id)
        if call is None:
            return
        if call.answered_at is None:
            call.left_at = closed.ended_at
            call.served = closed.outcome is not Outcome.ABANDONED
        else:
            call.cut = closed.outcome is Outcome.FAILED

    def end(self) -> Past:
        """All that was noted; the journal may have ended before everything was over."""
        past = self.past
        past.open = len(self._left)
        return past


def _copy(agent: Agent) -> Agent:
    """A copy that the playback does not change."""
    return msgspec.structs.replace(agent, met=set(agent.met), new_clients=dict(agent.new_clients))

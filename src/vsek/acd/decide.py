"""The decisions: ``decide(acd, event, now)`` changes the state and says what is to be done.

Theory of operation
-------------------
An event is translated into an input of one agent (and perhaps of one call); the tables of
:mod:`vsek.acd.table` say what state follows. Leaving and entering a state have consequences that do
not depend on where from or where to: :meth:`_Step._leave` cancels the state's timer, takes back the
offer that rings, closes the wrap-up; :meth:`_Step._enter` sets the timer and gives the place among
the idle. At the end of *every* decision calls and agents are matched until one side is used up, so
that nobody is idle while somebody waits.

Calls are served in the order of their arrival over all queues, agents in the order in which they
became idle: somebody's idle time starts anew with login, and at the end of a pause, wrap-up or
parking; not when an offer is taken back because the caller left.

News of offers that are over and timers that were cancelled or set anew are dropped: both can be
under way while the decision that made them void is taken. An event that can only come from a
mistake raises :class:`AcdError` before anything is changed.
"""

from __future__ import annotations

from typing import assert_never

from vsek.acd import effects as fx
from vsek.acd import events as ev
from vsek.acd.errors import AcdError
from vsek.acd.state import Acd, Agent, AgentState, CallState, QueuedCall, Timer
from vsek.acd.table import AGENTS, CALLS, DETOURS, AgentInput, CallInput, Condition, Go, Never
from vsek.domain.ids import AgentId, CallId, OfferId

FAULT_PARK_MIN_S = 1.0
"""After a technical fault an agent is parked at least this long, whatever the rules say: a
softphone that fails at once would otherwise be rung in a tight loop."""

_TIMER_OF = {AgentState.OFFERED: "ring", AgentState.WRAP_UP: "wrap", AgentState.PARKED: "park"}
_DUE = {
    AgentState.OFFERED: AgentInput.RING_DUE,
    AgentState.WRAP_UP: AgentInput.WRAP_UP_DUE,
    AgentState.PARKED: AgentInput.PARK_DUE,
}
_WITHDRAWN_BY = {
    AgentInput.RING_DUE: fx.Withdrawal.NO_ANSWER,
    AgentInput.PAUSED: fx.Withdrawal.AGENT_PAUSED,
    AgentInput.UNREACHABLE: fx.Withdrawal.AGENT_GONE,
    AgentInput.REMOVED: fx.Withdrawal.AGENT_GONE,
    AgentInput.CALLER_LEFT: fx.Withdrawal.CALLER_LEFT,
}


def decide(acd: Acd, event: ev.Event, now: float) -> list[fx.Effect]:
    """Take ``event`` in at ``now`` (Unix seconds) and return what is to be done, in order.

    Raises ``AcdError``, with ``acd`` unchanged, for an event that cannot follow on what went
    before: a call queued twice, ``CallLeft`` of a call that is talked with, ``AgentReleased`` of an
    agent who does not talk in that call.
    """
    return [*take(acd, event, now), *match(acd, now)]


def take(acd: Acd, event: ev.Event, now: float) -> list[fx.Effect]:
    """``decide`` without matching: for several events of one moment, of which no one is to get a
    call, or an agent, before the last is taken in. ``match`` has to follow at that moment."""
    step = _Step(acd, now)
    step.take(event)
    return step.effects


def match(acd: Acd, now: float) -> list[fx.Effect]:
    """Offer calls to agents until there are no more of one or the other."""
    step = _Step(acd, now)
    step.match()
    return step.effects


class _Step:
    """One event being worked on."""

    __slots__ = ("acd", "effects", "now")

    def __init__(self, acd: Acd, now: float) -> None:
        self.acd = acd
        self.now = now
        self.effects: list[fx.Effect] = []

    def take(self, event: ev.Event) -> None:
        match event:
            case ev.AgentAdded(agent_id):
                self._add(agent_id)
            case ev.AgentRemoved(agent_id):
                self._tell(agent_id, AgentInput.REMOVED)
            case ev.AgentReachable(agent_id, reachable):
                self._tell(agent_id, AgentInput.REACHABLE if reachable else AgentInput.UNREACHABLE)
            case ev.AgentReadied(agent_id):
                self._tell(agent_id, AgentInput.READIED)
            case ev.AgentPaused(agent_id, reason):
                self._tell(agent_id, AgentInput.PAUSED, reason)
            case ev.CallQueued():
                self._queue(event)
            case ev.CallLeft(call_id):
                self._left(call_id)
            case ev.OfferAccepted(offer_id):
                self._offer_ended(offer_id, AgentInput.ACCEPTED, "")
            case ev.OfferFailed(offer_id, failure):
                self._offer_ended(offer_id, AgentInput.OFFER_FAILED, failure)
            case ev.AgentReleased(call_id, agent_id):
                self._released(call_id, agent_id)
            case ev.TimerDue(name, generation):
                self._due(name, generation)
            case ev.RulesChanged(rules):
                self.acd.rules = rules
            case _:
                assert_never(event)

    def match(self) -> None:
        """Offer calls to agents until there are no more of one or the other."""
        acd = self.acd
        while (idle := acd.ready.first()) and (head := acd.heads.first()):
            queued = acd.queues[head[1]].waiting.first()
            assert queued is not None  # a queue without waiting calls is dropped
            agent, call = acd.agents[idle[1]], acd.calls[queued[1]]
            call.offers += 1
            call.agent_id = agent.agent_id
            self._move_call(call, CallInput.OFFER_MADE)
            agent.call_id = call.call_id
            agent.offer_id = OfferId(f"{call.call_id}.{call.offers}")
            agent.wrap_up_s = call.wrap_up_s
            self._move(agent, AgentInput.OFFER_MADE)

    # What events mean to agents and calls

    def _add(self, agent_id: AgentId) -> None:
        known = self.acd.agents.get(agent_id)
        if known is not None:
            known.leaving = False
            return
        self.acd.agents[agent_id] = Agent(agent_id, self.now, "added")
        out = AgentState.LOGGED_OUT
        self.effects.append(fx.AgentChanged(agent_id, out, out, "added", None))

    def _tell(self, agent_id: AgentId, what: AgentInput, reason: str = "") -> None:
        agent = self.acd.agents.get(agent_id)
        if agent is None:
            return  # removed, or an account that belongs to nobody of ours
        if what is AgentInput.PAUSED:
            agent.pause_wanted = reason
        elif what is AgentInput.READIED:
            agent.pause_wanted = None
        elif what is AgentInput.REMOVED:
            agent.leaving = True
        else:
            agent.reachable = what is AgentInput.REACHABLE
        self._move(agent, what)

    def _queue(self, event: ev.CallQueued) -> None:
        acd = self.acd
        known = acd.calls.get(event.call_id)
        if known is not None:
            self._move_call(known, CallInput.QUEUED)  # refused in every state
        acd.last_rank += 1
        call = QueuedCall(
            event.call_id,
            event.client_id,
            event.arrival,
            acd.last_rank,
            event.wrap_up_s,
            offers=event.offers,
        )
        acd.calls[call.call_id] = call
        acd.index_call(call)

    def _left(self, call_id: CallId) -> None:
        call = self.acd.calls.get(call_id)
        if call is None:
            return  # never queued, or already over
        agent_id = call.agent_id
        self._move_call(call, CallInput.LEFT)
        if agent_id is not None:
            self._move(self.acd.agents[agent_id], AgentInput.CALLER_LEFT)

    def _offer_ended(self, offer_id: OfferId, what: AgentInput, failure: str) -> None:
        agent_id = self.acd.offers.get(offer_id)
        if agent_id is None:
            return  # taken back before
        self._move(self.acd.agents[agent_id], what, failure)

    def _released(self, call_id: CallId, agent_id: AgentId) -> None:
        agent = self.acd.agents.get(agent_id)
        if agent is None or agent.call_id != call_id:
            raise AcdError(f"Agent {agent_id} is released from call {call_id} without being in it")
        self._move(agent, AgentInput.RELEASED)

    def _due(self, name: str, generation: int) -> None:
        agent = self.acd.agents.get(AgentId(name.rpartition(":")[2]))
        if agent is None or agent.timer is None:
            return
        if (agent.timer.name, agent.timer.generation) != (name, generation):
            return
        agent.timer = None
        self._move(agent, _DUE[agent.state])

    # Calls

    def _move_call(self, call: QueuedCall, what: CallInput) -> None:
        step = CALLS[call.state][what]
        if isinstance(step, Never):
            raise AcdError(f"Call {call.call_id} is {call.state}, got {what!r}: {step.why}")
        if step.target is None:
            del self.acd.calls[call.call_id]
            self.acd.unindex_call(call)
            return
        call.state = step.target
        if call.state is CallState.WAITING:
            call.agent_id = None
        self.acd.index_call(call)

    # Agents

    def _move(self, agent: Agent, what: AgentInput, failure: str = "") -> None:
        step = AGENTS[agent.state][what]
        if isinstance(step, Never):
            raise AcdError(f"Agent {agent.agent_id} is {agent.state}, got {what!r}: {step.why}")
        if not isinstance(step, Go):
            return
        old, call_id = agent.state, agent.call_id
        park_s = self._park_s(what, failure)
        target = _target(agent, step.target, park_s)
        match target:
            case None:
                reason = "removed"
            case AgentState.PAUSED:
                reason = agent.pause_wanted or "paused"
            case AgentState.LOGGED_OUT:
                reason = "unreachable"
            case _:
                reason = failure or step.reason

        self._leave(agent, what)
        if step.target is AgentState.WRAP_UP and target is not AgentState.WRAP_UP:
            self._end_wrap_up(agent)
        self.effects.append(
            fx.AgentChanged(agent.agent_id, old, target or AgentState.LOGGED_OUT, reason, call_id)
        )
        if target is None:
            del self.acd.agents[agent.agent_id]
            return
        agent.state, agent.since, agent.reason = target, self.now, reason
        self._enter(agent, park_s, keeps_place=step.keeps_place)

    def _leave(self, agent: Agent, what: AgentInput) -> None:
        acd = self.acd
        if agent.timer is not None:
            self.effects.append(fx.CancelTimer(agent.timer.name))
            agent.timer = None
        match agent.state:
            case AgentState.READY:
                acd.ready.discard(agent.agent_id)
            case AgentState.OFFERED:
                offer_id, call = _engagement(acd, agent)
                del acd.offers[offer_id]
                if what in _WITHDRAWN_BY:
                    self.effects.append(fx.WithdrawOffer(offer_id, _WITHDRAWN_BY[what]))
                if call is not None:
                    accepted = what is AgentInput.ACCEPTED
                    self._move_call(call, CallInput.ACCEPTED if accepted else CallInput.OFFER_ENDED)
            case AgentState.TALKING:
                _, call = _engagement(acd, agent)
                assert call is not None  # it leaves with its agent, not before
                self._move_call(call, CallInput.RELEASED)
            case AgentState.WRAP_UP:
                self._end_wrap_up(agent)
            case _:
                pass

    def _enter(self, agent: Agent, park_s: float, *, keeps_place: bool) -> None:
        acd = self.acd
        if agent.state not in (AgentState.OFFERED, AgentState.TALKING):
            agent.offer_id = None
            if agent.state is not AgentState.WRAP_UP:
                agent.call_id = None
        match agent.state:
            case AgentState.READY if not keeps_place:
                acd.last_rank += 1
                agent.idle_rank = acd.last_rank
            case AgentState.OFFERED:
                offer_id, call = _engagement(acd, agent)
                assert call is not None  # it has just been taken from its queue
                self._set_timer(agent, acd.rules.ring_timeout_s)
                self.effects.append(fx.Offer(offer_id, call.call_id, agent.agent_id))
            case AgentState.WRAP_UP:
                self._set_timer(agent, agent.wrap_up_s)
            case AgentState.PARKED:
                self._set_timer(agent, park_s)
            case AgentState.PAUSED:
                agent.pause_wanted = None
            case _:
                pass
        acd.index_agent(agent)

    def _end_wrap_up(self, agent: Agent) -> None:
        assert agent.call_id is not None
        self.effects.append(fx.WrapUpEnded(agent.call_id, agent.agent_id, self.now))

    def _set_timer(self, agent: Agent, seconds: float) -> None:
        self.acd.last_generation += 1
        agent.timer = Timer(
            f"acd:{_TIMER_OF[agent.state]}:{agent.agent_id}",
            self.acd.last_generation,
            self.now + seconds,
        )
        self.effects.append(
            fx.SetTimer(agent.timer.name, agent.timer.generation, agent.timer.deadline)
        )

    def _park_s(self, what: AgentInput, failure: str) -> float:
        rules = self.acd.rules
        if what is AgentInput.RING_DUE:
            return rules.rona_park_s
        match failure:
            case ev.OfferFailure.REFUSED:
                return rules.refusal_park_s
            case ev.OfferFailure.UNREACHABLE:
                return max(rules.rona_park_s, FAULT_PARK_MIN_S)
            case _:
                return max(rules.refusal_park_s, FAULT_PARK_MIN_S)


def _engagement(acd: Acd, agent: Agent) -> tuple[OfferId, QueuedCall | None]:
    """The offer of an agent who is OFFERED or TALKING, and its call unless it has just left."""
    assert agent.offer_id is not None
    assert agent.call_id is not None
    return agent.offer_id, acd.calls.get(agent.call_id)


def _target(agent: Agent, target: AgentState | None, park_s: float) -> AgentState | None:
    """Where somebody bound for ``target`` ends up."""
    holds = {
        Condition.LEAVING: agent.leaving,
        Condition.NO_WRAP_UP: agent.wrap_up_s <= 0,
        Condition.NO_PARKING: park_s <= 0,
        Condition.PAUSE_WANTED: agent.pause_wanted is not None,
        Condition.OFFLINE: not agent.reachable,
    }
    detour = True
    while detour and target is not None:
        detour = False
        for condition, beyond in DETOURS.get(target, ()):
            if holds[condition]:
                target, detour = beyond, True
                break
    return target

"""The decisions: ``take`` an event in, then ``match`` calls and agents; ``decide`` does both.

Theory of operation
-------------------
An event is translated into an input of one agent (and perhaps of one call); the tables of
:mod:`vsek.acd.table` say what state follows. Leaving and entering a state have consequences that do
not depend on where from or where to: :meth:`_Step._leave` cancels the state's timer, takes back the
offer that rings, closes the wrap-up; :meth:`_Step._enter` sets the timer and gives the place among
the idle. At the end of *every* decision calls and agents are matched (:mod:`vsek.acd.matching`), so
that nobody is idle who may take a call that waits. A call that goes on waiting is looked after
(:mod:`vsek.acd.waiting`).

An agent's idle time starts anew with login, and at the end of a pause, wrap-up or parking; not when
an offer is taken back because the caller left.

News of offers that are over and timers that were cancelled or set anew are dropped: both can be
under way while the decision that made them void is taken. An event that can only come from a
mistake raises :class:`AcdError` before anything is changed.
"""

from __future__ import annotations

from typing import assert_never

from vsek.acd import effects as fx
from vsek.acd import events as ev
from vsek.acd.errors import AcdError
from vsek.acd.matching import Choice, line_up, next_pair
from vsek.acd.rules import Clearance, Rules
from vsek.acd.state import AWAY, Acd, Agent, AgentState, CallState, QueuedCall, Timer
from vsek.acd.table import AGENTS, CALLS, AgentInput, CallInput, Go, Never, destination
from vsek.acd.waiting import CALL_TIMER, Waits
from vsek.domain.ids import AgentId, CallId, OfferId

PARK_MIN_S = 1.0
"""Who did not take an offer is parked at least this long, whatever the rules say: the only agent
there is would otherwise be rung again at once, in a tight loop if the softphone is broken."""

_HALTED_S = 3.0
"""How often an offer is looked at that should be over, while nobody can see what becomes of it."""

_TIMER_OF = {AgentState.OFFERED: "ring", AgentState.WRAP_UP: "wrap", AgentState.PARKED: "park"}
RING_TIMER = f"acd:{_TIMER_OF[AgentState.OFFERED]}:"
"""How the names of the timers begin that end an offer; the agent's id follows."""
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
    step = _Step(acd, now)
    step.take(event)
    step.match()
    return step.effects


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


class _Step(Waits):
    """One event being worked on."""

    __slots__ = ()

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
            case ev.CallLeft(call_id, served):
                self._left(call_id, served)
            case ev.OfferAccepted() | ev.OfferFailed() | ev.OfferDelayed():
                self._hear_of_offer(event)
            case ev.AgentReleased(call_id, agent_id, cut):
                self._released(call_id, agent_id, cut)
            case ev.Halted(halted):
                self._halt(halted)
            case ev.TimerDue(name, generation):
                self._due(name, generation)
            case ev.RulesChanged(rules):
                self._change_rules(rules)
            case _:
                assert_never(event)

    def match(self) -> None:
        """Offer calls to agents until nobody who is ready may take a call that waits."""
        acd = self.acd
        while (acd.unmatched_calls or acd.unmatched_agents) and not acd.halted:
            line_up(acd, self.now)
            waiting = list(acd.unmatched_calls)
            while (pair := next_pair(acd, self.now)) is not None:
                self._offer(*pair)
            for call_id in waiting:
                call = acd.calls[call_id]
                if call.state is CallState.WAITING:
                    self.attend(call)

    def _offer(self, call: QueuedCall, choice: Choice) -> None:
        acd, agent = self.acd, choice.agent
        if acd.observer is not None:
            acd.observer(acd, call, agent)
        acd.last_decision += 1
        counts = acd.counts
        decision = fx.Decision(
            acd.last_decision,
            acd.rules.version,
            max(0.0, self.now - call.arrival),
            call.circles,
            choice.known,
            counts[AgentState.READY],
            choice.entitled,
            counts[AgentState.OFFERED],
            counts[AgentState.TALKING],
            counts[AgentState.WRAP_UP],
            counts[AgentState.PAUSED],
            counts[AgentState.PARKED],
            counts[AgentState.LOGGED_OUT],
        )
        call.offers += 1
        call.agent_id = agent.agent_id
        self._move_call(call, CallInput.OFFER_MADE)
        agent.call_id = call.call_id
        agent.offer_id = OfferId(f"{call.call_id}.{call.offers}")
        agent.wrap_up_s = call.wrap_up_s
        self._move(agent, AgentInput.OFFER_MADE)
        self.effects.append(fx.Offer(agent.offer_id, call.call_id, agent.agent_id, decision))

    # What events mean to agents and calls

    def _add(self, agent_id: AgentId) -> None:
        known = self.acd.agents.get(agent_id)
        if known is not None:
            known.leaving = False
            return
        agent = Agent(agent_id, self.now, "added", away_since=self.now)
        self.acd.agents[agent_id] = agent
        self.acd.assign_profile(agent)
        out = AgentState.LOGGED_OUT
        self.acd.counts[out] += 1
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
        self._release_calls_of(agent_id)

    def _queue(self, event: ev.CallQueued) -> None:
        acd = self.acd
        known = acd.calls.get(event.call_id)
        if known is not None:
            self._move_call(known, CallInput.QUEUED)  # refused in every state
        acd.last_rank += 1
        client = acd.rules.client(event.client_id)
        knowing = tuple(dict.fromkeys(event.known))
        call = QueuedCall(
            event.call_id,
            event.client_id,
            self._place(event),
            acd.last_rank,
            self.now,
            event.wrap_up_s,
            client.group,
            offers=event.offers,
            caller=event.caller,
            vip=event.vip,
            known=knowing,
            hold_until=self.now + client.hold_s if knowing and event.sure else 0.0,
        )
        acd.calls[call.call_id] = call
        self.wait(call)

    def _place(self, event: ev.CallQueued) -> float:
        """The arrival that counts: that of an earlier call of the same caller, if it was soon."""
        recent = self.acd.recent
        while recent and recent[oldest := next(iter(recent))][1] < self.now:
            del recent[oldest]
        arrival, until = recent.pop(_caller_key(event), (event.arrival, self.now))
        return min(arrival, event.arrival) if until >= self.now else event.arrival

    def _unserved(self, call: QueuedCall) -> None:
        if call.caller:
            recent, key = self.acd.recent, _caller_key(call)
            recent.pop(key, None)
            recent[key] = call.arrival, self.now + self.acd.rules.redial_s

    def _left(self, call_id: CallId, served: bool) -> None:
        call = self.acd.calls.get(call_id)
        if call is None:
            return  # never queued, or already over
        agent_id = call.agent_id
        self._move_call(call, CallInput.LEFT)
        if call.line is not None:
            self.acd.outlook.left(self.now - call.queued_at, gave_up=not served)
        if not served:
            self._unserved(call)
        if agent_id is not None:
            self._move(self.acd.agents[agent_id], AgentInput.CALLER_LEFT)

    def _hear_of_offer(self, event: ev.OfferAccepted | ev.OfferFailed | ev.OfferDelayed) -> None:
        agent_id = self.acd.offers.get(event.offer_id)
        if agent_id is None:
            return  # taken back before
        agent = self.acd.agents[agent_id]
        match event:
            case ev.OfferAccepted():
                self._move(agent, AgentInput.ACCEPTED)
            case ev.OfferFailed(_, failure):
                self._move(agent, AgentInput.OFFER_FAILED, failure)
            case _:  # delayed
                self._put_off(agent)

    def _put_off(self, agent: Agent) -> None:
        """The same timer, later. It keeps its generation, so that a journal from before offers were
        delayed is played back as it was."""
        assert agent.timer is not None  # that of an offer
        deadline = self.now + self.acd.rules.ring_timeout_s
        agent.timer = Timer(agent.timer.name, agent.timer.generation, deadline)
        self.effects.append(fx.SetTimer(agent.timer.name, agent.timer.generation, deadline))

    def _released(self, call_id: CallId, agent_id: AgentId, cut: bool) -> None:
        agent = self.acd.agents.get(agent_id)
        if agent is None or agent.call_id != call_id:
            raise AcdError(f"Agent {agent_id} is released from call {call_id} without being in it")
        call = self.acd.calls.get(call_id)
        self._move(agent, AgentInput.RELEASED)
        if cut and call is not None:
            self._unserved(call)

    def _due(self, name: str, generation: int) -> None:
        if name.startswith(CALL_TIMER):
            self.wake(CallId(name.removeprefix(CALL_TIMER)), generation)
            return
        agent = self.acd.agents.get(AgentId(name.split(":", 2)[-1]))
        if agent is None or agent.timer is None:
            return
        if (agent.timer.name, agent.timer.generation) != (name, generation):
            return
        agent.timer = None
        if agent.state is AgentState.OFFERED and self.acd.halted:
            self._set_timer(agent, _HALTED_S)
        else:
            self._move(agent, _DUE[agent.state])

    def _halt(self, halted: bool) -> None:
        acd = self.acd
        if acd.halted and not halted:
            # Who came free meanwhile is noted, unless a restart lay between; so is who waits.
            for call in list(acd.calls.values()):
                if call.state is CallState.WAITING:
                    call.waited = True  # for whatever reason: nothing is to be learnt from it
                    self.look_again(call)
        acd.halted = halted

    def _change_rules(self, rules: Rules) -> None:
        acd, old = self.acd, self.acd.rules
        acd.rules = rules
        for call in acd.calls.values():
            was, now = old.client(call.client_id), rules.client(call.client_id)
            if call.group == was.group or call.group not in rules.groups:
                call.group = now.group
            if call.treated:
                taken = {was.treatments[number]: at for number, at in call.treated.items()}
                call.treated = {
                    number: taken[treatment]
                    for number, treatment in enumerate(now.treatments)
                    if treatment in taken
                }
        waiting = [call for call in acd.calls.values() if call.state is CallState.WAITING]
        for call in waiting:
            self.bring_up_to_date(call)
        acd.rebuild()
        for call in waiting:
            acd.unmatched_calls[call.call_id] = None
            self.release_unkept(call)

    # Calls

    def _move_call(self, call: QueuedCall, what: CallInput) -> None:
        step = CALLS[call.state][what]
        if isinstance(step, Never):
            raise AcdError(f"Call {call.call_id} is {call.state}, got {what!r}: {step.why}")
        if call.state is CallState.WAITING:
            self.acd.leave_wait(call)
            call.held = False
            self.cancel_timer(call)
        if step.target is None:
            del self.acd.calls[call.call_id]
            return
        call.state = step.target
        if call.state is CallState.WAITING:
            call.agent_id = None
            self.wait(call)

    # Agents

    def _move(self, agent: Agent, what: AgentInput, failure: str = "") -> None:
        step = AGENTS[agent.state][what]
        if isinstance(step, Never):
            raise AcdError(f"Agent {agent.agent_id} is {agent.state}, got {what!r}: {step.why}")
        if not isinstance(step, Go):
            return
        old, call_id = agent.state, agent.call_id
        target = destination(agent, step.target)
        park_s = self._park_s(what, failure) if target is AgentState.PARKED else 0.0
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
        self._count(agent, target)
        if target is None:
            self.acd.forget_graduate(agent)
            del self.acd.agents[agent.agent_id]
            del self.acd.profiles[agent.agent_id]
        else:
            agent.state, agent.since, agent.reason = target, self.now, reason
            self._enter(agent, park_s, keeps_place=step.keeps_place)
        self._release_calls_of(agent.agent_id)

    def _count(self, agent: Agent, target: AgentState | None) -> None:
        """Bring the counts in line with a change of state to come, and the shift."""
        acd, was_away = self.acd, agent.state in AWAY
        is_away = target is None or target in AWAY
        if is_away and not was_away:
            agent.away_since = self.now
        elif was_away and not is_away:
            gone, agent.away_since = agent.away_since, None
            if gone is not None and self.now - gone >= acd.rules.shift_gap_s:
                agent.calls, agent.talked_s, agent.new_clients = 0, 0.0, {}
                acd.assign_profile(agent)
        acd.profiles[agent.agent_id].present += was_away - is_away
        acd.counts[agent.state] -= 1
        if target is not None:
            acd.counts[target] += 1

    def _release_calls_of(self, agent_id: AgentId) -> None:
        """Calls that are kept for an agent who will not come soon are for everybody."""
        agent = self.acd.agents.get(agent_id)
        if agent is not None and agent.state is AgentState.READY:
            return  # takes them
        for call_id in list(self.acd.index.known.get(agent_id, ())):
            self.release_unkept(self.acd.calls[call_id])

    def _leave(self, agent: Agent, what: AgentInput) -> None:
        acd = self.acd
        self.cancel_timer(agent)
        match agent.state:
            case AgentState.READY:
                acd.index.unset_ready(agent.agent_id)
                acd.unmatched_agents.pop(agent.agent_id, None)
            case AgentState.OFFERED:
                offer_id, call = _engagement(acd, agent)
                del acd.offers[offer_id]
                if what in _WITHDRAWN_BY:
                    self.effects.append(fx.WithdrawOffer(offer_id, _WITHDRAWN_BY[what]))
                if call is not None and what is AgentInput.ACCEPTED:
                    self._move_call(call, CallInput.ACCEPTED)
                    self._answered(call, agent)
                elif call is not None:
                    self._move_call(call, CallInput.OFFER_ENDED)
            case AgentState.TALKING:
                _, call = _engagement(acd, agent)
                assert call is not None  # it leaves with its agent, not before
                agent.talked_s += max(0.0, self.now - agent.since)
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
            case AgentState.READY:
                if not keeps_place:
                    acd.last_rank += 1
                    agent.idle_rank = acd.last_rank
                acd.index_ready(agent)
                acd.unmatched_agents[agent.agent_id] = None
            case AgentState.OFFERED:
                offer_id, _ = _engagement(acd, agent)
                acd.offers[offer_id] = agent.agent_id
                self._set_timer(agent, acd.rules.ring_timeout_s)
            case AgentState.WRAP_UP:
                if agent.wrap_up_s > 0:
                    self._set_timer(agent, agent.wrap_up_s)
            case AgentState.PARKED:
                self._set_timer(agent, park_s)
            case AgentState.PAUSED:
                agent.pause_wanted = None
            case _:
                pass

    def _answered(self, call: QueuedCall, agent: Agent) -> None:
        """The call has found its agent: what is counted of both."""
        acd = self.acd
        agent.calls += 1
        waited_s = max(0.0, self.now - call.queued_at)
        expected_s = call.expected_s if call.waited else 0.0
        self.effects.append(fx.Answered(call.call_id, waited_s, expected_s))
        if call.line is not None:
            acd.outlook.answered(call.group, call.line, waited_s)
        who = acd.profiles[agent.agent_id].who
        if who.clearance(call.group) is Clearance.LEARNING and call.client_id not in agent.met:
            agent.met.add(call.client_id)
            agent.new_clients[call.group] = agent.new_clients.get(call.group, 0) + 1
            acd.assign_profile(agent)

    def _end_wrap_up(self, agent: Agent) -> None:
        assert agent.call_id is not None
        self.effects.append(fx.WrapUpEnded(agent.call_id, agent.agent_id, self.now))

    def _set_timer(self, agent: Agent, seconds: float) -> None:
        name = f"acd:{_TIMER_OF[agent.state]}:{agent.agent_id}"
        agent.timer = self.timer(name, self.now + seconds)

    def _park_s(self, what: AgentInput, failure: str) -> float:
        rules = self.acd.rules
        if failure is ev.OfferFailure.LOST:
            return PARK_MIN_S  # in a gap of ours: nobody knows whether the telephone rang
        unreachable = failure is ev.OfferFailure.UNREACHABLE or what is AgentInput.RING_DUE
        return max(rules.rona_park_s if unreachable else rules.refusal_park_s, PARK_MIN_S)


def _caller_key(of: ev.CallQueued | QueuedCall) -> str:
    return f"{of.client_id}|{of.caller}"


def _engagement(acd: Acd, agent: Agent) -> tuple[OfferId, QueuedCall | None]:
    """The offer of an agent who is OFFERED or TALKING, and its call unless it has just left."""
    assert agent.offer_id is not None
    assert agent.call_id is not None
    return agent.offer_id, acd.calls.get(agent.call_id)

"""The distributions that are compared: the real one, and one that polls.

Theory of operation of the one that polls. It does what Asterisk's ``app_queue`` does with
``autofill``: each group is a queue, its members are the agents who are trained for it. Every
waiting call looks once in ``POLL_S`` whether it is its turn, that is, whether more members of its
queue are free than calls stand before it that are not being rung for; then one member is rung.
A call whose member refuses, or does not answer, looks again after ``RETRY_S``. Queues know nothing
of each other: which of two calls of different queues gets an agent is a matter of who looks first.
A member whose wrap-up is over is free, but nobody is told. Members are not parked. Known callers,
targets, circles and places of earlier calls mean nothing here.
"""

from __future__ import annotations

from enum import StrEnum

from vsek.acd import Acd, decide
from vsek.acd import effects as fx
from vsek.acd import events as ev
from vsek.acd.entitlement import Tier, Want, Who, judge
from vsek.acd.rules import Rules
from vsek.domain.ids import AgentId, CallId, ClientId, OfferId

POLL_S = 1.0
RETRY_S = 5.0


class Vsek:
    """The real one."""

    def __init__(self, rules: Rules) -> None:
        self.acd = Acd(rules)

    def decide(self, event: ev.Event, now: float) -> list[fx.Effect]:
        """See :func:`vsek.acd.decide`."""
        return decide(self.acd, event, now)


class Strategy(StrEnum):
    """Which of several free members is rung."""

    RRMEMORY = "rrmemory"
    """The next one after who was rung last in this queue."""
    LEASTRECENT = "leastrecent"
    """Whose last call ended first."""


class _Member:
    """An agent."""

    __slots__ = ("agent_id", "busy", "free_from", "present", "wrap_up_s")

    def __init__(self, agent_id: AgentId) -> None:
        self.agent_id = agent_id
        self.present = False
        self.busy = False
        """Rings or talks."""
        self.wrap_up_s = 0.0
        self.free_from = 0.0
        """End of the wrap-up."""

    def free(self, now: float) -> bool:
        return self.present and not self.busy and self.free_from <= now


class _Waiting:
    """A call that waits or is rung for."""

    __slots__ = ("arrival", "call_id", "member", "offers", "queue", "wrap_up_s")

    def __init__(self, event: ev.CallQueued, queue: _Queue) -> None:
        self.call_id = event.call_id
        self.arrival = event.arrival
        self.wrap_up_s = event.wrap_up_s
        self.queue = queue
        self.member: _Member | None = None
        self.offers = 0


class _Queue:
    """The calls and members of one group."""

    __slots__ = ("calls", "last", "members")

    def __init__(self) -> None:
        self.calls: dict[CallId, _Waiting] = {}
        """In the order of their arrival."""
        self.members: list[_Member] = []
        self.last = -1
        """Number of the member who was rung last."""


class Polling:
    """The one that polls."""

    def __init__(self, rules: Rules, strategy: Strategy = Strategy.RRMEMORY) -> None:
        self._rules = rules
        self._strategy = strategy
        self._queues: dict[tuple[str, tuple[tuple[str, int], ...]], _Queue] = {}
        self._members: dict[AgentId, _Member] = {}
        self._calls: dict[CallId, _Waiting] = {}
        self._generation = 0
        self._effects: list[fx.Effect] = []

    def decide(self, event: ev.Event, now: float) -> list[fx.Effect]:
        """As :func:`vsek.acd.decide`, for the events that the simulation knows."""
        self._effects = []
        match event:
            case ev.AgentAdded(agent_id):
                self._join(agent_id)
            case ev.AgentReadied(agent_id):
                self._members[agent_id].present = True
            case ev.AgentPaused(agent_id):
                self._members[agent_id].present = False
            case ev.CallQueued():
                self._enter(event, now)
            case ev.CallLeft(call_id):
                self._left(self._calls[call_id])
            case ev.OfferAccepted(offer_id):
                self._accepted(offer_id, now)
            case ev.OfferFailed(offer_id):
                self._failed(offer_id, now)
            case ev.AgentReleased(_, agent_id):
                member = self._members[agent_id]
                member.busy, member.free_from = False, now + member.wrap_up_s
            case ev.TimerDue(name):
                self._due(name, now)
            case _:
                pass
        return self._effects

    def _join(self, agent_id: AgentId) -> None:
        if agent_id not in self._members:
            member = self._members[agent_id] = _Member(agent_id)
            for (group, requires), queue in self._queues.items():
                if self._may(agent_id, group, requires):
                    queue.members.append(member)

    def _may(self, agent_id: AgentId, group: str, requires: tuple[tuple[str, int], ...]) -> bool:
        who = Who(self._rules.agent(agent_id))
        want = Want(group, requires, len(self._rules.group(group).circles), False)
        return isinstance(judge(want, self._rules.group(group), who), Tier)

    def _queue(self, client_id: ClientId) -> _Queue:
        client = self._rules.client(client_id)
        key = client.group, tuple(sorted(client.requires.items()))
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = _Queue()
            queue.members = [m for m in self._members.values() if self._may(m.agent_id, *key)]
        return queue

    def _enter(self, event: ev.CallQueued, now: float) -> None:
        queue = self._queue(event.client_id)
        call = _Waiting(event, queue)
        queue.calls[call.call_id] = self._calls[call.call_id] = call
        self._look(call, now)

    def _look(self, call: _Waiting, now: float) -> None:
        """Whether it is the call's turn."""
        free = [n for n, member in enumerate(call.queue.members) if member.free(now)]
        if free:
            before = 0
            for other in call.queue.calls.values():
                if other is call:
                    break
                before += other.member is None
            if before < len(free):
                self._ring(call, self._choose(call.queue, free), now)
                return
        self._timer(f"poll:{call.call_id}", now + POLL_S)

    def _choose(self, queue: _Queue, free: list[int]) -> _Member:
        if self._strategy is Strategy.LEASTRECENT:
            return queue.members[min(free, key=lambda n: (queue.members[n].free_from, n))]
        queue.last = next((n for n in free if n > queue.last), free[0])
        return queue.members[queue.last]

    def _ring(self, call: _Waiting, member: _Member, now: float) -> None:
        call.member, member.busy, member.wrap_up_s = member, True, call.wrap_up_s
        call.offers += 1
        offer_id = OfferId(f"{call.call_id}.{call.offers}")
        self._effects.append(fx.Offer(offer_id, call.call_id, member.agent_id, _UNTOLD))
        self._timer(f"ring:{call.call_id}", now + self._rules.ring_timeout_s)

    def _ringing(self, offer_id: OfferId) -> _Waiting | None:
        call_id, _, number = offer_id.rpartition(".")
        call = self._calls.get(CallId(call_id))
        if call is None or call.member is None or str(call.offers) != number:
            return None
        return call

    def _accepted(self, offer_id: OfferId, now: float) -> None:
        call = self._ringing(offer_id)
        if call is not None:
            self._forget(call)
            self._effects.append(fx.CancelTimer(f"ring:{call.call_id}"))
            self._effects.append(fx.Answered(call.call_id, now - call.arrival, None))

    def _failed(self, offer_id: OfferId, now: float) -> None:
        call = self._ringing(offer_id)
        if call is not None and call.member is not None:
            call.member.busy, call.member = False, None
            self._effects.append(fx.CancelTimer(f"ring:{call.call_id}"))
            self._timer(f"poll:{call.call_id}", now + RETRY_S)

    def _left(self, call: _Waiting) -> None:
        self._forget(call)
        if call.member is None:
            self._effects.append(fx.CancelTimer(f"poll:{call.call_id}"))
        else:
            self._effects.append(fx.CancelTimer(f"ring:{call.call_id}"))
            call.member.busy = False
            self._withdraw(call, fx.Withdrawal.CALLER_LEFT)

    def _withdraw(self, call: _Waiting, reason: fx.Withdrawal) -> None:
        offer_id = OfferId(f"{call.call_id}.{call.offers}")
        self._effects.append(fx.WithdrawOffer(offer_id, reason))

    def _forget(self, call: _Waiting) -> None:
        del call.queue.calls[call.call_id], self._calls[call.call_id]

    def _timer(self, name: str, deadline: float) -> None:
        self._generation += 1
        self._effects.append(fx.SetTimer(name, self._generation, deadline))

    def _due(self, name: str, now: float) -> None:
        kind, _, call_id = name.partition(":")
        call = self._calls[CallId(call_id)]
        if kind == "poll":
            self._look(call, now)
        elif call.member is not None:
            call.member.busy = False
            self._withdraw(call, fx.Withdrawal.NO_ANSWER)
            call.member = None
            self._timer(f"poll:{call.call_id}", now + RETRY_S)


_UNTOLD = fx.Decision(0, 0, 0.0, 0, False, 0, 0, 0, 0, 0, 0, 0, 0)
"""Why somebody was chosen is of no interest here."""

"""Virtual time: callers, agents and timers around a distribution, which is the real one or another.

Theory of operation
-------------------
One heap holds what will happen: (time, number, what to call, with what). The distribution gets the
events that it gets from the switchboard (:mod:`vsek.acd.events`), one decision each, and its
effects are carried out as the switchboard would: a timer is armed by name, one of the same name is
replaced, a cancelled one is not reported; an offer rings until it is answered, refused or taken
back; news of an offer that is over still reach the distribution, which has to know what to do with
them. Nothing is random here: whatever is, comes from :class:`vsek.sim.load.Load`.

The callers' first calls come from an iterator in the order of their arrival and never stand in the
heap, so that a run of millions of calls takes the memory of those that are under way.

How long agents are there, and busy, is counted up to the last of those arrivals: after it the house
empties, and whoever still talks does so outside of the time that is measured. For the same reason a
talk that outlasts a shift counts only while the shift lasts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Protocol

from vsek.acd import effects as fx
from vsek.acd import events as ev
from vsek.acd.rules import Action
from vsek.domain.ids import AgentId, CallId
from vsek.sim.house import House, Shift
from vsek.sim.load import Caller, Fate, Load
from vsek.sim.measure import Tally


class Distribution(Protocol):
    """Who gets which call: :class:`vsek.sim.rivals.Vsek`, or another under the same conditions."""

    def decide(self, event: ev.Event, now: float) -> list[fx.Effect]:
        """Take ``event`` in at ``now`` (Unix seconds); what is to be done, in order."""


class _Desk:
    """One agent, as the simulation sees them."""

    __slots__ = ("busy_until", "counted", "free_at", "present")

    def __init__(self) -> None:
        self.present = False
        """Signed in and not paused."""
        self.counted = 0.0
        """Up to when the tally has the agent's time."""
        self.busy_until = 0.0
        self.free_at = 0.0
        """When the call that rings or is talked with, its wrap-up, or parking will be over."""


class Engine:
    """One run."""

    def __init__(
        self,
        house: House,
        load: Load,
        distribution: Distribution,
        *,
        start: float = 0.0,
        quiet_calls: int = 0,
        within_s: float = 20.0,
    ) -> None:
        """``start`` is the Unix time at which the simulation begins; the first ``quiet_calls``
        callers are not counted (the house fills up with them)."""
        self.now = start
        self.tally = Tally(within_s)
        self.live: dict[CallId, Caller] = {}
        """Calls that wait or ring."""
        self.talking: dict[CallId, Caller] = {}
        self._house = house
        self._load = load
        self._habits = load.habits
        self._decide = distribution.decide
        self._start = start
        self._quiet = quiet_calls
        self._heap: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._number = 0
        self._to_call_again = 0
        """How many callers will call again."""
        self._closed = False
        """Nobody calls for the first time any more; agents' time no longer counts."""
        self._timers: dict[str, int] = {}
        self._desks = {agent_id: _Desk() for agent_id in house.agents}
        self._at_once = not (self._habits.answer_s or self._habits.refuses or self._habits.misses)
        self._handlers: dict[type, Callable[[Any], None]] = {
            fx.Offer: self._ring,
            fx.WithdrawOffer: self._stop_ringing,
            fx.SetTimer: self._set_timer,
            fx.CancelTimer: self._cancel_timer,
            fx.Answered: self._answered,
            fx.Treat: self._treat,
        }

    def run(self) -> Tally:
        """Until nobody calls, waits or talks any more."""
        for agent_id, shifts in self._house.agents.items():
            for shift in shifts:
                self._at(self._start + shift.begins, self._come, (agent_id, shift))
        heap, start = self._heap, self._start
        callers = self._load.callers()
        caller = next(callers, None)
        while heap or caller is not None:
            if caller is None and not (self.live or self.talking or self._to_call_again):
                break
            if caller is not None:
                arrival = start + caller.arrival
                if not heap or arrival < heap[0][0]:
                    caller.arrival = self.now = arrival
                    caller.quiet = caller.number < self._quiet
                    self._arrive(caller)
                    caller = next(callers, None)
                    if caller is None:
                        self._close()
                    continue
            self.now, _, happens, what = heappop(heap)
            happens(what)
        for waiting in list(self.live.values()):
            self._leave(waiting, served=False)  # would wait for ever: nobody comes any more
        return self.tally

    def _at(self, when: float, happens: Callable[[Any], None], what: object) -> None:
        self._number += 1
        heappush(self._heap, (when, self._number, happens, what))

    def _tell(self, event: ev.Event) -> None:
        handlers = self._handlers
        for effect in self._decide(event, self.now):
            handler = handlers.get(type(effect))
            if handler is not None:
                handler(effect)

    # Callers

    def _call_again(self, caller: Caller) -> None:
        self._to_call_again -= 1
        self._arrive(caller)

    def _arrive(self, caller: Caller) -> None:
        known: tuple[AgentId, ...] = ()
        if caller.known is not None:
            known = (caller.known,)
            caller.reach_s = self._reach_s(caller, caller.known)
        self.live[caller.call_id] = caller
        if caller.patience_s != math.inf:
            self._at(self.now + caller.patience_s, self._give_up, caller)
        self._tell(
            ev.CallQueued(
                caller.call_id,
                caller.client_id,
                caller.arrival,
                self._habits.wrap_up_s,
                caller=caller.number_shown if caller.attempt else "",
                known=known,
                sure=caller.sure,
            )
        )

    def _reach_s(self, caller: Caller, agent_id: AgentId) -> float | None:
        desk = self._desks[agent_id]
        if not desk.present:
            return None
        if not self._at_once:
            fate, caller.reach_takes_s = self._load.ring(caller)
            if fate is not Fate.TAKEN:
                return math.inf
        return max(0.0, desk.free_at - self.now)

    def _give_up(self, caller: Caller) -> None:
        if caller.call_id in self.live:
            self._leave(caller, served=False)

    def _leave(self, caller: Caller, *, served: bool) -> None:
        self._tell(ev.CallLeft(caller.call_id, served))
        self._over(caller, diverted=served)
        if not served:
            self._perhaps_again(caller)

    def _over(self, caller: Caller, *, diverted: bool) -> None:
        del self.live[caller.call_id]
        within_s = None
        if caller.reach_s is not None:
            within_s = self._house.rules.client(caller.client_id).hold_s
        since = caller.arrival - self._start
        self.tally.over(caller, self.now, since, diverted=diverted, within_s=within_s)

    def _perhaps_again(self, caller: Caller) -> None:
        following = self._load.again(caller, self.now)
        if following is not None:
            self._to_call_again += 1
            self._at(following.arrival, self._call_again, following)

    def _treat(self, effect: fx.Treat) -> None:
        caller = self.live[effect.call_id]
        if effect.action is Action.CALLBACK:
            if self._load.chance(caller).random() >= self._habits.takes_callback:
                return
        elif effect.action not in (Action.VOICEMAIL, Action.FORWARD):
            return
        self._at(self.now, self._divert, caller)

    def _divert(self, caller: Caller) -> None:
        if caller.call_id in self.live:
            self._leave(caller, served=True)

    # Agents

    def _come(self, what: tuple[AgentId, Shift]) -> None:
        agent_id, shift = what
        self._tell(ev.AgentAdded(agent_id))
        self._tell(ev.AgentReachable(agent_id, reachable=True))
        self._be_there(agent_id)
        if shift.ends != math.inf:
            self._at(self._start + shift.ends, self._pause, agent_id)
        for begin, end in shift.pauses:
            self._at(self._start + begin, self._pause, agent_id)
            self._at(self._start + end, self._be_there, agent_id)

    def _be_there(self, agent_id: AgentId) -> None:
        desk = self._desks[agent_id]
        desk.present, desk.counted = True, self.now
        self._tell(ev.AgentReadied(agent_id))

    def _pause(self, agent_id: AgentId) -> None:
        self._count(agent_id)
        self._desks[agent_id].present = False
        self._tell(ev.AgentPaused(agent_id, "away"))

    def _close(self) -> None:
        for agent_id in self._desks:
            self._count(agent_id)
        self._closed = True

    def _count(self, agent_id: AgentId) -> None:
        """Write down how long the agent has been there, and busy, up to now."""
        desk = self._desks[agent_id]
        if not desk.present or self._closed:
            return
        present_s, busy_s = self.tally.present_s, self.tally.busy_s
        present_s[agent_id] = present_s.get(agent_id, 0.0) + self.now - desk.counted
        busy = max(0.0, min(self.now, desk.busy_until) - desk.counted)
        busy_s[agent_id] = busy_s.get(agent_id, 0.0) + busy
        desk.counted = self.now

    def _is_busy(self, agent_id: AgentId, seconds: float) -> None:
        self._count(agent_id)
        self._desks[agent_id].busy_until = self.now + seconds

    # Offers

    def _ring(self, offer: fx.Offer) -> None:
        caller, habits = self.live[offer.call_id], self._habits
        caller.agent_id = offer.agent_id
        desk = self._desks[offer.agent_id]
        self.tally.offers += not caller.quiet
        if self._at_once:
            desk.free_at = self.now + caller.talk_s + habits.wrap_up_s
            self._at(self.now, self._tell, ev.OfferAccepted(offer.offer_id))
            return
        fate, after_s = self._load.ring(caller)
        caller.offers += 1
        rules = self._house.rules
        if fate is Fate.MISSED:
            self._is_busy(offer.agent_id, rules.ring_timeout_s)
            desk.free_at = self.now + rules.ring_timeout_s + rules.rona_park_s
            return
        at = self.now + min(after_s, 0.99 * rules.ring_timeout_s)
        if fate is Fate.REFUSED:
            desk.free_at = at + rules.refusal_park_s
            failed = ev.OfferFailed(offer.offer_id, ev.OfferFailure.REFUSED)
            self._at(at, self._tell, failed)
        else:
            desk.free_at = at + caller.talk_s + habits.wrap_up_s
            self._at(at, self._tell, ev.OfferAccepted(offer.offer_id))
        self._is_busy(offer.agent_id, at - self.now)

    def _stop_ringing(self, effect: fx.WithdrawOffer) -> None:
        caller = self.live[CallId(effect.offer_id.rpartition(".")[0])]
        assert caller.agent_id is not None  # it rang there
        park_s = self._house.rules.rona_park_s
        missed = effect.reason is fx.Withdrawal.NO_ANSWER
        self._is_busy(caller.agent_id, 0.0)
        self._desks[caller.agent_id].free_at = self.now + (park_s if missed else 0.0)

    def _answered(self, effect: fx.Answered) -> None:
        caller = self.live[effect.call_id]
        caller.answered_at, caller.expected_s = self.now, effect.expected_s
        self._over(caller, diverted=False)
        self.talking[caller.call_id] = caller
        assert caller.agent_id is not None  # who was rung
        self._is_busy(caller.agent_id, caller.talk_s + self._habits.wrap_up_s)
        self._at(self.now + caller.talk_s, self._hang_up, caller)

    def _hang_up(self, caller: Caller) -> None:
        del self.talking[caller.call_id]
        assert caller.agent_id is not None  # they talked
        self._tell(ev.AgentReleased(caller.call_id, caller.agent_id))
        self._perhaps_again(caller)

    # Timers

    def _set_timer(self, effect: fx.SetTimer) -> None:
        self._timers[effect.name] = effect.generation
        self._at(max(self.now, effect.deadline), self._due, (effect.name, effect.generation))

    def _cancel_timer(self, effect: fx.CancelTimer) -> None:
        self._timers.pop(effect.name, None)

    def _due(self, timer: tuple[str, int]) -> None:
        name, generation = timer
        if self._timers.get(name) == generation:
            del self._timers[name]
            self._tell(ev.TimerDue(name, generation))

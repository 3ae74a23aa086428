"""Calls that wait: what becomes of them while nobody takes them.

Theory of operation. Time alone changes what a waiting call may get: a circle opens and more agents
may take it, it is no longer kept for somebody, a treatment is due. Each of these moments is known
beforehand, so one timer per call is enough, set for the next of them (``attend``); when it is due
the call is matched anew (``wake``). Whatever else brings a call to matching first has it told what
time has changed since (``bring_up_to_date``), so that no decision depends on how punctual timers
are.
"""

from __future__ import annotations

from vsek.acd import effects as fx
from vsek.acd import treatment
from vsek.acd.matching import keeper
from vsek.acd.rules import Action
from vsek.acd.state import Acd, Agent, QueuedCall, Timer
from vsek.domain.ids import CallId

CALL_TIMER = "acd:call:"
"""How the names of these timers begin."""


class Waits:
    """A decision, as far as it is about calls that wait."""

    __slots__ = ("acd", "effects", "now")

    def __init__(self, acd: Acd, now: float) -> None:
        self.acd = acd
        self.now = now
        self.effects: list[fx.Effect] = []

    def wait(self, call: QueuedCall) -> None:
        """The call waits from now on; matching decides for whom."""
        self.bring_up_to_date(call)
        self.acd.await_agent(call)
        self.acd.unmatched_calls[call.call_id] = None

    def _open_circles(self, call: QueuedCall) -> int:
        """Compares with the very moments at which the timer wakes the call."""
        since = min(call.arrival, self.now)
        circles = self.acd.rules.group(call.group).circles
        return sum(since + circle.after_s <= self.now for circle in circles)

    def attend(self, call: QueuedCall) -> None:
        """Look after a call that nobody takes at once."""
        acd = self.acd
        if not call.waited:
            call.waited = True
            own = acd.index.by_group[call.group]
            line = acd.line(own, acd.waiting - own)
            call.expected_s = acd.outlook.expected_s(call.group, line)
            if not call.held:
                call.line = line
        for number, wanted in treatment.due(acd, call, self.now):
            call.treated[number] = self.now
            if wanted.action is Action.REGROUP:
                self._regroup(call, wanted.detail)
                return
            self.effects.append(fx.Treat(call.call_id, wanted.action, wanted.detail))
        looks = [treatment.look_again_at(acd, call, self.now)]
        circles = acd.rules.group(call.group).circles
        if call.circles < len(circles):
            looks.append(call.arrival + circles[call.circles].after_s)
        if call.held:
            looks.append(call.hold_until)
        deadline = min((at for at in looks if at is not None), default=None)
        if deadline is None:
            self.cancel_timer(call)
        elif call.timer is None or call.timer.deadline != deadline:
            self.cancel_timer(call)
            call.timer = self.timer(f"{CALL_TIMER}{call.call_id}", deadline)

    def _regroup(self, call: QueuedCall, group: str) -> None:
        self.acd.leave_wait(call)
        call.held = False
        call.group = group
        call.line = None  # not of this group
        self.effects.append(fx.Regrouped(call.call_id, group))
        self.wait(call)

    def wake(self, call_id: CallId, generation: int) -> None:
        """The call's timer is due, if it is still this one."""
        call = self.acd.calls.get(call_id)
        if call is None or call.timer is None or call.timer.generation != generation:
            return
        call.timer = None
        self.look_again(call)

    def look_again(self, call: QueuedCall) -> None:
        """Others may be let in now."""
        self.acd.unindex_call(call)
        self.bring_up_to_date(call)
        self.acd.unmatched_calls[call.call_id] = None

    def bring_up_to_date(self, call: QueuedCall) -> None:
        """What time alone changes, whether the timer has told of it yet or not."""
        call.circles = self._open_circles(call)
        if call.hold_until <= self.now:
            call.held, call.hold_until = False, 0.0

    def release_unkept(self, call: QueuedCall) -> None:
        """Keep the call no longer if nobody for whom it is kept will come."""
        if call.held and keeper(self.acd, call) is None:
            call.held = False
            self.look_again(call)

    def timer(self, name: str, deadline: float) -> Timer:
        """Set a timer, with a generation of its own."""
        self.acd.last_generation += 1
        timer = Timer(name, self.acd.last_generation, deadline)
        self.effects.append(fx.SetTimer(name, timer.generation, deadline))
        return timer

    def cancel_timer(self, owner: Agent | QueuedCall) -> None:
        """Stop the timer of an agent or a call, if there is one."""
        if owner.timer is not None:
            self.effects.append(fx.CancelTimer(owner.timer.name))
            owner.timer = None

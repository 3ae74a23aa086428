"""Whose turn it is, told a second time: who phones again soon keeps the place of the call before.

Worked out from what callers met with, as ``docs/known-callers.md`` has it, not from what the
distribution was told: who changes the rule has to change it in both places. Of numbers that are
nobody's own (the client's, a crowd's) nothing is known here; no caller of the scenarios has one.
"""

from __future__ import annotations

from collections.abc import Iterable

from vsek.acd.state import Acd
from vsek.call import effects as do
from vsek.domain.ids import CallId
from vsek.domain.outcomes import AGENT_LOST, FOUND_GONE, MISSED, Outcome, Stage
from vsek.domain.records import CallClosed, CallOpened, CallStep

_Caller = tuple[str, str]
"""Client and number."""
_LOST = (AGENT_LOST, FOUND_GONE, MISSED)


class Places:
    """The arrival that counts, of each call that was ever queued."""

    def __init__(self) -> None:
        self.of: dict[CallId, float] = {}
        self.inherited: set[CallId] = set()
        """Calls that have the place of an earlier one."""
        self._opened: dict[CallId, CallOpened] = {}
        self._there: set[CallId] = set()
        self._claims: dict[_Caller, tuple[float, float]] = {}
        """The arrival, and until when somebody may claim it."""

    def decided(self, acd: Acd, effects: Iterable[do.Effect], now: float) -> None:
        """Follow one decision, and compare."""
        told = [effect for effect in effects if isinstance(effect, CallStep | CallClosed)]
        self._opened |= {one.call_id: one for one in effects if isinstance(one, CallOpened)}
        for call_id in acd.calls:
            if call_id not in self.of:
                self._comes(call_id, now)
        for call_id in self._there - acd.calls.keys():
            if any(_leaves_unserved(one) for one in told if one.call_id == call_id):
                caller = self._caller(call_id)
                if caller is not None:
                    self._claims[caller] = self.of[call_id], now + acd.rules.redial_s
        self._there = set(acd.calls)
        for call_id, call in acd.calls.items():
            assert call.arrival == self.of[call_id], f"{call_id} has a place that is not its own"

    def _comes(self, call_id: CallId, now: float) -> None:
        self.of[call_id] = self._opened[call_id].received_at
        caller = self._caller(call_id)
        if caller in self._claims:
            arrival, until = self._claims.pop(caller)
            if until >= now and arrival < self.of[call_id]:
                self.of[call_id] = arrival
                self.inherited.add(call_id)

    def _caller(self, call_id: CallId) -> _Caller | None:
        opened = self._opened[call_id]
        if opened.client_id is None or not opened.caller_number:
            return None
        return opened.client_id, opened.caller_number


def _leaves_unserved(told: CallStep | CallClosed) -> bool:
    if isinstance(told, CallStep):
        return told.kind == "fallback" and told.detail["stage"] != Stage.TALKING
    if told.outcome in (Outcome.ABANDONED, Outcome.FAILED):
        return True
    return told.outcome is Outcome.ANSWERED and told.reason in _LOST

"""Whose turn it is, told a second time: who phones again soon keeps the place of the call before.

Worked out from what callers met with, as ``docs/known-callers.md`` has it, not from what the
distribution was told: who changes the rule has to change it in both places. Crowds are not known
here; no caller of the tests comes from one.
"""

from __future__ import annotations

from collections.abc import Iterable

from vsek.call import effects as do
from vsek.call.model import State
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
        self._callers: dict[CallId, _Caller | None] = {}
        self._there: set[CallId] = set()
        self._claims: dict[_Caller, tuple[float, float]] = {}
        """The arrival, and until when somebody may claim it."""

    def decided(self, state: State, effects: Iterable[do.Effect], now: float) -> None:
        """Follow one decision, and compare."""
        queued = state.acd.calls
        came = [call_id for call_id in queued if call_id not in self._there]
        for told in effects:
            match told:
                case CallOpened():
                    self._callers[told.call_id] = _caller(state, told)
                case CallStep(call_id=call_id, kind="agent_lost"):
                    came.append(call_id)
                case CallStep() | CallClosed() if told.call_id in self._there - queued.keys():
                    caller = self._callers[told.call_id]
                    if caller is not None and _leaves_unserved(told):
                        until = now + state.acd.rules.redial_s
                        self._claims[caller] = self.of[told.call_id], until
                case _:
                    pass
        for call_id in came:
            if call_id in queued:
                self._comes(call_id, state.calls[call_id].received_at, now)
        self._there = set(queued)
        for call_id, call in queued.items():
            assert call.arrival == self.of[call_id], f"{call_id} has a place that is not its own"

    def _comes(self, call_id: CallId, received_at: float, now: float) -> None:
        """New, or back in the queue."""
        self.of.setdefault(call_id, received_at)
        caller = self._callers[call_id]
        if caller in self._claims:
            arrival, until = self._claims.pop(caller)
            if until >= now and arrival < self.of[call_id]:
                self.of[call_id] = arrival
                self.inherited.add(call_id)


def _caller(state: State, opened: CallOpened) -> _Caller | None:
    """Nobody is known by no number, or by the client's own."""
    client, number = opened.client_id, opened.caller_number
    if client is None or not number or state.directory.dids.get(number) == client:
        return None
    return client, number


def _leaves_unserved(told: CallStep | CallClosed) -> bool:
    if isinstance(told, CallStep):
        return told.kind == "fallback" and told.detail["stage"] != Stage.TALKING
    if told.outcome in (Outcome.ABANDONED, Outcome.FAILED):
        return True
    return told.outcome is Outcome.ANSWERED and told.reason in _LOST

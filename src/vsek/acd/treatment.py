"""What is done for a call that nobody can take in time, and when to look again."""

from __future__ import annotations

from vsek.acd.entitlement import Tier
from vsek.acd.hours import is_open
from vsek.acd.index import bits
from vsek.acd.matching import verdict
from vsek.acd.rules import RECHECK_S, Action, Treatment
from vsek.acd.state import Acd, CallState, QueuedCall


def due(acd: Acd, call: QueuedCall, now: float) -> list[tuple[int, Treatment]]:
    """The treatments of a waiting call that are to be taken now, with their numbers."""
    treatments = acd.rules.client(call.client_id).treatments
    return [
        (number, treatment)
        for number, treatment in enumerate(treatments)
        if _time_for(call, number, treatment) <= now and _holds(acd, call, treatment, now)
    ]


def look_again_at(acd: Acd, call: QueuedCall, now: float) -> float | None:
    """When (Unix seconds) a treatment of a waiting call may be due next; ``None``: never."""
    treatments = acd.rules.client(call.client_id).treatments
    times = [_time_for(call, number, t) for number, t in enumerate(treatments)]
    looks = [now + RECHECK_S if at <= now else at for at in times if at != _NEVER]
    return min(looks, default=None)


def expected_s(acd: Acd, call: QueuedCall) -> float | None:
    """How long, in seconds, a call that waits will go on waiting; ``None``: not known. Takes
    time proportional to the number of calls."""
    own, others = 1, 0
    for other in acd.calls.values():
        if other.state is CallState.WAITING and other.key < call.key:
            if other.group == call.group:
                own += 1
            else:
                others += 1
    return acd.outlook.expected_s(call.group, acd.line(own, others))


_NEVER = float("inf")


def _time_for(call: QueuedCall, number: int, treatment: Treatment) -> float:
    last = call.treated.get(number)
    if last is None:
        return call.queued_at + treatment.after_s
    repeated = treatment.action is Action.ANNOUNCE and treatment.every_s > 0
    return last + treatment.every_s if repeated else _NEVER


def _holds(acd: Acd, call: QueuedCall, treatment: Treatment, now: float) -> bool:
    if treatment.waiting > acd.index.by_group[call.group] - 1:
        return False
    if treatment.nobody and _anybody(acd, call):
        return False
    if treatment.expected_s > 0 and (expected_s(acd, call) or 0.0) < treatment.expected_s:
        return False
    return is_open(treatment.hours, treatment.timezone, now, treatment.days)


def _anybody(acd: Acd, call: QueuedCall) -> bool:
    need, index = acd.full_need(call), acd.index
    if any(index.profiles[number].present for number in bits(need.mask)):
        return True
    graduates = map(acd.agents.__getitem__, index.graduates.get(call.client_id, ()))
    return any(one.present and isinstance(verdict(acd, call, one, need), Tier) for one in graduates)

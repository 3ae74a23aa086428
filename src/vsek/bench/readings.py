"""What the packets of a run tell: calls, the agents' legs, and the times between them.

A caller's call is known by its Call-ID, an agent's leg by its own; the caller's number in the leg's
From ties the two. Only SIP is looked at, and of each message only the first copy counts.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

from vsek.demo.capture import Datagram, read
from vsek.demo.sipmessage import Message

_NUMBER: Final = re.compile(r"sips?:\+?(\d{1,20})@")
_USER: Final = re.compile(r"sips?:([^@;>\s]{1,64})@")


@dataclass(slots=True)
class Leg:
    """One ringing of one agent. Times are Unix seconds; ``None``: it did not happen."""

    agent: str
    invited: float
    answered: float | None = None
    cancelled: float | None = None
    ended: float | None = None
    """First BYE."""
    refused: float | None = None
    """A final answer other than 200 that nobody had asked for by a CANCEL."""

    @property
    def over(self) -> float | None:
        """Since when the agent is free again."""
        ends = [at for at in (self.cancelled, self.ended, self.refused) if at is not None]
        return min(ends) if ends else None


@dataclass(slots=True)
class Call:
    """One call of a caller."""

    number: str
    invited: float
    answered: float | None = None
    ended: float | None = None
    status: int = 0
    """The final answer to its INVITE; 0: none."""
    legs: list[Leg] = field(default_factory=list)

    @property
    def served(self) -> bool:
        """It was answered, and ended by a BYE."""
        return self.status == 200 and self.ended is not None

    @property
    def answered_leg(self) -> Leg | None:
        """The leg on which an agent took it."""
        return next((leg for leg in self.legs if leg.answered is not None), None)


class Timeline:
    """All calls and legs of a run, in the order in which they began."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self.calls = sorted(calls, key=lambda call: call.invited)
        self.legs = sorted((leg for c in self.calls for leg in c.legs), key=lambda x: x.invited)
        self._by_agent: dict[str, list[Leg]] = {}
        for leg in self.legs:
            self._by_agent.setdefault(leg.agent, []).append(leg)

    def offers_ms(self) -> list[float]:
        """Caller's INVITE → the first agent's INVITE."""
        return [1000 * (c.legs[0].invited - c.invited) for c in self.calls if c.legs]

    def answers_ms(self) -> list[float]:
        """Agent's 200 → the caller's 200."""
        return [
            1000 * (call.answered - leg.answered)
            for call in self.calls
            if (leg := call.answered_leg) and leg.answered is not None and call.answered is not None
        ]

    def handovers_ms(self, waiting: int) -> list[float]:
        """Agent's BYE → that agent's next INVITE, where at least ``waiting`` callers were waiting
        with nobody ringing for them when the BYE passed."""
        queue = self._queue_lengths()
        found = []
        for legs in self._by_agent.values():
            for leg, following in pairwise(legs):
                if leg.ended is not None and queue.at(leg.ended) >= waiting:
                    found.append(1000 * (following.invited - leg.ended))
        return found

    def retries_ms(self, parked_s: float) -> list[float]:
        """End of ringing (CANCEL) → next INVITE for the same caller; or, if the agent who is rung
        next came free after the CANCEL, from then on. An agent who did not answer counts as free
        after ``parked_s``."""
        found = []
        for call in self.calls:
            for leg, following in pairwise(call.legs):
                if leg.cancelled is None:
                    continue
                since = max(leg.cancelled, self._free_since(following, parked_s))
                found.append(1000 * max(0.0, following.invited - since))
        return found

    def _free_since(self, leg: Leg, parked_s: float) -> float:
        """Since when the agent was free who was rung by ``leg``; 0: from the beginning."""
        legs = self._by_agent[leg.agent]
        at = next(index for index, each in enumerate(legs) if each is leg)
        if not at:
            return 0.0
        last = legs[at - 1]
        over = last.over
        if over is None:
            return 0.0
        # If it was rung in spite of its pause, then it was free.
        return min(leg.invited, over + parked_s) if last.cancelled is not None else over

    def idle_waits_ms(self, agents: int) -> list[float]:
        """Per call, the longest time on end for which it waited while an agent was free."""
        changes = _Steps(agents)
        for leg in self.legs:
            changes.add(leg.invited, -1)
            if leg.over is not None:
                changes.add(leg.over, 1)
        return [
            max((changes.longest(begin, end) for begin, end in _waits(call)), default=0.0) * 1000
            for call in self.calls
        ]

    def _queue_lengths(self) -> _Steps:
        queue = _Steps(0)
        for call in self.calls:
            for begin, end in _waits(call):
                queue.add(begin, 1)
                queue.add(end, -1)
        return queue


def _waits(call: Call) -> list[tuple[float, float]]:
    """When the call waited with no telephone ringing for it."""
    found, since = [], call.invited
    for leg in call.legs:
        found.append((since, leg.invited))
        if leg.over is None or leg.answered is not None:
            return found
        since = leg.over
    found.append((since, call.ended or call.answered or since))
    return [(begin, end) for begin, end in found if end > begin]


class _Steps:
    """A number that changes at moments."""

    def __init__(self, start: int) -> None:
        self._start = start
        self._changes: list[tuple[float, int]] = []
        self._times: list[float] | None = None
        self._values: list[int] = []

    def add(self, at: float, by: int) -> None:
        self._changes.append((at, by))
        self._times = None

    def _sorted(self) -> list[float]:
        if self._times is None:
            # What goes down comes first: an agent who is rung at once was not idle.
            self._changes.sort()
            self._times = [at for at, _ in self._changes]
            self._values, value = [], self._start
            for _, by in self._changes:
                value += by
                self._values.append(value)
        return self._times

    def at(self, moment: float) -> int:
        """Its value after everything that happened until ``moment``."""
        index = bisect_right(self._sorted(), moment)
        return self._values[index - 1] if index else self._start

    def longest(self, begin: float, end: float) -> float:
        """The longest time on end between ``begin`` and ``end`` for which it was above zero."""
        times = self._sorted()
        first, last = bisect_right(times, begin), bisect_left(times, end)
        longest, since = 0.0, begin if self.at(begin) > 0 else None
        for index in range(first, last):
            if self._values[index] > 0:
                since = times[index] if since is None else since
            elif since is not None:
                longest, since = max(longest, times[index] - since), None
        return max(longest, end - since) if since is not None else longest


class _Reader:
    def __init__(self, callers: int, agents: int) -> None:
        self._callers, self._agents = callers, agents
        self._calls: dict[str, Call] = {}
        self._legs: dict[str, Leg] = {}
        self._by_number: dict[str, Call] = {}

    def timeline(self) -> Timeline:
        return Timeline(self._calls.values())

    def take(self, datagram: Datagram) -> None:
        ports = {datagram.source, datagram.target}
        if self._callers not in ports and self._agents not in ports:
            return
        message = Message.parse(datagram.data)
        if message is None:
            return
        call_id = message.first("call-id")
        if self._callers in ports:
            self._caller(datagram, message, call_id)
        else:
            self._agent(datagram, message, call_id)

    def _caller(self, datagram: Datagram, message: Message, call_id: str) -> None:
        call = self._calls.get(call_id)
        if call is None:
            number = _NUMBER.search(message.first("from"))
            if message.method == "INVITE" and datagram.source == self._callers and number:
                self._calls[call_id] = self._by_number[number[1]] = Call(number[1], datagram.at)
        elif message.method == "BYE":
            call.ended = call.ended or datagram.at
        elif message.status >= 200 and not call.status and _answers(message, "INVITE"):
            call.status = message.status
            if message.status == 200:
                call.answered = datagram.at

    def _agent(self, datagram: Datagram, message: Message, call_id: str) -> None:
        leg = self._legs.get(call_id)
        if leg is None:
            if message.method == "INVITE" and datagram.target == self._agents:
                self._offer(datagram.at, message, call_id)
        elif message.method == "BYE":
            leg.ended = leg.ended or datagram.at
        elif message.method == "CANCEL":
            leg.cancelled = leg.cancelled or datagram.at
        elif _answers(message, "INVITE"):
            if message.status == 200:
                leg.answered = leg.answered or datagram.at
            elif message.status >= 300 and leg.cancelled is None:
                leg.refused = leg.refused or datagram.at

    def _offer(self, at: float, message: Message, call_id: str) -> None:
        number = _NUMBER.search(message.first("from"))
        user = _USER.match(message.uri)
        call = self._by_number.get(number[1]) if number else None
        if call is not None and user:
            leg = self._legs[call_id] = Leg(user[1], at)
            call.legs.append(leg)


def _answers(message: Message, method: str) -> bool:
    return message.status > 0 and message.first("cseq").endswith(method)


def timeline(file: Path, callers: int, agents: int) -> Timeline:
    """Reads a capture; ``callers`` and ``agents`` are the ports of SIPp's two processes.

    Raises ``ServiceError`` for a file that is no capture.
    """
    reader = _Reader(callers, agents)
    for datagram in read(file):
        reader.take(datagram)
    return reader.timeline()

"""A switchboard that can be killed at any effect, with a database that lags behind.

``Exchange`` is ``decide`` with lanes, journal, snapshots and a database that gets records late and
twice. A ``Cut`` says where it dies: at which of its decisions, after how many of that decision's
effects, whether what was sent still reached Asterisk, and for how long nobody starts it again.
Decisions are counted over all lives, so a second cut can hit the recovery from the first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
from tests.unit.call.asterisk import Asterisk
from tests.unit.call.house import House
from tests.unit.call.invariants import after_decision, when_quiet

from vsek.acd.known import Talk, recognise
from vsek.call import effects as do
from vsek.call import events as ev
from vsek.call.decide import decide, find_client
from vsek.call.model import Directory, State
from vsek.domain.ids import ChannelId
from vsek.domain.outcomes import Outcome
from vsek.domain.records import (
    CallClosed,
    CallOpened,
    CallStep,
    NoteDueMoved,
    Record,
    RecordingMade,
)
from vsek.domain.talks import TALK_MIN_S, PastTalk

_TELLS_OF_RECORDING = ("sound:/recorded", "sound:/voicemail")
_RECORDS = (CallOpened, CallStep, CallClosed, NoteDueMoved, RecordingMade)


class Crash(BaseException):
    """The switchboard dies; no error that anybody could handle."""


@dataclass(frozen=True)
class Cut:
    """``effects`` -1: before the event was journalled. ``carried``: what of that was sent arrived:
    ``all``, ``none``, or only what went to agents' ``legs``."""

    decision: int
    effects: int
    carried: str = "all"
    down_s: float = 0.5


class Watched(Asterisk):
    """Complains about a command that ends a talk, or records somebody who was not told of it."""

    def __init__(self) -> None:
        super().__init__()
        self.told: set[ChannelId] = set()
        """Who has heard to the end that they will be recorded."""

    def pairs(self) -> set[frozenset[ChannelId]]:
        return {frozenset(members) for members in self.bridges.values() if len(members) == 2}

    def execute(self, command: do.Command) -> int:
        before = self.pairs()
        status = super().execute(command)
        if isinstance(command, do.Record) and status < 400:
            assert command.channel_id in self.told, "recorded without being told"
        assert before <= self.pairs(), f"a talk was ended by {command}"
        return status

    def sound_ends(self, channel_id: ChannelId) -> None:
        if self.media.get(self.channels[channel_id].jobs[0]) in _TELLS_OF_RECORDING:
            self.told.add(channel_id)
        super().sound_ends(channel_id)


class Exchange(House):
    """The switchboard. ``cuts`` are in the order of their decisions."""

    def __init__(self, book: Directory, cuts: tuple[Cut, ...], events_first: bool) -> None:
        self.cuts = deque(cuts)
        self.events_first = events_first
        self.sizes: list[int] = []
        """How many effects each decision had, over all lives."""
        self.carried = "all"
        self.unfinished: list[do.Effect] = []
        self.number = self.saved = self.shipped = 0
        self.writer: list[tuple[int, Record]] = []
        self.database: dict[tuple[object, ...], Record] = {}
        self.past: list[PastTalk] = []
        """Talks of the days before."""
        super().__init__(book)
        self.asterisk = Watched()

    def decide(self, event: ev.Event) -> list[do.Effect]:
        cut = self._cut()
        if cut is not None and cut.effects < 0:
            self.sizes.append(0)
            raise Crash
        if isinstance(event, ev.CallArrived):
            event = self._recognised(event)
        self.journal.append((event, self.now))
        self.number += 1
        effects = decide(self.state, event, self.now)
        self.places.decided(self.state, effects, self.now)
        self.sizes.append(len(effects))
        for done, effect in enumerate(effects):
            if cut is not None and done == cut.effects:
                self.unfinished = effects[done:]
                raise Crash
            self._effect(effect)
        if cut is not None:
            raise Crash
        self._check()
        return effects

    def _check(self) -> None:
        """Not before the last cut: all of that was looked at when it was run with one cut less."""
        if not self.cuts:
            after_decision(self)

    def _cut(self) -> Cut | None:
        if self.cuts and self.cuts[0].decision == len(self.sizes):
            self.carried = self.cuts[0].carried
            return self.cuts.popleft()
        return None

    def _effect(self, effect: do.Effect) -> None:
        super()._effect(effect)
        if isinstance(effect, _RECORDS):
            self.writer.append((self.number, effect))
        if isinstance(effect, CallStep) and effect.kind == "offered":
            self._check_turn(effect)

    def _check_turn(self, offered: CallStep) -> None:
        """Nobody is overtaken but by those whom the agent knows, and while being kept for one."""
        waiting = [q for q in self.state.acd.calls.values() if q.agent_id is None]
        # Gone again, if its caller was found gone too.
        if offered.call_id in self.state.calls and "known" not in offered.detail:
            place = self.places.of[offered.call_id]
            assert all(q.held or self.places.of[q.call_id] >= place for q in waiting), "overtaken"
        for call in waiting:
            kept_s = self.now - call.queued_at
            assert not call.held or kept_s < self.state.acd.rules.client(call.client_id).hold_s

    def _recognised(self, arrival: ev.CallArrived) -> ev.CallArrived:
        """As ``acquaintance.py``, whose memory is filled from the database after a start."""
        client, _ = find_client(self.state.directory, arrival.dids, arrival.forwarded_by)
        if client is None or not arrival.caller_number:
            return arrival
        caller = client.client_id, arrival.caller_number
        talks = [
            Talk(talk.ended_at, talk.agent_id)
            for talk in (*self.past, *self._talks())
            if (talk.client_id, talk.number) == caller
        ]
        found = recognise(talks, (), "", self.now)
        return msgspec.structs.replace(
            arrival, known=found.agents, sure=found.sure, recognised=found.why
        )

    def _talks(self) -> Iterator[PastTalk]:
        records = [*self.database.values(), *(record for _, record in self.writer)]
        opened = {one.call_id: one for one in records if isinstance(one, CallOpened)}
        for end in records:
            if isinstance(end, CallClosed) and end.agent_id and end.answered_at is not None:
                caller = opened[end.call_id]
                long = end.ended_at - end.answered_at >= TALK_MIN_S
                if long and end.outcome is Outcome.ANSWERED and caller.client_id is not None:
                    yield PastTalk(
                        end.call_id,
                        caller.client_id,
                        end.ended_at,
                        end.agent_id,
                        caller.caller_number,
                        "",
                    )

    def settle(self) -> None:
        while self.connected and (self.lanes or self.replies or self.asterisk.events):
            if self.events_first:
                while self.asterisk.events:
                    self.deliver()
            while self.lanes:
                self.work(next(iter(self.lanes)))
                if self.events_first and self.asterisk.events:
                    break
            while self.replies:
                self.hear()
            while self.asterisk.events and not self.events_first:
                self.deliver()
        if self.connected and not self.cuts:
            when_quiet(self)

    def ship(self) -> None:
        """The database gets what waits for it."""
        for number, record in self.writer:
            key = _key(record)
            if not isinstance(record, NoteDueMoved):
                assert self.database.get(key, record) == record, "two truths"
            self.database[key] = record
            self.shipped = number
        self.writer.clear()
        self.shipped = self.number

    def take_snapshot(self) -> None:
        assert self.shipped == self.number
        super().take_snapshot()
        self.saved = self.number

    def restart(self) -> None:
        """As ``owner.Switchboard.restore``: state from the journal, records from where they end."""
        left, self.unfinished = self.unfinished, []
        now, self.now = self.now, self.journal[-1][1] if self.journal else self.now
        for effect in left:
            if not isinstance(effect, do.Command | do.Examine):
                House._effect(self, effect)
        self.now = now
        self.writer.clear()
        state = msgspec.msgpack.decode(self.snapshot, type=State)
        state.acd.rebuild()
        number = self.saved
        for event, at in msgspec.msgpack.decode(
            msgspec.msgpack.encode(self.journal), type=list[tuple[ev.Event, float]]
        ):
            number += 1
            for effect in decide(state, event, at):
                if isinstance(effect, _RECORDS) and number > self.shipped:
                    self.writer.append((number, effect))
        assert number == self.number
        assert state == self.state
        self.state = state
        self._check()


def _key(record: Record) -> tuple[object, ...]:
    match record:
        case CallStep():
            return ("step", record.call_id, record.number)
        case RecordingMade():
            return ("made", record.call_id, record.name)
        case _:
            return (type(record).__name__, record.call_id)

"""The owner of the live state: one input queue, one way through.

Theory of operation. :meth:`Switchboard.post` puts an event at the end of the queue and, unless a
decision is under way, takes events out one after the other: journal, ``decide``, effects. All of
this is synchronous; nothing is awaited between an event and the commands that it causes, and
nobody else writes the state. An event that a handler causes while it runs waits its turn. Events
that arrived together (:meth:`Switchboard.hold`) are journaled with one write, all before the
first of them is decided about.

Before :meth:`Switchboard.open` events are only collected: a start first brings state and world
together.

A decision that fails is a fault in vsek. It is logged with its event and the next event is
served: one broken call must not take the others with it. Replaying the journal meets the same
fault at the same place and so ends in the same state.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec
import structlog
from structlog.typing import FilteringBoundLogger

from vsek.acd.effects import AgentChanged, CancelTimer, SetTimer
from vsek.acd.state import AgentState
from vsek.call import effects as do
from vsek.call.decide import decide
from vsek.call.events import Event
from vsek.call.model import State, new_state
from vsek.domain.ids import ChannelId
from vsek.domain.records import (
    CallClosed,
    CallOpened,
    CallStep,
    NoteDueMoved,
    Record,
    RecordingMade,
)
from vsek.switchboard.journal import Journal, Unwritten
from vsek.switchboard.ports import Commander, Examiner, RecordSink
from vsek.switchboard.timers import Timers

log = structlog.get_logger(__name__)

SNAPSHOT_EVERY = 20_000
"""Entries between two snapshots."""


def decide_or_log(state: State, event: Event, at: float) -> list[do.Effect]:
    """``decide``, or nothing and an entry in the log where it fails."""
    try:
        return decide(state, event, at)
    except Exception:
        call_id = getattr(event, "call_id", None)
        log.exception(
            "decision_failed",
            call_id=call_id or state.channels.get(getattr(event, "channel_id", ChannelId(""))),
            event_type=type(event).__name__,
            happened=repr(event),
        )
        return []


def played_back(
    journal: Journal, shipped: int, put: Callable[[Sequence[Record], int], None]
) -> tuple[State, float, int]:
    """The state that ``journal`` tells, the time of its last entry, how many were played back.

    ``put`` gets what the database lacks, which has everything up to entry ``shipped``.
    """
    restored, number, entries = journal.restore(shipped)
    state = new_state() if restored is None else restored
    state.acd.rebuild()
    latest = 0.0

    def bridge(state: State, last: int, following: int) -> State:
        """Entries that the disk refused are missing, even where the database lacks those before."""
        snapshots = journal.between(last, following) if following > last + 1 else []
        for snapshot in snapshots:
            # The disk may have refused again before anything else was written.
            for missing in snapshot.unwritten:
                if missing.number > shipped:
                    put(missing.records, missing.number)
            state = snapshot.state
        if snapshots:
            state.acd.rebuild()
        return state

    for entry in entries:
        state = bridge(state, number, entry.number)
        records = records_among(decide_or_log(state, entry.event, entry.at))
        if records and entry.number > shipped:
            put(records, entry.number)
        latest, number = max(latest, entry.at), entry.number
    return bridge(state, number, journal.last_number + 1), latest, len(entries)


class Switchboard:
    """Owns the state. ``commander``, ``records`` and ``examiner`` take effects; ``decided``
    gets the seconds that each event took."""

    def __init__(
        self,
        journal: Journal,
        commander: Commander,
        records: RecordSink,
        examiner: Examiner,
        *,
        clock: Callable[[], float] = time.time,
        decided: Callable[[float], None] | None = None,
    ) -> None:
        self.state = new_state()
        self.journal = journal
        self.timers = Timers(self.post, clock)
        self._commander = commander
        self._records = records
        self._examiner = examiner
        self._clock = clock
        self._decided = decided
        # What structlog would look up anew for each line.
        self._log = log.bind()
        self._queue: deque[Event] = deque()
        self._journaled: deque[tuple[Event, int, float, float]] = deque()
        self._open = False
        self._deciding = False
        self._since_snapshot = 0
        self._replayed_to = 0.0

    def restore(self, shipped: int) -> int:
        """Take up the state from the journal; returns how many entries were replayed.

        Commands are not sent again (recovery compares with Asterisk instead); records that the
        database may not have are.
        """
        self.state, self._replayed_to, count = played_back(self.journal, shipped, self._records.put)
        return count

    def open(self) -> None:
        """Serve what was posted so far, then arm the timers of the restored state.

        In this order: what happened before now outranks a deadline that passed meanwhile.
        """
        restored = dict(self.state.timers)
        # A clock that was set back since the deadlines were written makes none of them later.
        behind = max(0.0, self._replayed_to - self._clock())
        self._open = True
        self._serve()
        for name, (generation, deadline) in restored.items():
            if self.state.timers.get(name) == (generation, deadline):
                self.timers.set(name, generation, deadline - behind)

    def post(self, event: Event) -> None:
        """Something happened. Decided at once, or after the events before it."""
        self._queue.append(event)
        if self._open and not self._deciding:
            self._serve()

    def hold(self) -> None:
        """What is posted from now on arrived together, until :meth:`release`. To be called between
        events only, and not across an ``await``."""
        self._deciding = True

    def release(self) -> None:
        """Decide about what arrived together."""
        self._deciding = False
        if self._open:
            self._serve()

    def _serve(self) -> None:
        self._deciding = True
        try:
            while self._queue or self._journaled:
                if not self._journaled:
                    self._write_down()
                event, number, at, began = self._journaled.popleft()
                self._decide(event, number, at)
                if self._decided is not None:
                    self._decided(time.perf_counter() - began)
                if not self._journaled:
                    # Both stand for the state after the last entry.
                    if self.journal.broken:
                        self.journal.mend(self.state, self._unwritten, at)
                    if self._since_snapshot >= SNAPSHOT_EVERY:
                        self.snapshot()
        finally:
            self._deciding = False

    def _unwritten(self) -> list[Unwritten]:
        waiting = self._records.unwritten(self.journal.missing_from)
        return [Unwritten(number, records) for records, number in waiting]

    def _write_down(self) -> None:
        """All that waits into the journal. Whatever happens then, each is decided about in turn."""
        began = time.perf_counter()
        at = self._clock()
        first = self.journal.append_all(self._queue, at)
        for number, event in enumerate(self._queue, first):
            self._journaled.append((event, number, at, began))
        self._queue.clear()

    def _decide(self, event: Event, number: int, at: float) -> None:
        effects = decide_or_log(self.state, event, at)
        records: list[Record] = []
        for effect in effects:
            # An agent's leg goes first: until a telephone rings it has the longest way of all.
            if isinstance(effect, do.CreateLeg):
                self._commander.send(effect)
        for effect in effects:
            if isinstance(effect, do.Command):
                if not isinstance(effect, do.CreateLeg):
                    self._commander.send(effect)
            elif isinstance(effect, SetTimer):
                self.timers.set(effect.name, effect.generation, effect.deadline)
            elif isinstance(effect, CancelTimer):
                self.timers.cancel(effect.name)
            elif isinstance(effect, do.Examine):
                self._examiner.examine(effect)
            elif isinstance(effect, AgentChanged):
                _log_agent(self._log, effect)
            else:
                records.append(effect)
                _log_record(self._log, effect)
        # An entry without records moves the database's position too, but only with the next one.
        if records:
            self._records.put(records, number)
        self._since_snapshot += 1

    def snapshot(self) -> None:
        """Have a snapshot written; a disk that refuses is logged, the journal goes on."""
        if self._journaled:
            return  # the state is not yet that of the last entry
        self._since_snapshot = 0
        self.journal.snapshot_aside(self.state)

    def close(self) -> None:
        """Stop serving; what is posted from now on is kept out. Leaves a snapshot."""
        self._open = False
        self.timers.close()
        if not self.journal.broken:
            self.snapshot()
        self.journal.release()


_RECORDS = (CallOpened, CallStep, CallClosed, NoteDueMoved, RecordingMade)


def records_among(effects: list[do.Effect]) -> list[Record]:
    """What of ``effects`` is for the database."""
    return [e for e in effects if isinstance(e, _RECORDS)]


_ON_A_CALL = frozenset({AgentState.OFFERED, AgentState.TALKING, AgentState.WRAP_UP})


def _log_agent(log: FilteringBoundLogger, changed: AgentChanged) -> None:
    # What agents do about calls is told by the calls' steps already.
    back = changed.new is AgentState.READY and changed.old in _ON_A_CALL
    told = changed.call_id is not None and (changed.new in _ON_A_CALL or back)
    level = log.debug if told else log.info
    level("agent_changed", **msgspec.structs.asdict(changed))


def _log_record(log: FilteringBoundLogger, record: Record) -> None:
    match record:
        case CallStep(kind="ended"):
            pass  # the call's outcome tells the same
        case CallStep():
            log.info("call_step", call_id=record.call_id, step=record.kind, **_detail(record))
        case CallOpened():
            log.info(
                "call_opened",
                call_id=record.call_id,
                client_id=record.client_id,
                did=record.did,
                channel=record.channel,
            )
        case CallClosed():
            log.info(
                "call_closed",
                call_id=record.call_id,
                outcome=record.outcome,
                stage=record.stage,
                reason=record.reason,
            )
        case RecordingMade():
            log.info("recording_made", call_id=record.call_id, kind=record.kind, name=record.name)
        case NoteDueMoved():
            pass


def _detail(record: CallStep) -> dict[str, str]:
    return {f"step_{key}": value for key, value in record.detail.items()}

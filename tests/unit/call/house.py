"""A switchboard around ``decide``, over the model of Asterisk.

``House`` is what ``vsek.switchboard`` is to the decisions: lanes, a journal, timers, and the way
back after a lost connection or a crash. Nothing moves by itself: the test says which lane gets on,
which event is delivered, when time passes.
"""

from __future__ import annotations

from collections import Counter, deque

import msgspec
from tests.unit.call.asterisk import Asterisk
from tests.unit.call.book import RING, directory
from tests.unit.call.invariants import after_decision, when_quiet
from tests.unit.call.places import Places

from vsek.acd.effects import AgentChanged, CancelTimer, SetTimer
from vsek.acd.events import AgentReachable, TimerDue
from vsek.acd.state import AgentState
from vsek.call import effects as do
from vsek.call import events as ev
from vsek.call.decide import decide
from vsek.call.model import Directory, State, new_state
from vsek.domain.ids import OURS, AgentId, CallId
from vsek.domain.outcomes import Finding, Outcome, Stage
from vsek.domain.records import CallClosed, CallOpened, CallStep, NoteDueMoved, RecordingMade

_TELLING = (do.CreateLeg, do.CreateForward, do.Dial, do.Join, do.Play, do.Record, do.Brief)


class House:
    """``decide`` with lanes, journal and timers around it, and everything counted."""

    def __init__(self, book: Directory | None = None) -> None:
        self.asterisk = Asterisk()
        self.state: State = new_state()
        self.now = 1_700_000_000.0
        self.connected = True
        self.lanes: dict[str, deque[do.Command]] = {}
        self.timed_out: set[int] = set()
        self.replies: deque[ev.CommandFailed] = deque()
        self.snapshot = msgspec.msgpack.encode(self.state)
        self.journal: list[tuple[ev.Event, float]] = []
        self.picture: ev.Reconciled | None = None
        self.late = 0
        self.stale_timers: list[TimerDue] = []
        self.opened: Counter[CallId] = Counter()
        self.closed: dict[CallId, CallClosed] = {}
        self.channels_of: dict[str, CallId] = {}
        self.steps: Counter[CallId] = Counter()
        self.kinds: dict[CallId, list[str]] = {}
        self.moved: list[NoteDueMoved] = []
        self.made: list[RecordingMade] = []
        self.examining: deque[do.Examine] = deque()
        self.sent: list[do.Command] = []
        self.states: dict[AgentId, AgentState] = {}
        self.places = Places()
        self.decide(ev.DirectoryChanged(book or directory()))

    # Decisions

    def decide(self, event: ev.Event) -> list[do.Effect]:
        self.journal.append((event, self.now))
        before = dict(self.state.timers)
        effects = decide(self.state, event, self.now)
        self.places.decided(self.state, effects, self.now)
        for effect in effects:
            self._effect(effect)
        for name, (generation, _) in before.items():
            if self.state.timers.get(name, (0,))[0] != generation:
                self.stale_timers.append(TimerDue(name, generation))
        after_decision(self)
        return effects

    def _effect(self, effect: do.Effect) -> None:
        match effect:
            case do.Command():
                self.sent.append(effect)
                if self.connected:
                    self.lanes.setdefault(effect.lane, deque()).append(effect)
            case do.Examine():
                if self.connected:
                    self.examining.append(effect)
            case SetTimer() | CancelTimer():
                pass  # kept in the state, where a restart finds them
            case AgentChanged():
                assert self.states.get(effect.agent_id, AgentState.LOGGED_OUT) is effect.old
                self.states[effect.agent_id] = effect.new
            case CallOpened():
                self.opened[effect.call_id] += 1
                assert self.opened[effect.call_id] == 1
                assert effect.channel not in self.channels_of, "one caller, two calls"
                self.channels_of[effect.channel] = effect.call_id
            case CallStep():
                self.steps[effect.call_id] += 1
                assert effect.number == self.steps[effect.call_id]
                self.kinds.setdefault(effect.call_id, []).append(effect.kind)
            case CallClosed():
                assert effect.call_id not in self.closed, "a second outcome"
                self.closed[effect.call_id] = effect
                answered = effect.outcome is Outcome.ANSWERED
                talked = {Stage.TALKING: True, Stage.FALLBACK: answered}  # before it came there
                assert answered == talked.get(effect.stage, False)
                talked_at = effect.answered_at is not None
                assert (answered or effect.outcome is Outcome.FORWARDED) == talked_at
                assert effect.note_due_at >= self.now
            case NoteDueMoved():
                self.moved.append(effect)
            case RecordingMade():
                self.made.append(effect)
            case _:
                raise TypeError(effect)

    # The telephone side gets on

    def work(self, lane: str) -> None:
        """Carry out the next command of a lane."""
        command = self.lanes[lane].popleft()
        if not self.lanes[lane]:
            del self.lanes[lane]
        status = self.asterisk.execute(command)
        self._reply(command, status)

    def fail(self, lane: str, status: int) -> None:
        """Asterisk refuses the next command of a lane."""
        command = self.lanes[lane].popleft()
        if not self.lanes[lane]:
            del self.lanes[lane]
        self._reply(command, status)

    def examined(self, finding: Finding, spoken_s: float = 0.0, number: int = 0) -> None:
        """An examination is over."""
        asked = self.examining[number]
        del self.examining[number]
        if asked.recording not in self.asterisk.stored:
            finding, spoken_s = Finding.UNKNOWN, 0.0
        self.decide(ev.Examined(asked.recording, asked.call_id, finding, spoken_s))

    def time_out(self, lane: str) -> None:
        """The reply to the next command of a lane takes too long; it is carried out some time."""
        command = self.lanes[lane][0]
        self.late += 1
        if id(command) not in self.timed_out:
            self._reply(command, 0)
            self.timed_out.add(id(command))

    def _reply(self, command: do.Command, status: int) -> None:
        if id(command) in self.timed_out:
            self.timed_out.discard(id(command))
            return
        if isinstance(command, do.Dial) and status == 409:
            return
        gone = status == 404 and isinstance(command, do.Hangup | do.HangupLeg)
        if gone or ((status >= 400 or status == 0) and isinstance(command, _TELLING)):
            name = type(command).__name__
            about = command.leg_id if isinstance(command, do.Join) else command.channel_id
            sound = command.sound_id if isinstance(command, do.Play | do.Brief) else ""
            failed = ev.CommandFailed(name, command.call_id, about, status, "refused", sound)
            self.replies.append(failed)

    def deliver(self) -> None:
        """The next event arrives."""
        self.decide(self.asterisk.events.popleft())

    def hear(self, number: int = 0) -> None:
        """A reply arrives."""
        reply = self.replies[number]
        del self.replies[number]
        self.decide(reply)

    def settle(self) -> None:
        """Everything that is under way arrives."""
        while self.connected and (self.lanes or self.replies or self.asterisk.events):
            while self.lanes:
                self.work(next(iter(self.lanes)))
            while self.replies:
                self.hear()
            while self.asterisk.events:
                self.deliver()
        if self.connected:
            when_quiet(self)

    def timer(self) -> None:
        """The next timer runs out."""
        name = min(self.state.timers, key=lambda name: self.state.timers[name][1])
        generation, deadline = self.state.timers[name]
        self.now = max(self.now, deadline)
        self.decide(TimerDue(name, generation))

    # Lost connections, crashes

    def disconnect(self, keep: int = 0, *, noticed: bool = True) -> None:
        """The connection is lost; of each lane the first ``keep`` commands got through. A
        switchboard that dies does not notice."""
        for lane in self.lanes.values():
            for command in list(lane)[:keep]:
                self.asterisk.execute(command)
        self.lanes.clear()
        self.replies.clear()
        self.timed_out.clear()
        self.examining.clear()
        self.asterisk.events.clear()
        self.asterisk.listening = False
        self.asterisk.losses += 1
        self.connected = False
        self.picture = None
        if noticed:
            self.decide(ev.AsteriskAway())

    def restart(self) -> None:
        """Forget everything, then snapshot and journal bring it back."""
        state = msgspec.msgpack.decode(self.snapshot, type=State)
        for event, at in msgspec.msgpack.decode(
            msgspec.msgpack.encode(self.journal), type=list[tuple[ev.Event, float]]
        ):
            decide(state, event, at)
        assert state == self.state
        self.state = state

    def take_snapshot(self) -> None:
        self.snapshot = msgspec.msgpack.encode(self.state)
        self.journal.clear()

    def reconnect(self) -> None:
        """Events flow (and are held back), a picture is taken."""
        self.asterisk.listening = True
        self.picture = self.asterisk.picture()

    def recovered(self) -> None:
        """The picture is handed over, then what was held back."""
        picture, self.picture = self.picture, None
        assert picture is not None
        unseen = [
            channel_id
            for channel_id in picture.channels
            if not channel_id.startswith(OURS)
            and channel_id not in self.state.channels
            and channel_id not in picture.diverted
        ]
        self.connected = True
        self.decide(picture)
        for number, channel_id in enumerate(unseen):
            call_id = CallId(f"r{len(self.opened)}-{number}")
            # It may have hung up since; that is held back with the other events.
            there = channel_id in self.asterisk.channels
            self.decide(
                self.asterisk.arrival(call_id, channel_id)
                if there
                else ev.CallArrived(call_id, channel_id, (RING,))
            )
        for agent_id in self.state.acd.agents:
            self.decide(AgentReachable(agent_id, agent_id in self.asterisk.registered))

    def register(self, agent_id: AgentId, registered: bool = True) -> None:
        (self.asterisk.registered.add if registered else self.asterisk.registered.discard)(agent_id)
        self.asterisk.report(AgentReachable(agent_id, registered))

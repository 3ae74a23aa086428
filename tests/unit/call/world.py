"""A small model of Asterisk, callers and agents' phones, and a switchboard around ``decide``.

``Asterisk`` carries out commands and reports events, as far as call scripts can tell it from the
real one: ids are chosen by the client, what is gone answers 404, replies and events are not
ordered against each other. ``House`` is what ``vsek.switchboard`` is to the decisions: lanes, a
journal, timers, and the way back after a lost connection or a crash. Nothing moves by itself: the
test says which lane gets on, which event is delivered, when time passes.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

import msgspec

from vsek.acd.effects import AgentChanged, CancelTimer, SetTimer
from vsek.acd.events import AgentReachable, TimerDue
from vsek.acd.hours import OpenSpan
from vsek.acd.invariants import check
from vsek.acd.state import AgentState, Rules
from vsek.call import effects as do
from vsek.call import events as ev
from vsek.call.decide import decide
from vsek.call.model import AgentEntry, Call, ClientScript, Directory, LegStage, State, new_state
from vsek.domain.ids import AgentId, CallId, ChannelId, ClientId
from vsek.domain.outcomes import Outcome, Stage
from vsek.domain.records import CallClosed, CallOpened, CallStep, NoteDueMoved

RING, GREET, MUTE, CLOSED, UNKNOWN = "+4910", "+4920", "+4930", "+4940", "+4999"
AGENTS = tuple(AgentId(name) for name in ("anna", "bert", "carl"))
_TELLING = (do.CreateLeg, do.Dial, do.Join, do.Play)


def _client(name: str, policy: str, greeting: str = "", **more: object) -> ClientScript:
    return ClientScript(
        ClientId(name),
        name.title(),
        "de",
        "Europe/Berlin",
        policy,
        greeting,
        f"client-{name}",
        **more,  # type: ignore[arg-type]
    )


def directory(
    agents: tuple[AgentId, ...] = AGENTS, rules: Rules | None = None, wrap_up_s: float = 30.0
) -> Directory:
    """Clients for every policy; Monday at 3 in the night ``CLOSED`` is closed."""
    clients = [
        _client("ring", "ring"),
        _client("greet", "greet", "sound:/greeting"),
        _client("mute", "greet", wrap_up_s=0.0),
        _client("closed", "greet", "sound:/x", hours=(OpenSpan(frozenset({6}), 0, 60),)),
    ]
    return Directory(
        clients={client.client_id: client for client in clients},
        dids={
            RING: ClientId("ring"),
            GREET: ClientId("greet"),
            MUTE: ClientId("mute"),
            CLOSED: ClientId("closed"),
        },
        forwarders={"+49777": ClientId("ring")},
        agents={agent_id: AgentEntry(agent_id, agent_id.title(), "de") for agent_id in agents},
        announcements={"closed.de": "sound:/closed", "unknown_number.de": "sound:/unknown"},
        rules=rules or Rules(),
        wrap_up_s=wrap_up_s,
    )


@dataclass
class Channel:
    state: str
    agent: AgentId | None = None
    dialled: bool = False
    ringback: bool = False
    music: str = ""
    sounds: list[str] = field(default_factory=list)
    bridge: str = ""


class Asterisk:
    """Channels, bridges and playbacks."""

    def __init__(self) -> None:
        self.channels: dict[ChannelId, Channel] = {}
        self.bridges: dict[str, list[ChannelId]] = {}
        self.registered: set[AgentId] = set()
        self.events: deque[ev.Event] = deque()
        self.listening = True
        self.calls = 0
        self.losses = 0

    def report(self, event: ev.Event) -> None:
        if self.listening:
            self.events.append(event)

    # People

    def call(self, did: str, **more: object) -> ChannelId:
        self.calls += 1
        channel_id = ChannelId(f"1700000000.{self.calls}")
        self.channels[channel_id] = Channel("Ring")
        self.report(
            ev.CallArrived(CallId(f"k{self.calls}"), channel_id, (did,), **more)  # type: ignore[arg-type]
        )
        return channel_id

    def ring(self, channel_id: ChannelId) -> None:
        self.channels[channel_id].state = "Ringing"
        self.report(ev.ChannelRinging(channel_id))

    def pick_up(self, channel_id: ChannelId) -> None:
        self.channels[channel_id].state = "Up"
        self.report(ev.ChannelUp(channel_id))

    def end(self, channel_id: ChannelId, cause: int = 16) -> None:
        channel = self.channels.pop(channel_id)
        if channel.bridge:
            self.bridges[channel.bridge].remove(channel_id)
        # The request to hang up is what is taken for the end, so it comes before the rest.
        self.report(ev.ChannelGone(channel_id, cause))
        for sound in channel.sounds:
            self._sound_done(sound)

    def sound_ends(self, channel_id: ChannelId) -> None:
        self._sound_done(self.channels[channel_id].sounds.pop(0))

    def _sound_done(self, sound: str) -> None:
        call_id = sound.removeprefix("vsekcall-").rpartition("-")[0]
        self.report(ev.SoundDone(sound, CallId(call_id)))

    # Commands

    def execute(self, command: do.Command) -> int:
        """Carry it out; the status of the reply."""
        match command:
            case do.CreateLeg():
                return self._create(command)
            case do.CreateBridge():
                self.bridges.setdefault(command.bridge_id, [])
                return 200
            case do.DestroyBridge():
                members = self.bridges.pop(command.bridge_id, None)
                for member in members or ():
                    self.channels[member].bridge = ""
                return 404 if members is None else 204
            case do.StopSound():
                return self._stop(command.sound_id)
        channel = self.channels.get(command.channel_id)
        if channel is None:
            return 404
        match command:
            case do.Answer():
                channel.state, channel.ringback = "Up", False
            case do.Ring():
                channel.ringback = True
            case do.Play():
                if command.sound_id in channel.sounds:
                    return 409
                channel.sounds.append(command.sound_id)
                channel.music = ""
            case do.StartMusic():
                channel.music = command.music
            case do.StopMusic():
                channel.music = ""
            case do.Dial():
                return self._dial(command.channel_id, channel)
            case do.Hangup() | do.HangupLeg() | do.HangupStray():
                self.end(command.channel_id)
            case do.Join():
                return self._join(command)
            case _:
                raise TypeError(command)
        return 204

    def _create(self, command: do.CreateLeg) -> int:
        if command.channel_id in self.channels:
            return 409
        if command.agent_id not in self.registered:
            return 500
        self.channels[command.channel_id] = Channel("Down", command.agent_id)
        self.report(ev.LegReady(command.channel_id))
        return 200

    def _dial(self, channel_id: ChannelId, channel: Channel) -> int:
        if channel.state != "Down":
            return 409
        if channel.dialled:
            # As far as we know the channel ends then. Only recovery may run into this, where it
            # cannot know whether the first command got lost.
            assert self.losses, "a second INVITE in the same dialogue"
            self.end(channel_id, 0)
            return 204
        channel.dialled = True
        if channel.agent not in self.registered:
            self.end(channel_id, 20)
        return 204

    def _join(self, command: do.Join) -> int:
        if command.bridge_id not in self.bridges:
            return 404
        both = (command.channel_id, command.leg_id)
        if any(channel_id not in self.channels for channel_id in both):
            return 400
        for channel_id in both:
            channel = self.channels[channel_id]
            if channel.bridge:
                self.bridges[channel.bridge].remove(channel_id)
            channel.bridge = command.bridge_id
            self.bridges[command.bridge_id].append(channel_id)
            self.report(ev.Joined(channel_id))
        return 204

    def _stop(self, sound_id: str) -> int:
        for channel in self.channels.values():
            if sound_id in channel.sounds:
                channel.sounds.remove(sound_id)
                self._sound_done(sound_id)
                return 204
        return 404

    def picture(self) -> ev.Reconciled:
        return ev.Reconciled(
            {channel_id: channel.state for channel_id, channel in self.channels.items()},
            {bridge_id: tuple(members) for bridge_id, members in self.bridges.items()},
            tuple(sound for channel in self.channels.values() for sound in channel.sounds),
        )


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
        self.sent: list[do.Command] = []
        self.states: dict[AgentId, AgentState] = {}
        self.decide(ev.DirectoryChanged(book or directory()))

    # Decisions

    def decide(self, event: ev.Event) -> list[do.Effect]:
        self.journal.append((event, self.now))
        before = dict(self.state.timers)
        effects = decide(self.state, event, self.now)
        for effect in effects:
            self._effect(effect)
        for name, (generation, _) in before.items():
            if self.state.timers.get(name, (0,))[0] != generation:
                self.stale_timers.append(TimerDue(name, generation))
        self.check()
        return effects

    def _effect(self, effect: do.Effect) -> None:
        match effect:
            case do.Command():
                self.sent.append(effect)
                if self.connected:
                    self.lanes.setdefault(effect.lane, deque()).append(effect)
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
                assert answered == (effect.stage is Stage.TALKING)
                assert answered == (effect.answered_at is not None)
                assert effect.note_due_at >= self.now
            case NoteDueMoved():
                self.moved.append(effect)
            case _:
                raise TypeError(effect)

    def check(self) -> None:
        """What holds after every decision."""
        state = self.state
        check(state.acd)
        engaged: dict[AgentId, CallId] = {}
        for call in state.calls.values():
            assert (call.call_id in self.closed) == (call.stage is Stage.ENDED)
            leg = call.leg
            assert (leg is not None) == (call.leg_id is not None)
            assert (call.stage in (Stage.CONNECTING, Stage.TALKING)) <= (leg is not None)
            for other in call.legs.values():
                if other is leg:
                    assert other.stage is not LegStage.LEAVING
                    assert other.agent_id not in engaged, "double booking"
                    engaged[other.agent_id] = call.call_id
                else:
                    assert other.stage is LegStage.LEAVING, "an old leg was not hung up"
                assert state.channels[other.channel_id] == call.call_id
            queued = state.acd.calls.get(call.call_id)
            waits = call.stage in (Stage.GREETING, Stage.WAITING, Stage.CONNECTING, Stage.TALKING)
            assert (queued is not None) == waits
            if leg is not None and queued is not None:
                assert queued.agent_id == leg.agent_id
        busy = {
            agent.agent_id: agent.call_id
            for agent in state.acd.agents.values()
            if agent.state in (AgentState.OFFERED, AgentState.TALKING)
        }
        assert busy == engaged
        assert set(state.acd.calls) <= set(state.calls)
        for timer in state.acd.timers():
            assert state.timers[timer.name] == (timer.generation, timer.deadline)
        guards = {name for name in state.timers if name.startswith("guard:")}
        assert guards == {
            f"guard:{call.call_id}"
            for call in state.calls.values()
            if call.stage in (Stage.ANNOUNCEMENT, Stage.ENDED)
            or (call.stage is Stage.WAITING and not call.answer_sent)
        }
        assert len(state.timers) == len(guards) + len(state.acd.timers())
        assert set(self.opened) == set(self.closed) | {
            c.call_id for c in state.calls.values() if c.stage is not Stage.ENDED
        }

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
            self.replies.append(ev.CommandFailed(name, command.call_id, about, status, "refused"))

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
            self.check_quiet()

    def check_quiet(self) -> None:
        """What holds when nothing is under way: state and world are one."""
        world = self.asterisk
        there: set[ChannelId] = set()
        ghosts: set[ChannelId] = set()
        live = [call for call in self.state.calls.values() if call.stage is not Stage.ENDED]
        for call in self.state.calls.values():
            ghosts |= {leg.channel_id for leg in call.legs.values() if leg is not call.leg}
            if call.stage is Stage.ENDED and not call.caller_gone:
                ghosts.add(call.channel_id)
        for call in live:
            there.add(call.channel_id)
            if call.leg is not None:
                there.add(call.leg.channel_id)
            self._check_call(call)
        # The answer to a hang-up can come too late to be heard; then the guard asks again.
        assert self.late or not ghosts, "what is over lingers"
        assert set(world.channels) == there
        assert set(self.state.channels) == there | ghosts
        assert set(world.bridges) <= {call.bridge_id for call in live}

    def _check_call(self, call: Call) -> None:
        world = self.asterisk
        caller = world.channels[call.channel_id]
        if call.stage in (Stage.GREETING, Stage.ANNOUNCEMENT):
            assert (caller.state, caller.sounds) == ("Up", [call.sound_id])
        elif call.stage is Stage.WAITING:
            assert call.script is not None
            if call.answer_sent:
                assert caller.state == "Up"
                assert caller.music == call.script.music
            else:
                assert caller.ringback
        else:
            assert call.stage is Stage.TALKING, "two are up and do not hear each other"
            assert call.leg is not None
            phone = world.channels[call.leg.channel_id]
            assert phone.bridge == caller.bridge == call.bridge_id != ""
            assert (caller.state, caller.music, caller.sounds) == ("Up", "", [])
            return
        assert not caller.bridge
        if call.leg is not None:
            phone = world.channels[call.leg.channel_id]
            assert phone.dialled
            assert phone.state != "Up", "an agent picked up and nobody noticed"

    def timer(self) -> None:
        """The next timer runs out."""
        name = min(self.state.timers, key=lambda name: self.state.timers[name][1])
        generation, deadline = self.state.timers[name]
        self.now = max(self.now, deadline)
        self.decide(TimerDue(name, generation))

    # Lost connections, crashes

    def disconnect(self, keep: int = 0) -> None:
        """The connection is lost; of each lane the first ``keep`` commands got through."""
        for lane in self.lanes.values():
            for command in list(lane)[:keep]:
                self.asterisk.execute(command)
        self.lanes.clear()
        self.replies.clear()
        self.timed_out.clear()
        self.asterisk.events.clear()
        self.asterisk.listening = False
        self.asterisk.losses += 1
        self.connected = False
        self.picture = None

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
            if not channel_id.startswith("vsekcall-") and channel_id not in self.state.channels
        ]
        self.connected = True
        self.decide(picture)
        for number, channel_id in enumerate(unseen):
            call_id = CallId(f"r{len(self.opened)}-{number}")
            self.decide(ev.CallArrived(call_id, channel_id, (RING,)))
        for agent_id in self.state.acd.agents:
            self.decide(AgentReachable(agent_id, agent_id in self.asterisk.registered))

    def register(self, agent_id: AgentId, registered: bool = True) -> None:
        (self.asterisk.registered.add if registered else self.asterisk.registered.discard)(agent_id)
        self.asterisk.report(AgentReachable(agent_id, registered))

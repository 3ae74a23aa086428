"""A small model of Asterisk, callers and agents' phones, and a switchboard around ``decide``.

``Asterisk`` carries out commands and reports events, as far as call scripts can tell it from the
real one: ids are chosen by the client, what is gone answers 404, replies and events are not
ordered against each other. What it takes for granted is tried against the real one in
``tests/integration/embedded/test_assumptions.py``. ``House`` is what ``vsek.switchboard`` is to the
decisions: lanes, a journal, timers, and the way back after a lost connection or a crash. Nothing
moves by itself: the test says which lane gets on, which event is delivered, when time passes.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

import msgspec

from vsek.acd.effects import AgentChanged, CancelTimer, SetTimer
from vsek.acd.events import AgentReachable, TimerDue
from vsek.acd.hours import OpenSpan
from vsek.acd.invariants import check
from vsek.acd.rules import Action, ClientRules, Rules, Treatment
from vsek.acd.state import AgentState
from vsek.call import effects as do
from vsek.call import events as ev
from vsek.call.decide import decide
from vsek.call.model import (
    AgentEntry,
    Asking,
    Call,
    CallingBack,
    ClientScript,
    Directory,
    LegStage,
    Outbound,
    Screening,
    State,
    new_state,
)
from vsek.domain.ids import OURS, RECORDINGS, AgentId, CallId, ChannelId, ClientId
from vsek.domain.ledger import Served
from vsek.domain.outcomes import Finding, Outcome, Stage
from vsek.domain.records import CallClosed, CallOpened, CallStep, NoteDueMoved, RecordingMade

RING, GREET, MUTE, CLOSED, UNKNOWN = "+4910", "+4920", "+4930", "+4940", "+4999"
SCREEN, KEYS = "+4950", "+4960"
TREAT, TREAT_RING, TREAT_NOW = "+4970", "+4980", "+4971"
OUTSIDE, BUSY_LINE = "+4930111222", "+4930111333"
"""Numbers of clients' own, to which calls are forwarded."""
AGENTS = tuple(AgentId(name) for name in ("anna", "bert", "carl"))
_TELLING = (do.CreateLeg, do.CreateForward, do.Dial, do.Join, do.Play, do.Record, do.Brief)


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


TREATMENTS = {
    ClientId("treat"): ClientRules(
        treatments=(
            Treatment(Action.ANNOUNCE, "sound:/soon", after_s=5.0, every_s=20.0),
            Treatment(Action.CALLBACK, after_s=12.0),
            Treatment(Action.FORWARD, OUTSIDE, after_s=24.0),
            Treatment(Action.VOICEMAIL, after_s=45.0),
        )
    ),
    ClientId("treat-ring"): ClientRules(
        treatments=(
            Treatment(Action.FORWARD, BUSY_LINE, after_s=4.0),
            Treatment(Action.ANNOUNCE, "sound:/soon", after_s=10.0),
            Treatment(Action.FORWARD, OUTSIDE, after_s=20.0),
            Treatment(Action.CALLBACK, after_s=40.0),
        )
    ),
    ClientId("treat-now"): ClientRules(
        treatments=(
            Treatment(Action.CALLBACK),
            Treatment(Action.FORWARD, "110"),
            Treatment(Action.VOICEMAIL, nobody=True, after_s=2.0),
        )
    ),
}
_SPOKEN = (
    *(
        "closed",
        "callback",
        "callback_hidden",
        "callback_number",
        "callback_check",
        "callback_confirm",
    ),
    *("callback_thanks", "voicemail", "voicemail_thanks", *(f"digit_{n}" for n in range(10))),
)
SOUNDS = {f"{name}.de": f"sound:/{name}" for name in _SPOKEN}


def directory(
    agents: tuple[AgentId, ...] = AGENTS, rules: Rules | None = None, wrap_up_s: float = 30.0
) -> Directory:
    """Clients for every policy; Monday at 3 in the night ``CLOSED`` is closed."""
    clients = [
        _client("ring", "ring"),
        _client("greet", "greet", "sound:/greeting"),
        _client("mute", "greet", wrap_up_s=0.0),
        _client(
            "screen",
            "screen",
            "sound:/greeting",
            screening=Screening(
                "sound:/prompt",
                "sound:/recorded",
                "sound:/tone",
                attach=True,
                keys={"1": "pipe burst"},
            ),
        ),
        _client("keys", "screen", screening=Screening("sound:/keys", keys={"1": "urgent"})),
        _client("treat", "greet", "sound:/greeting"),
        _client("treat-ring", "ring"),
        _client("treat-now", "greet", "sound:/greeting"),
        _client("closed", "greet", "sound:/x", hours=(OpenSpan(frozenset({6}), 0, 60),)),
    ]
    return Directory(
        clients={client.client_id: client for client in clients},
        dids={
            RING: ClientId("ring"),
            GREET: ClientId("greet"),
            MUTE: ClientId("mute"),
            CLOSED: ClientId("closed"),
            SCREEN: ClientId("screen"),
            KEYS: ClientId("keys"),
            TREAT: ClientId("treat"),
            TREAT_RING: ClientId("treat-ring"),
            TREAT_NOW: ClientId("treat-now"),
        },
        forwarders={"+49777": ClientId("ring")},
        agents={agent_id: AgentEntry(agent_id, agent_id.title(), "de") for agent_id in agents},
        announcements={**SOUNDS, "unknown_number.de": "sound:/unknown", "tone": "sound:/tone"},
        rules=msgspec.structs.replace(rules or Rules(), clients=TREATMENTS),
        outbound=Outbound("+49309999", 10.0),
        wrap_up_s=wrap_up_s,
    )


@dataclass
class Channel:
    """``jobs`` are playbacks and recordings in their order: a channel does one after the other,
    and nothing else meanwhile. ``did`` is what a caller dialled, ``number`` what we did."""

    state: str
    agent: AgentId | None = None
    number: str = ""
    did: str = ""
    dialled: bool = False
    ringback: bool = False
    music: str = ""
    jobs: list[str] = field(default_factory=list)
    bridge: str = ""
    fallback: bool = False
    heard: bool = False
    message: str = ""
    began_at: float = 0.0

    @property
    def is_caller(self) -> bool:
        """Neither an agent nor a client's number."""
        return self.agent is None and not self.number

    @property
    def sounds(self) -> list[str]:
        """Playbacks, the one that runs first."""
        return [job for job in self.jobs if job.startswith(OURS)]

    @property
    def recording(self) -> str:
        """The recording that runs."""
        return self.jobs[0] if self.jobs and self.jobs[0].startswith(RECORDINGS) else ""


def call_of(job: str) -> CallId:
    """The call of a playback or a recording."""
    return CallId(job.removeprefix(OURS).removeprefix(RECORDINGS).rpartition("-")[0])


class Asterisk:
    """Channels, bridges, playbacks, recordings, and the dialplan's ledger."""

    def __init__(self) -> None:
        self.channels: dict[ChannelId, Channel] = {}
        self.bridges: dict[str, list[ChannelId]] = {}
        self.registered: set[AgentId] = set()
        self.stored: set[str] = set()
        self.media: dict[str, str] = {}
        """What the playbacks play."""
        self.ledger: list[ev.LedgerTold] = []
        self.events: deque[ev.Event] = deque()
        self.listening = True
        self.now = 0.0
        self.calls = 0
        self.losses = 0
        self.unheard: set[ChannelId] = set()
        """Whose end was told by the ledger alone."""
        self.waited_for: set[str] = set()
        """Sounds whose end a join had to wait for; all of that connection waited with it."""

    def report(self, event: ev.Event) -> None:
        if self.listening:
            self.events.append(event)

    # People

    def call(self, did: str, **more: object) -> ChannelId:
        self.calls += 1
        channel_id = ChannelId(f"1700000000.{self.calls}")
        self.channels[channel_id] = Channel("Ring", did=did, began_at=self.now)
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

    def press(self, channel_id: ChannelId, key: str) -> None:
        if not self.channels[channel_id].fallback:
            self.report(ev.KeyPressed(channel_id, key))

    def end(self, channel_id: ChannelId, cause: int = 16) -> None:
        channel = self.channels.pop(channel_id)
        if channel.bridge:
            self.bridges[channel.bridge].remove(channel_id)
        if channel.is_caller:
            self._write_ledger(channel_id, channel)
        # The request to hang up is what is taken for the end, so it comes before the rest.
        if channel.fallback:
            self.unheard.add(channel_id)
        else:
            self.report(ev.ChannelGone(channel_id, cause))
        for job in channel.jobs:
            self._job_done(job)

    def _write_ledger(
        self, channel_id: ChannelId, channel: Channel, served: Served = Served.VSEK
    ) -> None:
        call_id = CallId(f"l{channel_id.rpartition('.')[2]}")
        if channel.fallback and served is Served.VSEK:
            served = Served.FALLBACK
        self.ledger.append(
            ev.LedgerTold(
                ev.CallArrived(call_id, channel_id, (channel.did,)),
                channel.began_at,
                self.now,
                served,
                channel.heard,
                channel.message,
            )
        )
        if channel.message:
            self.stored.add(channel.message)

    def divert(self, channel_id: ChannelId) -> None:
        """The dialplan takes a caller who waits."""
        channel = self.channels[channel_id]
        assert not channel.bridge
        channel.fallback = True
        for job in channel.jobs:
            self._job_done(job)
        channel.jobs.clear()
        channel.music = ""
        self.report(ev.CallerDiverted(channel_id))

    def leave_message(self, channel_id: ChannelId) -> None:
        """A caller speaks to the fallback."""
        channel = self.channels[channel_id]
        channel.heard = True
        channel.message = f"{RECORDINGS}fallback-{channel_id}"

    def sound_ends(self, channel_id: ChannelId) -> None:
        """What runs first on the channel comes to its end."""
        self._job_done(self.channels[channel_id].jobs.pop(0))

    def _job_done(self, job: str) -> None:
        if job.startswith(RECORDINGS):
            self.stored.add(job)
            self.report(ev.RecordingDone(job, call_of(job)))
        else:
            self.report(ev.SoundDone(job, call_of(job)))

    def restart(self) -> None:
        """Everything is gone, and nobody was told. The ledger has no end of those calls."""
        for channel_id, channel in self.channels.items():
            if channel.is_caller:
                self._write_ledger(channel_id, channel, Served.NOBODY)
        self.channels.clear()
        self.bridges.clear()
        self.events.clear()

    # Commands

    def execute(self, command: do.Command) -> int:
        """Carry it out; the status of the reply."""
        match command:
            case do.CreateLeg() | do.CreateForward():
                return self._create(command)
            case do.CreateBridge():
                if command.bridge_id in self.bridges:
                    return 409
                self.bridges[command.bridge_id] = []
                return 200
            case do.DestroyBridge():
                return self._destroy(command.bridge_id)
            case do.StopSound() | do.StopBriefing():
                return self._stop(command.sound_id)
            case do.StopRecording():
                return self._stop(command.recording)
            case do.DropRecording():
                there = command.recording in self.stored
                self.stored.discard(command.recording)
                return 204 if there else 404
        channel = self.channels.get(command.channel_id)
        if channel is None:
            return 404
        if isinstance(command, do.Hangup | do.HangupLeg | do.HangupStray):
            self.end(command.channel_id)
            return 204
        return 409 if channel.fallback else self._on_channel(command, channel)

    def _on_channel(self, command: do.Command, channel: Channel) -> int:
        match command:
            case do.Answer():
                channel.state, channel.ringback = "Up", False
            case do.Ring():
                channel.ringback = True
            case do.Play() | do.Brief():
                # The same id twice: it would be heard twice.
                channel.jobs.append(command.sound_id)
                channel.music = ""
                self.media[command.sound_id] = command.media
            case do.Record():
                if command.recording in channel.jobs:
                    return 409
                channel.jobs.append(command.recording)
                channel.music = ""
            case do.StartMusic():
                channel.music = command.music
            case do.StopMusic():
                channel.music = ""
            case do.Dial():
                return self._dial(command.channel_id, channel)
            case do.Join():
                return self._join(command)
            case _:
                raise TypeError(command)
        return 204

    def _create(self, command: do.CreateLeg | do.CreateForward) -> int:
        if command.channel_id in self.channels:
            return 409
        if isinstance(command, do.CreateForward):
            self.channels[command.channel_id] = Channel("Down", number=command.number)
        elif command.agent_id not in self.registered:
            return 500
        else:
            self.channels[command.channel_id] = Channel("Down", command.agent_id)
        self.report(ev.LegReady(command.channel_id))
        return 200

    def _destroy(self, bridge_id: str) -> int:
        members = self.bridges.pop(bridge_id, None)
        for member in members or ():
            self.channels[member].bridge = ""
        return 404 if members is None else 204

    def _dial(self, channel_id: ChannelId, channel: Channel) -> int:
        if channel.state != "Down":
            return 409
        # It would end then, as if somebody had hung it up.
        assert not channel.dialled, "a second INVITE in the same dialogue"
        channel.dialled = True
        if channel.number == BUSY_LINE:
            self.end(channel_id, 17)
        elif channel.agent not in self.registered and not channel.number:
            self.end(channel_id, 20)
        return 204

    def _join(self, command: do.Join) -> int:
        if command.bridge_id not in self.bridges:
            return 404
        both = (command.channel_id, command.leg_id)
        if any(channel_id not in self.channels for channel_id in both):
            return 400
        if any(self.channels[channel_id].recording for channel_id in both):
            return 409
        for channel_id in both:
            channel = self.channels[channel_id]
            while channel.jobs:
                self.waited_for.add(channel.jobs[0])
                self.sound_ends(channel_id)
            if channel.bridge:
                self.bridges[channel.bridge].remove(channel_id)
            channel.bridge = command.bridge_id
            self.bridges[command.bridge_id].append(channel_id)
            self.report(ev.Joined(channel_id))
        return 204

    def _stop(self, job: str) -> int:
        if "-b" in job:
            # Was on its way in another lane, and that was all that the join waited for.
            self.waited_for.discard(job)
        for channel in self.channels.values():
            if job in channel.jobs:
                channel.jobs.remove(job)
                self._job_done(job)
                return 204
        return 404

    def picture(self) -> ev.Reconciled:
        jobs = [job for channel in self.channels.values() for job in channel.jobs]
        return ev.Reconciled(
            {channel_id: channel.state for channel_id, channel in self.channels.items()},
            {bridge_id: tuple(members) for bridge_id, members in self.bridges.items()},
            tuple(job for job in jobs if job.startswith(OURS)),
            tuple(job for job in jobs if job.startswith(RECORDINGS)),
            tuple(channel_id for channel_id, c in self.channels.items() if c.fallback),
            tuple(
                channel_id
                for channel_id, c in self.channels.items()
                if not c.is_caller and c.state == "Down" and not c.dialled
            ),
        )


_TOGETHER = (Stage.CONNECTING, Stage.TALKING, Stage.FORWARDED)
_WITH_AGENT = (Stage.BRIEFING, Stage.CONNECTING, Stage.TALKING)


_WAITING = (Stage.WAITING, Stage.NOTICE, Stage.CALLBACK, Stage.FORWARDING)


def _queued(call: Call) -> bool:
    if call.stage is Stage.GREETING:
        return call.script is not None and call.script.screening is None
    if call.stage is Stage.VOICEMAIL:
        return not call.message
    return call.stage in _WAITING or call.stage in _WITH_AGENT


def _guarded(call: Call) -> bool:
    if call.stage is Stage.SCREENING:
        return call.screened is not None
    if call.stage is Stage.CALLBACK:
        return call.callback is not None and call.callback.asking is not CallingBack.OFFERED
    if call.stage is Stage.VOICEMAIL:
        return bool(call.message)
    return call.stage in (
        Stage.FORWARDING,
        Stage.ANNOUNCEMENT,
        Stage.BRIEFING,
        Stage.FALLBACK,
        Stage.ENDED,
    ) or (call.stage is Stage.WAITING and not call.answer_sent)


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

    def check(self) -> None:
        """What holds after every decision."""
        state = self.state
        check(state.acd)
        engaged: dict[AgentId, CallId] = {}
        for call in state.calls.values():
            assert (call.call_id in self.closed) == (call.stage is Stage.ENDED)
            leg = call.leg
            assert (leg is not None) == (call.leg_id is not None)
            assert (call.stage in _WITH_AGENT) <= (leg is not None)
            for other in call.legs.values():
                if other is leg:
                    assert other.stage is not LegStage.LEAVING
                    assert other.agent_id not in engaged, "double booking"
                    engaged[other.agent_id] = call.call_id
                else:
                    assert other.stage is LegStage.LEAVING, "an old leg was not hung up"
                assert state.channels[other.channel_id] == call.call_id
            forward = call.forward
            assert (forward is not None) == (call.forward_id is not None)
            assert (call.stage in (Stage.FORWARDING, Stage.FORWARDED)) == (forward is not None)
            for one in call.forwards.values():
                assert (one is forward) == (one.stage is not LegStage.LEAVING)
                assert state.channels[one.channel_id] == call.call_id
            queued = state.acd.calls.get(call.call_id)
            assert (queued is not None) == _queued(call)
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
            f"guard:{call.call_id}" for call in state.calls.values() if _guarded(call)
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
            self.check_quiet()

    def check_quiet(self) -> None:
        """What holds when nothing is under way: state and world are one."""
        world = self.asterisk
        there: set[ChannelId] = set()
        ghosts: set[ChannelId] = set()
        live = [call for call in self.state.calls.values() if call.stage is not Stage.ENDED]
        for call in self.state.calls.values():
            ghosts |= {leg.channel_id for leg in call.legs.values() if leg is not call.leg}
            ghosts |= {one.channel_id for one in call.forwards.values() if one is not call.forward}
            if call.stage is Stage.ENDED and not call.caller_gone:
                ghosts.add(call.channel_id)
        for call in live:
            if not call.caller_gone:
                there.add(call.channel_id)
            if call.leg is not None:
                there.add(call.leg.channel_id)
            if call.forward is not None:
                there.add(call.forward.channel_id)
            self._check_call(call)
        # The answer to a hang-up can come too late to be heard; then the guard asks again. The end
        # of a caller who was diverted is told by the ledger alone.
        diverted = {key for key, channel in world.channels.items() if channel.fallback}
        told = {c.channel_id for c in live if c.stage is Stage.FALLBACK}
        assert self.late or not ghosts - world.unheard, "what is over lingers"
        assert set(world.channels) - diverted == there - told
        assert set(self.state.channels) == there | ghosts
        assert set(world.bridges) <= {call.bridge_id for call in live}
        assert self.late or not world.waited_for, "two were joined after somebody heard a sound out"

    def _check_call(self, call: Call) -> None:
        world = self.asterisk
        if call.stage is Stage.FALLBACK:
            return
        caller = world.channels[call.channel_id]
        leg = world.channels[call.leg.channel_id] if call.leg is not None else None
        recording = [caller.recording] if caller.recording else []
        sound = [call.sound_id] if call.sound_id else []
        heard = (Stage.GREETING, Stage.ANNOUNCEMENT, Stage.NOTICE, Stage.CALLBACK, Stage.VOICEMAIL)
        musical = (Stage.WAITING, Stage.FORWARDING, Stage.BRIEFING)
        music = call.stage in musical and call.answer_sent
        if call.stage is Stage.SCREENING:
            assert call.screened is not None
            asking = call.screened.asking
            saying = asking in (Asking.PROMPT, Asking.NOTICE, Asking.TONE)
            assert caller.sounds == ([call.sound_id] if saying else [])
            assert recording == ([call.screened.recording] if asking is Asking.RECORDING else [])
            waits = [asked.recording for asked in self.examining if asked.call_id == call.call_id]
            assert (asking is Asking.EXAMINING) <= (call.screened.recording in waits)
        else:
            message = [call.message] if call.stage is Stage.VOICEMAIL and call.message else []
            assert (caller.sounds, recording) == (sound if call.stage in heard else [], message)
            assert sound or message or call.stage in (*musical, *_TOGETHER, Stage.CALLBACK)
        assert caller.music == (call.script.music if music and call.script else "")
        assert caller.ringback if not call.answer_sent else caller.state == "Up"
        if call.stage is Stage.BRIEFING:
            assert leg is not None
            assert (leg.state, leg.sounds) == ("Up", [call.briefing_id])
        elif call.stage is Stage.TALKING:
            assert leg is not None
            assert leg.bridge == caller.bridge == call.bridge_id != ""
            assert (leg.state, leg.jobs, leg.music) == ("Up", [], "")
            return
        elif call.stage is Stage.FORWARDED:
            assert call.forward is not None
            forward = world.channels[call.forward.channel_id]
            assert forward.bridge == caller.bridge == call.bridge_id != ""
            assert call.answered_at is not None
            return
        else:
            assert call.stage is not Stage.CONNECTING, "two are up and do not hear each other"
            if leg is not None:
                assert leg.dialled
                assert leg.state != "Up", "an agent picked up and nobody noticed"
        if call.forward is not None:
            forward = world.channels[call.forward.channel_id]
            assert forward.dialled
            assert forward.state != "Up", "the client's number answered and nobody noticed"
        assert not caller.bridge

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
        self.examining.clear()
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
            if not channel_id.startswith(OURS)
            and channel_id not in self.state.channels
            and channel_id not in picture.diverted
        ]
        self.connected = True
        self.decide(picture)
        for number, channel_id in enumerate(unseen):
            call_id = CallId(f"r{len(self.opened)}-{number}")
            # It may have hung up since; that is held back with the other events.
            channel = self.asterisk.channels.get(channel_id)
            did = channel.did if channel is not None else RING
            self.decide(ev.CallArrived(call_id, channel_id, (did,)))
        for agent_id in self.state.acd.agents:
            self.decide(AgentReachable(agent_id, agent_id in self.asterisk.registered))

    def register(self, agent_id: AgentId, registered: bool = True) -> None:
        (self.asterisk.registered.add if registered else self.asterisk.registered.discard)(agent_id)
        self.asterisk.report(AgentReachable(agent_id, registered))

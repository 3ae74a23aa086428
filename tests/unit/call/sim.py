"""Whole calls on a clock of their own, around a switchboard that dies now and then.

Theory of operation. ``Exchange`` is the switchboard. ``Sim`` is the world around it: callers and
agents who act by themselves at their times, whether or not somebody watches; sounds that end; the
dialplan that serves callers while nobody is there. Time jumps from one event to the next, nothing
is random, so a run is named by its scenario and its cuts.

What must hold is checked all the time by ``House``, and here: no talk is ever ended but by the two
who talk, nobody is rung twice at once, nobody overtakes, the database agrees with what was decided.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.unit.call.asterisk import Channel
from tests.unit.call.book import AGENTS, directory
from tests.unit.call.exchange import Crash, Cut, Exchange

from vsek.acd.events import AgentPaused, AgentReadied, TimerDue
from vsek.acd.rules import Rules
from vsek.acd.state import AgentState
from vsek.call import effects as do
from vsek.call import events as ev
from vsek.domain.ids import OURS, RECORDINGS, AgentId, CallId, ChannelId
from vsek.domain.ledger import Served
from vsek.domain.outcomes import Finding, Outcome, Stage
from vsek.domain.records import CallClosed, CallOpened, CallStep, RecordingMade
from vsek.domain.talks import PastTalk
from vsek.switchboard.sweep import owner_of

SOUND_S = 4.0
EXAMINING_S = 0.5
RECOVERY_S = 0.05
DEAD_MAN_S = 15.0
"""How long the dialplan lets a caller wait without a sign of life of vsek."""
PATIENT_S = 12.0
"""How long an agent who picked up listens to nothing."""
FALLBACK_S = 10.0
BREAKS_S = 4.0
"""How long a talk goes well whose agent's network breaks."""


@dataclass
class Caller:
    """Someone who calls, and what they do. Seconds."""

    did: str
    patience_s: float = 90.0
    talk_s: float = 20.0
    hangs_up: bool = False
    """Ends the talk; else the agent does."""
    says: deque[Finding] = field(default_factory=deque)
    speaks_s: float = 3.0
    key: str = ""
    number: str = ""
    presses: dict[str, str] = field(default_factory=dict)
    """Keys pressed a second after the sound whose media begin so."""
    message: bool = True
    """Leaves a message where nobody else answers."""
    again: Caller | None = None
    """How the same caller phones again when this call is over, whatever became of it."""
    again_after_s: float = 10.0
    talked_with: list[AgentId] = field(default_factory=list)
    talked_to: list[str] = field(default_factory=list)
    """Numbers of the client's own."""


class Sim:
    """The world around an ``Exchange``."""

    def __init__(
        self,
        cuts: tuple[Cut, ...] = (),
        *,
        events_first: bool = False,
        wrap_up_s: float = 10.0,
        lazy: bool = False,
    ) -> None:
        """``lazy``: the database is slow, records reach it only now and then."""
        rules = Rules(ring_timeout_s=8.0, rona_park_s=15.0, refusal_park_s=5.0)
        self.exchange = Exchange(directory(AGENTS, rules, wrap_up_s), cuts, events_first)
        self.asterisk = self.exchange.asterisk
        self.lazy = lazy
        self.up = True
        self.dead = False
        self.mortal = bool(cuts)
        self.downs = deque(cut.down_s for cut in cuts)
        self.callers: dict[ChannelId, Caller] = {}
        self.meanwhile: list[Caller] = []
        """They call when events flow again and the picture is not yet taken."""
        self.manners: dict[AgentId, deque[str]] = {agent_id: deque() for agent_id in AGENTS}
        self.breaking: set[ChannelId] = set()
        """Legs whose network breaks during the talk."""
        self.numbers: deque[str] = deque()
        """What clients' own numbers do; the same as agents."""
        self._plan: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._seen: set[tuple[str, str]] = set()
        self._told = 0
        self._settled = 0
        self.begun = self.exchange.now

    # What people do

    def at(self, delay_s: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._plan, (self.exchange.now + delay_s, next(self._order), what))

    def agent(self, agent_id: AgentId, *manners: str) -> None:
        """``manners``: what the agent does at each ringing: ``answer`` (always, after the last),
        ``refuse``, ``ignore``, ``vanish``, ``drop``, ``late``, ``break``."""
        self.manners[agent_id].extend(manners)
        self.at(0.0, lambda: self.exchange.register(agent_id))

    def knows(self, agent_id: AgentId, did: str, number: str) -> None:
        """They talked a day ago."""
        client_id = self.exchange.state.directory.dids[did]
        at = self.begun - 86_400.0
        self.exchange.past.append(PastTalk(CallId("past"), client_id, at, agent_id, number, ""))

    def dial(self, after_s: float, caller: Caller) -> None:
        self.at(after_s, lambda: self._dial(caller))

    def ask(self, after_s: float, event: AgentPaused | AgentReadied) -> None:
        """Somebody uses the control API; refused while nobody is there."""

        def asked() -> None:
            if self.up:
                self.exchange.decide(event)

        self.at(after_s, asked)

    def break_asterisk(self, after_s: float) -> None:
        def fall() -> None:
            self.asterisk.restart()
            self._told = 0
            if not self.dead:
                self._lose(2.0)

        self.at(after_s, fall)

    def _dial(self, caller: Caller) -> None:
        channel_id = self.asterisk.call(caller.did, caller_number=caller.number)
        self.callers[channel_id] = caller
        if not self.asterisk.listening:
            self.asterisk.channels[channel_id].fallback = True
        self.at(caller.patience_s, lambda: self._gives_up(channel_id))

    def _gives_up(self, channel_id: ChannelId) -> None:
        channel = self.asterisk.channels.get(channel_id)
        if channel is not None and not channel.bridge:
            self.asterisk.end(channel_id)

    def _phones_again(self) -> None:
        again: list[tuple[float, Caller]] = []
        for channel_id, caller in self.callers.items():
            over = channel_id not in self.asterisk.channels
            if caller.again is not None and over and self._new(channel_id, "phones again"):
                again.append((caller.again_after_s, caller.again))
        for after_s, caller in again:
            self.dial(after_s, caller)

    def _hang_up(self, channel_id: ChannelId, cause: int = 16) -> None:
        if channel_id in self.asterisk.channels:
            self.asterisk.end(channel_id, cause)

    # What happens by itself

    def _look(self) -> None:
        """What is new in Asterisk sets people and sounds going."""
        self._phones_again()
        for channel_id, channel in list(self.asterisk.channels.items()):
            if channel.jobs and self._new(channel_id, f"{channel.jobs[0]}"):
                self._job(channel_id, channel.jobs[0])
            if channel.is_caller:
                self._look_at_caller(channel_id, channel)
            elif channel.dialled and self._new(channel_id, "dialled"):
                self._rings(channel_id, channel.agent)
        for recording in self.exchange.examining:
            if self._new(recording.recording, f"asked {len(self.exchange.sizes)}"):
                self.at(EXAMINING_S, lambda asked=recording: self._examined(asked))  # type: ignore[misc]

    def _new(self, what: str, which: str) -> bool:
        if (what, which) in self._seen:
            return False
        self._seen.add((what, which))
        return True

    def _job(self, channel_id: ChannelId, job: str) -> None:
        caller = self.callers.get(channel_id)
        length_s = SOUND_S
        if job.startswith(RECORDINGS) and caller is not None:
            length_s = caller.speaks_s
        elif caller is not None:
            media = self.asterisk.media.get(job, "")
            keys = [keys for begin, keys in caller.presses.items() if media.startswith(begin)]
            for key in caller.key + "".join(keys):
                self.at(1.0, lambda key=key: self._presses(channel_id, key))  # type: ignore[misc]

        def ends() -> None:
            channel = self.asterisk.channels.get(channel_id)
            if channel is not None and channel.jobs[:1] == [job]:
                self.asterisk.sound_ends(channel_id)

        self.at(length_s, ends)

    def _presses(self, channel_id: ChannelId, key: str) -> None:
        if channel_id in self.asterisk.channels:
            self.asterisk.press(channel_id, key)

    def _look_at_caller(self, channel_id: ChannelId, channel: Channel) -> None:
        caller = self.callers[channel_id]
        if channel.fallback and self._new(channel_id, "fallback"):
            if caller.message:
                self.at(FALLBACK_S / 2, lambda: self._message(channel_id))
            self.at(FALLBACK_S, lambda: self._hang_up(channel_id))
        members = self.asterisk.bridges.get(channel.bridge, [])
        for leg_id in members:
            leg = self.asterisk.channels[leg_id]
            if not leg.is_caller and self._new(channel_id, f"talks with {leg_id}"):
                if leg.agent is not None:
                    caller.talked_with.append(leg.agent)
                else:
                    caller.talked_to.append(leg.number)
                who = channel_id if caller.hangs_up else leg_id
                after_s, cause = caller.talk_s, 16
                if leg_id in self.breaking:
                    who, after_s, cause = leg_id, BREAKS_S, 27
                self.at(after_s, lambda who=who, cause=cause: self._hang_up(who, cause))  # type: ignore[misc]

    def _message(self, channel_id: ChannelId) -> None:
        if channel_id in self.asterisk.channels:
            self.asterisk.leave_message(channel_id)

    def _rings(self, leg_id: ChannelId, agent_id: AgentId | None) -> None:
        manners = self.numbers if agent_id is None else self.manners[agent_id]
        manner = manners.popleft() if manners else "answer"
        self.at(0.1, lambda: self._if_there(leg_id, self.asterisk.ring, "Down"))
        match manner:
            case "refuse":
                self.at(1.0, lambda: self._hang_up(leg_id, 17))
            case "vanish" if agent_id is not None:
                self.at(1.0, lambda: self.exchange.register(agent_id, registered=False))
                self.at(30.0, lambda: self.exchange.register(agent_id))
            case "answer" | "drop" | "late" | "break":
                if manner == "break":
                    self.breaking.add(leg_id)
                # Late: in the very moment in which the ringing is over.
                after_s = 8.0 if manner == "late" else 3.0
                self.at(after_s, lambda: self._picks_up(leg_id, manner == "drop"))
            case _:
                pass

    def _if_there(self, leg_id: ChannelId, act: Callable[[ChannelId], None], *states: str) -> None:
        leg = self.asterisk.channels.get(leg_id)
        if leg is not None and leg.state in states:
            act(leg_id)

    def _picks_up(self, leg_id: ChannelId, drops: bool) -> None:
        self._if_there(leg_id, self.asterisk.pick_up, "Down", "Ringing")
        if drops:
            self._hang_up(leg_id)
        else:
            self.at(PATIENT_S, lambda: self._tires(leg_id))

    def _tires(self, leg_id: ChannelId) -> None:
        leg = self.asterisk.channels.get(leg_id)
        if leg is not None and not leg.bridge:
            self.asterisk.end(leg_id)

    def _examined(self, asked: do.Examine) -> None:
        for number, waiting in enumerate(self.exchange.examining):
            if waiting is asked:
                caller = self._caller_of(asked.call_id)
                finding = caller.says.popleft() if caller and caller.says else Finding.SPEECH
                self.exchange.examined(finding, 2.0, number)
                return

    def _caller_of(self, call_id: CallId) -> Caller | None:
        by_call = {call: channel for channel, call in self.exchange.channels_of.items()}
        channel = by_call.get(call_id)
        return self.callers[ChannelId(channel)] if channel is not None else None

    # The switchboard's life

    def _crash(self) -> None:
        self.dead = True
        self._lose(self.downs.popleft() if self.downs else 0.5, crash=True)

    def _lose(self, down_s: float, *, crash: bool = False) -> None:
        carried = self.exchange.carried if crash else "none"
        if carried == "legs":
            for lane in [lane for lane in self.exchange.lanes if not lane.startswith(OURS)]:
                del self.exchange.lanes[lane]
        self.exchange.disconnect(0 if carried == "none" else 1000, noticed=False)
        self.up = False
        if down_s > DEAD_MAN_S:
            self.at(DEAD_MAN_S, self._dead_man)
        self.at(down_s, lambda: self._start(crash))

    def _dead_man(self) -> None:
        for channel_id in self.callers:
            channel = self.asterisk.channels.get(channel_id)
            if channel is not None and not channel.bridge and not channel.fallback:
                self.asterisk.divert(channel_id)

    def _start(self, crash: bool) -> None:
        if crash:
            self.dead = False
            self.exchange.restart()
            self._told = 0
        self.asterisk.listening = True
        while self.meanwhile:
            self._dial(self.meanwhile.pop())
        self.exchange.reconnect()
        picture = self.exchange.picture
        self.at(RECOVERY_S, lambda: self._recovered(picture))

    def _recovered(self, picture: ev.Reconciled | None) -> None:
        if picture is self.exchange.picture:
            live = {call.channel_id for call in self.exchange.state.calls.values()}
            for line in self.asterisk.ledger:
                if line.served is Served.FALLBACK and line.arrival.channel_id in live:
                    self.exchange.decide(line)
            self.exchange.recovered()
            self.up = True

    def _tell_ledger(self) -> None:
        """What the database knows to be over is not told, except what the fallback did."""
        exchange, ledger = self.exchange, self.asterisk.ledger
        while self.up and self._told < len(ledger):
            line = ledger[self._told]
            self._told += 1
            channel_id = line.arrival.channel_id
            if exchange.channels_of.get(channel_id) not in exchange.closed or (
                line.message and channel_id in exchange.state.told
            ):
                exchange.decide(line)

    # A run

    def run(self) -> None:
        """Until nothing is left to happen; then everything must be over."""
        for _ in range(10_000):
            try:
                if self.up:
                    self._quiet()
                self._look()
                if not self._next():
                    break
            except Crash:
                self._crash()
        else:
            raise AssertionError("it never ends")
        self._finish()

    def _quiet(self) -> None:
        self.exchange.settle()
        self._one_leg_each()
        self._settled += 1
        if not self.lazy or self._settled % 5 == 0:
            self.exchange.ship()
            if self._settled % 3 == 0:
                self.exchange.take_snapshot()

    def _one_leg_each(self) -> None:
        legs = [c for c in self.asterisk.channels.values() if not c.is_caller]
        rung = [c.agent for c in legs if c.agent is not None]
        assert len(rung) == len(set(rung)), "an agent is rung twice"

    def _next(self) -> bool:
        exchange = self.exchange
        timers = exchange.state.timers if self.up else {}
        name = min(timers, key=lambda name: timers[name][1], default=None)
        if self._plan and (name is None or self._plan[0][0] <= timers[name][1]):
            exchange.now, _, what = heapq.heappop(self._plan)
            self.asterisk.now = exchange.now
            what()
        elif name is not None:
            generation, deadline = timers[name]
            exchange.now = max(exchange.now, deadline)
            exchange.decide(TimerDue(name, generation))
        elif self._told < len(self.asterisk.ledger):
            self._tell_ledger()
        else:
            return False
        if (
            self.up
            and self._told < len(self.asterisk.ledger)
            and self._new("ledger", str(self._told))
        ):
            self.at(1.0, self._tell_ledger)
        return True

    def _finish(self) -> None:
        exchange, state = self.exchange, self.exchange.state
        exchange.ship()
        assert not state.timers
        assert not state.calls
        assert not state.channels
        assert not state.acd.calls
        assert not self.asterisk.channels
        assert not self.asterisk.bridges
        made = {record.name for record in exchange.made}
        # One whose deletion got lost is in no picture of Asterisk; it is swept up.
        left = self.asterisk.stored - made
        assert self.mortal or not left, "a recording stays behind"
        assert {owner_of(name) for name in left} <= set(exchange.closed), "never swept up"
        idle = (AgentState.READY, AgentState.LOGGED_OUT, AgentState.PAUSED)
        assert all(agent.state in idle for agent in state.acd.agents.values())
        self._check_outcomes()

    def _check_outcomes(self) -> None:
        exchange = self.exchange
        records = list(exchange.database.values())
        opened = {r.channel: r.call_id for r in records if isinstance(r, CallOpened)}
        closed = {r.call_id: r for r in records if isinstance(r, CallClosed)}
        assert set(opened) == set(self.callers), "one call for each caller"
        assert set(closed) == set(opened.values()) == set(exchange.opened)
        assert closed == exchange.closed
        for channel_id, caller in self.callers.items():
            end = closed[opened[channel_id]]
            assert (end.outcome is Outcome.ANSWERED) >= bool(caller.talked_with), end
            if end.outcome is Outcome.ANSWERED and caller.talked_with:
                assert end.agent_id == caller.talked_with[-1]
            if end.outcome is Outcome.ANSWERED and not caller.talked_with:
                # The joining was under way when it was seen last, and both are gone.
                assert end.stage is Stage.TALKING
            assert (end.outcome is Outcome.FORWARDED) >= bool(caller.talked_to), end
            if end.outcome is Outcome.FORWARDED and not caller.talked_to:
                assert end.stage is Stage.FORWARDED
            steps = [r for r in records if isinstance(r, CallStep) and r.call_id == end.call_id]
            assert sorted(step.number for step in steps) == list(range(1, len(steps) + 1))
            kinds = [step.kind for step in steps]
            assert kinds.count("ended") == 1
            assert (end.outcome is Outcome.CALLBACK) == ("callback_promised" in kinds), end
            if "voicemail" in kinds and "recording" in kinds[kinds.index("voicemail") :]:
                assert end.outcome is Outcome.VOICEMAIL, end
                assert any(
                    isinstance(r, RecordingMade) and r.call_id == end.call_id for r in records
                )

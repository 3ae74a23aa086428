"""Calls and distribution together, in any order of events, with losses and crashes.

After each decision ``after_decision`` compares call scripts with the distribution; whenever nothing
is under way ``when_quiet`` compares the state with the model of Asterisk; in the end every
call has one outcome, and nothing is left.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tests.unit.call.book import (
    AGENTS,
    CLOSED,
    GREET,
    HOLD,
    HOLD_TREAT,
    KEYS,
    MUTE,
    RING,
    SCREEN,
    TREAT,
    TREAT_NOW,
    TREAT_RING,
    UNKNOWN,
    directory,
)
from tests.unit.call.house import House

from vsek.acd.events import AgentPaused, AgentReachable, AgentReadied
from vsek.acd.known import Why
from vsek.acd.rules import Rules
from vsek.acd.state import AgentState
from vsek.call import effects as do
from vsek.call import events as ev
from vsek.domain.ids import OURS, AgentId, ChannelId
from vsek.domain.ledger import Served
from vsek.domain.outcomes import Finding

DIDS = (
    *(RING, GREET, GREET, MUTE, SCREEN, SCREEN, KEYS, CLOSED, UNKNOWN),
    *(TREAT, TREAT, TREAT_RING, TREAT_NOW, HOLD, HOLD_TREAT),
)
NUMBERS = ("", "+49301234567", "12", RING)
KNOWN = ((), (), AGENTS[:1], (AGENTS[1], AGENTS[0]))
"""Who knows the matter of a caller."""
_PICK = st.integers(0, 1_000)
_AGENTS = st.sampled_from(AGENTS)
_MAY_FAIL = (do.CreateLeg, do.CreateForward, do.Dial, do.Join, do.Play, do.Record, do.Brief)
_RULES = st.builds(
    Rules,
    ring_timeout_s=st.just(20.0),
    rona_park_s=st.sampled_from([0.0, 60.0]),
    refusal_park_s=st.sampled_from([0.0, 10.0]),
)


class Telephony(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.house = House()

    @property
    def world(self) -> dict[ChannelId, str]:
        return {key: channel.state for key, channel in self.house.asterisk.channels.items()}

    def callers(self) -> list[ChannelId]:
        return [key for key in self.world if not key.startswith(OURS)]

    def phones(self, *states: str) -> list[ChannelId]:
        channels = self.house.asterisk.channels
        return [k for k, c in channels.items() if c.dialled and (c.state in states or not states)]

    def after(self, settle: bool) -> None:
        if settle and self.house.connected:
            self.house.settle()

    @initialize(rules=_RULES, agents=st.integers(0, 3), wrap_up_s=st.sampled_from([0.0, 30.0]))
    def open_house(self, rules: Rules, agents: int, wrap_up_s: float) -> None:
        self.house.decide(ev.DirectoryChanged(directory(AGENTS, rules, wrap_up_s)))
        for agent_id in AGENTS[:agents]:
            self.house.register(agent_id)
        self.house.settle()

    # Callers

    @precondition(lambda self: self.house.asterisk.listening)
    @rule(
        did=st.sampled_from(DIDS),
        number=st.sampled_from(NUMBERS),
        known=st.sampled_from(KNOWN),
        settle=st.booleans(),
    )
    def call(self, did: str, number: str, known: tuple[AgentId, ...], settle: bool) -> None:
        why = Why.NUMBER if known else Why.STRANGER
        self.house.asterisk.call(did, number, known=known, sure=bool(known), recognised=why)
        self.after(settle)

    @precondition(lambda self: self.callers())
    @rule(pick=_PICK, settle=st.booleans())
    def caller_hangs_up(self, pick: int, settle: bool) -> None:
        callers = self.callers()
        self.house.asterisk.end(callers[pick % len(callers)])
        self.after(settle)

    def busy(self) -> list[ChannelId]:
        return [key for key, channel in self.house.asterisk.channels.items() if channel.jobs]

    @precondition(lambda self: self.busy())
    @rule(pick=_PICK, settle=st.booleans())
    def sound_ends(self, pick: int, settle: bool) -> None:
        busy = self.busy()
        self.house.asterisk.sound_ends(busy[pick % len(busy)])
        self.after(settle)

    @precondition(lambda self: self.house.examining)
    @rule(pick=_PICK, finding=st.sampled_from(Finding), settle=st.booleans())
    def examined(self, pick: int, finding: Finding, settle: bool) -> None:
        self.house.examined(finding, 2.0, pick % len(self.house.examining))
        self.after(settle)

    @precondition(lambda self: self.world)
    @rule(pick=_PICK, key=st.sampled_from("11256789*##A"), settle=st.booleans())
    def key(self, pick: int, key: str, settle: bool) -> None:
        channels = list(self.world)
        self.house.asterisk.press(channels[pick % len(channels)], key)
        self.after(settle)

    # The dialplan serves callers who wait too long without a sign of life, and writes its ledger

    def waiting(self) -> list[ChannelId]:
        channels = self.house.asterisk.channels
        return [k for k in self.callers() if not channels[k].bridge and not channels[k].fallback]

    @precondition(lambda self: self.waiting())
    @rule(pick=_PICK, settle=st.booleans())
    def diverted(self, pick: int, settle: bool) -> None:
        waiting = self.waiting()
        self.house.asterisk.divert(waiting[pick % len(waiting)])
        self.after(settle)

    def left(self) -> list[ChannelId]:
        return [k for k, c in self.house.asterisk.channels.items() if c.fallback and not c.message]

    @precondition(lambda self: self.left())
    @rule(pick=_PICK)
    def message(self, pick: int) -> None:
        left = self.left()
        self.house.asterisk.leave_message(left[pick % len(left)])

    def untold(self) -> list[ev.LedgerTold]:
        """What the ledger has to tell: of calls without an outcome, and of those it served."""
        house = self.house
        return [
            line
            for line in house.asterisk.ledger
            if line.served is Served.FALLBACK
            or house.channels_of.get(line.arrival.channel_id) not in house.closed
        ]

    @precondition(lambda self: self.untold() and not self.down)
    @rule(pick=_PICK, settle=st.booleans())
    def ledger_told(self, pick: int, settle: bool) -> None:
        untold = self.untold()
        self.house.decide(untold[pick % len(untold)])
        self.after(settle)

    # Agents

    @rule(agent_id=_AGENTS, registered=st.booleans(), settle=st.booleans())
    def register(self, agent_id: AgentId, registered: bool, settle: bool) -> None:
        self.house.register(agent_id, registered)
        self.after(settle)

    @rule(agent_id=_AGENTS, ready=st.booleans(), settle=st.booleans())
    def wish(self, agent_id: AgentId, ready: bool, settle: bool) -> None:
        self.house.decide(AgentReadied(agent_id) if ready else AgentPaused(agent_id, "lunch"))
        self.after(settle)

    @precondition(lambda self: self.phones("Down"))
    @rule(pick=_PICK, settle=st.booleans())
    def phone_rings(self, pick: int, settle: bool) -> None:
        phones = self.phones("Down")
        self.house.asterisk.ring(phones[pick % len(phones)])
        self.after(settle)

    @precondition(lambda self: self.phones("Down", "Ringing"))
    @rule(pick=_PICK, settle=st.booleans())
    def agent_picks_up(self, pick: int, settle: bool) -> None:
        phones = self.phones("Down", "Ringing")
        self.house.asterisk.pick_up(phones[pick % len(phones)])
        self.after(settle)

    @precondition(lambda self: self.phones())
    @rule(pick=_PICK, cause=st.sampled_from([0, 16, 17, 20, 21]), settle=st.booleans())
    def agent_hangs_up(self, pick: int, cause: int, settle: bool) -> None:
        phones = self.phones()
        self.house.asterisk.end(phones[pick % len(phones)], cause)
        self.after(settle)

    @rule(
        agents=st.sampled_from([AGENTS, AGENTS[:2], AGENTS[1:]]),
        rules=_RULES,
        wrap_up_s=st.sampled_from([0.0, 30.0]),
    )
    def directory_changes(
        self, agents: tuple[AgentId, ...], rules: Rules, wrap_up_s: float
    ) -> None:
        self.house.decide(ev.DirectoryChanged(directory(agents, rules, wrap_up_s)))
        for agent_id in agents:
            self.house.decide(AgentReachable(agent_id, agent_id in self.house.asterisk.registered))

    # What is under way

    @precondition(lambda self: self.house.lanes)
    @rule(pick=_PICK, times=st.integers(1, 4))
    def lane_gets_on(self, pick: int, times: int) -> None:
        lane = list(self.house.lanes)[pick % len(self.house.lanes)]
        for _ in range(times):
            if lane in self.house.lanes:
                self.house.work(lane)

    @precondition(lambda self: self.failing())
    @rule(pick=_PICK, status=st.sampled_from([400, 409, 500]))
    def command_fails(self, pick: int, status: int) -> None:
        lanes = self.failing()
        lane = lanes[pick % len(lanes)]
        if status != 409 or not isinstance(
            self.house.lanes[lane][0], do.CreateLeg | do.CreateForward | do.Dial
        ):
            self.house.fail(lane, status)

    def failing(self) -> list[str]:
        return [n for n, lane in self.house.lanes.items() if isinstance(lane[0], _MAY_FAIL)]

    @precondition(lambda self: self.house.lanes)
    @rule(pick=_PICK)
    def reply_takes_too_long(self, pick: int) -> None:
        self.house.time_out(list(self.house.lanes)[pick % len(self.house.lanes)])

    @precondition(lambda self: self.house.asterisk.events and self.house.connected)
    @rule(times=st.integers(1, 4))
    def event_arrives(self, times: int) -> None:
        for _ in range(times):
            if self.house.asterisk.events:
                self.house.deliver()

    @precondition(lambda self: self.house.replies)
    @rule(pick=_PICK)
    def reply_arrives(self, pick: int) -> None:
        self.house.hear(pick % len(self.house.replies))

    @precondition(lambda self: self.house.connected)
    @rule()
    def settle(self) -> None:
        self.house.settle()

    # Time

    @rule(seconds=st.sampled_from([0.1, 5.0]))
    def time_passes(self, seconds: float) -> None:
        self.house.now += seconds

    @precondition(lambda self: self.house.state.timers and not self.down)
    @rule(settle=st.booleans())
    def timer(self, settle: bool) -> None:
        self.house.timer()
        self.after(settle)

    @precondition(lambda self: self.house.stale_timers)
    @rule(pick=_PICK)
    def stale_timer(self, pick: int) -> None:
        stale = self.house.stale_timers
        assert self.house.decide(stale[pick % len(stale)]) == []

    # Losses

    down = False

    @rule()
    def snapshot(self) -> None:
        self.house.take_snapshot()

    @precondition(lambda self: self.house.asterisk.listening)
    @rule(keep=st.integers(0, 3), crash=st.booleans())
    def connection_lost(self, keep: int, crash: bool) -> None:
        self.house.disconnect(keep)
        if crash:
            self.house.restart()
            self.down = True  # no timers, before Asterisk was asked

    @precondition(lambda self: not self.house.asterisk.listening)
    @rule(at_once=st.booleans(), settle=st.booleans())
    def reconnect(self, at_once: bool, settle: bool) -> None:
        self.house.reconnect()
        if at_once:
            self.recovered(settle)

    @precondition(lambda self: self.house.picture)
    @rule(settle=st.booleans())
    def recovered(self, settle: bool) -> None:
        self.house.recovered()
        self.down = False
        self.after(settle)

    # The end

    def teardown(self) -> None:
        house = self.house
        if not house.asterisk.listening:
            house.reconnect()
        if house.picture is not None:
            house.recovered()
        for _ in range(2):
            house.settle()
            for channel_id in self.callers():
                house.asterisk.end(channel_id)
        house.settle()
        for line in self.untold():
            house.decide(line)
        house.settle()
        for _ in range(50):
            if not house.state.timers:
                break
            house.timer()
            house.settle()
        assert not house.state.timers
        assert not house.state.calls
        assert not house.state.channels
        assert not house.state.acd.calls
        assert not house.asterisk.channels
        assert not house.asterisk.bridges
        # Nothing of what a caller said stays behind unless somebody asked for it.
        assert house.asterisk.losses or house.asterisk.stored <= {made.name for made in house.made}
        assert set(house.opened) == set(house.closed)
        idle = (AgentState.READY, AgentState.LOGGED_OUT, AgentState.PAUSED)
        assert all(agent.state in idle for agent in house.state.acd.agents.values())
        # Every agent who took a call has told when the note may leave.
        for closed in house.closed.values():
            if closed.agent_id is not None:
                assert closed.agent_id in [
                    moved.agent_id for moved in house.moved if moved.call_id == closed.call_id
                ]


TestTelephony = Telephony.TestCase
TestTelephony.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)

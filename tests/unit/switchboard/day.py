"""Days of a house without a telephone: callers and agents in virtual time, decided and journalled.

``Day`` drives ``vsek.call.decide`` as the switchboard does and writes the same journal. Whoever is
rung picks up or not as ``answers`` says; whoever waits is patient as the caller is. Nothing is
random but what the test gives.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.unit.switchboard.lives import journal_in

from vsek.acd.effects import AgentChanged, CancelTimer, SetTimer
from vsek.acd.events import AgentPaused, AgentReachable, AgentReadied, TimerDue
from vsek.acd.known import Why
from vsek.acd.rules import Rules
from vsek.call import effects as do
from vsek.call import events as ev
from vsek.call.decide import decide
from vsek.call.model import AgentEntry, ClientScript, Directory, new_state
from vsek.domain.ids import AgentId, CallId, ChannelId, ClientId
from vsek.domain.records import CallClosed, CallStep, Record
from vsek.switchboard.owner import records_among

BEGIN = 1_790_000_000.0


def directory(clients: list[str], agents: list[str], rules: Rules, wrap_up_s: float) -> Directory:
    """Clients whose callers hear it ring, each with the number ``+49CLIENT``."""
    return Directory(
        clients={
            ClientId(name): ClientScript(
                ClientId(name), name.title(), "de", "Europe/Berlin", "ring", "", "default"
            )
            for name in clients
        },
        dids={f"+49{name}": ClientId(name) for name in clients},
        agents={AgentId(name): AgentEntry(AgentId(name), name.title(), "de") for name in agents},
        rules=rules,
        wrap_up_s=wrap_up_s,
    )


@dataclass
class Caller:
    """One call: when it comes (seconds from the beginning), and what the two of them do."""

    at: float
    client: str
    number: str = ""
    name: str = ""
    patience_s: float = 600.0
    talk_s: float = 60.0
    known: tuple[str, ...] = ()
    """Agents who know the matter, for sure."""


@dataclass
class Day:
    """A journal in ``folder`` and what was decided. ``answers`` tells after how many seconds an
    agent picks up who is rung for the n-th time; below 0: refuses after so many."""

    folder: Path
    book: Directory
    answers: Callable[[AgentId, int], float] = lambda _agent, _ring: 2.0
    snapshot_every: int = 0
    now: float = BEGIN
    steps: dict[CallId, list[tuple[str, dict[str, str]]]] = field(default_factory=dict)
    closed: dict[CallId, CallClosed] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.journal = journal_in(self.folder)
        self.state = new_state()
        self._plan: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._rings: dict[AgentId, int] = {}
        self._talks: dict[CallId, float] = {}
        self.decide(ev.DirectoryChanged(self.book))

    def at(self, after_s: float, what: Callable[[], None]) -> None:
        """Plan something, ``after_s`` seconds from the beginning."""
        heapq.heappush(self._plan, (BEGIN + after_s, next(self._order), what))

    def tell(self, after_s: float, event: ev.Event) -> None:
        """Plan an event."""
        self.at(after_s, lambda: self.decide(event))

    def _soon(self, seconds: float, event: ev.Event) -> None:
        self.tell(self.now + seconds - BEGIN, event)

    def sign_in(self, *agents: str) -> None:
        """Their telephones register now, one after the other."""
        for name in agents:
            self.decide(AgentReachable(AgentId(name), True))

    def pause(self, after_s: float, agent: str, for_s: float) -> None:
        """The agent has a break."""
        self.tell(after_s, AgentPaused(AgentId(agent), "break"))
        self.tell(after_s + for_s, AgentReadied(AgentId(agent)))

    def dial(self, caller: Caller) -> CallId:
        """Plan a call; its id."""
        number = next(self._order)
        letters = "23456789abcdefghjkmnpqrstuvwxyz"
        digits = (letters[number // 31**place % 31] for place in range(6))
        call_id = CallId(f"260921-120000-{''.join(digits)}")
        channel_id = ChannelId(f"c-{number}")
        self._talks[call_id] = caller.talk_s
        self.tell(
            caller.at,
            ev.CallArrived(
                call_id,
                channel_id,
                (f"+49{caller.client}",),
                caller_number=caller.number,
                caller_name=caller.name,
                known=tuple(map(AgentId, caller.known)),
                sure=bool(caller.known),
                recognised=Why.NUMBER if caller.known else Why.STRANGER,
            ),
        )

        def gives_up() -> None:
            call = self.state.calls.get(call_id)
            if call is not None and call.agent_id is None:
                self.decide(ev.ChannelGone(channel_id))

        self.at(caller.at + caller.patience_s, gives_up)
        return call_id

    def run(self) -> None:
        """Until nothing is planned any more."""
        while self._plan:
            at, _, what = heapq.heappop(self._plan)
            self.now = max(self.now, at)
            what()
        self.journal.close()

    def decide(self, event: ev.Event) -> None:
        """As the switchboard does it."""
        number = self.journal.append(event, self.now)
        effects = decide(self.state, event, self.now)
        self.records += records_among(effects)
        for effect in effects:
            self._do(effect)
        if self.snapshot_every and number % self.snapshot_every == 0:
            self.journal.snapshot(self.state)

    def _do(self, effect: do.Effect) -> None:
        match effect:
            case SetTimer(name, generation, deadline):
                self.at(deadline - BEGIN, lambda: self._due(name, generation))
            case CancelTimer() | AgentChanged():
                pass  # stale ones are not told of
            case CallStep(call_id, _, _, kind, detail):
                self.steps.setdefault(call_id, []).append((kind, detail))
            case CallClosed():
                self.closed[effect.call_id] = effect
            case do.Play():
                self._soon(4.0, ev.SoundDone(effect.sound_id, effect.call_id))
            case do.CreateLeg():
                self._soon(0.01, ev.LegReady(effect.channel_id))
            case do.Dial():
                self._ring(effect.channel_id)
            case do.Join():
                self._soon(0.01, ev.Joined(effect.channel_id))
                self._soon(0.01, ev.Joined(effect.leg_id))
                self._soon(self._talks[effect.call_id], ev.ChannelGone(effect.channel_id))
            case do.Hangup() | do.HangupLeg():
                self._soon(0.01, ev.ChannelGone(effect.channel_id))
            case _:
                pass

    def _due(self, name: str, generation: int) -> None:
        if self.state.timers.get(name, (0, 0.0))[0] == generation:
            self.decide(TimerDue(name, generation))

    def _ring(self, leg_id: ChannelId) -> None:
        agent_id = self.state.calls[self.state.channels[leg_id]].legs[leg_id].agent_id
        ring = self._rings[agent_id] = self._rings.get(agent_id, 0) + 1
        after_s = self.answers(agent_id, ring)
        self._soon(0.01, ev.ChannelRinging(leg_id))
        if after_s >= 0:
            self._soon(after_s, ev.ChannelUp(leg_id))
        else:
            self._soon(-after_s, ev.ChannelGone(leg_id, 21))

"""Why a call went the way it did: its part of the journal played back, with a witness beside.

The witness stands where the distribution makes its choices (``Acd.observer``) and looks at the call
after each entry. It writes down every choice of an agent for the call, every stretch of waiting and
whatever changed in it (a circle opened, a hold ended, other rules), and who might have taken the
call but was given another one. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from vsek.acd.entitlement import Tier
from vsek.acd.explain import View, view
from vsek.acd.matching import acquainted, urgency, verdict
from vsek.acd.state import Acd, Agent, CallState, QueuedCall
from vsek.call.model import State
from vsek.domain.ids import AgentId, CallId
from vsek.domain.records import CallClosed, CallOpened, CallStep
from vsek.domain.text import counted
from vsek.errors import InputError
from vsek.switchboard.history import Chronicle, Gaps, Playback


class Offered(msgspec.Struct, frozen=True, tag="offered"):
    """The call was given to an agent. ``at`` is in Unix seconds, ``entry`` the journal's number."""

    at: float
    entry: int
    agent_id: AgentId
    view: View
    """As of the moment before."""
    detail: dict[str, str]
    """What the timeline tells of this decision."""

    @property
    def consistent(self) -> bool:
        """Whether asking everybody finds the agent whom the distribution found by its indexes, and
        as many who might have taken the call."""
        entitled = self.view.entitled
        told = int(self.detail.get("entitled", 0))
        return bool(entitled) and entitled[0].agent_id == self.agent_id and len(entitled) == told


class Cause(StrEnum):
    """Why a waiting call was looked at again."""

    QUEUED = "queued"
    OFFER_ENDED = "offer_ended"
    CIRCLE = "circle"
    HELD = "held"
    """It is kept for somebody from now on."""
    UNHELD = "unheld"
    GROUP = "group"
    RULES = "rules"
    AWAY = "away"
    """The connection to Asterisk was lost."""
    BACK = "back"


class Waits(msgspec.Struct, frozen=True, tag="waits"):
    """Nobody may take the call now, who is ready; or nobody's telephone can be made to ring."""

    at: float
    entry: int
    causes: tuple[Cause, ...]
    view: View
    expected_s: float | None
    """How long the wait was expected to be, in seconds."""
    away: bool = False
    """There is no connection to Asterisk: whoever may take it has to wait as well."""


class PassedOver(msgspec.Struct, frozen=True, tag="passed_over"):
    """While the call waited an agent who might have taken it was given another one."""

    at: float
    entry: int
    agent_id: AgentId
    other: CallId
    kept: bool
    """The other call had been kept for that agent, or the agent knows its matter."""
    urgency: float
    other_urgency: float
    """Waiting times in terms of the targets."""


class Step(msgspec.Struct, frozen=True, tag="step"):
    """A line of the call's timeline, as it was recomputed."""

    at: float
    entry: int
    kind: str
    detail: dict[str, str]


Happening = Offered | Waits | PassedOver | Step


class Account(msgspec.Struct):
    """What the journal tells of one call."""

    call_id: CallId
    place: str
    """Where the journal was read, in people's words."""
    from_entry: int
    """The call's first entry."""
    happenings: list[Happening] = []
    opened: CallOpened | None = None
    closed: CallClosed | None = None
    queued_at: float | None = None
    """When it began to wait for an agent first."""
    arrival: float | None = None
    """The arrival that gave it its place then; earlier than ``queued_at`` for who called again."""
    base: int = 0
    """The snapshot that the playback began with; 0: none."""
    played: int = 0
    """Entries played back."""
    last_entry: int = 0
    last_at: float = 0.0

    @property
    def offers(self) -> list[Offered]:
        """The choices of agents for the call."""
        return [one for one in self.happenings if isinstance(one, Offered)]


@dataclass
class _Seen:
    state: CallState
    offers: int
    circles: int
    held: bool
    group: str
    version: int
    away: bool


class Witness:
    """Stands beside a playback and writes down what concerns one call."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.at = 0.0
        self.entry = 0
        self._choices: list[tuple[AgentId, View]] = []
        self._seen: _Seen | None = None

    def stand_by(self, state: State) -> None:
        """Watch the distribution of ``state``."""
        state.acd.observer = self._choice

    def before(self, at: float, entry: int) -> None:
        """An entry is about to be decided."""
        self.at, self.entry = at, entry
        self._choices.clear()

    def _choice(self, acd: Acd, call: QueuedCall, agent: Agent) -> None:
        if call.call_id == self.account.call_id:
            self._choices.append((agent.agent_id, view(acd, call, self.at)))
            return
        mine = acd.calls.get(self.account.call_id)
        if mine is None or mine.state is not CallState.WAITING or not _might(acd, mine, agent):
            return
        self.account.happenings.append(
            PassedOver(
                self.at,
                self.entry,
                agent.agent_id,
                call.call_id,
                call.held or agent.agent_id in call.known,
                urgency(acd, mine, self.at),
                urgency(acd, call, self.at),
            )
        )

    def after(self, state: State, effects: Sequence[object]) -> None:
        """One entry was decided."""
        account, told = self.account, self.account.happenings
        for effect in effects:
            match effect:
                case CallStep(call_id=account.call_id, kind="offered"):
                    agent_id, seen = self._choices.pop(0)
                    told.append(Offered(self.at, self.entry, agent_id, seen, effect.detail))
                case CallStep(call_id=account.call_id):
                    told.append(Step(self.at, self.entry, effect.kind, effect.detail))
                case CallOpened(call_id=account.call_id):
                    account.opened = effect
                case CallClosed(call_id=account.call_id):
                    account.closed = effect
        account.last_entry, account.last_at = self.entry, self.at
        self._look(state.acd)

    def _look(self, acd: Acd) -> None:
        call = acd.calls.get(self.account.call_id)
        if call is None:
            self._seen = None
            return
        if self.account.queued_at is None:
            self.account.queued_at, self.account.arrival = call.queued_at, call.arrival
        now = _Seen(
            call.state,
            call.offers,
            call.circles,
            call.held,
            call.group,
            acd.rules.version,
            acd.halted,
        )
        before, self._seen = self._seen, now
        if call.state is CallState.WAITING and now != before:
            self.account.happenings.append(
                Waits(
                    self.at,
                    self.entry,
                    tuple(_causes(before, now)),
                    view(acd, call, self.at),
                    call.expected_s,
                    acd.halted,
                )
            )


def _causes(before: _Seen | None, now: _Seen) -> list[Cause]:
    if before is None:
        return [Cause.QUEUED]
    if (before.state, before.offers) != (now.state, now.offers):
        return [Cause.OFFER_ENDED]
    changed = {
        Cause.RULES: before.version != now.version,
        Cause.GROUP: before.group != now.group,
        Cause.CIRCLE: before.circles != now.circles,
        Cause.HELD: now.held and not before.held,
        Cause.UNHELD: before.held and not now.held,
        Cause.AWAY: now.away and not before.away,
        Cause.BACK: before.away and not now.away,
    }
    return [cause for cause, holds in changed.items() if holds]


def _might(acd: Acd, call: QueuedCall, agent: Agent) -> bool:
    """Whether ``agent``, who is ready, may take the waiting call."""
    if agent.agent_id in call.known and acquainted(acd, call, agent):
        return True
    return not call.held and isinstance(verdict(acd, call, agent, acd.need(call)), Tier)


def explain(chronicle: Chronicle, call_id: CallId) -> tuple[Account, Gaps] | None:
    """The account of a call, and what the journal lacks; ``None``: it does not hold the call.

    Raises ``InputError`` when the journal holds the call, but not what came before it.
    """
    first = chronicle.first_with(call_id)
    if first is None:
        return None
    account = Account(call_id, chronicle.place, first)
    witness = Witness(account)
    playback = Playback(chronicle, first, changed=witness.stand_by)
    if not playback.whole:
        raise InputError(
            f"The journal holds call {call_id}, but no readable snapshot from before it",
            field="CALL",
            value=call_id,
            remedy="Ask on the machine that led then, or with the version of vsek that wrote it",
            error_id="journal_incomplete",
        )
    account.base = playback.began_at
    for entry in playback.entries():
        witness.before(entry.at, entry.number)
        witness.after(playback.state, playback.decide(entry))
        if account.closed is not None:
            break
    account.played = playback.played
    return account, playback.gaps


def differences(account: Account, stored: Sequence[tuple[str, Mapping[str, str]]]) -> list[str]:
    """In which ways the recomputed offers differ from those ``stored`` in the timeline (kind and
    details of each step), in words; empty: they are the same."""
    offers = [dict(detail) for kind, detail in stored if kind == "offered"]
    found = [
        f"offer {number} was made to {was.get('agent')}, the replay made it to {now.agent_id}"
        if was.get("agent") != now.agent_id
        else f"offer {number} to {now.agent_id}: {_unlike(was, now.detail)}"
        for number, (was, now) in enumerate(zip(offers, account.offers, strict=False), 1)
        if was != now.detail
    ]
    more = len(account.offers) - len(offers)
    # The newest steps of a call that goes on may not have reached the database.
    if more < 0 or (more > 0 and any(kind == "ended" for kind, _ in stored)):
        were = "was" if len(offers) == 1 else "were"
        made = f"{counted(len(offers), 'offer')} {were} made"
        found.append(f"{made}, the replay made {len(account.offers)}")
    found += [
        f"offer {number} to {one.agent_id}: asking every agent finds another choice or number"
        for number, one in enumerate(account.offers, 1)
        if not one.consistent
    ]
    return found


def _unlike(was: Mapping[str, str], now: Mapping[str, str]) -> str:
    return ", ".join(
        f"{name} {was.get(name, '0')} stored, {now.get(name, '0')} recomputed"
        for name in dict.fromkeys([*was, *now])
        if was.get(name) != now.get(name)
    )

"""An answering service in which time is a number, for tests of the distribution.

Every event is followed by :func:`vsek.acd.invariants.check`, so a test needs to say only what is
special in its case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from vsek.acd import Acd, AgentState, decide
from vsek.acd.effects import Decision, Effect, Offer, Regrouped, Treat
from vsek.acd.events import (
    AgentAdded,
    AgentPaused,
    AgentReachable,
    AgentReadied,
    AgentReleased,
    CallLeft,
    CallQueued,
    Event,
    OfferAccepted,
    OfferFailed,
    OfferFailure,
    TimerDue,
)
from vsek.acd.invariants import check
from vsek.acd.rules import Admits, AgentRules, Circle, Clearance, ClientRules, Group, Rules
from vsek.acd.state import CallState, Timer
from vsek.domain.ids import AgentId, CallId, ClientId, OfferId

ANNA, BERT, CARL, DORA = AgentId("anna"), AgentId("bert"), AgentId("carl"), AgentId("dora")
ACME, BETA = ClientId("acme"), ClientId("beta")
ANY = Decision(0, 0, 0, 0, False, 0, 0, 0, 0, 0, 0, 0, 0)
"""Stands for the decision in the effects that :class:`House` returns; see ``decisions``."""
RULES = Rules(ring_timeout_s=20, rona_park_s=60, refusal_park_s=10)


def rulebook(
    clients: Mapping[str, ClientRules] | None = None,
    groups: Mapping[str, Group] | None = None,
    agents: Mapping[AgentId, AgentRules] | None = None,
    **others: Any,
) -> Rules:
    """Rules with the times of ``RULES`` unless ``others`` say otherwise."""
    return replace(
        RULES,
        clients={ClientId(name): client for name, client in (clients or {}).items()},
        groups=dict(groups or {}),
        agents=dict(agents or {}),
        **others,
    )


TRAINED, LEARNING, NONE = Clearance.TRAINED, Clearance.LEARNING, Clearance.NONE
WIDENING = (
    Circle(0, Admits.TEAM),
    Circle(10, Admits.TRAINED),
    Circle(20, Admits.LEARNING),
    Circle(30, Admits.OVERFLOW),
)


def cleared(level: Clearance, group: str = "g", team: str = "") -> AgentRules:
    """An agent who is cleared for one group."""
    return AgentRules(team=team, cleared={group: level})


class House:
    """Agents who are signed in, calls, and a clock that moves a second with each event."""

    def __init__(self, *agents: AgentId, rules: Rules = RULES) -> None:
        self.acd = Acd(rules)
        self.now = 1000.0
        self.decisions: list[Decision] = []
        for agent_id in agents:
            self.login(agent_id)

    # What happens

    def send(self, event: Event, after: float = 1.0) -> list[Effect]:
        """``after`` seconds later ``event`` happens."""
        self.now += after
        effects = decide(self.acd, event, self.now)
        check(self.acd)
        self.decisions += [e.decision for e in effects if isinstance(e, Offer)]
        return [replace(e, decision=ANY) if isinstance(e, Offer) else e for e in effects]

    def login(self, agent_id: AgentId) -> list[Effect]:
        return [
            *self.send(AgentAdded(agent_id)),
            *self.send(AgentReachable(agent_id, True)),
        ]

    def call(
        self,
        call_id: str,
        client: str = "acme",
        arrival: float | None = None,
        wrap_up_s: float = 30.0,
        offers: int = 0,
        *,
        caller: str = "",
        vip: bool = False,
        known: Iterable[AgentId] = (),
        sure: bool = False,
    ) -> list[Effect]:
        """A call is queued; without an ``arrival`` it came the moment that the last event was."""
        arrival = self.now if arrival is None else arrival
        event = CallQueued(
            CallId(call_id),
            ClientId(client),
            arrival,
            wrap_up_s,
            offers,
            caller,
            vip,
            tuple(known),
            sure,
        )
        return self.send(event)

    def hangs_up(self, call_id: str, *, served: bool = False) -> list[Effect]:
        return self.send(CallLeft(CallId(call_id), served))

    def answers(self, agent_id: AgentId) -> list[Effect]:
        return self.send(OfferAccepted(self._offer(agent_id)))

    def refuses(self, agent_id: AgentId) -> list[Effect]:
        return self.send(OfferFailed(self._offer(agent_id), OfferFailure.REFUSED))

    def ends(self, agent_id: AgentId, *, cut: bool = False) -> list[Effect]:
        """The agent's talk ends; wrap-up follows if there is any."""
        call_id = self.acd.agents[agent_id].call_id
        assert call_id is not None
        return self.send(AgentReleased(call_id, agent_id, cut))

    def ready(self, agent_id: AgentId) -> list[Effect]:
        return self.send(AgentReadied(agent_id))

    def pause(self, agent_id: AgentId) -> list[Effect]:
        return self.send(AgentPaused(agent_id, "lunch"))

    def talk(self, call_id: str = "c1", **kwargs: Any) -> AgentId:
        """A call that somebody answers."""
        offer = offers(self.call(call_id, **kwargs))[0]
        self.send(OfferAccepted(offer.offer_id))
        return offer.agent_id

    def serves(self, agent_id: AgentId, call_id: str, **kwargs: Any) -> None:
        """The agent takes a call, and is ready again without a wrap-up."""
        assert self.talk(call_id, wrap_up_s=0, **kwargs) == agent_id
        self.ends(agent_id)

    # Time

    def due(self, agent_id: AgentId) -> list[Effect]:
        """The agent's timer runs out."""
        return self._due(self.acd.agents[agent_id].timer)

    def wakes(self, call_id: str) -> list[Effect]:
        """The waiting call's timer runs out."""
        return self._due(self.acd.calls[CallId(call_id)].timer)

    def _due(self, timer: Timer | None) -> list[Effect]:
        assert timer is not None
        self.now = max(self.now, timer.deadline)
        return self.send(TimerDue(timer.name, timer.generation), after=0)

    def passes(self, seconds: float) -> list[Effect]:
        """Time goes by, with all timers that run out meanwhile."""
        until = self.now + seconds
        effects: list[Effect] = []
        while timers := [t for t in self.acd.timers() if t.deadline <= until]:
            effects += self._due(min(timers, key=lambda t: (t.deadline, t.generation)))
        self.now = until
        return effects

    # What is seen

    def state(self, agent_id: AgentId) -> AgentState:
        return self.acd.agents[agent_id].state

    def waiting(self) -> list[str]:
        """The calls that wait, whoever is rung for others."""
        return [c.call_id for c in self.acd.calls.values() if c.state is CallState.WAITING]

    def rings(self, call_id: str) -> AgentId | None:
        """Who is being rung for the call."""
        call = self.acd.calls[CallId(call_id)]
        return call.agent_id if call.state is CallState.OFFERED else None

    def _offer(self, agent_id: AgentId) -> OfferId:
        offer_id = self.acd.agents[agent_id].offer_id
        assert offer_id is not None
        return offer_id


def asked(house: House, call_id: str) -> list[AgentId]:
    """Who is rung for the call, one after the other, if all refuse."""
    rung: list[AgentId] = []
    while (agent_id := house.rings(call_id)) is not None:
        rung.append(agent_id)
        house.refuses(agent_id)
    return rung


def offers(effects: list[Effect]) -> list[Offer]:
    """The offers among ``effects``."""
    return [effect for effect in effects if isinstance(effect, Offer)]


def treats(effects: list[Effect]) -> list[Treat | Regrouped]:
    """What was done among ``effects`` for calls that nobody took."""
    return [effect for effect in effects if isinstance(effect, Treat | Regrouped)]


def accepted(call_id: str, n: int = 1) -> OfferAccepted:
    """The ``n``-th offer of a call is accepted."""
    return OfferAccepted(OfferId(f"{call_id}.{n}"))

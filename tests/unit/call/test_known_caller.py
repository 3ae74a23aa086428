"""Callers who are known, and callers who phone again, from arrival to the distribution."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.call.book import GREET, OUTSIDE, RING, directory
from tests.unit.call.house import House
from tests.unit.call.steps import ANNA, BERT, CALLER, CARL, K1, K2, LEG

from vsek.acd.effects import Offer
from vsek.acd.known import Why
from vsek.acd.rules import Action, ClientRules, Rules, Treatment
from vsek.acd.state import AgentState
from vsek.call import effects as do
from vsek.call.desk import Desk, close
from vsek.call.model import Directory
from vsek.domain.ids import AgentId, ChannelId, ClientId
from vsek.domain.outcomes import Outcome, Stage
from vsek.domain.records import CallStep

KARL = "+491701234567"
CALLER2 = ChannelId("1700000000.2")
HOLDS = Rules(clients={ClientId("ring"): ClientRules(hold_s=10.0)})


class Listening(House):
    """Keeps what the timelines tell."""

    def __init__(self, book: Directory | None = None) -> None:
        self.timeline: list[CallStep] = []
        super().__init__(book)

    def _effect(self, effect: do.Effect) -> None:
        super()._effect(effect)
        if isinstance(effect, CallStep):
            self.timeline.append(effect)


def house(*agents: AgentId, rules: Rules | None = None, wrap_up_s: float = 30.0) -> Listening:
    book = directory(wrap_up_s=wrap_up_s)
    made = Listening(msgspec.structs.replace(book, rules=rules or Rules()))
    for agent_id in agents:
        made.register(agent_id)
    made.settle()
    return made


def offered(made: House) -> list[AgentId]:
    return [leg.agent_id for call in made.state.calls.values() for leg in call.legs.values()]


def call(made: House, **more: Any) -> None:
    made.asterisk.call(RING, caller_number=KARL, **more)
    made.settle()


def recognised(*agents: AgentId, sure: bool = True, why: Why = Why.NUMBER) -> dict[str, Any]:
    return {"known": agents, "sure": sure, "recognised": why}


def told(made: Listening, kind: str) -> list[dict[str, str]]:
    return [step.detail for step in made.timeline if step.kind == kind]


# The known caller


def test_who_is_known_gets_the_agent_who_knows_the_matter() -> None:
    made = house(ANNA, BERT, CARL)
    call(made, **recognised(CARL, BERT))
    assert offered(made) == [CARL]
    assert told(made, "recognised") == [{"why": "number", "agents": "carl, bert", "sure": "yes"}]
    assert told(made, "offered")[0]["known"] == "1"


def test_who_is_not_known_is_told_why() -> None:
    made = house(ANNA)
    call(made, **recognised(sure=False, why=Why.SHARED))
    assert told(made, "recognised") == [{"why": "shared_number"}]
    assert offered(made) == [ANNA]


def test_strangers_are_not_talked_about() -> None:
    made = house(ANNA)
    call(made)
    assert told(made, "recognised") == []


def busy(rules: Rules, **more: Any) -> House:
    """Anna, who knows the second caller, talks with the first; Bert is free."""
    made = house(ANNA, rules=rules, wrap_up_s=0.0)
    call(made)
    made.asterisk.pick_up(LEG)
    made.settle()
    made.register(BERT)
    made.settle()
    call(made, **more)
    return made


def waits(made: House) -> bool:
    return not made.state.calls[K2].legs


def test_who_is_known_for_certain_is_kept_for_the_agent() -> None:
    made = busy(HOLDS, **recognised(ANNA))
    assert waits(made)
    made.now += 3
    made.asterisk.end(CALLER)
    made.settle()
    assert made.state.calls[K2].legs[ChannelId("vsekcall-k2.1")].agent_id == ANNA


def test_and_goes_to_the_next_when_the_client_s_time_is_over() -> None:
    made = busy(HOLDS, **recognised(ANNA))
    began = made.now
    while waits(made):
        made.timer()
    assert made.now == began + 10
    assert made.state.calls[K2].legs[ChannelId("vsekcall-k2.1")].agent_id == BERT


def test_who_is_not_known_for_certain_waits_for_nobody() -> None:
    assert not waits(busy(HOLDS, **recognised(ANNA, sure=False, why=Why.NAME)))
    assert not waits(busy(Rules(), **recognised(ANNA)))


def test_who_comes_while_nobody_is_there_is_not_before_whom_was_kept_too_long() -> None:
    made = busy(HOLDS, **recognised(ANNA))
    assert waits(made)
    made.disconnect()
    made.restart()
    made.now += 20  # as long as no timer runs either
    made.asterisk.call(GREET)
    made.reconnect()
    made.recovered()
    made.settle()
    assert offered(made) == [ANNA, BERT]
    assert made.state.calls[K2].leg is not None


def test_who_lost_the_client_s_number_is_kept_for_nobody_again() -> None:
    clients = {
        ClientId("ring"): ClientRules(
            hold_s=60.0, treatments=(Treatment(Action.FORWARD, OUTSIDE, after_s=5.0),)
        )
    }
    made = busy(Rules(clients=clients), **recognised(ANNA))
    made.timer()
    made.settle()
    assert waits(made)
    forward = ChannelId("vsekcall-k2-f1")
    made.asterisk.pick_up(forward)
    made.asterisk.end(forward)
    made.settle()
    assert made.state.calls[K2].legs[ChannelId("vsekcall-k2.1")].agent_id == BERT


def test_who_lost_the_agent_is_kept_for_nobody_again() -> None:
    made = house(ANNA, BERT, rules=HOLDS)
    call(made, **recognised(ANNA))
    made.asterisk.pick_up(LEG)
    made.deliver()
    made.work(K1)  # answered
    made.fail(K1, 500)  # and not joined
    made.settle()
    assert made.states[ANNA] is AgentState.WRAP_UP
    assert made.states[BERT] is AgentState.OFFERED


# Who phones again soon


def place_of(made: House, call_id: Any = K2) -> float:
    return made.state.acd.calls[call_id].arrival


def again(made: House, **more: Any) -> None:
    made.now += 20
    call(made, **more)


def test_who_gave_up_and_phones_again_keeps_the_place() -> None:
    made = house()
    call(made)
    began = made.now
    made.now += 30
    made.asterisk.end(CALLER)
    made.settle()
    again(made)
    assert place_of(made) == began


def test_who_hides_the_number_does_not() -> None:
    made = house()
    made.asterisk.call(RING)
    made.settle()
    made.asterisk.end(CALLER)
    made.settle()
    assert made.state.acd.recent == {}


def book_with(forwarder: str, did: str) -> Directory:
    book = directory()
    forwarders, dids = {forwarder: ClientId("ring")}, book.dids | {did: ClientId("ring")}
    return msgspec.structs.replace(book, forwarders=forwarders, dids=dids)


@pytest.mark.parametrize(
    ("book", "more"),
    [
        (directory(), {"recognised": Why.CROWD}),
        (directory(), {"forwarded_by": (KARL,)}),
        (book_with(KARL, "+4911"), {}),
        (book_with("+4912", f"{KARL[:-2]}*"), {}),
    ],
)
def test_nor_does_anybody_whose_number_is_everybody_s(
    book: Directory, more: dict[str, Any]
) -> None:
    made = House(book)
    call(made, **more)
    made.asterisk.end(CALLER)
    made.settle()
    assert made.state.acd.recent == {}


@pytest.mark.parametrize(
    ("outcome", "claims"),
    [
        (Outcome.ABANDONED, 1),
        (Outcome.FAILED, 1),
        (Outcome.VOICEMAIL, 0),
        (Outcome.CALLBACK, 0),
        (Outcome.FORWARDED, 0),
        (Outcome.PUT_THROUGH, 0),
        (Outcome.BLOCKED, 0),
    ],
)
def test_who_got_something_else_has_no_claim(outcome: Outcome, claims: int) -> None:
    made = house()
    call(made)
    desk = Desk(made.state, made.now, lambda desk, event: made_takes(made, desk, event))
    close(desk, made.state.calls[K1], outcome, "test")
    assert len(made.state.acd.recent) == claims


def made_takes(made: House, desk: Desk, event: Any) -> None:
    from vsek.acd.decide import take

    assert not any(isinstance(effect, Offer) for effect in take(made.state.acd, event, desk.now))


@pytest.mark.parametrize(
    ("cause", "reason", "claims"),
    [
        (16, "agent_hangup", 0),
        (0, "agent_hangup", 0),
        (31, "agent_hangup", 0),
        (20, "agent_lost", 1),
        (27, "agent_lost", 1),
        (38, "agent_lost", 1),
        (44, "agent_lost", 1),
        (102, "agent_lost", 1),
        (127, "agent_lost", 1),
    ],
)
def test_who_was_cut_off_keeps_the_place(cause: int, reason: str, claims: int) -> None:
    made = house(ANNA)
    call(made)
    began = made.now
    made.asterisk.pick_up(LEG)
    made.settle()
    made.now += 30
    made.asterisk.end(LEG, cause)
    made.settle()
    assert (made.closed[K1].outcome, made.closed[K1].reason) == (Outcome.ANSWERED, reason)
    assert len(made.state.acd.recent) == claims
    again(made)
    assert place_of(made) == (began if claims else made.now)


def test_who_hung_up_has_no_claim() -> None:
    made = house(ANNA)
    call(made)
    made.asterisk.pick_up(LEG)
    made.settle()
    made.asterisk.end(CALLER)
    made.settle()
    assert made.state.acd.recent == {}


def test_who_was_gone_when_nobody_looked_may_have_been_cut_off() -> None:
    made = house(ANNA)
    call(made)
    made.asterisk.pick_up(LEG)
    made.settle()
    made.disconnect()
    made.asterisk.restart()
    made.reconnect()
    made.recovered()
    made.settle()
    assert made.closed[K1].reason == "found_gone"
    assert len(made.state.acd.recent) == 1


def test_who_hangs_up_before_the_agent_was_heard_keeps_the_place() -> None:
    made = house(ANNA)
    call(made)
    began = made.now
    made.asterisk.pick_up(LEG)
    made.deliver()
    made.asterisk.end(CALLER)
    made.deliver()
    made.settle()
    closed = made.closed[K1]
    assert (closed.outcome, closed.stage) == (Outcome.ABANDONED, Stage.CONNECTING)
    again(made)
    assert place_of(made) == began


def test_a_place_outlives_the_loss_of_the_client_s_number() -> None:
    treatments = (Treatment(Action.FORWARD, OUTSIDE, after_s=5.0),)
    made = house(rules=Rules(clients={ClientId("ring"): ClientRules(treatments=treatments)}))
    call(made)
    began = made.now
    made.asterisk.end(CALLER)
    made.settle()
    again(made)
    made.timer()
    made.settle()
    forward = ChannelId("vsekcall-k2-f1")
    made.asterisk.pick_up(forward)
    made.asterisk.end(forward)
    made.settle()
    assert made.kinds[K2].count("forward_failed") == 1
    assert place_of(made) == began


def test_a_place_outlives_the_loss_of_the_agent() -> None:
    made = house()
    call(made)
    began = made.now
    made.asterisk.end(CALLER)
    made.settle()
    again(made)
    made.register(ANNA)
    made.settle()
    leg = ChannelId("vsekcall-k2.1")
    made.asterisk.pick_up(leg)
    made.deliver()
    made.work(K2)
    made.fail(K2, 500)
    made.settle()
    assert made.kinds[K2].count("agent_lost") == 1
    assert place_of(made) == began


@pytest.mark.parametrize(("stage", "claims"), [(Stage.WAITING, 1), (Stage.TALKING, 0)])
def test_whom_the_dialplan_took_over_was_not_served_by_us(stage: Stage, claims: int) -> None:
    made = house(ANNA)
    made.asterisk.call(GREET, caller_number=KARL)
    made.settle()
    if stage is Stage.TALKING:
        made.asterisk.pick_up(LEG)
        made.settle()
        assert made.state.calls[K1].stage is Stage.TALKING
        made.disconnect()
        made.asterisk.end(LEG)
        made.asterisk.execute(do.DestroyBridge(K1, CALLER, "vsekcall-k1"))
        made.asterisk.divert(CALLER)
        made.reconnect()
        made.recovered()
    else:
        made.asterisk.divert(CALLER)
    made.settle()
    assert made.state.calls[K1].stage is Stage.FALLBACK
    assert len(made.state.acd.recent) == claims

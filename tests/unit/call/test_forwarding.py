"""Callers who are forwarded to a number of the client's own."""

from __future__ import annotations

import pytest
from tests.unit.call.book import GREET, OUTSIDE, RING, TREAT, TREAT_RING
from tests.unit.call.house import House
from tests.unit.call.steps import ANNA, CALLER, K1, K2, LEG, commands, names
from tests.unit.call.treated import (
    FORWARD,
    NUMBER,
    book,
    call_of,
    ended,
    forwarded,
    forwarding,
    lost,
    press,
    recovered,
    untreated,
    waiting,
)

from vsek.acd.rules import Action, Treatment
from vsek.acd.state import AgentState
from vsek.call import effects as do
from vsek.call import events as ev
from vsek.call.model import Outbound
from vsek.domain.outcomes import Outcome, Stage


def test_the_clients_number_is_rung_with_a_number_of_ours() -> None:
    made = forwarding()
    (command,) = [c for c in made.sent if isinstance(c, do.CreateForward)]
    assert (command.number, command.shown_number, command.channel_id) == (OUTSIDE, TREAT, FORWARD)
    assert made.asterisk.channels[CALLER].music == "client-treat"
    assert K1 in made.state.acd.calls


def test_a_number_of_the_house_is_shown_where_the_one_called_belongs_to_no_client() -> None:
    known = book(Treatment(Action.FORWARD, OUTSIDE), client="ring")
    made = House(known)
    made.asterisk.call("+49305550", forwarded_by=("+49777",))
    made.settle()
    (command,) = [c for c in made.sent if isinstance(c, do.CreateForward)]
    assert command.shown_number == "+49309999"


@pytest.mark.parametrize("did", [TREAT, TREAT_RING])
@pytest.mark.parametrize("who", ["caller", "number"])
def test_the_two_are_joined_and_either_ends_it_for_both(did: str, who: str) -> None:
    made = forwarded(did)
    answered_at = made.now
    assert made.asterisk.channels[CALLER].state == "Up"
    made.now += 60.0
    made.asterisk.end(CALLER if who == "caller" else FORWARD)
    made.settle()
    reason = "caller_hangup" if who == "caller" else "forward_hangup"
    assert ended(made) == (Outcome.FORWARDED, Stage.FORWARDED, reason)
    assert made.closed[K1].answered_at == answered_at
    assert not made.asterisk.channels
    assert K1 not in made.state.calls


@pytest.mark.parametrize("did", [TREAT, TREAT_RING])
@pytest.mark.parametrize("how", ["busy", "no answer", "refused", "not made", "not dialled"])
def test_a_number_that_cannot_be_had_costs_the_caller_nothing(did: str, how: str) -> None:
    client = "treat" if did == TREAT else "treat-ring"
    made = waiting(did, known=book(Treatment(Action.FORWARD, OUTSIDE, after_s=5.0), client=client))
    arrival = made.state.acd.calls[K1].arrival
    made.timer()
    if how == "not made":
        made.fail(FORWARD, 500)
    elif how == "not dialled":
        made.work(FORWARD)
        made.deliver()
        made.fail(FORWARD, 500)
    made.settle()
    if how in ("busy", "refused"):
        made.asterisk.end(FORWARD, 17 if how == "busy" else 21)
        made.settle()
    elif how == "no answer":
        made.timer()
        made.settle()
    assert call_of(made).stage is Stage.WAITING
    assert made.state.acd.calls[K1].arrival == arrival
    assert made.kinds[K1].count("forward_failed") == 1
    assert untreated(made, Action.FORWARD, OUTSIDE) == "was rung before"
    assert FORWARD not in made.asterisk.channels
    if did == TREAT_RING:
        assert made.asterisk.channels[CALLER].ringback
        made.timer()
        made.settle()
        assert ended(made)[2] == "ring_limit", "as if nothing had been"


def test_an_agent_may_pick_up_first() -> None:
    made = forwarding()
    made.register(ANNA)
    made.settle()
    made.asterisk.pick_up(LEG)
    made.settle()
    assert call_of(made).stage is Stage.TALKING
    assert FORWARD not in made.asterisk.channels


def test_the_number_may_pick_up_while_an_agent_is_rung() -> None:
    made = forwarding()
    made.register(ANNA)
    made.settle()
    made.asterisk.pick_up(FORWARD)
    made.settle()
    assert call_of(made).stage is Stage.FORWARDED
    assert made.states[ANNA] is AgentState.READY


def test_a_caller_who_hangs_up_ends_the_ringing() -> None:
    made = forwarding()
    made.asterisk.end(CALLER)
    made.settle()
    assert ended(made)[:2] == (Outcome.ABANDONED, Stage.FORWARDING)
    assert not made.asterisk.channels


@pytest.mark.parametrize(
    ("number", "why"),
    [
        ("110", "is no public number"),
        ("sip:x@evil", "is no public number"),
        ("+49110", "is an emergency number"),
        ("+4930112", "is an emergency number"),
        ("+49900123456", "is a premium-rate number"),
        (GREET, "leads back here"),
    ],
)
def test_numbers_that_are_never_dialled(number: str, why: str) -> None:
    assert untreated(waiting(), Action.FORWARD, number) == why


def test_no_call_leaves_without_a_trunk_or_a_number_of_ours() -> None:
    made = waiting(known=book(outbound=None))
    assert untreated(made, Action.FORWARD, OUTSIDE) == "no trunk takes calls from here"
    made = waiting(known=book(outbound=Outbound()))
    call_of(made).did = "1234"
    assert untreated(made, Action.FORWARD, OUTSIDE) == "there is no number to be shown"


def test_the_trunk_may_be_taken_away_while_it_is_dialled() -> None:
    made = waiting(known=book(Treatment(Action.FORWARD, OUTSIDE, after_s=5.0)))
    made.timer()
    made.decide(ev.DirectoryChanged(book(outbound=None)))
    made.settle()
    assert made.asterisk.channels[FORWARD].dialled


def test_what_a_number_reports_after_it_was_given_up_counts_no_more() -> None:
    made = waiting(known=book(Treatment(Action.FORWARD, OUTSIDE, after_s=5.0)))
    made.timer()
    made.work(FORWARD)
    made.timer()
    assert call_of(made).stage is Stage.WAITING
    assert names(commands(made.decide(made.asterisk.events.popleft()))) == ["HangupLeg"]
    made.decide(ev.ChannelRinging(FORWARD))
    made.decide(ev.Joined(FORWARD))
    made.decide(ev.CommandFailed("Dial", K1, FORWARD, 500, "refused"))
    made.decide(ev.CommandFailed("Join", K1, FORWARD, 500, "refused"))
    made.settle()
    assert call_of(made).stage is Stage.WAITING
    assert FORWARD not in made.asterisk.channels


def test_a_refusal_to_make_a_channel_that_was_given_up() -> None:
    made = forwarding()
    press(made, "x")
    made.asterisk.end(CALLER)
    made.deliver()
    made.decide(ev.CommandFailed("CreateForward", K1, FORWARD, 500, "late"))
    made.settle()


def test_a_leg_is_dialled_once() -> None:
    made = forwarding()
    assert made.decide(ev.LegReady(FORWARD)) == []


@pytest.mark.parametrize("how", ["number gone", "not joined"])
def test_who_was_not_joined_keeps_the_place(how: str) -> None:
    made = forwarding()
    made.asterisk.pick_up(FORWARD)
    made.deliver()
    if how == "not joined":
        while not isinstance(made.lanes[K1][0], do.Join):
            made.work(K1)
        made.fail(K1, 500)
        made.hear()
    else:
        made.asterisk.end(FORWARD)
        made.deliver()
    made.settle()
    assert call_of(made).stage is Stage.WAITING
    assert made.state.acd.calls[K1].arrival == call_of(made).received_at
    assert not made.asterisk.channels[CALLER].bridge
    assert made.asterisk.channels[CALLER].music


def test_who_hangs_up_before_the_two_are_joined_was_not_forwarded() -> None:
    made = forwarding()
    made.asterisk.pick_up(FORWARD)
    made.deliver()
    made.asterisk.end(CALLER)
    made.deliver()
    made.settle()
    assert ended(made)[:2] == (Outcome.ABANDONED, Stage.FORWARDED)


def test_the_fallback_after_a_talk_with_the_clients_number() -> None:
    made = forwarded()
    world = lost(made)
    world.end(FORWARD)
    world.channels[CALLER].bridge = ""
    world.bridges.clear()
    world.divert(CALLER)
    recovered(made)
    made.asterisk.end(CALLER)
    made.settle()
    made.decide(made.asterisk.ledger[-1])
    assert ended(made)[0] is Outcome.FORWARDED


def test_a_call_of_ours_that_comes_back_is_known_by_the_number_that_we_show() -> None:
    made = forwarding()
    made.asterisk.call(TREAT, caller_number=TREAT)
    made.settle()
    assert made.closed[K2].outcome is Outcome.FAILED
    assert call_of(made).stage is Stage.FORWARDING
    # Other clients of ours may call each other.
    made.asterisk.call(RING, caller_number=TREAT)
    made.asterisk.call(TREAT, caller_number=NUMBER)
    made.asterisk.call(TREAT, caller_number=GREET)
    made.settle()
    assert set(made.closed) == {K2}


def test_without_a_trunk_nothing_comes_back() -> None:
    made = waiting(known=book(outbound=None))
    made.asterisk.call(TREAT, caller_number=TREAT)
    made.settle()
    assert not made.closed

"""Who was called, and what is made of an arrival."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.call.book import GREET, RING, directory
from tests.unit.call.steps import ANNA, BERT, CALLER, K1, K2, house

from vsek.acd.state import AgentState
from vsek.call import events as ev
from vsek.call.decide import find_client
from vsek.domain.ids import ClientId
from vsek.domain.outcomes import LOOP, Outcome, Stage
from vsek.domain.records import CallOpened


def test_who_was_called() -> None:
    book = directory()
    assert find_client(book, ("+4911", GREET), ())[1] == GREET
    client, did = find_client(book, ("+4911",), ("+49555", "+49777"))
    assert client is not None
    assert (client.client_id, did) == ("ring", "+4911")
    assert find_client(book, (), ("+49777",)) == (client, "")
    client, did = find_client(book, (GREET,), ("+49777",))
    assert client is not None
    assert client.client_id == "greet", "a number of its own wins"
    assert find_client(book, ("+4911",), ("+49555",)) == (None, "+4911")


def test_a_block_of_numbers_is_a_clients() -> None:
    book = msgspec.structs.replace(
        directory(),
        dids={"+493012*": ClientId("ring"), "+49301": ClientId("greet")},
        forwarders={"+493415*": ClientId("mute")},
    )
    for dids, forwarded_by, expected in (
        (("+49301234",), (), ("ring", "+49301234")),
        (("+493012",), (), ("ring", "+493012")),
        (("+49301",), (), ("greet", "+49301")),
        (("+493013",), (), (None, "+493013")),
        (("+4911",), ("+49341", "+4934155"), ("mute", "+4911")),
    ):
        client, did = find_client(book, dids, forwarded_by)
        assert (client and client.client_id, did) == expected


@pytest.mark.parametrize(
    ("more", "word"), [({"loop": "number_twice"}, "number_twice"), ({"our_call": "k1"}, "our_call")]
)
def test_a_call_that_goes_round_rings_nobody(more: dict[str, str], word: str) -> None:
    made = house(ANNA, BERT)
    made.asterisk.call(RING)
    made.settle()
    before = len(made.closed)
    second = made.asterisk.call(GREET, **more)
    made.deliver()
    assert made.states[BERT] is AgentState.READY
    call = made.state.calls[K2]
    assert call.script is None, "a note on it is for operations"
    closed = made.closed[K2]
    assert (closed.outcome, closed.stage, closed.reason) == (Outcome.FAILED, Stage.ARRIVING, LOOP)
    assert len(made.closed) == before + 1
    made.settle()
    assert second not in made.asterisk.channels
    assert K2 not in made.state.calls
    assert word


def test_a_call_of_another_house_is_no_loop() -> None:
    made = house(ANNA)
    made.asterisk.call(RING, our_call="261122-062201-abcdef")
    made.settle()
    assert made.states[ANNA] is AgentState.OFFERED


def test_what_is_recorded_of_an_arrival() -> None:
    made = house()
    event = ev.CallArrived(K1, CALLER, ("+4911",), "+49301", "Eva", False, ("+49777",), "no-answer")
    effects = made.decide(event)
    opened = effects[0]
    assert isinstance(opened, CallOpened)
    assert (opened.client_id, opened.did, opened.policy) == ("ring", "+4911", "ring")
    assert (opened.forwarded_by, opened.forward_reason) == (("+49777",), "no-answer")
    assert (opened.caller_number, opened.caller_name) == ("+49301", "Eva")

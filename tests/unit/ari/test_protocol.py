"""The sans-I/O protocol: every request has one fate."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from vsek.ari import events
from vsek.ari.base import UnknownEvent
from vsek.ari.errors import AriDisconnected, AriError, AriFrameTooLarge, AriReplaced
from vsek.ari.protocol import (
    MAX_FRAME_BYTES,
    AriProtocol,
    Expired,
    Malformed,
    Query,
    Reply,
    State,
    decode,
    parse_body,
    query_items,
)


def opened(prefix: str = "1-") -> AriProtocol:
    protocol = AriProtocol(prefix)
    protocol.connected()
    return protocol


def response(request_id: str, status: int = 200, **more: Any) -> str:
    return json.dumps(
        {
            "type": "RESTResponse",
            "transaction_id": "",
            "request_id": request_id,
            "status_code": status,
            "reason_phrase": "OK",
            "uri": "asterisk/ping",
            **more,
        }
    )


REPLACED = json.dumps({"type": "ApplicationReplaced", "application": "vsek"})


def test_a_request_as_asterisk_wants_it() -> None:
    protocol = opened()
    query: Query = {"app": "vsek", "timeout": 30, "mute": True, "media": ["a", "b"], "label": None}
    request_id, frame = protocol.request(
        "POST", "channels/create", query, {"variables": {"X": "é"}}, now=5.0, deadline_s=2.0
    )
    message = json.loads(frame)
    assert json.loads(message.pop("message_body")) == {"variables": {"X": "é"}}
    assert message == {
        "type": "RESTRequest",
        "request_id": request_id,
        "method": "POST",
        "uri": "channels/create",
        "query_strings": [
            {"name": "app", "value": "vsek"},
            {"name": "timeout", "value": "30"},
            {"name": "mute", "value": "true"},
            {"name": "media", "value": "a,b"},
        ],
        "content_type": "application/json",
    }
    assert request_id == "1-1"
    assert protocol.next_deadline == 7.0
    assert protocol.is_pending(request_id)


def test_a_request_without_anything_has_only_what_must_be() -> None:
    _, frame = opened().request("GET", "asterisk/ping", now=0, deadline_s=1)
    assert set(json.loads(frame)) == {"type", "request_id", "method", "uri"}


def test_values_of_a_query() -> None:
    query = {"a": False, "b": 1.5, "c": None, "d": ()}
    assert query_items(query) == [("a", "false"), ("b", "1.5"), ("d", "")]
    assert query_items(None) == []


def test_reply() -> None:
    protocol = opened()
    request_id, _ = protocol.request("GET", "asterisk/ping", now=1.0, deadline_s=5)
    frame = response(request_id, content_type="application/json", message_body='{"ping":"pong"}')
    assert protocol.feed(frame, 1.25) == [
        Reply(status=200, body={"ping": "pong"}, reason="OK", request_id=request_id, took_s=0.25)
    ]
    assert protocol.pending == 0
    assert protocol.expire(100.0) == []
    assert protocol.next_deadline is None


@pytest.mark.parametrize(
    ("text", "content_type", "expected"),
    [
        (None, None, None),
        ("", "application/json", None),
        ("[1]", None, [1]),
        ("{broken", "application/json", "{broken"),
        ("plain", "text/plain", "plain"),
    ],
)
def test_bodies(text: str | None, content_type: str | None, expected: Any) -> None:
    assert parse_body(text, content_type) == expected


def test_events_come_out_in_their_classes() -> None:
    [event] = opened().feed(
        json.dumps(
            {
                "type": "StasisStart",
                "application": "vsek",
                "timestamp": "t",
                "args": ["in"],
                "channel": {"id": "c1", "new_in_23": 1},
                "also_new": {},
            }
        ),
        0,
    )
    assert isinstance(event, events.StasisStart)
    assert (event.type, event.channel.id, event.args) == ("StasisStart", "c1", ["in"])


def test_an_event_that_nobody_described_is_passed_on() -> None:
    raw = {"type": "FlyingPig", "application": "vsek", "timestamp": "t", "height": 3}
    [event] = opened().feed(json.dumps(raw), 0)
    assert event == UnknownEvent(name="FlyingPig", raw=raw, application="vsek", timestamp="t")
    assert event.type == "FlyingPig"


def test_nulls_and_quoted_numbers_do_not_cost_an_event() -> None:
    event = decode(
        json.dumps(
            {
                "type": "ChannelDestroyed",
                "cause": "16",
                "cause_txt": None,
                "channel": {"id": "c1", "name": None, "channelvars": {"list": [None, 1]}},
            }
        )
    )
    assert isinstance(event, events.ChannelDestroyed)
    assert (event.cause, event.cause_txt, event.channel.name) == (16, "", "")
    assert event.channel.channelvars == {"list": [None, 1]}


def test_an_event_that_lacks_what_it_is_about_becomes_unknown() -> None:
    event = decode('{"type": "StasisStart", "args": []}')
    assert isinstance(event, UnknownEvent)
    assert "channel" in event.problem


@pytest.mark.parametrize("frame", ["{", "[]", '{"no": "type"}', '{"type": 1}', b"\xff\xfe"])
def test_garbage_is_counted_and_shown(frame: str | bytes) -> None:
    protocol = opened()
    [item] = protocol.feed(frame, 0)
    assert isinstance(item, Malformed)
    assert protocol.malformed_frames == 1


def test_deadlines_expire_in_their_order_and_late_replies_are_counted() -> None:
    protocol = opened()
    slow, _ = protocol.request("GET", "a", now=0, deadline_s=5)
    quick, _ = protocol.request("GET", "b", now=1, deadline_s=1)
    assert protocol.expire(1.9) == []
    assert protocol.expire(2.0) == [
        Expired(request_id=quick, method="GET", uri="b", deadline_s=1.0)
    ]
    assert protocol.feed(response(quick), 2.1) == []
    assert protocol.late_replies == 1
    assert [e.request_id for e in protocol.expire(9)] == [slow]


def test_answered_requests_do_not_hold_up_the_expiry_of_others() -> None:
    protocol = opened()
    first, _ = protocol.request("GET", "a", now=0, deadline_s=1)
    second, _ = protocol.request("GET", "b", now=0, deadline_s=2)
    protocol.feed(response(first), 0.5)
    assert [e.request_id for e in protocol.expire(2)] == [second]


@pytest.mark.parametrize("request_id", ["", "1-2", "2-1", "x", "1-x", "1-0"])
def test_replies_to_what_was_never_asked_are_strays(request_id: str) -> None:
    protocol = opened()
    protocol.request("GET", "a", now=0, deadline_s=1)
    assert protocol.feed(response(request_id), 0) == []
    assert (protocol.stray_replies, protocol.late_replies) == (1, 0)


def test_disconnect_fails_what_is_pending_and_refuses_new_requests() -> None:
    protocol = AriProtocol()
    with pytest.raises(AriDisconnected) as refused:
        protocol.request("GET", "a", now=0, deadline_s=1)
    assert refused.value.sent is False
    protocol.connected()
    ids = [protocol.request("GET", "a", now=0, deadline_s=1)[0] for _ in range(3)]
    assert protocol.disconnected() == ids
    assert protocol.state is State.DISCONNECTED
    assert protocol.disconnected() == []
    assert protocol.expire(100) == []
    protocol.connected()
    again, _ = protocol.request("GET", "a", now=0, deadline_s=1)
    assert again not in ids


def test_a_replaced_application_is_fenced_for_ever() -> None:
    protocol = opened()
    request_id, _ = protocol.request("GET", "a", now=0, deadline_s=1)
    [event] = protocol.feed(REPLACED, 0)
    assert isinstance(event, events.ApplicationReplaced)
    with pytest.raises(AriReplaced):
        protocol.request("GET", "a", now=0, deadline_s=1)
    assert protocol.fence() == [request_id]
    assert protocol.disconnected() == []
    protocol.connected()
    assert protocol.state is State.FENCED


def test_a_frame_that_asterisk_would_not_take() -> None:
    protocol = opened()
    _, frame = protocol.request("POST", "a", body="", now=0, deadline_s=1)
    room = MAX_FRAME_BYTES - len(frame)
    with pytest.raises(AriFrameTooLarge):
        protocol.request("POST", "a", body="x" * (room + 1), now=0, deadline_s=1)
    _, frame = protocol.request("POST", "a", body="x" * room, now=0, deadline_s=1)
    assert len(frame) == MAX_FRAME_BYTES
    assert protocol.pending == 2


@pytest.mark.parametrize("body", [object(), {"name": "\ud800"}])
def test_what_json_cannot_hold(body: object) -> None:
    protocol = opened()
    with pytest.raises(AriError, match="JSON"):
        protocol.request("POST", "a", body=body, now=0, deadline_s=1)
    assert protocol.pending == 0


class OneFateEach(RuleBasedStateMachine):
    """Whatever happens in whatever order, a request has exactly one fate."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol = AriProtocol("h-")
        self.now = 0.0
        self.waiting: set[str] = set()
        self.known: list[str] = []

    @rule()
    def connect(self) -> None:
        self.protocol.connected()

    @rule(deadline_s=st.floats(0.1, 10))
    def ask(self, deadline_s: float) -> None:
        state = self.protocol.state
        try:
            request_id, _ = self.protocol.request("GET", "x", now=self.now, deadline_s=deadline_s)
        except (AriDisconnected, AriReplaced):
            assert state is not State.OPEN
        else:
            assert request_id not in self.known
            self.known.append(request_id)
            self.waiting.add(request_id)

    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        if not self.known:
            return
        request_id = data.draw(st.sampled_from(self.known))
        late = self.protocol.late_replies
        items = self.protocol.feed(response(request_id), self.now)
        if request_id in self.waiting:
            self.waiting.remove(request_id)
            assert [i.request_id for i in items if isinstance(i, Reply)] == [request_id]
        else:
            assert items == []
            assert self.protocol.late_replies == late + 1

    @rule(seconds=st.floats(0, 5))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        for expired in self.protocol.expire(self.now):
            self.waiting.remove(expired.request_id)

    @rule()
    def disconnect(self) -> None:
        assert set(self.protocol.disconnected()) == self.waiting
        self.waiting.clear()

    @rule()
    def replaced(self) -> None:
        self.protocol.feed(REPLACED, self.now)
        assert set(self.protocol.fence()) == self.waiting
        self.waiting.clear()

    @invariant()
    def what_waits_waits(self) -> None:
        assert self.protocol.pending == len(self.waiting)
        assert all(self.protocol.is_pending(r) for r in self.waiting)
        if self.waiting:
            assert self.protocol.next_deadline is not None


OneFateEach.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestOneFateEach = OneFateEach.TestCase

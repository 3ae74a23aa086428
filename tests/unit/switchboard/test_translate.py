"""Asterisk's events as inputs, in the shapes in which networks deliver numbers."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from vsek.ari._generated import events as ari
from vsek.ari.base import Event as AriEvent
from vsek.call import events as ev
from vsek.domain.ids import CallId, ChannelId
from vsek.switchboard.translate import Translator

CHANNEL = {
    "id": "1700000000.5",
    "name": "PJSIP/trunk-00000001",
    "state": "Ring",
    "caller": {"name": "", "number": ""},
    "connected": {"name": "", "number": ""},
    "dialplan": {"context": "", "exten": "", "priority": 1},
}


def event(kind: type[AriEvent], **fields: Any) -> AriEvent:
    head = {"type": kind.__name__, "application": "vsek", "timestamp": "2026-01-01T00:00:00"}
    return msgspec.convert(head | fields, kind)


def channel(**changes: Any) -> dict[str, Any]:
    return CHANNEL | changes


def arrive(**values: str) -> ev.CallArrived:
    args = ["in", *(f"{key}={quote(value, safe='')}" for key, value in values.items())]
    translated = Translator("DE", lambda: 0.0).translate(
        event(ari.StasisStart, args=args, channel=channel())
    )
    assert isinstance(translated, ev.CallArrived)
    return translated


def test_an_arrival_has_an_id_of_its_own_and_the_channel() -> None:
    first, second = arrive(did="030123456"), arrive(did="030123456")
    assert first.channel_id == "1700000000.5"
    assert first.call_id.startswith("700101-000000-")
    assert first.call_id != second.call_id


@pytest.mark.parametrize(
    ("values", "dids"),
    [
        ({"did": "+4930123456"}, ("+4930123456",)),
        ({"did": "004930123456"}, ("+4930123456",)),
        ({"did": "030123456"}, ("+4930123456",)),
        ({"did": "030123456", "to": "+4930123456"}, ("+4930123456",)),
        ({"did": "s", "pcpid": "+4930123457", "to": "vsek"}, ("+4930123457",)),
        ({"did": "", "to": ""}, ()),
        ({"did": "information", "to": ""}, ("information",)),
        ({"did": "x" * 500}, ("x" * 63 + "…",)),
    ],
)
def test_numbers_called(values: dict[str, str], dids: tuple[str, ...]) -> None:
    assert arrive(**values).dids == dids


def test_the_forwarding_chain_runs_from_the_most_recent_forwarder_to_the_first() -> None:
    arrived = arrive(did="+493099", div="+49301;+49302", hist="+49303000;+49304000;+493099")
    assert arrived.forwarded_by == ("+49301", "+49302", "+493099", "+49304000", "+49303000")


@pytest.mark.parametrize(
    ("values", "number", "withheld"),
    [
        ({"from": "+4917012345678"}, "+4917012345678", False),
        ({"from": "+49301111", "pai": "+49302222222"}, "+49302222222", False),
        ({"from": "anonymous"}, "", True),
        ({"from": "+4917012345678", "privacy": "1"}, "", True),
        ({"from": "", "name": ""}, "", True),
    ],
)
def test_the_caller(values: dict[str, str], number: str, withheld: bool) -> None:
    arrived = arrive(did="+493099", **values)
    assert arrived.caller_number == number
    assert arrived.caller_withheld is withheld


@pytest.mark.parametrize(
    "name",
    ['"><script>', "a\r\nBcc: x@y.z", "\x00nul", "\u202egnirts", "x" * 4096, "%FF%FE", "a,b=c"],
)
def test_a_hostile_name_is_one_clean_line(name: str) -> None:
    cleaned = arrive(did="+493099", name=name).caller_name
    assert len(cleaned) <= 200
    assert not set(cleaned) & set("\r\n\x00\u202e")


def test_a_withheld_caller_has_no_name() -> None:
    assert arrive(did="+493099", name="Erika Muster", privacy="1").caller_name == ""


def test_commas_and_equals_signs_survive_the_arguments() -> None:
    assert arrive(did="+493099", name="Müller, A=B & Söhne").caller_name == "Müller, A=B & Söhne"


LEG = "vsekcall-260101-000000-abcdef.1"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            event(ari.StasisStart, args=["leg"], channel=channel(id=LEG)),
            ev.LegReady(ChannelId(LEG)),
        ),
        (event(ari.StasisStart, args=["other"], channel=channel()), None),
        (event(ari.StasisStart, args=[], channel=channel()), None),
        (
            event(ari.ChannelStateChange, channel=channel(id=LEG, state="Ringing")),
            ev.ChannelRinging(ChannelId(LEG)),
        ),
        (
            event(ari.ChannelStateChange, channel=channel(id=LEG, state="Up")),
            ev.ChannelUp(ChannelId(LEG)),
        ),
        (event(ari.ChannelStateChange, channel=channel(id=LEG, state="Down")), None),
        (event(ari.ChannelStateChange, channel=channel(state="Up")), None),
        (
            event(ari.ChannelHangupRequest, channel=channel(id=LEG), cause=17),
            ev.ChannelGone(ChannelId(LEG), 17),
        ),
        (event(ari.ChannelHangupRequest, channel=channel(id=LEG)), None),
        (
            event(ari.ChannelHangupRequest, channel=channel()),
            ev.ChannelGone(ChannelId("1700000000.5"), 0),
        ),
        (
            event(ari.ChannelDestroyed, channel=channel(id=LEG), cause=21, cause_txt=""),
            ev.ChannelGone(ChannelId(LEG), 21),
        ),
        (event(ari.StasisEnd, channel=channel()), ev.ChannelGone(ChannelId("1700000000.5"))),
        (event(ari.StasisEnd, channel=channel(id=LEG)), None),
        (
            event(
                ari.PlaybackFinished,
                playback={"id": "vsekcall-260101-000000-abcdef-s2", "state": "done"},
            ),
            ev.SoundDone("vsekcall-260101-000000-abcdef-s2", CallId("260101-000000-abcdef")),
        ),
        (event(ari.PlaybackFinished, playback={"id": "foreign", "state": "done"}), None),
        (event(ari.ChannelDtmfReceived, channel=channel(), digit="1", duration_ms=80), None),
    ],
)
def test_other_events(given: AriEvent, expected: ev.Event | None) -> None:
    assert Translator("DE").translate(given) == expected


def test_escapes_of_a_quoted_name_are_undone() -> None:
    assert arrive(did="+493099", name='O\\"Neil \\\\ Co').caller_name == 'O"Neil \\ Co'

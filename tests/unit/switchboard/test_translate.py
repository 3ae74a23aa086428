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
from vsek.switchboard.translate import GONE_REMEMBERED, Translator

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
    translated = Translator("DE", clock=lambda: 0.0).translate(
        event(ari.StasisStart, args=args, channel=channel())
    )
    assert isinstance(translated, ev.CallArrived)
    return translated


def test_an_arrival_has_an_id_of_its_own_and_the_channel() -> None:
    first, second = arrive(did="030123456"), arrive(did="030123456")
    assert first.channel_id == "1700000000.5"
    assert first.call_id.startswith("700101-000000-")
    assert first.call_id != second.call_id


def test_commas_and_equals_signs_survive_the_arguments() -> None:
    arrived = arrive(did="+493099", name="Müller, A=B & Söhne", **{"from": "+4930555000"})
    assert arrived.caller_name == "Müller, A=B & Söhne"
    assert arrived.dids == ("+493099",)


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
        (event(ari.StasisEnd, channel=channel()), ev.CallerDiverted(ChannelId("1700000000.5"))),
        (event(ari.StasisEnd, channel=channel(id=LEG)), None),
        (
            event(
                ari.PlaybackFinished,
                playback={"id": "vsekcall-260101-000000-abcdef-s2", "state": "done"},
            ),
            ev.SoundDone("vsekcall-260101-000000-abcdef-s2", CallId("260101-000000-abcdef")),
        ),
        (
            event(
                ari.PlaybackFinished,
                playback={"id": "vsekcall-260101-000000-abcdef-s2", "state": "failed"},
            ),
            ev.SoundDone(
                "vsekcall-260101-000000-abcdef-s2", CallId("260101-000000-abcdef"), played=False
            ),
        ),
        (event(ari.PlaybackFinished, playback={"id": "foreign", "state": "done"}), None),
    ],
)
def test_other_events(given: AriEvent, expected: ev.Event | None) -> None:
    assert Translator("DE").translate(given) == expected


def test_the_end_of_a_channel_is_told_once() -> None:
    translator = Translator("DE")
    asked = event(ari.ChannelHangupRequest, channel=channel(), cause=32)
    ends = [
        asked,
        event(ari.ChannelHangupRequest, channel=channel(), cause=16),
        event(ari.StasisEnd, channel=channel()),
        event(ari.ChannelDestroyed, channel=channel(), cause=16, cause_txt=""),
    ]
    told = [translator.translate(end) for end in ends]
    assert told == [ev.ChannelGone(ChannelId("1700000000.5"), 32), None, None, None]
    other = event(ari.ChannelDestroyed, channel=channel(id=LEG), cause=21, cause_txt="")
    assert translator.translate(other) == ev.ChannelGone(ChannelId(LEG), 21)
    for number in range(GONE_REMEMBERED):
        later = event(ari.ChannelHangupRequest, channel=channel(id=f"1800000000.{number}"))
        assert translator.translate(later) is not None
    assert translator.translate(asked) is not None, "forgotten by then: nobody ends that late"

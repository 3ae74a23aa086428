"""Asterisk's events become the switchboard's: parsed, normalised and cleaned at this edge."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from vsek.ari._generated.events import (
    ChannelDestroyed,
    ChannelDtmfReceived,
    ChannelEnteredBridge,
    ChannelHangupRequest,
    ChannelStateChange,
    PlaybackFinished,
    RecordingFailed,
    RecordingFinished,
    StasisEnd,
    StasisStart,
)
from vsek.ari.base import Event as AriEvent
from vsek.call import events as ev
from vsek.domain.ids import OURS, RECORDINGS, CallId, ChannelId, new_call_id
from vsek.switchboard.arrival import Reader, values_of

CALLER = "in"
FALLBACK_CONTEXT = "vsek-fallback"
"""Where the dialplan serves a caller whom it took out of our hands."""
LEG = "leg"
GONE_REMEMBERED = 2_000
"""Of so many channels it is known that their end was told: far more than end in a second."""


class Translator:
    """Makes inputs of events. ``country`` is for numbers in national form, ``area`` for those in
    local form; ``recognise`` adds to an arrival who knows the caller."""

    def __init__(
        self,
        country: str,
        area: str = "",
        *,
        clock: Callable[[], float] = time.time,
        recognise: Callable[[ev.CallArrived], ev.CallArrived] = lambda arrival: arrival,
    ) -> None:
        self._reader = Reader(country, area)
        self._clock = clock
        self._recognise = recognise
        self._gone: dict[str, None] = {}

        # One look-up, however many kinds there are: a call brings some twenty events.
        self._by_type: dict[type[AriEvent], Callable[[Any], ev.Event | None]] = {
            StasisStart: self._entered,
            ChannelStateChange: _changed,
            ChannelHangupRequest: self._hung_up,
            ChannelDestroyed: lambda event: self._ended(event.channel.id, event.cause),
            StasisEnd: self._left,
            ChannelEnteredBridge: _joined,
            PlaybackFinished: _played,
            RecordingFinished: _recorded,
            RecordingFailed: _recorded,
            ChannelDtmfReceived: _pressed,
        }

    def translate(self, event: AriEvent) -> ev.Event | None:
        """The input that the event is, or ``None`` if it concerns no call."""
        read = self._by_type.get(type(event))
        return None if read is None else read(event)

    def _hung_up(self, event: ChannelHangupRequest) -> ev.Event | None:
        """The first sign of the end, about 2 ms before the others. On a leg it counts only with its
        cause: that tells a refusal from a fault."""
        if event.cause or not event.channel.id.startswith(OURS):
            return self._ended(event.channel.id, event.cause or 0)
        return None

    def _left(self, event: StasisEnd) -> ev.Event | None:
        channel_id = event.channel.id
        if channel_id.startswith(OURS) or channel_id in self._gone:
            return None
        # A hang-up would have been reported before this: the dialplan took the caller.
        return ev.CallerDiverted(ChannelId(channel_id))

    def _ended(self, channel_id: str, cause: int) -> ev.ChannelGone | None:
        """Asterisk tells the end of a channel two to four times. The first counts, whatever comes
        after it; each of the others would be an entry in the journal and a decision."""
        if channel_id in self._gone:
            return None
        self._gone[channel_id] = None
        if len(self._gone) > GONE_REMEMBERED:
            del self._gone[next(iter(self._gone))]
        return ev.ChannelGone(ChannelId(channel_id), cause)

    def _entered(self, event: StasisStart) -> ev.Event | None:
        kind, *rest = event.args or [""]
        channel_id = ChannelId(event.channel.id)
        if kind == LEG:
            return ev.LegReady(channel_id)
        if kind != CALLER:
            return None
        return self.arrival(channel_id, values_of(rest))

    def arrival(self, channel_id: ChannelId, values: Mapping[str, str]) -> ev.CallArrived:
        """A caller's arrival, from what the dialplan passed (:func:`values_of`)."""
        return self._recognise(self._reader.read(new_call_id(self._clock()), channel_id, values))


def _changed(event: ChannelStateChange) -> ev.Event | None:
    channel = event.channel
    if not channel.id.startswith(OURS):
        return None
    if channel.state == "Up":
        return ev.ChannelUp(ChannelId(channel.id))
    return ev.ChannelRinging(ChannelId(channel.id)) if channel.state == "Ringing" else None


def _joined(event: ChannelEnteredBridge) -> ev.Event | None:
    if event.channel is None or not event.bridge.id.startswith(OURS):
        return None
    return ev.Joined(ChannelId(event.channel.id))


def _played(event: PlaybackFinished) -> ev.Event | None:
    playback = event.playback
    if not playback.id.startswith(OURS):
        return None
    call_id = playback.id.removeprefix(OURS).rpartition("-")[0]
    return ev.SoundDone(playback.id, CallId(call_id), played=playback.state != "failed")


def _recorded(event: RecordingFinished | RecordingFailed) -> ev.Event | None:
    name = event.recording.name
    if not name.startswith(RECORDINGS):
        return None
    call_id = name.removeprefix(RECORDINGS).rpartition("-")[0]
    return ev.RecordingDone(name, CallId(call_id))


def _pressed(event: ChannelDtmfReceived) -> ev.Event | None:
    return ev.KeyPressed(ChannelId(event.channel.id), event.digit)

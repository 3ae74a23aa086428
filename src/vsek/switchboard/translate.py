"""Asterisk's events become the switchboard's: parsed, normalised and cleaned at this edge."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

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

    def translate(self, event: AriEvent) -> ev.Event | None:
        """The input that the event is, or ``None`` if it concerns no call."""
        match event:
            case StasisStart():
                return self._entered(event)
            case ChannelStateChange() if event.channel.id.startswith(OURS):
                if event.channel.state == "Up":
                    return ev.ChannelUp(ChannelId(event.channel.id))
                if event.channel.state == "Ringing":
                    return ev.ChannelRinging(ChannelId(event.channel.id))
                return None
            case ChannelHangupRequest() if event.cause or not event.channel.id.startswith(OURS):
                # The first sign of the end, about 2 ms before the others. On a leg it counts only
                # with its cause: that tells a refusal from a fault.
                return self._ended(event.channel.id, event.cause or 0)
            case ChannelDestroyed():
                return self._ended(event.channel.id, event.cause)
            case StasisEnd() if not event.channel.id.startswith(OURS):
                if event.channel.id in self._gone:
                    return None
                # A hang-up would have been reported before this: the dialplan took the caller.
                return ev.CallerDiverted(ChannelId(event.channel.id))
            case ChannelEnteredBridge() if event.channel is not None and event.bridge.id.startswith(
                OURS
            ):
                return ev.Joined(ChannelId(event.channel.id))
            case _:
                return _of_media(event)

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


def _of_media(event: AriEvent) -> ev.Event | None:
    match event:
        case PlaybackFinished() if event.playback.id.startswith(OURS):
            call_id = event.playback.id.removeprefix(OURS).rpartition("-")[0]
            return ev.SoundDone(
                event.playback.id, CallId(call_id), played=event.playback.state != "failed"
            )
        case RecordingFinished() | RecordingFailed() if event.recording.name.startswith(RECORDINGS):
            name = event.recording.name
            call_id = name.removeprefix(RECORDINGS).rpartition("-")[0]
            return ev.RecordingDone(name, CallId(call_id))
        case ChannelDtmfReceived():
            return ev.KeyPressed(ChannelId(event.channel.id), event.digit)
        case _:
            return None

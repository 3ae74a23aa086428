"""Asterisk's events become the switchboard's: parsed, normalised and cleaned at this edge."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from urllib.parse import unquote

from vsek.ari._generated.events import (
    ChannelDestroyed,
    ChannelEnteredBridge,
    ChannelHangupRequest,
    ChannelStateChange,
    PlaybackFinished,
    StasisEnd,
    StasisStart,
)
from vsek.ari.base import Event as AriEvent
from vsek.call import events as ev
from vsek.domain.ids import OURS, CallId, ChannelId, new_call_id
from vsek.domain.numbers import is_dialable, normalise
from vsek.domain.text import clean_line

CALLER = "in"
LEG = "leg"
MAX_FORWARDERS = 16
_QUOTED_PAIR = re.compile(r"\\([\"\\])")

# The variables in which the dialplan leaves the same as in the arguments, for recovery.
VARIABLES = {
    "did": "VSEK_DID",
    "to": "VSEK_TO",
    "pcpid": "VSEK_PCPID",
    "from": "VSEK_FROM",
    "name": "VSEK_NAME",
    "pai": "VSEK_PAI",
    "privacy": "VSEK_PRIVACY",
    "div": "VSEK_DIV",
    "hist": "VSEK_HIST",
    "reason": "VSEK_REASON",
}


class Translator:
    """Makes inputs of events. ``country`` is for numbers in national form."""

    def __init__(self, country: str, clock: Callable[[], float] = time.time) -> None:
        self._country = country
        self._clock = clock

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
                return ev.ChannelGone(ChannelId(event.channel.id), event.cause or 0)
            case ChannelDestroyed():
                return ev.ChannelGone(ChannelId(event.channel.id), event.cause)
            case StasisEnd() if not event.channel.id.startswith(OURS):
                return ev.ChannelGone(ChannelId(event.channel.id))
            case PlaybackFinished() if event.playback.id.startswith(OURS):
                call_id = event.playback.id.removeprefix(OURS).rpartition("-")[0]
                return ev.SoundDone(event.playback.id, CallId(call_id))
            case ChannelEnteredBridge() if event.channel is not None and event.bridge.id.startswith(
                OURS
            ):
                return ev.Joined(ChannelId(event.channel.id))
            case _:
                return None

    def _entered(self, event: StasisStart) -> ev.Event | None:
        kind, *rest = event.args or [""]
        channel_id = ChannelId(event.channel.id)
        if kind == LEG:
            return ev.LegReady(channel_id)
        if kind != CALLER:
            return None
        values = {}
        for argument in rest:
            key, _, value = argument.partition("=")
            values[key] = unquote(value, errors="replace")
        return self.arrival(channel_id, values)

    def arrival(self, channel_id: ChannelId, values: Mapping[str, str]) -> ev.CallArrived:
        """A caller's arrival, from what the dialplan passed (keys as in ``VARIABLES``)."""
        dids = [self._number(values.get(key, "")) for key in ("did", "pcpid", "to")]
        if not any(dids):
            # Nobody's number; operations are told what was dialled.
            dids = [clean_line(values.get("did", ""), 64)]
        withheld = values.get("privacy", "") == "1"
        caller = ""
        if not withheld:
            caller = self._number(values.get("pai", "")) or self._number(values.get("from", ""))
        # Diversion: the most recent forwarder first. History-Info: the first called party first,
        # and the last entry is where the call is now.
        chain = values.get("div", "").split(";") + values.get("hist", "").split(";")[::-1]
        return ev.CallArrived(
            new_call_id(self._clock()),
            channel_id,
            dids=tuple(dict.fromkeys(did for did in dids if did)),
            caller_number=caller,
            caller_name="" if withheld else _caller_name(values.get("name", "")),
            caller_withheld=withheld or not caller,
            forwarded_by=self._forwarders(chain),
            forward_reason=clean_line(values.get("reason", ""), 40),
        )

    def _forwarders(self, chain: list[str]) -> tuple[str, ...]:
        numbers = (self._number(raw) for raw in chain[:MAX_FORWARDERS])
        return tuple(dict.fromkeys(number for number in numbers if number))

    def _number(self, raw: str) -> str:
        number = normalise(raw, self._country)
        return number if is_dialable(number) else ""


def _caller_name(raw: str) -> str:
    # Asterisk passes a quoted display name on with its escapes (RFC 3261, 25.1: quoted-pair).
    return clean_line(_QUOTED_PAIR.sub(r"\1", raw))

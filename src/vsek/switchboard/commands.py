"""Commands become ARI requests, their failures become events.

Each command goes out at once on the socket of its lane. While there is no connection commands are
dropped, and requests that a lost connection leaves open are not reported: in both cases recovery
compares state and world after the reconnect, exactly as after a crash.

Nobody waits longer than for an agent's telephone, and Asterisk does one thing after the other: so
what else the same call wants, to ring or a bridge, stands back until the leg was dialled, some 2
ms, or for ``STANDS_BACK_S`` if it is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol
from urllib.parse import quote

import structlog

from vsek.ari.connection import Done
from vsek.ari.errors import AriError, AriTimeout
from vsek.ari.protocol import Query, Reply
from vsek.call import effects as do
from vsek.call.events import CommandFailed
from vsek.domain.ids import CallId
from vsek.domain.outcomes import LOOP
from vsek.switchboard.legs import Turns

log = structlog.get_logger(__name__)

# Failures that a call acts on; any other is followed by the report of a channel's end.
_TELLING = (do.CreateLeg, do.CreateForward, do.Dial, do.Join, do.Play, do.Record, do.Brief)
STANDS_BACK_S = 0.01
_HURRIED = (do.CreateLeg, do.Dial)
_GONE = 404
_CONFLICT = 409


class AriSend(Protocol):
    """What this needs of :class:`vsek.ari.Client`."""

    def send(
        self,
        method: str,
        uri: str,
        query: Query | None,
        body: Any,
        done: Done,
        *,
        lane: str = "",
        at_once: bool = False,
    ) -> None:
        """Send without waiting; ``done`` gets what becomes of it."""


Request = tuple[str, str, dict[str, str], dict[str, Any] | None]


class AriCommander:
    """Sends commands over ``client``; failures that matter go to ``post``.

    ``trunk`` is where calls to clients' own numbers go (setting ``outbound.endpoint``).
    """

    def __init__(
        self,
        client: AriSend,
        app: str,
        post: Callable[[CommandFailed], None],
        trunk: str = "",
    ) -> None:
        self._client = client
        self._app = app
        self._post = post
        self._trunk = trunk
        self._connected = False
        self._standing_back: dict[CallId, tuple[asyncio.TimerHandle, list[do.Command]]] = {}
        """By call whose leg is being made: until when, and what."""
        self.legs = Turns(self._make)
        self.sent = self.failed = self.timeouts = self.dropped = 0
        """Counted since the start, for whoever watches."""

    @property
    def connected(self) -> bool:
        """Whether commands flow."""
        return self._connected

    @connected.setter
    def connected(self, flows: bool) -> None:
        self._connected = flows
        if not flows:
            self.dropped += self.legs.forget()
            for timer, commands in self._standing_back.values():
                timer.cancel()
                self.dropped += len(commands)
            self._standing_back.clear()

    def send(self, command: do.Command) -> None:
        """Send it as soon as its turn has come, or drop it while there is no connection."""
        if not self._connected:
            self.dropped += 1
        elif isinstance(command, do.CreateLeg):
            self.legs.want(command)
        elif isinstance(command, do.HangupLeg) and self.legs.unwant(command.channel_id):
            gone = (command.call_id, command.channel_id, _GONE, "was not made yet")
            self._post(CommandFailed("HangupLeg", *gone))
        else:
            self._send(command)

    def _send(self, command: do.Command) -> None:
        call_id = command.call_id
        waiting = self._standing_back.get(call_id)
        if waiting is not None and command.lane == call_id:
            waiting[1].append(command)
            return
        self._request(command)
        if isinstance(command, do.Dial):
            self._catch_up(call_id)

    def _make(self, command: do.CreateLeg) -> None:
        call_id = command.call_id
        self._request(command)
        self._catch_up(call_id)  # with an earlier leg, which came to nothing
        loop = asyncio.get_running_loop()
        timer = loop.call_later(STANDS_BACK_S, self._catch_up, call_id)
        self._standing_back[call_id] = timer, []

    def _catch_up(self, call_id: CallId) -> None:
        if (waiting := self._standing_back.pop(call_id, None)) is not None:
            timer, commands = waiting
            timer.cancel()
            for command in commands:
                self._request(command)

    def _request(self, command: do.Command) -> None:
        self.sent += 1
        method, uri, query, body = self.request(command)
        self._client.send(
            method,
            uri,
            query,
            body,
            partial(self._done, command),
            lane=command.lane,
            at_once=isinstance(command, _HURRIED),
        )

    def request(self, command: do.Command) -> Request:
        """Method, URI, query and body of a command."""
        channel = f"channels/{quote(command.channel_id, safe='')}"
        match command:
            case do.Answer():
                return "POST", f"{channel}/answer", {}, None
            case do.Ring():
                return "POST", f"{channel}/ring", {}, None
            case do.CreateLeg():
                return "POST", "channels/create", self._leg(command), _leg_variables(command)
            case do.CreateForward():
                return "POST", "channels/create", self._forward(command), _shown(command)
            case do.Dial():
                return "POST", f"{channel}/dial", {"timeout": f"{command.timeout_s:.0f}"}, None
            case do.CreateBridge():
                query = {"type": "mixing", "name": command.bridge_id}
                return "POST", f"bridges/{command.bridge_id}", query, None
            case do.Join():
                query = {"channel": f"{command.channel_id},{command.leg_id}"}
                return "POST", f"bridges/{command.bridge_id}/addChannel", query, None
            case do.DestroyBridge():
                return "DELETE", f"bridges/{command.bridge_id}", {}, None
            case do.HangupLeg() | do.Hangup() | do.HangupStray():
                query = {} if isinstance(command, do.HangupStray) else _why(command.reason)
                return "DELETE", channel, query, None
            case _:
                return _about_sound(channel, command)

    def _leg(self, command: do.CreateLeg) -> dict[str, str]:
        return {
            "endpoint": f"PJSIP/{command.agent_id}",
            "app": self._app,
            "appArgs": "leg",
            "channelId": command.channel_id,
            # The leg takes the caller's codecs, so that nothing has to be transcoded.
            "originator": command.caller_channel_id,
        }

    def _forward(self, command: do.CreateForward) -> dict[str, str]:
        return {
            "endpoint": endpoint_of(self._trunk, command.number),
            "app": self._app,
            "appArgs": "leg",
            "channelId": command.channel_id,
            "originator": command.caller_channel_id,
        }

    def _done(self, command: do.Command, fate: Reply | AriError) -> None:
        done = isinstance(fate, Reply) and fate.status < 400
        # With a lost connection all that waits is forgotten, and nothing more is to be sent.
        over = isinstance(command, do.Dial) or (isinstance(command, do.CreateLeg) and not done)
        if over and isinstance(fate, Reply | AriTimeout):
            self.legs.made(command.channel_id)
        if isinstance(fate, Reply):
            if not done:
                self.failed += 1
                self._failed(command, fate.status, _message(fate))
        elif isinstance(fate, AriTimeout):
            self.timeouts += 1
            self._failed(command, 0, str(fate))

    def _failed(self, command: do.Command, status: int, message: str) -> None:
        name = type(command).__name__
        level = log.debug if status == _GONE else log.warning
        level(
            "command_failed",
            call_id=command.call_id,
            command=name,
            channel=command.channel_id,
            status=status,
            message=message,
        )
        if isinstance(command, do.Dial) and status == _CONFLICT:
            return  # dialled twice, after a reconnect
        gone = status == _GONE and isinstance(command, do.Hangup | do.HangupLeg)
        if gone or isinstance(command, _TELLING):
            about = command.leg_id if isinstance(command, do.Join) else command.channel_id
            sound_id = command.sound_id if isinstance(command, do.Play | do.Brief) else ""
            self._post(CommandFailed(name, command.call_id, about, status, message, sound_id))


def _about_sound(channel: str, command: do.Command) -> Request:
    match command:
        case do.Play():
            return "POST", f"{channel}/play/{command.sound_id}", {"media": command.media}, None
        case do.StopSound():
            return "DELETE", f"playbacks/{command.sound_id}", {}, None
        case do.Record():
            return "POST", f"{channel}/record", _recording(command), None
        case do.StopRecording():
            name = quote(command.recording, safe="")
            return "POST", f"recordings/live/{name}/stop", {}, None
        case do.DropRecording():
            return "DELETE", f"recordings/stored/{quote(command.recording, safe='')}", {}, None
        case do.Brief():
            return "POST", f"{channel}/play/{command.sound_id}", {"media": command.media}, None
        case do.StopBriefing():
            return "DELETE", f"playbacks/{command.sound_id}", {}, None
        case do.StartMusic():
            return "POST", f"{channel}/moh", {"mohClass": command.music}, None
        case do.StopMusic():
            return "DELETE", f"{channel}/moh", {}, None
        case _:
            raise TypeError(f"no request for {type(command).__name__}")


def _recording(command: do.Record) -> dict[str, str]:
    return {
        "name": command.recording,
        "format": "wav",
        "maxDurationSeconds": f"{command.max_s:.0f}",
        "maxSilenceSeconds": f"{command.silence_s:.0f}",
        "ifExists": "overwrite",
        # Keys are events for the call's script, which stops the recording itself.
        "terminateOn": "none",
    }


def _leg_variables(command: do.CreateLeg) -> dict[str, Any]:
    """What the agent's phone shows: the client's name and the caller's number."""
    return {
        "variables": {
            "CONNECTEDLINE(name,i)": command.shown_name,
            "CONNECTEDLINE(num,i)": command.shown_number,
            "CONNECTEDLINE(pres)": "allowed",
        }
    }


def endpoint_of(trunk: str, number: str) -> str:
    """What Asterisk dials for ``number`` (E.164), by the setting ``outbound.endpoint``."""
    return trunk.replace("{number}", number).replace("{digits}", number.removeprefix("+"))


def _shown(command: do.CreateForward) -> dict[str, Any]:
    """What leaves the house with a call to a client's own number: the number shown, which is ours,
    and by what the call is known should it come back."""
    return {
        "variables": {
            # The name too: once it was sent, recovery can tell that this leg was dialled.
            "CONNECTEDLINE(name,i)": command.shown_number,
            "CONNECTEDLINE(num,i)": command.shown_number,
            "CONNECTEDLINE(pres)": "allowed",
            "PJSIP_HEADER(add,X-vsek-Call)": command.call_id,
            "PJSIP_HEADER(add,Diversion)": f"<sip:{command.shown_number}@vsek.invalid>"
            ";reason=no-answer;counter=1",
        }
    }


def _why(reason: str) -> dict[str, str]:
    # Q.850 has a cause for loops, exchange routing error; in SIP it becomes 603, upon which
    # networks do not try elsewhere.
    return {"reason_code": "25"} if reason == LOOP else {"reason": reason}


def _message(reply: Reply) -> str:
    body = reply.body
    if isinstance(body, dict):
        return str(body.get("message") or body.get("error") or body)
    return str(body)

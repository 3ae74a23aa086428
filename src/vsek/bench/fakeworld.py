"""What the fake Asterisk of the bench holds: channels, bridges, accounts, and people who call.

Theory of operation. Callers come at the rate that was ordered. What the switchboard commands
happens after the times in which Asterisk and people do it: a leg is there at once, its telephone
rings, is answered after ``ring_s``, the two talk for ``talk_s``, then the caller hangs up. Events
are those of Asterisk 22 for such a call, minus those that the switchboard filters out. Accounts of
agents are stored as they were pushed; every agent's telephone is online.

Commands that nothing depends on (ringing, variables) are answered and forgotten. One that is not
known at all is counted in ``strange``, as it would fail in Asterisk.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec

_ACCOUNTS: Final = "asterisk/config/dynamic/res_pjsip/"
_NORMAL: Final = 16


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Calls to be made: ``rate`` a second for ``seconds``, to the numbers ``dids`` in turn."""

    rate: float
    seconds: float
    dids: list[str]
    ring_s: float = 0.5
    talk_s: float = 3.0


class Told(msgspec.Struct, kw_only=True):
    """What became of an order, when its last caller has gone."""

    calls: int = 0
    served: int = 0
    """Those whose caller talked to an agent."""
    strange: list[str] = []
    """Requests that are not known, the first few."""
    channels: int = 0
    """Channels that are still there."""
    bridges: int = 0


class Request(msgspec.Struct, frozen=True):
    """A request, however it came."""

    method: str
    uri: str
    query: dict[str, str]
    body: Any = None


APP = "vsek"
"""The application that gets the calls."""
Answer = tuple[int, Any]
"""Status and body."""


class Call:
    """One caller and the leg that was made for it."""

    def __init__(self, channel: str, order: Order, left: Callable[[Call], None]) -> None:
        self.channel = channel
        self.order = order
        self.left = left
        self.served = False


class World:
    """Channels, bridges and accounts; ``tell`` sends an event to the application."""

    def __init__(self, tell: Callable[[dict[str, Any]], None]) -> None:
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._accounts: dict[str, Any] = {}
        self._endpoints: list[str] = []
        self._channels: dict[str, dict[str, Any]] = {}
        self._bridges: dict[str, dict[str, Any]] = {}
        self._calls: dict[str, Call] = {}
        self._callers: dict[str, str] = {}
        """Of legs: for which caller they were made."""
        self._numbers = itertools.count(1)
        self._variables: dict[str, str] = {}
        self.strange: list[str] = []

    # -- callers ----------------------------------------------------------------------------

    async def carry_out(self, order: Order) -> Told:
        """Has the callers of an order come, and waits until the last one has gone."""
        told = Told()
        gone = asyncio.Event()
        total = round(order.rate * order.seconds)

        def left(call: Call) -> None:
            told.calls += 1
            told.served += call.served
            if told.calls == total:
                gone.set()

        began = self._loop.time()
        for number in range(total):
            wait_s = began + number / order.rate - self._loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            self._arrive(order, order.dids[number % len(order.dids)], left)
        await gone.wait()
        told.strange = self.strange[:5]
        told.channels, told.bridges = len(self._channels), len(self._bridges)
        return told

    def _arrive(self, order: Order, did: str, left: Callable[[Call], None]) -> None:
        number = next(self._numbers)
        channel = f"1700000000.{number}"
        self._calls[channel] = Call(channel, order, left)
        self._make(channel, f"PJSIP/trunk-{number:08x}", "Ring")
        caller = f"%2B4940{10_000_000 + number}"
        args = ["in", f"did={did}", f"from={caller}", f"uri=sip%3A{did}%40127.0.0.1"]
        self._event("StasisStart", args=args, channel=self._channels[channel])

    def _hang_up(self, channel: str) -> None:
        if channel not in self._channels:
            return
        about = self._channels.pop(channel)
        self._callers.pop(channel, None)
        self._event("ChannelHangupRequest", channel=about, cause=_NORMAL)
        self._event("StasisEnd", channel=about)
        self._event("ChannelDestroyed", channel=about, cause=_NORMAL, cause_txt="Normal Clearing")
        if (call := self._calls.pop(channel, None)) is not None:
            call.left(call)

    def _make(self, channel: str, name: str, state: str) -> None:
        self._channels[channel] = {
            "id": channel,
            "name": name,
            "state": state,
            "protocol_id": "9f8c1c1e-6d2a-4d3f-9f83-1d2c3b4a5968",
            "caller": {"name": "", "number": ""},
            "connected": {"name": "", "number": ""},
            "accountcode": "",
            "dialplan": {
                "context": "vsek-in",
                "exten": "s",
                "priority": 20,
                "app_name": "Stasis",
                "app_data": "vsek,in",
            },
            "creationtime": _now(),
            "language": "en",
        }

    def _event(self, kind: str, app: str = APP, **fields: Any) -> None:
        self._tell({"type": kind, "application": app, "timestamp": _now(), **fields})

    # -- requests ---------------------------------------------------------------------------

    def answer(self, request: Request) -> Answer:
        """What Asterisk would answer; events follow."""
        thing, _, rest = request.uri.partition("/")
        match thing:
            case "channels":
                return self._of_channels(request, rest)
            case "bridges":
                return self._of_bridges(request, rest)
            case "events":
                return self._user_event(request, rest.rpartition("/")[2])
            case "asterisk" if request.uri.startswith(_ACCOUNTS):
                return self._of_accounts(request, request.uri.removeprefix(_ACCOUNTS))
            case "endpoints":
                # All online from the beginning: their names are those of the accounts.
                return 200, [self._endpoint(name) for name in self._endpoints]
            case "applications":
                return 200, {"name": APP, "channel_ids": list(self._calls)}
            case "asterisk":
                return self._of_asterisk(request, rest)
            case "recordings" if request.method == "GET":
                return 200, []
            case _:
                return self._unknown(request)

    def _unknown(self, request: Request) -> Answer:
        self.strange.append(f"{request.method} {request.uri}")
        return 404, {"message": "not known"}

    @staticmethod
    def _endpoint(name: str) -> dict[str, Any]:
        return {"technology": "PJSIP", "resource": name, "state": "online", "channel_ids": []}

    def hire(self, accounts: dict[str, Any]) -> None:
        """These accounts (``endpoint/anna`` → attributes) are there already."""
        self._accounts.update(accounts)
        kind = "endpoint/"
        self._endpoints += [key.removeprefix(kind) for key in accounts if key.startswith(kind)]

    def _of_accounts(self, request: Request, key: str) -> Answer:
        if request.method == "GET":
            found = self._accounts.get(key)
            return (404, {"message": "none"}) if found is None else (200, found)
        if request.method == "PUT":
            if key.startswith("endpoint/") and key not in self._accounts:
                self._endpoints.append(key.partition("/")[2])
            self._accounts[key] = request.body["fields"]
            return 200, self._accounts[key]
        self._accounts.pop(key, None)
        return 204, None

    def _of_asterisk(self, request: Request, rest: str) -> Answer:
        if rest == "ping":
            return 200, {"asterisk_id": "00:00:00:00:00:00", "ping": "pong", "timestamp": _now()}
        if rest == "variable" and request.method == "GET":
            return 200, {"value": self._variables.get(request.query["variable"], "")}
        if rest == "variable":
            self._variables[request.query["variable"]] = request.query["value"]
            return 204, None
        return (204, None) if rest.startswith("modules/") else self._unknown(request)

    def _user_event(self, request: Request, name: str) -> Answer:
        variables = (request.body or {}).get("variables", {})
        about = {"eventname": name, "userevent": {"eventname": name, **variables}}
        self._event("ChannelUserevent", request.query["application"], **about)
        return 204, None

    def _of_channels(self, request: Request, rest: str) -> Answer:
        if not rest:
            return 200, list(self._channels.values())
        if rest == "create":
            return self._create(request)
        channel, _, what = rest.partition("/")
        if channel not in self._channels:
            return 404, {"message": "Channel not found"}
        if request.method == "DELETE" and not what:
            self._loop.call_soon(self._hang_up, channel)
        elif what in ("answer", "dial"):
            getattr(self, f"_{what}")(channel)
        elif what == "variable" and request.method == "GET":
            return 200, {"value": ""}
        elif what not in ("ring", "variable", "moh"):
            return self._unknown(request)
        return 204, None

    def _create(self, request: Request) -> Answer:
        channel = request.query["channelId"]
        self._make(channel, f"{request.query['endpoint']}-00000001", "Down")
        self._callers[channel] = request.query.get("originator", "")
        about = self._channels[channel]
        self._event("StasisStart", args=["leg"], channel=about)
        return 200, about

    def _answer(self, channel: str) -> None:
        self._turn(channel, "Up")

    def _dial(self, channel: str) -> None:
        self._turn(channel, "Ringing")
        call = self._calls.get(self._callers[channel])
        ring_s = call.order.ring_s if call is not None else 0.5
        # People are not equally quick.
        self._loop.call_later(ring_s * random.uniform(0.5, 1.5), self._turn, channel, "Up")  # noqa: S311

    def _turn(self, channel: str, state: str) -> None:
        if channel in self._channels:
            self._channels[channel]["state"] = state
            self._event("ChannelStateChange", channel=self._channels[channel])

    def _of_bridges(self, request: Request, rest: str) -> Answer:
        if not rest:
            return 200, list(self._bridges.values())
        bridge, _, what = rest.partition("/")
        if request.method == "DELETE":
            return (204, None) if self._bridges.pop(bridge, None) else (404, {"message": "none"})
        if not what:
            self._bridges[bridge] = {
                "id": bridge,
                "technology": "simple_bridge",
                "bridge_type": "mixing",
                "bridge_class": "stasis",
                "creator": "Stasis",
                "name": bridge,
                "channels": [],
                "creationtime": _now(),
            }
            return 200, self._bridges[bridge]
        if what == "addChannel":
            return self._join(bridge, request.query["channel"].split(","))
        return self._unknown(request)

    def _join(self, bridge: str, channels: list[str]) -> Answer:
        if bridge not in self._bridges or any(c not in self._channels for c in channels):
            return 400, {"message": "Channel not found"}
        for channel in channels:
            self._bridges[bridge]["channels"].append(channel)
            self._event(
                "ChannelEnteredBridge",
                bridge=self._bridges[bridge],
                channel=self._channels[channel],
            )
            if (call := self._calls.get(channel)) is not None:
                call.served = True
                talk_s = call.order.talk_s * random.uniform(0.5, 1.5)  # noqa: S311
                self._loop.call_later(talk_s, self._hang_up, channel)
        return 204, None


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")

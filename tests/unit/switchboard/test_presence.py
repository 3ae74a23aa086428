"""Which softphones are registered, and what Asterisk is asked to tell of."""

from __future__ import annotations

from typing import Any

import pytest

from vsek.acd.events import AgentReachable
from vsek.ari.protocol import Reply, decode
from vsek.domain.ids import AgentId
from vsek.errors import ServiceError
from vsek.switchboard import presence as presence_module
from vsek.switchboard.presence import Presence


class Asterisk:
    """Endpoints by name; notes down who is subscribed."""

    def __init__(self, **endpoints: str) -> None:
        self.endpoints = endpoints
        self.subscribed: list[str] = []
        self.requests: list[tuple[str, str]] = []
        self.filters: list[Any] = []
        self.status = 200

    async def http(
        self, method: str, uri: str, query: dict[str, str] | None = None, body: Any = None
    ) -> Reply:
        if uri == "endpoints/PJSIP":
            listed = [{"resource": n, "state": s} for n, s in self.endpoints.items()]
            return Reply(status=200, body=listed)
        if uri == "applications/vsek/eventFilter":
            self.filters.append(body)
            return Reply(status=self.status, body={"message": "no"})
        assert uri == "applications/vsek/subscription"
        sources = (query or {})["eventSource"].split(",")
        self.requests.append((method, (query or {})["eventSource"]))
        if method == "DELETE":
            self.subscribed = [one for one in self.subscribed if one not in sources]
        elif self.status == 200:
            assert not set(sources) & set(self.subscribed)
            self.subscribed += sources
        return Reply(status=self.status, body={"message": "no"})


def endpoint_event(name: str, state: str, technology: str = "PJSIP") -> Any:
    return decode(
        '{"type":"PeerStatusChange","timestamp":"","application":"vsek","endpoint":'
        f'{{"technology":"{technology}","resource":"{name}","state":"{state}","channel_ids":[]}},'
        f'"peer":{{"peer_status":"{"Reachable" if state == "online" else "Unreachable"}"}}}}'
    )


async def test_agents_are_followed_and_others_are_not() -> None:
    posted: list[AgentReachable] = []
    asterisk = Asterisk(anna="online", ben="offline", trunk="online")
    presence = Presence(posted.append, "vsek")
    await presence.refresh(asterisk, ["anna", "ben", "cleo"])
    assert asterisk.subscribed == ["endpoint:PJSIP/anna", "endpoint:PJSIP/ben"]
    (told,) = asterisk.filters
    # Without its replies a command socket would be given up again and again.
    assert {"type": "RESTResponse"} in told["allowed"]
    assert {"type": "ChannelStateChange"} not in told["allowed"]
    assert posted == [
        AgentReachable(AgentId("anna"), reachable=True),
        AgentReachable(AgentId("ben"), reachable=False),
        AgentReachable(AgentId("cleo"), reachable=False),
    ]


async def test_each_refresh_subscribes_anew_and_reports_anew() -> None:
    posted: list[AgentReachable] = []
    asterisk = Asterisk(anna="online")
    presence = Presence(posted.append, "vsek")
    await presence.refresh(asterisk, ["anna"])
    await presence.refresh(asterisk, ["anna"])
    assert [method for method, _ in asterisk.requests] == ["DELETE", "POST"] * 2
    assert len(posted) == 2


async def test_only_changes_are_reported() -> None:
    posted: list[AgentReachable] = []
    presence = Presence(posted.append, "vsek")
    for state in ("online", "online", "offline", "unknown", "online"):
        presence.see(endpoint_event("anna", state))
    presence.see(endpoint_event("anna", "offline", technology="SIP"))
    assert [event.reachable for event in posted] == [True, False, True]


async def test_a_change_that_no_event_told_of_is_found() -> None:
    posted: list[AgentReachable] = []
    asterisk = Asterisk(anna="online", ben="offline", cleo="online", trunk="online")
    presence = Presence(posted.append, "vsek")
    await presence.refresh(asterisk, ["anna", "ben", "cleo"])
    posted.clear()
    agents = ["anna", "ben", "cleo", "new"]
    assert await presence.compare(asterisk, agents) == []
    asterisk.endpoints |= {"anna": "offline", "ben": "online"}
    del asterisk.endpoints["cleo"]
    assert await presence.compare(asterisk, agents) == ["anna", "ben", "cleo"]
    assert [event.reachable for event in posted] == [False, True, False]
    assert await presence.compare(asterisk, agents) == []


async def test_an_event_during_the_comparison_outweighs_it() -> None:
    posted: list[AgentReachable] = []
    presence = Presence(posted.append, "vsek")

    class Slow(Asterisk):
        """Answers with what was so before the event."""

        async def http(self, *arguments: Any, **named: Any) -> Reply:
            reply = await super().http(*arguments, **named)
            presence.see(endpoint_event("anna", "offline"))
            return reply

    await presence.refresh(Asterisk(anna="online"), ["anna"])
    assert await presence.compare(Slow(anna="online"), ["anna"]) == []
    assert [event.reachable for event in posted] == [True, False]


async def test_many_agents_go_into_several_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence_module, "SOURCES_LENGTH", 60)
    names = [f"agent{number}" for number in range(7)]
    asterisk = Asterisk(**dict.fromkeys(names, "online"))
    await Presence(lambda _: None, "vsek").refresh(asterisk, names)
    assert asterisk.subscribed == [f"endpoint:PJSIP/{name}" for name in names]
    assert all(len(sources) < 60 for _, sources in asterisk.requests)
    assert len(asterisk.requests) == 2 * 4


async def test_a_refused_subscription_is_told() -> None:
    class Refusing(Asterisk):
        """Filters, but does not tell."""

        async def http(
            self, method: str, uri: str, query: dict[str, str] | None = None, body: Any = None
        ) -> Reply:
            self.status = 200 if uri.endswith("eventFilter") else 404
            return await super().http(method, uri, query, body)

    asterisk = Refusing(anna="online")
    with pytest.raises(ServiceError, match="does not tell of endpoint:PJSIP/anna: 404"):
        await Presence(lambda _: None, "vsek").refresh(asterisk, ["anna"])


async def test_what_happens_while_asterisk_is_asked_outweighs_its_answer() -> None:
    posted: list[AgentReachable] = []
    presence = Presence(posted.append, "vsek")

    class Slow(Asterisk):
        """Answers with what was before."""

        async def http(
            self, method: str, uri: str, query: dict[str, str] | None = None, body: Any = None
        ) -> Reply:
            reply = await super().http(method, uri, query, body)
            if self.subscribed:
                presence.see(endpoint_event("anna", "online"))
                presence.see(endpoint_event("ben", "offline"))
            return reply

    await presence.refresh(Slow(anna="offline", ben="online", cleo="online"), ["anna", "ben"])
    assert [(event.agent_id, event.reachable) for event in posted[-2:]] == [
        ("anna", True),
        ("ben", False),
    ]
    await presence.refresh(Asterisk(anna="offline", ben="online"), ["anna", "ben"])
    assert [(event.agent_id, event.reachable) for event in posted[-2:]] == [
        ("anna", False),
        ("ben", True),
    ]

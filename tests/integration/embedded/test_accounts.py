"""Accounts pushed at run time: registration, presence, ringing, and who is told from whom."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.embedded.conftest import Watcher, get, push_account, remove_account

from vsek.ari import Client, events
from vsek.demo.caller import Caller
from vsek.demo.events import eventually
from vsek.demo.sipmessage import Dial
from vsek.demo.softphone import Softphone
from vsek.domain.agent import Agent, ha1
from vsek.domain.ids import AgentId
from vsek.embedded.asterisk import PrivateAsterisk
from vsek.errors import ServiceError
from vsek.pbx.accounts import Accounts, account_objects, qualify_s

_SECRET = "geheim-geheim"
_VOICE = Path(__file__).parents[3] / "asterisk-conf/vsek-sounds/no-calls-out-en.wav"


def _phone(asterisk: PrivateAsterisk, folder: Path, secret: str = _SECRET) -> Softphone:
    return Softphone("anna", secret, ("127.0.0.1", asterisk.sip_port), folder)


async def _state(client: Client) -> str:
    return str((await get(client, "endpoints/PJSIP/anna"))["state"])


async def _subscribe(client: Client) -> None:
    path = "applications/vsek/subscription"
    reply = await client.http("POST", path, query={"eventSource": "endpoint:PJSIP"})
    assert reply.status == 200


async def test_presence_follows_registration(
    asterisk: PrivateAsterisk, client: Client, watcher: Watcher, tmp_path: Path
) -> None:
    await _subscribe(client)
    await push_account(client, "anna", _SECRET)
    assert await _state(client) == "offline"
    phone = _phone(asterisk, tmp_path / "phone")
    try:
        await phone.start(voice=_VOICE)
        online = await watcher.next(
            events.EndpointStateChange, lambda e: e.endpoint.state == "online"
        )
        assert online.endpoint.resource == "anna"
        peer = await watcher.next(events.PeerStatusChange)
        assert (peer.peer.peer_status, peer.endpoint.state) == ("Reachable", "online")
        contact = await watcher.next(
            events.ContactStatusChange, lambda e: e.contact_info.contact_status == "NonQualified"
        )
        assert contact.contact_info.aor == "anna"
        assert await _state(client) == "online"

        await push_account(client, "anna", _SECRET, kinds=("auth", "endpoint"))
        assert await _state(client) == "online", "pushing these again changes nothing"

        await phone.unregister()
        await watcher.next(events.EndpointStateChange, lambda e: e.endpoint.state == "offline")
        assert (await watcher.next(events.PeerStatusChange)).peer.peer_status == "Unreachable"
        assert await _state(client) == "offline"
        query = {"endpoint": "PJSIP/anna", "app": "vsek"}
        reply = await client.http("POST", "channels/create", query=query)
        assert (reply.status, reply.body) == (500, {"error": "Allocation failed"})
    finally:
        await phone.stop()
    await remove_account(client, "anna")

    async def gone() -> bool | None:
        return (await client.http("GET", "endpoints/PJSIP/anna")).status == 404 or None

    # Whoever holds the endpoint at this moment keeps it for as long.
    await eventually(gone, "the endpoint forgotten")


async def test_changed_accounts_keep_telling_presence(
    asterisk: PrivateAsterisk, client: Client, watcher: Watcher, tmp_path: Path
) -> None:
    """An aor must not be overwritten: it would never tell presence again."""
    await _subscribe(client)
    accounts = Accounts(client, "agents")
    anna = Agent(id=AgentId("anna"), name="Anna", language="de", ha1=ha1("anna", _SECRET))
    assert await accounts.sync({anna.id: anna}) == {"anna"}
    # As an older vsek, or somebody's hand, may have left it.
    await push_account(client, "anna", _SECRET, kinds=("aor",), qualify_frequency="99")
    assert await Accounts(client, "agents").sync({anna.id: anna}) == {"anna"}
    assert await Accounts(client, "agents").sync({anna.id: anna}) == set()
    phone = _phone(asterisk, tmp_path / "phone")
    try:
        await phone.start(voice=_VOICE)
        await watcher.next(events.EndpointStateChange, lambda e: e.endpoint.state == "online")
        moved = anna.model_copy(update={"language": "en"})
        assert await accounts.sync({anna.id: moved}) == {"anna"}
        assert await _state(client) == "online"
        await phone.unregister()
        await watcher.next(events.EndpointStateChange, lambda e: e.endpoint.state == "offline")
    finally:
        await phone.stop()


async def test_an_account_asked_about_as_often_keeps_its_registration(
    asterisk: PrivateAsterisk, client: Client, watcher: Watcher, tmp_path: Path
) -> None:
    """An older vsek had all phones asked every 30 s: no reason to have them register anew."""
    await _subscribe(client)
    anna = Agent(id=AgentId("anna"), name="Anna", language="de", ha1=ha1("anna", _SECRET))
    older = dict(account_objects(anna, "agents")[1][1], qualify_frequency="30")
    assert qualify_s(anna.id) != 30
    await push_account(client, "anna", _SECRET, kinds=("aor",), **older)
    assert await Accounts(client, "agents").sync({anna.id: anna}) == {"anna"}, "no endpoint yet"
    phone = _phone(asterisk, tmp_path / "phone")
    try:
        await phone.start(voice=_VOICE)
        await watcher.next(events.EndpointStateChange, lambda e: e.endpoint.state == "online")
        assert await Accounts(client, "agents").sync({anna.id: anna}) == set()
        aor = await get(client, "asterisk/config/dynamic/res_pjsip/aor/anna")
        assert {"attribute": "qualify_frequency", "value": "30"} in aor
        assert await _state(client) == "online"
    finally:
        await phone.stop()


async def test_accounts_that_asterisk_has_lost_are_pushed_again(client: Client) -> None:
    """An Asterisk without its database has taken the place of the one before."""
    accounts = Accounts(client, "agents")
    both = {
        name: Agent(id=name, name=name.title(), language="de", ha1=ha1(name, _SECRET))
        for name in (AgentId("anna"), AgentId("ben"))
    }
    assert await accounts.sync(both) == {"anna", "ben"}
    await remove_account(client, "ben")
    assert await accounts.sync(both) == {"ben"}
    assert await accounts.sync(both) == set()


async def test_a_phone_that_vanished_is_noticed_by_asking(
    asterisk: PrivateAsterisk, client: Client, watcher: Watcher, tmp_path: Path
) -> None:
    await _subscribe(client)
    await push_account(client, "anna", _SECRET, qualify_frequency="1", qualify_timeout="0.5")
    phone = _phone(asterisk, tmp_path / "phone")
    await phone.start(voice=_VOICE)
    await watcher.next(events.EndpointStateChange, lambda e: e.endpoint.state == "online")
    await phone.kill()
    await watcher.next(events.EndpointStateChange, lambda e: e.endpoint.state == "offline")
    assert await _state(client) == "offline"


async def test_a_wrong_secret_does_not_register(
    asterisk: PrivateAsterisk, client: Client, tmp_path: Path
) -> None:
    await push_account(client, "anna", _SECRET)
    phone = _phone(asterisk, tmp_path / "phone", "wrong-wrong-wrong")
    with pytest.raises(ServiceError):
        await phone.start(voice=_VOICE)
    await phone.stop()
    assert await _state(client) == "offline"


async def test_the_agents_phone_shows_the_caller(
    asterisk: PrivateAsterisk, client: Client, watcher: Watcher, tmp_path: Path
) -> None:
    await push_account(client, "anna", _SECRET)
    phone = _phone(asterisk, tmp_path / "phone")
    trunk = ("127.0.0.1", asterisk.sip_port)
    try:
        await phone.start(voice=_VOICE)
        async with await Caller.dial(trunk, Dial("+4930999")) as caller:
            incoming = await watcher.next(events.StasisStart)
            reply = await client.http(
                "POST",
                "channels/create",
                query={
                    "endpoint": "PJSIP/anna",
                    "app": "vsek",
                    "channelId": "leg",
                    "originator": incoming.channel.id,
                },
                body={
                    "variables": {
                        "CONNECTEDLINE(name,i)": "Müller GmbH: Rüdiger",
                        "CONNECTEDLINE(num,i)": "+4930123456",
                        "CONNECTEDLINE(pres)": "allowed",
                    }
                },
            )
            assert reply.status == 200, reply
            await watcher.next(events.StasisStart, lambda e: e.channel.id == "leg")
            assert (await client.http("POST", "channels/leg/dial")).status == 204
            ringing = await phone.ring()
            assert ringing.peer_name == "Müller GmbH: Rüdiger"
            assert ringing.peer.startswith("sip:+4930123456@")
            await ringing.answer()
            await client.http("DELETE", "channels/leg")
            await client.http("DELETE", f"channels/{incoming.channel.id}")
            await ringing.wait_closed()
            await caller.wait_ended()
    finally:
        await phone.stop()


async def test_a_caller_who_names_an_agent_has_to_prove_it(
    asterisk: PrivateAsterisk, client: Client
) -> None:
    await push_account(client, "anna", _SECRET)
    trunk = ("127.0.0.1", asterisk.sip_port)
    async with await Caller.dial(trunk, Dial("+4930999", caller="anna")) as caller:
        await caller.wait_ended()
        assert caller.statuses[-1] == 401


async def test_accounts_survive_a_restart(tmp_path: Path) -> None:
    server = PrivateAsterisk(tmp_path / "asterisk")
    for round_ in (1, 2):
        async with server, Client(server.ari_url, "vsek", server.ari_password, app="vsek") as ari:
            await ari.wait_connected(10)
            if round_ == 1:
                await push_account(ari, "anna", _SECRET)
            assert await _state(ari) == "offline"


async def test_a_transfer_by_the_phone_is_declined(
    asterisk: PrivateAsterisk, client: Client, watcher: Watcher, tmp_path: Path
) -> None:
    anna = Agent(id=AgentId("anna"), name="Anna", language="de", ha1=ha1("anna", _SECRET))
    await Accounts(client, "agents").sync({anna.id: anna})
    phone = _phone(asterisk, tmp_path / "phone")
    trunk = ("127.0.0.1", asterisk.sip_port)
    try:
        await phone.start(voice=_VOICE)
        async with await Caller.dial(trunk, Dial("+4930999")) as caller:
            incoming = await watcher.next(events.StasisStart)
            leg = {"endpoint": "PJSIP/anna", "app": "vsek", "channelId": "leg", "appArgs": "leg"}
            assert (await client.http("POST", "channels/create", query=leg)).status == 200
            await watcher.next(events.StasisStart)
            assert (await client.http("POST", "channels/leg/dial")).status == 204
            ring = await phone.ring()
            await ring.answer()
            assert (await client.http("POST", "bridges/talk")).status == 200
            members = {"channel": f"{incoming.channel.id},leg"}
            assert (
                await client.http("POST", "bridges/talk/addChannel", query=members)
            ).status < 300
            await client.http("POST", f"channels/{incoming.channel.id}/answer")
            await caller.wait_answered()
            await phone.command("transfer", f"sip:+4930111@127.0.0.1:{asterisk.sip_port}")
            # What the phone does then is its own affair (baresip 1.1 hangs up).
            failed = await ring.wait("TRANSFER_FAILED")
            assert failed.detail == "603 Decline"
            names = {
                channel["id"]
                for channel in await get(client, "channels")
                if channel["dialplan"]["context"] != "vsek-watch"
            }
            assert names <= {incoming.channel.id, "leg"}, "nobody is sent anywhere"
            assert caller.talking
    finally:
        await phone.stop()

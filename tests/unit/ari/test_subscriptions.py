"""Who hears of what, and how often."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from vsek.ari import Client, events, models, objects
from vsek.ari.base import UnknownEvent
from vsek.ari.subscriptions import LINGER_S, Subscriptions


@pytest.fixture
def client() -> Client:
    return Client("http://127.0.0.1:1", "u", "p")


def channel(channel_id: str) -> models.Channel:
    return models.Channel(id=channel_id)


def start(channel_id: str, **more: Any) -> events.StasisStart:
    return events.StasisStart(channel=channel(channel_id), **more)


def destroyed(channel_id: str) -> events.ChannelDestroyed:
    return events.ChannelDestroyed(channel=channel(channel_id), cause=16)


def dispatch(client: Client, *happened: Any) -> None:
    for event in happened:
        client._subscriptions.dispatch(event)


def test_every_event_and_one_type(client: Client) -> None:
    every: list[str] = []
    starts: list[str] = []
    by_name: list[str] = []
    pigs: list[int] = []
    client.on_any_event(lambda e: every.append(e.type))
    client.on_event(events.StasisStart, lambda e: starts.append(e.channel.id))
    subscription = client.on_event("StasisStart", lambda e: by_name.append(e.channel.id))
    client.on_event("FlyingPig", lambda e: pigs.append(e.raw["height"]))
    pig = UnknownEvent(name="FlyingPig", raw={"height": 3})
    dispatch(client, start("a"), destroyed("a"), pig)
    subscription.close()
    subscription.close()
    dispatch(client, start("b"))
    assert every == ["StasisStart", "ChannelDestroyed", "FlyingPig", "StasisStart"]
    assert (starts, by_name, pigs) == (["a", "b"], ["a"], [3])


def test_by_kind_gives_the_object_that_the_event_is_mainly_about(client: Client) -> None:
    got: list[objects.Channel] = []
    client.on_channel_event("StasisStart", lambda thing, event: got.append(thing))
    dispatch(client, start("a", replace_channel=channel("b")))
    [thing] = got
    assert isinstance(thing, objects.Channel)
    assert thing.id == "a"
    assert thing.json["id"] == "a"
    assert repr(thing) == "Channel(a)"


def test_by_object_hears_of_it_in_whatever_role_until_it_is_gone(client: Client) -> None:
    told: list[tuple[str, str]] = []

    def note(thing: objects.Channel, event: Any) -> None:
        told.append((thing.id, event.type))

    one, two = (objects.Channel(client, channel(c)) for c in ("one", "two"))
    for thing in (one, two):
        thing.on_event("StasisStart", note)
        thing.on_event("ChannelDestroyed", note)
    dispatch(
        client,
        start("one"),
        start("three", replace_channel=channel("two")),
        start("one", replace_channel=channel("one")),
        destroyed("one"),
        destroyed("one"),
        start("one"),
    )
    assert told == [
        ("one", "StasisStart"),
        ("two", "StasisStart"),
        ("one", "StasisStart"),
        ("one", "ChannelDestroyed"),
    ]
    assert client._subscriptions.watched_objects == 1


def test_a_channel_out_of_the_dialplan_is_forgotten_a_while_after_it_left() -> None:
    now = 0.0
    client = Client("http://127.0.0.1:1", "u", "p")
    client._subscriptions = Subscriptions(client.wrap, lambda: now)
    told: list[str] = []
    for name in ("gone", "back", "made"):
        thing = objects.Channel(client, channel(name))
        thing.on_event("ChannelDestroyed", lambda thing, _event: told.append(thing.id))
    for name in ("gone", "back", "back", "made"):
        dispatch(client, events.StasisEnd(channel=channel(name)))
    dispatch(client, start("back"), destroyed("made"))
    now = LINGER_S - 1
    dispatch(client, events.StasisEnd(channel=channel("other")))
    assert client._subscriptions.watched_objects == 2
    now = LINGER_S
    dispatch(client, events.StasisEnd(channel=channel("other")))
    assert client._subscriptions.watched_objects == 1
    dispatch(client, destroyed("gone"), destroyed("back"))
    assert told == ["made", "back"]


def test_the_other_kinds(client: Client) -> None:
    told: list[str] = []

    def note(thing: Any, event: Any) -> None:
        told.append(f"{thing!r} {event.type}")

    client.on_bridge_event("BridgeCreated", note)
    client.on_playback_event(events.PlaybackFinished, note)
    client.on_endpoint_event("EndpointStateChange", note)
    client.on_live_recording_event("RecordingFinished", note)
    client.on_device_state_event("DeviceStateChanged", note)
    client.on_object_event("bridge", "ChannelEnteredBridge", note)
    endpoint = models.Endpoint(technology="PJSIP", resource="anna")
    dispatch(
        client,
        events.BridgeCreated(bridge=models.Bridge(id="b")),
        events.PlaybackFinished(playback=models.Playback(id="p")),
        events.EndpointStateChange(endpoint=endpoint),
        events.RecordingFinished(recording=models.LiveRecording(name="r")),
        events.DeviceStateChanged(device_state=models.DeviceState(name="Stasis:x")),
        events.ChannelEnteredBridge(bridge=models.Bridge(id="b"), channel=None),
    )
    assert told == [
        "Bridge(b) BridgeCreated",
        "Playback(p) PlaybackFinished",
        "Endpoint(PJSIP/anna) EndpointStateChange",
        "LiveRecording(r) RecordingFinished",
        "DeviceState(Stasis:x) DeviceStateChanged",
        "Bridge(b) ChannelEnteredBridge",
    ]


@pytest.mark.parametrize("event", ["FlyingPig", "BridgeCreated"])
def test_a_subscription_that_could_never_fire_is_refused(client: Client, event: str) -> None:
    with pytest.raises(ValueError, match="about a channel"):
        client.on_channel_event(event, lambda *_: None)
    with pytest.raises(ValueError, match="about a channel"):
        objects.Channel(client, channel("a")).on_event(event, lambda *_: None)


def test_a_failing_callback_harms_nobody_else(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    got: list[str] = []

    def fail(event: Any) -> None:
        raise RuntimeError("of the callback")

    client.on_any_event(fail)
    client.on_any_event(lambda e: got.append(e.type))
    dispatch(client, start("a"))
    assert got == ["StasisStart"]
    assert "of the callback" in caplog.text


def test_a_subscription_made_or_ended_during_dispatch(client: Client) -> None:
    told: list[str] = []

    def first(event: Any) -> None:
        told.append("first")
        second.close()
        client.on_any_event(lambda e: told.append("new"))

    subscription = client.on_any_event(first)
    second = client.on_any_event(lambda e: told.append("second"))
    dispatch(client, start("a"))
    subscription.close()
    dispatch(client, start("b"))
    assert told == ["first", "second", "new"]


async def test_coroutines_start_in_order_and_are_not_waited_for(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    order: list[str] = []
    go = asyncio.Event()
    failed = asyncio.Event()

    async def slow(thing: objects.Channel, event: Any) -> None:
        order.append(f"begin {thing.id}")
        await go.wait()
        order.append(f"end {thing.id}")
        if thing.id == "b":
            asyncio.get_running_loop().call_soon(failed.set)
            raise RuntimeError("of the coroutine")

    async def for_ever(event: Any) -> None:
        await asyncio.Event().wait()

    client.on_channel_event("StasisStart", slow)
    client.on_event("StasisStart", for_ever)
    one = objects.Channel(client, channel("a"))
    one.on_event("ChannelDestroyed", slow)
    dispatch(client, start("a"), start("b"), destroyed("a"))
    assert order == []
    go.set()
    await failed.wait()
    assert order[:3] == ["begin a", "end a", "begin b"] or order[:3] == [
        "begin a",
        "begin b",
        "begin a",
    ]
    await client._subscriptions.close()
    assert not client._subscriptions._tasks
    assert "of the coroutine" in caplog.text

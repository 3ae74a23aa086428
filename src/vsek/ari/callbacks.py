"""The client's face towards who wants to hear of events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from vsek.ari._generated import objects
from vsek.ari.base import Event
from vsek.ari.resource import AriObject
from vsek.ari.subscriptions import Subscription, Subscriptions

E = TypeVar("E", bound=Event)


class EventCallbacks:
    """Callbacks for events; plain functions are called by the reader, coroutines become tasks."""

    _subscriptions: Subscriptions

    def on_any_event(self, callback: Callable[[Event], Any]) -> Subscription:
        """Calls ``callback(event)`` for every event, in order, from the reader."""
        return self._subscriptions.every(callback)

    @overload
    def on_event(self, event: type[E], callback: Callable[[E], Any]) -> Subscription: ...
    @overload
    def on_event(self, event: str, callback: Callable[[Any], Any]) -> Subscription: ...
    def on_event(self, event: str | type[Event], callback: Callable[[Any], Any]) -> Subscription:
        """Calls ``callback(event)`` for events of one type, named or given by class."""
        return self._subscriptions.by_type(event, callback)

    def on_object_event(
        self, kind: str, event: str | type[Event], callback: Callable[[Any, Any], Any]
    ) -> Subscription:
        """Calls ``callback(object, event)``; ``kind`` is ``channel``, ``bridge``, …

        An event that names several things of the kind comes once, with the main one (for
        ``StasisStart`` the channel that entered). Raises ``ValueError`` where no such event is.
        """
        return self._subscriptions.by_kind(kind, event, callback)

    def on_channel_event(
        self, event: str | type[Event], callback: Callable[[objects.Channel, Any], Any]
    ) -> Subscription:
        """Calls ``callback(channel, event)``."""
        return self._subscriptions.by_kind("channel", event, callback)

    def on_bridge_event(
        self, event: str | type[Event], callback: Callable[[objects.Bridge, Any], Any]
    ) -> Subscription:
        """Calls ``callback(bridge, event)``."""
        return self._subscriptions.by_kind("bridge", event, callback)

    def on_playback_event(
        self, event: str | type[Event], callback: Callable[[objects.Playback, Any], Any]
    ) -> Subscription:
        """Calls ``callback(playback, event)``."""
        return self._subscriptions.by_kind("playback", event, callback)

    def on_endpoint_event(
        self, event: str | type[Event], callback: Callable[[objects.Endpoint, Any], Any]
    ) -> Subscription:
        """Calls ``callback(endpoint, event)``."""
        return self._subscriptions.by_kind("endpoint", event, callback)

    def on_live_recording_event(
        self, event: str | type[Event], callback: Callable[[objects.LiveRecording, Any], Any]
    ) -> Subscription:
        """Calls ``callback(recording, event)``."""
        return self._subscriptions.by_kind("live_recording", event, callback)

    def on_device_state_event(
        self, event: str | type[Event], callback: Callable[[objects.DeviceState, Any], Any]
    ) -> Subscription:
        """Calls ``callback(device_state, event)``."""
        return self._subscriptions.by_kind("device_state", event, callback)

    def subscribe_object(
        self, thing: AriObject[Any], event: str | type[Event], callback: Callable[[Any, Any], Any]
    ) -> Subscription:
        """What ``thing.on_event`` does."""
        return self._subscriptions.by_object(thing, event, callback)

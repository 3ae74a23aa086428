"""Who wants to hear of which events.

Theory of operation. Subscriptions stand in three tables: for every event, by type, and by
(kind, id) of a thing. Dispatch is synchronous and in the order of subscription, in the reader; a
callback that is a coroutine function is started as a task, in order, and nobody waits for it. An
exception of a callback is logged and does not reach the reader or other callbacks.

The table of a thing is dropped when Asterisk says that the thing is gone, after the event that
says so has been delivered. A channel that came in through the dialplan is a special case: its last
event is ``StasisEnd``, since the application is not subscribed to it beyond that (one that the
application made itself gets ``ChannelDestroyed``). Its table is dropped ``LINGER_S`` seconds after
``StasisEnd``, unless it has come back by then.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias

from vsek.ari._generated import events, objects
from vsek.ari._generated.events import EVENTS, SUBJECTS
from vsek.ari.base import Event, UnknownEvent
from vsek.ari.resource import AriObject

log = logging.getLogger("vsek.ari")

Callback: TypeAlias = Callable[..., Any]

# After these a thing does not exist any more.
LAST_EVENTS: Final[dict[type[Event], str]] = {
    events.ChannelDestroyed: "channel",
    events.BridgeDestroyed: "bridge",
    events.PlaybackFinished: "playback",
    events.RecordingFinished: "live_recording",
    events.RecordingFailed: "live_recording",
}
LINGER_S: Final = 60.0


class Subscription:
    """A callback that is called until ``close()``."""

    def __init__(self, callbacks: list[Subscription], callback: Callback) -> None:
        self.callback = callback
        self.is_coroutine = inspect.iscoroutinefunction(callback)
        self._callbacks = callbacks
        callbacks.append(self)

    def close(self) -> None:
        """Ends it; closing twice is allowed."""
        if self in self._callbacks:
            self._callbacks.remove(self)


class Subscriptions:
    """All subscriptions of one client. ``wrap`` makes the object that goes to a callback."""

    def __init__(
        self,
        wrap: Callable[[str, Any], AriObject[Any]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wrap = wrap
        self._clock = clock
        # Channels after their StasisEnd, and when to forget them; the earliest first.
        self._leaving: dict[tuple[str, str], float] = {}
        self._every: list[Subscription] = []
        self._by_type: dict[str, list[Subscription]] = {}
        self._by_kind: dict[tuple[str, str], list[Subscription]] = {}
        self._by_object: dict[tuple[str, str], dict[str, list[Subscription]]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def watched_objects(self) -> int:
        """How many things have subscriptions of their own."""
        return len(self._by_object)

    def every(self, callback: Callback) -> Subscription:
        """``callback(event)`` for every event."""
        return Subscription(self._every, callback)

    def by_type(self, event: str | type[Event], callback: Callback) -> Subscription:
        """``callback(event)`` for events of one type, also of one that we do not know."""
        return Subscription(self._by_type.setdefault(event_name(event), []), callback)

    def by_kind(self, kind: str, event: str | type[Event], callback: Callback) -> Subscription:
        """``callback(object, event)`` for events of one type that are about a kind of thing."""
        name = event_name(event)
        known = EVENTS.get(name)
        if known is None or all(kind != subject for subject, _ in SUBJECTS[known]):
            raise ValueError(f"no event {name} that is about a {kind}")
        return Subscription(self._by_kind.setdefault((kind, name), []), callback)

    def by_object(
        self, thing: AriObject[Any], event: str | type[Event], callback: Callback
    ) -> Subscription:
        """``callback(thing, event)`` for events of one type about one thing."""
        name = event_name(event)
        known = EVENTS.get(name)
        if known is None or all(thing.kind != subject for subject, _ in SUBJECTS[known]):
            raise ValueError(f"no event {name} that is about a {thing.kind}")
        table = self._by_object.setdefault((thing.kind, thing.id), {})

        def with_thing(event: Event) -> Any:
            return callback(thing, event)

        subscription = Subscription(table.setdefault(name, []), with_thing)
        subscription.is_coroutine = inspect.iscoroutinefunction(callback)
        return subscription

    def dispatch(self, event: Event) -> None:
        """Calls everybody who wants this event."""
        for subscription in self._every[:]:
            self._call(subscription, event)
        if self._by_type:
            for subscription in self._by_type.get(event.type, ())[:]:
                self._call(subscription, event)
        if (self._by_kind or self._by_object) and not isinstance(event, UnknownEvent):
            self._dispatch_about(event)

    def _dispatch_about(self, event: Event) -> None:
        name = event.type
        seen: set[tuple[str, str]] = set()
        for kind, get in SUBJECTS[type(event)]:
            model = get(event)
            if model is None:
                continue
            key = (kind, objects.KINDS[kind].id_of(model))
            if key in seen:
                continue
            # The kind's subscribers get the main thing only, its own subscribers in any case.
            first = all(kind != other for other, _ in seen)
            seen.add(key)
            if first and (kind_list := self._by_kind.get((kind, name))):
                thing = self._wrap(kind, model)
                for subscription in kind_list[:]:
                    self._call(subscription, thing, event)
            if table := self._by_object.get(key):
                for subscription in table.get(name, ())[:]:
                    self._call(subscription, event)
            if LAST_EVENTS.get(type(event)) == kind:
                self._by_object.pop(key, None)
                self._leaving.pop(key, None)
            elif isinstance(event, events.StasisStart):
                self._leaving.pop(key, None)
            elif isinstance(event, events.StasisEnd):
                self._forget_what_left()
                if key in self._by_object:
                    self._leaving.pop(key, None)
                    self._leaving[key] = self._clock() + LINGER_S

    def _forget_what_left(self) -> None:
        now = self._clock()
        while self._leaving:
            key, due = next(iter(self._leaving.items()))
            if due > now:
                break
            del self._leaving[key]
            self._by_object.pop(key, None)

    def _call(self, subscription: Subscription, *arguments: Any) -> None:
        try:
            result = subscription.callback(*arguments)
        except Exception:
            log.exception("a callback for %s failed", arguments[-1].type)
            return
        if subscription.is_coroutine:
            self._start(result, arguments[-1].type)

    def _start(self, coroutine: Coroutine[Any, Any, Any], name: str) -> None:
        task = asyncio.get_running_loop().create_task(coroutine, name=f"ari-{name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a callback in task %s failed", task.get_name(), exc_info=error)

    async def close(self) -> None:
        """Cancels the callbacks that still run."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def event_name(event: str | type[Event]) -> str:
    """The name of an event that was given by name or by class."""
    return event if isinstance(event, str) else str(event.__struct_config__.tag)

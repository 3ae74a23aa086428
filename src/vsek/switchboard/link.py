"""The link to Asterisk: events in, and a fresh start after each time without a connection.

Theory of operation. While connected, each event goes through the translator into the switchboard.
After every (re)connect the link first takes a picture of Asterisk (``recovery``) and has it
reconciled; events that arrive meanwhile wait behind it. Commands flow again from the moment at
which the picture is handed over. Only then are the timers of a restored switchboard armed: an
agent who picked up in the gap must not lose the call to a ring timeout that ran out in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from vsek.ari import AriError, Client
from vsek.ari.base import Event as AriEvent
from vsek.call.desk import recording_of
from vsek.call.events import AsteriskAway, Reconciled
from vsek.errors import ServiceError
from vsek.switchboard import recovery
from vsek.switchboard.commands import AriCommander
from vsek.switchboard.owner import Switchboard
from vsek.switchboard.presence import Presence
from vsek.switchboard.translate import Translator

log = structlog.get_logger(__name__)

UNREAD = (
    "BridgeCreated",
    "BridgeDestroyed",
    "BridgeVideoSourceChanged",
    "ChannelCallerId",
    "ChannelConnectedLine",
    "ChannelCreated",
    "ChannelDialplan",
    "ChannelLeftBridge",
    "ChannelVarset",
    "Dial",
    "PlaybackContinuing",
    "PlaybackStarted",
)
"""Events that are not sent to us. Sending and reading them would be half of a call's work."""
RETRY_S = (0.1, 0.2, 0.5, 1.0, 2.0)


class AsteriskLink:
    """Ties an ARI client to a switchboard.

    ``after_recovery`` runs after each reconciliation (accounts, presence); its failure is logged
    and retried, calls go on meanwhile. ``before_reconcile`` runs when the picture of Asterisk was
    taken, and before it is acted on.
    """

    def __init__(
        self,
        client: Client,
        *,
        app: str,
        switchboard: Switchboard,
        commander: AriCommander,
        translator: Translator,
        after_recovery: Callable[[], Awaitable[None]],
        before_reconcile: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._client = client
        self._app = app
        self._switchboard = switchboard
        self._commander = commander
        self._translator = translator
        self._after_recovery = after_recovery
        self._before_reconcile = before_reconcile
        self.presence = Presence(switchboard.post, client.side_app)
        self._held: list[AriEvent] | None = []
        self._recovery: asyncio.Task[None] | None = None
        self._opened = False
        self.replaced = asyncio.Event()
        client.on_any_event(self._on_event)
        client.on_connected(self._on_connected)
        client.on_disconnected(self._on_disconnected)
        client.on_replaced(self._on_replaced)

    @property
    def up(self) -> bool:
        """Connected and reconciled: calls are served."""
        return self._commander.connected

    def _on_event(self, event: AriEvent) -> None:
        if self._held is not None:
            self._held.append(event)
        else:
            self._take(event)

    def _take(self, event: AriEvent) -> None:
        translated = self._translator.translate(event)
        if translated is not None:
            self._switchboard.post(translated)
        else:
            self.presence.see(event)

    def _on_connected(self) -> None:
        self._cancel_recovery()
        self._held = []
        self._recovery = asyncio.create_task(self._recover(), name="recovery")

    def _on_disconnected(self, reason: str) -> None:
        log.error("asterisk_away", reason=reason)
        if self._commander.connected:
            self._commander.connected = False
            self._switchboard.post(AsteriskAway())
        self._cancel_recovery()
        self._held = []

    def _on_replaced(self) -> None:
        log.critical(
            "replaced",
            app=self._app,
            remedy="Another switchboard took this ARI application over; run only one",
        )
        self._commander.connected = False
        self.replaced.set()

    def _cancel_recovery(self) -> None:
        if self._recovery is not None:
            self._recovery.cancel()
            self._recovery = None

    async def _recover(self) -> None:
        await self._until_done("recovery", self._reconcile)
        await self._until_done("after_recovery", self._after_recovery)

    async def _until_done(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        attempt = 0
        while True:
            try:
                await work()
            except (AriError, ServiceError, OSError, TimeoutError) as error:
                delay = RETRY_S[min(attempt, len(RETRY_S) - 1)]
                attempt += 1
                log.error("link_failed", what=what, error=str(error), retry_in_s=delay)
                await asyncio.sleep(delay)
            else:
                return

    async def _reconcile(self) -> None:
        state = self._switchboard.state
        await recovery.keep_to(self._client, self._app, "disallowed", UNREAD)
        calls = state.calls.values()
        sounds = [sound for call in calls for sound in (call.sound_id, call.briefing_id) if sound]
        recordings = filter(None, (recording_of(call) for call in calls))
        world = await recovery.world(self._client, sounds, recordings)
        callers = await recovery.unseen_callers(self._client, self._app, state.channels)
        if self._before_reconcile is not None:
            await self._before_reconcile()
        self._hand_over(world)
        for channel_id, values in callers:
            self._switchboard.post(self._translator.arrival(channel_id, values))
        self._release()
        log.info(
            "reconciled",
            channels=len(world.channels),
            bridges=len(world.bridges),
            calls=len(state.calls),
            unseen=len(callers),
        )

    def _hand_over(self, world: Reconciled) -> None:
        self._commander.connected = True
        self._switchboard.post(world)
        if not self._opened:
            self._opened = True
            self._switchboard.open()

    def _release(self) -> None:
        held, self._held = self._held or [], None
        for event in held:
            self._take(event)

    async def close(self) -> None:
        """End a recovery that is under way."""
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.gather(self._recovery, return_exceptions=True)

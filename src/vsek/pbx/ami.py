"""Asterisk's manager interface (AMI): questions with a deadline, and security events.

vsek steers calls over ARI only. AMI is for what ARI does not do: reports for the doctor, failed
logins for the log, and to have an Asterisk that started anew ask the phones whether they are there.

Theory of operation. panoramisk speaks the protocol; this wrapper adds what it lacks. A value with a
line break never leaves (it would be a second action). Every action has a deadline. panoramisk sends
actions that nobody answered again after a reconnect: here they fail at once when the line breaks,
and only actions that read may be sent at all. A line that is silent is noticed by a ping with a
deadline and cut. After every login, the first as well as later ones, ``on_connected`` is called, so
that its owner can fetch what it missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

import structlog
from panoramisk.manager import Manager

from vsek.errors import InputError, ServiceError
from vsek.settings import AmiSettings

log = structlog.get_logger(__name__)

_PANORAMISK_LOG = logging.getLogger("vsek.pbx.ami.panoramisk")
_PANORAMISK_LOG.setLevel(logging.CRITICAL)  # what it would say is said here

PING_EVERY_S = 30.0

READING_ACTIONS = frozenset(
    {
        "ping",
        "coresettings",
        "corestatus",
        "showdialplan",
        "pjsipqualify",
        "pjsipshowregistrationsoutbound",
    }
)
"""What may be sent: none of these changes anything, so any may be done twice."""

ASK_PHONES_AGAIN_S = (1.0, 2.0, 4.0)
"""Pauses between attempts: a manager interface may be up before SIP is."""

ALARMING = frozenset(
    {
        "AuthMethodNotAllowed",
        "ChallengeResponseFailed",
        "FailedACL",
        "InvalidAccountID",
        "InvalidPassword",
        "InvalidTransport",
        "LoadAverageLimit",
        "MemoryLimit",
        "RequestBadFormat",
        "RequestNotAllowed",
        "RequestNotSupported",
        "SessionLimit",
        "UnexpectedAddress",
    }
)
"""Events of class ``security`` that somebody should see; the rest is everyday business."""


class AmiRefusedError(ServiceError):
    """Asterisk does not accept the login."""

    error_id = "ami_refused"


class _Manager(Manager):  # type: ignore[misc]
    """panoramisk's manager, which can be told not to come back."""

    ended = False
    _connecting: asyncio.Future[Any] | None = None

    def connect(self, *_: Any, **__: Any) -> asyncio.Future[Any] | None:
        if self.ended:
            return None
        self._connecting = super().connect()
        return self._connecting

    def connection_made(self, f: asyncio.Future[Any]) -> None:
        if f.cancelled():
            return
        if self.ended:
            with contextlib.suppress(OSError):
                f.result()[0].close()
            return
        super().connection_made(f)

    def end(self) -> None:
        self.ended = True
        if self._connecting is not None:
            self._connecting.cancel()
        self.awaiting_actions.clear()
        self.close()


class Ami:
    """A connection to the manager interface that stays up; see the module's text.

    ``on_event`` gets every event as a plain dict, from the reader, and must not block. ``quiet``:
    a refused login is told to the one who waits, and not logged.
    """

    def __init__(
        self,
        settings: AmiSettings,
        *,
        deadline_s: float = 5.0,
        on_event: Callable[[dict[str, str]], None] | None = None,
        on_connected: Callable[[], None] | None = None,
        quiet: bool = False,
        reconnect_s: int = 2,
    ) -> None:
        self._reconnect_s = reconnect_s
        self._settings = settings
        self._quiet = quiet
        self._deadline_s = deadline_s
        self._on_event = on_event
        self._on_connected = on_connected
        self._pending: set[asyncio.Future[Any]] = set()
        self._login: asyncio.Future[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._manager: _Manager | None = None
        self.connected = False

    async def start(self) -> None:
        """Begins to connect, and goes on trying until ``close``."""
        for name in ("username", "secret"):
            secret = self._settings.secret.get_secret_value()
            _no_line_break(name, secret if name == "secret" else self._settings.username)
        loop = asyncio.get_running_loop()
        self._login = loop.create_future()
        self._manager = _Manager(
            loop=loop,
            host=self._settings.host,
            port=self._settings.port,
            username=self._settings.username,
            secret=self._settings.secret.get_secret_value(),
            log=_PANORAMISK_LOG,
            reconnect_timeout=self._reconnect_s,
            on_connect=self._connection_made,
            on_disconnect=self._connection_lost,
        )
        self._manager.register_event("*", self._event)
        self._manager.connect()
        self._watch = asyncio.create_task(self._keep_watch(), name="ami-watch")

    async def wait_connected(self, timeout_s: float | None = None) -> None:
        """Waits for the login, at most ``timeout_s`` (the deadline of actions by default).

        Raises ``AmiRefusedError``, or ``ServiceError`` when time runs out.
        """
        assert self._login is not None, "start() first"
        limit = self._deadline_s if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(limit):
                await asyncio.shield(self._login)
        except TimeoutError:
            raise ServiceError(
                f"No AMI at {self._settings.host}:{self._settings.port} within {limit:g} s",
                remedy="Check manager.conf: enabled, bindaddr, port",
                error_id="ami_unreachable",
            ) from None

    async def action(self, name: str, **fields: str) -> list[dict[str, str]]:
        """Sends a reading action; returns all messages of the answer, the response first.

        Raises ``InputError`` for a line break in a value or an action that does something, and
        ``ServiceError`` when there is no answer in time, the line breaks, or Asterisk says no.
        """
        if name.lower() not in READING_ACTIONS:
            raise InputError(
                f"AMI action {name!r} is not one that only reads", field="action", value=name
            )
        for field, value in fields.items():
            _no_line_break(field, value)
        manager = self._manager
        if manager is None or not self.connected:
            raise ServiceError("There is no AMI connection", error_id="ami_unreachable")
        future: asyncio.Future[Any] = manager.send_action({"Action": name, **fields})
        self._pending.add(future)
        try:
            async with asyncio.timeout(self._deadline_s):
                answer = await future
        except TimeoutError:
            raise ServiceError(
                f"AMI action {name} was not answered within {self._deadline_s:g} s",
                error_id="ami_timeout",
            ) from None
        except asyncio.CancelledError:
            if future.cancelled() and not _being_cancelled():
                raise ServiceError(
                    f"The AMI connection broke during {name}", error_id="ami_disconnected"
                ) from None
            raise
        finally:
            self._pending.discard(future)
            future.cancel()  # a cancelled action is not sent again after a reconnect
        messages = [_plain(message) for message in _as_list(answer)]
        if messages[0].get("Response") == "Error":
            raise ServiceError(
                f"AMI action {name}: {messages[0].get('Message', 'refused')}", error_id="ami_error"
            )
        return messages

    async def close(self) -> None:
        """Ends the connection for good."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if self._manager is not None:
            self._manager.end()
        self._fail_pending()
        self.connected = False
        if self._login is not None and not self._login.done():
            self._login.cancel()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self.close()

    # ---- called by panoramisk ------------------------------------------------------------------

    def _connection_made(self, manager: _Manager) -> None:
        if manager.authenticated_future is not None:
            manager.authenticated_future.add_done_callback(self._logged_in)

    def _logged_in(self, answer: asyncio.Future[Any]) -> None:
        assert self._login is not None
        if answer.cancelled():
            return
        if not answer.result().success:
            error = AmiRefusedError(
                f"AMI refuses user {self._settings.username!r}",
                remedy="Compare ami.username and ami.secret with manager.conf",
            )
            if not self._quiet:
                log.error("ami_refused", error=str(error))
            if not self._login.done():
                self._login.set_exception(error)
                self._login.exception()  # somebody may never ask
            return
        self.connected = True
        if not self._login.done():
            self._login.set_result(None)
        if self._on_connected is not None:
            self._on_connected()

    def _connection_lost(self, _manager: _Manager, _reason: object) -> None:
        if self.connected and not self._quiet:
            log.warning("ami_lost")
        self.connected = False
        self._fail_pending()

    def _event(self, _manager: _Manager, message: Any) -> None:
        if self._on_event is not None:
            self._on_event(_plain(message))

    def _fail_pending(self) -> None:
        for future in self._pending:
            future.cancel()

    async def _keep_watch(self) -> None:
        while True:
            await asyncio.sleep(PING_EVERY_S)
            if not self.connected:
                continue
            try:
                await self.action("Ping")
            except ServiceError as error:
                log.warning("ami_silent", error=str(error))
                protocol = getattr(self._manager, "protocol", None)
                if protocol is not None and self.connected:
                    protocol.transport.abort()


class Watchman:
    """What vsek has of AMI while it runs.

    Asterisk's security events, failed logins and refused addresses, go to vsek's log. And after
    each login Asterisk is told to ask the phones of ``agents``: one that started anew still knows
    where they are registered, but counts each as offline until it has asked it, which on its own it
    does spread over the time of ``qualify_frequency``.
    """

    def __init__(
        self, settings: AmiSettings, agents: Callable[[], Iterable[str]], *, reconnect_s: int = 2
    ) -> None:
        self._ami = Ami(
            settings,
            on_event=self.take,
            on_connected=self._connected,
            reconnect_s=reconnect_s,
        )
        self._agents = agents
        self._asking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._ami.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop_asking()
        await self._ami.close()

    async def registrations(self) -> list[tuple[str, str]]:
        """Outbound registrations and what Asterisk calls their state (``Registered``,
        ``Unregistered``, ``Rejected``, ``Stopped``); empty while there is no connection.

        Raises ``ServiceError`` when Asterisk does not answer.
        """
        if not self._ami.connected:
            return []
        try:
            messages = await self._ami.action("PJSIPShowRegistrationsOutbound")
        except ServiceError as error:
            if "No outbound registrations" in error.message:
                return []
            raise
        return [
            (message.get("ObjectName", ""), message.get("Status", ""))
            for message in messages
            if message.get("Event") == "OutboundRegistrationDetail"
        ]

    def _connected(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
        self._asking = asyncio.create_task(self._ask_phones(), name="ask-phones")

    async def _stop_asking(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _ask_phones(self) -> None:
        names = list(self._agents())
        for pause_s in (*ASK_PHONES_AGAIN_S, None):
            names = [name for name in names if not await self._asked(name)]
            if pause_s is None or not names or not self._ami.connected:
                return
            await asyncio.sleep(pause_s)

    async def _asked(self, name: str) -> bool:
        try:
            await self._ami.action("PJSIPQualify", Endpoint=name)
        except ServiceError as error:
            log.debug("phone_not_asked", agent_id=name, error=str(error))
            return False
        return True

    @staticmethod
    def take(event: dict[str, str]) -> None:
        """Logs an event if it is alarming."""
        if event.get("Event") in ALARMING:
            log.warning(
                "sip_security",
                kind=event["Event"],
                service=event.get("Service", ""),
                account=event.get("AccountID", ""),
                remote=event.get("RemoteAddress", ""),
            )


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _no_line_break(field: str, value: str) -> None:
    if "\r" in value or "\n" in value:
        raise InputError("An AMI value cannot hold a line break", field=field, value=value)


def _as_list(answer: Any) -> list[Any]:
    return list(answer) if isinstance(answer, list) else [answer]


def _plain(message: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in message.items()}

"""The note service's process: HTTP API and outbox, until told to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from datetime import timedelta
from urllib.parse import urlsplit

import asyncpg
import structlog
import uvicorn

from vsek.errors import InputError, ServiceError
from vsek.health import sdnotify
from vsek.health.exposition import QuietServer
from vsek.notify.api import NotesApi
from vsek.notify.backlog import Backlog
from vsek.notify.database import DATABASE_ERRORS, Database
from vsek.notify.drafts import Drafts, NoteBook
from vsek.notify.intake import Intake
from vsek.notify.metrics import NoteMetrics
from vsek.notify.outbox import Outbox, utc_now
from vsek.notify.render import Renderer
from vsek.notify.smtp import SmtpSession, own_name
from vsek.patience import COMMAND_TIMEOUT_S, SESSION
from vsek.settings import Settings

_log = structlog.get_logger(__name__)

_WORKERS = 4
_GRACE_S = 5
_TIDY_EVERY_S = 3600.0
_FAULT_PAUSE_S = 2.0


def _listen(url: str) -> socket.socket:
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(128)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ServiceError(
            f"The note service cannot listen on {host}:{port}: {error.strerror or error}",
            remedy="Choose another address in notes.url, or end what uses this one",
            error_id="listen",
        ) from None
    listener.setblocking(False)
    return listener


Feed = Callable[[Intake], Awaitable[None]]


async def serve(
    settings: Settings,
    *,
    feed: Feed | None = None,
    book: NoteBook | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Run until SIGTERM or SIGINT, or until ``stop`` is set (then signals are the caller's).

    ``feed`` runs along with it and hands notes over without HTTP, until it is cancelled. ``book``
    is where agents' drafts are; without it the API has none.

    A database or mail server that is away is waited for. Raises ``InputError`` without a token
    and ``ServiceError`` when the address is taken.
    """
    token = settings.notes.token.get_secret_value()
    if not token:
        raise InputError(
            "The note service needs a token that its callers know",
            field="notes.token",
            remedy="Set VSEK_NOTES__TOKEN, or token under [notes] in vsek.toml; "
            "`openssl rand -hex 24` makes one",
        )
    listener = _listen(settings.notes.url)
    if stop is None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # A worker keeps its connection while the mail server thinks; the API has its own share.
    pool = asyncpg.create_pool(
        settings.database.dsn.get_secret_value(),
        min_size=0,
        max_size=_WORKERS + settings.database.pool_size,
        command_timeout=COMMAND_TIMEOUT_S,
        timeout=5.0,
        server_settings={"application_name": "vsek-notes", **SESSION},
        reset=_leave_as_it_is,
    )
    with listener:
        async with pool:
            drafts = None if book is None else Drafts(book)
            await _run(settings, pool, token, listener, stop, feed, drafts)


async def _leave_as_it_is(_: object) -> None:
    """For connections that come back to the pool: asyncpg's own reset costs a round trip, and
    nothing here leaves anything in a session."""


async def _pet() -> None:
    """Tells the supervisor that the event loop turns."""
    every_s = sdnotify.watchdog_s()
    while every_s is not None:
        sdnotify.tell(sdnotify.WATCHDOG)
        await asyncio.sleep(every_s / 3)


async def _tidy(database: Database, keep_days: float) -> None:
    """Remove attachments whose time is over, until cancelled."""
    while True:
        now = utc_now()
        try:
            removed = await database.expire_attachments(now - timedelta(days=keep_days), now)
            if removed:
                _log.info("attachments_removed", attachments=removed)
        except DATABASE_ERRORS as error:
            _log.warning("attachments_not_removed", error=repr(error))
        await asyncio.sleep(_TIDY_EVERY_S)


async def _feed(feed: Feed, intake: Intake) -> None:
    """A fault in what feeds us is no reason to stop sending mails."""
    while True:
        try:
            return await feed(intake)
        except Exception:  # noqa: BLE001 - whatever it is, the next attempt may go well
            _log.exception("task_failed", task="feed", retry_in_s=_FAULT_PAUSE_S)
            await asyncio.sleep(_FAULT_PAUSE_S)


async def _run(  # noqa: PLR0917 - called once
    settings: Settings,
    pool: asyncpg.Pool[asyncpg.Record],
    token: str,
    listener: socket.socket,
    stop: asyncio.Event,
    feed: Feed | None,
    drafts: Drafts | None,
) -> None:
    country = settings.asterisk.default_country
    renderer = Renderer(country)
    database = Database(pool, country=country, operations_email=settings.notes.operations_email)
    local_name = await own_name()
    metrics = NoteMetrics()
    backlog = Backlog(database, metrics, utc_now)
    outbox = Outbox(
        database,
        renderer,
        settings.smtp,
        settings.notes,
        lambda: SmtpSession(settings.smtp, local_name),
        metrics=metrics,
        workers=_WORKERS,
    )
    api = NotesApi(
        database,
        outbox,
        renderer,
        token=token,
        sender=settings.smtp.sender,
        now=utc_now,
        metrics=metrics,
        backlog=backlog,
        drafts=drafts,
    )
    server = QuietServer(
        uvicorn.Config(
            api.build(),
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
    )
    _log.info("note_service_started", url=settings.notes.url)
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(outbox.run(), name="outbox")
        serving = group.create_task(server.serve([listener]), name="notes-api")
        watching = [
            group.create_task(backlog.run(), name="backlog"),
            group.create_task(_pet(), name="watchdog"),
            group.create_task(_tidy(database, settings.notes.keep_recordings_days), name="tidying"),
        ]
        feeding = (
            None if feed is None else group.create_task(_feed(feed, Intake(api.take)), name="feed")
        )
        sdnotify.tell(sdnotify.READY)
        await stop.wait()
        sdnotify.tell(sdnotify.STOPPING)
        # First no new notes, then no more mails: what is acknowledged is in the database.
        server.end()
        if feeding is not None:
            feeding.cancel()
        await serving
        sending.cancel()
        for task in watching:
            task.cancel()
    _log.info("note_service_stopped")

"""The composition root: what belongs together in each process is put together here.

``serve`` is the switchboard, ``notes`` the note service. Both run until SIGTERM or SIGINT and end
in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import structlog
import uvicorn

from vsek import ari
from vsek.call.events import CommandFailed, Examined
from vsek.call.model import Directory as CallDirectory
from vsek.domain.directory import Directory
from vsek.domain.records import Record, RecordingMade
from vsek.embedded.packages import find_tool
from vsek.errors import ServiceError, VsekError
from vsek.health import sdnotify
from vsek.health.exposition import QuietServer
from vsek.leadership import Leadership, last_pulse
from vsek.operations.watch import Operations as Watch
from vsek.operations.watch import Parts
from vsek.pbx import listening
from vsek.pbx.accounts import Accounts
from vsek.pbx.ami import Watchman
from vsek.pbx.sounds import SoundFolder, SoundWorkshop
from vsek.settings import Settings
from vsek.startup import (
    close_pool,
    control_socket,
    kept_running,
    own_journal,
    read_number,
    write_number,
)
from vsek.store import audio, directory, pool, records
from vsek.store.news import News
from vsek.store.outbox import NoteOutbox, Operations
from vsek.switchboard import recovery
from vsek.switchboard.acquaintance import Acquaintance, RememberedRecords
from vsek.switchboard.commands import AriCommander
from vsek.switchboard.control import make_app
from vsek.switchboard.heartbeat import Heartbeat
from vsek.switchboard.journal import Journal
from vsek.switchboard.keeper import Keeper
from vsek.switchboard.ledger import Ledger, Sources
from vsek.switchboard.link import AsteriskLink
from vsek.switchboard.metrics import MeteredRecords, Metrics
from vsek.switchboard.owner import Switchboard
from vsek.switchboard.recordings import Recordings
from vsek.switchboard.salvage import salvage
from vsek.switchboard.shipper import Shipper
from vsek.switchboard.sweep import Sweep
from vsek.switchboard.translate import Translator
from vsek.switchboard.writer import RecordWriter
from vsek.tables import CallTable, RecordingTable, RecordTable, TalkTable

log = structlog.get_logger(__name__)

ARI_HEARTBEAT_S = 2.5
"""A line that swallows everything is given up after 1.5 times this; callers wait meanwhile."""
ARI_WATCH_S = 1.5
COMPARE_PRESENCE_S = 60.0
JOURNAL_DAYS = 14
DRAFT_CONNECTIONS = 3
"""Drafts have their own: notes leave, whatever those who write them wait for."""
GC_THRESHOLDS = (10_000, 20, 50)
"""A call leaves few cycles behind; Python's own thresholds look for them several times a call."""
KEEP_SHIPPED_EVERY_S = 1.0
LAST_ENTRIES_S = 0.5
"""How long an end waits for the last of its journal to arrive."""
LAST_RECORDS_S = 1.0
"""How long an end waits for the database: what is left comes again from the journal."""


async def notes(settings: Settings) -> None:
    """The note service, until told to stop."""
    # Only here: the switchboard, which calls wait for after a crash, starts without it.
    from vsek.drafts import DraftTable
    from vsek.notify.forwarder import NoteForwarder
    from vsek.notify.intake import Intake
    from vsek.notify.service import serve as serve_notes

    country = settings.asterisk.default_country
    dsn = settings.database.dsn.get_secret_value()
    size = max(2, settings.database.pool_size)  # one claims and writes down fates, one listens
    connections = await pool.open_pool(dsn, size=size, one_plan=True)
    for_drafts = await pool.open_pool(dsn, size=DRAFT_CONNECTIONS, one_plan=True)

    async def feed(intake: Intake) -> None:
        """What the switchboard has left to do for us."""
        to = Operations(settings.notes.operations_email, settings.notes.operations_language)
        outbox = NoteOutbox(connections, to, country=country)
        await NoteForwarder(outbox, intake).run()

    try:
        await serve_notes(settings, feed=feed, book=DraftTable(for_drafts, country))
    finally:
        await close_pool(for_drafts)
        await close_pool(connections)


async def serve(settings: Settings) -> None:
    """The switchboard, until told to stop.

    Raises ``ServiceError`` when another switchboard takes the ARI application over.
    """
    async with AsyncExitStack() as stack:
        process = await _Process.start(settings, stack)
        await process.run()


class _Process:
    """The parts of ``vsek serve``, and their life together."""

    def __init__(
        self,
        settings: Settings,
        connections: pool.Pool,
        journal: Journal,
        leading: tuple[Leadership, Shipper],
        shipped: int,
    ) -> None:
        self.settings = settings
        self.pool = connections
        self.leadership, self.shipper = leading
        self.table = RecordTable(connections, *leading)
        self.journal = journal
        self.shipped_file = settings.journal_folder / "shipped"
        self.keep_shipped_at = 0.0
        self.writer = RecordWriter(
            self._apply,
            shipped=shipped,
            transient=(ServiceError, *pool.UNREACHABLE),
            fatal=(records.StaleEpochError,),
        )
        s = settings.ari
        self.ari = ari.Client(
            s.url,
            s.username,
            s.password.get_secret_value(),
            app=s.app,
            command_sockets=s.command_sockets,
            deadline_s=s.deadline_s,
            heartbeat_s=ARI_HEARTBEAT_S,
            watch_s=ARI_WATCH_S,
        )
        self.commander = AriCommander(self.ari, s.app, self._post, settings.outbound.endpoint)
        self.metrics = Metrics()
        self.shelf = RecordingTable(connections, leading[0])
        self.recordings = Recordings(self.ari, self.shelf, listening.examine, self._post)
        self.acquaintance = Acquaintance(
            TalkTable(connections), lambda: self.switchboard.state.directory
        )
        self.switchboard = Switchboard(
            self.journal,
            self.commander,
            MeteredRecords(self.metrics, RememberedRecords(self.acquaintance, self.writer)),
            self.recordings,
            decided=self.metrics.decided,
        )
        self.translator = Translator(
            settings.asterisk.default_country,
            settings.asterisk.area_code,
            recognise=self.acquaintance.recognise,
        )
        self.heartbeat = Heartbeat(self.ari, s.app, self._serving)
        self.ledger = self._make_ledger()
        self.link = AsteriskLink(
            self.ari,
            app=s.app,
            switchboard=self.switchboard,
            commander=self.commander,
            translator=self.translator,
            after_recovery=self._after_recovery,
            before_reconcile=self.ledger.before_reconcile if self.ledger is not None else None,
        )
        self.sweep = Sweep(self.ari, self.shelf, lambda: self.switchboard.state, self._serving)
        self.ari.around_reads(self.switchboard.hold, self.switchboard.release)
        self.keeper = self._make_keeper()
        self.news = News(settings.database.dsn.get_secret_value(), self.keeper.sync)
        self.watchman = self._make_watchman()
        self.watch = Watch(
            settings,
            Parts(
                self.switchboard,
                self.writer,
                self.link,
                self.commander,
                self.ari,
                self.keeper,
                self.watchman,
                self.heartbeat,
            ),
            self.metrics,
        )
        self.stopping = asyncio.Event()

    @classmethod
    async def start(cls, settings: Settings, stack: AsyncExitStack) -> _Process:
        """Read the journal and make all parts.

        The lock of the journal comes last: until then the switchboard before us, if one still
        runs, serves the calls.
        """
        dsn = settings.database.dsn.get_secret_value()
        connections = await pool.open_pool(dsn, size=settings.database.pool_size)
        stack.push_async_callback(close_pool, connections)
        leadership = Leadership(connections, dsn)
        stack.push_async_callback(leadership.release)
        await leadership.connect()
        journal = await own_journal(settings.journal_folder)
        shipper = Shipper(
            settings.journal_folder,
            leadership.ship_entries,
            leadership.ship_snapshot,
            transient=(ServiceError, *pool.UNREACHABLE),
            fatal=(records.StaleEpochError,),
            written=lambda: journal.last_number,
        )
        own_shipped = read_number(settings.journal_folder / "shipped")
        position = None
        if await leadership.await_turn(journal, shipper, lambda: last_pulse(settings.ari)):
            position = await RecordTable(connections, leadership, shipper).position()
        if position is None:
            position = own_shipped
        journal.skip_to(position)
        process = cls(settings, connections, journal, (leadership, shipper), position)
        if leadership.adopted is not None:
            process.writer.put(salvage(leadership.adopted, own_shipped), position)
        replayed = process.switchboard.restore(position)
        process.metrics.begin(process.switchboard.state)
        process.acquaintance.begin(process.switchboard.state)
        log.info("journal_replayed", entries=replayed, calls=len(process.switchboard.state.calls))
        return process

    def _make_ledger(self) -> Ledger | None:
        """The follower of Asterisk's own ledger, where one is named."""
        folder = self.settings.asterisk.ledger_folder
        if folder is None:
            log.warning("no_ledger", remedy="Set asterisk.ledger_folder, or calls may be missed")
            return None
        return Ledger(
            folder,
            self.settings.journal_folder / "ledger.json",
            Sources(
                state=lambda: self.switchboard.state,
                post=self.switchboard.post,
                arrival=self.translator.arrival,
                up=lambda: self.link.up,
                durable=lambda: not self.journal.broken,
                recorded=lambda: self.writer.drained(LAST_RECORDS_S),
                known=CallTable(self.pool).of_channels,
                channels=lambda: recovery.channel_ids(self.ari),
            ),
            self.heartbeat,
        )

    def _make_keeper(self) -> Keeper:
        settings = self.settings
        workshop = SoundWorkshop(find_tool, settings.sounds.speech)
        sounds = SoundFolder(
            settings.sounds_folder,
            settings.sounds_folder_in_asterisk,
            music_conf=settings.sounds.music_conf,
            fetch=self._fetch_sounds,
            ensure=lambda wanted: self._ensure_sounds(workshop, wanted),
            reload_music=self._reload_music,
        )
        return Keeper(
            self.switchboard,
            settings,
            load=self._load_directory,
            sounds=sounds,
            accounts=Accounts(self.ari, settings.asterisk.agent_transport),
            see_agents=self._see_agents,
            asterisk_is_up=lambda: self.link.up,
        )

    async def run(self) -> None:
        """Serve until told to stop, or until a part fails for good."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self.stopping.set)
        control = control_socket(self.settings.control_socket)
        server = self._control_server()
        tasks = [
            asyncio.create_task(self.writer.run(), name="writer"),
            asyncio.create_task(self.shipper.run(), name="shipper"),
            asyncio.create_task(self.leadership.run(self.journal, self.shipper), name="leadership"),
            kept_running("first_sync", self.keeper.first_sync),
            kept_running("news", self.news.run),
            kept_running("housekeeping", self._housekeeping),
            kept_running("presence", self._compare_presence),
            kept_running("watch", self.watch.run),
            kept_running("recordings", self.recordings.run),
            kept_running("sweep", self.sweep.run),
            kept_running("acquaintance", self.acquaintance.run),
            kept_running("heartbeat", self.heartbeat.run),
            *([kept_running("ledger", self.ledger.run)] if self.ledger is not None else []),
            asyncio.create_task(server.serve([control]), name="control"),
        ]
        replaced = asyncio.create_task(self.link.replaced.wait(), name="replaced")
        stopping = asyncio.create_task(self.stopping.wait(), name="stopping")
        try:
            await self.ari.start()
            # What is here now stays: the collector need not look at it again and again.
            gc.collect()
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLDS)
            sdnotify.tell(sdnotify.READY, sdnotify.SERVING)
            async with AsyncExitStack() as watching:
                if self.watchman is not None:
                    await watching.enter_async_context(self.watchman)
                await self._until_over([*tasks, replaced, stopping])
        finally:
            sdnotify.tell(sdnotify.STOPPING)
            server.end()
            await self._stop([*tasks, replaced, stopping])

    async def _until_over(self, tasks: list[asyncio.Task[Any]]) -> None:
        waiting = set(tasks)
        while True:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task  # raises what ended it
                if task.get_name() == "stopping":
                    return
                if task.get_name() == "replaced":
                    raise ServiceError(
                        f"Another program took over the ARI application {self.settings.ari.app!r}",
                        remedy="Run one switchboard per application name (setting ari.app)",
                        error_id="replaced",
                    )

    async def _stop(self, tasks: list[asyncio.Task[Any]]) -> None:
        """Calls stay in Asterisk as they are; the next start takes them up, from the moment at
        which the journal is closed."""
        await self.link.close()
        self.switchboard.close()
        await self._let_go()
        if not self.writer.failing:
            await self.writer.drained(LAST_RECORDS_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.recordings.close()
        await self.ari.close()
        self.acquaintance.close()
        log.info("stopped")

    async def _let_go(self) -> None:
        """Have the journal's end in the database, then let another one lead."""
        with contextlib.suppress(TimeoutError, VsekError, *pool.UNREACHABLE):
            async with asyncio.timeout(LAST_ENTRIES_S):
                await self.shipper.flush()
        await self.leadership.release()

    def _post(self, event: CommandFailed | Examined) -> None:
        self.switchboard.post(event)

    # --- parts -----------------------------------------------------------------------------

    def _control_server(self) -> QuietServer:
        app = make_app(
            self.switchboard,
            self.keeper.sync,
            self.watch,
        )
        return QuietServer(
            uvicorn.Config(
                app,
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=2,
            )
        )

    def _make_watchman(self) -> Watchman | None:
        """What needs a manager account, where one was given."""
        if not self.settings.ami.secret.get_secret_value():
            return None
        return Watchman(self.settings.ami, lambda: self.switchboard.state.acd.agents)

    def _serving(self) -> bool:
        """Whether callers can be handed to us: clients are known, if only from the journal."""
        known = self.keeper.loaded or self.switchboard.state.directory != CallDirectory()
        return self.link.up and known

    async def _housekeeping(self) -> None:
        while True:
            await asyncio.sleep(3600)
            self.switchboard.snapshot()
            self.journal.tidy(self.writer.shipped, time.time() - JOURNAL_DAYS * 86400)
            await self.shelf.expire(self.settings.notes.keep_recordings_days)
            await self.keeper.new_day()

    async def _compare_presence(self) -> None:
        """An agent who is there and not seen gets no calls: events alone are not trusted."""
        while True:
            await asyncio.sleep(COMPARE_PRESENCE_S)
            if not self.link.up:
                continue
            try:
                agents = list(self.switchboard.state.acd.agents)
                if wrong := await self.link.presence.compare(self.ari, agents):
                    log.warning("presence_was_wrong", agents=wrong)
            except ServiceError as error:
                log.warning("presence_not_compared", error=str(error))

    async def _after_recovery(self) -> None:
        if self.keeper.loaded:
            await self.keeper.sync(anew=True)
        else:
            await self._see_agents()

    async def _see_agents(self) -> None:
        agents = list(self.switchboard.state.acd.agents)
        await self.link.presence.refresh(self.ari, agents)

    async def _apply(self, batch: Sequence[Record], number: int) -> None:
        await self.table.apply(batch, number)
        if any(isinstance(record, RecordingMade) for record in batch):
            self.recordings.look()
        # Read only by a start without a database; an older number costs time and nothing else.
        if time.monotonic() >= self.keep_shipped_at:
            self.keep_shipped_at = time.monotonic() + KEEP_SHIPPED_EVERY_S
            write_number(self.shipped_file, number)

    async def _load_directory(self) -> Directory:
        async with pool.acquire(self.pool) as connection:
            return await directory.load(connection)

    async def _fetch_sounds(self, hashes: frozenset[str]) -> dict[str, bytes]:
        async with pool.acquire(self.pool) as connection:
            return await audio.fetch(connection, hashes)

    async def _ensure_sounds(
        self, workshop: SoundWorkshop, wanted: Sequence[audio.WantedSound]
    ) -> list[str]:
        async with pool.acquire(self.pool) as connection:
            return await audio.ensure(connection, workshop, wanted)

    async def _reload_music(self) -> None:
        reply = await self.ari.http("PUT", "asterisk/modules/res_musiconhold.so")
        if reply.status >= 400:
            raise ServiceError(
                f"Asterisk does not reload its music on hold: {reply.status} {reply.body}",
                remedy="Load res_musiconhold.so (asterisk-conf/modules.conf)",
            )

"""Follows Asterisk's own ledger, so that no call is without an outcome.

Theory of operation. The dialplan writes a line when a call enters and one when it has ended,
whether or not anybody else lives (``asterisk-conf/extensions.conf``). This part reads them as
they are written. An end that vsek saw too is none of its business; of every other it tells the
calls (``LedgerTold``): the caller was served by the dialplan's fallback, or gave up while we were
away, or the report of its arrival was lost with the process that was to get it.

A line is *due* when a pulse (:mod:`vsek.switchboard.heartbeat`) that was sent after the line was
read has come back: all events that Asterisk had sent by then are met, so a call which is unknown
now stays unknown. Due lines are compared with the live state, and those that are not found there
with the database, one query for all, once every record of the journal has arrived there. So
nothing is told while the database is away; it is told afterwards.

Telling again is harmless: what was told is in the journal, and after its replay in the database.
The bookmark in the journal's folder only saves reading.

After a reconnect the order is: the picture of Asterisk is taken, then :meth:`before_reconcile`
tells of callers who were with the fallback and are gone, then the picture is acted on. (A channel
that is not in the picture has its line already: hang-up handlers run before it disappears.)

A call that entered and has no end, and no channel either, was cut off when Asterisk died. These
are looked for after each reconnect.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from vsek.call.events import CallArrived, LedgerTold
from vsek.call.model import Call, State
from vsek.domain.ids import CallId, ChannelId, new_call_id
from vsek.domain.ledger import LedgerLine, Served
from vsek.domain.outcomes import Outcome, Stage
from vsek.errors import VsekError
from vsek.switchboard.ledgerfiles import Entry, LedgerFiles

log = structlog.get_logger(__name__)

EVERY_S = 1.0
BATCH = 500
"""Channels in one query."""
KEEP_PLACE_EVERY_S = 10.0
CUT_OFF_EVERY_S = 300.0
TIDY_EVERY_S = 6 * 3600.0
FIRST_READ_S = 2.0
"""How long a reconnect waits for the ledger's files."""


class Pulses(Protocol):
    """What this needs of :class:`vsek.switchboard.heartbeat.Heartbeat`."""

    sent: int
    beat: int


@dataclass(frozen=True, slots=True)
class KnownCall:
    """A call of the database. ``outcome`` is ``None`` while it is open."""

    call_id: CallId
    outcome: Outcome | None


@dataclass(frozen=True)
class Sources:
    """What lines are compared with, and whom it is told."""

    state: Callable[[], State]
    post: Callable[[LedgerTold], None]
    arrival: Callable[[ChannelId, Mapping[str, str]], CallArrived]
    up: Callable[[], bool]
    """Connected to Asterisk and reconciled."""
    durable: Callable[[], bool]
    """Whether the state would survive our death, which a journal that cannot be written denies."""
    recorded: Callable[[], Awaitable[bool]]
    """Waits a little until all records are in the database; whether they are."""
    known: Callable[[Sequence[str]], Awaitable[Mapping[str, KnownCall]]]
    """The calls of these channels, from the database."""
    channels: Callable[[], Awaitable[Iterable[str]]]
    """All channels of Asterisk, now."""


@dataclass(slots=True)
class _Waiting:
    entry: Entry
    after: int
    """The last pulse that had been sent when the line was read."""


class Ledger:
    """Follows the ledger in ``folder``; ``bookmark`` is a file of ours."""

    def __init__(
        self,
        folder: Path,
        bookmark: Path,
        sources: Sources,
        pulses: Pulses,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._files = LedgerFiles(folder, bookmark)
        self._sources = sources
        self._pulses = pulses
        self._clock = clock
        self._reading = asyncio.Lock()
        self._entered: dict[str, Entry] = {}
        """Calls that have no end yet, by channel."""
        self._ended: dict[str, _Waiting] = {}
        """Ends that were not accounted for yet, by channel."""
        self._look_for_cut_off = True
        self._unreadable = False
        self.told = 0
        """How many calls were told of since the start."""

    @property
    def waiting(self) -> int:
        """Ends that are yet to be compared."""
        return len(self._ended)

    async def run(self) -> None:
        """Follow until cancelled."""
        last: dict[str, float] = {}

        def is_time(what: str, every_s: float) -> bool:
            now = asyncio.get_running_loop().time()
            if now - last.get(what, now - every_s) < every_s:
                return False
            last[what] = now
            return True

        while True:
            await self.look()
            if is_time("cut off", CUT_OFF_EVERY_S):
                self._look_for_cut_off = True
            if is_time("place", KEEP_PLACE_EVERY_S):
                await self.keep_place()
            if is_time("tidy", TIDY_EVERY_S):
                await self.tidy()
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Read what is new, compare what is due, and tell. What cannot be done yet waits."""
        try:
            await self._read()
            if self._look_for_cut_off and self._sources.up():
                await self._cut_off()
            await self._compare()
        except (VsekError, TimeoutError) as error:
            log.warning("ledger_waits", error=str(error), waiting=len(self._ended))

    async def before_reconcile(self) -> None:
        """Tell of those who were with the fallback and are gone, before they are missed.

        To be called when the picture of Asterisk was taken, and before it is acted on.
        """
        self._look_for_cut_off = True
        try:
            async with asyncio.timeout(FIRST_READ_S):
                await self._read()
        except TimeoutError:
            log.warning("ledger_slow", folder=str(self._folder))
        live = self._live()
        for channel, waiting in list(self._ended.items()):
            call = live.get(ChannelId(channel))
            line = waiting.entry.line
            if call is not None and line.served is Served.FALLBACK:
                self._tell(line)

    # --- reading -------------------------------------------------------------------------------

    async def _read(self) -> None:
        async with self._reading:
            try:
                entries = await asyncio.to_thread(self._files.read, self._clock())
            except OSError as error:
                if not self._unreadable:
                    log.error(
                        "ledger_unreadable",
                        folder=str(self._folder),
                        error=str(error),
                        remedy="asterisk.ledger_folder must be the folder that the dialplan's "
                        "VSEK_LEDGER names, and readable for this process",
                    )
                self._unreadable = True
                return
            self._unreadable = False
            for entry in entries:
                channel = entry.line.channel
                if entry.line.kind == "in":
                    self._entered[channel] = entry
                else:
                    self._entered.pop(channel, None)
                    self._ended[channel] = _Waiting(entry, self._pulses.sent)

    async def _cut_off(self) -> None:
        """Calls without an end that Asterisk does not have any more either."""
        candidates = set(self._entered)
        if candidates:
            alive = set(await self._sources.channels())
            # An end that came in between was written before the channel disappeared.
            await self._read()
            for channel in (candidates - alive) & self._entered.keys():
                entry = self._entered.pop(channel)
                line = replace(entry.line, kind="out", served=Served.NOBODY)
                self._ended[channel] = _Waiting(replace(entry, line=line), self._pulses.sent)
        self._look_for_cut_off = False

    # --- comparing -----------------------------------------------------------------------------

    async def _compare(self) -> None:
        if not self._sources.up():
            return
        due = [c for c, waiting in self._ended.items() if waiting.after < self._pulses.beat]
        live = self._live()
        strangers = []
        for channel in due:
            line, call = self._ended[channel].entry.line, live.get(ChannelId(channel))
            if call is None:
                strangers.append(channel)
            elif call.stage is Stage.ENDED and not line.message:
                # What only we know dies with us; the line outlives us.
                if self._sources.durable():
                    del self._ended[channel]
            else:
                self._tell(line, call.call_id)
        for start in range(0, len(strangers), BATCH):
            await self._look_up(strangers[start : start + BATCH])

    async def _look_up(self, channels: list[str]) -> None:
        if not await self._sources.recorded():
            return
        known = await self._sources.known(channels)
        state = self._sources.state()
        for channel in channels:
            line = self._ended[channel].entry.line
            call = known.get(channel)
            if call is None or call.outcome is None:
                self._tell(line, call.call_id if call is not None else None)
            elif (
                line.message
                and call.outcome is not Outcome.VOICEMAIL
                and ChannelId(channel) in state.told
            ):
                # It was closed without waiting for the message, which is kept all the same.
                self._tell(line, call.call_id)
            else:
                del self._ended[channel]

    def _live(self) -> dict[ChannelId, Call]:
        return {call.channel_id: call for call in self._sources.state().calls.values()}

    def _tell(self, line: LedgerLine, call_id: CallId | None = None) -> None:
        channel = ChannelId(line.channel)
        arrival = msgspec.structs.replace(
            self._sources.arrival(channel, line.values),
            call_id=call_id or new_call_id(line.began_at),
        )
        del self._ended[line.channel]
        self.told += 1
        log.info(
            "ledger_told",
            call_id=arrival.call_id,
            channel=channel,
            served=line.served,
            heard=line.heard,
            message=line.message,
        )
        self._sources.post(
            LedgerTold(arrival, line.began_at, line.at, line.served, line.heard, line.message)
        )

    # --- housekeeping --------------------------------------------------------------------------

    async def keep_place(self) -> None:
        """Remember what is done, so that the next process need not read it again."""
        unsettled: dict[str, int] = {}
        open_entries = [w.entry for w in self._ended.values()] + list(self._entered.values())
        for entry in open_entries:
            unsettled[entry.file] = min(unsettled.get(entry.file, entry.offset), entry.offset)
        try:
            async with self._reading:
                await asyncio.to_thread(self._files.keep_place, unsettled, self._clock())
        except OSError as error:
            log.error("ledger_place_not_kept", error=str(error))

    async def tidy(self) -> None:
        """Remove ledgers that are too old to be kept."""
        try:
            await asyncio.to_thread(self._files.tidy, self._clock())
        except OSError as error:
            log.warning(
                "ledger_not_tidied",
                error=str(error),
                remedy="Remove old files of the ledger by a job of Asterisk's machine",
            )

"""Tells operations: looks at the facts every second, writes the log, sends the mails.

Theory of operation. :mod:`vsek.switchboard.alarms` decides. Each telling is a line in the log, and
a mail that is kept in ``run/alarms.json`` until somebody has taken it, beside what is raised: a
restart neither forgets an alarm nor tells it again. Mails go through the note service, whose outbox
keeps them safe; while that service or its database is away they go straight to the mail server,
since that is just what operations must know. Where neither takes them, the log line is all there
is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from vsek.domain.note import NoteKind, NoteRecipient, NoteRequest, Urgency
from vsek.errors import VsekError
from vsek.notify import direct
from vsek.notify.client import NotesClient
from vsek.notify.retry import Verdict
from vsek.settings import Settings
from vsek.switchboard import alarm_words
from vsek.switchboard.alarms import Alarm, Change, Notice, Raised, Watch
from vsek.switchboard.facts import Facts
from vsek.switchboard.metrics import Metrics

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 1.0
RETRY_MAIL_S = 10.0
MAILS_KEPT = 100
"""More than ever wait unless mail is broken for days; the oldest go first."""
TIMEZONE = "Europe/Berlin"


class _Kept(msgspec.Struct):
    raised: dict[str, Raised] = {}
    mails: list[Notice] = []


class Alarms:
    """Looks at ``facts`` and tells."""

    def __init__(self, settings: Settings, facts: Callable[[], Facts], metrics: Metrics) -> None:
        self._settings = settings
        self._facts = facts
        self._metrics = metrics
        self._file = settings.dir / "run" / "alarms.json"
        self._kept = _read(self._file)
        self._watch = Watch(self._kept.raised)
        self._wake = asyncio.Event()

    @property
    def raised(self) -> dict[str, Raised]:
        """What is raised now."""
        return self._watch.raised

    def subjects(self, alarm: Alarm) -> list[str]:
        """Of what kind of ``alarm`` is raised."""
        return [r.trouble.subject for r in self.raised.values() if r.trouble.alarm is alarm]

    async def run(self) -> None:
        """Look and tell until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._mail(), name="mail-alarms")
            while True:
                self._look()
                await asyncio.sleep(LOOK_EVERY_S)

    def _look(self) -> None:
        notices = self._watch.look(self._facts(), self._settings.alarms)
        count = Counter(raised.trouble.alarm for raised in self.raised.values())
        for alarm in Alarm:
            self._metrics.alarms.labels(alarm.value).set(count[alarm])
        for notice in notices:
            _log(notice)
        if notices:
            self._kept.raised = self.raised
            if self._settings.alarms.mail:
                self._kept.mails = [*self._kept.mails, *notices][-MAILS_KEPT:]
                self._wake.set()
            self._keep()

    def _keep(self) -> None:
        draft = self._file.with_suffix(".new")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(msgspec.json.encode(self._kept))
            draft.replace(self._file)
        except OSError as error:
            # Told again after a restart: better than not at all.
            log.warning("alarms_not_kept", error=str(error))

    # --- mail ------------------------------------------------------------------------------------

    async def _mail(self) -> None:
        notes = self._settings.notes
        async with NotesClient(notes.url, notes.token.get_secret_value()) as client:
            while True:
                while self._kept.mails:
                    notice = self._kept.mails[0]
                    if not await self._sent(client, notice):
                        break
                    if self._kept.mails and self._kept.mails[0] is notice:
                        del self._kept.mails[0]
                    self._keep()
                self._wake.clear()
                if self._kept.mails:
                    await asyncio.sleep(RETRY_MAIL_S)
                else:
                    await self._wake.wait()

    async def _sent(self, client: NotesClient, notice: Notice) -> bool:
        """Whether somebody has taken the mail, or never will."""
        request = self._request(notice)
        key = notice.note_key
        facts = self._facts()
        service, database = facts.note_service, facts.database
        if (service is None or not service.error) and (database is None or not database.error):
            try:
                await client.post(key, request)
            except VsekError as error:
                log.warning("alarm_not_handed_over", key=key, error=error.message)
                return False
            return True
        note_id = key.replace(":", ".")
        country = self._settings.asterisk.default_country
        attempt = await direct.send(self._settings.smtp, request, note_id, country)
        if attempt.verdict is Verdict.ACCEPTED:
            log.info("alarm_mailed_directly", key=key)
            return True
        log.error("alarm_not_mailed", key=key, reply_code=attempt.code, reply=attempt.reply)
        return attempt.verdict is Verdict.REFUSED

    def _request(self, notice: Notice) -> NoteRequest:
        notes = self._settings.notes
        language = notes.operations_language
        over = notice.change is Change.CLEARED
        return NoteRequest(
            kind=NoteKind.OPERATIONS,
            language=language,
            timezone=TIMEZONE,
            recipients=[NoteRecipient(email=notes.operations_email)],
            concern=alarm_words.title(notice, language),
            text=alarm_words.body(notice, language, TIMEZONE),
            urgency=Urgency.NORMAL if over else Urgency.URGENT,
            thread=f"alarm/{notice.trouble.key}/{int(notice.since)}"[:200],
        )


def _log(notice: Notice) -> None:
    level = log.warning if notice.change is Change.CLEARED else log.critical
    level(
        f"alarm_{notice.change.value}",
        alarm=notice.trouble.alarm.value,
        subject=notice.trouble.subject,
        says=alarm_words.says(notice),
        remedy=alarm_words.todo(notice),
        lasted_s=round(notice.at - notice.since),
    )


def _read(file: Path) -> _Kept:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Kept)
    except FileNotFoundError:
        return _Kept()
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("alarms_not_read", path=str(file), error=str(error))
        return _Kept()

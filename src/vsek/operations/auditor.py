"""Runs the audit now and then, in a process of its own: it takes seconds of computing.

Two spans: the last hours, again and again, and once a night the whole of yesterday. A difference
stays until a later run over the same time does not find it any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from datetime import UTC, datetime, timedelta

import msgspec
import structlog

from vsek.settings import Settings

log = structlog.get_logger(__name__)

LAST_S = 6 * 3600.0
"""How far the rolling run looks back."""
NIGHT_HOUR = 3
"""UTC: when yesterday is compared."""
PATIENCE_S = 600.0
_DIFFERENT = 1
_NICE = 10


class _Difference(msgspec.Struct):
    kind: str
    what: str
    call_id: str | None = None


class _Report(msgspec.Struct):
    differences: list[_Difference]


class Auditor:
    """Keeps the audit's last results."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rolling: tuple[str, ...] | None = None
        self._yesterday: tuple[str, ...] = ()
        self._day_done = ""

    @property
    def differences(self) -> tuple[str, ...] | None:
        """What differs; ``None`` before the first run, or when there is nothing to compare."""
        if self._rolling is None:
            return None
        return tuple(dict.fromkeys((*self._rolling, *self._yesterday)))

    async def run(self) -> None:
        """Run it until cancelled; not at all where it is off or Asterisk keeps no ledger."""
        every_s = self._settings.alarms.audit_every_s
        if not (self._settings.alarms.audit and every_s and self._settings.asterisk.ledger_folder):
            return
        while True:
            await asyncio.sleep(every_s)
            now = datetime.fromtimestamp(time.time(), UTC)
            since = now - timedelta(seconds=LAST_S)
            found = await self._audit("--from", since.isoformat(timespec="seconds"))
            if found is not None:
                self._rolling = found
            yesterday = (now - timedelta(days=1)).date().isoformat()
            if now.hour >= NIGHT_HOUR and self._day_done != yesterday:
                found = await self._audit("--day", yesterday)
                if found is not None:
                    self._yesterday, self._day_done = found, yesterday

    async def _audit(self, *span: str) -> tuple[str, ...] | None:
        """What differs in this span; ``None`` when it could not be compared."""
        arguments = ["audit", *span, "--json", "--dir", str(self._settings.dir)]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "vsek.cli.main",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        with contextlib.suppress(OSError):  # calls come first; it may be over already
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
        try:
            async with asyncio.timeout(PATIENCE_S):
                out, err = await process.communicate()
        except TimeoutError:
            log.error("audit_took_too_long", span=span, patience_s=PATIENCE_S)
            return None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        try:
            report = msgspec.json.decode(out, type=_Report)
        except msgspec.MsgspecError:
            report = None
        if report is None or process.returncode not in {0, _DIFFERENT}:
            said = err.decode(errors="replace").strip()[-400:]
            log.error("audit_failed", span=span, code=process.returncode, said=said)
            return None
        log.info("audited", span=span, differences=len(report.differences))
        return tuple(
            f"{found.kind}: {found.what}" + (f" (call {found.call_id})" if found.call_id else "")
            for found in report.differences
        )

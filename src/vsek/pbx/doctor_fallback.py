"""The doctor's look at what happens while vsek is away: ledger, announcements, watch, heartbeat."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

from vsek.pbx.doctor_ari import Ari, probe
from vsek.pbx.findings import Report
from vsek.settings import Settings

_HEARTBEAT_S = 3
"""The dialplan's limit."""
_WATCH_S = 5
_TRIES = 40
_PAUSE_S = 0.05
_PROBE_FILE = "doctor.txt"
_SOUNDS = 5


async def examine(ari: Ari, settings: Settings, report: Report) -> None:
    """Has the dialplan write into the ledger's folder, look for its announcements and start its
    watch, on a channel that goes nowhere."""
    token = secrets.token_hex(8)
    async with probe(ari, {"VSEK_PROBE_TOKEN": token}) as ask:
        if await ask("VSEK_PROBE_SOUNDS") == "1" * _SOUNDS:
            report.ok("extensions.conf", "The announcements for when vsek is away are there")
        else:
            report.fail(
                "extensions.conf",
                "Announcements for the time when vsek is away are missing",
                "Copy asterisk-conf/vsek-sounds, and name the folder in VSEK_SOUNDS",
            )
        await _ledger(ari, settings, report, token)
        named = await _variable(ari, "VSEK_LANGUAGES")
        own = settings.sounds_folder / "languages.conf"
        if await asyncio.to_thread(own.is_file) and not await ask(
            f"AST_CONFIG({named},house,country)"
        ):
            report.warn(
                "extensions.conf",
                f"Asterisk does not find {named}: without vsek callers hear all languages",
                "Set VSEK_LANGUAGES (vsek-local/extensions.conf) to languages.conf in the folder of"
                " setting sounds.folder",
            )
        for _ in range(_TRIES):
            now = int(await ask("EPOCH") or 0)
            watching = now - int(await _variable(ari, "VSEK_WATCH") or 0) <= _WATCH_S
            if watching:
                report.ok("extensions.conf", "The watch over callers who wait runs with calls")
                break
            await asyncio.sleep(_PAUSE_S)
        else:
            report.fail(
                "extensions.conf",
                "The watch does not start: callers who wait when vsek dies are left alone",
                "Take context vsek-watch over from asterisk-conf/extensions.conf, and load"
                " app_originate.so",
            )
        age_s = now - int(await _variable(ari, "VSEK_ALIVE") or 0)
    status, _ = await ari.ask("GET", f"applications/{settings.ari.app}")
    if status != 200:
        return  # no switchboard is connected, which was told
    if -_HEARTBEAT_S <= age_s <= _HEARTBEAT_S:
        report.ok("setting ari", "vsek's signs of life arrive in Asterisk")
    else:
        report.fail(
            "setting ari",
            "The switchboard gives no sign of life: callers are asked for messages instead",
            "See its log and `vsek health`; the ARI user must be allowed to write",
        )


async def _ledger(ari: Ari, settings: Settings, report: Report, token: str) -> None:
    folder, named = settings.asterisk.ledger_folder, await _variable(ari, "VSEK_LEDGER")
    if folder is None:
        report.fail(
            "setting asterisk.ledger_folder",
            "No folder is named, so calls that come while vsek is away are known to nobody",
            f"Name the folder that is {named} for Asterisk",
        )
        return
    found = await asyncio.to_thread(_read, folder / _PROBE_FILE)
    if token in found:
        report.ok("setting asterisk.ledger_folder", "Asterisk writes its ledger, vsek reads it")
    else:
        report.fail(
            "setting asterisk.ledger_folder",
            f"What Asterisk writes into {named} is not found in {folder}",
            "Asterisk's user must be able to write there (VSEK_LEDGER, vsek-local/extensions.conf)"
            ", and vsek's to read",
        )


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


async def _variable(ari: Ari, name: str) -> str:
    _, found = await ari.ask("GET", "asterisk/variable", variable=name)
    return str((found or {}).get("value", ""))

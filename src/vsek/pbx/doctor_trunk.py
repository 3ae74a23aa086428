"""The doctor's look at the trunk that takes calls to clients' own numbers."""

from __future__ import annotations

import re

from vsek.pbx.doctor_ari import Ari
from vsek.pbx.findings import Report
from vsek.settings import Settings

_WHERE = "setting outbound.endpoint"
_BY_URI = re.compile(r"PJSIP/([^/@]+)/sips?:.+", re.IGNORECASE)
_BY_AOR = re.compile(r"PJSIP/[^/@]+@([^/@]+)", re.IGNORECASE)


async def examine(ari: Ari, settings: Settings, report: Report) -> None:
    """Whether Asterisk has the trunk's endpoint, and whether it answers where Asterisk asks it."""
    wanted = settings.outbound.endpoint
    by_uri, by_aor = _BY_URI.fullmatch(wanted), _BY_AOR.fullmatch(wanted)
    found = by_uri or by_aor
    if not wanted:
        report.ok(_WHERE, "No calls are forwarded to clients' own numbers")
    elif found is None:
        report.warn(
            _WHERE,
            f"Whether Asterisk can dial {wanted!r} cannot be told",
            "Write PJSIP/{number}@TRUNK, or PJSIP/TRUNK/sip:{number}@HOST for one without an AOR",
        )
    else:
        await _endpoint(ari, report, found[1], has_uri=by_uri is not None)


async def _endpoint(ari: Ari, report: Report, name: str, *, has_uri: bool) -> None:
    values = await ari.fields(f"endpoint/{name}")
    if values is None:
        report.fail(
            _WHERE,
            f"Asterisk has no endpoint {name!r}, so no call is forwarded",
            f"Make a section [{name}] with type = endpoint (vsek-local/pjsip.conf), or name another"
            " trunk",
        )
        return
    aors = [part.strip() for part in values.get("aors", "").split(",") if part.strip()]
    if not (aors or has_uri):
        report.fail(
            _WHERE,
            f"Trunk {name!r} has no AOR, so Asterisk does not know where to send calls",
            f"Give it one, or write PJSIP/{name}/sip:{{number}}@HOST",
        )
        return
    _, found = await ari.ask("GET", f"endpoints/PJSIP/{name}")
    state = str((found or {}).get("state", "unknown"))
    asked = [await _is_asked(ari, aor) for aor in aors]
    if not any(asked):
        report.ok(_WHERE, f"Trunk {name!r} is there; whether it answers is not asked for")
    elif state == "online":
        report.ok(_WHERE, f"Trunk {name!r} answers")
    else:
        report.fail(
            _WHERE,
            f"Trunk {name!r} does not answer ({state})",
            "Look at its contact and at the network: pjsip show contacts",
        )


async def _is_asked(ari: Ari, aor: str) -> bool:
    """Whether Asterisk asks now and then who is behind ``aor``."""
    values = await ari.fields(f"aor/{aor}") or {}
    return values.get("qualify_frequency", "0") not in ("", "0")

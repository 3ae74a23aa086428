"""Which number's callers are spoken to in which language, for the time when vsek is away.

Asterisk's dialplan reads it from a file beside the sounds (``VSEK_LANGUAGES`` in
``asterisk-conf/extensions.conf``): a file survives restarts of both, and nobody needs more rights
for it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import phonenumbers
import structlog

from vsek.domain.directory import Directory

log = structlog.get_logger(__name__)

FILE = "languages.conf"
_DIGITS = re.compile(r"\+?([0-9]{1,32})\Z")


def text(directory: Directory, country: str) -> str:
    """The file's content; ``country`` (two letters) is for numbers in national form."""
    lines: dict[str, list[str]] = {"did": [], "forwarding": []}
    for entry in directory.clients.values():
        for kind, number in entry.client.numbers:
            digits = _DIGITS.match(number)
            if digits:
                lines[kind].append(f"+{digits[1]} = {entry.client.language}\n")
    code = phonenumbers.country_code_for_region(country)
    return (
        "; written by vsek: languages of callers for the dialplan\n"
        f"[house]\ncountry = {code}\n\n"
        f"[did]\n{''.join(sorted(lines['did']))}\n"
        f"[forwarding]\n{''.join(sorted(lines['forwarding']))}"
    )


def leave(folder: Path, directory: Directory, country: str) -> None:
    """Write the file into ``folder`` if it changed. A failure is logged: callers then hear all
    languages."""
    path, content = folder / FILE, text(directory, country)
    try:
        if path.is_file() and path.read_text() == content:
            return
        folder.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".new-{os.getpid()}")
        fresh.write_text(content)
        fresh.chmod(0o644)
        fresh.rename(path)
    except OSError as error:
        log.error(
            "languages_not_left",
            path=str(path),
            error=str(error),
            remedy="Let vsek's user write to sounds.folder",
        )

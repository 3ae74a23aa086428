"""Debian mirrors as the machine's own apt sources name them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vsek.errors import ServiceError

_ETC_APT = Path("/etc/apt")
_DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@dataclass(frozen=True)
class Mirror:
    """A Debian archive. ``signed_by`` is what apt's option of that name holds: a key file, a
    fingerprint or an embedded key; empty for the keys that apt trusts anyway."""

    uri: str
    signed_by: str = ""

    def stanza(self, suite: str) -> str:
        """A deb822 source for one suite, main only."""
        signed = f"Signed-By: {self.signed_by}\n" if self.signed_by else ""
        return f"Types: deb\nURIs: {self.uri}\nSuites: {suite}\nComponents: main\n{signed}"


def of_this_machine(etc_apt: Path = _ETC_APT) -> list[Mirror]:
    """Archives that may carry Debian's suites, the likeliest first.

    ``VSEK_DEBIAN_MIRROR`` (a URL) stands before all others. Raises ``ServiceError`` if there are
    none.
    """
    named = os.environ.get("VSEK_DEBIAN_MIRROR")
    if named:
        keyring = str(_DEBIAN_KEYRING) if _DEBIAN_KEYRING.exists() else ""
        return [Mirror(named, keyring)]
    found: dict[str, Mirror] = {}
    for file in [etc_apt / "sources.list", *sorted((etc_apt / "sources.list.d").glob("*"))]:
        if file.suffix == ".sources":
            entries = _deb822(file.read_text())
        elif file.suffix == ".list" and file.is_file():
            entries = _one_line(file.read_text())
        else:
            continue
        for mirror, suites, components in entries:
            is_main = "main" in components and not any("security" in suite for suite in suites)
            if is_main and mirror.uri.startswith(
                ("http://", "https://", "file:", "copy:", "mirror")
            ):
                found.setdefault(mirror.uri.rstrip("/"), mirror)
    if not found:
        raise ServiceError(
            f"No Debian archive is named in {etc_apt}",
            remedy="Name one in VSEK_DEBIAN_MIRROR, or point vsek at servers that run already",
            error_id="packages",
        )
    return sorted(found.values(), key=lambda mirror: not mirror.uri.rstrip("/").endswith("/debian"))


_Entry = tuple[Mirror, list[str], list[str]]


def _one_line(text: str) -> Iterator[_Entry]:
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)((?:\s+[^\s#]+)*)", line)
        if match:
            options = dict(part.split("=", 1) for part in (match[1] or "").split() if "=" in part)
            mirror = Mirror(match[2], options.get("signed-by", ""))
            yield mirror, [match[3]], match[4].split()


def _deb822(text: str) -> Iterator[_Entry]:
    uncommented = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", uncommented):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line[:1] in (" ", "\t") and name:
                fields[name] += "\n" + line
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes") == "no":
            continue
        for uri in fields.get("uris", "").split():
            mirror = Mirror(uri, fields.get("signed-by", ""))
            yield mirror, fields.get("suites", "").split(), fields.get("components", "").split()

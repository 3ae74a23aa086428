"""Files that are not code: ``asterisk-conf`` and ``migrations``, from a checkout or a wheel."""

from __future__ import annotations

from pathlib import Path

from vsek.errors import ServiceError

_PACKAGE = Path(__file__).resolve().parents[1]


def folder(name: str) -> Path:
    """The folder ``name`` of the top level. A wheel carries it inside the package."""
    for candidate in (_PACKAGE / name, _PACKAGE.parents[1] / name):
        if candidate.is_dir():
            return candidate
    raise ServiceError(f"This installation of vsek has no {name}", remedy="Install it again")

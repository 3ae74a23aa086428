"""A sound that is to be made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vsek.domain.note import Language
from vsek.domain.values import Sound


@dataclass(frozen=True, slots=True)
class WantedSound:
    """``sound`` as callers are to hear it; relative files are meant from ``base``."""

    sound: Sound
    language: Language
    base: Path = Path()

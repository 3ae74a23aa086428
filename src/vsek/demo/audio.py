"""What is to be heard in a recording, compared by signal (needs numpy; only tests use it).

A sound is recognised by normalised cross-correlation: 1.0 means that the recording holds exactly
these samples at that place (whatever the volume), unrelated speech or music stays below about
0.3. Telephone coding costs little (above 0.98), packets that come late cost some.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vsek.demo import g711

Signal = NDArray[np.float64]
_QUIET = 60.0
"""Root mean square (16-bit scale) below which a stretch counts as silence."""


def signal(samples: array[int] | Path) -> Signal:
    """Samples (or a telephone WAV file) as a numpy array."""
    if isinstance(samples, Path):
        samples = g711.read_wav(samples)
    return np.asarray(samples, dtype=np.float64)


@dataclass(frozen=True)
class Match:
    """``at_s``: where in the haystack the needle begins; ``score`` from 0 to 1."""

    at_s: float
    score: float


def find(haystack: Signal, needle: Signal) -> Match:
    """Where ``needle`` fits best into ``haystack``, and how well."""
    if len(needle) == 0 or len(haystack) < len(needle):
        return Match(0.0, 0.0)
    size = 1 << (len(haystack) + len(needle) - 1).bit_length()
    product = np.fft.rfft(haystack, size) * np.conj(np.fft.rfft(needle, size))
    correlation = np.fft.irfft(product, size)[: len(haystack) - len(needle) + 1]
    energy = np.concatenate(([0.0], np.cumsum(haystack**2)))
    windows = energy[len(needle) :] - energy[: len(energy) - len(needle)]
    # Where the haystack is all but silent the quotient would be noise divided by nothing.
    floor = len(needle) * _QUIET**2 / 4
    norm = np.sqrt(np.maximum(windows, floor) * max(float(np.sum(needle**2)), floor))
    scores = np.abs(correlation) / norm
    best = int(np.argmax(scores))
    return Match(best / g711.RATE, float(scores[best]))


@dataclass(frozen=True)
class Segment:
    """From ``start_s`` to ``end_s`` the sound ``name`` is heard (``silence``, ``unknown``)."""

    start_s: float
    end_s: float
    name: str
    score: float

    def __str__(self) -> str:
        return f"{self.start_s:.2f} to {self.end_s:.2f} s {self.name} ({self.score:.2f})"


def segments(
    recording: Signal,
    sounds: Mapping[str, Signal],
    *,
    window_s: float = 0.5,
    threshold: float = 0.7,
) -> list[Segment]:
    """What is heard when: the recording in windows, each named after the sound that holds it.

    Neighbours with the same name are joined; ``score`` is the mean of their windows.
    """
    size = int(window_s * g711.RATE)
    found: list[Segment] = []
    for start in range(0, len(recording) - size + 1, size):
        window = recording[start : start + size]
        name, score = "silence", 1.0
        if float(np.sqrt(np.mean(window**2))) > _QUIET:
            score, name = max(
                ((find(sound, window).score, name) for name, sound in sounds.items()),
                default=(0.0, "unknown"),
            )
            if score < threshold:
                name = "unknown"
        begin, end = start / g711.RATE, (start + size) / g711.RATE
        last = found[-1] if found else None
        if last is not None and last.name == name:
            before = (last.end_s - last.start_s) / window_s
            mean = (last.score * before + score) / (before + 1)
            found[-1] = Segment(last.start_s, end, name, mean)
        else:
            found.append(Segment(begin, end, name, score))
    return found


def heard_in_order(found: list[Segment], *, min_s: float = 0.0) -> list[str]:
    """Names of the sounds in their order, without silence, without what no sound explains (the
    window in which one gives way to the next) and without what lasts less than ``min_s``."""
    names: list[str] = []
    for segment in found:
        if segment.name in ("silence", "unknown") or segment.end_s - segment.start_s < min_s:
            continue
        if not names or names[-1] != segment.name:
            names.append(segment.name)
    return names

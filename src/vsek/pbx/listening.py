"""What is to be heard in a recording: a person, or fax, tones, music, nothing.

Theory of operation. Four plain measures, from cheap to dear, all without any library:

* the level of each frame of 20 ms, against the recording's own noise floor;
* whether a frame is *one* sine: then ``x[n-1] + x[n+1] = 2·cos(w)·x[n]``, and what is left of the
  best fit over the frame's energy tells tone from all else. Runs of one frequency are tones, and
  some tones have a meaning (ITU-T T.30, V.25 and E.180);
* whether a frame is voiced, that is repeats itself with a pitch that people have;
* whether the spectrum stays what it was a moment ago. Notes are held, syllables are not.

A person must never be taken for a machine. So fax, machine and music must prove themselves, and
what cannot be told is ``speech`` where there is a voice and ``unknown`` where there is none.
"""

from __future__ import annotations

import cmath
import math
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import add, mul

from vsek.domain.outcomes import Finding

RATE_HZ = 8000
_FRAME = 160
_FRAME_S = _FRAME / RATE_HZ
_LONGEST_S = 120
"""What comes after is not examined."""

# Levels are in dB over one step of 16 bits; full scale is 90.
_AUDIBLE_DB = 33.0
_OVER_FLOOR_DB = 9.0
_TONE_DB = 40.0
_LOUD_DB = 58.0
_LEAST_SOUND_S = 0.08
_LEAST_MUSIC_S = 2.5
_HUM_HZ = 280.0
_GAP_S = 0.3
"""A pause within speech that still counts as speaking."""

_SINE_REST = 0.02
"""Noise to signal of a frame that is one sine: 17 dB below."""
_SINE_DRIFT = 0.015
_LEAST_RUN = 3
_VOICED = 0.6
_VOICED_FRAMES = 4
_VOICE_SAMPLES = 250

_WINDOW = 256
"""Samples of a spectrum, at half the rate: 64 ms, 16 Hz apart."""
_BINS = range(13, 120)
"""200 to 1,860 Hz: without hum."""
_PAIRS = 50


@dataclass(frozen=True, slots=True)
class Heard:
    """What a recording holds. Times in seconds, ``peak`` from 0 to 32,767."""

    finding: Finding
    spoken_s: float
    """How long somebody spoke, short pauses included; 0 unless ``speech`` or ``unknown``."""
    duration_s: float
    peak: int
    detail: str = ""
    """What gave it away, for logs: ``cng``, ``sit``, ``tone 425 Hz`` …"""


@dataclass(frozen=True, slots=True)
class _Tone:
    """One sine, held. Times in seconds from the start."""

    hz: float
    start_s: float
    length_s: float


def examine(wav: bytes) -> Heard:
    """What is to be heard in ``wav`` (8 kHz, mono, 16 bit). Takes some 4 ms per second of sound.

    Never raises: a file that is broken or of another kind is ``unknown`` and lasts 0 seconds.
    """
    samples = samples_of(wav)
    if samples is None or not samples:
        return Heard(Finding.UNKNOWN, 0.0, 0.0, 0, "no telephone WAV")
    duration_s = len(samples) / RATE_HZ
    peak = min(32767, max(abs(max(samples)), abs(min(samples))))
    finding, spoken_s, detail = _judge(samples[: _LONGEST_S * RATE_HZ])
    return Heard(finding, round(spoken_s, 2), round(duration_s, 2), peak, detail)


def samples_of(wav: bytes) -> array[int] | None:
    """The samples of a telephone WAV; ``None`` if it is none.

    A length in the header that is not true (whoever wrote it died before the end) is passed over.
    """
    if wav[:4] != b"RIFF" or wav[8:12] != b"WAVE":
        return None
    at, form = 12, b""
    while at + 8 <= len(wav):
        name, size = wav[at : at + 4], int.from_bytes(wav[at + 4 : at + 8], "little")
        at += 8
        if name == b"fmt ":
            form = wav[at : at + 16]
        elif name == b"data":
            if not _is_telephone(form):
                return None
            end = at + size if 0 < size <= len(wav) - at else len(wav)
            samples = array("h", wav[at : at + (end - at) // 2 * 2])
            if sys.byteorder == "big":
                samples.byteswap()
            return samples
        at += size + size % 2
    return None


def _is_telephone(form: bytes) -> bool:
    """Whether a ``fmt`` chunk says PCM, mono, 8 kHz, 16 bit."""
    fields = (form[0:2], form[2:4], form[4:8], form[14:16])
    return tuple(int.from_bytes(field, "little") for field in fields) == (1, 1, RATE_HZ, 16)


def _judge(raw: array[int]) -> tuple[Finding, float, str]:
    """Finding, seconds spoken, and why."""
    offset = round(sum(raw) / len(raw))
    samples: Sequence[int] = [sample - offset for sample in raw] if offset else raw
    levels = list(_levels(samples))
    if len(levels) < _LEAST_SOUND_S / _FRAME_S:
        return Finding.UNKNOWN, 0.0, "too short"
    floor = sorted(levels)[len(levels) // 10]
    active = [level > max(floor + _OVER_FLOOR_DB, _AUDIBLE_DB) for level in levels]
    active_s = sum(active) * _FRAME_S

    sines = [
        _sine_hz(samples[number * _FRAME : (number + 1) * _FRAME]) if level > _TONE_DB else 0.0
        for number, level in enumerate(levels)
    ]
    told = _signal(sines, levels)
    if told is not None:
        return told[0], 0.0, told[1]
    told = _held(samples, levels)
    if told is not None:
        return told[0], 0.0, told[1]
    if active_s < _LEAST_SOUND_S:
        if floor < _LOUD_DB:
            return Finding.SILENCE, 0.0, "nothing over the line's noise"
        return Finding.UNKNOWN, 0.0, "steady noise"
    if _voiced_frames(samples, active) >= _VOICED_FRAMES:
        return Finding.SPEECH, _with_pauses(active), ""
    return Finding.UNKNOWN, _with_pauses(active), "sounds without a voice"


def _levels(samples: Sequence[int]) -> Iterator[float]:
    for start in range(0, len(samples) - _FRAME + 1, _FRAME):
        frame = samples[start : start + _FRAME]
        yield 10 * math.log10(sum(map(mul, frame, frame)) / _FRAME + 1)


def _with_pauses(active: Sequence[bool]) -> float:
    """Seconds of sound, gaps of up to ``_GAP_S`` included."""
    spoken, last, gap = 0, None, round(_GAP_S / _FRAME_S)
    for number, sounds in enumerate(active):
        if sounds:
            spoken += number - last if last is not None and number - last <= gap else 1
            last = number
    return spoken * _FRAME_S


# ── tones ────────────────────────────────────────────────────────────────────────────────────


def _sine_hz(frame: Sequence[int]) -> float:
    """The frequency of a frame that is one sine; 0 if it is not."""
    inner = frame[1:-1]
    sums = list(map(add, frame[:-2], frame[2:]))
    energy = sum(map(mul, inner, inner))
    if not energy:
        return 0.0
    factor = sum(map(mul, sums, inner)) / energy
    rest = sum(map(mul, sums, sums)) - factor * factor * energy
    if abs(factor) >= 2 or rest > _SINE_REST * (2 + factor * factor) * energy:
        return 0.0
    return math.acos(factor / 2) * RATE_HZ / (2 * math.pi)


def _tones(sines: Sequence[float]) -> list[_Tone]:
    """Every sine that is held for 60 ms or more; ``sines`` are the frequencies of the frames."""
    found: list[_Tone] = []
    run: list[float] = []
    for number, hz in enumerate([*sines, 0.0]):
        if run and abs(hz - sum(run) / len(run)) > _SINE_DRIFT * hz + 5:
            if len(run) >= _LEAST_RUN:
                start_s = (number - len(run)) * _FRAME_S
                found.append(_Tone(sum(run) / len(run), start_s, len(run) * _FRAME_S))
            run = []
        if hz:
            run.append(hz)
    return found


def _near(tone: _Tone, hz: float, tolerance_hz: float) -> bool:
    return abs(tone.hz - hz) <= tolerance_hz


def _signal(sines: Sequence[float], levels: Sequence[float]) -> tuple[Finding, str] | None:
    """What sines mean, if they mean anything; frequency (0: none) and level of each frame."""
    loud_s = sum(level > _TONE_DB for level in levels) * _FRAME_S
    tones = _tones(sines)
    toned_s = sum(tone.length_s for tone in tones)
    others_s = loud_s - toned_s
    # V.25 calling tones: fax 1,100 Hz for 0.5 s every 3.5 s, modem 1,300 Hz for 0.6 s every 2.6 s.
    for name, hz in (("cng", 1100.0), ("modem calling", 1300.0)):
        beeps = [tone for tone in tones if _near(tone, hz, 42) and 0.3 <= tone.length_s <= 0.8]
        in_time = any(2.0 <= later.start_s - beep.start_s <= 4.0 for beep, later in pairwise(beeps))
        if in_time or (beeps and others_s < 0.2 and toned_s - beeps[0].length_s < 0.2):
            return Finding.FAX, name
    # Answering tones: T.30 CED and V.8 ANSam, Bell 103.
    for hz in (2100.0, 2225.0):
        if sum(tone.length_s for tone in tones if _near(tone, hz, 25)) >= 0.8:
            return Finding.FAX, f"answering tone {hz:.0f} Hz"
    if _is_sit(tones):
        return Finding.MACHINE, "sit"
    sines_s = sum(hz > 0 for hz in sines) * _FRAME_S
    if sines_s < max(0.8 * loud_s, 0.4):
        return None
    # Nothing but sines. A network has one pitch; melodies and whistling have many.
    if sum(hz < _HUM_HZ for hz in sines if hz) > 0.5 * sum(hz > 0 for hz in sines):
        return None
    if tones:
        longest = max(tones, key=lambda tone: tone.length_s)
        same_s = sum(tone.length_s for tone in tones if _near(tone, longest.hz, 10))
        if same_s > 0.8 * sines_s and longest.length_s >= 0.16:
            return Finding.MACHINE, f"tone {longest.hz:.0f} Hz"
    # A dull voice also comes close to sines, but neither stays on one nor goes on without pauses.
    steps = sorted(abs(hz - last) / last for last, hz in pairwise(sines) if last and hz)
    held = bool(steps) and steps[len(steps) // 2] < _SINE_DRIFT
    if sines_s > _LEAST_MUSIC_S and (held or not _has_pauses(levels)):
        return Finding.MUSIC, "whistling"
    return None


def _is_sit(tones: Sequence[_Tone]) -> bool:
    """Special information tone (E.180): 950, 1,400 and 1,800 Hz, a third of a second each."""
    for trio in zip(tones, tones[1:], tones[2:], strict=False):
        if (
            all(
                _near(tone, hz, 60) and 0.2 <= tone.length_s <= 0.5
                for tone, hz in zip(trio, (950.0, 1400.0, 1800.0), strict=True)
            )
            and trio[2].start_s - trio[0].start_s < 1.2
        ):
            return True
    return False


# ── spectra ──────────────────────────────────────────────────────────────────────────────────

_HANN = [0.5 - 0.5 * math.cos(2 * math.pi * n / _WINDOW) for n in range(_WINDOW)]
_TURNS = {
    size: [cmath.exp(-2j * math.pi * k / size) for k in range(size // 2)]
    for size in (8, 16, 32, 64, 128, 256)
}


def _fft(values: list[complex]) -> list[complex]:
    size = len(values)
    if size == 4:
        a, b = values[0] + values[2], values[1] + values[3]
        c, d = values[0] - values[2], (values[1] - values[3]) * -1j
        return [a + b, c + d, a - b, c - d]
    even = _fft(values[::2])
    odd = list(map(mul, _fft(values[1::2]), _TURNS[size]))
    return [*map(add, even, odd), *(a - b for a, b in zip(even, odd, strict=True))]


def _two_spectra(one: Sequence[int], two: Sequence[int]) -> tuple[list[float], list[float]]:
    """Power of two real frames by one transform."""
    bins = _fft(list(map(complex, map(mul, one, _HANN), map(mul, two, _HANN))))
    first, second = [], []
    for k in _BINS:
        p, q = bins[k], bins[_WINDOW - k].conjugate()
        first.append(abs(p + q) ** 2)
        second.append(abs(p - q) ** 2)
    return first, second


def _likeness(one: Sequence[float], two: Sequence[float]) -> float:
    """1 for equal spectra, some 0.5 for two pieces of the same noise."""
    product = sum(map(mul, one, one)) * sum(map(mul, two, two))
    return sum(map(mul, one, two)) / math.sqrt(product) if product else 0.0


def _held(samples: Sequence[int], levels: Sequence[float]) -> tuple[Finding, str] | None:
    """Music and steady mixtures of tones: what is held all the time, without pauses."""
    half = list(
        map(
            add,
            map(add, samples[:-2:2], samples[2::2]),
            map(mul, samples[1:-1:2], [2] * len(samples)),
        )
    )
    frames_each = 2 * _WINDOW / _FRAME
    loud = max(_TONE_DB, sorted(levels)[len(levels) * 19 // 20] - 20)
    places = [
        number
        for number in range(len(half) // _WINDOW - 1)
        if min(levels[int(number * frames_each) : int((number + 2) * frames_each)]) > loud
    ]
    if len(places) < 12:
        return None
    places = [places[k * len(places) // _PAIRS] for k in range(_PAIRS)]
    spectra: list[list[float]] = []
    alike: list[float] = []
    for place in dict.fromkeys(places):
        at = place * _WINDOW
        one, two = _two_spectra(half[at : at + _WINDOW], half[at + _WINDOW : at + 2 * _WINDOW])
        spectra += [one, two]
        alike.append(_likeness(one, two))
    alike.sort()
    mean = [sum(column) for column in zip(*spectra, strict=True)]
    typical = sorted(_likeness(one, mean) for one in spectra)[len(spectra) // 5]
    if typical > 0.93:
        return _steady(mean, sum(level > loud for level in levels) * _FRAME_S)
    middle = alike[len(alike) // 2]
    held = sum(value > 0.9 for value in alike) / len(alike)
    loud_s = sum(level > loud for level in levels) * _FRAME_S
    # Of human speech the middle was 0.75 at most, and 0.22 were held (3,000 recordings).
    struck = middle >= 0.9 and held >= 0.5 and loud_s >= 3
    if struck or (middle >= 0.72 and held >= 0.2 and not _has_pauses(levels)):
        return Finding.MUSIC, f"held {held:.2f}"
    return None


def _steady(mean: Sequence[float], loud_s: float) -> tuple[Finding, str] | None:
    """One and the same spectrum all the time: the network's tones of two sines, or hum."""
    hz = _BINS[mean.index(max(mean))] * RATE_HZ / 2 / _WINDOW
    if hz < _HUM_HZ:
        return None
    return (Finding.MACHINE, f"steady {hz:.0f} Hz") if loud_s >= 2 else None


def _has_pauses(levels: Sequence[float]) -> bool:
    """Whether the level falls as often and as deep as between words and syllables."""
    if len(levels) < 200:
        return True
    top = sorted(levels)[len(levels) * 19 // 20]
    if sum(level < top - 20 for level in levels) > 0.05 * len(levels):
        return True
    fallen = seconds = 0
    for start in range(0, len(levels) - 49, 50):
        powers = [10 ** (level / 10) for level in levels[start : start + 50]]
        fallen += sum(power < sum(powers) / 200 for power in powers)
        seconds += 1
    return fallen > 0.14 * 50 * seconds


# ── voice ────────────────────────────────────────────────────────────────────────────────────


def _voiced_frames(samples: Sequence[int], active: Sequence[bool]) -> int:
    """How many frames repeat themselves 60 to 400 times a second (at a quarter of the rate)."""
    quarter = [sum(samples[n : n + 4]) for n in range(0, len(samples) - 3, 4)]
    numbers = [number for number, sounds in enumerate(active) if sounds]
    if len(numbers) > _VOICE_SAMPLES:
        numbers = [numbers[k * len(numbers) // _VOICE_SAMPLES] for k in range(_VOICE_SAMPLES)]
    voiced = 0
    for number in numbers:
        start = number * _FRAME // 4
        frame = quarter[start : start + 64]
        energy = sum(map(mul, frame, frame))
        for lag in range(5, 34):
            later = quarter[start + lag : start + lag + 64]
            if len(later) < 64:
                break
            product = sum(map(mul, frame, later))
            if product > 0 and product * product > _VOICED * _VOICED * energy * sum(
                map(mul, later, later)
            ):
                voiced += 1
                break
        if voiced >= _VOICED_FRAMES:
            break
    return voiced
